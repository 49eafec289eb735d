"""The main job on real parts: the bundled SLM in this process, a real LLM server over real HTTP."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelrouter import (
    AuthenticationError,
    Catalog,
    ModelCard,
    NoEligibleModelError,
    Policy,
    Router,
    Rule,
)
from tests.support.scripted_server import ScriptedServer, reply, status

GRAMMAR = "Fix the grammar: He don't like coffee."
PROOF = "Prove that the square root of 2 is irrational."
FIXED = "He doesn't like coffee."


@pytest.fixture(scope="module")
def hosted(llama_server) -> ModelCard:
    """llama-cpp-python's own server, reached as a hosted model through litellm."""
    return ModelCard.hosted(
        f"openai/{llama_server.model}",
        api_base=llama_server.base_url,
        api_key="sk-loopback",
        price={"input": 1e-6, "output": 2e-6},
        general_strength=0.95,
    )


@pytest.fixture(scope="module")
def router(hosted):
    with Router([hosted]) as made:
        yield made


def test_a_simple_task_is_answered_on_this_machine(router):
    reply_ = router.completion(GRAMMAR)
    assert reply_.model == "modelrouter/tiny-editor"
    assert reply_.text == FIXED
    assert reply_.cost_usd == 0
    assert reply_.decision.location == "local"


def test_a_complex_task_goes_over_http_to_the_hosted_model(router, hosted):
    reply_ = router.completion(PROOF, max_tokens=20)
    assert reply_.model == hosted.name
    assert reply_.usage.completion_tokens > 0
    expected = hosted.price.cost_usd(reply_.usage.prompt_tokens, reply_.usage.completion_tokens)
    assert reply_.cost_usd == pytest.approx(expected)


def test_both_stream(router):
    for task, where in ((GRAMMAR, "local"), (PROOF, "hosted")):
        with router.completion(task, stream=True, max_tokens=20) as stream:
            chunks = list(stream)
        assert stream.decision.location == where
        assert chunks[-1].usage.completion_tokens > 0
        assert chunks[-1].cost_usd is not None


async def test_both_answer_awaited_and_at_once(router):
    replies = await asyncio.gather(
        *(router.acompletion(GRAMMAR if i % 2 else PROOF, max_tokens=10) for i in range(8))
    )
    assert [r.decision.location for r in replies] == ["hosted", "local"] * 4


def test_thirty_two_threads_may_call_at_once(router):
    with ThreadPoolExecutor(32) as pool:
        replies = list(pool.map(lambda _: router.completion(GRAMMAR).text, range(64)))
    assert set(replies) == {FIXED}


def test_a_local_reply_says_how_sure_the_model_was(router, hosted):
    whole = router.completion(GRAMMAR)
    assert 0.5 < whole.confidence.probability < 1
    assert whole.confidence.min_logprob <= whole.confidence.mean_logprob < 0
    with router.completion(GRAMMAR, stream=True, logprobs=True) as stream:
        list(stream)
    assert stream.completion.confidence == whole.confidence
    told = stream.completion.choices[0].logprobs["content"]
    assert "".join(entry["token"] for entry in told) == FIXED
    assert router.completion(PROOF, max_tokens=5).confidence is None


@pytest.mark.parametrize("streaming", [False, True])
def test_an_answer_the_local_model_is_not_sure_of_is_asked_of_the_next(streaming):
    with ScriptedServer() as server:
        server.script(reply("a surer answer"))
        card = ModelCard.hosted("openai/gpt-4o", api_base=server.base_url, api_key="sk-none")
        with Router([card], policy=Policy.cheapest()) as router:
            task = "Complete the sentence: My favorite food is"
            sure = router.completion(GRAMMAR, confidence_floor=0.2)
            if streaming:
                with router.completion(GRAMMAR, stream=True, confidence_floor=0.2) as stream:
                    assert "".join(chunk.text for chunk in stream) == FIXED
            unsure = router.completion(task, confidence_floor=0.95)
        body = server.requests[-1].body
    assert sure.model == "modelrouter/tiny-editor"
    assert unsure.text == "a surer answer"
    first, second = unsure.trace.attempts
    assert (first.model, first.outcome, second.outcome) == (
        "modelrouter/tiny-editor", "failed", "answered",
    )  # fmt: skip
    assert "LowConfidenceError" in first.error
    assert "confidence_floor" not in body


def test_context_is_counted_exactly_once_the_local_model_is_loaded(router):
    router.completion(GRAMMAR)
    assert router.route(GRAMMAR).signals.token_error == 0.0


def test_a_hosted_model_that_fails_gives_way_to_the_local_one():
    with ScriptedServer() as server:
        server.script(status(401))
        card = ModelCard.hosted("openai/gpt-4o", api_base=server.base_url, api_key="sk-wrong")
        with Router([card], policy=Policy.best()) as router:
            reply_ = router.completion(GRAMMAR)
    assert reply_.decision.model == "openai/gpt-4o"
    assert reply_.model == "modelrouter/tiny-editor"
    assert [a.outcome for a in reply_.trace.attempts] == ["failed", "answered"]


def test_a_wrong_key_is_said_when_no_other_model_may():
    with ScriptedServer() as server:
        server.script(status(401))
        card = ModelCard.hosted("openai/gpt-4o", api_base=server.base_url, api_key="sk-wrong-1")
        with (
            Router(catalog=Catalog([card])) as router,
            pytest.raises(AuthenticationError) as caught,
        ):
            router.completion(PROOF)
    assert "sk-wrong-1" not in str(caught.value)


def test_private_text_reaches_no_server_whatever_fails():
    with ScriptedServer() as server:
        server.script(reply("never"))
        card = ModelCard.hosted("openai/gpt-4o", api_base=server.base_url, api_key="sk-x")
        with Router([card], policy=Policy.private()) as router:
            assert router.completion(GRAMMAR).model == "modelrouter/tiny-editor"
            with pytest.raises(NoEligibleModelError, match="local models only"):
                router.completion(PROOF)
            with pytest.raises(NoEligibleModelError):
                router.completion(PROOF, model="openai/gpt-4o")
    assert server.requests == []


def test_a_rule_keeps_personal_data_on_this_machine():
    rule = Rule.when(contains_pii=True).only(location="local")
    with ScriptedServer() as server:
        card = ModelCard.hosted("openai/gpt-4o", api_base=server.base_url, api_key="sk-x")
        with Router([card], policy=Policy.balanced(rules=[rule])) as router:
            with pytest.raises(NoEligibleModelError, match="ruled out by the rule"):
                router.completion("Draft a letter to jane.doe@example.com about her claim.")
            assert router.completion("Draft a letter about a claim.").model == "openai/gpt-4o"
    assert len(server.requests) == 1


def test_the_editor_is_sent_nothing_but_what_its_card_says(router):
    for task in (
        PROOF,
        "Korrigiere die Grammatik: Ich gehe gestern in die Schule und habe meine Freund gesehen.",
        "Translate into French: The meeting has been moved.",
        "Fix the grammar: " + "She go to school every day and meet her friends there. " * 40,
        [
            {"role": "user", "content": GRAMMAR},
            {"role": "assistant", "content": FIXED},
            {"role": "user", "content": "Fix the grammar: She go home."},
        ],
    ):
        assert "modelrouter/tiny-editor" not in [c.model for c in router.consider(task).feasible]
