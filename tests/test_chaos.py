"""The chaos benchmark, small: every check of it holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "chaos.py"


@pytest.mark.timeout(240)
def test_nothing_is_lost_among_failing_providers_and_a_killed_process() -> None:
    command = [sys.executable, str(SCRIPT), "--tasks", "150", "--kills", "1", "--no-peer"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
