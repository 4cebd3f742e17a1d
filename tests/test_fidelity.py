import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance

from aelib import partitions
from aelib.fidelity import (
    Score,
    density_coverage,
    factor_error,
    frechet_distance,
    frechet_of_moments,
    kernel_distance,
    precision_recall,
)
from aelib.moments import measure_moments

RNG = np.random.default_rng(5)
MIXING = RNG.standard_normal((6, 6))
REAL = 50 + RNG.standard_normal((120, 6)) @ MIXING
CLOUDS = {
    "off centre": 51 + RNG.standard_normal((90, 6)) @ MIXING.T,
    "float32": (50 + RNG.standard_normal((90, 6))).astype(np.float32),
    "rank deficient": 50 + RNG.standard_normal((90, 2)) @ RNG.standard_normal((2, 6)),
    "constant component": 50 + RNG.standard_normal((90, 6)) * [1, 1, 0, 1, 1, 1],
}
SCORES = [frechet_distance, kernel_distance, precision_recall, density_coverage]


def test_the_interval_of_a_score_is_normal():
    score = Score(1.0, 2.0)
    assert (score.low, score.high) == pytest.approx((1 - 2 * 1.959964, 1 + 2 * 1.959964), abs=1e-5)
    assert str(Score(1.0, 0.0, 0.25)) == "1 [1, 1], floor 0.25"


def slow_frechet(x, y):
    a, b = np.cov(x.T), np.cov(y.T)
    # sqrtm wants a regular product; a little variance moves the distance by its root.
    root = sqrtm((a + 1e-12 * np.eye(len(a))) @ (b + 1e-12 * np.eye(len(a)))).real
    return ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * root)


@pytest.mark.parametrize("name", CLOUDS)
def test_frechet_distance_agrees_with_sqrtm(name):
    cloud = CLOUDS[name]
    found = frechet_distance(REAL, cloud, extrapolate=False, draws=2, floor="none")
    assert found.value == pytest.approx(slow_frechet(REAL, cloud.astype(float)), rel=1e-4)
    assert np.isnan(found.floor)


def test_frechet_distance_of_one_component_and_of_few_points():
    x, y = RNG.normal(2, 3, (50, 1)), RNG.normal(5, 1, (60, 1))
    closed = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    assert frechet_distance(x, y, extrapolate=False).value == pytest.approx(closed)
    few, wide = RNG.standard_normal((5, 9)), RNG.standard_normal((7, 9))
    found = frechet_of_moments(measure_moments(few), measure_moments(wide))
    # The nuclear norm of the product of both factors, which needs no root of a matrix.
    factors = [(c - c.mean(0)) / np.sqrt(len(c) - 1) for c in (few, wide)]
    shared = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    sums = sum((f**2).sum() for f in factors) + ((few.mean(0) - wide.mean(0)) ** 2).sum()
    assert found == pytest.approx(sums - 2 * shared, rel=1e-5)
    # eigh leaves about 1e-8 of the size for each root of a rounding error.
    assert frechet_of_moments(measure_moments(few), measure_moments(few)) == pytest.approx(0, abs=1e-5)


def test_the_floor_is_the_distance_between_two_halves():
    rng = np.random.default_rng(3)
    rng.permutation(len(REAL)), rng.permutation(len(REAL))  # the draw behind the standard error, with draws=2
    order = rng.permutation(len(REAL))
    one, two = REAL[order[:60]], REAL[order[60:]]
    settings = {"draws": 2, "random_state": 3}
    found = frechet_distance(REAL, REAL + 1, extrapolate=False, **settings)
    assert found.floor == pytest.approx(slow_frechet(one, two), rel=1e-5)
    # Extrapolated: twice that, less the mean over halves of both.
    quarters = [np.array_split(np.sort(half)[rng.permutation(60)], 2) for half in (order[:60], order[60:])]
    halved = np.mean([slow_frechet(REAL[a], REAL[b]) for a, b in zip(*quarters, strict=True)])
    found = frechet_distance(REAL, REAL + 1, **settings)
    assert found.floor == pytest.approx(2 * slow_frechet(one, two) - halved, rel=1e-5)


