import numpy as np
import pytest
import skdim.id as skdim

from aelib.dimension import dimension_bias, levina_bickel, two_nn
from aelib.neighbours import Neighbours, nearest_neighbours
from aelib.planted import planted_filaments, planted_sheet

RNG = np.random.default_rng(21)


def slow_two_nn(distance, discard):
    ratios = sorted(r[1] / r[0] for r in distance)
    n = len(ratios)
    x = np.log(ratios[: int(n * (1 - discard))])
    y = [-np.log(1 - (i + 1) / n) for i in range(len(x))]
    return np.linalg.lstsq(x[:, None], np.array(y), rcond=None)[0][0]


def slow_levina_bickel(distance, low, high, harmonic):
    by_k = []
    for k in range(low, high + 1):
        each = [sum(np.log(r[k - 1] / r[j]) for j in range(k - 1)) / (k - 1) for r in distance]
        by_k.append(1 / np.mean(each) if harmonic else np.mean([1 / e for e in each]))
    return np.mean(by_k)


@pytest.mark.parametrize("d", [1, 3, 30])
def test_estimates_agree_with_the_formulas_written_out(d):
    found = nearest_neighbours(5 + RNG.standard_normal((200, d)) * np.arange(1, d + 1), k=12)
    assert two_nn(found).value == pytest.approx(slow_two_nn(found.distance, 0.1))
    for average in ("harmonic", "arithmetic"):
        value = levina_bickel(found, low=3, high=12, average=average).value
        assert value == pytest.approx(slow_levina_bickel(found.distance, 3, 12, average == "harmonic"))


def test_estimates_agree_with_scikit_dimension():
    z = RNG.standard_normal((400, 5))
    found = nearest_neighbours(z, k=20)
    for method, theirs in (("fit", "linear"), ("likelihood", "mle")):
        assert two_nn(found, method=method).value == pytest.approx(
            skdim.TwoNN(method=theirs).fit(z).dimension_
        )
    for average, theirs in (("harmonic", "mle"), ("arithmetic", "mean")):
        value = levina_bickel(found, low=20, high=20, average=average).value
        estimator = skdim.MLE().fit(z, n_neighbors=20, comb=theirs)
        assert value == pytest.approx(estimator.dimension_)


@pytest.mark.parametrize("estimate", [two_nn, lambda f: two_nn(f, method="likelihood"), levina_bickel])
def test_the_law_itself_is_met_without_bias(estimate):
    """Distances drawn from the Poisson law of the estimators' own model, in 40 dimensions."""
    volumes = np.cumsum(RNG.exponential(size=(20_000, 20)), axis=1)
    found = Neighbours(np.arange(20_000), np.zeros((20_000, 20), dtype=int), volumes ** (1 / 40))
    result = estimate(found)
    assert abs(result.value - 40) < 4 * result.standard_error
    assert 0 < result.standard_error < 0.03 * 40


def test_the_standard_error_is_that_of_fresh_samples():
    results = []
    for _ in range(60):
        volumes = np.cumsum(RNG.exponential(size=(500, 20)), axis=1)
        found = Neighbours(np.arange(500), np.zeros((500, 20), dtype=int), volumes**0.2)
        results.append((two_nn(found), levina_bickel(found)))
    for each in zip(*results, strict=True):
        # 60 samples know a deviation to 9 %, a jackknife of 20 groups knows it to 16 % each time.
        told = np.mean([one.standard_error for one in each])
        assert told == pytest.approx(np.std([one.value for one in each]), rel=0.35)


def test_planted_dimensions_are_found():
    sheet = planted_sheet(3000, 30, curl=1.0, thickness=0.0)
    lines = planted_filaments(3000, 30, n_filaments=10, thickness=0.0)
    for z, truth in ((sheet, 2), (lines, 1)):
        found = nearest_neighbours(z, k=20)
        assert two_nn(found).value == pytest.approx(truth, rel=0.1)
        assert levina_bickel(found).value == pytest.approx(truth, rel=0.15)


def test_the_bias_grows_with_the_dimension():
    table = dimension_bias((2, 20, 100), n=1000, n_queries=500, draws=2, random_state=1)
    assert table.index.name == "d"
    assert table.loc[2, ["TwoNN", "MLE"]].to_numpy() == pytest.approx(2, rel=0.15)
    ratio = table["MLE"] / table.index
    assert ratio[2] > ratio[20] > ratio[100] and ratio[100] < 0.6
    assert (table[["TwoNN error", "MLE error"]] > 0).all(axis=None)


@pytest.mark.parametrize(
    ("estimate", "match"),
    [
        (lambda f: two_nn(f, discard=1.0), "discard"),
        (lambda f: two_nn(f, discard=0.95), "leave 3"),
        (lambda f: levina_bickel(f), "takes 20 neighbours"),
        (lambda f: levina_bickel(f, low=1, high=3), "2 <= low"),
        (lambda f: two_nn(f, method="guess"), "method"),
        (lambda f: levina_bickel(f, average="median"), "average"),
        (lambda f: two_nn(nearest_neighbours(np.zeros((30, 2)), k=2)), "30 points have a copy"),
        (lambda f: two_nn(nearest_neighbours(np.arange(30.0)[:, None], k=2)), "lattice"),
        (lambda f: dimension_bias((2,), n=50, draws=1), "draws"),
    ],
)
def test_what_has_no_dimension_is_refused(estimate, match):
    with pytest.raises(ValueError, match=match):
        estimate(nearest_neighbours(RNG.standard_normal((30, 2)), k=4))
