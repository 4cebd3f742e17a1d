from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import curve_fit
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from aelib import densities
from aelib.blocks import checked_blocks
from aelib.densities import (
    dominant_components,
    fit_gaussians,
    mahalanobis_distance,
    nearest_distance,
    normal_radius,
    number_densities,
    radii,
    radius_density,
    share_outside,
    uniform_radius,
    value_range,
)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def cloud(rng):
    """Off-centre and correlated, with a constant component and one that repeats another."""
    z = rng.normal(size=(5000, 6)) @ rng.normal(size=(6, 6)) + 3.0
    z[:, 4] = 0.7
    z[:, 5] = z[:, 0]
    return z.astype(np.float32)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(densities, "checked_blocks", partial(checked_blocks, block=200))


# Counting


@pytest.mark.parametrize("width", [0.25, 0.1, 2.0])
def test_counts_agree_with_numpy(cloud, width, small_blocks):
    found = number_densities(cloud, width=width)
    for j in range(cloud.shape[1]):
        np.testing.assert_array_equal(found.counts[:, j], np.histogram(cloud[:, j], found.edges)[0])
    assert found.n == len(cloud)
    np.testing.assert_allclose(found.density.sum(axis=0) * width, 1.0)


def test_zero_is_the_middle_of_an_interval_and_an_edge_belongs_to_the_upper_one():
    found = number_densities(np.array([[-0.125], [0.0], [0.125]]))
    np.testing.assert_array_equal(found.centres, [0.0, 0.25])
    np.testing.assert_array_equal(found.counts[:, 0], [2, 1])


@given(
    st.lists(st.integers(-4000, 4000), min_size=1, max_size=40),
    st.sampled_from([0.25, 0.5, 1.0]),
    st.integers(-50, 50),
)
def test_shifting_by_whole_intervals_shifts_the_grid(numbers, width, shift):
    z = np.array(numbers, dtype=np.float64)[:, None] / 64
    here, there = number_densities(z, width=width), number_densities(z + shift * width, width=width)
    np.testing.assert_array_equal(here.counts, there.counts)
    np.testing.assert_allclose(here.edges + shift * width, there.edges)
    assert here.edges[0] <= z.min() < here.edges[1]
    assert here.edges[-2] <= z.max() < here.edges[-1]


def test_memory_maps_are_read_in_blocks(cloud, tmp_path, small_blocks):
    np.save(tmp_path / "z.npy", cloud)
    mapped = np.load(tmp_path / "z.npy", mmap_mode="r")
    np.testing.assert_array_equal(number_densities(mapped).counts, number_densities(cloud).counts)
    np.testing.assert_array_equal(radii(mapped), radii(cloud))


def test_radius_density_begins_its_grid_at_multiples_of_the_width(cloud):
    centre = cloud.mean(axis=0)
    found = radius_density(cloud, width=0.5, centre=centre)
    distance = np.linalg.norm(cloud.astype(np.float64) - centre, axis=1)
    np.testing.assert_array_equal(found.counts[:, 0], np.histogram(distance, found.edges)[0])
    np.testing.assert_array_equal(found.edges % 0.5, 0.0)
    np.testing.assert_allclose(radii(cloud), np.linalg.norm(cloud.astype(np.float64), axis=1))


@pytest.mark.parametrize("measure", [value_range, number_densities, radii, radius_density])
def test_what_is_no_cloud_is_refused(measure):
    for bad in (np.zeros(3), np.zeros((0, 3)), np.zeros((3, 0)), np.zeros((2, 2, 2))):
        with pytest.raises(ValueError, match=r"shape \(n, d\)"):
            measure(bad)
    for value in (np.nan, np.inf, -np.inf):
        z = np.zeros((4, 3))
        z[2, 1] = value
        with pytest.raises(ValueError, match="must be finite"):
            measure(z)


