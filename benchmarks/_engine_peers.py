"""The ways of running one local model that benchmarks/local_engine.py measures, under one contract.

In this process: our backend, a plain loop over llama.cpp's C API, and ``llama_cpp.Llama`` behind a
lock. Over HTTP on loopback: llama-cpp-python's server, its batching example server, and llama.cpp's
llama-server. Each gets the same threads, batch size and context a caller, and answers greedily.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from _models import cache_dir

BATCH = 512  # prompt tokens in one step
CACHE_TYPES = {"f16": 1, "q8_0": 8}  # as ggml numbers them
CACHE_BYTES = {"f16": 2.0, "q8_0": 34 / 32}  # for each number kept


class PeerMissingError(Exception):
    """This peer cannot be run here; the message says why and what would help."""


@dataclass(frozen=True)
class Setup:
    """What every peer is started with."""

    path: Path
    threads: int
    slots: int
    context: int  # tokens a slot
    cache_type: str | None = None  # of keys and values; by default each peer's own choice
    exact: bool = False  # ours: nothing asked before may change a bit


@dataclass(frozen=True)
class Answer:
    """One answer: how many tokens were decoded, and their text."""

    tokens: int
    text: str


class Peer:
    """One way of running a model. Subclasses say how one request is answered."""

    name: ClassVar[str]
    batches: ClassVar[bool] = True  # does it answer several requests at once?

    def prepare(self, callers: Sequence[int]) -> None:
        """Do beforehand what is done once, for these numbers of callers."""
        self.ask("warm up", 4)

    def ask(self, prompt: str, max_tokens: int) -> Answer:
        """Answer; called by as many threads as there are callers."""
        raise NotImplementedError

    def first_token_s(self, prompt: str) -> float:
        """Seconds until the first piece of a streamed answer."""
        raise NotImplementedError

    def answers(self, prompts: Sequence[Sequence[str]], max_tokens: int) -> list[Answer]:
        """One list of prompts a caller; each caller sends its own one after another."""
        found: list[Answer] = []
        failures: list[BaseException] = []
        start = threading.Barrier(len(prompts) + 1)

        def call(own: Sequence[str]) -> None:
            try:
                start.wait()
                found.extend(self.ask(prompt, max_tokens) for prompt in own)
            except BaseException as exc:  # handed to the measuring thread, which raises it
                failures.append(exc)

        threads = [threading.Thread(target=call, args=(own,), daemon=True) for own in prompts]
        for thread in threads:
            thread.start()
        start.wait()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return found

    def cpu_s(self) -> float:
        """Seconds of processor time so far: the callers' and the peer's."""
        return time.process_time()

    def close(self) -> None:
        """Free the model."""


class Ours(Peer):
    """modelrouter's own backend."""

    name = "modelrouter"

    def __init__(self, setup: Setup) -> None:
        from modelrouter import ModelCard
        from modelrouter.backends.llamacpp import LlamaCppBackend, LlamaCppSettings

        wanted = {
            "n_threads": setup.threads,
            "n_batch": BATCH,
            "slots": setup.slots,
            "context_per_slot": setup.context,
            "cache_type": setup.cache_type,
            "exact": setup.exact,
        }
        known = {field.name for field in fields(LlamaCppSettings)}
        settings: dict[str, Any] = {name: value for name, value in wanted.items() if name in known}
        self.card = ModelCard.local(setup.path)
        self.backend = LlamaCppBackend(LlamaCppSettings(**settings))

    @property
    def cache_type(self) -> str:
        """How keys and values are kept; the model must be loaded."""
        return self.backend.figures(self.card).cache_type

    def request(self, prompt: str, max_tokens: int, timeout_s: float | None = None) -> Any:
        """The request that :meth:`ask` makes."""
        from modelrouter.backends.base import Request
        from modelrouter.config import GenerationSettings

        return Request(
            card=self.card,
            messages=[{"role": "user", "content": prompt}],
            settings=GenerationSettings(max_tokens=max_tokens),
            timeout_s=timeout_s,
        )

    def ask(self, prompt: str, max_tokens: int) -> Answer:
        reply = self.backend.complete(self.request(prompt, max_tokens))
        assert reply.usage is not None
        return Answer(reply.usage.completion_tokens, reply.choices[0].message.content or "")

    def first_token_s(self, prompt: str) -> float:
        began = time.perf_counter()
        with closing(self.backend.stream(self.request(prompt, 4))) as chunks:
            for chunk in chunks:
                if chunk.choices[0].delta.content:
                    return time.perf_counter() - began
        raise RuntimeError("an answer without text")

    def close(self) -> None:
        self.backend.close()


