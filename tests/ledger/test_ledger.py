"""The ledger keeps every call: what was decided, asked, answered and spent."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from modelrouter import (
    AllCandidatesFailedError,
    ConfigurationError,
    Ledger,
    ModelCard,
    NoEligibleModelError,
    RetryPolicy,
    Router,
    ServerError,
    StorageError,
)
from modelrouter._common.sqlite import open_database
from modelrouter.ledger.schema import LEDGER
from tests.ledger.conftest import LOCAL, SMALL, router_with
from tests.support import scripted_server

TASK = "Prove that the square root of 2 is irrational."
ROOT = str(Path(__file__).parents[2])
QUICK = RetryPolicy(max_attempts=2, initial_s=0, max_s=0, jitter_s=0)


def failing(request):
    raise ServerError(f"{request.card.name} is down", status=503)


def child(code: str, *arguments: str) -> list[str]:
    """A command line that runs code with what the tests can import."""
    return [sys.executable, "-c", code, *arguments]


@pytest.fixture
def environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join([ROOT, *filter(None, sys.path)])}


def test_a_call_is_one_row_with_its_decision_attempts_tokens_and_cost(ledger):
    router = router_with(ledger)
    reply = router.completion(TASK, tags={"user": "ann"}, conversation="c1", policy="best")
    row = ledger.get(reply)
    assert row.id == reply.trace.id
    assert (row.outcome, row.model, row.location) == ("answered", "acme/large", "hosted")
    assert (row.kind, row.policy) == (reply.decision.signals.kind, "best")
    assert row.prompt_tokens == reply.usage.prompt_tokens
    assert row.completion_tokens == reply.usage.completion_tokens == 5
    assert row.cost_pico == row.prompt_tokens * 10_000_000 + 5 * 30_000_000
    assert row.cost_usd == pytest.approx(reply.cost_usd)
    assert (row.tags, row.conversation, row.unpriced) == ({"user": "ann"}, "c1", 0)
    assert row.latency_s > 0
    assert abs(row.began_at - time.time()) < 5
    assert [(a.model, a.outcome, a.cost_pico) for a in row.attempts] == [
        ("acme/large", "answered", row.cost_pico)
    ]
    assert row.attempts[0].usage["completion_tokens"] == 5
    assert row.decision == reply.decision.model_dump()


def test_a_cost_by_estimated_tokens_says_so(ledger, provider):
    card = ModelCard.hosted(
        "openai/gpt-4o", api_base=provider.base_url, api_key="sk-test-0123456789abcdef"
    )
    with Router([card], ledger=ledger) as router:
        for told in (True, False):
            provider.script(scripted_server.reply("one two three", with_usage=told))
            with router.completion(TASK, stream=True, max_tokens=9) as stream:
                list(stream)
            assert stream.completion.usage.estimated is not told
    said, guessed = ledger.rows()
    assert (said.estimated, said.attempts[0].estimated) == (0, False)
    assert (guessed.estimated, guessed.attempts[0].estimated, guessed.unpriced) == (1, True, 0)
    assert guessed.cost_pico > 0
    (group,) = ledger.summary("model")
    assert (group.estimated, group.model_dump()["estimated"]) == (1, 1)


def test_failures_are_kept_with_every_attempt(ledger):
    router = router_with(ledger, failing, retry=QUICK)
    with pytest.raises(AllCandidatesFailedError) as caught:
        router.completion(TASK)
    (row,) = ledger.rows()
    assert row.id == caught.value.trace.id
    assert row.outcome == "failed"
    assert row.error.startswith("AllCandidatesFailedError: None of 2 models answered")
    assert len(row.attempts) == 4
    assert {a.outcome for a in row.attempts} == {"failed"}
    assert all("is down" in a.error for a in row.attempts)


def test_a_task_that_no_model_may_do_is_kept_too(ledger):
    router = router_with(ledger, lambda r: "", SMALL)
    with pytest.raises(NoEligibleModelError):
        router.completion(TASK, policy="private")
    (row,) = ledger.rows()
    assert (row.outcome, row.model, row.attempts) == ("failed", "", ())
    assert row.error.startswith("NoEligibleModelError")


def test_streams_are_kept_when_they_end_and_when_they_are_left(ledger):
    router = router_with(ledger)
    with router.completion(TASK, stream=True) as stream:
        list(stream)
    with router.completion(TASK, stream=True) as left:
        next(left)
    whole, part = ledger.rows()
    assert (whole.id, whole.outcome, whole.completion_tokens) == (stream.trace.id, "answered", 5)
    assert 0 < whole.first_token_s <= whole.latency_s
    assert (part.id, part.outcome) == (left.trace.id, "cancelled")
    assert part.unpriced == (part.location == "hosted")


async def test_awaited_calls_and_cancelled_ones_are_kept(ledger):
    started = asyncio.Event()

    class Slow:
        async def acomplete(self, request):
            started.set()
            await asyncio.sleep(60)

        def tokenizer(self, card):
            return None

    from modelrouter import Catalog, Router

    router = Router(catalog=Catalog([SMALL]), backends={"test": Slow()}, ledger=ledger)
    call = asyncio.create_task(router.acompletion(TASK))
    await started.wait()
    assert [row.outcome for row in ledger.rows()] == ["begun"]
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert [row.outcome for row in ledger.rows()] == ["cancelled"]


def test_texts_are_kept_as_a_hash_unless_asked_for(tmp_path):
    secret = "Prove that Zanzibar-4711 is prime."
    for policy in ("hash", "keep", "none"):
        path = tmp_path / policy
        with router_with(ledger := Ledger(path, text=policy)) as router:
            replies = [router.completion(secret) for _ in range(2)]
            first, second = ledger.rows()
            ledger.close()
        content = b"".join(f.read_bytes() for f in sorted(tmp_path.glob(f"{policy}*")))
        assert b"Zanzibar" not in content  # packed, where it is kept
        if policy == "keep":
            assert first.task.text == secret
            assert first.answer[0]["message"]["content"] == replies[0].text
        else:
            assert (first.text, first.answer, first.task) == (None, None, None)
        assert first.text_hash == second.text_hash
        assert (first.text_hash is None) == (policy == "none")
        assert "Zanzibar" not in str(first.decision)


def test_the_hash_of_a_text_differs_between_files(tmp_path):
    hashes = set()
    for name in "ab":
        with Ledger(tmp_path / name) as ledger:
            router_with(ledger).completion(TASK)
            hashes.update(row.text_hash for row in ledger.rows())
    assert len(hashes) == 2


def test_texts_with_personal_data_are_kept_only_where_that_is_asked_for(tmp_path):
    task = "Write a letter to ann.smith@example.org, please."
    for keep in (False, True):
        with Ledger(tmp_path / str(keep), text="keep", keep_pii=keep) as ledger:
            router_with(ledger).completion(task)
            (row,) = ledger.rows()
        assert (row.text is not None) == (row.answer is not None) == keep
        assert row.text_hash


def test_a_kept_task_comes_back_whole(tmp_path):
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi \ud83d there \u2028 \x00 ünï"},
    ]
    card = SMALL.model_copy(update={"capabilities": frozenset({"tools"})})
    with Ledger(tmp_path / "l", text="keep") as ledger:
        router = router_with(ledger, lambda r: "ok", card)
        router.completion(messages, tools=tools, metadata={"team": "legal"}, max_tokens=9)
        (row,) = ledger.rows()
    assert row.task.to_openai() == messages
    assert list(row.task.tools) == tools
    assert (row.task.metadata, row.task.max_tokens) == ({"team": "legal"}, 9)


def test_feedback_on_local_answers_teaches_what_their_confidence_is_worth(tmp_path):
    with Router(ledger=tmp_path / "l", policy="private") as router:
        for text in ("She go home.", "He don't know.", "They was late."):
            reply = router.completion(f"Fix the grammar: {text}")
            router.feedback(reply, 1.0)
            stream = router.completion(f"Fix the grammar: {text} Yes.", stream=True)
            list(stream)
            router.feedback(stream.trace.id, 0.0)
        rows = list(router.ledger.confidences())
    assert [score for _, _, score in rows] == [1.0, 0.0] * 3
    assert all(kind == "grammar" and 0 < sure <= 1 for kind, sure, _ in rows)


def test_no_key_is_ever_kept(tmp_path):
    card = SMALL.model_copy(
        update={"api_key": SecretStr("sk-secret-000000"), "api_key_env": "ACME_KEY"}
    )
    path = tmp_path / "l"
    with Ledger(path, text="keep") as ledger:
        router_with(ledger, lambda r: "ok", card).completion(TASK)
        assert "sk-secret" not in str([row.model_dump() for row in ledger.rows()])
    assert b"sk-secret" not in path.read_bytes()


def test_rows_can_be_narrowed(ledger):
    router = router_with(ledger)
    replies = [router.completion(f"{TASK} {n}") for n in range(5)]
    ids = [reply.trace.id for reply in replies]
    assert [row.id for row in ledger.rows()] == ids
    assert [row.id for row in ledger.rows(last=2)] == ids[-2:]
    assert [row.id for row in ledger.rows(last=50)] == ids
    middle = replies[2].trace.began_at
    assert [row.id for row in ledger.rows(since=middle)] == ids[2:]
    assert [row.id for row in ledger.rows(until=middle, last=1)] == ids[1:2]
    assert [row.decision for row in ledger.rows(last=1, details=False)] == [None]
    with pytest.raises(ConfigurationError, match="last=0"):
        next(ledger.rows(last=0))


def test_more_rows_than_a_page_come_in_order(ledger):
    router = router_with(ledger, lambda r: "ok", LOCAL)
    ids = [router.completion("Hello there.").trace.id for _ in range(1_203)]
    assert [row.id for row in ledger.rows()] == ids
    assert all(row.decision and row.attempts for row in ledger.rows())


def test_feedback_stands_beside_the_row_and_its_last_word_counts(ledger):
    router = router_with(ledger)
    reply = router.completion(TASK)
    router.feedback(reply, 0.25, note="dull")
    assert ledger.get(reply).score == 0.25
    router.feedback(reply.trace.id, True)
    assert ledger.get(reply.trace.id).score == 1.0
    assert next(ledger.rows(details=False)).score == 1.0
    with router.completion(TASK, stream=True) as stream:
        list(stream)
    router.feedback(stream, 0)
    assert ledger.get(stream.trace).score == 0.0


def test_feedback_that_makes_no_sense_says_so(ledger):
    router = router_with(ledger)
    reply = router.completion(TASK)
    for score in (-0.1, 1.1, float("nan"), "good", None):
        with pytest.raises(ConfigurationError, match=r"score=.* 0 to 1"):
            router.feedback(reply, score)
    with pytest.raises(ConfigurationError, match="no call 'nowhere'"):
        router.feedback("nowhere", 1)
    with pytest.raises(ConfigurationError, match="does not say which call"):
        router.feedback(42, 1)
    with pytest.raises(ConfigurationError, match=r"keeps no ledger.*Router\(ledger="):
        router_with(None).feedback(reply, 1)


def test_feedback_becomes_examples_and_those_without_text_are_counted(tmp_path):
    path = tmp_path / "l"
    with Ledger(path, text="keep") as ledger:
        router = router_with(ledger)
        replies = [router.completion(f"{TASK} {n}") for n in range(3)]
        router.feedback(replies[0], 1)
        router.feedback(replies[1], 0)
    with Ledger(path) as ledger:  # only hashes from here on
        router = router_with(ledger)
        router.feedback(router.completion(TASK), 1)
        examples = ledger.examples()
    assert examples.without_text == 1
    assert [(e.task.text, e.score) for e in examples] == [(f"{TASK} 0", 1.0), (f"{TASK} 1", 0.0)]
    assert examples[0].model == replies[0].model
    assert examples[0].cost_usd == pytest.approx(replies[0].cost_usd)


def test_a_path_is_enough_and_the_router_closes_what_it_opened(path):
    with router_with(path) as router:
        reply = router.completion(TASK)
    assert not path.with_name(path.name + "-wal").exists()
    with Ledger(path) as again:
        assert again.get(reply).outcome == "answered"


def test_a_ledger_that_was_given_stays_open(ledger):
    with router_with(ledger) as router:
        router.completion(TASK)
    router_with(ledger).completion(TASK)
    assert len(list(ledger.rows())) == 2


def test_what_is_no_ledger_is_refused_when_the_router_is_made(tmp_path):
    foreign = tmp_path / "photo.png"
    foreign.write_bytes(b"\x89PNG\r\n" * 200)
    with pytest.raises(StorageError, match=re.escape(str(foreign))):
        router_with(foreign)
    with pytest.raises(StorageError, match="no folder"):
        router_with(tmp_path / "none" / "l")
    with pytest.raises(ConfigurationError, match="neither a Ledger nor a path"):
        router_with(42)  # type: ignore[arg-type]  # what is tested
    with pytest.raises(ConfigurationError, match="text='all'"):
        Ledger(tmp_path / "l", text="all")  # type: ignore[arg-type]  # what is tested


def test_a_later_version_is_refused(path):
    Ledger(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StorageError, match=r"version 99.*Update modelrouter"):
        Ledger(path)


def test_a_ledger_of_the_first_version_is_brought_up_to_date(path):
    with Ledger(path) as ledger:
        router_with(ledger).completion(TASK)
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE tasks DROP COLUMN estimated")
        connection.execute("PRAGMA user_version=1")
    connection.close()
    with Ledger(path) as ledger:
        router_with(ledger).completion(TASK)
        assert [(row.outcome, row.estimated) for row in ledger.rows()] == [("answered", 0)] * 2


def test_a_damaged_row_is_a_typed_error(ledger):
    router_with(ledger).completion(TASK)
    ledger.flush()
    connection = open_database(ledger.path, LEDGER)
    connection.execute("UPDATE details SET decision = x'00112233'")
    connection.close()
    with pytest.raises(StorageError, match="damaged row"):
        list(ledger.rows())
    assert len(list(ledger.rows(details=False))) == 1


def test_threads_lose_nothing(ledger):
    router = router_with(ledger)
    ids: list[str] = []

    def work() -> None:
        for n in range(25):
            ids.append(router.completion(f"{TASK} {n}").trace.id)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = list(ledger.rows())
    assert sorted(row.id for row in rows) == sorted(ids)
    assert all(row.outcome == "answered" and row.decision and row.attempts for row in rows)


PROCESS = """
import sys
from tests.ledger.conftest import router_with
with router_with(sys.argv[1]) as router:
    for n in range(50):
        router.completion(f"Prove that {n} is a number.")
