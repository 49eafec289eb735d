"""Keeps Python from every address but this machine's own: an audit hook that refuses the call.

Names under ``.invalid`` fail as an unknown host does, without asking a name server. Only the
standard library is used, so that child processes can start with it (see sitecustomize.py).
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from typing import Any

__all__ = ["NetworkAccessError", "attempts", "install"]

attempts: list[str] = []
"""What was refused, for a test to be failed by though the code under test swallowed the error."""

_NAMES = {"", "localhost", "localhost.localdomain", "ip6-localhost"}
_EVENTS = {
    "socket.connect",
    "socket.sendto",
    "socket.sendmsg",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.gethostbyaddr",
}


class NetworkAccessError(RuntimeError):
    """A test tried to reach an address outside this machine."""


def install() -> None:
    """Refuse from now on; an audit hook cannot be taken off again. Safe to call twice."""
    if not getattr(sys, "_modelrouter_network_guard", False):
        sys._modelrouter_network_guard = True  # type: ignore[attr-defined]  # one mark a process
        sys.addaudithook(_hook)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if event not in _EVENTS:
        return
    host = _host(event, args)
    if host is None or _is_here(host):
        return
    if host.endswith(".invalid"):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    attempts.append(f"{event} {host}")
    raise NetworkAccessError(f"Tests may not reach {host!r} ({event}); use a server on loopback.")


def _host(event: str, args: tuple[Any, ...]) -> str | None:
    """The host an event is about; ``None`` where there is none (a Unix socket, a wildcard)."""
    where = args[0]
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        sock, where = args[:2]
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            return None
        where = where[0] if where else None
    if isinstance(where, (bytes, bytearray)):
        where = where.decode("idna")
    return None if where is None else str(where).lower().rstrip(".")


def _is_here(host: str) -> bool:
    if host in _NAMES or host == socket.gethostname().lower():
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback or address.is_unspecified
