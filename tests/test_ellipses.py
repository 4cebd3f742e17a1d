import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from KDEpy import FFTKDE
from matplotlib.path import Path
from scipy import stats

from aelib import ellipses, partitions
from aelib.ellipses import (
    Ellipses,
    contour_departure,
    contour_lines,
    coverage,
    departure_law,
    ellipse_from_correlation,
    empirical_coverage,
    highest_density_levels,
    inside_all,
    n_sigma_for,
    pairwise_ellipses,
    plane_density,
    share_inside_all,
)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def cloud(rng, n, d, *, rank=None):
    """Off-centre, correlated normal points; on a subspace if `rank` is below d."""
    spread = rng.standard_normal((rank or d, d)) * np.linspace(0.3, 3, d)
    return rng.standard_normal((n, rank or d)) @ spread + 5 * rng.standard_normal(d)


def moments(z):
    return z.mean(axis=0, dtype=np.float64), np.cov(z, rowvar=False, dtype=np.float64)


def shapes(ellipses):
    """The matrices S of the ellipses x' S^-1 x = 1."""
    cos, sin = np.cos(ellipses.angle), np.sin(ellipses.angle)
    rotation = np.array([[cos, -sin], [sin, cos]])
    return np.einsum("abm,mb,cbm->mac", rotation, ellipses.half_axes**2, rotation)


def squares(points, mean, covariance):
    """Squared Mahalanobis distances, the obvious way."""
    return np.array([(x - mean) @ np.linalg.inv(covariance) @ (x - mean) for x in points])


# coverage


@pytest.mark.parametrize("n", [0.0, 0.3, 1.0, 2.5, 9.0])
def test_coverage_is_the_chi_law_of_two_degrees_of_freedom(n):
    assert coverage(n) == pytest.approx(stats.chi.cdf(n, 2), abs=1e-15)


def test_coverage_has_the_published_values():
    np.testing.assert_allclose([coverage(n) for n in (1, 2, 2.5, 3)], [0.393, 0.865, 0.956, 0.989], atol=5e-4)


