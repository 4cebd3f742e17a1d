import numpy as np
import pytest
from scipy.special import gammaln, logsumexp
from scipy.stats import chi, truncnorm

from aelib.ellipses import inside_all, pairwise_ellipses, share_inside_all
from aelib.pca import principal_axes
from aelib.truncation import (
    LIMITS,
    level_for_share,
    limit_levels,
    measure_truncation,
    normal_truncation,
    standard_coordinates,
)

RNG = np.random.default_rng(31)
CLOUD = RNG.standard_normal((3000, 4)) @ RNG.standard_normal((4, 4)) + [5, -3, 0, 40]
N = 100_000
NORMAL = {d: RNG.standard_normal((N, d)) for d in (1, 2, 5, 30)}


def test_standard_coordinates_are_uncorrelated_with_unit_variance():
    u = standard_coordinates(CLOUD, principal_axes(CLOUD))
    np.testing.assert_allclose(np.cov(u.T), np.eye(4), atol=1e-9)
    np.testing.assert_allclose(u.mean(axis=0), 0, atol=1e-9)


def test_levels_are_those_of_the_slow_definitions():
    u = NORMAL[5][:200]
    pairs = np.max([np.hypot(u[:, i], u[:, j]) for i in range(5) for j in range(i)], axis=0)
    np.testing.assert_allclose(limit_levels(u, "pairs"), pairs)
    np.testing.assert_allclose(limit_levels(u, "ellipsoid"), np.linalg.norm(u, axis=1))
    np.testing.assert_allclose(limit_levels(u, "ranges"), np.abs(u).max(axis=1))


def test_pairs_accept_what_lies_in_all_ellipses():
    u = standard_coordinates(CLOUD, principal_axes(CLOUD))
    ellipses = pairwise_ellipses(np.zeros(4), np.eye(4), n_sigma=2.5)
    np.testing.assert_array_equal(limit_levels(u, "pairs") <= 2.5, inside_all(u, ellipses))


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("d", [2, 5, 30])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_closed_forms_agree_with_simulation(limit, d, share):
    level = level_for_share(limit, share, d=d)
    u = NORMAL[d]
    accepted = limit_levels(u, limit) <= level
    expected, measured = normal_truncation(limit, level, d=d), measure_truncation(u, accepted)
    assert expected.share == pytest.approx(share, abs=1e-9)
    # Five standard errors: of a share; of a mean radius, whose relative spread is below 0.53; of a mean square.
    assert measured.share == pytest.approx(share, abs=5 * np.sqrt(share * (1 - share) / N))
    count = share * N
    assert measured.radius_ratio == pytest.approx(expected.radius_ratio, rel=5 * 0.8 / np.sqrt(d * count))
    assert measured.variance_ratio == pytest.approx(expected.variance_ratio, rel=5 * 2 / np.sqrt(d * count))


def test_one_dimension_is_the_truncated_normal_of_scipy():
    for limit in ("ellipsoid", "ranges"):
        for level in (0.1, 1.0, 3.0):
            found = normal_truncation(limit, level, d=1)
            law = truncnorm(-level, level)
            assert found.share == pytest.approx(chi(1).cdf(level))
            assert found.variance_ratio == pytest.approx(law.var(), rel=1e-6)
            mean = 2 * law.expect(lambda u: u, lb=0, ub=level)
            assert found.radius_ratio == pytest.approx(mean / chi(1).mean(), rel=1e-6)


def test_ellipsoid_is_the_truncated_chi_law():
    found, law = normal_truncation("ellipsoid", 4.0, d=20), chi(20)
    assert found.share == pytest.approx(law.cdf(4.0))
    mean = law.expect(lambda r: r, lb=0, ub=4.0) / law.cdf(4.0)
    square = law.expect(lambda r: r * r, lb=0, ub=4.0) / law.cdf(4.0)
    assert found.radius_ratio == pytest.approx(mean / law.mean(), rel=1e-9)
    assert found.variance_ratio == pytest.approx(square / 20, rel=1e-9)