class LowLevel(Peer):
    """A plain loop over llama.cpp's C API: as many sequences as callers, all in step.

    What the library can do from Python with nothing around it: no queue, no threads, no stop
    strings, no stream. Each number of sequences gets a context made for it.
    """

    name = "low-level loop"

    def __init__(self, setup: Setup) -> None:
        import jinja2
        import llama_cpp

        self._lib = llama_cpp
        self._setup = setup
        logging.getLogger("llama-cpp-python").setLevel(logging.ERROR)
        llama_cpp.llama_backend_init()
        self._model = llama_cpp.llama_model_load_from_file(
            str(setup.path).encode(), llama_cpp.llama_model_default_params()
        )
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._size = llama_cpp.llama_vocab_n_tokens(self._vocab)
        template = llama_cpp.llama_model_chat_template(self._model, None).decode()
        self._template = jinja2.Environment().from_string(template)
        self._contexts: dict[int, Any] = {}
        # The batch's arrays grow to hold all prompts of one step, or one token a sequence.
        self._batch = llama_cpp.llama_batch_init(BATCH, 0, 1)

    def prepare(self, callers: Sequence[int]) -> None:
        for sequences in callers:
            self.answers([["warm up"]] * sequences, 2)

    def _context(self, sequences: int) -> Any:
        if sequences not in self._contexts:
            parameters = self._lib.llama_context_default_params()
            parameters.n_ctx = self._setup.context * sequences
            parameters.n_seq_max = sequences
            parameters.n_batch = parameters.n_ubatch = BATCH
            parameters.n_threads = parameters.n_threads_batch = self._setup.threads
            if self._setup.cache_type:
                parameters.type_k = parameters.type_v = CACHE_TYPES[self._setup.cache_type]
            context = self._lib.llama_init_from_model(self._model, parameters)
            if not context:
                raise RuntimeError(f"no context for {sequences} sequences")
            self._contexts[sequences] = context
        return self._contexts[sequences]

    def answers(self, prompts: Sequence[Sequence[str]], max_tokens: int) -> list[Answer]:
        found: list[Answer] = []
        context = self._context(len(prompts))
        for together in zip(*prompts, strict=True):
            self._lib.llama_memory_clear(self._lib.llama_get_memory(context), False)
            found += self._in_step(context, together, max_tokens)
        return found

    def _in_step(self, context: Any, prompts: Sequence[str], max_tokens: int) -> list[Answer]:
        lib, batch = self._lib, self._batch
        tokens = [self.tokens(prompt) for prompt in prompts]
        last = self._prefill(context, tokens)
        answers = [[int(token)] for token in last]
        positions = [len(own) for own in tokens]
        for i in range(len(prompts)):  # which row is whose stays, so it is written once
            self._row(i, 0, 0, sequence=i, wanted=True)
        batch.n_tokens = len(prompts)
        for _ in range(max_tokens - 1):
            for i, answer in enumerate(answers):
                batch.token[i] = answer[-1]
                batch.pos[i] = positions[i]
                positions[i] += 1
            self._decode(context)
            logits = np.ctypeslib.as_array(
                lib.llama_get_logits(context), shape=(len(answers), self._size)
            )
            for answer, token in zip(answers, logits.argmax(axis=1).tolist(), strict=True):
                answer.append(token)
        return [Answer(len(answer), self._text(answer)) for answer in answers]

    def _prefill(self, context: Any, prompts: Sequence[Sequence[int]]) -> list[int]:
        """Read the prompts, as many in one step as fit; the first token of each answer."""
        last = [0] * len(prompts)
        ends: dict[int, int] = {}
        rows = 0

        def flush() -> None:
            nonlocal rows
            self._batch.n_tokens = rows
            self._decode(context)
            for row, sequence in ends.items():
                logits = np.ctypeslib.as_array(
                    self._lib.llama_get_logits_ith(context, row), shape=(self._size,)
                )
                last[sequence] = int(logits.argmax())
            ends.clear()
            rows = 0

        for sequence, prompt in enumerate(prompts):
            for position, token in enumerate(prompt):
                final = position == len(prompt) - 1
                self._row(rows, token, position, sequence=sequence, wanted=final)
                if final:
                    ends[rows] = sequence
                rows += 1
                if rows == BATCH:
                    flush()
        if rows:
            flush()
        return last

    def _row(self, row: int, token: int, position: int, *, sequence: int, wanted: bool) -> None:
        batch = self._batch
        batch.token[row] = token
        batch.pos[row] = position
        batch.n_seq_id[row] = 1
        batch.seq_id[row][0] = sequence
        batch.logits[row] = wanted

    def _decode(self, context: Any) -> None:
        failed = self._lib.llama_decode(context, self._batch)
        if failed:
            raise RuntimeError(f"llama_decode returned {failed}")

    def tokens(self, prompt: str) -> list[int]:
        """The tokens of the prompt as the model's template writes it."""
        text = self._template.render(
            messages=[{"role": "user", "content": prompt}], add_generation_prompt=True
        ).encode()
        room = (self._lib.llama_token * (len(text) + 8))()
        count = self._lib.llama_tokenize(self._vocab, text, len(text), room, len(room), False, True)
        return room[:count]

    def _text(self, tokens: Sequence[int]) -> str:
        import ctypes

        room = ctypes.create_string_buffer(256)
        pieces = []
        for token in tokens:
            size = self._lib.llama_token_to_piece(self._vocab, token, room, 256, 0, False)
            pieces.append(room.raw[:size])
        return b"".join(pieces).decode("utf-8", errors="replace")

    def gap(self, prompt: str, texts: Sequence[str], max_tokens: int) -> float:
        """How far apart the two likeliest tokens' logits are where one of the texts leaves the
        greedy answer; 0 where none does.
        """
        context = self._context(1)
        self._lib.llama_memory_clear(self._lib.llama_get_memory(context), False)
        tokens = self.tokens(prompt)
        answer: list[int] = []
        self._prefill(context, [tokens])
        for position in range(len(tokens), len(tokens) + max_tokens):
            row = self._lib.llama_get_logits_ith(context, -1)
            logits = np.ctypeslib.as_array(row, shape=(self._size,))
            second, first = np.partition(logits, -2)[-2:]
            answer.append(int(logits.argmax()))
            if not all(text.startswith(self._text(answer)) for text in texts):
                return float(first - second)
            self._row(0, answer[-1], position, sequence=0, wanted=True)
            self._batch.n_tokens = 1
            self._decode(context)
        return 0.0

    def close(self) -> None:
        self._lib.llama_batch_free(self._batch)
        for context in self._contexts.values():
            self._lib.llama_free(context)
        self._lib.llama_model_free(self._model)


