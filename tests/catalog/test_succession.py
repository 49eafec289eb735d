"""Models that their providers have switched off."""

from __future__ import annotations

import pytest

from modelrouter import Catalog, ConfigurationError, RetiredModelError, Router
from modelrouter.catalog.succession import in_service
from modelrouter.testing import EchoBackend, example_card

OLD = example_card("acme/old", retired="2025-01-01", successor="acme/middle")
MIDDLE = example_card("acme/middle", retired="2026-01-01", successor="acme/new")
NEW = example_card("acme/new")
CATALOG = Catalog([OLD, MIDDLE, NEW])


def router(**options) -> Router:
    return Router(catalog=CATALOG, backends={"test": EchoBackend()}, **options)


@pytest.mark.parametrize("way", ["route", "completion"])
def test_asking_for_a_retired_model_names_its_successor(way):
    with pytest.raises(RetiredModelError, match=r"2025-01-01.*acme/middle.*follow_successor"):
        getattr(router(), way)("Hi!", model="acme/old")


def test_the_successor_answers_where_that_is_wanted_and_the_decision_says_so():
    reply = router(follow_successor=True).completion("Hi!", model="acme/old")
    assert reply.model == "acme/new"
    assert "succeeds acme/old, retired on 2025-01-01" in reply.decision.explain()


def test_a_named_model_that_is_in_service_is_asked_without_a_word():
    decision = router(follow_successor=True).route("Hi!", model="acme/new")
    assert "succeeds" not in decision.explain()


def test_a_server_of_ones_own_may_still_have_a_retired_model():
    card = OLD.model_copy(update={"api_base": "http://127.0.0.1:9/v1"})
    assert in_service(card, CATALOG, follow_successor=False) is card


def test_without_a_successor_there_is_only_the_error():
    last = example_card("acme/last", retired="2025-01-01")
    with pytest.raises(RetiredModelError, match="another model"):
        in_service(last, Catalog([last]), follow_successor=True)


def test_successors_in_a_circle_are_named():
    one = example_card("acme/one", retired="2025-01-01", successor="acme/two")
    two = example_card("acme/two", retired="2025-01-01", successor="acme/one")
    with pytest.raises(ConfigurationError, match="acme/one -> acme/two -> acme/one"):
        in_service(one, Catalog([one, two]), follow_successor=True)


def test_gemini_1_5_is_such_a_model():
    with pytest.raises(RetiredModelError, match=r"gemini-pro-latest"):
        Router().route("Hi!", model="gemini/gemini-1.5-pro")
