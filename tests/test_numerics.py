"""What must hold for every cloud: how statistics, samplers and scores follow maps, orders, scales and precisions.

All bounds follow from the arithmetic. A coordinate is rounded by `EPS` of its size; a sum of m products is off by m
roundings of the sum of their sizes; eigenvalues move by no more than the matrix (Weyl), and eigenvectors by twice that
over the gap beside their eigenvalue (Davis and Kahan).
"""

import math
from functools import reduce
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from aelib.cuts import cut_outliers
from aelib.densities import (
    fit_gaussians,
    mahalanobis_distance,
    nearest_distance,
    normal_radius,
    number_densities,
    radii,
    uniform_radius,
    value_range,
)
from aelib.dimension import levina_bickel, two_nn
from aelib.ellipses import empirical_coverage, inside_all, pairwise_ellipses, plane_density
from aelib.fidelity import (
    density_coverage,
    frechet_distance,
    frechet_of_moments,
    kernel_distance,
    precision_recall,
)
from aelib.marginals import fit_marginals
from aelib.moments import Moments, measure_moments
from aelib.neighbours import nearest_neighbours
from aelib.normality import henze_zirkler
from aelib.nulls import whiten
from aelib.pca import principal_axes, resolved_axes
from aelib.samplers import (
    CellMixture,
    ComponentRanges,
    EllipseLimited,
    GaussianCopula,
    GaussianMixture,
    MultivariateNormal,
    NeighbourInterpolation,
    PCAMarginals,
    SphereShell,
    TruncatedNormal,
    UniformBox,
)
from aelib.structure import largest_voids

EPS, EPS32 = float(np.finfo(np.float64).eps), float(np.finfo(np.float32).eps)
SEEDS = st.integers(0, 2**32 - 1)
FAR = (0.0, 30.0, 1e4, 1e6)  # of a cloud's centre, in its standard deviations
NEARER = (0.0, 30.0, 300.0)  # number densities have 10 000 intervals at the most
TWOS = st.integers(-20, 20).map(lambda k: 2.0**k)  # 1e-6 to 1e6; products with them are exact
TENS = st.integers(-6, 6).map(lambda k: 10.0**k)
KINDS = ("normal", "lattice", "copies", "constant", "flat")

settings.register_profile(
    "numerics",
    settings.get_profile("aelib"),
    max_examples=60,
    suppress_health_check=[HealthCheck.filter_too_much],
)
examples = settings(settings.get_profile("numerics"))
few = settings(examples, max_examples=25)


@pytest.fixture(autouse=True)
def all_floating_point_errors_raise():
    """Let no overflow, no division by 0 and no invalid value pass; results may underflow to 0."""
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        yield


def rotation(rng, d):
    return np.linalg.qr(rng.standard_normal((d, d)))[0]


def affine(rng, d):
    """Draw a map with a condition number of 100 at the most."""
    return (rotation(rng, d) * 10.0 ** rng.uniform(-1, 1, d)) @ rotation(rng, d)


