"""The privacy proof: under a private policy nothing of a task reaches a socket, whatever happens.

Hosted models that would do everything better listen on loopback and count what they receive; an
audit hook of the interpreter counts every connection that is tried at all.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from modelrouter import (
    AsyncRouter,
    Catalog,
    ConfigurationError,
    LocalModelError,
    ModelCard,
    ModelRouterError,
    NoEligibleModelError,
    Policy,
    RetryPolicy,
    Router,
    Rule,
    Trace,
)
from modelrouter.catalog import Price
from modelrouter.response import Chunk, ChunkChoice, Delta
from modelrouter.testing import EchoBackend, FunctionBackend, example_card
from tests.support.scripted_server import ScriptedServer

MARK = "xyzzy plugh 42"
TASK = f"Write to jane@example.com: {MARK}."
ONCE = RetryPolicy(max_attempts=1)
PRIVATE = [
    pytest.param(Policy.private(min_quality=None), id="private"),
    pytest.param(
        Policy.best(rules=[Rule.when(contains_pii=True).only(location="local")]), id="rule"
    ),
    pytest.param(
        Policy.best(rules=[Rule.when(contains_pii=True).avoid(location="hosted")]), id="avoid"
    ),
]


class Listener:
    """A server that counts connections and bytes, and answers nothing."""

    def __enter__(self) -> Listener:
        self.connections = self.received = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            with connection, contextlib.suppress(OSError):
                connection.settimeout(1)
                while data := connection.recv(65_536):
                    self.received += len(data)


_watched: list[list[str]] = []


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _watched and event in ("socket.connect", "socket.sendto", "socket.getaddrinfo"):
        _watched[-1].append(f"{event} {arguments}")


sys.addaudithook(_hook)


@contextlib.contextmanager
def no_sockets() -> Iterator[None]:
    """Nothing inside tries to connect to anything, this machine included."""
    tried: list[str] = []
    _watched.append(tried)
    try:
        yield
    finally:
        _watched.remove(tried)
    assert tried == []


@pytest.fixture
def listeners() -> Iterator[tuple[Listener, Listener]]:
    with Listener() as one, Listener() as other:
        yield one, other
        assert (one.connections, one.received) == (0, 0)
        assert (other.connections, other.received) == (0, 0)


def hosted(name: str, base: str) -> ModelCard:
    return example_card(
        name,
        backend="litellm",
        api_base=base,
        api_key="sk-test",
        general_strength=0.99,
        price=Price(input=0.0, output=0.0),
        capabilities={"tools", "json_schema"},
    )


def local(name: str = "here/small", **fields) -> ModelCard:
    return example_card(
        name, location="local", general_strength=0.5, price=Price(input=0, output=0), **fields
    )


def cards(listeners: tuple[Listener, Listener], *others: ModelCard) -> Catalog:
    names = ("openai/far-1", "openai/far-2")
    away = [hosted(name, each.base) for name, each in zip(names, listeners, strict=True)]
    return Catalog([*away, *(others or (local(),))])


def make(listeners, backend=None, *, policy, kind=Router, more=(), **fields):
    return kind(
        catalog=cards(listeners, local(), *more),
        backends={"test": backend or EchoBackend()},
        policy=policy,
        retry=ONCE,
        **fields,
    )


class Breaking(FunctionBackend):
    """The small model's streams break off; the second one's go on."""

    def __init__(self) -> None:
        super().__init__(lambda request: "and on")

    def stream(self, request):
        if request.card.name != "here/small":
            yield from super().stream(request)
            return
        yield Chunk(
            id="c-1",
            model=request.card.name,
            choices=[ChunkChoice(delta=Delta(content="so far, "))],
        )
        raise LocalModelError("the memory is gone", model=request.card.name)


def failing(request) -> str:
    raise LocalModelError("it is out of memory", model=request.card.name)


def test_without_the_policy_the_same_task_does_leave():
    """The control: these servers see what is sent, and the hosted models are chosen."""
    with ScriptedServer() as server:
        catalog = Catalog([hosted("openai/far-1", server.base_url), local()])
        with Router(catalog=catalog, backends={"test": EchoBackend()}, policy="best") as router:
            reply = router.completion(TASK)
    assert reply.model == "openai/far-1"
    assert MARK in str(server.requests[0].body)
    proof = reply.trace.proof()
    assert not proof.holds
    assert {c.name for c in proof.checks if c.holds is False} == {"location", "candidates", "hops"}
    assert str(proof).startswith("The task may leave this machine:")


@pytest.mark.parametrize("policy", PRIVATE)
class TestNothingLeaves:
    """What a private task may meet."""

    def test_answered_here(self, listeners, policy):
        with make(listeners, policy=policy) as router, no_sockets():
            reply = router.completion(TASK)
        assert reply.model == "here/small"
        assert reply.trace.proof().holds

    def test_the_local_model_fails_and_none_takes_its_place(self, listeners, policy):
        with (
            make(listeners, FunctionBackend(failing), policy=policy) as router,
            no_sockets(),
            pytest.raises(LocalModelError) as caught,
        ):
            router.completion(TASK)
        assert [a.model for a in caught.value.trace.attempts] == ["here/small"]
        assert caught.value.trace.proof().holds

    def test_a_fallback_goes_to_another_local_model(self, listeners, policy):
        def one_fails(request) -> str:
            return failing(request) if request.card.name == "here/small" else "done"

        second = local("here/weaker")
        router = make(listeners, FunctionBackend(one_fails), policy=policy, more=(second,))
        with router, no_sockets():
            replies = [router.completion(TASK) for _ in range(2)]
        assert {r.model for r in replies} == {"here/weaker"}
        assert replies[0].trace.attempts[0].outcome == "failed"
        assert "here/weaker (asked)" in str(replies[-1].trace.proof())

    def test_an_answer_that_is_not_accepted_is_not_asked_for_elsewhere(self, listeners, policy):
        picky = policy.model_copy(update={"accept": lambda reply: False})
        with make(listeners, policy=picky) as router, no_sockets(), pytest.raises(ModelRouterError):
            router.completion(TASK)

    def test_a_hosted_model_asked_for_by_name_is_refused(self, listeners, policy):
        with make(listeners, policy=policy) as router, no_sockets():
            with pytest.raises(NoEligibleModelError) as caught:
                router.completion(TASK, model="openai/far-1")
            assert caught.value.decision.proof().holds

    def test_streams_whole_and_left_early(self, listeners, policy):
        with make(listeners, policy=policy) as router, no_sockets():
            with router.completion(TASK, stream=True) as stream:
                assert "".join(chunk.text for chunk in stream) == TASK
            with router.completion(TASK, stream=True) as stream:
                next(stream)
            assert stream.trace.proof().holds

    def test_cache_ledger_and_conversation(self, listeners, policy, tmp_path):
        keeping = policy.model_copy(update={"cache_pii": True, "cache_private": True})
        router = make(
            listeners,
            policy=keeping,
            ledger=tmp_path / "tasks.ledger",
            cache=tmp_path / "answers.cache",
        )
        with router, no_sockets():
            first, again = (router.completion(TASK, conversation="c1") for _ in range(2))
            router.feedback(first, 0.9)
        assert again.trace.cached
        proof = first.trace.proof()
        assert proof.holds
        said = {check.name: check.text for check in proof.checks}
        assert "on this machine" in said["cache"]
        assert "a hash of each task" in said["ledger"]

    def test_a_stream_that_breaks_off_goes_on_here_or_not_at_all(self, listeners, policy):
        going_on = policy.model_copy(update={"on_interruption": "continue"})
        with make(listeners, Breaking(), policy=going_on) as router, no_sockets():
            stream = router.completion(TASK, stream=True)
            with stream, pytest.raises(ModelRouterError):
                list(stream)
            assert stream.trace.proof().holds
        router = make(listeners, Breaking(), policy=going_on, more=(local("here/weaker"),))
        with router, no_sockets(), router.completion(TASK, stream=True) as stream:
            assert "".join(chunk.text for chunk in stream) == "so far, and on"

    def test_a_slow_answer_is_hedged_here_or_not_at_all(self, listeners, policy):
        def slow(request) -> str:
            time.sleep(0.1)
            return request.card.name

        hurried = policy.model_copy(update={"hedge": 0.02})
        for more in ((), (local("here/weaker"),)):
            router = make(listeners, FunctionBackend(slow), policy=hurried, more=more)
            # The loop of a hedged call has a pair of sockets of its own, connected to nobody.
            with router:
                reply = router.completion(TASK)
            assert reply.text.startswith("here/")
            assert reply.trace.proof().holds

    def test_everything_cools_down(self, listeners, policy):
        with make(listeners, FunctionBackend(failing), policy=policy) as router, no_sockets():
            for _ in range(8):
                with pytest.raises(ModelRouterError):
                    router.completion(TASK)
            assert router.health()[-1].state == "open"

    def test_logs_and_errors_hold_nothing_of_it(self, listeners, policy, caplog, tmp_path):
        def broken_hook(trace) -> None:
            raise ValueError("broken")

        with (
            caplog.at_level(logging.DEBUG),
            make(listeners, FunctionBackend(failing), policy=policy, hooks=[broken_hook]) as router,
            no_sockets(),
            pytest.raises(LocalModelError) as caught,
        ):
            router.completion(TASK)
        assert MARK not in caplog.text
        assert MARK not in str(caught.value)
        assert MARK not in str(caught.value.trace.proof())

    async def test_awaited(self, listeners, policy):
        router = make(listeners, policy=policy, kind=AsyncRouter)
        async with router:
            with no_sockets():
                reply = await router.completion(TASK)
                stream = await router.completion(TASK, stream=True)
                async with stream:
                    assert [chunk async for chunk in stream]
        assert reply.trace.proof().holds


def test_a_conversation_begun_elsewhere_comes_home_for_a_private_turn(listeners):
    policy = Policy.best(rules=[Rule.when(contains_pii=True).only(location="local")])
    with ScriptedServer() as server:
        catalog = Catalog([hosted("openai/far-1", server.base_url), local()])
        with Router(catalog=catalog, backends={"test": EchoBackend()}, policy=policy) as router:
            assert router.completion("Hello!", conversation="c").model == "openai/far-1"
            with no_sockets():
                reply = router.completion(TASK, conversation="c")
        assert reply.model == "here/small"
        assert len(server.requests) == 1
        assert MARK not in str(server.requests[0].body)


def test_the_bundled_model_opens_no_socket(listeners, bundled_model):
    catalog = cards(listeners, ModelCard.local(bundled_model))
    with Router(catalog=catalog, policy="private") as router, no_sockets():
        reply = router.completion("Fix the grammar: She go to school every days.", max_tokens=30)
    assert reply.decision.location == "local"
    proof = reply.trace.proof()
    assert proof.holds
    assert proof.open_questions == ()


def test_what_is_not_this_packages_to_say_is_named(listeners):
    server = local(
        "here/server", backend="litellm", api_base="http://127.0.0.1:1/v1", server_model="phi3"
    )
    router = make(listeners, policy="private", more=(server,), hooks=[lambda trace: None])
    with router:
        proof = router.consider("Hello there, how are you?").proof()
    assert proof.holds
    assert {check.name for check in proof.open_questions} == {"backends", "hooks"}
    assert "http://127.0.0.1:1/v1" in str(proof)
    assert proof.model_dump()["holds"] is True


def test_a_decision_that_was_pickled_still_proves(listeners):
    with make(listeners, policy="private") as router:
        decision = router.route("Hello there, how are you?")
    again = pickle.loads(pickle.dumps(decision))
    assert again.proof().holds
    assert again.confined_by is not None


def test_a_decision_stays_as_it_was_while_it_is_carried_out(listeners):
    with make(listeners, policy="private") as router:
        planned = str(router.route("Hello there, how are you?").proof())
        reply = router.completion("Hello there, how are you?")
    assert str(reply.decision.proof()) == planned
    assert "here/small (asked)" in str(reply.trace.proof())


def test_a_trace_without_a_call_proves_nothing():
    with pytest.raises(ConfigurationError, match="no decision"):
        Trace().proof()


def test_a_model_whose_place_is_not_known_counts_as_away(listeners):
    with make(listeners, policy="private") as router:
        trace = router.completion("Hello there, how are you?").trace
    unknown = tuple(replace(attempt, location=None) for attempt in trace.attempts)
    assert trace.proof().holds
    assert not replace(trace, attempts=unknown).proof().holds
