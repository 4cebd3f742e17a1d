import numpy as np
import pytest
from scipy.integrate import dblquad
from scipy.stats import kstest, multivariate_normal, norm

from aelib.densities import fit_gaussians, number_densities
from aelib.limits import ComponentRanges, EllipseLimited, TruncatedNormal
from aelib.pca import principal_axes
from aelib.truncation import limit_levels, normal_truncation, standard_coordinates

N = 50_000
RNG = np.random.default_rng(41)
MIXING = np.diag([1.0, 2.0, 0.5, 3.0]) + 0.4 * RNG.standard_normal((4, 4))
CLOUD = RNG.standard_normal((2000, 4)) @ MIXING + [4.0, -7.0, 0.0, 30.0]
SINGULAR = {
    "rank 2": RNG.standard_normal((300, 2)) @ RNG.standard_normal((2, 4)) + 5,
    "n < d": CLOUD[:3],
    "constant component": CLOUD * [1, 0, 1, 1] + [0, 7, 0, 0],
    "one component": CLOUD[:, 3:],
}


def units(sampler, points):
    return (points - sampler.mean_) @ sampler.axes_.T / np.sqrt(sampler.variances_)


def test_ranges_are_those_of_the_bell_curves():
    ranges = ComponentRanges(k=2.0).fit(CLOUD)
    fits = fit_gaussians(number_densities(CLOUD))
    np.testing.assert_allclose(ranges.centre_, fits.centre)
    np.testing.assert_allclose(ranges.reach_, 2.0 * fits.half_width)
    points = ranges.sample(N, random_state=1)
    for x, centre, reach in zip(points.T, ranges.centre_, ranges.reach_, strict=True):
        # The largest of four distances exceeds this with a probability of 4e-6.
        assert kstest((x - centre) / reach, "uniform", (-1, 2)).statistic < 2.7 / np.sqrt(N)
    assert np.abs(np.corrcoef(points.T) - np.eye(4)).max() < 5 / np.sqrt(N)
    expected = -np.log(2 * ranges.reach_).sum()
    np.testing.assert_allclose(ranges.score_samples(points[:5]), expected)
    assert np.isneginf(ranges.score_samples(points[:5] + 100)).all()


def test_ranges_without_a_fit_take_mean_and_deviation():
    z = CLOUD * [1, 0, 1e-3, 1] + [0, 7.1, 0, 0]
    for points in (z, z.astype(np.float32)):
        ranges = ComponentRanges().fit(points)
        half = np.sqrt(2 * np.log(2)) * points[:, 2].std(ddof=1, dtype=float)
        assert ranges.reach_[2] == pytest.approx(half, rel=1e-5)
        assert ranges.reach_[1] == 0
        drawn = ranges.sample(10, random_state=2)
        np.testing.assert_allclose(drawn[:, 1], 7.1, rtol=1e-6)
        assert np.isfinite(ranges.score_samples(drawn)).all()
        assert np.isfinite(ranges.score_samples(drawn.astype(np.float32) * (1 - 1e-9))).all()


@pytest.mark.parametrize("order", ["variance", "random"])
@pytest.mark.parametrize("draw", ["uniform", "normal"])
@pytest.mark.parametrize("n_components", [None, 2])
def test_every_pair_lies_in_its_ellipse(order, draw, n_components):
    sampler = EllipseLimited(2.5, order=order, draw=draw, n_components=n_components).fit(CLOUD)
    points = sampler.sample(N, random_state=3)
    axes = principal_axes(CLOUD)
    u = standard_coordinates(points, axes)
    assert limit_levels(u, "pairs").max() <= 2.5 + 1e-6
    if n_components:
        np.testing.assert_allclose(u[:, 2:], 0, atol=1e-9)
    assert np.abs(u.mean(axis=0)).max() < 5 * 1.5 / np.sqrt(N)
    assert np.abs(np.corrcoef(u[:, :2].T)[0, 1]) < 5 / np.sqrt(N)