def drawn(rng, kind, n, d):
    if kind == "lattice":
        return rng.integers(-16, 17, (n, d)) / 16.0
    z = rng.standard_normal((n, d)) @ affine(rng, d)
    if kind == "copies":
        return z[rng.integers(n // 2 + 1, size=n)]
    if kind == "constant":
        z[:, rng.integers(d)] = rng.standard_normal()
    if kind == "flat":
        return (
            z[:, :1] * rng.standard_normal(d) if d < 3 else (z[:, : d - 1] @ rng.standard_normal((d - 1, d)))
        )
    return z


@st.composite
def clouds(draw, *, least=2, most=40, d=(1, 5), kinds=KINDS, far=FAR):
    """Draw points, and the generator of what else a test needs."""
    rng = np.random.default_rng(draw(SEEDS))
    n, d = draw(st.integers(least, most)), draw(st.integers(*d))
    z = drawn(rng, draw(st.sampled_from(kinds)), n, d) + draw(st.sampled_from(far)) * rng.standard_normal(d)
    return z, rng


@st.composite
def spread_clouds(draw, *, d=(1, 5), far=FAR):
    """Draw points whose principal axes are known and far apart: each deviation is 2/3 of the one before."""
    rng = np.random.default_rng(draw(SEEDS))
    d = draw(st.integers(*d))
    n = draw(st.integers(2 * d + 6, 60))
    unit = rng.standard_normal((n, d))
    unit = np.linalg.qr(unit - unit.mean(axis=0))[0] * math.sqrt(n - 1)
    z = (unit * 1.5 ** -np.arange(d)) @ rotation(rng, d) + draw(st.sampled_from(far)) * rng.standard_normal(d)
    return z, rng


def reach(*arrays):
    return max(float(np.abs(array).max()) for array in arrays)


def scatter_error(size, z, *, eps=EPS):
    """Bound the error of a scatter matrix in the norm: of its sums, and of the points' own rounding."""
    n, d = z.shape
    moved = (d + 2) * eps * size * math.sqrt(n * d)
    trace = float(np.square(z - z.mean(axis=0)).sum())
    return 2.0 * math.sqrt(trace) * moved + moved**2 + 4.0 * (n + d) * EPS * trace


def mean_error(size, z, *, eps=EPS):
    return (z.shape[1] + 4) * eps * size + len(z) * EPS * float(np.abs(z - z.mean(axis=0)).max())


def close(found, expected, bound):
    np.testing.assert_allclose(found, expected, rtol=0, atol=float(np.max(bound)))


def close_moments(found, expected, size, z, *, eps=EPS):
    close(found.mean, expected.mean, mean_error(size, z, eps=eps))
    close(found.scatter, expected.scatter, scatter_error(size, z, eps=eps))


# Moments


@examples
@given(clouds(), st.data())
def test_moments_do_not_depend_on_parts_blocks_or_order(cloud, data):
    z, rng = cloud
    cuts = data.draw(st.sets(st.integers(1, len(z) - 1), max_size=5)) if len(z) > 1 else ()
    parts = [measure_moments(part) for part in np.split(rng.permutation(z), sorted(cuts))]
    order = data.draw(st.permutations(range(len(parts))))
    whole = measure_moments(z)
    close_moments(reduce(Moments.merge, (parts[k] for k in order)), whole, reach(z), z)
    close_moments(measure_moments(z, block=data.draw(st.integers(1, 8))), whole, reach(z), z)
    if len(parts) > 2:  # pairs first, then pairs of pairs
        close_moments(parts[0] + (reduce(Moments.merge, parts[1:])), whole, reach(z), z)


@examples
@given(clouds())
def test_moments_follow_affine_maps(cloud):
    z, rng = cloud
    a, b = affine(rng, z.shape[1]), rng.standard_normal(z.shape[1]) * rng.choice(FAR)
    moved, moments = z @ a.T + b, measure_moments(z)
    size = float((np.abs(z) @ np.abs(a).T + np.abs(b)).max())
    carried = Moments(len(z), a @ moments.mean + b, a @ moments.scatter @ a.T)
    stretch = np.linalg.norm(a, 2)
    bound = scatter_error(size, moved) + stretch**2 * scatter_error(reach(z), z)
    close(measure_moments(moved).scatter, carried.scatter, bound)
    close(
        measure_moments(moved).mean, carried.mean, mean_error(size, moved) + stretch * mean_error(reach(z), z)
    )


@examples
@given(clouds(), TWOS)
def test_moments_scale_exactly_by_powers_of_two(cloud, scale):
    z, _ = cloud
    one, other = measure_moments(z), measure_moments(scale * z)
    np.testing.assert_array_equal(other.mean, scale * one.mean)
    np.testing.assert_array_equal(other.scatter, scale**2 * one.scatter)
    np.testing.assert_array_equal(other.correlation, one.correlation)
    np.testing.assert_array_equal(other.constant, one.constant)


@examples
@given(clouds(), TENS)
def test_correlation_has_no_scale_and_no_order_of_components(cloud, scale):
    z, rng = cloud
    order = rng.permutation(z.shape[1])
    moments = measure_moments(z)
    varying = np.diagonal(moments.scatter)[~moments.constant]
    error = scatter_error(reach(z), z) / varying.min() if len(varying) else 0.0
    assume(error < 1e-3)  # beyond, rounding alone makes the correlation
    found = measure_moments(scale * z[:, order])
    close(found.correlation, moments.correlation[order][:, order], 4 * error)
    assert np.abs(found.correlation).max() <= 1.0
    np.testing.assert_array_equal(found.constant, moments.constant[order])


@examples
@given(clouds())
def test_moments_of_single_precision_are_those_of_its_values_in_double(cloud):
    z, _ = cloud
    single = z.astype(np.float32)
    one, other = measure_moments(single), measure_moments(single.astype(np.float64))
    np.testing.assert_array_equal(one.scatter, other.scatter)
    np.testing.assert_array_equal(one.mean, other.mean)
    close_moments(one, measure_moments(z), reach(z), z, eps=EPS32)


# Principal axes: rotations, reflections, shifts and one scale


@examples
@given(spread_clouds(), TENS)
def test_principal_axes_follow_rotations_shifts_and_one_scale(cloud, scale):
    z, rng = cloud
    turn = rotation(rng, z.shape[1])
    moved = scale * (z @ turn.T) + scale * rng.choice(FAR) * rng.standard_normal(z.shape[1])
    one, other = principal_axes(z), principal_axes(moved)
    size = reach(z, moved / scale)
    error = 2 * scatter_error(math.sqrt(z.shape[1]) * size, z) / (len(z) - 1)
    close(other.variances / scale**2, one.variances, error)
    assert abs(other.total_variance / scale**2 - one.total_variance) <= z.shape[1] * error
    cosines = np.abs(np.sum((one.axes @ turn.T) * other.axes, axis=1))
    gap = gaps(one.variances)
    close(np.sqrt(np.maximum(1.0 - cosines**2, 0)), 0.0, (2 * error / gap + 8 * np.sqrt(EPS)).max())
    signs = np.sign(np.sum((one.axes @ turn.T) * other.axes, axis=1))
    bound = coordinate_error(z, one, error) + 8 * EPS * size * z.shape[1]
    close(other.transform(moved) / scale, one.transform(z) * signs, bound)


def gaps(variances):
    if len(variances) == 1:
        return np.array(variances)
    steps = -np.diff(variances)
    return np.minimum(np.append(steps, steps[-1]), np.append(steps[0], steps))


def coordinate_error(z, axes, error):
    """Bound the change of principal coordinates, of points as far out as these, by an error of the covariance."""
    far = float(np.linalg.norm(z - axes.mean, axis=1).max())
    return far * 2 * float((error / gaps(axes.variances)).max()) + 2 * mean_error(reach(z), z) * math.sqrt(
        z.shape[1]
    )


@examples
@given(spread_clouds(), st.sampled_from([2.0**-20, 1.0, 2.0**20]))
def test_principal_axes_follow_permutations_and_powers_of_two(cloud, scale):
    z, rng = cloud
    order = rng.permutation(z.shape[1])
    one, other = principal_axes(z), principal_axes(scale * rng.permutation(z)[:, order])
    error = 2 * scatter_error(reach(z), z) / (len(z) - 1)
    close(other.variances / scale**2, one.variances, error)
    close(other.axes, one.axes[:, order], 2 * float((error / gaps(one.variances)).max()) + 8 * EPS)
    exact = principal_axes(scale * z)
    np.testing.assert_array_equal(exact.axes, one.axes)
    np.testing.assert_array_equal(exact.variances, scale**2 * one.variances)


@examples
@given(clouds(least=12, d=(3, 5), kinds=("flat",)), TENS, st.booleans())
def test_a_flat_cloud_stays_flat_wherever_it_lies(cloud, scale, single):
    z, rng = cloud
    moved = scale * (z @ rotation(rng, z.shape[1]).T)
    moved = moved.astype(np.float32) if single else moved
    rank = len(resolved_axes(measure_moments(moved), precision=moved.dtype).axes)
    assert rank <= z.shape[1] - 1
    if reach(z) < 1e3:
        assert rank == z.shape[1] - 1


def test_the_sign_of_an_axis_is_not_left_to_rounding():
    turned = np.array([[1.0, 1.0, 0.0], [1.0, -1.0, 0.0], [0.0, 0.0, 1.0]]) / np.sqrt([[2.0], [2.0], [1.0]])
    for noise in np.random.default_rng(3).uniform(-1, 1, (50, 3, 3)):
        moved = turned * (1.0 + 4 * EPS * noise)
        covariance = (moved.T * [9.0, 4.0, 1.0]) @ moved
        axes = principal_axes(Moments(2, np.zeros(3), covariance)).axes
        close(axes, turned, 1e-12)


# Ellipses: affine maps of their plane


@examples
@given(clouds(least=8, d=(2, 2)))
def test_ellipses_follow_affine_maps_of_their_plane(cloud):
    z, rng = cloud
    a, b = affine(rng, 2), rng.standard_normal(2) * rng.choice(FAR)
    moments = measure_moments(z)
    covariance = a @ moments.covariance @ a.T
    one = pairwise_ellipses(moments.mean, moments.covariance, n_sigma=2.0)
    other = pairwise_ellipses(a @ moments.mean + b, 0.5 * (covariance + covariance.T), n_sigma=2.0)
    frame, moved = one._frames()[0], other._frames()[0]
    # The matrix of the ellipse; a half-axis of a segment is the root of a rounding.
    size = np.linalg.norm(a, 2) ** 2 * float(np.square(one.half_axes).sum())
    close(moved @ moved.T, a @ frame @ frame.T @ a.T, 64 * EPS * size)
    close(
        other.centre[0], a @ one.centre[0] + b, 8 * EPS * (np.abs(a) @ np.abs(moments.mean) + np.abs(b)).max()
    )
    long, short = one.half_axes[0]
    assume(short > 1e-3 * long)
    inverse = np.linalg.inv(moved)
    outline = (one.outline() @ a.T + b - other.centre[0]) @ inverse.T
    size = (np.abs(a) @ np.abs(one.centre[0]) + np.abs(b)).max() + np.linalg.norm(a, 2) * long
    close(
        np.linalg.norm(outline, axis=1),
        1.0,
        64 * EPS * np.linalg.norm(inverse, 2) * size * (1 + np.linalg.cond(moved)),
    )


@examples
@given(clouds(least=8, d=(2, 4)), TWOS)
def test_ellipses_follow_orders_of_components_and_powers_of_two(cloud, scale):
    z, rng = cloud
    moments = measure_moments(z)
    one = pairwise_ellipses(moments.mean, moments.covariance, n_sigma=2.5)
    other = pairwise_ellipses(scale * moments.mean, scale**2 * moments.covariance, n_sigma=2.5)
    np.testing.assert_array_equal(other.half_axes, scale * one.half_axes)
    np.testing.assert_array_equal(other.angle, one.angle)
    np.testing.assert_array_equal(inside_all(scale * z, other), inside_all(z, one))
    np.testing.assert_array_equal(empirical_coverage(scale * z, other), empirical_coverage(z, one))
    mirrored = pairwise_ellipses(
        moments.mean, moments.covariance, n_sigma=2.5, pairs=np.column_stack([one.j, one.i])
    )
    close(mirrored.half_axes, one.half_axes, 8 * EPS * one.half_axes.max())
    np.testing.assert_array_equal(inside_all(z, mirrored), inside_all(z, one))
    order = rng.permutation(len(z))
    np.testing.assert_array_equal(inside_all(z[order], one), inside_all(z, one)[order])


@examples
@given(
    clouds(least=8, d=(2, 4), kinds=("normal", "lattice"), far=(0.0,)), st.sampled_from([2.0**10, 2.0**20])
)
def test_points_inside_ellipses_stay_inside_far_from_the_origin(cloud, far):
    z = np.round(cloud[0] * 2.0**20) / 2.0**20  # so that sums with `far` are exact
    moments = measure_moments(z)
    assume((np.diagonal(moments.scatter) > 0).all() and np.linalg.cond(moments.correlation) < 1e4)
    shifted = measure_moments(z + far)
    close(shifted.mean - far, moments.mean, 2 * EPS * far)
    wide, narrow = (
        inside_all(z, pairwise_ellipses(moments.mean, moments.covariance, n_sigma=n))
        for n in (2.0 + 1e-3, 2.0 - 1e-3)
    )
    found = inside_all(z + far, pairwise_ellipses(shifted.mean, shifted.covariance, n_sigma=2.0))
    assert (found <= wide).all() and (narrow <= found).all()


@few
@given(spread_clouds(d=(2, 2), far=(0.0, 30.0, 1e4)), TENS)
def test_plane_densities_follow_rotations_shifts_and_one_scale(cloud, scale):
    z, rng = cloud
    turn = rotation(rng, 2)
    moved = scale * (z @ turn.T + rng.standard_normal(2) * 30.0)
    one, other = plane_density(z, grid=40), plane_density(moved, grid=40)
    # The density's slope is below peak / bandwidth; in whitened coordinates, points move by this much.
    error = 1e3 * EPS * (1 + reach(z, moved / scale)) * len(z)
    close(scale**2 * other.at(moved), one.at(z), error * one.density.max() / one.bandwidth)
    close(scale**2 * other.density.max(), one.density.max(), error * one.density.max() / one.bandwidth)


# Number densities, radii and distances


@examples
@given(clouds(far=(0.0, 30.0)), TWOS)
def test_number_densities_follow_orders_and_powers_of_two(cloud, scale):
    z, rng = cloud
    order = rng.permutation(z.shape[1])
    one, other = (
        number_densities(z),
        number_densities(scale * rng.permutation(z)[:, order], width=0.25 * scale),
    )
    np.testing.assert_array_equal(other.counts, one.counts[:, order])
    np.testing.assert_array_equal(other.edges, scale * one.edges)
    np.testing.assert_array_equal(other.density, one.density[:, order] / scale)


@examples
@given(clouds(kinds=("lattice",), far=(0.0,)), st.integers(-(2**22), 2**22))
def test_number_densities_follow_shifts_by_whole_intervals(cloud, steps):
    z, _ = cloud
    one, other = number_densities(z), number_densities(z + 0.25 * steps)
    np.testing.assert_array_equal(other.counts, one.counts)
    np.testing.assert_array_equal(other.edges, one.edges + 0.25 * steps)


@few
@given(clouds(least=30, most=200, kinds=("normal", "constant"), far=(0.0,)), TWOS, st.integers(-1000, 1000))
def test_fits_follow_orders_scales_and_shifts(cloud, scale, steps):
    z, rng = cloud
    order = rng.permutation(z.shape[1])
    one = fit_gaussians(number_densities(z))
    scaled = fit_gaussians(number_densities(scale * z[:, order], width=0.25 * scale))
    np.testing.assert_array_equal(scaled.fitted, one.fitted[order])
    rounding = 1e-7  # steps end below 1e-9 standard deviations, and converge faster than linearly
    close(scaled.sigma / scale, one.sigma[order], rounding * one.sigma[order])
    close(scaled.centre / scale, one.centre[order], rounding * one.sigma[order].max())
    exact = np.round(z * 2.0**20) / 2.0**20
    shifted, here = (fit_gaussians(number_densities(exact + s)) for s in (0.25 * steps, 0.0))
    close(shifted.sigma, here.sigma, rounding * here.sigma)
    close(shifted.centre - 0.25 * steps, here.centre, rounding * here.sigma.max())
    close(shifted.asymmetry, here.asymmetry, 1e-9)


@examples
@given(clouds(), TENS)
def test_radii_follow_rotations_and_scales(cloud, scale):
    z, rng = cloud
    turn, centre = rotation(rng, z.shape[1]), z.mean(axis=0)
    bound = 8 * z.shape[1] * EPS * reach(z) * math.sqrt(z.shape[1])
    close(radii(scale * (z @ turn.T)) / scale, radii(z), bound)
    close(radii(scale * z, centre=scale * centre) / scale, radii(z, centre=centre), bound)
    low, high = value_range(scale * z)
    np.testing.assert_array_equal(low, scale * value_range(z).low)
    np.testing.assert_array_equal(high, scale * value_range(z).high)


@examples
@given(spread_clouds())
def test_mahalanobis_distances_know_no_affine_map(cloud):
    z, rng = cloud
    d = z.shape[1]
    a, b = affine(rng, d), rng.standard_normal(d) * rng.choice(FAR)
    moved = z @ a.T + b
    one, other = (
        mahalanobis_distance(points, mean=found.mean, covariance=found.covariance)
        for points, found in ((z, measure_moments(z)), (moved, measure_moments(moved)))
    )
    size = float((np.abs(z) @ np.abs(a).T + np.abs(b)).max())
    close(other, one, whitening_error(z, moved, size))
    singular = np.block([[measure_moments(z).covariance, np.zeros((d, 1))], [np.zeros((1, d + 1))]])
    wide = np.column_stack([z, np.full(len(z), 7.0)])
    flat = mahalanobis_distance(wide, mean=np.append(z.mean(axis=0), 7.0), covariance=singular)
    close(flat, one, whitening_error(z, moved, size))
    off = mahalanobis_distance(
        wide + np.eye(d + 1)[-1], mean=np.append(z.mean(axis=0), 7.0), covariance=singular
    )
    assert np.isinf(off).all()


def whitening_error(z, moved, size):
    """Bound the change of a whitened length, of points as far out as these, under rounding of points and moments."""
    least = min(np.linalg.eigvalsh(measure_moments(cloud).covariance)[0] for cloud in (z, moved))
    relative = 0.0
    for cloud, reached in ((z, reach(z)), (moved, size)):
        smallest = np.linalg.eigvalsh(measure_moments(cloud).covariance)[0]
        relative += scatter_error(reached, cloud) / (len(cloud) - 1) / smallest
    far = math.sqrt(len(z))  # no whitened point of n is farther out
    n_d = math.sqrt(z.shape[1]) * (z.shape[1] + 4) * EPS
    return 4 * far * relative + 4 * n_d * (size / math.sqrt(least) + reach(z) / math.sqrt(least))


@examples
@given(clouds(least=3), TWOS)
def test_nearest_distances_follow_scales_orders_and_shifts(cloud, scale):
    z, rng = cloud
    order, own = rng.permutation(len(z)), np.arange(len(z))
    one = nearest_distance(z, z, own_rows=own)
    # Of two candidates that are equally near but for rounding, either may be taken.
    bound = np.sqrt(16 * (z.shape[1] + 2) * EPS) * np.ptp(z, axis=0).max(initial=0.0) * z.shape[1]
    np.testing.assert_array_equal(nearest_distance(scale * z, scale * z, own_rows=own), scale * one)
    close(nearest_distance(z[order], z[order], own_rows=own), one[order], bound)
    found = nearest_neighbours(z, k=1).distance[:, 0]
    brute = np.linalg.norm(z[:, None] - z, axis=2)
    np.fill_diagonal(brute, np.inf)
    close(found, brute.min(axis=1), 4 * EPS * reach(z))
    close(one, brute.min(axis=1), bound)


@few
@given(st.floats(0.01, 100.0), st.integers(1, 300), TENS)
def test_laws_of_radii_scale(b, d, scale):
    one, other = uniform_radius(b, d), uniform_radius(scale * b, d)
    close([other.mean / scale, other.std / scale], [one.mean, one.std], 64 * EPS * one.mean)
    r = np.linspace(0.0, 2.0 * one.mean, 50)
    peak = one.density(r).max()
    close(scale * other.density(scale * r), one.density(r), 1e4 * EPS * peak)


@few
@given(spread_clouds(d=(2, 5), far=(0.0, 30.0)), TENS)
def test_the_law_of_normal_radii_follows_rotations_and_scales(cloud, scale):
    z, rng = cloud
    moments, turn = measure_moments(z), rotation(rng, z.shape[1])
    one = normal_radius(moments.covariance, mean=moments.mean)
    covariance = scale**2 * turn @ moments.covariance @ turn.T
    other = normal_radius(0.5 * (covariance + covariance.T), mean=scale * turn @ moments.mean)
    close(other.mean / scale, one.mean, 1e3 * EPS * one.mean)
    # The deviation is the root of a difference of squares.
    close((other.std / scale) ** 2, one.std**2, 1e3 * EPS * one.mean**2)


# Samplers


def normal_law(z):
    return MultivariateNormal().fit(z)


@examples
@given(spread_clouds())
def test_the_normal_law_follows_affine_maps(cloud):
    z, rng = cloud
    d = z.shape[1]
    a, b = affine(rng, d), rng.standard_normal(d) * rng.choice(FAR)
    moved = z @ a.T + b
    size = float((np.abs(z) @ np.abs(a).T + np.abs(b)).max())
    one, other = normal_law(z), normal_law(moved)
    stretch = np.linalg.norm(a, 2)
    bound = scatter_error(size, moved) + stretch**2 * scatter_error(reach(z), z)
    close(other.covariance_, a @ one.covariance_ @ a.T, bound / (len(z) - 1))
    close(other.mean_, a @ one.mean_ + b, mean_error(size, moved) + stretch * mean_error(reach(z), z))
    # Draws of one seed are equally far from their mean: each is the same normal vector, in other axes.
    u, v = (
        mahalanobis_distance(law.sample(20, random_state=5), mean=law.mean_, covariance=law.covariance_)
        for law in (one, other)
    )
    error = whitening_error(z, moved, size)
    close(v, u, error * (1 + u.max()))
    grown = np.linalg.slogdet(a)[1]
    close(other.score_samples(moved) + grown, one.score_samples(z), error * (1 + math.sqrt(len(z)) + d))


@examples
@given(clouds(least=8, d=(2, 4), kinds=("flat", "constant")), TENS)
def test_the_normal_law_of_a_flat_cloud_lives_in_its_plane(cloud, scale):
    z, _ = cloud
    law = normal_law(scale * z)
    drawn_ = law.sample(30, random_state=1)
    assert np.isfinite(drawn_).all()
    assert np.isfinite(law.score_samples(scale * z)).all()
    assert np.isfinite(law.score_samples(drawn_)).all()
    off = np.linalg.svd(z - z.mean(axis=0))[2][-1]
    centred = (drawn_ - law.mean_) / scale
    close(centred @ off, 0.0, 64 * len(z) * (EPS * reach(z) + EPS * np.abs(centred).max()) * z.shape[1])


# Laws that do not ask for the order of the points, and what they draw follows the cloud's scale.
LAWS = {
    "box": lambda scale: UniformBox(None, centre="mean"),
    "shell": lambda scale: SphereShell(centre="mean"),
    "ranges": lambda scale: ComponentRanges(1.5, width=0.25 * scale),
    "normal": lambda scale: MultivariateNormal(),
    "diagonal": lambda scale: MultivariateNormal(covariance="diagonal"),
    "shrunk": lambda scale: MultivariateNormal(shrinkage="ledoit-wolf", temperature=0.8),
    "core": lambda scale: MultivariateNormal(core=0.8),
    "ellipses": lambda scale: EllipseLimited(2.5),
    "ellipsoid": lambda scale: TruncatedNormal(0.9),
    "marginals": lambda scale: PCAMarginals(),
    "copula": lambda scale: GaussianCopula(),
}
ORDERED = {  # those that ask
    "mixture": lambda scale: GaussianMixture(2),
    "neighbours": lambda scale: NeighbourInterpolation(3),
    "kernel": lambda scale: NeighbourInterpolation(3, draw="kernel"),
    "cells": lambda scale: CellMixture(20.0, prior=5.0),
}


@pytest.mark.parametrize("name", LAWS)
@few
@given(spread_clouds(d=(2, 4), far=NEARER))
def test_laws_do_not_depend_on_the_order_of_points(name, cloud):
    z, rng = cloud
    one, other = (LAWS[name](1.0).fit(points) for points in (z, rng.permutation(z)))
    close_draws(one, other, z)


def close_draws(one, other, z, *, scale=1.0, eps=EPS):
    """Compare draws of one seed, as near as the gaps between the law's variances allow."""
    u, v = one.sample(15, random_state=3), other.sample(15, random_state=3) / scale
    error = 2 * scatter_error(reach(z), z, eps=eps) / (len(z) - 1)
    if hasattr(one, "axes_"):
        unit = (
            one.variances_ if hasattr(one, "mean_") else one.variances_ * np.square(np.ptp(z, axis=0)).max()
        )
        assume((gaps(unit) > 1e-3 * unit[0]).all())
        error = float((error / gaps(unit)).max() + (error / unit).max())
    else:
        error /= float(np.square(z - z.mean(axis=0)).mean())
    centre = z.mean(axis=0)
    far = float(np.linalg.norm(u - centre, axis=1).max())
    # Empirical laws are steep where points lie close: a quantile moves by what the points do, divided by few of them.
    close(v, u, len(z) * (error * far + mean_error(reach(z), z, eps=eps)))


@pytest.mark.parametrize("name", {**LAWS, **ORDERED})
@few
@given(spread_clouds(d=(2, 4), far=NEARER), TENS)
def test_draws_follow_the_scale(name, cloud, scale):
    z, _ = cloud
    make = {**LAWS, **ORDERED}[name]
    close_draws(make(1.0).fit(z), make(scale).fit(scale * z), z, scale=scale)


@pytest.mark.parametrize("name", ["normal", "ellipses", "ellipsoid", "marginals"])
@few
@given(spread_clouds(d=(2, 4)))
def test_draws_follow_the_order_of_components(name, cloud):
    z, rng = cloud
    order = rng.permutation(z.shape[1])
    one, other = LAWS[name](1.0).fit(z), LAWS[name](1.0).fit(z[:, order])
    back = SimpleNamespace(
        sample=lambda n, random_state: other.sample(n, random_state=random_state)[:, np.argsort(order)]
    )
    close_draws(one, back, z)


@pytest.mark.parametrize("name", LAWS)
@few
@given(spread_clouds(d=(2, 4), far=(0.0, 30.0)))
def test_laws_of_single_precision_are_near_those_of_double(name, cloud):
    z, _ = cloud
    close_draws(LAWS[name](1.0).fit(z), LAWS[name](1.0).fit(z.astype(np.float32)), z, eps=EPS32)


@few
@given(spread_clouds(), TWOS)
def test_marginals_follow_orders_scales_and_shifts(cloud, scale):
    z, rng = cloud
    order = rng.permutation(z.shape[1])
    one, other = fit_marginals(z), fit_marginals(scale * rng.permutation(z)[:, order])
    # Slopes of the quantiles reach over the cloud's width; their sums are those of as many numbers as points.
    bound = 8 * len(z) * EPS * np.ptp(z, axis=0).max() + 2 * EPS * reach(z)
    close(other.values / scale, one.values[:, order], bound)
    close(other.tails / scale, one.tails[:, order], bound)


# Scores


@st.composite
def pairs(draw, **options):
    z, rng = draw(clouds(least=24, most=40, **options))
    step = rng.standard_normal(z.shape[1]) * draw(st.sampled_from([0.0, 1.0]))
    shuffled = rng.permutation(z)
    return z[:12], shuffled[: len(z) - 12] + step, rng


def frechet(x, y):
    return frechet_distance(x, y, floor="none", extrapolate=False, draws=2).value


def frechet_error(x, y, size):
    """Bound the error: that of the covariances, of the means, and of the roots of products that may be 0."""
    d, step = x.shape[1], float(np.linalg.norm(x.mean(axis=0) - y.mean(axis=0)))
    means = sum(math.sqrt(d) * mean_error(size, cloud) for cloud in (x, y))
    error = sum(scatter_error(size, cloud) / (len(cloud) - 1) for cloud in (x, y))
    trace = sum(float(np.square(cloud - cloud.mean(axis=0)).sum()) / (len(cloud) - 1) for cloud in (x, y))
    roots = 2 * d * math.sqrt(trace * (error + 2 * d * EPS * trace))
    return 2 * d * error + (2 * step + means) * means + roots


@few
@given(pairs(), TENS)
def test_the_frechet_distance_follows_rotations_shifts_scales_and_orders(pair, scale):
    x, y, rng = pair
    turn, shift = rotation(rng, x.shape[1]), rng.standard_normal(x.shape[1])
    size = reach(x, y) * math.sqrt(x.shape[1]) + 4.0
    bound, value = frechet_error(x, y, size), frechet(x, y)
    moved = [scale * (points @ turn.T + shift) for points in (x, y)]
    close(frechet(*moved) / scale**2, value, bound)
    close(frechet(y, x), value, bound)
    close(frechet(rng.permutation(x), rng.permutation(y)), value, bound)
    close(frechet(x, x), 0.0, bound)
    order = rng.permutation(x.shape[1])
    close(frechet(x[:, order], y[:, order]), value, bound)


@few
@given(pairs(), TENS)
def test_the_kernel_distance_knows_no_similarity(pair, scale):
    x, y, rng = pair
    assume(np.ptp(x, axis=0).max() > 1e-6)
    turn, shift = rotation(rng, x.shape[1]), rng.standard_normal(x.shape[1])

    def kernel(real, generated):
        return kernel_distance(real, generated, floor="none", draws=2).value

    unit = math.sqrt(float(np.square(x - x.mean(axis=0)).mean()))
    size = (reach(x, y) * math.sqrt(x.shape[1]) + 4.0) / unit
    far = math.sqrt(float(np.square(np.concatenate([x, y]) - x.mean(axis=0)).sum(axis=1).max())) / unit
    largest = (far**2 / x.shape[1] + 1.0) ** 3
    # Of the sums, and of coordinates in units of the real ones, by the kernel's slope.
    own = 4 * (len(x) + len(y)) * EPS + 12 * EPS * (x.shape[1] + 4) * (1 + size) * (1 + far)
    value = kernel(x, y)
    close(kernel(*(scale * (points @ turn.T + shift) for points in (x, y))), value, own * largest)
    close(kernel(rng.permutation(x), rng.permutation(y)), value, own * largest)
    if own * EPS32 / EPS < 0.1:  # else single precision has lost the cloud's form
        close(kernel(x.astype(np.float32), y.astype(np.float32)), value, own * largest * EPS32 / EPS)


@examples
@given(pairs(), TWOS)
def test_counts_of_neighbours_follow_orders_and_shifts_ties_and_copies_included(pair, scale):
    x, y, rng = pair
    x, y = (np.round(points * 2.0**12) / 2.0**12 for points in (x, y))  # so that shifts and squares are exact
    order = rng.permutation(x.shape[1])
    for score, k in ((precision_recall, 3), (density_coverage, 2)):
        values = [s.value for s in score(x, y, k=k, floor="none", draws=2)]
        assert values == [s.value for s in slow_counts(score, x, y, k)]
        changed = (
            (scale * x, scale * y),
            (rng.permutation(x), rng.permutation(y)),
            (x[:, order], y[:, order]),
            (x + 2.0**20, y + 2.0**20),
        )
        for real, generated in changed:
            assert [s.value for s in score(real, generated, k=k, floor="none", draws=2)] == values


def slow_counts(score, x, y, k):
    """Compare squared differences, which are exact for these points."""

    def squares(a, b):
        return np.square(a[:, None].astype(np.longdouble) - b).sum(axis=2)

    def reaches(points):
        own = squares(points, points)
        np.fill_diagonal(own, np.inf)
        return np.sort(own, axis=1)[:, k - 1]

    near = squares(y, x) <= reaches(x)
    if score is precision_recall:
        found = near.any(axis=1).mean(), (squares(x, y) <= reaches(y)).any(axis=1).mean()
    else:
        found = np.count_nonzero(near) / (k * len(y)), near.any(axis=0).mean()
    return [SimpleNamespace(value=float(value)) for value in found]


# Structure, dimension and normality


@few
@given(clouds(least=26, most=60, kinds=("normal",)), TENS)
def test_dimensions_follow_rotations_scales_and_orders(cloud, scale):
    z, rng = cloud
    moved = scale * (rng.permutation(z) @ rotation(rng, z.shape[1]).T)
    one, other = (nearest_neighbours(points, k=20) for points in (z, moved))
    nearest = one.distance[:, 0].min()
    rounding = 64 * z.shape[1] * EPS * reach(z) / nearest
    assume(rounding < 1e-6)
    for estimate in (two_nn, levina_bickel):
        close(estimate(other).value / estimate(one).value, 1.0, 64 * len(z) * rounding)


@few
@given(clouds(least=30, most=60, d=(2, 2), kinds=("normal",), far=(0.0, 30.0)), TWOS)
def test_voids_follow_scales_and_shifts(cloud, scale):
    z = np.round(cloud[0] * 2.0**20) / 2.0**20
    one, other = largest_voids(z, k=3, share=0.9), largest_voids(scale * (z + 64.0), k=3, share=0.9)
    close(other.radius / scale, one.radius, 1e-6 * one.radius.max())
    close(other.expected, one.expected, 1e-6 * one.expected.max())


@few
@given(spread_clouds(far=(0.0, 30.0)))
def test_a_test_of_normality_knows_no_affine_map(cloud):
    z, rng = cloud
    moved = z @ affine(rng, z.shape[1]).T + rng.standard_normal(z.shape[1])
    one, other = henze_zirkler(z), henze_zirkler(moved)
    # Whitened points are kept in single precision: the statistic is a mean over pairs of terms with slopes below 1.
    far = math.sqrt(len(z))
    close(other.statistic, one.statistic, 16 * len(z) * EPS32 * far**2)
    radius, moved_radius = (np.linalg.norm(whiten(points).u, axis=1) for points in (z, moved))
    close(moved_radius, radius, 16 * EPS32 * far * z.shape[1])


@examples
@given(clouds(), TWOS)
def test_outlier_cuts_follow_orders_and_powers_of_two(cloud, scale):
    z, rng = cloud
    moments = measure_moments(z)
    one = cut_outliers(z, moments.mean, moments.std, fact=1.2)
    other = cut_outliers(scale * z, scale * moments.mean, scale * moments.std, fact=1.2)
    np.testing.assert_array_equal(other.kept, one.kept)
    points, components = rng.permutation(len(z)), rng.permutation(z.shape[1])
    shuffled = cut_outliers(
        z[points][:, components], moments.mean[components], moments.std[components], fact=1.2
    )
    np.testing.assert_array_equal(shuffled.kept, one.kept[points])
    np.testing.assert_array_equal(shuffled.survivors_per_component, one.survivors_per_component[components])


@few
@given(pairs(d=(2, 5)))
def test_the_distance_of_moments_is_no_warning_for_flat_clouds(pair):
    x, y, _ = pair
    flat = x.copy()
    flat[:, 0] = flat[0, 0]
    value = frechet_of_moments(measure_moments(flat), measure_moments(y))
    assert value >= 0.0 and math.isfinite(value)
