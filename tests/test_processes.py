"""What is taken from one process to another: pickled where that makes sense, else refused."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from modelrouter import (
    AsyncRouter,
    Budget,
    ConfigurationError,
    ModelCard,
    NoEligibleModelError,
    Policy,
    Router,
    Rule,
    Task,
    exceptions,
)
from modelrouter.backends.clip import ClipBackend
from modelrouter.backends.hosted import LiteLLMBackend
from modelrouter.backends.llamacpp import LlamaCppBackend
from modelrouter.guards import Budgets, MemoryStore, SqliteStore
from modelrouter.scoring import LearnedScorer
from modelrouter.testing import EchoBackend, example_card

CARD = example_card()


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    folder = tmp_path_factory.mktemp("router")
    with Router(
        [CARD],
        backends={CARD.backend: EchoBackend()},
        ledger=folder / "l.db",
        cache=folder / "c.db",
        budgets=[Budget(usd=1.0)],
        budget_store=folder / "b.db",
    ) as made:
        yield made


def ways(value: Any) -> Iterator[Any]:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        yield pickle.loads(pickle.dumps(value, protocol))
    yield copy.copy(value)
    yield copy.deepcopy(value)


def ask(router: Router, **fields: Any) -> Any:
    return router.completion("hi", model=CARD.name, **fields)


PLAIN: dict[str, Callable[[Router], Any]] = {
    "a card": lambda router: CARD,
    "a policy": lambda router: Policy(rules=[Rule.when(contains_pii=True).only(location="local")]),
    "a task": lambda router: Task.of("hi", metadata={"a": 1}),
    "a decision": lambda router: router.route("hi", model=CARD.name),
    "a reply": ask,
    "a trace": lambda router: ask(router).trace,
    "chunks": lambda router: list(ask(router, stream=True)),
    "rows": lambda router: list(router.ledger.rows()),
    "a summary": lambda router: router.ledger.summary(),
    "health": lambda router: router.health(),
    "budgets": lambda router: router.guards.statuses(),
}
OWN: dict[str, Callable[[Router], Any]] = {
    "a router": lambda router: router,
    "an async router": lambda router: AsyncRouter([CARD], backends={CARD.backend: EchoBackend()}),
    "a stream": lambda router: ask(router, stream=True),
    "a ledger": lambda router: router.ledger,
    "a cache": lambda router: router.cache,
    "guards": lambda router: router.guards,
    "a guard": lambda router: Budgets([Budget(usd=1)], MemoryStore()),
    "a store in memory": lambda router: MemoryStore(),
    "a store in a file": lambda router: SqliteStore(router.ledger.path.with_name("other.db")),
    "a local backend": lambda router: LlamaCppBackend(),
    "a hosted backend": lambda router: LiteLLMBackend(),
    "a backend of vectors": lambda router: ClipBackend(),
}


@pytest.mark.parametrize("what", PLAIN)
def test_what_is_plain_is_the_same_after_pickling_and_copying(router: Router, what: str) -> None:
    value = PLAIN[what](router)
    for again in ways(value):
        assert again == value


@pytest.mark.parametrize("what", OWN)
def test_what_belongs_to_its_process_says_so_when_pickled_or_copied(
    router: Router, what: str
) -> None:
    value = OWN[what](router)
    for way in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(ConfigurationError, match=r"can be neither pickled nor copied"):
            way(value)


def test_a_scorer_predicts_the_same_after_pickling(router: Router) -> None:
    scorer = LearnedScorer()
    with Router([CARD], backends={CARD.backend: EchoBackend()}, scorer=scorer) as first:
        before = first.route("Prove that 7 is prime", model=CARD.name)
    for again in ways(scorer):
        with Router([CARD], backends={CARD.backend: EchoBackend()}, scorer=again) as second:
            after = second.route("Prove that 7 is prime", model=CARD.name)
        assert after.candidates[0].p_quality == before.candidates[0].p_quality


def example_errors(router: Router) -> Iterator[exceptions.ModelRouterError]:
    reply = ask(router)
    decision = router.route("hi", model=CARD.name)
    given: dict[str, Any] = {
        "message": "It is so.", "name": "x", "nearest": ("a",), "retired": "2020-01-01",
        "successor": None, "path": Path("a"), "choices": ("a",), "repository": "o/m",
        "needed_bytes": 1, "free_bytes": 2, "expected": "a", "found": "b", "field": "f",
        "problem": "is wrong.", "decision": decision, "refusals": [], "retry_in_s": 1.0,
        "model": "m", "status": 400, "retry_after": 1.0, "waiting": 3, "confidence": 0.1,
        "partial_text": "x", "reply": reply, "trace": reply.trace, "row": 1, "hint": "Do so.",
        "errors": [exceptions.ServerError("no", model="m")],
    }  # fmt: skip
    for name in exceptions.__all__:
        kind = getattr(exceptions, name)
        if isinstance(kind, type) and issubclass(kind, exceptions.ModelRouterError):
            takes = inspect.signature(kind.__init__).parameters
            yield kind(**{field: given[field] for field in takes if field in given})


def test_every_error_keeps_its_message_and_fields(router: Router) -> None:
    errors = list(example_errors(router))
    assert len(errors) > 25
    for error in errors:
        error.add_note("seen") if hasattr(error, "add_note") else None
        for again in ways(error):
            assert type(again) is type(error)
            assert str(again) == str(error)
            assert again.args == error.args
            assert set(vars(again)) == set(vars(error))


def refused(path: str) -> str:
    with Router([CARD], backends={CARD.backend: EchoBackend()}) as router:
        router.route("hi", model=CARD.name, policy=Policy(min_quality=1.0, location="local"))
    return path


def answered(text: str) -> Any:
    with Router([CARD], backends={CARD.backend: EchoBackend()}) as router:
        return router.completion(text, model=CARD.name)


def loaded(path: Path) -> str:
    with Router([path], policy=Policy(min_quality=0.0)) as router:
        return str(router.completion("a", model=path.stem, max_tokens=3).choices[0].message.content)


@pytest.mark.parametrize("how", ["spawn", "forkserver"])
def test_replies_and_errors_come_out_of_a_pool_of_processes(how: str, tiny_gguf: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context(how)) as pool:
        replies = list(pool.map(answered, ["one", "two"]))
        assert [r.choices[0].message.content for r in replies] == ["one", "two"]
        failure = pool.submit(refused, "x").exception(60)
        assert isinstance(failure, NoEligibleModelError)
        assert failure.decision.candidates[0].model == CARD.name
        texts = list(pool.map(loaded, [tiny_gguf, tiny_gguf]))
    assert texts[0] == texts[1] == loaded(tiny_gguf)


def test_a_card_of_a_file_is_the_same_in_another_process(tiny_gguf: Path) -> None:
    card = ModelCard.local(tiny_gguf)
    assert all(again == card for again in ways(card))
