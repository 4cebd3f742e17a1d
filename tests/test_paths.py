from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial import geometric_slerp

from aelib.densities import mahalanobis_distance
from aelib.ellipses import pairwise_ellipses
from aelib.paths import (
    chord,
    circle,
    great_arc,
    great_circle,
    plane_direction,
    polyline,
    random_walk,
    segment,
    slerp,
)

RNG = np.random.default_rng(41)
MEAN = 30 + 5 * RNG.standard_normal(7)
MIXING = RNG.standard_normal((7, 7))
COVARIANCE = MIXING.T @ MIXING
FLAT = MIXING[:3].T @ MIXING[:3]  # rank 3
A, B = MEAN + RNG.standard_normal((2, 7)) @ MIXING
FLAT_A, FLAT_B = MEAN + RNG.standard_normal((2, 3)) @ MIXING[:3]
FINITE = st.floats(-1e6, 1e6)


def steps(path):
    return np.linalg.norm(np.diff(path, axis=0), axis=1)


def seen_angles(path, centre):
    """Angle between neighbours as seen from the centre, the slow obvious way."""
    arrows = (path - centre) / np.linalg.norm(path - centre, axis=1)[:, None]
    return np.arccos(np.clip([u @ v for u, v in pairwise(arrows)], -1, 1))


@settings(max_examples=40)
@given(arrays(float, 5, elements=FINITE), arrays(float, 5, elements=FINITE), st.integers(2, 40))
def test_a_segment_has_its_ends_and_equal_steps(a, b, n):
    if (a == b).all():
        with pytest.raises(ValueError, match="a and b must be different"):
            segment(a, b, n)
        return
    path = segment(a, b, n)
    assert path.shape == (n, 5)
    np.testing.assert_array_equal(path[[0, -1]], [a, b])
    np.testing.assert_allclose(np.diff(path, axis=0), np.tile((b - a) / (n - 1), (n - 1, 1)), atol=1e-8)


def test_paths_keep_the_precision_of_what_they_are_made_from():
    a, b, mean = (x.astype(np.float32) for x in (A, B, MEAN))
    of = {"mean": mean, "covariance": COVARIANCE.astype(np.float32)}
    for path in (segment(a, b, 4), slerp(a, b, 4, centre=mean), great_arc(a, b, 4, **of)):
        assert path.dtype == np.float32
        np.testing.assert_array_equal(path[[0, -1]], [a, b])
    for path in (polyline(np.stack([a, b]), 4), great_circle(a, b, 4, **of), random_walk(4, start=a, **of)):
        assert path.dtype == np.float32
        np.testing.assert_array_equal(path[0], a)
    assert segment(a, B, 3).dtype == np.float64


def test_a_chord_reaches_as_far_before_the_centre_as_behind():
    direction = RNG.standard_normal(7)
    path = chord(MEAN, 1e200 * direction, 5, reach=3.0)
    np.testing.assert_allclose(path[2], MEAN)
    np.testing.assert_allclose(steps(path), 1.5)
    forward = (path[-1] - MEAN) @ direction / np.linalg.norm(direction)
    assert forward == pytest.approx(3.0)
    along = chord(MEAN, np.int64(4), 3, reach=2.0) - MEAN
    np.testing.assert_allclose(along, np.outer([-2, 0, 2], np.eye(7)[4]), atol=1e-12)


def test_the_direction_of_an_ellipse_is_that_of_its_long_axis():
    ellipse = pairwise_ellipses(MEAN, COVARIANCE, n_sigma=1.0, pairs=[(1, 5)])
    u = plane_direction(1, 5, angle=float(ellipse.angle[0]), d=7)
    assert np.flatnonzero(u).tolist() == [1, 5]
    assert u @ COVARIANCE @ u == pytest.approx(ellipse.half_axes[0, 0] ** 2)
    for i, j in ((1, 1), (-1, 2), (0, 7)):
        with pytest.raises(ValueError, match="two different components from 0 to 6"):
            plane_direction(i, j, angle=0.0, d=7)
    with pytest.raises(ValueError, match="angle must be finite"):
        plane_direction(0, 1, angle=float("inf"), d=7)