class LowLevelSame(LowLevel):
    """The same loop with keys and values kept as ours keeps them, where that is not the default."""

    name = "low-level loop, our cache"


def _cache_types(setup: Setup) -> dict[str, Any]:
    """What makes llama-cpp-python keep keys and values so; eight bits need flash attention."""
    if setup.cache_type is None:
        return {}
    kind = CACHE_TYPES[setup.cache_type]
    return {"type_k": kind, "type_v": kind, "flash_attn": True}


class LockedLlama(Peer):
    """``llama_cpp.Llama``, which answers one request at a time, behind a lock."""

    name = "llama_cpp.Llama, lock"
    batches = False

    def __init__(self, setup: Setup) -> None:
        from llama_cpp import Llama

        self._lock = threading.Lock()
        self._llama = Llama(
            str(setup.path),
            n_ctx=setup.context,
            n_batch=BATCH,
            n_threads=setup.threads,
            n_threads_batch=setup.threads,
            verbose=False,
            **_cache_types(setup),
        )

    def ask(self, prompt: str, max_tokens: int) -> Answer:
        with self._lock:
            reply: Any = self._llama.create_chat_completion(
                [{"role": "user", "content": prompt}], max_tokens=max_tokens, temperature=0.0
            )
        return Answer(
            reply["usage"]["completion_tokens"], reply["choices"][0]["message"]["content"]
        )

    def first_token_s(self, prompt: str) -> float:
        began = time.perf_counter()
        with self._lock:
            chunks: Any = self._llama.create_chat_completion(
                [{"role": "user", "content": prompt}], max_tokens=4, temperature=0.0, stream=True
            )
            for chunk in chunks:
                if chunk["choices"][0]["delta"].get("content"):
                    return time.perf_counter() - began
        raise RuntimeError("an answer without text")

    def close(self) -> None:
        self._llama.close()