@given(st.floats(0, 8))
def test_n_sigma_for_inverts_coverage(n):
    assert n_sigma_for(coverage(n)) == pytest.approx(n, rel=1e-2, abs=1e-12)
    if n < 5:
        assert n_sigma_for(coverage(n)) == pytest.approx(n, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("share", [-0.1, 1.0, 95.0, np.nan])
def test_impossible_shares_are_refused(share):
    with pytest.raises(ValueError, match="share must be"):
        n_sigma_for(share)


def test_impossible_n_sigma_is_refused():
    with pytest.raises(ValueError, match="at least 0"):
        coverage(-1.0)
    for n_sigma in (0.0, -2.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="above 0"):
            pairwise_ellipses(np.zeros(2), np.eye(2), n_sigma=n_sigma)


@pytest.mark.parametrize("n", [0.0, 0.5, 1.0, 3.0, 6.0])
def test_share_inside_all_of_two_components_is_the_coverage(n):
    assert share_inside_all(n, 2) == pytest.approx(coverage(n), abs=1e-10)


def test_share_inside_all_agrees_with_simulation(rng):
    largest = np.sort(rng.standard_normal((100_000, 7)) ** 2, axis=1)[:, -2:].sum(axis=1)
    for n in (1.5, 2.0, 3.0):
        share = share_inside_all(n, 7)
        error = np.sqrt(share * (1 - share) / 100_000)
        assert (largest <= n * n).mean() == pytest.approx(share, abs=4 * error)


def test_share_inside_all_of_256_components_has_the_published_values():
    assert share_inside_all(3.0, 256) == pytest.approx(0.0003, abs=5e-5)
    assert share_inside_all(4.07, 256) == pytest.approx(0.5, abs=0.01)


def test_share_inside_all_refuses_one_component():
    for n_sigma, d in ((3.0, 1), (np.inf, 3), (-1.0, 3), (np.nan, 3)):
        with pytest.raises(ValueError, match="at least 2"):
            share_inside_all(n_sigma, d)


# ellipses

SIGMA = st.floats(0.03, 30)


@given(rho=st.floats(-1, 1) | st.sampled_from([-1.0, 0.0, 1.0]), sigma_i=SIGMA, sigma_j=SIGMA)
def test_the_two_constructions_agree_to_rounding(rho, sigma_i, sigma_j):
    mean, sigma = np.array([-2.0, 7.0]), np.array([sigma_i, sigma_j])
    covariance = np.outer(sigma, sigma) * np.array([[1.0, rho], [rho, 1.0]])
    source = ellipse_from_correlation(mean, sigma, rho, n_sigma=2.5)
    ours = pairwise_ellipses(mean, covariance, n_sigma=2.5)
    np.testing.assert_array_equal(source.centre, ours.centre)
    np.testing.assert_allclose(source.half_axes[0, 0], ours.half_axes[0, 0], rtol=1e-14)
    scale = np.outer(sigma, sigma) * 2.5**2
    np.testing.assert_allclose(shapes(source)[0] / scale, covariance * 2.5**2 / scale, atol=1e-12)
    np.testing.assert_allclose(shapes(ours)[0] / scale, covariance * 2.5**2 / scale, atol=1e-12)
    # A covariance knows 1 - rho² to its last digit only, and the short half-axis is the root of that; singular values
    # are right to rounding of the largest.
    areas = source.half_axes.prod(), ours.half_axes.prod()
    rounding = 1e-15 * ours.half_axes[0, 0] ** 2 + 1e-7 * (abs(rho) > 0.999) * scale[0, 1]
    np.testing.assert_allclose(*areas, rtol=1e-12, atol=4 * rounding)


def test_the_two_constructions_trace_the_same_ellipse():
    mean, sigma = np.array([1.0, -3.0]), np.array([2.0, 0.5])
    covariance = np.array([[4.0, 0.7], [0.7, 0.25]])
    source = ellipse_from_correlation(mean, sigma, 0.7, n_sigma=3).outline()
    ours = pairwise_ellipses(mean, covariance, n_sigma=3).outline()
    np.testing.assert_allclose(source, ours, atol=1e-13)
    np.testing.assert_allclose(squares(source, mean, covariance), 9.0, rtol=1e-12)


def test_an_outline_runs_round_its_own_ellipse_once():
    several = pairwise_ellipses(np.array([1.0, -3.0, 5.0]), np.diag([4.0, 1.0, 9.0]), n_sigma=2)
    line = several.outline(1, n_points=13)
    assert line.shape == (13, 2)
    t = np.arange(13) * np.pi / 6
    # Plane (0, 2): the long half-axis, 6, stands upright, so the trace begins at the top and turns left.
    np.testing.assert_allclose(line, np.stack([1 - 4 * np.sin(t), 5 + 6 * np.cos(t)], axis=1), atol=1e-12)
    assert len(several.outline()) == 181


def test_axis_ratios_of_an_ellipse_a_circle_a_segment_and_a_point():
    covariance = np.diag([4.0, 1.0, 1.0, 0.0, 0.0])
    pairs = [(0, 1), (1, 2), (0, 3), (3, 4)]
    ratios = pairwise_ellipses(np.zeros(5), covariance, n_sigma=2, pairs=pairs).axis_ratio
    np.testing.assert_allclose(ratios, [0.5, 1, 0, 1])


def test_single_precision_and_constant_components_make_the_same_ellipse():
    mean, sigma = np.array([1.1, 2.2], dtype=np.float32), np.array([0.3, 0.7], dtype=np.float32)
    found, wide = (
        ellipse_from_correlation(mean.astype(t), sigma.astype(t), 0.3, n_sigma=1.5)
        for t in (np.float32, np.float64)
    )
    assert found.centre.dtype == found.half_axes.dtype == np.float64
    np.testing.assert_allclose(found.half_axes, wide.half_axes, rtol=1e-15)
    assert (found.i.tolist(), found.j.tolist()) == ([0], [1])
    segment = ellipse_from_correlation(np.zeros(2), np.array([2.0, 0.0]), 0.3, n_sigma=1)
    np.testing.assert_allclose(segment.half_axes, [[2, 0]], atol=1e-15)
    covariance = np.diag(sigma) @ np.array([[1, 0.3], [0.3, 1]], dtype=np.float32) @ np.diag(sigma)
    narrow, wide = (
        pairwise_ellipses(mean.astype(t), covariance.astype(t), n_sigma=1) for t in (np.float32, np.float64)
    )
    assert narrow.centre.dtype == narrow.half_axes.dtype == np.float64
    np.testing.assert_array_equal(narrow.half_axes, wide.half_axes)


@pytest.mark.parametrize("angle", np.linspace(-89, 90, 9))
def test_angles_of_turned_ellipses_come_back(angle):
    turn = np.radians(angle)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    found = pairwise_ellipses(np.zeros(2), rotation @ np.diag([4.0, 1.0]) @ rotation.T, n_sigma=1)
    assert np.degrees(found.angle[0]) == pytest.approx(angle)


def test_the_source_s_half_axes_for_unit_variances():
    ellipse = ellipse_from_correlation(np.zeros(2), np.ones(2), -0.36, n_sigma=1)
    np.testing.assert_allclose(ellipse.half_axes[0], [np.sqrt(1.36), np.sqrt(0.64)], rtol=1e-15)
    assert ellipse.angle[0] == pytest.approx(-np.pi / 4)


@pytest.mark.parametrize("rank", [12, 3, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_plane_has_its_eigenvectors(rng, rank, dtype):
    mean, covariance = (a.astype(dtype) for a in moments(cloud(rng, 60, 12, rank=rank)))
    ellipses = pairwise_ellipses(mean, covariance, n_sigma=2)
    assert len(ellipses) == 66
    long, short = ellipses.half_axes.T
    assert (long >= short).all() and (np.abs(ellipses.angle) <= np.pi / 2).all()
    for k, (i, j) in enumerate(zip(ellipses.i, ellipses.j, strict=True)):
        plane = covariance[np.ix_([i, j], [i, j])].astype(np.float64)
        eigenvalues, vectors = np.linalg.eigh(plane)
        tolerance = 1e-6 if dtype == np.float32 and rank == 1 else 1e-12
        np.testing.assert_allclose(
            [short[k] ** 2, long[k] ** 2], 4 * eigenvalues, atol=tolerance * long[k] ** 2
        )
        direction = np.array([np.cos(ellipses.angle[k]), np.sin(ellipses.angle[k])])
        assert abs(direction @ vectors[:, 1]) == pytest.approx(1, abs=1e-12)
        np.testing.assert_array_equal(ellipses.centre[k], [mean[i], mean[j]])


def test_chosen_planes_are_those_asked_for(rng):
    mean, covariance = moments(cloud(rng, 60, 6))
    chosen = pairwise_ellipses(mean, covariance, n_sigma=1, pairs=[(4, 1), (0, 5)])
    np.testing.assert_array_equal([chosen.i, chosen.j], [[4, 0], [1, 5]])
    np.testing.assert_allclose(shapes(chosen)[0], covariance[np.ix_([4, 1], [4, 1])], rtol=1e-12)
    assert len(pairwise_ellipses(mean, covariance, n_sigma=1, pairs=[])) == 0
    assert len(pairwise_ellipses(np.zeros(256), np.eye(256), n_sigma=1)) == 32_640


@pytest.mark.parametrize("pairs", [[(0, 0)], [(0, 3)], [(-1, 1)], [(1, 2), (2, 2)]])
def test_impossible_pairs_are_refused(pairs):
    with pytest.raises(ValueError, match=r"components in 0 \.\.\. 2"):
        pairwise_ellipses(np.zeros(3), np.eye(3), n_sigma=1, pairs=pairs)


@pytest.mark.parametrize(
    ("mean", "covariance", "match"),
    [
        (np.zeros(3), np.eye(2), r"shapes \(d,\) and \(d, d\)"),
        (np.array([np.nan, 0.0]), np.eye(2), "finite"),
        (np.zeros(2), np.array([[1.0, np.inf], [np.inf, 1.0]]), "finite"),
        (np.zeros(2), np.array([[1.0, 2.0], [2.0, 1.0]]), r"coefficients in \[-1, 1\]"),
        (np.zeros(2), np.array([[1.0, 0.0], [0.0, -1.0]]), "variances >= 0"),
        (np.zeros(2), np.array([[1.0, 0.5], [0.1, 1.0]]), "symmetric"),
    ],
)
def test_impossible_moments_are_refused(mean, covariance, match):
    with pytest.raises(ValueError, match=match):
        pairwise_ellipses(mean, covariance, n_sigma=2)


def test_impossible_correlations_are_refused():
    with pytest.raises(ValueError, match=r"rho must be in \[-1, 1\]"):
        ellipse_from_correlation(np.zeros(2), np.ones(2), 1.1, n_sigma=1)
    with pytest.raises(ValueError, match="two finite numbers"):
        ellipse_from_correlation(np.zeros(3), np.ones(2), 0.1, n_sigma=1)
    with pytest.raises(ValueError, match="sigma >= 0"):
        ellipse_from_correlation(np.zeros(2), np.array([1.0, -1.0]), 0.1, n_sigma=1)


# counting inside


def test_no_ellipse_holds_every_point_and_counts_none():
    none = pairwise_ellipses(np.zeros(1), np.eye(1), n_sigma=1)
    z = np.ones((4, 1))
    assert len(empirical_coverage(z, none)) == len(none) == 0
    assert inside_all(z, none).tolist() == [True] * 4


@pytest.mark.parametrize("far", [[1e200, 0.0], [1e200, 1e200], [-1e200, 1e200], [0.0, 1e308]])
def test_points_beyond_single_precision_are_outside_without_a_warning(far):
    covariance = np.array([[1.0, 0.5], [0.5, 1.0]])
    disc = pairwise_ellipses(np.zeros(2), covariance, n_sigma=2.0)
    z = np.array([far, [0.0, 0.0]])
    assert inside_all(z, disc).tolist() == [False, True]
    assert empirical_coverage(z, disc).tolist() == [0.5]


def test_ellipses_far_from_each_other_do_not_widen_each_other():
    """A border is wide by the rounding of its own ellipse's numbers, not of those of all."""
    covariance, mean = np.diag([1e-12, 1e-12, 1.0, 1.0]), np.array([0.0, 0.0, 1e6, 1e6])
    ellipses = pairwise_ellipses(mean, covariance, n_sigma=1)
    z = np.array([[0, 1.5e-6, 1e6, 1e6], [0, 0.5e-6, 1e6, 1e6]])
    assert empirical_coverage(z, ellipses)[0] == 0.5


def test_points_are_numbered_across_parts(rng, monkeypatch):
    monkeypatch.setattr(ellipses, "_POINTS", 7)
    monkeypatch.setattr(partitions, "_LEAST_ROWS", 10)
    monkeypatch.setattr(partitions, "n_cores", lambda: 3)
    z = cloud(rng, 100, 4)
    found = pairwise_ellipses(*moments(z), n_sigma=1.5)
    inside = inside_all(z, found)
    for k in range(6):
        one = pairwise_ellipses(*moments(z), n_sigma=1.5, pairs=np.array([[found.i[k], found.j[k]]]))
        assert empirical_coverage(z, found)[k] == inside_all(z, one).mean()
        assert not (inside & ~inside_all(z, one)).any()
    z[77, 2] = np.nan
    for measure in (lambda: empirical_coverage(z, found), lambda: plane_density(z[:, 1:3])):
        with pytest.raises(ValueError, match="component [12] of point 77 is nan"):
            measure()


@pytest.mark.parametrize(("n", "d"), [(3000, 6), (5, 6), (40, 20)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_counts_inside_agree_with_mahalanobis_distances(rng, n, d, dtype):
    z = cloud(rng, n, d).astype(dtype)
    mean, covariance = moments(z)
    ellipses = pairwise_ellipses(mean, covariance, n_sigma=1.5)
    planes = [[i, j] for i, j in zip(ellipses.i, ellipses.j, strict=True)]
    inside = np.array([squares(z[:, p], mean[p], covariance[np.ix_(p, p)]) <= 1.5**2 for p in planes])
    np.testing.assert_allclose(empirical_coverage(z, ellipses), inside.mean(axis=1), atol=1e-12)
    np.testing.assert_array_equal(inside_all(z, ellipses), inside.all(axis=0))


def test_ellipses_of_one_component_may_have_different_centres(rng):
    z = cloud(rng, 500, 2)
    mean, covariance = moments(z)
    here, there = (pairwise_ellipses(mean + shift, covariance, n_sigma=2) for shift in (0, 1))
    both = Ellipses(
        *(
            np.concatenate([getattr(e, f) for e in (here, there)])
            for f in ("i", "j", "centre", "half_axes", "angle")
        ),
        n_sigma=2.0,
    )
    expected = [(squares(z, mean + shift, covariance) <= 4).mean() for shift in (0, 1)]
    np.testing.assert_allclose(empirical_coverage(z, both), expected, atol=1e-12)


def test_normal_clouds_have_the_coverage_of_theory(rng):
    z = cloud(rng, 50_000, 5).astype(np.float32)
    shares = empirical_coverage(z, pairwise_ellipses(*moments(z), n_sigma=2.0))
    error = np.sqrt(coverage(2) * (1 - coverage(2)) / 50_000)
    np.testing.assert_allclose(shares, coverage(2), atol=4 * error)


def test_independent_components_have_the_share_inside_all_of_theory(rng):
    z = rng.standard_normal((20_000, 30)) * np.linspace(0.1, 9, 30) + 4
    ellipses = pairwise_ellipses(np.full(30, 4.0), np.diag(np.linspace(0.1, 9, 30) ** 2), n_sigma=3)
    share = share_inside_all(3, 30)
    assert inside_all(z, ellipses).mean() == pytest.approx(
        share, abs=4 * np.sqrt(share * (1 - share) / 20_000)
    )


def test_points_may_be_a_memory_map(rng, tmp_path):
    z = cloud(rng, 2500, 4).astype(np.float32)
    np.save(tmp_path / "z.npy", z)
    mapped, ellipses = np.load(tmp_path / "z.npy", mmap_mode="r"), pairwise_ellipses(*moments(z), n_sigma=2)
    np.testing.assert_array_equal(empirical_coverage(mapped, ellipses), empirical_coverage(z, ellipses))
    np.testing.assert_array_equal(inside_all(mapped, ellipses), inside_all(z, ellipses))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_segment_holds_the_points_on_it(rng, dtype):
    """Component 1 is constant, 2 a multiple of 0, 3 constant at 0."""
    first = (1000 + rng.standard_normal(4000)).astype(dtype)
    z = np.stack([first, np.full_like(first, 0.1), -3 * first, np.zeros_like(first)], axis=1)
    ellipses = pairwise_ellipses(*moments(z), n_sigma=2)
    bounded = (np.abs(first - first.mean(dtype=np.float64)) <= 2 * first.std(ddof=1, dtype=np.float64)).mean()
    expected = [1.0 if (i, j) == (1, 3) else bounded for i, j in zip(ellipses.i, ellipses.j, strict=True)]
    np.testing.assert_allclose(empirical_coverage(z, ellipses), expected, atol=2e-3)
    z[:, 3] = 1
    off = empirical_coverage(z, ellipses)
    assert (off[(ellipses.j == 3)] == 0).all() and (off[ellipses.j != 3] > 0.9).all()


def test_the_density_does_not_depend_on_the_blocks(rng, monkeypatch):
    points = cloud(rng, 1000, 2)
    whole = plane_density(points, grid=40)
    monkeypatch.setattr(ellipses, "_PLANE_POINTS", 77)
    np.testing.assert_allclose(plane_density(points, grid=40).density, whole.density, rtol=1e-12)


def test_counting_refuses_what_it_cannot_count(rng):
    z, ellipses = cloud(rng, 20, 3), pairwise_ellipses(np.zeros(3), np.eye(3), n_sigma=1)
    z[7, 1] = np.nan
    for count in (empirical_coverage, inside_all):
        with pytest.raises(ValueError, match="must be finite, but component 1 of point 7"):
            count(z, ellipses)
        with pytest.raises(ValueError, match=r"shape \(n, d\)"):
            count(z[0], ellipses)
        with pytest.raises(ValueError, match="n and d of at least 1"):
            count(z[:0], ellipses)
        with pytest.raises(ValueError, match="at least 3, not 2"):
            count(z[:, :2], ellipses)


# densities


def exact(density, points, step=9):
    """Compare with scipy's sum over all kernels on every step-th grid point, relative to the peak."""
    x, y, p = density.x[::step, ::step], density.y[::step, ::step], density.density[::step, ::step]
    kde = stats.gaussian_kde(points.T, bw_method=density.bandwidth)
    return np.abs(p - kde(np.array([x.ravel(), y.ravel()])).reshape(x.shape)).max() / density.density.max()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [30, 2000])
def test_density_agrees_with_the_exact_sum_at_scott_s_bandwidth(rng, n, dtype):
    points = (cloud(rng, n, 2) @ [[1, 0.9], [0, 0.1]]).astype(dtype)
    density = plane_density(points)
    assert density.bandwidth == pytest.approx(stats.gaussian_kde(points.T).factor)
    assert exact(density, points) < 1e-3


@pytest.mark.parametrize("bandwidth", [0.05, 0.3, 1.0])
def test_density_agrees_with_the_exact_sum_at_any_bandwidth(rng, bandwidth):
    points = cloud(rng, 500, 2)
    assert exact(plane_density(points, bandwidth=bandwidth, grid=80), points, step=3) < 0.01


def test_density_of_a_cloud_with_far_points_agrees_with_the_exact_sum(rng):
    points = rng.standard_t(2.5, (3000, 2))
    assert exact(plane_density(points, grid=100), points, step=3) < 5e-3


def test_density_agrees_with_kdepy(rng):
    points = cloud(rng, 5000, 2)
    density = plane_density(points)
    whitened = (points - density.centre) @ np.linalg.inv(density.frame).T
    grid = np.stack(np.meshgrid(density.u, density.v, indexing="ij"), axis=-1).reshape(-1, 2)
    other = FFTKDE(bw=density.bandwidth).fit(whitened).evaluate(grid).reshape(200, 200)
    ours = density.density * abs(np.linalg.det(density.frame))
    np.testing.assert_allclose(ours, other, atol=0.005 * other.max())


def test_density_follows_its_points_through_an_affine_map(rng):
    points = rng.gamma(3.0, size=(4000, 2))
    turn = np.array([[3.0, 1.0], [-200.0, 50.0]])
    before, after = plane_density(points), plane_density(points @ turn.T + [7, -100])
    moved = after.at(points @ turn.T + [7, -100]) * abs(np.linalg.det(turn))
    np.testing.assert_allclose(moved, before.at(points), atol=0.005 * before.density.max())


def test_density_integrates_to_one_and_covers_its_points(rng):
    points = cloud(rng, 3000, 2)
    density = plane_density(points)
    np.testing.assert_allclose(density.frame @ density.frame.T, np.cov(points.T), rtol=1e-12)
    cell = (density.u[1] - density.u[0]) * (density.v[1] - density.v[0]) * abs(np.linalg.det(density.frame))
    assert density.density.sum() * cell == pytest.approx(1, abs=1e-4)
    corners = np.array([[density.x[0, 0], density.y[0, 0]], [density.x[-1, -1], density.y[-1, -1]]])
    np.testing.assert_allclose(density.at(corners), density.density[[0, -1], [0, -1]])
    assert (density.at(corners + 1e3) == 0).all()


def test_density_refuses_what_it_cannot_estimate(rng):
    points = cloud(rng, 100, 2)
    line = np.stack([points[:, 0], 2 * points[:, 0]], axis=1)
    for flat in (line, np.stack([points[:, 0], np.ones(100)], axis=1), line.astype(np.float32)):
        with pytest.raises(ValueError, match="not lie on one line"):
            plane_density(flat)
    with pytest.raises(ValueError, match="n of at least 3"):
        plane_density(points[:2])
    with pytest.raises(ValueError, match=r"shape \(n, 2\)"):
        plane_density(cloud(rng, 10, 3))
    with pytest.raises(ValueError, match="finite"):
        plane_density(np.append(points, [[np.inf, 0.0]], axis=0))
    with pytest.raises(ValueError, match="grid must be"):
        plane_density(points, grid=1)
    for bandwidth in (0.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="bandwidth must be"):
            plane_density(points, bandwidth=bandwidth)
    with pytest.raises(ValueError, match="take the outermost points off"):
        plane_density(points, bandwidth=1e-3)


def test_the_smallest_clouds_and_grids_have_a_density():
    triangle = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    density = plane_density(triangle, grid=60)
    assert exact(density, triangle, step=4) < 0.01
    two = plane_density(triangle, grid=2)
    assert two.density.shape == (2, 2)
    corners = np.stack([two.x.ravel(), two.y.ravel()], axis=1)
    kde = stats.gaussian_kde(triangle.T, bw_method=two.bandwidth)
    np.testing.assert_allclose(two.density.ravel(), kde(corners.T), atol=1e-3 * kde(triangle.T).max())


def test_a_grid_reaches_four_bandwidths_beyond_the_outermost_points(rng):
    points = cloud(rng, 300, 2)
    density = plane_density(points, bandwidth=0.3)
    u, v = np.linalg.solve(density.frame, (points - density.centre).T)
    ends = [density.u[0], density.u[-1], density.v[0], density.v[-1]]
    np.testing.assert_allclose(ends, [u.min() - 1.2, u.max() + 1.2, v.min() - 1.2, v.max() + 1.2], rtol=1e-9)


def test_between_grid_points_a_density_is_bilinear(rng):
    points = cloud(rng, 200, 2)
    density = plane_density(points, grid=20)
    middle = (density.x[3:5, 7:9].mean(), density.y[3:5, 7:9].mean())
    assert density.at(np.array([middle]))[0] == pytest.approx(density.density[3:5, 7:9].mean())


# contours


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_regions_of_highest_density_hold_their_share_of_the_points(rng, dtype):
    points = rng.gamma(2.0, size=(4000, 2)).astype(dtype) @ np.array([[1, 0.5], [0, 1]], dtype=dtype)
    shares = np.array([0.1, 0.5, 0.9])
    density = plane_density(points)
    levels = highest_density_levels(density, points, shares)
    for share, level in zip(shares, levels, strict=True):
        assert np.count_nonzero(density.at(points) >= level) == round(share * 4000)
        inside = sum(Path(line).contains_points(points).astype(int) for line in contour_lines(density, level))
        # The traced line cuts cells straight where interpolation bends.
        assert (inside % 2).mean() == pytest.approx(share, abs=0.005)


def test_levels_of_a_normal_cloud_have_a_closed_form(rng):
    points = cloud(rng, 200_000, 2)
    density = plane_density(points)
    widened = 1 + density.bandwidth**2
    peak = 1 / (2 * np.pi * widened * np.sqrt(np.linalg.det(np.cov(points.T))))
    shares = np.array([0.3, 0.6, 0.9])
    expected = peak * (1 - shares) ** (1 / widened)
    # The kernel estimate itself scatters by about 1 % at its peak.
    np.testing.assert_allclose(highest_density_levels(density, points, shares), expected, rtol=0.02)


def test_contours_of_a_normal_cloud_lie_on_its_ellipse(rng):
    points = cloud(rng, 200_000, 2)
    mean, covariance = moments(points)
    density = plane_density(points)
    (level,) = highest_density_levels(density, points, [coverage(1.5)])
    line = contour_lines(density, level)[0]
    np.testing.assert_array_equal(line[0], line[-1])
    np.testing.assert_allclose(np.sqrt(squares(line, mean, covariance)), 1.5, rtol=0.05)


def test_islands_and_holes_have_lines_of_their_own(rng):
    two = rng.standard_normal((4000, 2)) + 12 * rng.integers(0, 2, (4000, 1)) * [[1, 0]]
    angle, radius = rng.uniform(0, 2 * np.pi, 6000), rng.normal(10, 1, 6000)
    ring = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    for points in (two, ring):
        density = plane_density(points, bandwidth=0.15)
        (level,) = highest_density_levels(density, points, [0.95])
        large, small, *_ = (np.ptp(line, axis=0).prod() for line in contour_lines(density, level))
        assert large >= small > 0.2 * large


def test_the_least_share_is_that_of_the_densest_point(rng):
    points = cloud(rng, 100, 2)
    density = plane_density(points)
    (level,) = highest_density_levels(density, points, [1e-12])
    assert level == density.at(points).max()


def test_levels_and_contours_refuse_the_impossible(rng):
    points = cloud(rng, 100, 2)
    density = plane_density(points)
    for share in (0.0, 1.0, 90.0):
        with pytest.raises(ValueError, match="above 0 and below 1"):
            highest_density_levels(density, points, [share])
    with pytest.raises(ValueError, match="n at least 1"):
        highest_density_levels(density, points[:0], [0.5])
    with pytest.raises(ValueError, match="points must be finite"):
        highest_density_levels(density, np.full((3, 2), np.nan), [0.5])
    for level in (0.0, np.nan, density.density.max()):
        with pytest.raises(ValueError, match="below the highest density"):
            contour_lines(density, level)


def test_lines_come_in_the_order_of_their_areas():
    """The level x² + y² = r² of two cones far apart, the larger one not the first in the grid."""
    u = np.linspace(-10, 10, 401)
    small, large = np.hypot(u[:, None] + 5, u), np.hypot(u[:, None] - 4, u)
    height = np.maximum(np.maximum(2 - small, 0), np.maximum(4 - large, 0))
    density = ellipses.PlaneDensity(u, u, height, np.zeros(2), np.eye(2), 0.1, 1)
    lines = contour_lines(density, 1.0)
    areas = [ellipses._area(line) for line in lines]
    np.testing.assert_allclose(areas, [np.pi * 9, np.pi], rtol=0.01)
    assert lines[0][:, 0].mean() > 0 > lines[1][:, 0].mean()
    assert ellipses._area(lines[0] + 1e6) == pytest.approx(areas[0], rel=1e-6)


# departures


@pytest.fixture(scope="module")
def law():
    return departure_law(1000, 0.8, draws=99, grid=100, random_state=5)


def test_the_law_is_that_of_its_seed(law):
    again = departure_law(1000, 0.8, draws=99, grid=100, random_state=np.random.default_rng(5))
    np.testing.assert_array_equal(law.values, again.values)
    assert (np.diff(law.values) >= 0).all()
    assert law.mean == pytest.approx(np.mean(law.values)) and law.std == pytest.approx(
        np.std(law.values, ddof=1)
    )
    assert law.spread == pytest.approx(np.hypot(law.mean, np.std(law.values)))


def test_normal_clouds_depart_as_the_law_says(rng, law):
    p_values = [contour_departure(cloud(rng, 1000, 2), law).p_value for _ in range(60)]
    # Uniform p-values have a mean of 1/2 with a standard error of 0.037 for 60 of them.
    assert np.mean(p_values) == pytest.approx(0.5, abs=4 * 0.037)
    assert min(p_values) >= 0.01 and np.mean(np.array(p_values) <= 0.2) < 0.4


def test_departures_shrink_with_the_number_of_points(law):
    assert departure_law(8000, 0.8, draws=19, grid=100, random_state=5).mean < 0.7 * law.mean


def test_departure_agrees_with_the_traced_contour(rng, law):
    points = rng.gamma(4.0, size=(1000, 2)) @ [[2, 1], [0, 1]]
    departure = contour_departure(points, law)
    density = plane_density(points, grid=100)
    (level,) = highest_density_levels(density, points, [0.8])
    u, v = np.linalg.solve(density.frame, (contour_lines(density, level)[0] - density.centre).T)
    order = np.argsort(np.arctan2(v, u) % (2 * np.pi))
    angle, radius = (np.arctan2(v, u) % (2 * np.pi))[order], np.hypot(u, v)[order]
    traced = np.interp(departure.angle, angle, radius, period=2 * np.pi) / n_sigma_for(0.8)
    np.testing.assert_allclose(departure.ratio, traced, rtol=0.02)
    assert departure.value == pytest.approx(np.sqrt(np.mean((traced - 1) ** 2)), rel=0.05)
    assert departure.value**2 == pytest.approx(departure.size**2 + departure.shape**2)
    assert departure.p_value == 0.01 and departure.law is law
    np.testing.assert_allclose(np.degrees(departure.angle), np.arange(0, 360, 3))


def test_a_law_s_own_values_count_as_just_as_far(rng, law):
    points = cloud(rng, 1000, 2)
    value = contour_departure(points, law).value
    same = ellipses.DepartureLaw(1000, 0.8, 100, np.array([0.0, value, 9.0]), 1.0)
    assert contour_departure(points, same).p_value == 3 / 4


def test_a_law_takes_as_few_as_twenty_points_and_99_draws(rng):
    small = departure_law(20, 0.8, grid=30, random_state=1)
    assert (small.n, len(small.values), small.grid) == (20, 99, 30)
    with pytest.raises(ValueError, match="at least 20 and draws at least 19, not 20 and 18"):
        departure_law(20, 0.8, draws=18, random_state=1)


def test_departure_does_not_depend_on_the_plane_s_axes(rng, law):
    points = rng.gamma(4.0, size=(1000, 2))
    moved = points @ [[30.0, 1.0], [-2.0, 0.1]] + 7
    assert contour_departure(moved, law).value == pytest.approx(
        contour_departure(points, law).value, rel=0.02
    )


def test_a_uniform_disc_departs_in_size_alone(rng, law):
    """A disc of radius r has variance r²/4 along each axis, and a share s of it has radius r sqrt(s)."""
    angle, radius = rng.uniform(0, 2 * np.pi, 1000), np.sqrt(rng.uniform(size=1000))
    departure = contour_departure(np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius[:, None], law)
    # The kernel rounds the disc's edge: the flat middle leaves the level's place to chance, so only roughly.
    assert departure.size == pytest.approx(2 * np.sqrt(0.8) / n_sigma_for(0.8) - 1, abs=0.06)


def test_a_ring_has_the_radius_of_its_area(rng):
    angle, radius = rng.uniform(0, 2 * np.pi, 1000), rng.normal(10, 0.5, 1000)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius[:, None]
    law = departure_law(1000, 0.8, draws=19, random_state=5)
    density = plane_density(ring)
    (level,) = highest_density_levels(density, ring, [0.8])
    cell = (density.u[1] - density.u[0]) * (density.v[1] - density.v[0])
    area = np.count_nonzero(density.density >= level) * cell
    mean_square = (contour_departure(ring, law).ratio ** 2).mean() * n_sigma_for(0.8) ** 2
    assert np.pi * mean_square == pytest.approx(area, rel=0.01)


def test_departure_refuses_another_number_of_points(rng, law):
    with pytest.raises(ValueError, match="make a law for this number of points"):
        contour_departure(cloud(rng, 999, 2), law)
    with pytest.raises(ValueError, match="at least 20"):
        departure_law(10, 0.5, random_state=1)
    with pytest.raises(ValueError, match="above 0 and below 1"):
        departure_law(50, 1.5, random_state=1)
