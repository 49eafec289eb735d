"""Options of a call that make no sense: refused before a model is asked, with value and way out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from modelrouter import Catalog, ConfigurationError, InvalidTaskError, Policy, Router, Rule
from modelrouter.testing import EchoBackend, example_card


@pytest.fixture
def router() -> Iterator[Router]:
    cards = [example_card("acme/a"), example_card("acme/b"), example_card("acme/c")]
    with Router(catalog=Catalog(cards), backends={"test": EchoBackend()}) as made:
        yield made


@pytest.mark.parametrize("model", [["acme/a", "acme/b"], [], None, 5, {"a": 1}, b"a"], ids=str)
def test_a_model_that_is_no_name_is_refused_with_the_way_out(router: Router, model: Any) -> None:
    for call in (router.completion, router.route, router.consider, router.embedding):
        with pytest.raises(ConfigurationError, match=r"only\(\"NAME\", \"NAME\"\)") as caught:
            call("hi there", model=model)  # type: ignore[operator]
        assert repr(model) in str(caught.value)


def test_the_way_out_for_several_models_works(router: Router) -> None:
    policy = Policy(rules=[Rule.when().only("acme/b", "acme/c")])
    decision = router.route("hi there", policy=policy)
    assert {c.model for c in decision.feasible} == {"acme/b", "acme/c"}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("stop", 5),
        ("stop", [5]),
        ("stop", {"a": 1}),
        ("seed", "x"),
        ("seed", 1.5),
        ("n", 0),
        ("n", "2"),
        ("n", True),
        ("user", 5),
        ("logit_bias", [1]),
        ("logprobs", "yes"),
        ("top_logprobs", "3"),
        ("parallel_tool_calls", 1),
        ("reasoning_effort", 3),
        ("extra_body", []),
        ("stream_options", 5),
        ("temperature", "warm"),
        ("max_tokens", "5"),
        ("timeout", "x"),
        ("tags", 5),
        ("conversation", 5),
        ("policy", 5),
        ("confidence_floor", "x"),
    ],
)
def test_an_option_of_another_type_is_refused_with_its_name_and_value(
    router: Router, option: str, value: Any
) -> None:
    with pytest.raises((ConfigurationError, InvalidTaskError)) as caught:
        router.completion("hi there", **{option: value})
    assert option in str(caught.value)
    assert repr(value) in str(caught.value) or type(value).__name__ in str(caught.value)


@pytest.mark.parametrize("texts", [5, None, {"a": 1}], ids=str)
def test_an_input_that_is_no_text_is_refused(router: Router, texts: Any) -> None:
    with pytest.raises(InvalidTaskError, match="input: expected a text"):
        router.embedding(texts)