"""


def test_processes_share_a_file_and_lose_nothing(path, environment):
    running = [
        subprocess.Popen(child(PROCESS, str(path)), env=environment, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    for process in running:
        assert process.communicate(timeout=60)[1] == b""
    with Ledger(path) as ledger:
        rows = list(ledger.rows())
    assert len(rows) == 150
    assert all(row.outcome == "answered" and row.decision for row in rows)


KILLED = """
import os, signal, sys
from tests.ledger.conftest import router_with
def answer(request):
    if "killer" in str(request.messages):
        os.kill(os.getpid(), signal.SIGKILL)
    return "ok"
router = router_with(sys.argv[1], answer)
for n in range(20):
    print(router.completion(f"Prove that {n} is a number.").trace.id, flush=True)
router.completion("Prove that the killer is a number.")
"""


def test_a_killed_process_leaves_no_call_without_an_outcome(path, environment):
    done = subprocess.run(
        child(KILLED, str(path)), env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    with Ledger(path) as ledger:
        rows = {row.id: row for row in ledger.rows()}
    assert len(rows) == 21
    for answered in done.stdout.split():
        assert rows.pop(answered).outcome == "answered"
    (lost,) = rows.values()
    assert lost.outcome == "lost"
    assert lost.unpriced == 1  # it may have been answered, and charged for
    assert "process ended" in lost.error


def test_calls_of_a_process_that_lives_are_not_lost(ledger):
    def look(request):
        with Ledger(ledger.path) as second:
            seen.extend(row.outcome for row in second.rows())
        return "ok"

    seen: list[str] = []
    router_with(ledger, look).completion(TASK)
    assert seen == ["begun"]
    assert [row.outcome for row in ledger.rows()] == ["answered"]


FORKED = """
import os, sys
from tests.ledger.conftest import router_with
router = router_with(sys.argv[1])
router.completion("Prove that 1 is a number.")
router.completion("Prove that 0 is a number.")
child = os.fork()
for n in range(20):
    router.completion(f"Prove that {n} is a number.")
