"""What a provider says of its tokens can neither credit a budget nor close it."""

from __future__ import annotations

import asyncio
import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelrouter import (
    AsyncRouter,
    BackendError,
    Budget,
    Catalog,
    ConfigurationError,
    Ledger,
    ModelCard,
    RetryPolicy,
    Router,
    Usage,
)
from modelrouter.catalog import Price
from modelrouter.counting import Most, answers_of, usage_of
from modelrouter.guards import Admitted, Intent, MemoryStore, Settlement, SqliteStore
from modelrouter.guards.budgets import used
from modelrouter.guards.store import Claim
from modelrouter.response import Embedding, EmbeddingResponse, GeneratedImage, ImagesResponse
from modelrouter.testing import EchoBackend, example_card
from tests.support.scripted_server import ScriptedServer, raw, reply

HONEST = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
HUGE = 10**400
LIES = {
    "negative prompt": {"prompt_tokens": -1_000_000},
    "negative answer": {"completion_tokens": -1_000_000},
    "both negative": {"prompt_tokens": -7, "completion_tokens": -3, "total_tokens": -10},
    "negative sum": {"total_tokens": -1_000_000},
    "a million million": {"prompt_tokens": 10**12, "completion_tokens": 10**12},
    "a million million in all": {"total_tokens": 10**12},
    "400 digits": {"prompt_tokens": HUGE, "completion_tokens": HUGE, "total_tokens": HUGE},
    "more cached than there are": {"prompt_tokens_details": {"cached_tokens": 1_000_000}},
    "cached below zero": {"prompt_tokens_details": {"cached_tokens": -1_000_000}},
    "written below zero": {"prompt_tokens_details": {"cache_creation_tokens": -1_000_000}},
    "cached and written": {
        "prompt_tokens_details": {"cached_tokens": 6, "cache_creation_tokens": 6}
    },
    "400 digits cached": {"prompt_tokens_details": {"cached_tokens": HUGE}},
    "400 digits of thinking": {"completion_tokens_details": {"reasoning_tokens": HUGE}},
    "thinking below zero": {"completion_tokens_details": {"reasoning_tokens": -5}},
    "no number": {"prompt_tokens": math.nan, "completion_tokens": math.nan},
    "without end": {"prompt_tokens": math.inf, "completion_tokens": -math.inf},
    "half a token": {"prompt_tokens": 7.5},
    "truth": {"prompt_tokens": True, "completion_tokens": False},
    "words": {"prompt_tokens": "many", "completion_tokens": "few"},
    "a text of digits": {"prompt_tokens": "-1000000"},
    "lists": {"prompt_tokens": [1], "completion_tokens": {"a": 1}},
    "details of another kind": {"prompt_tokens_details": 5, "completion_tokens_details": "x"},
}
MISSING = {
    "no usage": None,
    "an empty one": {},
    "no prompt": {"completion_tokens": 3},
    "no answer": {"prompt_tokens": 7},
    "nothing counted": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    "null": {"prompt_tokens": None, "completion_tokens": None, "total_tokens": None},
}
PRICE = Price(input=1e-5, output=2e-5, cached_input=1e-6, cache_write=2e-5)
WORST_USD = 60 * 2e-5 + 100 * 2e-5
"""More than the prompt and 60 tokens can come to."""


@pytest.fixture
def server():
    with ScriptedServer() as running:
        yield running


def card_of(server: ScriptedServer, name: str = "openai/gpt-4o") -> ModelCard:
    return ModelCard.hosted(
        name, api_base=server.base_url, api_key="sk-12345678", price=PRICE, context_window=8_192
    )


def make(kind, server, path, **fields):
    return kind(
        catalog=Catalog([card_of(server)]),
        budgets=Budget(usd=5.0, tokens=100_000),
        budget_store=MemoryStore(),
        ledger=path / "tasks.ledger",
        retry=RetryPolicy(max_attempts=1),
        **fields,
    )