def test_first_and_second_coordinate_follow_their_laws():
    f = 2.5
    u = units(sampler := EllipseLimited(f).fit(CLOUD), sampler.sample(N, random_state=4))
    assert kstest(u[:, 0], "uniform", (-f, 2 * f)).statistic < 2.7 / np.sqrt(N)
    assert kstest(u[:, 1] / np.sqrt(f**2 - u[:, 0] ** 2), "uniform", (-1, 2)).statistic < 2.7 / np.sqrt(N)
    left = np.sqrt(f**2 - np.square(u[:, :3]).max(axis=1))
    assert kstest(u[:, 3] / left, "uniform", (-1, 2)).statistic < 2.7 / np.sqrt(N)
    u = units(sampler := EllipseLimited(f, draw="normal").fit(CLOUD), sampler.sample(N, random_state=4))
    limit = np.sqrt(f**2 - u[:, 0] ** 2)
    rank = (norm.cdf(u[:, 1]) - norm.cdf(-limit)) / (norm.cdf(limit) - norm.cdf(-limit))
    assert kstest(rank, "uniform").statistic < 2.7 / np.sqrt(N)


def test_random_order_treats_all_coordinates_alike():
    sampler = EllipseLimited(2.5, order="random").fit(CLOUD)
    variances = units(sampler, sampler.sample(N, random_state=5)).var(axis=0)
    # u² is at most f², so the standard error of its mean is below f²/2 / sqrt(N) = 0.014.
    assert np.ptp(variances) < 5 * 0.014
    ordered = EllipseLimited(2.5).fit(CLOUD)
    falling = units(ordered, ordered.sample(N, random_state=5)).var(axis=0)
    assert falling[0] - falling[3] > 0.5


@pytest.mark.parametrize("draw", ["uniform", "normal"])
def test_density_of_ellipse_limited_points_integrates_to_one(draw):
    sampler = EllipseLimited(1.5, draw=draw).fit(CLOUD[:, :2])
    scale = np.sqrt(sampler.variances_.prod())

    def density(y, x):
        point = np.array([[x, y]]) * np.sqrt(sampler.variances_) @ sampler.axes_ + sampler.mean_
        return np.exp(sampler.score_samples(point)[0]) * scale

    def edge(x):
        return np.sqrt(max(1.5**2 - x * x, 0))

    total, _ = dblquad(density, -1.5, 1.5, lambda x: -edge(x), edge, epsabs=1e-3)
    assert total == pytest.approx(1, abs=5e-3)
    assert np.isneginf(sampler.score_samples(sampler.mean_[None] + 100)).all()


def test_wide_ellipses_with_normal_draws_are_the_normal_law():
    sampler = EllipseLimited(40.0, draw="normal").fit(CLOUD)
    points = sampler.sample(1000, random_state=6)
    law = multivariate_normal(CLOUD.mean(axis=0), np.cov(CLOUD.T))
    np.testing.assert_allclose(sampler.score_samples(points), law.logpdf(points))
    assert kstest(units(sampler, points).ravel(), "norm").pvalue > 1e-4


@pytest.mark.parametrize("coverage", [0.01, 0.5, 0.9])
def test_truncated_normal(coverage):
    sampler = TruncatedNormal(coverage).fit(CLOUD)
    points = sampler.sample(N, random_state=7)
    u = units(sampler, points)
    level = limit_levels(u, "ellipsoid")
    assert level.max() <= sampler.radius_ * (1 + 1e-9)
    expected = normal_truncation("ellipsoid", sampler.radius_, d=4)
    assert expected.share == pytest.approx(coverage)
    covariance = np.cov(u.T)
    error = np.sqrt(2 / N) * expected.variance_ratio
    np.testing.assert_allclose(covariance, expected.variance_ratio * np.eye(4), atol=5 * error)
    np.testing.assert_allclose(u.mean(axis=0), 0, atol=5 * np.sqrt(expected.variance_ratio / N))
    law = multivariate_normal(CLOUD.mean(axis=0), np.cov(CLOUD.T))
    np.testing.assert_allclose(sampler.score_samples(points), law.logpdf(points) - np.log(coverage))
    inside = limit_levels(units(sampler, CLOUD), "ellipsoid") <= sampler.radius_
    np.testing.assert_array_equal(np.isfinite(sampler.score_samples(CLOUD)), inside)


