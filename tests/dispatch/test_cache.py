"""The cache gives whole answers again, to the same task alone, and never where it must not."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelrouter import (
    Cache,
    Catalog,
    ConfigurationError,
    GenerationSettings,
    Ledger,
    Policy,
    Router,
    Rule,
    StorageError,
    Task,
)
from modelrouter.images import data_url
from modelrouter.testing import FunctionBackend, example_card
from tests.support.pictures import picture

TASK = "Prove that the square root of 2 is irrational."
PRIVATE = "Write to ann.smith@example.org about the weather."
HOSTED = example_card("acme/large", general_strength=0.95)
LOCAL = example_card("acme/local", location="local", price=None, general_strength=0.75)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answers.cache"


class Counting(FunctionBackend):
    """Answers differently each time."""

    def __init__(self) -> None:
        super().__init__(lambda request: f"answer number {len(self.requests)} of many words")


def made(cache, *cards, **more) -> tuple[Router, Counting]:
    backend = Counting()
    catalog = Catalog(cards or (HOSTED, LOCAL))
    return Router(catalog=catalog, backends={"test": backend}, cache=cache, **more), backend


def test_the_same_task_is_answered_once(path):
    router, backend = made(path)
    first, second = router.completion(TASK), router.completion(TASK)
    assert len(backend.requests) == 1
    assert second.text == first.text
    assert (first.cached, second.cached) == (False, True)
    assert first.cost_usd > 0
    assert second.cost_usd == 0
    assert (second.id, second.model, second.usage) == (first.id, first.model, first.usage)
    assert second.decision.model == first.model
    assert second.trace.cached
    assert second.trace.id != first.trace.id


def test_answers_outlive_the_router_and_are_shared_between_processes(path):
    router, _ = made(path)
    text = router.completion(TASK).text
    router.close()
    code = (
        "import sys; from tests.dispatch.test_cache import *\n"
        "router, backend = made(sys.argv[1])\n"
        "print(router.completion(TASK).text, len(backend.requests))"
    )
    root = str(Path(__file__).parents[2])
    paths = ":".join([root, *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env={"PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == f"{text} 0", done.stderr


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"temperature": 0.5}, False),
        ({"max_tokens": 9}, False),
        ({"policy": "best"}, False),
        ({"metadata": {"team": "legal"}}, False),
        ({"response_format": {"type": "text"}}, False),
        ({"model": "acme/large"}, False),
        ({"tags": {"user": "ann"}}, True),
        ({"conversation": "c"}, True),
        ({"timeout": 5}, True),
    ],
)
def test_what_may_change_the_answer_is_part_of_the_key(path, change, same):
    router, backend = made(path)
    router.completion(TASK)
    router.completion(TASK, **change)
    assert len(backend.requests) == (1 if same else 2)
    router.completion(TASK, **change)
    assert len(backend.requests) == (1 if same else 2)


def test_other_models_make_it_another_task(path):
    made(path)[0].completion(TASK)
    router, backend = made(path, HOSTED, example_card("acme/new"))
    router.completion(TASK)
    assert len(backend.requests) == 1


def test_a_stream_comes_again_as_the_same_chunks(path):
    router, backend = made(path)
    with router.completion(TASK, stream=True) as stream:
        first = list(stream)
    with router.completion(TASK, stream=True) as again:
        second = list(again)
    assert len(backend.requests) == 1
    assert [c.text for c in second] == [c.text for c in first]
    assert second[-1].usage == first[-1].usage
    assert second[-1].cost_usd == 0
    assert again.completion.cached
    assert again.trace.cached
    assert again.completion.text == stream.completion.text
    assert router.completion(TASK).text == stream.completion.text


def test_a_reply_can_come_again_as_a_stream(path):
    router, backend = made(path)
    text = router.completion(TASK).text
    with router.completion(TASK, stream=True) as stream:
        assert "".join(chunk.text for chunk in stream) == text
    assert stream.completion.choices[0].finish_reason == "stop"
    assert len(backend.requests) == 1


async def test_awaited_calls_use_it_too(path):
    router, backend = made(path)
    first = await router.acompletion(TASK)
    assert (await router.acompletion(TASK)).text == first.text
    stream = await router.acompletion(TASK, stream=True)
    assert "".join([chunk.text async for chunk in stream]) == first.text
    assert len(backend.requests) == 1
    replies = await asyncio.gather(*(router.acompletion("Hello there.") for _ in range(8)))
    assert len({r.text for r in replies}) <= 8


def test_a_stream_left_early_is_not_kept(path):
    router, backend = made(path)
    with router.completion(TASK, stream=True) as stream:
        next(stream)
    assert not router.completion(TASK).cached
    assert len(backend.requests) == 2


def test_an_answer_cut_short_is_not_kept(path):
    from modelrouter.response import Choice, Completion, ReplyMessage

    cache = Cache(path)
    for reason, whole in (("length", False), ("content_filter", False), ("stop", True)):
        reply = Completion(
            model="m", choices=[Choice(message=ReplyMessage(content="x"), finish_reason=reason)]
        )
        assert cache.put("key", reply) is whole


@pytest.mark.parametrize("stream", [False, True])
def test_personal_data_is_cached_only_where_the_policy_allows_it(path, stream):
    for allowed in (False, True):
        router, backend = made(path, policy=Policy.balanced(cache_pii=allowed))
        for _ in range(2):
            reply = router.completion(PRIVATE, stream=stream)
            if stream:
                list(reply)
        assert len(backend.requests) == (1 if allowed else 2)
        router.close()
        if not allowed:
            assert Cache(path).count() == 0


@pytest.mark.parametrize("way", ["policy", "rule"])
def test_private_tasks_are_cached_only_where_the_policy_allows_it(path, way):
    for allowed in (False, True):
        policy = (
            Policy.private(cache_private=allowed)
            if way == "policy"
            else Policy(
                rules=[Rule.when(min_complexity=0).only(location="local")], cache_private=allowed
            )
        )
        router, backend = made(path, LOCAL, policy=policy)
        for _ in range(2):
            router.completion(TASK)
        assert len(backend.requests) == (1 if allowed else 2)


def test_a_picture_by_url_is_asked_anew(path):
    sees = HOSTED.model_copy(update={"modalities_in": frozenset({"text", "image"})})
    router, backend = made(path, sees)
    for url, asked in (("https://example.org/cat.png", 2), (data_url(picture()), 3)):
        task = [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": url}},
                ],
            }
        ]
        for _ in range(2):
            router.completion(task)
        assert len(backend.requests) == asked


def test_the_ledger_says_what_was_cached(tmp_path):
    with Ledger(tmp_path / "tasks.ledger") as ledger:
        router, _ = made(True, ledger=ledger)
        assert router.cache.path == tmp_path / "tasks.ledger.cache"
        router.completion(TASK)
        router.completion(TASK)
        with router.completion(TASK, stream=True) as stream:
            list(stream)
        rows = list(ledger.rows())
    assert [row.cached for row in rows] == [False, True, True]
    assert [row.outcome for row in rows] == ["answered"] * 3
    assert rows[0].cost_pico > 0
    assert [(row.cost_pico, row.unpriced, row.attempts) for row in rows[1:]] == [(0, 0, ())] * 2


def test_answers_grow_too_old(path):
    cache = Cache(path, max_age_s=0.2)
    router, backend = made(cache)
    router.completion(TASK)
    cache.flush()
    assert router.completion(TASK).cached
    time.sleep(0.25)
    assert not router.completion(TASK).cached
    assert len(backend.requests) == 2


def test_the_least_used_answers_go_when_it_is_full(path):
    cache = Cache(path, max_bytes=20_000)
    router, _ = made(cache)
    for n in range(200):
        router.completion(f"{TASK} {n}")
        cache.flush()
    with sqlite3.connect(path) as connection:
        (size,) = connection.execute("SELECT sum(size) FROM answers").fetchone()
    assert size <= 20_000
    assert 10 < cache.count() < 100
    assert router.completion(f"{TASK} 199").cached
    assert not router.completion(f"{TASK} 0").cached


def test_it_can_be_emptied(path):
    router, _ = made(path)
    router.completion(TASK)
    router.cache.clear()
    assert router.cache.count() == 0
    assert not router.completion(TASK).cached


def test_a_damaged_answer_counts_as_none(path):
    router, _ = made(path)
    router.completion(TASK)
    router.cache.flush()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE answers SET body = x'0011'")
    assert not router.completion(TASK).cached
    assert router.completion(TASK).cached


def test_a_damaged_file_costs_no_reply(path, caplog):
    router, _ = made(path)
    router.completion(TASK)
    router.cache.flush()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE answers")
    assert router.completion("Hello there.").text
    router.cache.flush()
    assert router.completion("Hello there.").text
    assert caplog.text.count("cannot be used") == 1


def test_what_is_no_cache_is_refused_when_the_router_is_made(tmp_path):
    ledger = tmp_path / "l"
    Ledger(ledger).close()
    with pytest.raises(StorageError, match="not a cache of modelrouter"):
        made(ledger)
    with pytest.raises(ConfigurationError, match="neither a Cache"):
        made(42)
    for bounds in ({"max_age_s": 0}, {"max_bytes": -1}, {"max_age_s": float("nan")}):
        with pytest.raises(ConfigurationError, match="not above 0"):
            Cache(tmp_path / "c", **bounds)


def test_it_is_off_by_default():
    router, backend = made(None)
    assert router.cache is None
    router.completion(TASK)
    router.completion(TASK)
    assert len(backend.requests) == 2


def test_looking_up_is_quick(path):
    router, _ = made(path)
    router.completion(TASK)
    router.cache.flush()
    task, policy = Task.of(TASK), router.policy
    key = router.cache.key(task, GenerationSettings(), policy, router.route(TASK))
    took = []
    for _ in range(200):
        started = time.perf_counter()
        assert router.cache.get(key)
        took.append(time.perf_counter() - started)
    assert sorted(took)[100] < 1e-3