def test_a_polyline_goes_through_its_corners_at_one_speed():
    corners = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 0.0], [4.0, 2.0], [1.0, 2.0], [1.0, 2.0]])
    path = polyline(corners, 10)
    np.testing.assert_allclose(steps(path), 1.0)
    for corner in corners:
        assert (path == corner).all(axis=1).any()
    np.testing.assert_allclose(polyline(np.stack([A, B]), 9), segment(A, B, 9))
    # Corners between two steps are cut: no step is longer than the others' length along the line.
    assert steps(polyline(corners, 8)).max() <= 9 / 7 + 1e-12


def test_a_circle_lies_in_its_plane_and_begins_in_its_first_direction():
    u, v = RNG.standard_normal((2, 7))
    path = circle(MEAN, u, v, 12, radius=2.5)
    arrows = path - MEAN
    np.testing.assert_allclose(np.linalg.norm(arrows, axis=1), 2.5)
    np.testing.assert_allclose(arrows[0], 2.5 * u / np.linalg.norm(u), atol=1e-12)
    assert np.linalg.matrix_rank(np.vstack([arrows, u, v]), tol=1e-9) == 2
    assert arrows[1] @ v > arrows[-1] @ v
    np.testing.assert_allclose(steps(np.vstack([path, path[:1]])), 5 * np.sin(np.pi / 12))
    plain = circle(np.zeros(3), 2, 0, 4, radius=1.0)
    np.testing.assert_allclose(plain, [[0, 0, 1], [1, 0, 0], [0, 0, -1], [-1, 0, 0]], atol=1e-12)


@pytest.mark.parametrize("d", [2, 3, 7, 256])
def test_slerp_is_that_of_scipy_on_the_unit_sphere(d):
    a, b = np.random.default_rng(d).standard_normal((2, d))
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    np.testing.assert_allclose(slerp(a, b, 9), geometric_slerp(a, b, np.linspace(0, 1, 9)), atol=1e-12)
    centre = 100 * np.ones(d)
    np.testing.assert_allclose(
        slerp(centre + a, centre + b, 9, centre=centre), centre + slerp(a, b, 9), atol=1e-11
    )


def test_slerp_turns_evenly_and_changes_the_distance_evenly():
    path = slerp(A, B, 8, centre=MEAN)
    np.testing.assert_array_equal(path[[0, -1]], [A, B])
    angles = seen_angles(path, MEAN)
    np.testing.assert_allclose(angles, angles[0])
    distances = np.linalg.norm(path - MEAN, axis=1)
    np.testing.assert_allclose(np.diff(distances), np.diff(distances)[0])
    straight = slerp(MEAN + 1.0, MEAN + 3.0, 5, centre=MEAN)  # one direction: nothing to turn
    np.testing.assert_allclose(straight, segment(MEAN + 1.0, MEAN + 3.0, 5))


@given(st.floats(-9, 0.4))
def test_slerp_keeps_small_angles(exponent):
    angle = 10**exponent
    path = slerp(np.array([1.0, 0.0]), np.array([np.cos(angle), np.sin(angle)]), 3)
    np.testing.assert_allclose(path[1], [np.cos(angle / 2), np.sin(angle / 2)], rtol=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "covariance"), [(A, B, COVARIANCE), (FLAT_A, FLAT_B, FLAT)], ids=["full rank", "singular"]
)
def test_great_paths_stay_on_the_ellipsoid(a, b, covariance):
    of = {"mean": MEAN, "covariance": covariance}
    ring = great_circle(a, b, 10, **of)
    distance = mahalanobis_distance(np.stack([a, b]), **of)
    np.testing.assert_array_equal(ring[0], a)
    np.testing.assert_allclose(mahalanobis_distance(ring, **of), distance[0])
    level = MEAN + (b - MEAN) * distance[0] / distance[1]
    arc = great_arc(a, level, 6, **of)
    np.testing.assert_array_equal(arc[[0, -1]], [a, level])
    np.testing.assert_allclose(mahalanobis_distance(arc, **of), distance[0])
    np.testing.assert_allclose(mahalanobis_distance(great_arc(a, b, 3, **of)[1:2], **of), distance.mean())