def ask(server, path, way: str):
    """The reply, its trace, and how the budget stands."""
    if way in ("whole", "stream"):
        with make(Router, server, path) as router:
            if way == "whole":
                got = router.completion("Hello there.", max_tokens=60)
                return got, got.trace, router.budgets()[0]
            with router.completion("Hello there.", max_tokens=60, stream=True) as stream:
                list(stream)
            return stream.completion, stream.trace, router.budgets()[0]

    async def awaited():
        async with make(AsyncRouter, server, path) as router:
            if way == "awaited":
                got = await router.completion("Hello there.", max_tokens=60)
                return got, got.trace, router.budgets()[0]
            async with await router.completion("Hello.", max_tokens=60, stream=True) as stream:
                async for _ in stream:
                    pass
            return stream.completion, stream.trace, router.budgets()[0]

    return asyncio.run(awaited())


WAYS = ["whole", "awaited", "stream", "awaited stream"]


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("lie", LIES)
def test_no_lie_about_tokens_credits_a_budget_or_closes_it(server, tmp_path, way, lie):
    server.script(reply("one two three", usage={**HONEST, **LIES[lie]}))
    try:
        got, trace, standing = ask(server, tmp_path, way)
    except BackendError:  # litellm may not read it at all: then the worst case counts
        with Ledger(tmp_path / "tasks.ledger") as ledger:
            assert [row.outcome for row in ledger.rows()] == ["failed"]
        return
    assert 0.0 < standing.spent_usd <= WORST_USD
    assert 0 < standing.spent_tokens <= 200
    assert (standing.reserved_usd, standing.reserved_tokens) == (0.0, 0)
    assert 0.0 <= got.cost_usd <= WORST_USD
    usage = got.usage
    assert 0 < usage.prompt_tokens <= 100
    assert 0 < usage.completion_tokens <= 100
    assert usage.cached_tokens + usage.cache_write_tokens <= usage.prompt_tokens
    with Ledger(tmp_path / "tasks.ledger") as ledger:
        (row,) = ledger.rows()
    assert (row.outcome, row.attempts[0].cost_pico) == ("answered", round(got.cost_usd * 1e12))
    if usage.estimated:  # litellm makes a count of some of them
        assert row.estimated == 1
        assert trace.attempts[-1].usage.doubt or way.endswith("stream") or lie == "truth"
        assert standing.spent_usd > got.cost_usd


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("missing", MISSING)
def test_what_a_provider_leaves_out_is_estimated_and_counts_at_its_worst(
    server, tmp_path, way, missing
):
    told = MISSING[missing]
    server.script(reply("one two three", usage=told, with_usage=told is not None))
    if told == {}:
        server.script(reply("one two three", with_usage=False))
    got, trace, standing = ask(server, tmp_path, way)
    assert got.usage.estimated
    assert got.usage.doubt == ""
    assert trace.attempts[-1].usage.estimated
    assert got.cost_usd < standing.spent_usd <= WORST_USD


def test_the_trace_says_what_was_told(server, tmp_path):
    server.script(reply("one two three", usage={**HONEST, "prompt_tokens": -1_000_000}))
    _, trace, _ = ask(server, tmp_path, "whole")
    usage = trace.model_dump()["attempts"][-1]["usage"]
    assert usage["estimated"] is True
    assert usage["doubt"] == "the provider said prompt_tokens=-1000000"


def test_a_provider_that_goes_beyond_max_tokens_is_believed(server, tmp_path):
    server.script(reply("one two three", usage={**HONEST, "completion_tokens": 500}))
    got, _, standing = ask(server, tmp_path, "whole")
    assert not got.usage.estimated
    assert standing.spent_usd == pytest.approx(7 * 1e-5 + 500 * 2e-5)


