"""A program that uses litellm itself: its callbacks stay and work, its logs tell no content."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.scripted_server import ScriptedServer, reply, status

KEY, ASKED, ANSWERED, ERROR = (
    "sk-theKeyOfTheUser12345",
    "whatIsAsked",
    "whatIsAnswered",
    "whatIsWrong",
)
PROGRAM = """
import contextlib, io, json, logging, os, sys, time

logs = io.StringIO()
logging.basicConfig(level=logging.DEBUG, stream=logs)
import litellm
from litellm.integrations.custom_logger import CustomLogger

mine = CustomLogger()

def heard(*_):
    heard.count += 1
heard.count = 0

litellm.callbacks = [mine]
litellm.success_callback = [heard]
names = ("drop_params", "num_retries", "cache", "modify_params", "request_timeout", "set_verbose")
before = {name: getattr(litellm, name, None) for name in names}

from modelrouter import ModelCard, RetryPolicy, Router
from modelrouter.exceptions import ModelRouterError

base, key, asked = sys.argv[1:4]
card = ModelCard.hosted("openai/gpt-4o", api_base=base)
with Router([card], retry=RetryPolicy(max_attempts=1), breakers=False, timeout=20) as router:
    router.completion(asked, model=card.name)
    print("from here on")  # before, litellm's import logs to standard output by itself
    for _ in range(3):
        for stream in (False, True):
            try:
                answer = router.completion(asked, model=card.name, stream=stream)
                list(answer) if stream else answer
            except ModelRouterError:
                pass
deadline = time.monotonic() + 5
while not heard.count and time.monotonic() < deadline:
    time.sleep(0.05)
print(json.dumps({
    "callbacks": litellm.callbacks == [mine],
    "success": heard in litellm.success_callback,
    "heard": heard.count > 0,
    "settings": before == {name: getattr(litellm, name, None) for name in names},
    "logs": logs.getvalue(),
}))
"""


def test_callbacks_stay_and_no_log_or_print_tells_keys_or_content(
    provider: ScriptedServer, tmp_path: Path
) -> None:
    answers = (*[reply(ANSWERED)] * 3, *[status(400, message=ERROR)] * 2, status(500))
    provider.script(*answers)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, provider.base_url, KEY, ASKED],
        env={**os.environ, "OPENAI_API_KEY": KEY},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    _, _, printed = done.stdout.partition("from here on\n")
    (line,) = printed.splitlines()
    told = json.loads(line)
    for secret in (KEY, ASKED, ANSWERED, ERROR):
        assert secret not in told["logs"]
        assert secret not in done.stderr
        assert secret not in done.stdout.removesuffix(line + "\n")
    assert told.pop("logs")
    assert all(told.values()), told