class Server(Peer):
    """A server with OpenAI's chat endpoint, in a process of its own, asked over loopback."""

    ready_path: ClassVar[str] = "/v1/models"
    extra: ClassVar[dict[str, Any]] = {}  # fields that ask it for the likeliest token, no more

    def __init__(self, setup: Setup) -> None:
        self._port = _free_port()
        self._local = threading.local()
        self._log = cache_dir() / f"{type(self).__name__}.log"
        command = self.command(setup, self._port)
        with self._log.open("wb") as log:
            # In a session of its own, so that Ctrl-C leaves it to close().
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.close()
            raise

    def command(self, setup: Setup, port: int) -> list[str]:
        """What starts it.

        Raises:
            PeerMissingError: it is not installed or built.
        """
        raise NotImplementedError

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
                connection.request("GET", self.ready_path)
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        tail = self._log.read_text(errors="replace")[-500:]
        raise PeerMissingError(f"it did not start; the end of {self._log}: {tail}")

    def _connection(self) -> http.client.HTTPConnection:
        """One kept-open connection a thread."""
        if not hasattr(self._local, "connection"):
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=600)
            connection.connect()
            assert connection.sock is not None
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._local.connection = connection
        found: http.client.HTTPConnection = self._local.connection
        return found

    def _post(self, prompt: str, max_tokens: int, *, stream: bool) -> http.client.HTTPResponse:
        body = {
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": max_tokens,
            "temperature": 0.0,
            "stream": stream,
            **self.extra,
        }
        connection = self._connection()
        connection.request(
            "POST",
            "/v1/chat/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        response = connection.getresponse()
        if response.status != 200:
            raise RuntimeError(f"{self.name} answered {response.status}: {response.read()[:500]!r}")
        return response

    def ask(self, prompt: str, max_tokens: int) -> Answer:
        reply = json.loads(self._post(prompt, max_tokens, stream=False).read())
        return Answer(
            reply["usage"]["completion_tokens"], reply["choices"][0]["message"]["content"]
        )

    def first_token_s(self, prompt: str) -> float:
        self._local.__dict__.clear()  # servers close a connection that was idle, or streamed on
        began = time.perf_counter()
        took: float | None = None
        with self._post(prompt, 4, stream=True) as response:
            for line in response:
                if took is None and line.startswith(b"data: {"):
                    choices = json.loads(line[6:]).get("choices")
                    if choices and choices[0]["delta"].get("content"):
                        took = time.perf_counter() - began
        if took is None:
            raise RuntimeError("an answer without text")
        return took

    def cpu_s(self) -> float:
        import psutil

        used = psutil.Process(self._process.pid).cpu_times()
        return time.process_time() + float(used.user + used.system)

    def close(self) -> None:
        self._process.send_signal(signal.SIGINT if os.name != "nt" else signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class PythonServer(Server):
    """``python -m llama_cpp.server``."""

    name = "llama_cpp.server"
    batches = False

    def command(self, setup: Setup, port: int) -> list[str]:
        try:
            import llama_cpp.server.app  # noqa: F401 # is the extra installed?
        except ImportError as exc:
            raise PeerMissingError(f"pip install 'llama-cpp-python[server]' ({exc})") from exc
        options = {
            "model": setup.path,
            "host": "127.0.0.1",
            "port": port,
            "n_ctx": setup.context,
            "n_batch": BATCH,
            "n_threads": setup.threads,
            "n_threads_batch": setup.threads,
            "verbose": False,
            **_cache_types(setup),
        }
        flags = [str(part) for key, value in options.items() for part in (f"--{key}", value)]
        return [sys.executable, "-m", "llama_cpp.server", *flags]


def _built() -> Path:
    """Where build_llama_server.sh works for the llama-cpp-python that is installed."""
    return cache_dir() / f"llama-server-{version('llama-cpp-python')}"


class ExampleServer(Server):
    """The single-file batching server in llama-cpp-python's source distribution."""

    name = "llama-cpp-python example server"
    ready_path = "/healthz"

    def command(self, setup: Setup, port: int) -> list[str]:
        release = f"llama_cpp_python-{version('llama-cpp-python')}"
        script = _built() / release / "examples" / "server" / "server.py"
        if not script.exists():
            raise PeerMissingError("its source is unpacked by benchmarks/build_llama_server.sh")
        config = cache_dir() / "example-server.json"
        model = {
            "path": str(setup.path),
            "alias": "benchmark",
            "n_ctx": setup.context * setup.slots,
            "n_seq_max": setup.slots,
            "n_batch": BATCH,
            "n_ubatch": BATCH,
            "threads": setup.threads,
            "threads_batch": setup.threads,
            "store_logits": False,  # as in all of its own configurations
            **_cache_types(setup),
        }
        server = {"host": "127.0.0.1", "port": port}
        config.write_text(json.dumps({"server": server, "model": model}))
        return [sys.executable, str(script), "-C", str(config)]


class LlamaServer(Server):
    """llama.cpp's own server, with continuous batching."""

    name = "llama-server"
    ready_path = "/health"
    extra: ClassVar[dict[str, Any]] = {"samplers": ["top_k"], "top_k": 1}

    def command(self, setup: Setup, port: int) -> list[str]:
        program = _built() / "build" / "bin" / "llama-server"
        if not program.exists():
            raise PeerMissingError("build it with benchmarks/build_llama_server.sh")
        options = {
            "-m": setup.path,
            "--host": "127.0.0.1",
            "--port": port,
            "-c": setup.context * setup.slots,
            "-np": setup.slots,
            "-b": BATCH,
            "-ub": BATCH,
            "-t": setup.threads,
            "-tb": setup.threads,
        }
        if setup.cache_type:
            options |= {"-ctk": setup.cache_type, "-ctv": setup.cache_type}
        return [str(program), *(str(part) for pair in options.items() for part in pair)]


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


PEERS: dict[str, type[Any]] = {  # each is made from a Setup
    "ours": Ours,
    "low-level": LowLevel,
    "low-level-same": LowLevelSame,
    "llama": LockedLlama,
    "python-server": PythonServer,
    "example-server": ExampleServer,
    "llama-server": LlamaServer,
}


def started(names: Sequence[str], setup: Setup) -> Iterator[tuple[str, Peer]]:
    """Each peer that can be run here, as it is started; the others are named on standard error."""
    for name in names:
        try:
            yield name, PEERS[name](setup)
        except PeerMissingError as exc:
            print(f"without {name}: {exc}", file=sys.stderr)