def test_equal_angles_are_those_of_any_whitening():
    # Cholesky whitens along other axes; the angles must not depend on the choice.
    whiten = np.linalg.inv(np.linalg.cholesky(COVARIANCE)).T
    for path, turn in (
        (great_arc(A, B, 6, mean=MEAN, covariance=COVARIANCE), None),
        (great_circle(A, B, 6, mean=MEAN, covariance=COVARIANCE), np.pi / 3),
    ):
        angles = seen_angles((path - MEAN) @ whiten, np.zeros(7))
        np.testing.assert_allclose(angles, angles[0] if turn is None else turn)


def test_around_a_round_cloud_great_paths_are_circles_and_slerps():
    of = {"mean": MEAN, "covariance": 4 * np.eye(7)}
    radius = float(np.linalg.norm(A - MEAN))
    np.testing.assert_allclose(
        great_circle(A, B, 9, **of), circle(MEAN, A - MEAN, B - MEAN, 9, radius=radius)
    )
    np.testing.assert_allclose(great_arc(A, B, 9, **of), slerp(A, B, 9, centre=MEAN))
    through = great_circle(A, B, 9, **of)
    assert np.linalg.norm(through[1] - B) < np.linalg.norm(through[-1] - B)


@pytest.mark.parametrize("smooth", [False, True])
def test_every_point_of_a_walk_has_the_law_of_the_cloud(smooth):
    rng = np.random.default_rng(3)
    options = {"mean": MEAN, "covariance": COVARIANCE, "correlation": 0.8, "smooth": smooth}
    walks = np.stack([random_walk(12, random_state=rng, **options) for _ in range(1500)])
    for k in (0, 1, 2, 11):
        y = np.linalg.solve(MIXING.T, (walks[:, k] - MEAN).T)
        # 1500 walks: standard error 0.026 of a mean, 0.037 of a variance; 35 numbers stay within 4.5 of them.
        np.testing.assert_allclose(y.mean(axis=1), 0, atol=0.117)
        np.testing.assert_allclose(np.cov(y), np.eye(7), atol=0.167)


def correlation_at(lag, c, *, smooth):
    """Autocorrelation in closed form: powers of c, or of a double root."""
    if not smooth:
        return c**lag
    root = (1 - np.sqrt(1 - c**2)) / c
    return root**lag * (1 + lag * (1 - root**2) / (1 + root**2))


@pytest.mark.parametrize("smooth", [False, True])
def test_the_memory_of_a_walk_is_that_of_its_process(smooth):
    # 200 components at once are 200 walks; the start is far back after 400 points.
    walk = random_walk(20_000, mean=np.zeros(200), covariance=np.eye(200), correlation=0.9, smooth=smooth)
    for lag in (1, 2, 3, 5, 10, 20):
        measured = (walk[lag:] * walk[:-lag]).mean()
        # 4e6 products with a memory of some 30 points: standard error below 0.003.
        assert measured == pytest.approx(correlation_at(lag, 0.9, smooth=smooth), abs=0.01)


def test_a_smooth_walk_turns_less():
    def turning(smooth):
        moves = np.diff(random_walk(500, mean=np.zeros(50), covariance=np.eye(50), smooth=smooth), axis=0)
        return seen_angles(moves, np.zeros(50)).mean()

    # A plain walk turns by a right angle; of a smooth one, neighbouring steps correlate by 0.74 at c = 0.99.
    assert turning(False) == pytest.approx(np.pi / 2, abs=0.05)
    assert turning(True) < 0.9


def test_a_walk_starts_where_it_is_told_and_stays_in_a_flat_cloud():
    of = {"mean": MEAN, "covariance": FLAT}
    walk = random_walk(300, start=FLAT_A, random_state=5, **of)
    np.testing.assert_array_equal(walk[0], FLAT_A)
    distances = mahalanobis_distance(walk, **of)
    assert np.isfinite(distances).all()
    assert distances.max() < 6  # chi with 3 degrees: P(> 6) = 1e-7
    np.testing.assert_array_equal(walk, random_walk(300, start=FLAT_A, random_state=5, **of))
    independent = random_walk(50_000, correlation=0.0, random_state=6, **of)
    np.testing.assert_allclose(np.cov(independent.T), FLAT, atol=0.03 * np.trace(FLAT))