@pytest.mark.parametrize("width", [0.0, -1.0, np.nan, np.inf])
def test_impossible_widths_are_refused(width):
    with pytest.raises(ValueError, match="width must be finite and above 0"):
        number_densities(np.zeros((2, 2)), width=width)


def test_too_many_intervals_are_refused():
    with pytest.raises(ValueError, match="take wider ones, or remove the outliers"):
        number_densities(np.array([[0.0], [1e30]]))


# Fits


def slow_fit(density, j, start):
    """Fit one component with SciPy, the Gaussian integrated over each interval."""

    def model(_, centre, sigma, area):
        return area * np.diff(stats.norm.cdf(edges, centre, sigma))

    pad = 200  # empty intervals on both sides
    counts = np.pad(density.counts[:, j], pad).astype(float)
    edges = density.edges[0] + density.width * np.arange(-pad, len(counts) - pad + 1)
    found, _ = curve_fit(model, np.zeros(len(counts)), counts, start, ftol=1e-14, xtol=1e-14, gtol=1e-14)
    return found, 1 - ((counts - model(None, *found)) ** 2).sum() / (counts**2).sum()


def test_fits_agree_with_scipy(rng):
    n = 20_000
    z = np.column_stack(
        [
            rng.normal(2.0, 3.0, n),
            rng.normal(-0.3, 0.12, n),  # narrower than an interval
            rng.laplace(0.0, 1.0, n),
            rng.gamma(3.0, 0.7, n),
            np.where(rng.random(n) < 0.8, rng.normal(0, 0.5, n), rng.normal(4, 1.5, n)),
        ]
    )
    density = number_densities(z)
    fits = fit_gaussians(density)
    assert fits.fitted.all()
    for j in range(z.shape[1]):
        (centre, sigma, area), r_squared = slow_fit(density, j, [np.median(z[:, j]), z[:, j].std(), n])
        assert fits.centre[j] == pytest.approx(centre, rel=1e-6, abs=1e-6)
        assert fits.sigma[j] == pytest.approx(sigma, rel=1e-6)
        assert fits.amplitude[j] == pytest.approx(area / (n * sigma * np.sqrt(2 * np.pi)), rel=1e-6)
        assert fits.r_squared[j] == pytest.approx(r_squared, abs=1e-8)


@pytest.mark.parametrize("sigma", [0.08, 0.1, 0.25, 1.0, 5.0])
@pytest.mark.parametrize("centre", [0.0, 0.11, -3.125])
def test_exact_normal_counts_give_back_their_parameters(centre, sigma):
    # The last one lies on an edge. The counts are expectations of 10^12 points, rounded.
    edges = 0.25 * (np.arange(-200, 201) + 0.5)
    counts = np.round(1e12 * np.diff(stats.norm.cdf(edges, centre, sigma))).astype(int)[:, None]
    fits = fit_gaussians(densities.NumberDensity(edges, counts, 0.25))
    assert fits.fitted.all()
    assert (fits.centre[0], fits.sigma[0]) == pytest.approx((centre, sigma), abs=1e-7)
    assert fits.amplitude[0] == pytest.approx(1 / (sigma * np.sqrt(2 * np.pi)))
    assert fits.fwhm[0] == pytest.approx(2 * fits.half_width[0]) == pytest.approx(2.3548200450 * sigma)
    assert fits.r_squared[0] == pytest.approx(1.0)
    assert fits.asymmetry[0] == pytest.approx(0.0, abs=1e-6)
    at_half = fits.density(np.array([centre + fits.half_width[0]]))
    assert at_half[0, 0] == pytest.approx(fits.amplitude[0] / 2)


def test_the_value_at_the_middle_would_make_narrow_components_too_wide(rng):
    # 100 000 points give sigma to 0.2 %.
    density = number_densities(rng.normal(0.05, 0.15, (100_000, 1)))
    naive, _ = curve_fit(
        lambda x, a, mu, s: a * np.exp(-0.5 * ((x - mu) / s) ** 2),
        density.centres,
        density.density[:, 0],
        [2.0, 0.0, 0.2],
    )
    assert fit_gaussians(density).sigma[0] == pytest.approx(0.15, rel=0.01)
    assert abs(naive[2]) > 1.08 * 0.15


