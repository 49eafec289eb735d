"""How litellm is loaded and left, seen from outside: each test is a program of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

SETUP = """
import asyncio, sys, threading, time
from modelrouter import ModelCard
from modelrouter.backends.base import Request
from modelrouter.backends.hosted import LiteLLMBackend

def request_to(base):
    card = ModelCard.hosted("openai/gpt-4o", api_base=base, api_key="sk-test-0123456789abcdef")
    return Request(card, [{"role": "user", "content": "hi"}], timeout_s=20)

backend = LiteLLMBackend()
"""


def run(
    program: str, *, code: int = 0, setup: str = SETUP, silent: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The program's end, with that exit code; its standard error must be empty."""
    done = subprocess.run(
        [sys.executable, "-c", setup + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    assert done.returncode == code, done.stderr
    assert done.stderr == "" or not silent
    return done


@pytest.mark.parametrize("broken", ["sys.modules['litellm'] = None", "sys.meta_path.insert(0, No)"])
def test_without_litellm_the_pip_command_is_named_in_every_way_of_calling(broken):
    run(
        f"""
        from modelrouter import MissingDependencyError

        class No:
            def find_spec(name, *rest):
                if name == "litellm":
                    raise RuntimeError("half an installation")

        request = request_to("http://127.0.0.1:1/v1")
        {broken}
        backend.warm(request.card)  # silent
        async def every(stream): return [c async for c in stream]
        for call in (
            lambda: backend.complete(request),
            lambda: list(backend.stream(request)),
            lambda: asyncio.run(backend.acomplete(request)),
            lambda: asyncio.run(every(backend.astream(request))),
        ):
            try:
                call()
            except MissingDependencyError as error:
                assert "pip install" in str(error)
            else:
                raise AssertionError("nothing was raised")
        """
    )


def test_warming_returns_at_once_and_a_program_may_end_during_it():
    run(
        """
        started = time.monotonic()
        card = request_to("http://127.0.0.1:1/v1").card
        for _ in range(3):
            backend.warm(card)
        assert time.monotonic() - started < 0.5
        assert sum(t.name == "import-litellm" for t in threading.enumerate()) <= 1
        assert "litellm.main" not in sys.modules
        """
    )


@pytest.mark.parametrize("after", [0.0, 0.3, 1.0, 2.0])
def test_a_program_may_end_anywhere_in_the_import(after):
    done = run(
        f"""
        backend.warm(None)
        time.sleep({after})
        print(time.time())
        """
    )
    assert time.time() - float(done.stdout) < 10


SERVER = """
from tests.support.scripted_server import ScriptedServer, blanks, drip, reply, slow
server = ScriptedServer().__enter__()
request = request_to(server.base_url)
backend.complete(request)  # what takes long is loaded
"""


@pytest.mark.parametrize("behaviour", ["slow(60)", "blanks(0.05)"])
@pytest.mark.parametrize("call", ["backend.complete", "next(backend.stream"])
def test_a_program_whose_provider_never_answers_ends_at_once_with_the_typed_error(call, behaviour):
    call += "(request))" if call.startswith("next") else "(request)"
    done = run(
        f"""
        from dataclasses import replace
        from modelrouter import BackendTimeoutError
        server.script({behaviour})
        request = replace(request, timeout_s=0.3)
        try:
            {call}
        except BackendTimeoutError as error:
            print(time.time())
            sys.exit(7)
        """,
        code=7,
        setup=SETUP + SERVER,
    )
    assert time.time() - float(done.stdout) < 10


@pytest.mark.parametrize("ends", ["sys.exit()", "raise KeyboardInterrupt", "time.sleep(0.2)"])
def test_a_program_ends_at_once_though_others_of_its_threads_wait_for_an_answer(ends):
    program = f"""
        server.script(slow(60))
        def ask():
            try: backend.complete(request)
            except Exception: pass
        for _ in range(4):
            threading.Thread(target=ask, daemon=True).start()
        server.script(slow(60))
        left_open = backend.stream(request)
        while len(server.requests) < 5: time.sleep(0.01)
        server.script(drip(0.01))
        next(left_open)
        print(time.time(), flush=True)
        {ends}
        """
    code = 1 if "Keyboard" in ends else 0
    done = run(program, code=code, setup=SETUP + SERVER, silent="Keyboard" not in ends)
    assert time.time() - float(done.stdout) < 10


def test_nothing_is_printed_whatever_happens_and_however_it_ends():
    done = run(
        """
        from modelrouter import BackendError
        from tests.support.scripted_server import ScriptedServer, cut, drip, reply, status

        async def every(stream): return [c async for c in stream]

        server = ScriptedServer().__enter__()
        request = request_to(server.base_url)
        ways = (
            lambda: backend.complete(request),
            lambda: list(backend.stream(request)),
            lambda: asyncio.run(backend.acomplete(request)),
            lambda: asyncio.run(every(backend.astream(request))),
        )
        for behaviour in (reply(), status(401), status(500), cut(2)):
            server.script(behaviour)
            for way in ways:
                try:
                    way()
                except BackendError:
                    pass
        loops = [threading.Thread(target=way) for way in ways[2:] * 3]
        server.script(reply())
        for thread in loops: thread.start()
        for thread in loops: thread.join()
        server.script(drip(0.01))
        left_open = backend.stream(request)
        next(left_open)
        asyncio.run(backend.astream(request).__anext__())
        assert "LITELLM_LOCAL_MODEL_COST_MAP" in __import__("os").environ
        print("end")
        """,
        LITELLM_LOCAL_MODEL_COST_MAP="",
    )
    assert done.stdout == "end\n"
