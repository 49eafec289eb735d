"""Intervals: they hold the point, the truth as often as they say, and are the same each time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelrouter import ConfigurationError
from modelrouter.evaluation import Estimate
from modelrouter.evaluation.estimate import bootstrap


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(0, 5))
def test_the_interval_holds_the_point(values: list[float], seed: int) -> None:
    data = np.array(values)
    found = bootstrap(
        lambda s: {"mean": float(data[s].mean()), "max": float(data[s].max())},
        len(data),
        resamples=20,
        seed=seed,
    )
    for estimate in found.values():
        assert estimate.low <= estimate.value <= estimate.high
    assert found["max"].value == max(values)


def test_the_interval_holds_the_truth_about_19_times_in_20() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        data = rng.random(60)
        (mean,) = bootstrap(
            lambda s, data=data: {"m": float(data[s].mean())}, 60, resamples=200, seed=seed
        ).values()
        held += mean.low <= 0.5 <= mean.high
    assert 176 <= held <= 199


def test_the_same_seed_gives_the_same_interval() -> None:
    data = np.arange(20.0)

    def figures(sample: np.ndarray) -> dict[str, float]:
        return {"m": float(data[sample].mean())}

    one, again = bootstrap(figures, 20, seed=3), bootstrap(figures, 20, seed=3)
    assert one == again
    assert one != bootstrap(figures, 20, seed=4)


def test_differences_are_paired() -> None:
    rng = np.random.default_rng(0)
    base = rng.random(50) * 100
    found = bootstrap(
        lambda s: {"difference": float((base[s] + 1).mean() - base[s].mean())}, 50, resamples=50
    )
    assert found["difference"].high - found["difference"].low < 1e-9


def test_what_does_not_exist_has_no_interval() -> None:
    (nan,) = bootstrap(lambda _: {"x": math.nan}, 5, resamples=10).values()
    assert math.isnan(nan.value)
    assert not nan.above(0)
    assert not nan.below(0)
    assert nan.model_dump() == {"value": None, "low": None, "high": None}
    (bare,) = bootstrap(lambda _: {"x": 0.5}, 5, resamples=0).values()
    assert str(bare) == "0.500"
    assert not bare.above(0)


def test_an_estimate_in_words() -> None:
    estimate = Estimate(0.5, 0.4, 0.6)
    assert str(estimate) == "0.500 (0.400 to 0.600)"
    assert estimate.above(0.39)
    assert not estimate.above(0.45)
    assert estimate.below(0.61)


def test_nothing_to_resample() -> None:
    with pytest.raises(ConfigurationError, match="nothing to resample"):
        bootstrap(lambda _: {"x": 0.0}, 0)
