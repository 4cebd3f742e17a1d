import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import beta, cramervonmises, kstest, shapiro

from aelib import departures
from aelib.departures import TESTS, Battery, Cut, Departure, measure_departures
from aelib.normality import (
    CORE_BATTERY,
    NullLaw,
    core_and_shell,
    henze_zirkler,
    judge,
    normality_table,
    normality_tests,
    null_law,
    on_all_cores,
)
from aelib.nulls import normal_whitened, null_twin, rewhiten, whiten
from aelib.planted import planted_heavy_tails, planted_mixture
from aelib.power import correlated_normal, measured_power, measured_size, rejection_rates
from aelib.truncation import kept_variance

SMALL = Battery(n_pairwise=80, n_directions=8, n_starts=6, n_steps=4)
MIXING = np.random.default_rng(1).standard_normal((4, 4))


def skewed(n, d, seed=0):
    return 7 + np.random.default_rng(seed).exponential(size=(n, d))


def measured(u, name, **settings):
    battery = Battery((name,), **settings)
    return measure_departures(u, battery=battery, naive=True, rng=np.random.default_rng(3))[0]


# The null twins.


def test_the_normal_twin_has_the_mean_and_the_covariance():
    z = (skewed(4000, 4) @ MIXING).astype(np.float32)
    twin = null_twin(z, n_samples=50_000)
    assert twin.dtype == np.float32 and twin.shape == (50_000, 4)
    cov = np.cov(z.T)
    # Standard errors are sd / sqrt(50 000) of a mean, and 1.4 / sqrt(50 000) of a variance.
    np.testing.assert_allclose(twin.mean(0), z.mean(0), atol=5 * np.sqrt(cov.diagonal().max() / 50_000))
    np.testing.assert_allclose(np.cov(twin.T), cov, atol=5 * 1.4 * cov.diagonal().max() / np.sqrt(50_000))
    assert kstest((twin[:, 0] - twin[:, 0].mean()) / twin[:, 0].std(), "norm").pvalue > 0.001


def test_shuffled_twins_keep_the_laws_that_they_state():
    z = (skewed(3000, 4) @ MIXING).astype(np.float32)
    shuffled = null_twin(z, kind="shuffled")
    assert (np.sort(shuffled, axis=0) == np.sort(z, axis=0)).all()
    # Chance correlations are 1 / sqrt(3000) = 0.018.
    assert np.abs(np.corrcoef(shuffled.T) - np.eye(4)).max() < 5 * 0.018
    twin = null_twin(z, kind="marginals")
    axes = whiten(z).axes
    np.testing.assert_allclose(
        np.sort(axes.transform(twin), axis=0), np.sort(axes.transform(z), axis=0), atol=1e-4
    )
    assert np.abs(np.corrcoef(axes.transform(twin).T) - np.eye(4)).max() < 5 * 0.018
    assert len(null_twin(z, kind="marginals", n_samples=7)) == 7
    assert not (null_twin(z, random_state=1) == null_twin(z, random_state=2)).any()


@pytest.mark.parametrize("kind", ["normal", "shuffled", "marginals"])
def test_twins_of_awkward_clouds(kind):
    flat = 100 + np.random.default_rng(0).standard_normal((50, 2)) @ MIXING[:2]
    few = np.random.default_rng(0).standard_normal((6, 9)).astype(np.float32)
    constant = skewed(40, 3) * [1, 0, 1]
    for z in (flat, few, constant):
        twin = null_twin(z, kind=kind)
        assert twin.shape == z.shape and np.isfinite(twin).all()
    np.testing.assert_allclose(null_twin(constant, kind=kind)[:, 1], 0.0, atol=1e-6)
    if kind != "shuffled":
        assert len(whiten(null_twin(flat, kind=kind).astype(float), k=2).axes.axes) == 2
        off = null_twin(flat, kind=kind) - flat.mean(0)
        plane = np.linalg.svd(flat - flat.mean(0))[2][:2]
        # Single precision at 100 leaves 4e-6.
        assert np.abs(off - off @ plane.T @ plane).max() < 1e-4


