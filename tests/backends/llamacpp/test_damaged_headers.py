"""Headers that were changed at random, or say what cannot be: llama.cpp never ends the process.

The files are loaded without a trial in another process, so that what is refused is refused by the
package's own look at the header, or by llama.cpp in its own words.
"""

from __future__ import annotations

import random
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from modelrouter.backends.llamacpp import LlamaCppBackend, LlamaCppSettings
from modelrouter.backends.llamacpp.trial import try_out
from modelrouter.catalog.gguf import check, read_header
from modelrouter.exceptions import LocalModelError, ModelFileError
from tests.backends.llamacpp.conftest import Models, ask
from tests.support.gguf_factory import make_tiny_gguf

PROGRAM = """
import sys
from pathlib import Path
from modelrouter.backends.base import Request
from modelrouter.backends.llamacpp import LlamaCppBackend, LlamaCppSettings
from modelrouter.catalog.card import ModelCard
from modelrouter.config import GenerationSettings
from modelrouter.exceptions import BackendError, ModelFileError

backend = LlamaCppBackend(LlamaCppSettings(trial=False))
for path in sys.argv[1:]:
    print(Path(path).name, end=" ", flush=True)
    try:
        card = ModelCard.local(path)
        for text in ("hello world", "?"):
            request = Request(card, [{"role": "user", "content": text}],
                              GenerationSettings(max_tokens=4), timeout_s=20.0)
            backend.complete(request)
        print("answered")
    except BackendError as error:
        print(type(error).__name__)
    backend.unload()
backend.close()
print("alive")
"""

EDGES = (
    0,
    1,
    2,
    3,
    7,
    8,
    31,
    32,
    33,
    64,
    255,
    4_096,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63,
    2**64 - 1,
)


def mutated(data: bytes, header: int, chance: random.Random) -> bytes:
    """The file with bytes of its header changed: anywhere, or a whole number to an edge."""
    changed = bytearray(data)
    if chance.random() < 0.4:
        for _ in range(chance.choice((1, 2, 4, 16))):
            changed[chance.randrange(4, header)] = chance.randrange(256)
        return bytes(changed)
    # A number follows its type: four bytes of 4 (u32), 5 (i32) or 6 (f32).
    kinds = (4, 5, 6)
    places = [
        at + 4
        for at in range(24, header - 8)
        if struct.unpack_from("<I", data, at)[0] in kinds and data[at - 1 : at] != b"\0"
    ]
    at = chance.choice(places)
    value = chance.choice(EDGES) & 0xFFFFFFFF
    changed[at : at + 4] = value.to_bytes(4, "little")
    return bytes(changed)


def test_headers_changed_at_random_never_end_the_process(tmp_path: Path) -> None:
    good = make_tiny_gguf(tmp_path / "good.gguf")
    data, header, chance = good.read_bytes(), read_header(good).data_start, random.Random(300)
    paths = []
    for i in range(40):
        paths.append(tmp_path / f"{i}.gguf")
        paths[-1].write_bytes(mutated(data, header, chance))
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", PROGRAM, *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"{lines[-1:]}\n{done.stderr[-2000:]}"
    assert lines.pop() == "alive"
    outcomes = [line.split(" ")[1] for line in lines]
    assert len(outcomes) == 40
    assert {"answered", "ModelFileError"} <= set(outcomes)


def entry(key: str, kind: int, value: bytes) -> bytes:
    return len(key).to_bytes(8, "little") + key.encode() + struct.pack("<I", kind) + value


def with_entry(data: bytes, header: int, added: bytes) -> bytes:
    """The file with one more entry of metadata, put before all others."""
    count = struct.unpack_from("<Q", data, 16)[0]
    begin = data[:16] + struct.pack("<Q", count + 1) + added + data[24:header].rstrip(b"\0")
    # What was stripped of the last tensor's offset is given back before the alignment.
    stripped = len(data[24:header]) - len(data[24:header].rstrip(b"\0"))
    whole = begin + b"\0" * stripped
    return whole + b"\0" * (-len(whole) % 32) + data[header:]