def test_frechet_distance_reads_points_on_disk_block_by_block(tmp_path):
    path = tmp_path / "z.npy"
    np.save(path, np.random.default_rng(0).standard_normal((40_000, 128), dtype=np.float32))
    z = np.load(path, mmap_mode="r")
    tracemalloc.start()
    frechet_distance(z[:20_000], z[20_000:], draws=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.75 * z[:20_000].nbytes


def test_extrapolation_finds_the_limit_and_the_interval_holds_it():
    rng = np.random.default_rng(6)
    d, limit, raw, held, values = 20, 20 * 0.3**2 + 20 * 0.2**2, [], 0, []
    for seed in range(30):
        x, y = rng.normal(0, 1, (400, d)), rng.normal(0.3, 1.2, (400, d))
        found = frechet_distance(x, y, floor="none", draws=20, random_state=seed)
        raw.append(frechet_distance(x, y, floor="none", draws=2, extrapolate=False).value)
        values.append(found.value)
        held += found.low <= limit <= found.high
    error = np.std(values) / np.sqrt(30)
    assert abs(np.mean(values) - limit) < 3 * error + 0.02 * limit
    assert np.mean(raw) - limit > 0.2 * limit
    # 28.5 of 30 are expected; 23 or fewer have a probability below 0.001.
    assert held > 23


def test_standard_errors_agree_with_fresh_samples():
    rng = np.random.default_rng(7)
    draws = [(rng.normal(0, 1, (300, 3)), rng.normal(0.5, 1.3, (300, 3))) for _ in range(60)]
    for score in (frechet_distance, kernel_distance):
        found = [score(x, y, floor="none", draws=20) for x, y in draws]
        # 60 samples give a deviation to 9 %; half-samples are a little wider where the score bends.
        assert np.mean([f.standard_error for f in found]) == pytest.approx(
            np.std([f.value for f in found]), rel=0.35
        )


def slow_kernel(x, y):
    def mean(a, b, own):
        pairs = [
            (a[i] @ b[j] / a.shape[1] + 1) ** 3
            for i in range(len(a))
            for j in range(len(b))
            if not (own and i == j)
        ]
        return np.mean(pairs)

    return mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)


@pytest.mark.parametrize("standardise", [False, True])
def test_kernel_distance_agrees_with_the_double_loop(standardise):
    x, y = REAL[:30] - 49, CLOUDS["off centre"][:25] - 49
    found = kernel_distance(x, y, standardise=standardise, draws=2)
    if standardise:
        centre, size = x.mean(0), np.sqrt(((x - x.mean(0)) ** 2).mean())
        x, y = (x - centre) / size, (y - centre) / size
    assert found.value == pytest.approx(slow_kernel(x, y), rel=1e-8)


def test_kernel_distance_has_no_bias_and_knows_no_unit():
    rng = np.random.default_rng(8)
    values = [
        kernel_distance(*rng.normal(0, 1, (2, 60, 4)), draws=2, floor="none", random_state=s).value
        for s in range(200)
    ]
    # The standardisation uses one sample, which leaves a bias of order 1/n of a small number.
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(200)
    x, y = REAL, CLOUDS["off centre"]
    moved = kernel_distance(10 * x - 3, 10 * y - 3, draws=2).value
    assert moved == pytest.approx(kernel_distance(x, y, draws=2).value)
    with pytest.raises(ValueError, match="they have no scale"):
        kernel_distance(np.ones((9, 2)), np.ones((9, 2)))


def slow_reach(x, k):
    return np.sort(cdist(x, x), axis=1)[:, k]


@pytest.mark.parametrize("name", CLOUDS)
def test_precision_recall_density_coverage_agree_with_their_definitions(name):
    x, y = REAL, CLOUDS[name].astype(float)
    inside = cdist(y, x) <= slow_reach(x, 3)
    found = precision_recall(x, CLOUDS[name], k=3)
    assert found.precision.value == pytest.approx(inside.any(axis=1).mean())
    assert found.recall.value == pytest.approx((cdist(x, y) <= slow_reach(y, 3)).any(axis=1).mean())
    inside = cdist(y, x) <= slow_reach(x, 5)
    other = density_coverage(x, CLOUDS[name], k=5)
    assert other.density.value == pytest.approx(inside.sum() / (5 * len(y)))
    assert other.coverage.value == pytest.approx(inside.any(axis=0).mean())


def test_coverage_of_equal_laws_has_its_closed_form():
    x, y = np.random.default_rng(9).standard_normal((2, 3000, 3))
    found = density_coverage(x, y, draws=2, floor="none")
    # Standard errors are about 0.005 and 0.02.
    assert found.coverage.value == pytest.approx(1 - 2**-5, abs=0.02)
    assert found.density.value == pytest.approx(1.0, abs=0.08)


def test_blocks_are_joined():
    x, y = np.random.default_rng(10).standard_normal((2, 2500, 2))
    inside = cdist(y, x) <= slow_reach(x, 3)
    assert precision_recall(x, y, draws=2).precision.value == pytest.approx(inside.any(axis=1).mean())