def test_a_fit_does_not_depend_on_the_other_components(rng):
    narrow, wide = rng.laplace(0.0, 0.5, (3000, 1)), rng.normal(9.0, 6.0, (3000, 1))
    alone, beside = (fit_gaussians(number_densities(z)) for z in (narrow, np.hstack([narrow, wide])))
    assert alone.sigma[0] == pytest.approx(beside.sigma[0], rel=1e-6)
    assert alone.r_squared[0] == pytest.approx(beside.r_squared[0], rel=1e-6)
    assert alone.asymmetry[0] == pytest.approx(beside.asymmetry[0], rel=1e-9)


def test_asymmetry_agrees_with_the_percentiles(rng):
    z = np.column_stack([rng.gamma(2.0, 2.0, 50_000), -rng.gamma(2.0, 2.0, 50_000), rng.normal(size=50_000)])
    low, middle, high = np.percentile(z, [10, 50, 90], axis=0)
    kelly = (high + low - 2 * middle) / (high - low)
    found = fit_gaussians(number_densities(z)).asymmetry
    # Interpolation within intervals of a tenth of the width of the density costs up to 0.005.
    np.testing.assert_allclose(found, kelly, atol=0.005)
    assert found[0] > 0.2 > 0.02 > abs(found[2])


def test_constant_and_narrow_components_keep_finite_numbers(rng):
    z = np.column_stack([np.full(4000, 0.3), rng.normal(0.125, 1e-3, 4000), rng.normal(size=4000)])
    fits = fit_gaussians(number_densities(z))
    np.testing.assert_array_equal(fits.fitted, [False, False, True])
    # One interval: its middle and the standard deviation of what lies evenly in it. Two: about their common edge.
    assert (fits.centre[0], fits.sigma[0]) == pytest.approx((0.25, 0.25 / np.sqrt(12)))
    assert fits.centre[1] == pytest.approx(0.125, abs=0.01)
    assert fits.sigma[1] == pytest.approx(0.25 / np.sqrt(3), rel=0.01)
    _all_finite(fits)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 10])
def test_fewer_points_than_components_keep_finite_numbers(rng, n):
    _all_finite(fit_gaussians(number_densities(rng.normal(size=(n, 50)))))


@given(st.lists(st.lists(st.integers(0, 50), min_size=7, max_size=7), min_size=2, max_size=4))
def test_any_counts_give_finite_numbers(columns):
    counts = np.array(columns).T
    counts[3] += 351 - counts.sum(axis=0)  # as many points in each component
    _all_finite(fit_gaussians(densities.NumberDensity(np.arange(8.0), counts, 1.0)))


def test_a_density_without_a_bell_is_marked(rng):
    two_ends = np.where(rng.random((4000, 1)) < 0.5, -20.0, 20.0)
    fits = fit_gaussians(number_densities(two_ends))
    _all_finite(fits)
    assert not fits.fitted[0]
    assert fits.sigma[0] == pytest.approx(20.0, rel=0.01)


def _all_finite(fits):
    for name in ("centre", "sigma", "amplitude", "r_squared", "asymmetry", "fwhm"):
        assert np.isfinite(getattr(fits, name)).all(), name
    assert (fits.sigma > 0).all()
    assert (abs(fits.asymmetry) <= 1 + 1e-12).all()


