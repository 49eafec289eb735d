"""The command pull, as it is typed."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.hub_server import HubServer


def environment(hub: HubServer, folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "HF_ENDPOINT": hub.endpoint,
        "HF_HUB_OFFLINE": "0",
        "MODELROUTER_MODELS_DIR": str(folder),
        "COLUMNS": "200",
    }


def pull(
    hub: HubServer, folder: Path, *words: str, stdin: int = subprocess.DEVNULL
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "modelrouter.cli", "pull", *words],
        env=environment(hub, folder),
        stdin=stdin,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_it_shows_what_there_is_and_its_licence_and_fetches(hub: HubServer, folder: Path) -> None:
    done = pull(hub, folder, "phi-2", "-q", "Q4_K_M", "--yes")
    assert done.returncode == 0, done.stderr
    for shown in ("Q4_K_M", "Q8_0", "on disk", "memory", "Licence: MIT", "phi-2 is ready"):
        assert shown in done.stdout
    assert [path.name for path in folder.iterdir()] == ["phi-2.Q4_K_M.gguf"]


def test_list_fetches_nothing(hub: HubServer, folder: Path, small: bytes) -> None:
    done = pull(hub, folder, "phi-2", "--list", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["quantization"] for row in rows] == ["Q4_K_M", "Q8_0"]
    assert rows[0]["size_bytes"] == len(small)
    assert not folder.exists()


def test_without_anybody_to_ask_the_licence_has_to_be_accepted_by_an_option(
    hub: HubServer, folder: Path
) -> None:
    done = pull(hub, folder, "phi-2")
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert not folder.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of one's own is POSIX's")
@pytest.mark.parametrize(
    ("typed", "left"),
    [("\ny\n", ["phi-2.Q8_0.gguf"]), ("q4_k_m\ny\n", ["phi-2.Q4_K_M.gguf"]), ("\nn\n", [])],
)
def test_at_a_terminal_it_asks_which_and_whether(
    hub: HubServer, folder: Path, typed: str, left: list[str]
) -> None:
    import pty

    ours, theirs = pty.openpty()
    os.write(ours, typed.encode())
    done = pull(hub, folder, "phi-2", stdin=theirs)
    os.close(ours)
    os.close(theirs)
    assert "Which one [Q8_0]" in done.stderr
    assert "under that licence?" in done.stderr
    assert (done.returncode == 0) is bool(left)
    assert ([path.name for path in folder.iterdir()] if folder.exists() else []) == left


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of one's own is POSIX's")
def test_a_terminal_gets_a_bar(hub: HubServer, folder: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-m", "modelrouter.cli", "pull", "phi-2:Q4_K_M", "--yes"],
        env=environment(hub, folder) | {"TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # what Linux says when the other end is closed
        while data := os.read(ours, 4096):
            shown += data
    os.close(ours)
    assert done.wait(30) == 0
    assert b"phi-2.Q4_K_M.gguf" in shown
    assert b"MB/" in shown or b"kB" in shown


def test_errors_are_a_line_and_an_exit_code(hub: HubServer, folder: Path) -> None:
    done = pull(hub, folder, "nobody/nothing", "--yes")
    assert done.returncode == 1
    assert done.stderr.startswith("NotOnHubError: ")
    done = pull(hub, folder, "phi2", "--yes")
    assert done.returncode == 2
    assert "phi-2" in done.stderr