@pytest.mark.parametrize("score", SCORES)
def test_parts_measured_in_parallel_give_the_same_scores(score, monkeypatch):
    x, y = REAL, CLOUDS["off centre"]
    whole = score(x, y, draws=4)
    monkeypatch.setattr(partitions, "_LEAST_ROWS", 10)
    monkeypatch.setattr(partitions, "n_cores", lambda: 3)
    parts = score(x, y, draws=4)
    for a, b in zip(np.atleast_1d(whole), np.atleast_1d(parts), strict=True):
        assert (a.value, a.floor) == pytest.approx((b.value, b.floor))
        np.testing.assert_allclose(a.halves, b.halves, rtol=1e-9)


@pytest.mark.parametrize("score", [precision_recall, density_coverage])
def test_neighbours_do_not_depend_on_the_place_of_the_cloud(score):
    x, y, far = REAL - 50, CLOUDS["off centre"] - 50, np.array([1e8, -1e8, 0, 0, 1e7, 0])
    here, there = score(x, y, draws=2), score(x + far, y + far, draws=2)
    assert [s.value for s in here] == [s.value for s in there]


@pytest.mark.parametrize(
    ("score", "least"),
    [(frechet_distance, 4), (kernel_distance, 4), (precision_recall, 10), (density_coverage, 14)],
)
def test_the_fewest_rows_are_enough_and_one_less_is_not(score, least):
    x, y = RNG.standard_normal((2, 20, 3))
    found = score(x[:least], y[:least], floor=y[-least:])
    assert all(np.isfinite([s.value, s.standard_error, s.floor]).all() for s in np.atleast_1d(found))
    for few in ((x[: least - 1], y), (x, y[: least - 1])):
        with pytest.raises(ValueError, match=f"must hold {least} rows or more, not {least - 1}"):
            score(*few)
    with pytest.raises(ValueError, match=f"must hold {least} rows or more, not {least - 1}"):
        score(x, y, floor=y[: least - 1])


def test_factor_errors_are_wasserstein_distances():
    x, y = (pd.DataFrame(RNG.normal(m, 2, (80, 2)), columns=["yaw", "hue"]) for m in (0, 1))
    found = factor_error(x, y[["hue", "yaw"]])
    for name in x:
        expected = wasserstein_distance(x[name], y[name]) / x[name].std()
        assert found.table.value[name] == pytest.approx(expected)
    assert found.mean.value == pytest.approx(found.table.value.mean())
    assert found.mean.floor < found.mean.value
    with pytest.raises(ValueError, match="must have the same factors"):
        factor_error(x, y[["yaw"]])
    with pytest.raises(ValueError, match=r"\['hue'\] do not"):
        factor_error(x.assign(hue=1.0), y)


@pytest.mark.parametrize("score", SCORES)
def test_bad_features_are_refused(score):
    with pytest.raises(ValueError, match="real must be finite"):
        score(np.full((20, 2), np.nan), np.ones((20, 2)))
    with pytest.raises(ValueError, match="real and generated must have the same features, not 2 and 3"):
        score(np.eye(20, 2), np.eye(20, 3))
    with pytest.raises(ValueError, match="rows or more, not 3"):
        score(np.eye(20, 3), np.eye(3))
    with pytest.raises(ValueError, match=r"shape \(n, d\)"):
        score(np.eye(20), np.ones(20))
    with pytest.raises(ValueError, match="draws must be an even number"):
        score(np.eye(20), np.eye(20), draws=3)


def test_floors_are_small_and_the_same_seed_gives_the_same_score():
    x, y = np.random.default_rng(11).standard_normal((2, 400, 4))
    score = frechet_distance(x, y + 1, floor=y)
    assert score == frechet_distance(x, y + 1, floor=y)
    assert abs(score.floor) < 0.1 < score.low < score.high
    assert "floor" in str(score)
    assert precision_recall(x, y + 9).precision.value == 0 < precision_recall(x, y + 9).precision.floor


