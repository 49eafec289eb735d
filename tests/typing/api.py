"""Uses of the public face that a type checker must understand; checked by mypy, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Literal

from typing_extensions import assert_type

import modelrouter
from modelrouter import (
    UNSET,
    AllCandidatesFailedError,
    AsyncCompletionStream,
    AsyncRouter,
    Attempt,
    BackendError,
    BreakerPolicy,
    Budget,
    Candidate,
    Catalog,
    Chunk,
    Completion,
    CompletionStream,
    Curves,
    Decision,
    Difficulty,
    EmbeddingResponse,
    GenerationSettings,
    ImagesResponse,
    LearnedScorer,
    LlamaCppSettings,
    ModelCard,
    NoEligibleModelError,
    Objective,
    Policy,
    RateLimit,
    RateLimitError,
    Reason,
    RetryPolicy,
    Router,
    Rule,
    Scorer,
    Signals,
    StreamInterruptedError,
    Task,
    Timeout,
    Trace,
    Usage,
)
from modelrouter.backends.base import Backend
from modelrouter.guards import Budgets, BudgetStatus, Guard, Health, MemoryStore, Store
from modelrouter.task import Kind
from modelrouter.testing import EchoBackend, FunctionBackend, example_card
from modelrouter.trace import TraceHook

assert_type(modelrouter.__version__, str)

# A router, in all the ways it is made.
messages: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]
router = Router()
Router(["openai/gpt-4o", ModelCard.hosted("openai/gpt-4o-mini", api_base="http://127.0.0.1:1/v1")])
Router(policy="private", timeout=30, retry=RetryPolicy(max_attempts=2))
Router(policy=Policy.private(), timeout=Timeout(total=30, attempt=None))
Router(timeout=None)
Router(catalog=Catalog([example_card("acme/large")]), backends={"test": EchoBackend()})


# Decisions.
decision = router.route("Fix the grammar: She go home.")
assert_type(decision, Decision)
assert_type(router.route(messages=messages, kind="chat", max_tokens=5), Decision)
assert_type(router.consider(Task.of("hello")), Decision)
assert_type(decision.model, str)
assert_type(decision.card, ModelCard)
assert_type(decision.signals, Signals)
assert_type(decision.signals.complexity, float)
assert_type(decision.candidates, tuple[Candidate, ...])
assert_type(decision.candidates[0].reasons, tuple[Reason, ...])
assert_type(decision.chosen.p_quality, float)
assert_type(decision.what_if(Policy.best()), Decision)
assert_type(decision.explain(), str)
assert_type(decision.model_dump(), dict[str, Any])
where: Literal["local", "hosted"] = decision.location


# Replies: the type follows from `stream`.
reply = router.completion("hello", temperature=0.2, max_tokens=10, policy="cheapest")
assert_type(reply, Completion)
assert_type(reply.text, str)
assert_type(reply.choices[0].message.content, "str | None")
assert_type(reply.usage, Usage)
assert_type(reply.usage.total_tokens, int)
assert_type(reply.cost_usd, "float | None")
assert_type(reply.trace, Trace)
assert_type(reply.trace.attempts, tuple[Attempt, ...])
assert reply.decision is not None
assert_type(reply.decision, Decision)
assert_type(router.completion(messages=messages, stream=False), Completion)

stream = router.completion("hello", stream=True)
assert_type(stream, CompletionStream)
with stream as chunks:
    assert_type(chunks, CompletionStream)
    for chunk in chunks:
        assert_type(chunk, Chunk)
        assert_type(chunk.text, str)
assert_type(stream.completion, "Completion | None")
as_iterator: Iterator[Chunk] = stream

created = router.chat.completions.create(model="auto", messages=messages)
assert_type(created, Completion)
assert_type(
    router.chat.completions.create(model="auto", messages=messages, stream=True), CompletionStream
)
with Router() as scoped:
    assert_type(scoped, Router)


# The same, awaited.
async def awaited() -> None:
    assert_type(await router.acompletion("hello"), Completion)
    assert_type(await router.aembedding(["hello"], truncate=True), EmbeddingResponse)
    assert_type(await router.acompletion("hello", stream=True), AsyncCompletionStream)
    async with AsyncRouter(policy="fastest") as asynchronous:
        assert_type(asynchronous, AsyncRouter)
        assert_type(asynchronous.route("hello"), Decision)
        assert_type(await asynchronous.completion("hello"), Completion)
        stream = await asynchronous.completion("hello", stream=True)
        assert_type(stream, AsyncCompletionStream)
        async with stream as chunks:
            async for chunk in chunks:
                assert_type(chunk, Chunk)
        as_iterator: AsyncIterator[Chunk] = stream
        await as_iterator.__anext__()
        created = await asynchronous.chat.completions.create(messages=messages)
        assert_type(created, Completion)


# Policies and rules.
policy = Policy(
    objective=Objective(quality=0.6, cost=0.3, latency=0.1),
    min_quality=0.7,
    max_cost_usd=0.02,
    max_latency_s=3,
    rules=[
        Rule.when(kind="grammar").use(tier="slm"),
        Rule.when(contains_pii=True).only(location="local"),
        Rule.when(lambda task: task.metadata.get("team") == "legal").use("openai/gpt-4o"),
        (Rule.when(language="de") | ~Rule.when(min_complexity=0.5)).avoid("openai/gpt-4o"),
    ],
)
assert_type(policy, Policy)
assert_type(Rule.when(kind="grammar").use(tier="slm"), Rule)
assert_type(Policy.preset("best"), Policy)
assert_type(Policy.from_toml(policy.to_toml()), Policy)


# Errors carry what a handler needs.
def handled() -> None:
    try:
        router.completion("hello")
    except NoEligibleModelError as error:
        assert_type(error.decision, Decision)
    except RateLimitError as error:
        assert_type(error.retry_after, "float | None")
    except StreamInterruptedError as error:
        assert_type(error.partial_text, str)
    except BackendError as error:
        assert_type(error.trace, "Trace | None")
    except AllCandidatesFailedError as error:
        assert_type(error.errors, tuple[BackendError, ...])


# What users write themselves fulfils the protocols.
class LengthScorer:
    def read(self, text: str, kind: Kind) -> Difficulty:
        return Difficulty(min(1.0, len(text) / 1000))

    def p_quality(self, card: ModelCard, task: Task, signals: Signals) -> float:
        return 1.0 - signals.complexity


def hook(trace: Trace) -> None:
    print(trace.duration_s)


scorer: Scorer = LengthScorer()
trace_hook: TraceHook = hook
backend: Backend = FunctionBackend(lambda request: request.card.name)
Router(scorer=scorer, hooks=[hook], backends={"test": backend})
GenerationSettings(temperature=0.2, seed=UNSET)


assert_type(router.embedding("hello", dimensions=64).vectors, list[list[float]])
assert_type(router.embeddings.create(input=["hello"], model="auto"), EmbeddingResponse)
assert_type(router.embedding(["a fox", Path("fox.png")], multimodal=True), EmbeddingResponse)
assert_type(router.image_generation("a fox", n=2), ImagesResponse)
assert_type(router.images.generate(prompt="a fox"), ImagesResponse)
Router(backends={"mine": EchoBackend()}, confidence=Curves(), scorer=LearnedScorer())
LlamaCppSettings(slots=4)

budgeted = Router(
    budgets=[Budget(usd=5.0, per="day", tag="user", at_limit="local")],
    budget_store="budgets.db",
    limits={"openai/gpt-4o": RateLimit(rpm=500)},
    breakers=BreakerPolicy(failures=3),
)
assert_type(budgeted.health(), tuple[Health, ...])
assert_type(budgeted.budgets({"user": "ann"}), tuple[BudgetStatus, ...])
assert_type(budgeted.route("hello").proof().holds, bool)
own_store: Store = MemoryStore()
own_guard: Guard = Budgets([Budget(usd=1.0)], own_store)

# What must not pass: an ignore that is not needed is an error under --strict.
router.embedding("hello", dimension=64)  # type: ignore[call-arg]  # misspelt
router.embedding(42)  # type: ignore[arg-type]  # no text
router.completion("hello", temprature=0.2)  # type: ignore[call-overload]  # misspelt
router.completion("hello", max_tokens="ten")  # type: ignore[call-overload]  # not a number
router.completion(42)  # type: ignore[call-overload]  # no task
router.route("hello", kind="poetry")  # type: ignore[arg-type]  # no kind of task
Budget(usd=1.0, per="week")  # type: ignore[arg-type]  # no such period
Router(policy=0.5)  # type: ignore[arg-type]  # neither a policy nor a name
