"""Loads a GGUF file in a process of its own first, because llama.cpp ends it on some files.

llama.cpp checks much of a file by assertions that abort: two tokens of the same text, a list that
is shorter than another, an array where a number belongs. No check from outside can know them all,
so the file is really loaded, asked for a token, and its tokenizer run on every byte, where an
abort hurts nobody.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

from modelrouter.exceptions import LocalModelError, ModelFileError

__all__ = ["try_out", "wants_memory"]

_SECONDS: Final = 300.0
_REFUSED: Final = 3
_NOT_RUN: Final = 4

_PROGRAM: Final = r"""
import ctypes, json, os, sys
model_path, n_threads, sys.path[:] = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
lora_path = sys.argv[4]
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # an abort leaves no file behind
except Exception:
    pass
try:
    import llama_cpp.llama_cpp as c
except BaseException as error:
    print(error, file=sys.stderr)
    os._exit(4)
reasons = []
@c.llama_log_callback
def keep(level, text, data):
    if level == 4:
        reasons.append(text.decode("utf-8", "replace").strip())
c.llama_log_set(keep, ctypes.c_void_p(0))
def must(value, otherwise):
    if not value:
        print("; ".join(reasons) or otherwise, file=sys.stderr, flush=True)
        os._exit(3)
    return value
c.llama_backend_init()
params = c.llama_model_default_params()
params.n_gpu_layers = 0
model = must(c.llama_model_load_from_file(os.fsencode(model_path), params), "it cannot be loaded")
vocab = c.llama_model_get_vocab(model)
room = (c.llama_token * 4096)()
def tokenize(data):
    return c.llama_tokenize(vocab, data, len(data), room, 4096, False, True)
for byte in range(256):
    tokenize(bytes([byte]))
    tokenize(b"a" + bytes([byte]) * 2 + b"b")
text = "The  cat's 12 hats,\n\n\tand \u00e9\u6f22\u5b57\U0001f389 \u0627\u0644 <s> </s>  !?\r\n"
count = must(max(tokenize(text.encode()), 0), "its tokenizer knows no text")
lora = None
if lora_path:
    lora = must(c.llama_adapter_lora_init(model, os.fsencode(lora_path)), "its adapter is refused")
params = c.llama_context_default_params()
params.n_ctx, params.n_batch, params.n_ubatch, params.n_seq_max = 256, 64, 64, 1
params.n_threads = params.n_threads_batch = n_threads
context = must(c.llama_init_from_model(model, params), "it cannot run")
if lora_path:
    kind = c.llama_adapter_lora_p_ctypes
    adapters = (kind * 1)(ctypes.cast(lora, kind))
    must(c.llama_set_adapters_lora(context, adapters, 1, (ctypes.c_float * 1)(1.0)) == 0, "no LoRA")
for tokens in (list(room[:min(count, 8)]), [room[0]]):
    array = (c.llama_token * len(tokens))(*tokens)
    must(c.llama_decode(context, c.llama_batch_get_one(array, len(tokens))) == 0, "it cannot run")
    must(c.llama_get_logits_ith(context, -1), "it generates no text")
for token in range(c.llama_vocab_n_tokens(vocab)):
    c.llama_vocab_get_text(vocab, token)
