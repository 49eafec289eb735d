"""What importing costs: no heavy library, no network, little time; measured in child processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HEAVY = {"litellm", "openai", "llama_cpp", "numpy"}

REPORT = """
import json, sys, threading, time
socket_events = []
def hook(event, args):
    if event.startswith("socket.") and event != "socket.gethostname":
        socket_events.append(event)
sys.addaudithook(hook)
before = set(sys.modules)
started = time.perf_counter()
{code}
seconds = time.perf_counter() - started
print(json.dumps({{
    "modules": sorted(set(sys.modules) - before),
    "socket_events": socket_events,
    "seconds": seconds,
    "threads": threading.active_count(),
}}))
"""


def run(code: str, **environment: str) -> dict[str, Any]:
    """Run code in a Python of its own and report what it loaded and touched."""
    done = subprocess.run(
        [sys.executable, "-c", REPORT.format(code=code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def libraries(report: dict[str, Any]) -> set[str]:
    return {name.partition(".")[0] for name in report["modules"]}


@pytest.mark.parametrize(
    "code",
    [
        "import modelrouter",
        "from modelrouter import Router",
        "from modelrouter import *",
        "import modelrouter.cli",
        "from modelrouter import Router; Router()",
        "from modelrouter import AsyncRouter; AsyncRouter()",
        "from modelrouter import Router; Router().route('Fix the grammar: She go home.')",
    ],
)
def test_neither_import_nor_routing_loads_heavy_libraries_or_opens_a_socket(code: str) -> None:
    report = run(code)
    assert libraries(report) & HEAVY == set()
    assert report["socket_events"] == []
    assert report["threads"] == 1


def test_a_router_with_a_hosted_model_is_made_without_waiting_for_litellm() -> None:
    code = "from modelrouter import Router; Router()"
    report = run(code, OPENAI_API_KEY="sk-not-a-key")
    assert report["socket_events"] == []
    # A thread may have begun to import it; nobody waited the seconds that takes.
    assert report["seconds"] < 2


def test_litellm_stays_off_the_network_when_it_is_imported() -> None:
    forget = "import os; del os.environ['LITELLM_LOCAL_MODEL_COST_MAP']"  # ours to set, then
    wait = "[t.join() for t in threading.enumerate() if t is not threading.main_thread()]"
    report = run(
        f"{forget}; from modelrouter import Router; Router(); {wait}",
        OPENAI_API_KEY="sk-not-a-key",
    )
    assert "litellm" in libraries(report)
    reached = {"socket.connect", "socket.getaddrinfo", "socket.sendto"}
    assert reached & set(report["socket_events"]) == set()


def test_the_package_itself_loads_nothing_but_the_standard_library() -> None:
    report = run("import modelrouter")
    assert libraries(report) - set(sys.stdlib_module_names) == {"modelrouter"}


def test_importing_takes_under_100_ms() -> None:
    # The best of five: what the import costs, not what else this machine was doing.
    assert min(run("import modelrouter")["seconds"] for _ in range(5)) < 0.1


def test_heavy_libraries_would_be_noticed() -> None:
    report = run("import numpy, socket; socket.socket().close()")
    assert libraries(report) & HEAVY == {"numpy"}
    assert report["socket_events"] == ["socket.__new__"]


def test_the_type_marker_is_installed() -> None:
    import modelrouter

    assert (Path(modelrouter.__file__).parent / "py.typed").is_file()
