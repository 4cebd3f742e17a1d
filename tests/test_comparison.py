import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from aelib.comparison import FLOOR, _ratio, compare
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
    assert list(comparison.halves.columns) == [
        "frechet",
        "kernel",
        "precision",
        "recall",
        "density",
        "coverage",
    ]
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
    assert list(excess.index) == list(comparison.table.index)
    np.testing.assert_allclose(excess.loc["N(0, Σ)"], 1, rtol=1e-9)
    np.testing.assert_allclose(excess.loc[FLOOR], 0, atol=1e-12)
    normal = excess.loc["N(μ, Σ)"]
    assert normal.value.abs().max() < 0.1
    assert (normal.low < normal.value).all()
    assert (normal.value < normal.high).all()
    score = comparison.table.kernel.unstack("features")
    above = (score.loc["N(μ, Σ)"] - score.loc[FLOOR]) / (score.loc["N(0, Σ)"] - score.loc[FLOOR])
    found = comparison.excess("N(0, Σ)", score="kernel").value
    np.testing.assert_allclose(found["N(μ, Σ)"], above[list(FEATURES)])
    with pytest.raises(ValueError, match="there is no sampler 'other'"):
        comparison.excess("other")
    with pytest.raises(ValueError, match="no score 'kernel_low'"):
        comparison.excess("N(0, Σ)", score="kernel_low")
    with pytest.raises(ValueError, match="is at the floor itself"):
        comparison.excess(FLOOR)


def test_halves_are_those_behind_the_scores_and_share_the_truth(comparison):
    names = ["sampler", "features", "draw"]
    assert comparison.halves.index.names == names
    assert len(comparison.halves) == len(comparison.table) * SETTINGS["draws"]
    spread = comparison.halves.recall.groupby(names[:2], sort=False).std()
    low = comparison.table.recall - norm.ppf(0.975) * spread
    np.testing.assert_allclose(comparison.table.recall_low, low)
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, (60, 2)), rng.normal(1, 1, (60, 2))
    first = frechet_distance(x, y, draws=2, floor="none")
    half = np.sort(np.array_split(np.random.default_rng(0).permutation(60), 2)[0])
    # The half of the real sample does not depend on the generated one, if both have as many points.
    both = [frechet_distance(x, other, draws=2, floor="none").halves[0] for other in (y, y + 1)]
    assert both[0] == first.halves[0]
    step = x[half].mean(axis=0) - y[np.sort(np.array_split(order_of_the_second(60), 2)[0])].mean(axis=0)
    assert both[1] - both[0] == pytest.approx(2 - 2 * step.sum())


def order_of_the_second(n):
    rng = np.random.default_rng(0)
    rng.permutation(n)
    return rng.permutation(n)


def test_the_interval_of_a_ratio_is_fiellers():
    rng = np.random.default_rng(3)
    covariance = np.array([[0.04, 0.03], [0.03, 0.09]])
    draws = rng.multivariate_normal([0, 0], covariance, 8)
    part, whole = np.column_stack([[1.0, 4.0], draws.T])
    ratio, low, high = _ratio(part, whole)
    assert ratio == 0.25
    spread = np.cov(draws.T)
    # By definition the ends are the ratios r for which part - r whole is just as far from 0 as t allows.
    for r in (low, high):
        step = np.array([1, -r])
        assert (step @ [1.0, 4.0]) ** 2 == pytest.approx(student(4).ppf(0.975) ** 2 * step @ spread @ step)
    assert _ratio(part, np.append(0.1, draws[:, 1]))[1:] == (-np.inf, np.inf)


def test_the_interval_of_the_excess_holds_it():
    rng = np.random.default_rng(4)
    held, limit, steps = 0, 0.6**2, np.array([[0.0, 0.0], [0.6, 0.0], [1.0, 0.0]])
    for _ in range(30):
        truth, *others = rng.standard_normal((4, 120, 2))
        found = [
            frechet_distance(truth, x + step, draws=10, floor="none")
            for x, step in zip(others, steps, strict=True)
        ]
        floor, near, far = (np.append(score.value, score.halves) for score in found)
        _, low, high = _ratio(near - floor, far - floor)
        held += low <= limit <= high
    # 28.5 of 30 are expected; 24 or fewer have a probability of 0.016 at 95 %, and 0.001 at the 97 % that it has.
    assert held > 24


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="n must be 16 to 600, the number of points in z_train"):
        compare(SAMPLERS, **{**SETTINGS, "n": 601})
    with pytest.raises(ValueError, match="a sampler and a feature space or more"):
        compare({}, **SETTINGS)
    with pytest.raises(ValueError, match="a sampler and a feature space or more"):
        compare(SAMPLERS, **{**SETTINGS, "features": {}})
    with pytest.raises(ValueError, match="name of the floor"):
        compare({FLOOR: Copier()}, **SETTINGS)
    with pytest.raises(ValueError, match="same number of components"):
        compare(SAMPLERS, **{**SETTINGS, "z_test": TEST[:, :3]})
    with pytest.raises(ValueError, match="draws must be an even number"):
        compare(SAMPLERS, **{**SETTINGS, "draws": 3})
    with pytest.raises(ValueError, match="z must be finite"):
        compare(SAMPLERS, **{**SETTINGS, "z_test": np.full_like(TEST, np.nan)})

    class Wrong:
        def sample(self, n_samples=1, *, random_state=None):
            return np.full((n_samples, D), np.nan)

    with pytest.raises(ValueError, match="sampler 'wrong' must draw finite points"):
        compare({"wrong": Wrong()}, **SETTINGS)
