import numpy as np
import pytest

from aelib.comparison import FLOOR, compare
from aelib.fidelity import frechet_distance

D = 5
MEAN = np.linspace(0.3, 0.7, D)
MIXING = 0.1 * np.random.default_rng(0).standard_normal((D, D))
TRAIN, TEST = (MEAN + np.random.default_rng(1).standard_normal((2, 600, D)) @ MIXING).astype(np.float32)
PAINT = np.random.default_rng(2).random((D, 8 * 8 * 3)) / D


class Normal:
    def __init__(self, mean):
        self.mean = mean

    def sample(self, n_samples=1, *, random_state=None):
        return self.mean + np.random.default_rng(random_state).standard_normal((n_samples, D)) @ MIXING

    def score_samples(self, z):
        return -0.5 * ((z - self.mean) ** 2).sum(axis=1)


class Copier:
    def sample(self, n_samples=1, *, random_state=None):
        return TRAIN[np.random.default_rng(random_state).integers(len(TRAIN), size=n_samples)]


def decode(z):
    assert len(z) <= 256
    return (z @ PAINT).reshape(-1, 8, 8, 3)


def encode(images):
    return images.reshape(len(images), -1) @ np.linalg.pinv(PAINT)


FEATURES = {"pixels": lambda x: x[:, ::4, ::4].reshape(len(x), -1), "colour": lambda x: x.mean(axis=(1, 2))}
SETTINGS = {"decode": decode, "z_train": TRAIN, "z_test": TEST, "features": FEATURES, "n": 500, "draws": 4}
SAMPLERS = {"N(μ, Σ)": Normal(MEAN), "N(0, Σ)": Normal(np.zeros(D)), "copies": Copier()}


@pytest.fixture(scope="module")
def comparison():
    return compare(SAMPLERS, encode=encode, **SETTINGS)


def test_every_sampler_has_every_score(comparison):
    names = [FLOOR, *SAMPLERS]
    assert list(comparison.table.index) == [(name, space) for name in names for space in FEATURES]
    assert comparison.table.notna().all(axis=None)
    assert list(comparison.points.index) == names
    assert comparison.points.log_likelihood.isna().tolist() == [True, False, False, True]


def test_the_right_mean_wins_and_the_copier_is_caught(comparison):
    scores = comparison.table.frechet.unstack()
    assert (scores.loc["N(0, Σ)"] > 20 * scores.loc["N(μ, Σ)"].abs()).all()
    assert comparison.points.copying.tolist()[1:] == ["clear", "clear", "copies"]
    assert comparison.points.accuracy["N(0, Σ)"] > 0.9 > 0.6 > comparison.points.accuracy["N(μ, Σ)"]
    assert comparison.points.round_trip.max() < 1e-3


def test_a_row_does_not_depend_on_the_others(comparison):
    alone = compare({"N(0, Σ)": SAMPLERS["N(0, Σ)"]}, **SETTINGS)
    both = comparison.table.loc["N(0, Σ)"]
    np.testing.assert_allclose(alone.table.loc["N(0, Σ)"], both, rtol=1e-12)
    assert alone.points.round_trip.isna().all()


def test_a_row_is_what_the_scores_themselves_say(comparison):
    rng = np.random.default_rng(0)
    truth, floor = (cloud[np.sort(rng.permutation(600)[:500])] for cloud in (TEST, TRAIN))
    real, generated = (FEATURES["colour"](decode(z[:256])) for z in (truth, floor))
    real, generated = (
        np.concatenate([part, FEATURES["colour"](decode(z[256:]))])
        for part, z in ((real, truth), (generated, floor))
    )
    expected = frechet_distance(real.astype(np.float32), generated.astype(np.float32), draws=4, floor="none")
    assert comparison.table.frechet[FLOOR, "colour"] == pytest.approx(expected.value, rel=1e-6)


def test_excess_is_measured_between_the_floor_and_another_sampler(comparison):
    excess = comparison.excess("N(0, Σ)")
    assert (excess.loc["N(0, Σ)"] == 1).all()
    assert (excess.loc[FLOOR] == 0).all()
    assert excess.loc["N(μ, Σ)"].abs().max() < 0.1
    with pytest.raises(ValueError, match="there is no sampler 'other'"):
        comparison.excess("other")
    with pytest.raises(ValueError, match="is at the floor itself"):
        comparison.excess(FLOOR)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="n must be 16 to 600, the number of points in z_train"):
        compare(SAMPLERS, **{**SETTINGS, "n": 601})
    with pytest.raises(ValueError, match="a sampler and a feature space or more"):
        compare({}, **SETTINGS)
    with pytest.raises(ValueError, match="name of the floor"):
        compare({FLOOR: Copier()}, **SETTINGS)

    class Wrong:
        def sample(self, n_samples=1, *, random_state=None):
            return np.full((n_samples, D), np.nan)

    with pytest.raises(ValueError, match="sampler 'wrong' must draw finite points"):
        compare({"wrong": Wrong()}, **SETTINGS)