def test_vectors_and_pictures_that_are_not_counted_count_at_their_worst(server):
    vectors = {"object": "list", "data": [{"index": 0, "embedding": [1.0, 2.0]}], "model": "m"}
    card = card_of(server, "openai/text-embedding-3-small").model_copy(
        update={"scope": frozenset({"embedding"})}
    )
    for usage in ({"prompt_tokens": -5, "total_tokens": -5}, {"prompt_tokens": 10**12}, {}):
        server.script(raw(json.dumps({**vectors, "usage": {"total_tokens": 1, **usage}})))
        with Router(
            catalog=Catalog([card]), budgets=Budget(usd=5.0), budget_store=MemoryStore()
        ) as router:
            got = router.embedding("Hello there.", model=card.name)
            assert got.usage.estimated
            assert 0 < got.usage.prompt_tokens < 10
            assert 0.0 < router.budgets()[0].spent_usd < 100 * 2e-5


# -- what backends and guards of the user's own give ---------------------------------------------


class Lying(EchoBackend):
    """Counts as it likes, in every way of answering."""

    def __init__(self, usage: Usage) -> None:
        super().__init__()
        self.usage = usage

    def complete(self, request):
        return super().complete(request).model_copy(update={"usage": self.usage})

    def stream(self, request):
        for chunk in super().stream(request):
            yield chunk if chunk.usage is None else chunk.model_copy(update={"usage": self.usage})

    def embed(self, request):
        data = [Embedding(index=0, embedding=[1.0])]
        return EmbeddingResponse(data=data, model=request.card.name, usage=self.usage)

    async def aembed(self, request):
        return self.embed(request)

    def draw(self, request):
        data = [GeneratedImage(b64_json="aGk=")]
        return ImagesResponse(data=data, model=request.card.name, usage=self.usage)

    async def adraw(self, request):
        return self.draw(request)


def own_lies():
    yield Usage(prompt_tokens=-1_000_000, completion_tokens=-1, total_tokens=-1_000_001)
    yield Usage(prompt_tokens=10**12, completion_tokens=10**12, total_tokens=1)
    yield Usage(prompt_tokens=7, completion_tokens=3, total_tokens=10**30)
    yield Usage(
        prompt_tokens=7, completion_tokens=3, prompt_tokens_details={"cached_tokens": 10**6}
    )
    yield Usage.model_construct(prompt_tokens=math.nan, completion_tokens="x", total_tokens=None)
    yield Usage.model_construct(prompt_tokens=HUGE, completion_tokens=HUGE, total_tokens=HUGE)


@pytest.mark.parametrize("lie", [*own_lies()], ids=range(6))
def test_a_backend_of_the_users_own_cannot_credit_a_budget(lie, tmp_path):
    card = example_card("acme/own", price=PRICE)
    embedder = example_card("acme/vectors", price=PRICE, modalities_out={"embedding"})
    with Router(
        catalog=Catalog([card, embedder]),
        backends={"test": Lying(lie)},
        budgets=Budget(usd=5.0, tokens=100_000),
        budget_store=tmp_path / "budgets.db",
        ledger=tmp_path / "tasks.ledger",
    ) as router:
        whole = router.completion("Hello there.", max_tokens=60)
        with router.completion("Hello there.", max_tokens=60, stream=True) as stream:
            list(stream)
        vectors = router.embedding("Hello there.", model=embedder.name)
        for got in (whole, stream.completion, vectors):
            assert got.usage.estimated
            assert got.usage.prompt_tokens > 0
            assert got.cost_usd >= 0.0
        (standing,) = router.budgets()
        assert 0.0 < standing.spent_usd <= 3 * WORST_USD
        assert 0 < standing.spent_tokens <= 600
        assert {row.outcome for row in router.ledger.rows()} == {"answered"}


@pytest.mark.parametrize("lie", [*own_lies()], ids=range(6))
def test_pictures_of_a_backend_of_the_users_own_cannot_credit_a_budget(lie):
    card = example_card("acme/painter", price=PRICE, modalities_out={"image"})
    with Router(
        catalog=Catalog([card]),
        backends={"test": Lying(lie)},
        budgets=Budget(usd=5.0),
        budget_store=MemoryStore(),
    ) as router:
        got = router.image_generation("A cat.", model=card.name)
        assert got.usage.estimated
        assert router.budgets()[0].spent_usd > 0.0