router.close()
if child:
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_writes_with_a_connection_of_its_own(path, environment):
    subprocess.run(child(FORKED, str(path)), env=environment, check=True, timeout=60)
    with Ledger(path) as ledger:
        rows = list(ledger.rows())
    assert len(rows) == 42
    assert all(row.outcome == "answered" and row.decision for row in rows)


def test_another_process_that_holds_the_file_delays_no_call_for_long(ledger):
    router = router_with(ledger)
    router.completion(TASK)
    ledger.flush()
    holder = open_database(ledger.path, LEDGER)
    holder.execute("BEGIN IMMEDIATE")
    started = time.perf_counter()
    replies = [router.completion(TASK) for _ in range(20)]
    took = time.perf_counter() - started
    holder.execute("COMMIT")
    holder.close()
    assert took < 1.0
    ids = [row.id for row in ledger.rows()]
    assert ids[1:] == [reply.trace.id for reply in replies]
    assert all(row.outcome == "answered" for row in ledger.rows())


FULL = """
import logging, resource, sys
from tests.ledger.conftest import router_with
logging.basicConfig(format="%(message)s")
router = router_with(sys.argv[1])
router.completion("Prove that 1 is a number.")
router.ledger.flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, 120_000))
texts = {router.completion(f"Prove that {n} is a number.").text for n in range(300)}
assert texts == {"an answer of five words"}, texts
router.ledger.flush(20)
assert router.ledger.not_written > 0
"""


def test_a_disk_that_is_full_is_logged_once_and_costs_no_reply(path, environment):
    done = subprocess.run(
        child(FULL, str(path)), env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("could not be written") == 1
    assert str(path) in done.stderr


def test_a_write_takes_less_than_200_microseconds(ledger):
    traces = []
    router = router_with(None, lambda r: "ok", LOCAL, hooks=[traces.append])
    for n in range(200):
        router.completion(f"Hello {n}.")
    ledger.flush()
    took = []
    for trace in traces:
        started = time.perf_counter()
        ledger.begun(trace)
        ledger(trace)
        took.append((time.perf_counter() - started) / 2)
    assert sorted(took)[len(took) // 2] < 200e-6


def test_no_thread_stays_behind(ledger):
    router_with(ledger).completion(TASK)
    ledger.flush()
    until = time.monotonic() + 5
    while any(t.name == "modelrouter-ledger" for t in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.05)
    router_with(ledger).completion(TASK)
    assert len(list(ledger.rows())) == 2