def numbers(*values: int) -> bytes:
    return struct.pack(f"<IQ{len(values)}I", 4, len(values), *values)


WORDS = len("llama").to_bytes(8, "little") + b"llama"
SAYS: dict[str, tuple[tuple[str, int, bytes], str]] = {
    "more blocks that predict than blocks": (
        ("llama.nextn_predict_layers", 4, struct.pack("<I", 3)),
        "claims 3 of 2 blocks that predict",
    ),
    "as many blocks that predict as blocks": (
        ("llama.nextn_predict_layers", 4, struct.pack("<I", 2)),
        "claims 2 of 2 blocks that predict",
    ),
    "experts used of none, as truth values": (
        ("llama.expert_used_count", 9, struct.pack("<IQ2?", 7, 2, True, True)),
        "claims 1 experts used of 0",
    ),
    "experts used of none, block by block": (
        ("llama.expert_used_count", 9, numbers(0, 4)),
        "claims 4 experts used of 0",
    ),
}


@pytest.mark.parametrize("what", SAYS)
def test_a_header_on_which_llama_cpp_would_end_the_process_is_refused(
    tmp_path: Path, what: str
) -> None:
    added, problem = SAYS[what]
    good = make_tiny_gguf(tmp_path / "good.gguf")
    path = tmp_path / "bad.gguf"
    path.write_bytes(with_entry(good.read_bytes(), read_header(good).data_start, entry(*added)))
    with pytest.raises(ModelFileError, match=problem):
        check(path)


@pytest.mark.parametrize(
    ("tokenizer", "problem"),
    [("llama", "has no token for 60 of the 256 bytes"), ("no_vocab", "has no vocabulary")],
)
def test_a_tokenizer_that_its_vocabulary_does_not_fit_is_refused(
    tmp_path: Path, tokenizer: str, problem: str
) -> None:
    path = make_tiny_gguf(tmp_path / "m.gguf", metadata={"tokenizer.ggml.model": tokenizer})
    with pytest.raises(ModelFileError, match=problem.replace("60", r"\d+")):
        check(path)


LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
import numpy, llama_cpp.llama_cpp
from modelrouter.backends.base import Request
from modelrouter.backends.llamacpp import LlamaCppBackend, LlamaCppSettings
from modelrouter.catalog.card import ModelCard
from modelrouter.config import GenerationSettings
from modelrouter.exceptions import BackendError, ModelFileError

def ask(tokens):
    request = Request(card, [{"role": "user", "content": "hello"}],
                      GenerationSettings(max_tokens=tokens), timeout_s=60.0)
    return backend.complete(request)

path, more, trial = Path(sys.argv[1]), int(sys.argv[2]) << 20, sys.argv[3] == "trial"
backend = LlamaCppBackend(LlamaCppSettings(trial=trial, cache_dir=path.parent / "trials"))
card = ModelCard.local(path)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
no_limit = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_AS, (used + more, no_limit[1]))
for tokens in (8, 3_000):
    try:
        ask(tokens)
        print("answered")
    except ModelFileError as error:
        sys.exit(f"the file is not to blame: {error}")
    except BackendError as error:
        print(type(error).__name__)
resource.setrlimit(resource.RLIMIT_AS, no_limit)
print(len(ask(8).choices))
backend.close()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
@pytest.mark.parametrize("trial", ["trial", "no trial"])
@pytest.mark.parametrize("megabytes", [4, 100, 500])
def test_little_memory_is_a_typed_error_that_does_not_blame_the_file(
    tmp_path: Path, megabytes: int, trial: str
) -> None:
    path = make_tiny_gguf(
        tmp_path / "m.gguf", context_length=65_536, width=512, layers=4, ends=False
    )
    done = subprocess.run(
        [sys.executable, "-c", LITTLE_MEMORY, str(path), str(megabytes), trial],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-2000:]}"
    *tried, after = done.stdout.split()
    assert set(tried) <= {"answered", "LocalModelError"}
    assert after == "1"


