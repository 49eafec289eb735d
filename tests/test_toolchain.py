"""What `make demo` says on a machine where something is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "check-toolchain"
SH = shutil.which("sh")


@pytest.fixture
def bare_path(tmp_path: Path) -> str:
    """A PATH with what every system has, and neither a Python nor a compiler."""
    for name in ("grep", "uname"):
        found = shutil.which(name)
        assert found is not None
        (tmp_path / name).symlink_to(found)
    return str(tmp_path)


def check(what: str, **environment: str) -> subprocess.CompletedProcess[str]:
    assert SH is not None
    environment = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(
        [SH, str(SCRIPT), what], env=environment, capture_output=True, text=True, timeout=60
    )


def test_a_missing_compiler_is_named_with_the_package_for_each_system(bare_path: str) -> None:
    told = check("compiler", PATH=bare_path)
    assert told.returncode == 1
    for words in ("C++ compiler", "build-essential", "gcc-c++", "xcode-select", "Build Tools"):
        assert words in told.stderr


def test_a_compiler_that_cannot_compile_is_not_one(bare_path: str) -> None:
    fake = Path(bare_path) / "c++"
    fake.write_text("#!/bin/sh\necho 'no developer tools were found' >&2\nexit 1\n")
    fake.chmod(0o755)
    assert check("compiler", PATH=bare_path).returncode == 1


def test_a_wrong_cxx_is_named() -> None:
    told = check("compiler", CXX="/nowhere/g++ -O2")
    assert told.returncode == 1
    assert "CXX is '/nowhere/g++ -O2'" in told.stderr


def test_a_missing_python_is_named(bare_path: str) -> None:
    told = check("python", PATH=bare_path, PYTHON="python3")
    assert told.returncode == 1
    assert "no Python named 'python3'" in told.stderr
    assert "python3-venv" in told.stderr


def python(folder: Path, *, refuses: str, version: str) -> str:
    """An interpreter that answers as one does where a check fails: by exit status 1."""
    path = folder / "python-that-lacks-something"
    path.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo "Python {version}" && exit 0\n'
        f'case "$2" in *{refuses}*) exit 1 ;; esac\n'
    )
    path.chmod(0o755)
    return str(path)


def test_an_old_python_is_told_what_is_needed(tmp_path: Path) -> None:
    told = check("python", PYTHON=python(tmp_path, refuses="version_info", version="3.8.10"))
    assert told.returncode == 1
    assert "Python 3.8.10 is too old; Python 3.10 or newer is needed" in told.stderr


def test_a_python_without_ensurepip_is_told_the_package(tmp_path: Path) -> None:
    told = check("python", PYTHON=python(tmp_path, refuses="ensurepip", version="3.11.2"))
    assert told.returncode == 1
    assert "sudo apt install python3-venv" in told.stderr


def test_a_whole_python_passes_in_silence() -> None:
    import sys

    told = check("python", PYTHON=getattr(sys, "_base_executable", sys.executable))
    assert (told.returncode, told.stderr) == (0, "")
