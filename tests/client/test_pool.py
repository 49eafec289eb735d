"""Backends are asked for what they can do, whatever they are called."""

from __future__ import annotations

import threading

import pytest

from modelrouter import Catalog, ConfigurationError, LowConfidenceError, Policy, Router
from modelrouter.backends.llamacpp import LlamaCppBackend
from modelrouter.catalog.card import Speed
from modelrouter.testing import EchoBackend, FunctionBackend, example_card

HERE = example_card("here/small", location="local", price=None, general_strength=0.6)
THERE = example_card("far/large")


class Exact(EchoBackend):
    """Counts tokens exactly, has measured how fast it is, and can be prepared."""

    def __init__(self) -> None:
        super().__init__()
        self.prepared = threading.Event()

    def tokenizer(self, card):
        return (lambda text: 7 * len(text.split())) if card.location == "local" else None

    def speed(self, card):
        return Speed(first_token_s=2.0, prefill_tokens_per_s=1e9, decode_tokens_per_s=1e9)

    def prepare(self) -> None:
        self.prepared.set()


def test_another_local_backend_counts_tokens_exactly():
    with Router(catalog=Catalog([HERE]), backends={"test": Exact()}) as router:
        assert router.route("one two three").signals.token_error == 0.0
    with Router(catalog=Catalog([HERE]), backends={"test": EchoBackend()}) as router:
        assert router.route("one two three").signals.token_error > 0.0


def test_another_backends_measured_speed_counts():
    with Router(catalog=Catalog([HERE]), backends={"test": Exact()}) as router:
        assert router.route("hello").chosen.latency_s == pytest.approx(2.0, abs=0.01)


def test_another_backend_is_prepared_when_the_router_is_made():
    backend = Exact()
    with Router(catalog=Catalog([HERE]), backends={"test": backend}):
        assert backend.prepared.is_set()


def test_a_backend_that_nobody_here_can_ask_is_not_prepared():
    backend = Exact()
    with Router(catalog=Catalog([THERE]), backends={"test": EchoBackend(), "other": backend}):
        assert not backend.prepared.is_set()


def test_another_backend_that_keeps_to_a_floor_is_given_one():
    class Unsure(FunctionBackend):
        def keeps_to_floor(self, card) -> bool:
            return card.name == "here/small"

    def answer(request) -> str:
        if request.card.name == "here/small" and request.settings.confidence_floor:
            raise LowConfidenceError("not sure", partial_text="", confidence=0.1)
        return request.card.name

    policy = Policy.cheapest(min_confidence=0.9, min_quality=None)
    catalog = Catalog([HERE, THERE])
    with Router(catalog=catalog, backends={"test": Unsure(answer)}, policy=policy) as router:
        assert router.completion("hello there, how are you?").model == "far/large"
    plain = FunctionBackend(answer)
    with Router(catalog=catalog, backends={"test": plain}, policy=policy) as router:
        assert router.completion("hello there, how are you?").model == "here/small"


def test_a_backend_is_made_once_however_many_threads_ask_first():
    with Router(catalog=Catalog([THERE]), backends={"test": EchoBackend()}) as router:
        found: list[object] = []
        gate = threading.Barrier(8)

        def ask() -> None:
            gate.wait()
            found.append(router.backend("llamacpp"))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(map(id, found))) == 1


def test_this_packages_own_backend_given_by_the_user_is_no_open_question(bundled_model):
    backend = LlamaCppBackend()
    with Router(policy="private", backends={"llamacpp": backend}) as router:
        proof = router.route("Fix the grammar: she go home.").proof()
        assert proof.holds
        assert not proof.open_questions
    backend.close()


def test_a_closed_router_has_no_backend_to_ask():
    router = Router(catalog=Catalog([THERE]), backends={"test": EchoBackend()})
    router.close()
    router.close()
    with pytest.raises(ConfigurationError, match="closed"):
        router.backend("test")
    with pytest.raises(ConfigurationError, match="closed"):
        router.completion("hello")