def test_a_guard_of_the_users_own_cannot_credit_a_budget():
    class Meddling:
        def admit(self, intent):
            return Admitted()

        def settle(self, intent, ticket, settlement):
            settlement.usage.prompt_tokens = settlement.usage.total_tokens = -1_000_000
            object.__setattr__(settlement, "cost_usd", -1_000.0)

    card = example_card("acme/own", price=PRICE)
    with Router(
        catalog=Catalog([card]),
        backends={"test": EchoBackend()},
        budgets=Budget(usd=5.0, tokens=100_000),
        budget_store=MemoryStore(),
        guards=[Meddling()],
    ) as router:
        router.completion("Hello there.", max_tokens=60)
        (standing,) = router.budgets()
    assert standing.spent_usd > 0.0
    assert standing.spent_tokens > 0


@pytest.mark.parametrize("cost", [-1.0, -0.0, math.nan, math.inf, -math.inf, 1e300, 5e-324])
@pytest.mark.parametrize("tokens", [-5, 0, HUGE])
def test_whatever_is_settled_takes_nothing_from_an_account(cost, tokens):
    intent = Intent(example_card(price=PRICE), 10, 20, 0.0005)
    usage = Usage.model_construct(prompt_tokens=tokens, completion_tokens=0, total_tokens=0)
    spent, counted = used(intent, Settlement(usage=usage, cost_usd=cost))
    assert 0 <= spent <= 10**18 + 10**12
    assert 0 <= counted <= 10**15


def test_an_intent_below_zero_reserves_nothing_below_zero():
    intent = Intent(example_card(price=PRICE), -10, -20, -5.0)
    assert used(intent, Settlement()) == (0, 0)


@pytest.mark.parametrize("amount", [-1.0, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("name", ["input", "output", "cached_input", "cache_write", "image"])
def test_a_price_is_an_amount(name, amount):
    with pytest.raises(ConfigurationError):
        Price(**{"input": 1e-6, "output": 1e-6, name: amount})


@pytest.mark.parametrize("shared", [False, True])
def test_a_store_gives_nothing_to_an_account(shared, tmp_path):
    store = SqliteStore(tmp_path / "budgets.db") if shared else MemoryStore()
    hold = store.reserve([Claim("a", 100, 10)], now=0.0, expires=60.0)
    store.settle(hold, pico_usd=-1_000, tokens=-1_000)
    (account,) = store.accounts("a", now=0.0)
    assert (account.pico_usd, account.tokens) == (0, 0)
    store.close()


@pytest.mark.parametrize("n", [-5, 0, True, None, 2.5, "3"])
def test_no_number_of_answers_counts_as_less_than_one(n):
    assert answers_of({"n": n}) == 1
    assert answers_of({"extra_body": {"n": n}}) == 1
    assert answers_of({"n": n, "extra_body": {"n": 3}}) == 3


# -- any at all ----------------------------------------------------------------------------------

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**420), max_value=10**420)
    | st.floats()
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
names = st.sampled_from(
    [*HONEST, "prompt_tokens_details", "completion_tokens_details", "cost", "estimated", "doubt"]
)
details = st.dictionaries(
    st.sampled_from(["cached_tokens", "cache_creation_tokens", "reasoning_tokens", "audio"]), values
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(told=st.dictionaries(names | st.text(max_size=3), values | details) | values)
def test_whatever_is_told_comes_to_counts_that_can_be_true(told):
    usage = usage_of(told, Most(1_000, 500), lambda: 20, "some text")
    assert 0 < usage.prompt_tokens <= 1_000
    assert 0 < usage.completion_tokens <= 500
    assert 0 < usage.total_tokens <= 1_500
    assert 0 <= usage.cached_tokens + usage.cache_write_tokens <= usage.prompt_tokens
    assert (
        0.0
        <= PRICE.cost_usd(
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.cached_tokens,
            usage.cache_write_tokens,
        )
        < 1.0
    )
    json.loads(usage.model_dump_json())