SMALL = {
    "n < d": (RNG.standard_normal((12, 30)) + 4, RNG.standard_normal((14, 30)) + 4),
    "one component": (RNG.normal(5, 2, (40, 1)), RNG.normal(6, 1, (50, 1))),
    "singular": (REAL[:40] * [1, 1, 1, 1, 0, 1], REAL[40:90] @ np.ones((6, 1)) @ np.ones((1, 6))),
}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_few_points_one_component_and_singular_clouds_agree_with_the_definitions(name, dtype):
    x, y = (cloud.astype(dtype) for cloud in SMALL[name])
    wide = x.astype(float), y.astype(float)
    moments = [measure_moments(cloud) for cloud in wide]
    found = frechet_distance(x, y, draws=2, extrapolate=False, floor="none").value
    assert found == pytest.approx(frechet_of_moments(*moments), rel=1e-4)
    assert found == pytest.approx(nuclear_frechet(*wide), rel=1e-4)
    found = kernel_distance(x - x.mean(0), y - x.mean(0), standardise=False, draws=2).value
    slow = slow_kernel(*((cloud - wide[0].mean(0)) for cloud in wide))
    assert found == pytest.approx(slow, rel=1e-3, abs=1e-6)
    inside = cdist(wide[1], wide[0]) <= slow_reach(wide[0], 2) * (1 + 1e-9)
    # Single precision may put a point on the edge of a ball to either side of it.
    assert precision_recall(x, y, k=2).precision.value == pytest.approx(inside.any(axis=1).mean(), abs=0.05)
    assert density_coverage(x, y, k=2).coverage.value == pytest.approx(inside.any(axis=0).mean(), abs=0.05)


def nuclear_frechet(x, y):
    factors = [(c - c.mean(0)) / np.sqrt(len(c) - 1) for c in (x, y)]
    shared = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    return sum((f**2).sum() for f in factors) + ((x.mean(0) - y.mean(0)) ** 2).sum() - 2 * shared


def test_moments_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="same components, not 6 and 2"):
        frechet_of_moments(measure_moments(REAL), measure_moments(REAL[:, :2]))
    with pytest.raises(ValueError, match="covariance needs at least 2 points, not 1"):
        frechet_of_moments(measure_moments(REAL[:1]), measure_moments(REAL))


@pytest.mark.parametrize("score", SCORES)
def test_bad_generated_points_and_floors_are_refused(score):
    with pytest.raises(ValueError, match="generated must be finite"):
        score(np.eye(20), np.full((20, 20), np.inf))
    with pytest.raises(ValueError, match="must have the same features"):
        score(np.eye(20), np.eye(20), floor=np.eye(20, 3))
    with pytest.raises(ValueError, match="rows or more"):
        score(np.eye(20), np.eye(20), floor=np.eye(2, 20))
    with pytest.raises(ValueError, match="draws must be an even number"):
        score(np.eye(20), np.eye(20), draws=0)
    with pytest.raises(ValueError, match="shape"):
        score(np.eye(20), np.zeros((0, 20)))


@pytest.mark.parametrize("score", SCORES)
def test_what_is_no_floor_is_named_so(score):
    cloud = np.eye(20)
    with pytest.raises(ValueError, match="floor must be finite, but component 0 of point 0 is nan"):
        score(cloud, cloud, floor=np.full((20, 20), np.nan))
    with pytest.raises(ValueError, match="real and floor must have the same features, not 20 and 3"):
        score(cloud, cloud, floor=np.eye(20, 3))
    with pytest.raises(ValueError, match='"halves" or "none", not \'half\''):
        score.__wrapped__(cloud, cloud, floor="half")  # without the tests' check of types


@pytest.mark.parametrize("score", [precision_recall, density_coverage])
def test_neighbours_of_rank_zero_are_refused(score):
    with pytest.raises(ValueError, match="k must be at least 1, not 0"):
        score(np.eye(20), np.eye(20), k=0)


def test_bad_factor_tables_are_refused():
    table = pd.DataFrame({"yaw": np.arange(9.0)})
    with pytest.raises(ValueError, match="finite"):
        factor_error(table, table.assign(yaw=np.nan))
    with pytest.raises(ValueError, match="4 rows or more, not 3"):
        factor_error(table, table[:3])
    with pytest.raises(ValueError, match="4 rows or more"):
        factor_error(table, table, floor=table[:2])
    with pytest.raises(ValueError, match="draws must be an even number"):
        factor_error(table, table, draws=1)
    with pytest.raises(ValueError, match=r"\['pitch'\] do not; leave them out"):
        factor_error(table.assign(pitch=1.0), table.assign(pitch=2.0))


def test_wasserstein_distances_are_those_of_sorted_values():
    x, y = (pd.DataFrame({"hue": RNG.exponential(s, 60)}) for s in (1, 2))
    slow = np.abs(np.sort(x.hue) - np.sort(y.hue)).mean() / x.hue.std()
    assert factor_error(x, y, draws=2).mean.value == pytest.approx(slow)