def test_accepted_points_of_the_normal_law_follow_the_truncated_one():
    sampler = TruncatedNormal(0.5).fit(CLOUD)
    normal = RNG.standard_normal((N, 4))
    kept = np.linalg.norm(normal, axis=1)
    kept = kept[kept <= sampler.radius_]
    drawn = np.linalg.norm(units(sampler, sampler.sample(N, random_state=8)), axis=1)
    assert kstest(drawn, kept).pvalue > 1e-4


def test_full_coverage_is_the_normal_law():
    sampler = TruncatedNormal(1.0).fit(CLOUD)
    assert sampler.radius_ == np.inf
    law = multivariate_normal(CLOUD.mean(axis=0), np.cov(CLOUD.T))
    np.testing.assert_allclose(sampler.score_samples(CLOUD), law.logpdf(CLOUD))


@pytest.mark.parametrize("name", SINGULAR)
@pytest.mark.parametrize(
    "sampler", [EllipseLimited(2.0), TruncatedNormal(0.7)], ids=["ellipses", "ellipsoid"]
)
def test_singular_clouds_keep_to_their_plane(name, sampler):
    z = SINGULAR[name]
    points = sampler.fit(z).sample(500, random_state=9)
    back = principal_axes(z)
    np.testing.assert_allclose(back.inverse_transform(back.transform(points)), points, atol=1e-8)
    assert np.isfinite(sampler.score_samples(points)).all()
    if len(sampler.axes_) < z.shape[1]:
        off = np.linalg.svd(sampler.axes_)[2][-1]
        assert np.isneginf(sampler.score_samples(points + off)).all()


@pytest.mark.parametrize("name", SINGULAR)
def test_ranges_of_singular_clouds_hold_what_they_draw(name):
    ranges = ComponentRanges(k=2.0).fit(SINGULAR[name])
    points = ranges.sample(500, random_state=9)
    assert (np.abs(points - ranges.centre_) <= ranges.reach_ + 1e-9).all()
    assert ((ranges.reach_ == 0) == (np.ptp(SINGULAR[name], axis=0) == 0)).all()
    assert np.isfinite(ranges.score_samples(points)).all()


def test_many_dimensions_are_no_obstacle():
    z = np.random.default_rng(10).standard_normal((600, 256)) * np.geomspace(10, 0.1, 256) + 3
    for sampler in (EllipseLimited(2.5), EllipseLimited(2.5, order="random"), TruncatedNormal(1e-3)):
        points = sampler.fit(z).sample(200, random_state=11)
        assert np.isfinite(points).all()


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (ComponentRanges(0.0), "k must be finite and above 0"),
        (ComponentRanges(width=-1.0), "width must be finite and above 0"),
        (EllipseLimited(np.inf), "f must be finite and above 0"),
        (EllipseLimited(order="size"), "order must be one of 'variance', 'random'"),
        (EllipseLimited(draw="flat"), "draw must be one of 'uniform', 'normal'"),
        (EllipseLimited(n_components=5), "the cloud varies along 4 axes"),
        (TruncatedNormal(0.0), "coverage must be above 0 and at most 1"),
        (TruncatedNormal(90.0), "coverage must be above 0 and at most 1"),
    ],
)
def test_bad_parameters_are_refused(sampler, message):
    with pytest.raises(ValueError, match=message):
        sampler.fit(CLOUD)