def test_one_component_is_enough():
    of = {"mean": np.array([5.0]), "covariance": np.array([[4.0]])}
    np.testing.assert_allclose(segment(np.zeros(1), np.ones(1), 3), [[0], [0.5], [1]])
    np.testing.assert_allclose(great_arc(np.array([6.0]), np.array([8.0]), 3, **of), [[6], [7], [8]])
    assert random_walk(2000, correlation=0.0, **of).std() == pytest.approx(
        2.0, rel=0.07
    )  # 4.5 standard errors
    with pytest.raises(ValueError, match="opposite sides"):
        great_arc(np.array([4.0]), np.array([6.0]), 3, **of)
    with pytest.raises(ValueError, match="lie on one line"):
        great_circle(np.array([6.0]), np.array([7.0]), 3, **of)


@pytest.mark.parametrize(
    "walk",
    [
        lambda a, b: slerp(a, b, 3, centre=MEAN),
        lambda a, b: great_arc(a, b, 3, mean=MEAN, covariance=COVARIANCE),
        lambda a, b: great_circle(a, b, 3, mean=MEAN, covariance=COVARIANCE),
    ],
    ids=["slerp", "great_arc", "great_circle"],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_has_no_direction_is_refused(walk, dtype):
    a, opposite, mean = A.astype(dtype), (2 * MEAN - A).astype(dtype), MEAN.astype(dtype)
    with pytest.raises(ValueError, match="must be different points"):
        walk(a, a)
    for pair in ((a, mean), (mean, a)):
        with pytest.raises(ValueError, match="at the centre"):
            walk(*pair)
    with pytest.raises(ValueError, match="opposite sides of the centre|lie on one line"):
        walk(a, opposite)
    with pytest.raises(ValueError, match=r"components, not [37]\."):
        walk(a[:3], a[1:4])


def test_points_off_a_flat_cloud_are_refused():
    of = {"mean": MEAN, "covariance": FLAT}
    for walk in (great_arc, great_circle):
        with pytest.raises(ValueError, match="off the plane to which the singular covariance"):
            walk(FLAT_A, B, 3, **of)
    with pytest.raises(ValueError, match="off the plane to which the singular covariance"):
        random_walk(3, start=A, **of)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: segment(A, B, 1), "n must be at least 2"),
        (lambda: segment(A, B[:3], 3), "b must have d = 7 components, not 3"),
        (lambda: segment(A, B * np.nan, 3), "b must be a vector of finite numbers"),
        (lambda: segment(A[None], B, 3), r"a must be a vector .* shape is \(1, 7\)"),
        (lambda: polyline(np.ones((3, 2)), 3), "at least two different corners"),
        (lambda: polyline(np.ones((1, 2)), 3), "at least two different corners"),
        (lambda: polyline(np.full((3, 2), np.inf), 3), "points must be finite"),
        (lambda: polyline(A, 3), r"shape \(n, d\)"),
        (lambda: chord(MEAN, 7, 3, reach=1.0), "direction must be a component from 0 to 6, not 7"),
        (lambda: chord(MEAN, np.zeros(7), 3, reach=1.0), "direction must be a vector other than 0"),
        (lambda: chord(MEAN, 0, 3, reach=0.0), "reach must be finite and above 0"),
        (lambda: circle(MEAN, 0, 0, 3, radius=1.0), "span a plane"),
        (lambda: circle(MEAN, A, -2 * A, 3, radius=1.0), "span a plane"),
        (lambda: circle(MEAN, 0, 1, 3, radius=float("inf")), "radius must be finite"),
        (lambda: random_walk(3, mean=MEAN, covariance=COVARIANCE, correlation=1.0), "below 1, not 1.0"),
        (lambda: random_walk(3, mean=MEAN, covariance=np.zeros((7, 7))), "not 0"),
        (lambda: random_walk(3, mean=MEAN[:3], covariance=COVARIANCE), "mean must be 7 finite numbers"),
        (lambda: random_walk(3, mean=MEAN, covariance=-COVARIANCE), "no negative eigenvalue"),
        (
            lambda: random_walk(3, mean=MEAN, covariance=MEAN),
            r"covariance must be an array of shape \(d, d\)",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
