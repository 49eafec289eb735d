"""Choosing tokens, from scores made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelrouter.backends.llamacpp.engine.sampling import NoTokenAllowed, Sampler, SamplingOptions
from modelrouter.config import GenerationSettings
from modelrouter.exceptions import BadRequestError

SCORES = np.array([1.0, 5.0, 3.0, 4.0, -2.0], np.float32)


def drawn(options: SamplingOptions, scores=SCORES, times: int = 300) -> set[int]:
    sampler = Sampler(options, len(scores), "m")
    return {sampler.choose(scores) for _ in range(times)}


class Only:
    """A grammar that allows some tokens, and wants to hear of allowed ones only."""

    def __init__(self, *tokens: int) -> None:
        self.tokens = tokens

    def allowed(self, tokens):
        return np.isin(tokens, self.tokens)

    def accept(self, token: int) -> None:
        assert token in self.tokens


@given(st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=50))
def test_temperature_zero_takes_the_likeliest(scores):
    array = np.array(scores, np.float32)
    chosen = Sampler(SamplingOptions(), len(array), "m").choose(array)
    assert array[chosen] == array.max()


@settings(max_examples=60)
@given(
    st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=60),
    st.floats(0.05, 2.0),
    st.integers(0, 70),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
    st.integers(),
)
def test_whatever_the_options_a_token_of_the_vocabulary_is_chosen(
    scores, temperature, top_k, top_p, min_p, seed
):
    options = SamplingOptions(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, seed=seed
    )
    array = np.array(scores, np.float32)
    one, other = (Sampler(options, len(array), "m") for _ in range(2))
    for _ in range(5):
        token = one.choose(array)
        assert 0 <= token < len(array)
        assert token == other.choose(array)


def test_top_k_top_p_and_min_p_leave_the_likeliest():
    wide = {"temperature": 2.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    assert drawn(SamplingOptions(**wide), times=3_000) == {0, 1, 2, 3, 4}
    assert drawn(SamplingOptions(**{**wide, "top_k": 2})) == {1, 3}
    assert drawn(SamplingOptions(**{**wide, "top_k": 1})) == {1}
    # Their probabilities are 0.66, 0.24, 0.09, 0.01 and less.
    assert drawn(SamplingOptions(**{**wide, "top_p": 0.6})) == {1}
    assert drawn(SamplingOptions(**{**wide, "top_p": 0.8})) == {1, 3}
    assert drawn(SamplingOptions(**{**wide, "min_p": 0.1})) == {1, 2, 3}
    assert drawn(SamplingOptions(**{**wide, "top_p": 0.0})) == {1}


def test_draws_follow_the_probabilities():
    options = SamplingOptions(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, seed=3)
    sampler = Sampler(options, 3, "m")
    scores = np.log(np.array([0.2, 0.5, 0.3], np.float32))
    counts = np.bincount([sampler.choose(scores) for _ in range(20_000)], minlength=3) / 20_000
    assert counts == pytest.approx([0.2, 0.5, 0.3], abs=0.02)


def test_penalties_count_what_was_said_and_leave_llama_cpps_memory_alone():
    sampler = Sampler(SamplingOptions(frequency_penalty=0.6), 5, "m")
    scores = SCORES.copy()
    said = []
    for _ in range(4):
        said.append(sampler.choose(scores))
        sampler.accept(said[-1])
    assert said == [1, 1, 3, 1]  # 5.0; 4.4; 3.8 is below 4.0; 3.8 above 3.4
    assert (scores == SCORES).all()


def test_presence_is_penalised_once_and_repetition_by_a_factor():
    sampler = Sampler(SamplingOptions(presence_penalty=1.5), 5, "m")
    sampler.accept(1)
    sampler.accept(1)
    assert sampler.choose(SCORES) == 3  # 3.5 is below 4.0
    sampler = Sampler(SamplingOptions(repeat_penalty=2.0), 2, "m")
    sampler.accept(0)
    assert sampler.choose(np.array([-1.0, -1.5], np.float32)) == 1  # -2.0 is below -1.5


def test_a_bias_moves_the_choice():
    assert Sampler(SamplingOptions(logit_bias={4: 10.0}), 5, "m").choose(SCORES) == 4


def test_a_grammar_has_the_last_word():
    assert Sampler(SamplingOptions(), 5, "m", Only(1, 2)).choose(SCORES) == 1
    assert Sampler(SamplingOptions(), 5, "m", Only(0, 2)).choose(SCORES) == 2
    hot = Sampler(SamplingOptions(temperature=2.0, top_p=1.0), 5, "m", Only(0, 4))
    assert {hot.choose(SCORES) for _ in range(500)} <= {0, 4}


def test_a_grammar_that_allows_nothing_is_said_so():
    """Left to llama.cpp this ends the process."""
    with pytest.raises(NoTokenAllowed):
        Sampler(SamplingOptions(), 5, "m", Only()).choose(SCORES)


def test_none_means_the_default():
    given_none = GenerationSettings(temperature=None, seed=None, stop=None, max_tokens=None)
    options = SamplingOptions.of(given_none, "m")
    assert (options.temperature, options.stop, options.max_tokens) == (0.0, (), None)


def test_extra_body_counts_as_options():
    options = SamplingOptions.of(GenerationSettings(extra={"extra_body": {"min_p": 0.2}}), "m")
    assert options.min_p == 0.2


def test_an_option_not_known_names_the_nearest():
    with pytest.raises(BadRequestError, match="Did you mean 'repeat_penalty'"):
        SamplingOptions.of(GenerationSettings(extra={"repetition_penalty": 1.1}), "m")
