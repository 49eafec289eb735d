"""What all tests share: a machine without keys or network, and the real servers on loopback."""

from __future__ import annotations

import contextlib
import filecmp
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.guard import network_guard

if TYPE_CHECKING:
    from tests.support.scripted_server import ScriptedServer

ROOT = Path(__file__).parents[1]

# Before anything else is imported: no test sees this machine's keys, proxies or settings,
_FOREIGN = re.compile(
    r"(_API_KEY|_API_KEYS|_API_BASE|_BASE_URL|_API_TOKEN|_AUTH_TOKEN|_PROXY)$"
    r"|^(OPENAI|ANTHROPIC|AZURE|AWS|GOOGLE|GEMINI|VERTEX|VERTEXAI|MISTRAL|COHERE|GROQ|TOGETHER"
    r"|DEEPSEEK|OPENROUTER|OLLAMA|HF|HUGGINGFACE|HUGGING_FACE|WATSONX|DATABRICKS|LITELLM"
    r"|MODELROUTER)_",
    re.IGNORECASE,
)
for _name in [name for name in os.environ if _FOREIGN.search(name)]:
    del os.environ[_name]
# its own folder of models,
_models_dir = tempfile.mkdtemp(prefix="modelrouter-tests-")
os.environ["MODELROUTER_MODELS_DIR"] = _models_dir
# or the network; neither do the processes that tests start.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(ROOT / "tests" / "guard"), os.environ.get("PYTHONPATH")])
)
network_guard.install()


def pytest_report_header() -> str:
    return f"modelrouter under test: {_package()}"


def pytest_sessionstart() -> None:
    """Refuse to test an installed copy that is not what src/ holds now."""
    source, installed = ROOT / "src" / "modelrouter", _package()
    if source == installed or not source.is_dir():
        return
    stale = [
        str(path.relative_to(source))
        for path in sorted(source.rglob("*"))
        if path.is_file()
        and "__pycache__" not in path.parts
        and not _same(path, installed / path.relative_to(source))
    ]
    if stale:
        raise pytest.UsageError(
            f"{installed} is not what src/ holds (first difference: {stale[0]}). "
            "`make unit` installs and tests it; `make dev` makes the installation follow src/."
        )


def pytest_unconfigure() -> None:
    shutil.rmtree(_models_dir, ignore_errors=True)


def _package() -> Path:
    return Path(str(resources.files("modelrouter")))


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and filecmp.cmp(one, other, shallow=False)


@pytest.fixture(autouse=True)
def _nothing_reaches_out() -> Iterator[None]:
    """Fail a test that tried, though the code under test may have swallowed the error."""
    network_guard.attempts.clear()
    yield
    tried, network_guard.attempts[:] = list(network_guard.attempts), []
    assert not tried, f"reached for the network: {tried}"


@pytest.fixture(scope="session")
def bundled_model() -> Path:
    """The GGUF file of the SLM in the package."""
    found = sorted((_package() / "assets").rglob("*.gguf"))
    assert len(found) == 1, f"one bundled model is expected, found {found}"
    return found[0]


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random llama-architecture model of half a megabyte that llama.cpp really loads."""
    from tests.support.gguf_factory import make_tiny_gguf

    return make_tiny_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture
def provider() -> Iterator[ScriptedServer]:
    """A hosted provider on loopback; it answers "hello" until a script says otherwise."""
    from tests.support.scripted_server import ScriptedServer

    with ScriptedServer() as server:
        yield server


@dataclass(frozen=True)
class LlamaServer:
    """A running OpenAI-compatible server of llama-cpp-python."""

    base_url: str
    model: str


@pytest.fixture(scope="session")
def llama_server(
    bundled_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LlamaServer]:
    """llama-cpp-python's own server with the bundled model: a hosted LLM, as real as it gets."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("llama_server") / "log.txt"
    command = [sys.executable, "-m", "llama_cpp.server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--model", str(bundled_model), "--model_alias", "hosted-llm"]
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait_until_it_answers(f"http://127.0.0.1:{port}/v1/models", server, log)
        yield LlamaServer(f"http://127.0.0.1:{port}/v1", "hosted-llm")
    finally:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(10)
        server.kill()
        server.wait()


def _wait_until_it_answers(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(url, timeout=5).close()
            return
        time.sleep(0.1)
    pytest.fail(f"llama_cpp.server did not start:\n{log.read_text(errors='replace')[-3000:]}")