def test_dominant_components_stand_out_by_width_or_by_centre(rng):
    d = 60
    centre, sigma = np.zeros(d), rng.uniform(0.8, 1.2, d)
    sigma[[3, 40]] = [5.0, 3.0]
    centre[17] = -4.0
    z = rng.normal(centre, sigma, (20_000, d))
    fits = fit_gaussians(number_densities(z))
    np.testing.assert_array_equal(dominant_components(fits), [3, 17, 40])
    size = np.hypot(fits.centre, fits.sigma)
    outliers = size > np.percentile(size, 75) + 1.5 * stats.iqr(size)
    assert set(dominant_components(fits)) == set(np.flatnonzero(outliers))
    assert len(dominant_components(fits, whiskers=100.0)) == 0
    bare = size > np.percentile(size, 75)
    assert set(dominant_components(fits, whiskers=0.0)) == set(np.flatnonzero(bare))
    for whiskers in (-1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="whiskers must be finite"):
            dominant_components(fits, whiskers=whiskers)


# Laws of the radius


@pytest.mark.parametrize(("d", "tolerance"), [(3, 4e-3), (8, 1e-7), (256, 1e-10)])
def test_centred_isotropic_normal_has_a_chi_law(d, tolerance):
    law, exact = normal_radius(2.25 * np.eye(d)), stats.chi(d, scale=1.5)
    r = np.linspace(0.0, exact.mean() + 8 * exact.std(), 1001)
    assert (law.mean, law.std) == pytest.approx((exact.mean(), exact.std()), rel=1e-9)
    np.testing.assert_allclose(law.density(r), exact.pdf(r), atol=tolerance * exact.pdf(r).max())


@pytest.mark.parametrize(("d", "length"), [(8, 2.0), (256, 10.0), (256, 1e5)])
def test_shifted_isotropic_normal_has_a_noncentral_chi_law(d, length, rng):
    mean = rng.normal(size=d)
    mean *= length / np.linalg.norm(mean)
    law, squared = normal_radius(np.eye(d), mean=mean), stats.ncx2(d, length**2)
    r = np.linspace(max(0.0, law.mean - 6.0), law.mean + 6.0, 601)
    exact = 2 * r * squared.pdf(r**2)
    np.testing.assert_allclose(law.density(r), exact, atol=1e-6 * exact.max())
    assert law.mean**2 + law.std**2 == pytest.approx(squared.mean(), rel=1e-12)
    assert law.mean == pytest.approx(np.trapezoid(r * exact, r), rel=1e-7)


def normal_cloud(rng, d, rank, n):
    factor = rng.normal(size=(rank, d)) * np.geomspace(3.0, 0.1, rank)[:, None]
    mean = rng.normal(size=d)
    return factor.T @ factor, mean, rng.normal(size=(n, rank)) @ factor + mean


@pytest.mark.parametrize(("d", "rank"), [(12, 12), (40, 40), (40, 5)])
def test_normal_law_agrees_with_simulation(rng, d, rank):
    covariance, mean, z = normal_cloud(rng, d, rank, 100_000)
    agree(normal_radius(covariance, mean=mean), radii(z))


def test_moments_are_exact_where_one_variance_dominates():
    law, exact = normal_radius(np.diag([4.0, 0.0])), stats.halfnorm(scale=2.0)
    assert (law.mean, law.std) == pytest.approx((exact.mean(), exact.std()), rel=1e-12)
    r = np.linspace(1.0, 6.0, 30)  # from half of the standard deviation on
    np.testing.assert_allclose(law.density(r), exact.pdf(r), atol=1e-4 * exact.pdf(0.0))


@pytest.mark.parametrize("d", [2, 5, 40])
def test_uniform_law_agrees_with_simulation(rng, d):
    agree(uniform_radius(1.5, d), radii(rng.uniform(-1.5, 1.5, (100_000, d))))


def agree(law, simulated):
    """Compare within 4 standard errors of 100 000 lengths, and their distribution at the 0.1 % level."""
    n = len(simulated)
    assert simulated.mean() == pytest.approx(law.mean, abs=4 * law.std / np.sqrt(n))
    kurtosis = stats.kurtosis(simulated)
    assert simulated.std() == pytest.approx(law.std, rel=4 * np.sqrt((kurtosis + 2) / (4 * n)))
    r = np.linspace(0.0, simulated.max() + law.std, 4001)
    density = law.density(r)
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(r))])
    # Up to 1e-3 for the kinks of laws in two dimensions.
    distance = abs(np.searchsorted(np.sort(simulated), r) / n - cumulative).max()
    assert distance < 1.95 / np.sqrt(n) + 1e-3