def trials_of(path: Path) -> list[psutil.Process]:
    """The children that try the file; others, such as a server for all tests, are let alone."""
    return [child for child in psutil.Process().children() if str(path) in child.cmdline()]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no signals")
@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_a_trial_that_is_ended_from_outside_says_nothing_of_the_file(
    tmp_path: Path, how: str
) -> None:
    import signal
    import threading

    path = make_tiny_gguf(tmp_path / "m.gguf")
    raised: list[BaseException] = []

    def go_on() -> bool:
        for child in trials_of(path):
            child.send_signal(getattr(signal, how))
        return True

    def run() -> None:
        try:
            try_out(path, 1, tmp_path / "trials", go_on)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert isinstance(raised[0], LocalModelError)
    assert not isinstance(raised[0], ModelFileError)
    try_out(path, 1, tmp_path / "trials", lambda: True)


def test_an_interrupt_at_the_terminal_does_not_reach_the_trial(
    models: Models, tmp_path: Path
) -> None:
    import os

    path = make_tiny_gguf(tmp_path / "m.gguf")
    groups: list[int] = []

    def go_on() -> bool:
        groups.extend(os.getpgid(child.pid) for child in trials_of(path))
        return False

    with pytest.raises(LocalModelError, match="broken off"):
        try_out(path, 1, tmp_path / "trials", go_on)
    assert groups
    assert os.getpgrp() not in groups


INTERRUPTED = """
import os, signal, sys, threading, time
from pathlib import Path
from modelrouter import ModelCard, Policy, Router

path, way = Path(sys.argv[1]), sys.argv[2]
card = ModelCard.local(path, context_window=16_384)
router = Router([card], policy=Policy(min_quality=0.0), timeout=None)
router.completion("hi", model=card.name, max_tokens=1)

def interrupt():
    backend = router.backend("llamacpp")
    while not backend.figures(card).running:
        time.sleep(0.01)
    time.sleep(0.2)
    global sent
    sent = time.monotonic()
    os.kill(os.getpid(), signal.SIGINT)

text = "hello " * 2_400 if way == "prompt" else "hi"
threading.Thread(target=interrupt, daemon=True).start()
try:
    most = 1_000 if way == "prompt" else 16_000
    reply = router.completion(text, model=card.name, max_tokens=most, stream=way == "stream")
    for chunk in reply if way == "stream" else ():
        pass
except KeyboardInterrupt:
    assert time.monotonic() - sent < 1.0
else:
    sys.exit("it was not interrupted")
deadline = time.monotonic() + 2.0
while router.backend("llamacpp").figures(card).running and time.monotonic() < deadline:
    time.sleep(0.01)
assert router.backend("llamacpp").figures(card).running == 0
assert router.completion("hi", model=card.name, max_tokens=1).choices
router.close()
print("usable")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no signals")
@pytest.mark.parametrize("way", ["call", "stream", "prompt"])
def test_an_interrupt_comes_through_at_once_and_leaves_the_router_usable(
    models: Models, way: str
) -> None:
    assert models.endless.path is not None
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(models.endless.path), way],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "usable\n", "")


def test_unloading_and_closing_while_answers_come_ends_in_time(
    models: Models, trials: Path
) -> None:
    """Unloading lets what runs end; closing ends it."""
    backend = LlamaCppBackend(LlamaCppSettings(cache_dir=trials))
    stream = backend.stream(ask(models.endless, "?", max_tokens=50))
    next(stream)
    backend.unload(models.endless)
    assert sum(1 for _ in stream) > 0
    answering: Any = backend.stream(ask(models.endless, "?", max_tokens=16_000))
    next(answering)
    begun = time.monotonic()
    backend.close()
    assert time.monotonic() - begun < 2.0
    with pytest.raises(LocalModelError, match="closed"):
        list(answering)
