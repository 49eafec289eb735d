"""Addresses of servers: which are on this machine, and what of them must not be shown."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = ["NO_ADDRESS", "here", "secrets_of", "shown"]

NO_ADDRESS: Final = "[no address]"
"""What is shown of something that cannot be read as an address."""

_LOCALHOST: Final = ("127.0.0.1", "::1")
_HARMLESS: Final = frozenset({"api-version", "api_version", "version", "deployment"})
"""Names in a query whose values are shown; of others nobody knows what they mean."""
_KEY: Final = re.compile(
    r"(?:sk|pk|rk|key|tok|token|pat|gsk|hf|xai|ghp|AIza|AKIA|eyJ)[-_A-Za-z0-9]{8,}"
    r"|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    r"|(?=[^0-9]*[0-9])(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9]{16,}.*"
)
"""A part of a path that looks like a key: by how it begins, or long and of letters and figures."""


def here(host: str) -> tuple[str, ...]:
    """The addresses of this machine that a host means, to be tried in turn; none if it is another.

    ``localhost`` is not looked up: whoever answers for names has no say in what is here. An
    address is here if it is in 127.0.0.0/8 or is ::1.
    """
    host = host.strip("[]")
    if host == "localhost":
        return _LOCALHOST
    try:
        return (host,) if ipaddress.ip_address(host).is_loopback else ()
    except ValueError:  # a name
        return ()


def shown(address: str) -> str:
    """The address as it may be shown: without name, password, or what may be a key.

    Names in the query stay, their values do not; a part of the path that looks like a key is
    written ``[key]``.
    """
    try:
        parts = urlsplit(address)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:  # brackets without an end
        return NO_ADDRESS
    if "@" in address.replace(parts.netloc, "", 1):
        return NO_ADDRESS  # a slash too few, or a password with a "/" that ends the host too soon
    path = "/".join("[key]" if _is_key(part) else part for part in parts.path.split("/"))
    query = "&".join(
        f"{name}={value if name.lower() in _HARMLESS else '[key]'}"
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    )
    if path == parts.path and host == parts.netloc and "[key]" not in query and not parts.fragment:
        return address
    head = f"{parts.scheme}://{host}" if parts.netloc else f"{parts.scheme}:" * bool(parts.scheme)
    return f"{head}{path}{'?' * bool(query)}{query}"


def secrets_of(address: str) -> Iterator[str]:
    """What :func:`shown` leaves out, as it stands there and as it is meant."""
    if shown(address) == address:
        return
    yield address
    user_info = ""
    values: list[str] = []
    try:
        parts = urlsplit(address)
    except ValueError:
        user_info = address.partition("//")[2].rpartition("@")[0]
    else:
        user_info = parts.netloc.rpartition("@")[0]
        if shown(address) == NO_ADDRESS:
            user_info = address.partition(":")[2].lstrip("/").rpartition("@")[0]
        values = [part for part in parts.path.split("/") if _is_key(part)]
        queried = parse_qsl(parts.query)
        values += [value for name, value in queried if name.lower() not in _HARMLESS]
        values += [parts.fragment] * bool(parts.fragment)
    name, _, password = user_info.partition(":")
    values += [user_info] * bool(password)
    values.append(password or name)
    yield from {form for value in values for form in (value, unquote(value)) if form}


def _is_key(part: str) -> bool:
    return _KEY.fullmatch(unquote(part)) is not None