@pytest.mark.parametrize("d", [1, 2, 3])
def test_mean_length_in_a_cube_has_its_closed_form(d):
    cube = (6 * np.sqrt(3) + 12 * np.log(2 + np.sqrt(3)) - np.pi) / 24
    exact = [1 / 2, (np.sqrt(2) + np.arcsinh(1.0)) / 3, cube][d - 1]
    assert uniform_radius(1.0, d).mean == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize(
    ("b", "mean", "std"),
    list(
        zip(
            [0.5, 1, 1.5, 2, 3, 4, 5, 10],
            [4.62, 9.23, 13.85, 18.47, 27.7, 36.9, 46.2, 92.3],
            [0.13, 0.26, 0.39, 0.52, 0.77, 1.03, 1.29, 2.6],
            strict=True,
        )
    ),
)
def test_figures_of_the_source(b, mean, std):
    law = uniform_radius(b, 256)
    # The source gives two to four figures, some of them cut off rather than rounded.
    assert law.mean == pytest.approx(mean, rel=1.5e-3)
    assert law.std == pytest.approx(std, rel=0.01)
    assert law.mean == pytest.approx(b * np.sqrt(256 / 3) * (1 - 1 / 2560), rel=2e-6)
    assert law.std == pytest.approx(b / np.sqrt(15), rel=1e-3)


@pytest.mark.parametrize("d", [4, 16, 64, 256])
def test_approximations_of_the_source_become_exact_as_d_grows(d):
    law = uniform_radius(1.0, d)
    assert abs(np.sqrt(d / 3) * (1 - 1 / (10 * d)) / law.mean - 1) < 0.1 / d**2
    assert abs(1 / np.sqrt(15) / law.std - 1) < 0.6 / d


def test_density_of_the_radius_is_normalised_and_0_outside():
    for law in (uniform_radius(1.5, 256), normal_radius(np.diag(np.arange(1.0, 31.0)), mean=np.ones(30))):
        r = np.linspace(-1.0, law.mean + 12 * law.std, 40_001)
        density = law.density(r)
        assert (density >= 0).all()
        assert (density[r < 0] == 0).all()
        assert np.trapezoid(density, r) == pytest.approx(1.0, abs=1e-6)
        assert np.trapezoid(r * density, r) == pytest.approx(law.mean, rel=1e-6)
    assert law.density(np.array([1e6])) == 0


def test_impossible_laws_are_refused():
    for b, d in ((0.0, 3), (np.inf, 3), (np.nan, 3), (1.0, 0)):
        with pytest.raises(ValueError, match="b must be finite"):
            uniform_radius(b, d)
    with pytest.raises(ValueError, match=r"shape \(d, d\)"):
        normal_radius(np.ones((2, 3)))
    for bad in (np.zeros((2, 2)), np.array([[1.0, 0.5], [0.0, 1.0]]), np.full((2, 2), np.nan)):
        with pytest.raises(ValueError, match="finite, symmetric and not 0"):
            normal_radius(bad)
    with pytest.raises(ValueError, match="no negative eigenvalue"):
        normal_radius(np.array([[1.0, 2.0], [2.0, 1.0]]))
    with pytest.raises(ValueError, match="mean must be 2 finite numbers"):
        normal_radius(np.eye(2), mean=np.zeros(3))


# Distances


def test_share_outside_counts_components(rng, cloud):
    low, high = value_range(cloud)
    assert (share_outside(cloud, low=low, high=high) == 0).all()
    points = rng.uniform(-8, 8, (50, 6))
    slow = [np.mean([not low[j] <= x[j] <= high[j] for j in range(6)]) for x in points]
    np.testing.assert_allclose(share_outside(points, low=low, high=high), slow)
    with pytest.raises(ValueError, match="high must be 6 finite numbers"):
        share_outside(points, low=low, high=high[:3])
    with pytest.raises(ValueError, match="low must be 6 finite numbers"):
        share_outside(points, low=low[:3], high=high)


