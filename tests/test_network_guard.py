"""The guard itself: what it refuses, what it lets through, and that child processes have it."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading

import pytest

from tests.guard import network_guard
from tests.guard.network_guard import NetworkAccessError

OUTSIDE = "192.0.2.1"  # reserved for documentation: nobody answers there


def taken() -> list[str]:
    """What was refused; taken away, so that it does not fail the test that provoked it."""
    seen, network_guard.attempts[:] = list(network_guard.attempts), []
    return seen


@pytest.mark.parametrize("address", [OUTSIDE, "2001:db8::1", "::ffff:192.0.2.1"])
def test_an_address_outside_is_refused(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as sock, pytest.raises(NetworkAccessError, match=address):
        sock.connect((address, 443))
    assert taken() == [f"socket.connect {address}"]


def test_a_datagram_outside_is_refused() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        pytest.raises(NetworkAccessError),
    ):
        sock.sendto(b"?", (OUTSIDE, 53))
    assert taken()


def test_a_name_outside_is_refused_before_a_name_server_is_asked() -> None:
    with pytest.raises(NetworkAccessError):
        socket.getaddrinfo("example.com", 443)
    with pytest.raises(NetworkAccessError):
        socket.gethostbyname("example.com")
    assert len(taken()) == 2


async def test_asyncio_and_threads_are_refused_too() -> None:
    with pytest.raises(NetworkAccessError):
        await asyncio.open_connection("example.com", 443)
    with pytest.raises(NetworkAccessError):
        await asyncio.open_connection(OUTSIDE, 443)
    errors: list[BaseException] = []

    def reach_out() -> None:
        try:
            socket.create_connection((OUTSIDE, 443), timeout=1)
        except NetworkAccessError as error:
            errors.append(error)

    thread = threading.Thread(target=reach_out)
    thread.start()
    thread.join()
    assert errors
    assert taken()


def test_an_unresolvable_host_fails_as_it_would_outside() -> None:
    with pytest.raises(socket.gaierror):
        socket.create_connection(("nowhere.invalid", 443), timeout=1)
    assert taken() == []


def test_loopback_is_let_through() -> None:
    for host in ("127.0.0.1", "localhost"):
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.create_connection((host, server.getsockname()[1]), timeout=5),
        ):
            pass


def test_a_child_process_has_the_guard() -> None:
    reach_out = f"import socket; socket.create_connection(({OUTSIDE!r}, 443), timeout=1)"
    child = subprocess.run(
        [sys.executable, "-c", reach_out], capture_output=True, text=True, timeout=30
    )
    assert child.returncode != 0
    assert "NetworkAccessError" in child.stderr


def test_no_key_of_this_machine_is_visible() -> None:
    assert [name for name in os.environ if name.endswith("_API_KEY")] == []
    assert os.listdir(os.environ["MODELROUTER_MODELS_DIR"]) == []