def test_twins_refuse_what_they_cannot_do():
    z = skewed(20, 2)
    with pytest.raises(ValueError, match="kind must be one of"):
        null_twin(z, kind="bootstrap")
    with pytest.raises(ValueError, match="at most 20, the number of points to shuffle, not 21"):
        null_twin(z, kind="shuffled", n_samples=21)
    with pytest.raises(ValueError, match="at least 1, not 0"):
        null_twin(z, n_samples=0)
    with pytest.raises(ValueError, match="finite"):
        null_twin(np.array([[1.0, np.nan], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="no variance"):
        null_twin(np.ones((5, 2)))


# Whitening.


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whitened_clouds_have_mean_0_and_covariance_1(dtype):
    z = (skewed(500, 4) @ MIXING).astype(dtype)
    for u in (whiten(z).u, normal_whitened(500, 4, np.random.default_rng(0)), rewhiten(2 + whiten(z).u * 3)):
        assert u.dtype == np.float32
        np.testing.assert_allclose(u.mean(0, dtype=float), 0, atol=1e-5)
        np.testing.assert_allclose(np.cov(u.T), np.eye(4), atol=1e-4)


def test_whitening_refuses_too_few_points():
    z = np.random.default_rng(0).standard_normal((9, 20))
    with pytest.raises(
        ValueError, match="9 points are too few to be whitened in 8 dimensions: that takes 10"
    ):
        normality_tests(z)
    with pytest.raises(ValueError, match="varies along 8 axes"):
        whiten(z, k=9)
    assert whiten(z, k=3).u.shape == (9, 3)


def test_null_laws_are_those_of_any_whitening_of_any_normal_cloud():
    """The claim on which exactness rests, against clouds whitened the other way."""
    rng, found = np.random.default_rng(4), ([], [])
    for _ in range(150):
        pca = whiten(correlated_normal(12, 4, rng)).u
        cholesky = normal_whitened(12, 4, rng)
        for values, u in zip(found, (pca, cholesky), strict=True):
            both = measure_departures(u, battery=Battery(("kurtosis", "principal axes")), rng=rng)
            values.append([departure.values[0] for departure in both])
    for a, b in zip(np.array(found[0]).T, np.array(found[1]).T, strict=True):
        assert kstest(a, b).pvalue > 0.001


# The statistics, against their definitions.


@pytest.mark.parametrize(("n", "d"), [(60, 3), (30, 12)])
def test_statistics_agree_with_their_definitions(n, d):
    z = skewed(n, d)
    centred, covariance = z - z.mean(0), np.cov(z.T)
    products = centred @ np.linalg.inv(covariance) @ centred.T
    u = whiten(z).u
    square = products.diagonal()
    law = beta(d / 2, (n - d - 1) / 2)
    radius = measured(u, "radius")
    assert radius.values[0] == pytest.approx(
        cramervonmises(square * n / (n - 1) ** 2, law.cdf).statistic, rel=1e-3
    )
    assert radius.size == pytest.approx(kstest(square * n / (n - 1) ** 2, law.cdf).statistic, rel=1e-3)
    assert measured(u, "kurtosis").values[0] == pytest.approx(np.mean((square * n / (n - 1)) ** 2), rel=1e-4)
    assert measured(u, "skewness").values[0] == pytest.approx((products**3).mean(), rel=1e-4)
    gap = cdist(u.astype(float), u.astype(float))
    np.fill_diagonal(gap, np.inf)
    nearest = measured(u, "nearest")
    assert nearest.size == pytest.approx(gap.min(0).mean() / math.sqrt(2 * d), rel=1e-4)
    np.testing.assert_allclose(nearest.values, np.quantile(gap.min(0), np.arange(0.005, 1, 0.01)), rtol=1e-4)


def test_the_energy_distance_agrees_with_simulation():
    u = whiten(skewed(50, 6)).u
    x = np.random.default_rng(0).standard_normal((40_000, 6))
    cross = cdist(u.astype(float), x).mean()
    chi = 2 * math.gamma(3.5) / math.gamma(3)
    gap = 2 * cross - chi - cdist(u.astype(float), u.astype(float)).mean()
    # The mean over 40 000 normal points has a standard error of about 0.003.
    assert measured(u, "energy").values[0] / 50 == pytest.approx(gap, abs=0.02)


@pytest.mark.parametrize("k", [1, 2, 256])
def test_the_distance_to_normal_points_is_exact(k):
    for r in (0.0, 1.0, math.sqrt(k), 3 * math.sqrt(k) + 2, 120.0):
        x = np.random.default_rng(5).standard_normal((20_000, k))
        x[:, 0] += r
        distance = np.linalg.norm(x, axis=1)
        found = departures._distance_to_normal(np.array([r, 125.0]), k)[0]
        assert found == pytest.approx(distance.mean(), abs=5 * distance.std() / math.sqrt(20_000) + 1e-9)


def test_naive_p_values_are_those_of_textbooks():
    u = whiten(np.random.default_rng(2).standard_normal((400, 3))).u
    # In three dimensions and with 400 points, the large-sample laws hold well enough not to reject.
    assert all(measured(u, name).naive_p_value > 0.001 for name in ("radius", "kurtosis", "skewness"))
    v = whiten(skewed(400, 3)).u
    assert all(measured(v, name).naive_p_value < 1e-6 for name in ("radius", "kurtosis", "skewness"))
    # A sample is a cloud of its own.
    assert measured(v, "skewness", n_pairwise=300).naive_p_value < 1e-6
    assert math.isnan(measured(v, "energy").naive_p_value)


def test_normal_plots_rank_clouds_as_shapiro_and_wilk_do():
    """Their W and Francia's W' are near each other: 1 - W' is within a tenth of 1 - W here."""
    rng = np.random.default_rng(6)
    for sample in (rng.standard_normal(1000), rng.exponential(size=1000), rng.standard_t(4, size=1000)):
        u = whiten(sample[:, None]).u
        assert measured(u, "principal axes").size == pytest.approx(
            1 - shapiro(sample).statistic, rel=0.15, abs=3e-4
        )
        assert measured(u, "random directions").size == pytest.approx(
            measured(u, "principal axes").size, rel=1e-3
        )


def test_the_search_finds_the_worst_direction():
    z = np.random.default_rng(7).standard_normal((4000, 30))
    direction = np.random.default_rng(8).standard_normal(30)
    direction /= np.linalg.norm(direction)
    side = np.sign(np.random.default_rng(9).standard_normal(4000))
    z += np.outer(3 * side, direction)
    u = whiten(z).u
    planted = (z - z.mean(0)) @ np.linalg.solve(np.cov(z.T), direction)
    planted /= planted.std()
    contrast = abs(np.log(np.cosh(planted)).mean() - 0.374567)
    found = measured(u, "worst direction").values[0]
    # The search may go beyond the planted direction by what chance adds.
    assert contrast * 0.99 < found < contrast * 1.2


def test_statistics_of_pairs_use_a_sample():
    u = whiten(skewed(600, 3)).u
    every, some = measured(u, "nearest"), measured(u, "nearest", n_pairwise=100)
    assert some.size > 1.2 * every.size  # fewer points stand farther apart
    with pytest.raises(ValueError, match="too few to be whitened in 3 dimensions"):
        measured(u, "energy", n_pairwise=4)


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_statistics_do_not_depend_on_mean_and_covariance(seed):
    rng = np.random.default_rng(seed)
    z = rng.exponential(size=(60, 3))
    mixing = np.linalg.qr(rng.standard_normal((3, 3)))[0] * rng.uniform(0.2, 5, 3)
    battery = Battery(("radius", "kurtosis", "skewness", "energy", "nearest"), n_pairwise=60)
    pairs = [
        measure_departures(whiten(cloud).u, battery=battery, rng=np.random.default_rng(0))
        for cloud in (z, z @ mixing + rng.uniform(-10, 10, 3))
    ]
    for a, b in zip(*pairs, strict=True):
        np.testing.assert_allclose(a.values, b.values, rtol=1e-3, atol=1e-3)


def test_a_battery_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="names must be different ones"):
        Battery(("kurtosis", "box"))
    with pytest.raises(ValueError, match="names must be different ones"):
        Battery(())
    with pytest.raises(ValueError, match="n_pairwise must be at least 3"):
        Battery(n_pairwise=1)


def test_statistics_of_another_battery_are_not_judged():
    values = np.arange(1.0, 20.0)[:, None]
    null = NullLaw(9, 1, Battery(("radius",)), (values,), np.ones((19, 1)))
    with pytest.raises(ValueError, match=r"has the statistics \('radius',\), not \('kurtosis',\)"):
        judge([Departure("kurtosis", np.array([2.5]), 1.5)], null)


# P-values.


def test_p_values_count_the_normal_clouds_that_are_as_extreme():
    values = np.arange(1.0, 20.0)[:, None]
    null = NullLaw(9, 1, Battery(("radius", "kurtosis")), (values, values), np.ones((19, 2)))
    tests = judge(
        [Departure("radius", np.array([18.5]), 2.0), Departure("kurtosis", np.array([0.0]), 3.0)], null
    )
    assert tests[0].p_value == pytest.approx(2 / 20) and tests[0].effect == 1.0
    # 0 is the farthest of 0 … 19 from their mean, 9.5, together with 19.
    assert tests[1].p_value == pytest.approx(2 / 20) and tests[1].statistic == 0.0
    assert tests[0].z_score == pytest.approx(8.5 / np.std(values, ddof=1))


def test_tests_see_planted_departures_and_pass_normal_clouds():
    null = null_law(400, 5, battery=SMALL, draws=99, random_state=1)
    normal = normality_tests(correlated_normal(400, 5, np.random.default_rng(2)), battery=SMALL, null=null)
    # Of 8 exact p-values, one below 0.02 occurs with a probability of at most 0.16; the seed is fixed.
    assert min(test.p_value for test in normal) > 0.02
    tails = planted_heavy_tails(400, 5, degrees=4.0, random_state=3)
    found = {test.name: test for test in normality_tests(tails, battery=SMALL, null=null)}
    assert all(found[n].p_value == 0.01 for n in ("radius", "kurtosis", "random directions"))
    # Of a t law with 4 degrees the kurtosis is infinite.
    assert found["kurtosis"].effect > 0.2 and found["kurtosis"].z_score > 5
    table = normality_table(list(found.values()))
    assert (
        list(table.index) == list(TESTS) and (table["p-value"] == [t.p_value for t in found.values()]).all()
    )


def test_a_null_law_does_not_depend_on_the_cores_and_adds_up(monkeypatch):
    laws = []
    for cores in (1, 3):
        monkeypatch.setattr("aelib.normality.n_cores", lambda cores=cores: cores)
        laws.append(null_law(50, 3, battery=SMALL, draws=6, random_state=5))
    for a, b in zip(laws[0].values, laws[1].values, strict=True):
        np.testing.assert_array_equal(a, b)
    both = laws[0] + null_law(50, 3, battery=SMALL, draws=4, random_state=6)
    assert both.sizes.shape == (10, 8) and all(len(v) == 10 for v in both.values)
    with pytest.raises(ValueError, match="null must be the law of 50 points in 3 dimensions"):
        laws[0].merge(null_law(51, 3, battery=SMALL, draws=1))
    with pytest.raises(ValueError, match="draws must be at least 1"):
        null_law(50, 3, draws=0)


def test_a_result_is_reproducible_and_reads_memory_maps(tmp_path):
    z = skewed(120, 3).astype(np.float32)
    np.save(tmp_path / "z.npy", z)
    mapped = np.load(tmp_path / "z.npy", mmap_mode="r")
    first, second = (normality_tests(c, battery=SMALL, draws=19, random_state=4) for c in (z, mapped))
    assert [(t.statistic, t.p_value) for t in first] == [(t.statistic, t.p_value) for t in second]


@pytest.mark.parametrize(
    "z",
    [
        100 + np.random.default_rng(0).standard_normal((80, 2)) @ MIXING[:2],
        np.random.default_rng(0).standard_normal((80, 3)) * [1, 0, 1] + 5,
        np.random.default_rng(0).standard_normal((80, 1)),
        np.random.default_rng(0).standard_normal((4, 2)),
    ],
    ids=["rank deficient", "constant component", "one component", "four points"],
)
def test_awkward_clouds_have_finite_results(z):
    for cloud in (z, z.astype(np.float32)):
        for test in normality_tests(cloud, battery=SMALL, draws=19):
            assert np.isfinite([test.statistic, test.effect, test.null_mean, test.null_std]).all()
            assert 0.05 <= test.p_value <= 1


def test_tests_refuse_what_is_no_cloud():
    with pytest.raises(ValueError, match="finite"):
        normality_tests(np.array([[np.inf, 1.0]] * 5))
    with pytest.raises(ValueError, match="shape"):
        normality_tests(np.zeros(5))
    with pytest.raises(ValueError, match="no variance"):
        normality_tests(np.ones((9, 2)))
    with pytest.raises(ValueError, match="null must be the law"):
        normality_tests(skewed(30, 2), battery=SMALL, null=null_law(31, 2, battery=SMALL, draws=1))


# Henze and Zirkler's test, and others of textbooks.


def test_henze_zirkler_works_in_the_plane_and_not_at_256_dimensions():
    rng = np.random.default_rng(11)
    p = [henze_zirkler(rng.standard_normal((100, 2))).p_value for _ in range(60)]
    # 3 of 60 are expected below 0.05; 10 or more have a probability below 0.001.
    assert sum(value < 0.05 for value in p) < 10
    assert henze_zirkler(skewed(200, 2)).p_value < 1e-6
    assert henze_zirkler(skewed(600, 256)).p_value == pytest.approx(0.5, abs=0.2)


def test_henze_zirkler_agrees_with_its_formula():
    z = skewed(40, 3)
    n, d = z.shape
    inverse = np.linalg.inv(np.cov(z.T, bias=True))
    centred = z - z.mean(0)
    b2 = (0.5**0.5 * ((2 * d + 1) * n / 4) ** (1 / (d + 4))) ** 2
    pairs = cdist(z, z, "mahalanobis", VI=inverse) ** 2
    single = np.einsum("ij,jk,ik->i", centred, inverse, centred)
    expected = (
        np.exp(-b2 / 2 * pairs).sum() / n
        - 2 * (1 + b2) ** (-d / 2) * np.exp(-b2 / (2 * (1 + b2)) * single).sum()
        + n * (1 + 2 * b2) ** (-d / 2)
    )
    assert henze_zirkler(z).statistic == pytest.approx(expected, rel=1e-4)


# Size and power.


def test_every_test_has_its_size_and_power_at_a_small_cloud():
    """A size within four standard errors of 5 %; tables at 256 dimensions come from `benchmarks.normality`."""
    null = null_law(60, 6, battery=SMALL, draws=199, random_state=21)
    for rate in measured_size(null, repeats=200, random_state=22):
        assert abs(rate.rate - 0.05) < 4 * math.sqrt(0.05 * 0.95 * (1 / 200 + 1 / 201)), rate

    def tails(rng):
        return planted_heavy_tails(60, 6, degrees=3.0, random_state=rng)

    power = {rate.name: rate.rate for rate in measured_power(tails, null=null, repeats=20, random_state=23)}
    assert min(power[name] for name in ("radius", "kurtosis", "random directions", "energy")) > 0.8


def test_two_halves_are_found_by_their_direction():
    null = null_law(500, 10, battery=SMALL, draws=99, random_state=31)

    def halves(rng):
        return planted_mixture(500, 10, distance=5.0, random_state=rng)

    power = {rate.name: rate.rate for rate in measured_power(halves, null=null, repeats=20, random_state=32)}
    assert power["worst direction"] > 0.9


def test_rates_count_rejections():
    null = null_law(30, 2, battery=SMALL, draws=19)
    tests = [normality_tests(skewed(30, 2, s), battery=SMALL, null=null, random_state=s) for s in range(8)]
    rates = rejection_rates(tests, level=0.1)
    for i, rate in enumerate(rates):
        share = np.mean([t[i].p_value <= 0.1 for t in tests])
        assert rate.rate == share
        assert rate.standard_error == pytest.approx(math.sqrt(share * (1 - share) * (1 / 8 + 1 / 21)))
    assert math.isnan(rates[TESTS.index("energy")].naive_rate)
    with pytest.raises(ValueError, match="one cloud or more"):
        rejection_rates([])
    assert on_all_cores(lambda rng: 3, 2, 0) == [3, 3]


def test_an_elliptical_twin_keeps_mean_covariance_and_distances_and_no_direction():
    rng = np.random.default_rng(21)
    factor = rng.gamma(4.0, 0.25, (6000, 1))
    z = (factor * rng.standard_normal((6000, 4))) @ rng.standard_normal((4, 6)) + 3.0  # flat: rank 4 of 6
    twin = null_twin(z, kind="elliptical", random_state=1)
    u, v = whiten(z).u, (twin - z.mean(0)) @ np.linalg.pinv(np.cov(z.T), rcond=1e-6) @ (twin - z.mean(0)).T
    distances = np.sort(np.sqrt(np.diagonal(v)))
    np.testing.assert_allclose(distances, np.sort(np.linalg.norm(u, axis=1)), rtol=1e-3)
    # The largest of 21 covariances with heavy tails, each to some two standard errors.
    np.testing.assert_allclose(np.cov(twin.T), np.cov(z.T), atol=0.1 * np.cov(z.T).max())
    before = np.corrcoef((u**2).T)[0, 1]
    assert before == pytest.approx(np.corrcoef((whiten(twin).u ** 2).T)[0, 1], abs=0.06), (
        "one factor moves all"
    )
    directions = u / np.linalg.norm(u, axis=1, keepdims=True)
    lopsided = np.where(directions[:, :1] > 0, 2.0, 1.0) * u  # distances depend on the direction
    turned = null_twin(lopsided, kind="elliptical", random_state=2)
    length = np.linalg.norm(turned - lopsided.mean(0), axis=1)
    assert abs(np.corrcoef(length, turned[:, 0] > lopsided[:, 0].mean())[0, 1]) < 0.05
    assert len(null_twin(z, kind="elliptical", n_samples=10)) == 10
    with pytest.raises(ValueError, match="at most 6000"):
        null_twin(z, kind="elliptical", n_samples=6001)


# Core and shell.


@pytest.mark.parametrize("share", [0.99, 0.75, 0.5])
def test_the_kept_variance_is_that_of_cut_normal_clouds(share):
    n, k, rng = 400, 20, np.random.default_rng(12)
    ratios = []
    for _ in range(60):
        u = normal_whitened(n, k, rng)
        square = (u**2).sum(1)
        core = u[square <= np.quantile(square, share)]
        ratios.append(core.var(axis=0, ddof=1).mean())
    # The variance about the cloud's own centre differs from that about the core's by 1/n.
    assert np.mean(ratios) == pytest.approx(
        kept_variance(n, k, share), abs=4 * float(np.std(ratios)) / math.sqrt(60) + 0.003
    )


def test_the_radii_of_a_core_follow_their_truncated_law():
    n, k, rng = 3000, 8, np.random.default_rng(13)
    u = normal_whitened(n, k, rng)
    core = u[np.argsort((u**2).sum(1))[:1500]]
    kept = kept_variance(n, k, 0.5)
    battery = Battery(("radius",))
    right = measure_departures(rewhiten(core), battery=battery, cut=Cut(n, 0.5, kept), rng=rng)[0]
    wrong = measure_departures(rewhiten(core), battery=battery, rng=rng)[0]
    # Of 1500 radii, the largest distance is above 0.05 with a probability of 0.001, even with known moments.
    assert right.size < 0.05 < 0.1 < wrong.size


def test_outliers_are_in_the_shell_and_not_in_the_core():
    rng = np.random.default_rng(14)
    z = rng.standard_normal((1500, 5)).astype(np.float32)
    z[:45] *= 3
    verdicts = core_and_shell(
        z @ np.diag([5, 1, 1, 2, 1]).astype(np.float32) + 9, shares=(1.0, 0.9), draws=39
    )
    whole, core = verdicts
    assert (whole.n_kept, core.n_kept) == (1500, 1350)
    assert {t.name for t in whole.tests} == set(CORE_BATTERY.names)
    assert whole.tests[1].name == "kurtosis" and whole.tests[1].p_value == 1 / 40
    assert whole.variance_ratio == pytest.approx(1.0, abs=1e-5) and whole.null_ratio_std < 1e-5
    # The outliers' squares widen the whole by 0.03 x 8 = 24 %, but for those that are cut.
    assert core.variance_ratio == pytest.approx(1 / 1.24, abs=0.05)
    assert abs(core.variance_ratio - 1) > 10 * core.null_ratio_std
    assert core.tests[1].z_score < whole.tests[1].z_score / 10


def test_cores_of_normal_clouds_pass_at_their_level():
    rejected = []
    for seed in range(30):
        z = correlated_normal(150, 3, np.random.default_rng(seed))
        verdicts = core_and_shell(
            z, shares=(0.9, 0.6), battery=Battery(("radius", "kurtosis")), draws=19, random_state=seed
        )
        rejected += [test.p_value <= 0.1 for verdict in verdicts for test in verdict.tests]
    # 12 of 120 are expected, with a standard error of 3.3 if independent and about 5 as they are.
    assert 0 < sum(rejected) < 32


def test_core_and_shell_refuses_what_it_cannot_cut():
    with pytest.raises(ValueError, match="shares must be above 0"):
        core_and_shell(skewed(30, 2), shares=(1.2,))
    with pytest.raises(ValueError, match="too few"):
        core_and_shell(skewed(30, 20), shares=(0.5,))
    with pytest.raises(ValueError, match="draws must be at least 2"):
        core_and_shell(skewed(30, 2), draws=1)
