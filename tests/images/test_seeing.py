"""Who may be given a picture; and turns after it that need it no more."""

from __future__ import annotations

import pytest

from modelrouter import Catalog, Policy, Router, UnsupportedModalityError
from modelrouter.testing import FunctionBackend, example_card
from tests.support.pictures import picture

BLIND = example_card(name="small", location="local", backend="small")
SEEING = example_card(
    name="seer", location="hosted", backend="seer", modalities_in={"text", "image"}
)
SHOWN = [
    {"role": "user", "content": ["What is this?", picture()]},
    {"role": "assistant", "content": "A red square on a wall."},
]


@pytest.fixture
def heard():
    return []


@pytest.fixture
def router(heard):
    def small(request):
        heard.append(request.messages)
        return "small"

    backends = {"small": FunctionBackend(small), "seer": FunctionBackend(lambda request: "seer")}
    with Router(catalog=Catalog([BLIND, SEEING]), backends=backends) as router:
        yield router


def turns(text):
    return [*SHOWN, {"role": "user", "content": text}]


@pytest.mark.parametrize(
    "text",
    [
        "What colour is it?",
        "Is there a dog too?",
        "Translate the sign to English.",
        "And in this picture, who is on the left?",
        "Solve the second equation.",
        "Write the code for the page.",
        "Translate it into German: the words in the photo",
        "Summarize.",
        "Thanks!",
    ],
)
def test_a_turn_that_may_be_about_the_picture_goes_to_a_model_that_sees(router, text) -> None:
    decision = router.route(turns(text))
    assert "vision" in decision.signals.needs
    assert [c.model for c in decision.feasible] == ["seer"]


@pytest.mark.parametrize(
    "text",
    [
        "Translate your answer into French.",
        "Fix the grammar: She go to school every days.",
        "Summarize what you wrote in three words.",
        'Translate "good morning to all of you" into Spanish.',
    ],
)
def test_a_turn_about_text_may_go_to_a_model_that_does_not_see(router, heard, text) -> None:
    reply = router.completion(turns(text), policy=Policy(location="local"))
    assert reply.text == "small"
    assert "earlier pictures are left out" in reply.decision.explain()
    assert heard[0][0]["content"].endswith("[A picture was shown here; it is left out.]")
    assert "data:" not in str(heard)


def test_a_model_that_sees_is_shown_the_picture_all_the_same(router) -> None:
    decision = router.route(turns("Translate your answer into French."))
    seer = next(c for c in decision.candidates if c.model == "seer")
    assert "left out" not in seer.reason


def test_a_private_policy_without_a_local_model_that_sees_says_so(router) -> None:
    with pytest.raises(UnsupportedModalityError, match=r"sees images(.|\n)*ModelCard\.server"):
        router.completion(SHOWN[:1], policy=Policy.private())
