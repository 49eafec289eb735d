import numpy as np
import pytest

from modelrouter.fitting.boosting import Boosting, grow, predict
from modelrouter.scoring.forest import FIELD, CompiledForest

SETTING = Boosting(trees=12, rate=0.3, rows=0.8, features=0.7, smallest=5, damping=1.0)


def sample(seed: int = 0):
    random = np.random.default_rng(seed)
    values = random.normal(size=(400, 6)).round(1)
    targets = np.stack([(values[:, 0] > 0.3) * 1.0, (values[:, 1] * values[:, 2] > 0) * 1.0], 1)
    return values, targets


def test_trees_learn_steps_and_their_products() -> None:
    values, targets = sample()
    forest = grow(values, targets - targets.mean(0), np.eye(2), SETTING)
    fresh, wanted = sample(1)
    found = predict(forest, fresh) + targets.mean(0)
    error = ((found - wanted) ** 2).mean(0)
    assert error[0] < 0.4 * wanted[:, 0].var()
    assert error[1] < 0.95 * wanted[:, 1].var()


def test_a_model_without_a_score_on_a_row_does_not_count_there() -> None:
    values, targets = sample()
    targets[:200, 1] = np.nan
    other = targets.copy()
    other[:200, 0] = np.nan
    forest = grow(values, targets - 0.5, np.eye(2), SETTING)
    assert np.isfinite(forest.leaf).all()
    assert not np.allclose(forest.leaf, grow(values, other - 0.5, np.eye(2), SETTING).leaf)


def test_the_same_seed_grows_the_same_forest() -> None:
    values, targets = sample()
    one, two = (grow(values, targets - 0.5, np.eye(2), SETTING) for _ in range(2))
    assert np.array_equal(one.threshold, two.threshold)
    assert np.array_equal(one.leaf, two.leaf)


@pytest.mark.parametrize("seed", range(5))
def test_bit_masks_find_the_leaf_that_walking_finds(seed: int) -> None:
    values, targets = sample(seed)
    forest = grow(values, targets - 0.5, np.eye(2), SETTING)
    leaf = np.random.default_rng(seed).integers(0, 60_000, forest.leaf.shape)
    walked = predict(type(forest)(forest.feature, forest.threshold, leaf.astype(float)), values)
    compiled = CompiledForest(
        forest.feature.ravel().tolist(),
        forest.threshold.ravel().tolist(),
        leaf.ravel().tolist(),
        models=2,
    )
    mask = (1 << FIELD) - 1
    for row, expected in zip(values.tolist(), walked, strict=True):
        total = compiled.total(row)
        assert [total & mask, total >> FIELD] == expected.tolist()