@pytest.mark.parametrize("level", [20.0, 5.0])
def test_shares_too_small_for_floating_point_leave_exact_ratios(level):
    def log_law(
        nu,
    ):  # of an even number of degrees of freedom: the sum of Poisson's probabilities from nu/2 on
        k = np.arange(nu // 2, nu // 2 + 3000)
        return logsumexp(k * np.log(level**2 / 2) - level**2 / 2 - gammaln(k + 1))

    found = normal_truncation("ellipsoid", level, d=2000)
    assert found.share == 0
    assert found.variance_ratio == pytest.approx(np.exp(log_law(2002) - log_law(2000)), rel=1e-9)
    # In so many dimensions nearly all lies near the border.
    assert found.radius_ratio == pytest.approx(np.sqrt(found.variance_ratio), rel=1e-3)


def test_levels_in_single_precision_are_those_of_the_same_numbers():
    u = NORMAL[5][:200].astype(np.float32)
    for limit in LIMITS:
        np.testing.assert_allclose(
            limit_levels(u, limit), limit_levels(u.astype(np.float64), limit), rtol=1e-14
        )


def test_in_two_dimensions_one_pair_is_the_ellipsoid():
    np.testing.assert_allclose(
        normal_truncation("pairs", 1.7, d=2), normal_truncation("ellipsoid", 1.7, d=2), rtol=1e-8
    )
    assert level_for_share("pairs", 0.3, d=2) == pytest.approx(level_for_share("ellipsoid", 0.3, d=2))


def test_shares_of_the_source_at_256_dimensions():
    assert normal_truncation("pairs", 3.0, d=256).share == pytest.approx(share_inside_all(3.0, 256))
    assert level_for_share("pairs", 0.5, d=256) == pytest.approx(4.07, abs=0.01)
    found = normal_truncation("pairs", 3.0, d=256)
    assert found.radius_ratio**2 == pytest.approx(found.variance_ratio, rel=1e-3)  # a thin shell


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("d", [2, 256])
def test_very_tight_and_very_wide_limits(limit, d):
    wide = normal_truncation(limit, 60.0, d=d)
    np.testing.assert_allclose(wide, 1.0, atol=1e-8)
    tight = normal_truncation(limit, 1e-3, d=d)
    assert 0 <= tight.share < 1e-5
    assert 0 < tight.variance_ratio < 1e-6
    # Within so tight a limit the law is uniform: in a ball of radius r, E R² = r² d / (d + 2); in a box, d r² / 3.
    if limit != "pairs":
        mean_square = 1e-6 / (d + 2) if limit == "ellipsoid" else 1e-6 / 3
        assert tight.variance_ratio == pytest.approx(mean_square, rel=1e-3)
    if limit == "ellipsoid":
        assert tight.radius_ratio == pytest.approx(1e-3 * d / (d + 1) / chi(d).mean(), rel=1e-3)


def test_measured_truncation_of_a_cloud_in_units_of_z():
    accepted = limit_levels(standard_coordinates(CLOUD, principal_axes(CLOUD)), "ellipsoid") <= 1.5
    found = measure_truncation(CLOUD, accepted)
    radius = np.linalg.norm(CLOUD - CLOUD.mean(axis=0), axis=1)
    assert found.share == accepted.mean()
    assert found.radius_ratio == pytest.approx(radius[accepted].mean() / radius.mean())
    ratio = np.trace(np.cov(CLOUD[accepted].T)) / np.trace(np.cov(CLOUD.T))
    assert found.variance_ratio == pytest.approx(ratio)
    about_origin = measure_truncation(CLOUD, accepted, centre=np.zeros(4))
    length = np.linalg.norm(CLOUD, axis=1)
    assert about_origin.radius_ratio == pytest.approx(length[accepted].mean() / length.mean())


def test_none_and_one_accepted():
    none = np.zeros(3000, dtype=bool)
    found = measure_truncation(CLOUD, none)
    assert found.share == 0
    assert np.isnan(found[1:]).all()
    none[7] = True
    found = measure_truncation(CLOUD.astype(np.float32), none)
    assert np.isfinite(found.radius_ratio)
    assert np.isnan(found.variance_ratio)
    none[9] = True
    two = measure_truncation(CLOUD, none).variance_ratio
    assert two == pytest.approx(np.square(CLOUD[7] - CLOUD[9]).sum() / 2 / np.trace(np.cov(CLOUD.T)))


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="limit must be one of 'pairs', 'ellipsoid', 'ranges', not 'box'"):
        limit_levels(CLOUD, "box")
    with pytest.raises(ValueError, match="'pairs' needs at least 2 dimensions, not 1"):
        limit_levels(CLOUD[:, :1], "pairs")
    with pytest.raises(ValueError, match="u must be finite"):
        limit_levels(np.full((3, 2), np.inf), "ranges")
    with pytest.raises(ValueError, match="accepted must have shape \\(3000,\\)"):
        measure_truncation(CLOUD, np.ones(3, dtype=bool))
    with pytest.raises(ValueError, match="centre must have shape \\(4,\\)"):
        measure_truncation(CLOUD, np.ones(3000, dtype=bool), centre=np.zeros(3))
    with pytest.raises(ValueError, match="no variance"):
        measure_truncation(np.ones((3, 2)), np.ones(3, dtype=bool))
    for level in (0.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="level must be finite and above 0"):
            normal_truncation("ranges", level, d=3)
    for share in (0.0, 1.0):
        with pytest.raises(ValueError, match="share must be above 0 and below 1"):
            level_for_share("ranges", share, d=3)