def test_mahalanobis_distance_agrees_with_scipy(rng, small_blocks):
    covariance, mean, z = normal_cloud(rng, 12, 12, 300)
    slow = cdist(z, mean[None], "mahalanobis", VI=np.linalg.inv(covariance))[:, 0]
    np.testing.assert_allclose(mahalanobis_distance(z, mean=mean, covariance=covariance), slow, rtol=1e-6)


def test_mahalanobis_distance_of_a_singular_covariance(rng):
    covariance, mean, z = normal_cloud(rng, 12, 5, 300)
    found = mahalanobis_distance(z.astype(np.float32), mean=mean, covariance=covariance)
    slow = np.sqrt(np.einsum("ni,ij,nj->n", z - mean, np.linalg.pinv(covariance, rcond=1e-10), z - mean))
    np.testing.assert_allclose(found, slow, rtol=1e-4)
    off = mahalanobis_distance(z + rng.normal(size=12), mean=mean, covariance=covariance)
    assert np.isinf(off).all()
    both = mahalanobis_distance(np.concatenate([z[:5], z[:5] + 1.0]), mean=mean, covariance=covariance)
    assert np.isinf(both).tolist() == [False] * 5 + [True] * 5


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_nearest_distance_agrees_with_a_tree(rng, offset, small_blocks):
    cloud = rng.normal(size=(700, 6)) + offset
    points = np.vstack([rng.normal(size=(150, 6)) + offset, cloud[:5]])
    np.testing.assert_allclose(nearest_distance(points, cloud), cKDTree(cloud).query(points)[0], rtol=1e-9)


def test_nearest_distance_leaves_out_own_rows(rng, small_blocks):
    cloud = rng.normal(size=(700, 6)).astype(np.float32)
    rows = np.array([0, 17, 350, 699])
    slow = cKDTree(cloud).query(cloud[rows], k=2)[0][:, 1]
    np.testing.assert_allclose(nearest_distance(cloud[rows], cloud, own_rows=rows), slow, rtol=1e-6)
    assert (nearest_distance(cloud[rows], cloud) == 0).all()


def test_impossible_distances_are_refused():
    three, two = np.zeros((4, 3)), np.zeros((4, 2))
    with pytest.raises(ValueError, match="cloud must have 3 components"):
        nearest_distance(three, two)
    with pytest.raises(ValueError, match="points must have 2 components"):
        mahalanobis_distance(three, mean=np.zeros(2), covariance=np.eye(2))
    hollow = np.full((4, 3), np.nan)
    with pytest.raises(ValueError, match="cloud must be finite"):
        nearest_distance(three, hollow)
    with pytest.raises(ValueError, match="points must be finite"):
        nearest_distance(hollow, three)
    with pytest.raises(ValueError, match="points must be finite"):
        mahalanobis_distance(hollow, mean=np.zeros(3), covariance=np.eye(3))
    with pytest.raises(ValueError, match=r"points must have shape \(n, d\)"):
        mahalanobis_distance(three[0], mean=np.zeros(3), covariance=np.eye(3))
    with pytest.raises(ValueError, match="mean must be 3 finite numbers"):
        mahalanobis_distance(three, mean=np.zeros(2), covariance=np.eye(3))
    with pytest.raises(ValueError, match="centre must be 3 finite numbers"):
        radii(three, centre=np.zeros(2))
    with pytest.raises(ValueError, match="own_rows must be 4 rows"):
        nearest_distance(three, three, own_rows=np.array([0, 1, 2, 4]))
    with pytest.raises(ValueError, match="another point"):
        nearest_distance(three[:1], three[:1], own_rows=np.array([0]))