c.llama_token_to_piece(vocab, room[0], ctypes.create_string_buffer(64), 64, 0, False)
os._exit(0)
"""

_FROM_OUTSIDE: Final = frozenset(
    getattr(signal, name, None) for name in ("SIGKILL", "SIGINT", "SIGTERM", "SIGHUP", "SIGXCPU")
)
_NO_MEMORY: Final = re.compile(
    r"insufficient memory|cannot allocate memory|bad_alloc|failed to allocate|mem_buffer != NULL"
    r"|unable to allocate|out of memory|MemoryError",
    re.IGNORECASE,
)
_SOURCE_PATH: Final = re.compile(r"^\S*[/\\](?=[\w.-]+:\d+: )")
"""Where on the building machine the asserting source file was."""

_log = logging.getLogger(__name__)
_verdicts: Final[dict[str, str]] = {}
"""What this process found wrong with a version of a file; empty text for nothing."""


def try_out(
    path: Path,
    n_threads: int,
    cache_dir: Path | None,
    go_on: Callable[[], bool],
    lora: Path | None = None,
) -> None:
    """Make sure that loading the file does not end this process; quick when it was before.

    Files that ship with this package are not tried.

    Args:
        path: the file.
        n_threads: to compute with.
        cache_dir: where passed trials are remembered; ``None`` for the user's cache directory.
        go_on: asked when the trial has begun and ten times a second; ``False`` ends it.
        lora: an adapter to be tried with it.

    Raises:
        ModelFileError: llama.cpp refuses the file or dies of it; the message says how.
        LocalModelError: the trial did not come to an end; another one may.
    """
    if lora is None and path.is_relative_to(_assets()):
        return
    version = _version(path, lora)
    problem = _verdicts.get(version)
    if problem is None:
        mark = (cache_dir or _user_cache()) / version
        problem = "" if mark.exists() else _run(path, n_threads, go_on, lora)
        _verdicts[version] = problem
        if not problem:
            _remember(mark)
    if problem:
        files = f"{path} with {lora}" if lora is not None else str(path)
        raise ModelFileError(f"{files} {problem}", hint=_way_out(problem))


def wants_memory(reason: str) -> bool:
    """Whether llama.cpp's reason is that there was no memory."""
    return _NO_MEMORY.search(reason) is not None


def _way_out(problem: str) -> str:
    if "unknown model architecture" in problem:  # the file is sound, and newer than the library
        return "A newer version may know it: pip install --upgrade llama-cpp-python."
    return "Download or convert it again."


def _remember(mark: Path) -> None:
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError as exc:  # the next process tries again
        _log.debug("A passed trial cannot be remembered: %s", exc)


def _run(path: Path, n_threads: int, go_on: Callable[[], bool], lora: Path | None) -> str:
    """What is wrong with the file, empty if nothing is."""
    if not sys.executable or getattr(sys, "frozen", False):
        return ""  # packed into one program: there is no Python to start
    command = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(path), str(n_threads)]
    try:
        process = subprocess.Popen(
            [*command, json.dumps(sys.path), str(lora or "")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "GGML_NO_BACKTRACE": "1"},
            start_new_session=True,  # an interrupt at the terminal is not for it
        )
    except OSError as exc:
        _log.warning("%s is loaded without a trial: %s", path, exc)
        return ""
    with process:
        errors = _wait(process, path, go_on)
    reason = _SOURCE_PATH.sub("", errors.decode("utf-8", "replace").strip().rpartition("\n")[2])
    if process.returncode == 0:
        return ""
    if -process.returncode in _FROM_OUTSIDE:
        raise LocalModelError(
            f"The trial of {path} was ended from outside ({_death(process.returncode)}).",
            hint="It may need more memory than is free.",
        )
    if wants_memory(reason):  # which says nothing of the file
        raise LocalModelError(
            f"There is not enough memory to try {path}: {reason}.", hint="Free some, and try again."
        )
    if process.returncode == _NOT_RUN:  # loading it here will say the same, in its own words
        _log.warning("%s is loaded without a trial: %s", path, reason)
        return ""
    if process.returncode == _REFUSED:
        return f"is refused by llama.cpp: {reason}."
    return f"ends llama.cpp ({_death(process.returncode)}): {reason or 'no reason given'}."


def _wait(process: subprocess.Popen[bytes], path: Path, go_on: Callable[[], bool]) -> bytes:
    deadline = time.monotonic() + _SECONDS
    while go_on() and time.monotonic() < deadline:
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=0.1)[1]
    process.kill()
    raise LocalModelError(f"The trial of {path} was broken off.")


def _death(code: int) -> str:
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"exit code {code:#x}"


def _version(path: Path, lora: Path | None) -> str:
    """A name for this version of the files under this version of llama.cpp."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        by = version("llama-cpp-python")
    except PackageNotFoundError:  # a build of one's own
        by = ""
    text = f"{by}\0{_PROGRAM}"
    for file in (path, *([lora] if lora is not None else [])):
        stat = file.stat()
        text += f"\0{file}\0{stat.st_size}\0{stat.st_mtime_ns}"
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:32]


def _user_cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("modelrouter") / "trials"


@cache
def _assets() -> Path:
    return Path(str(resources.files("modelrouter"))) / "assets"
