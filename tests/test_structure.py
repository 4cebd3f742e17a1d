import numpy as np
import pytest
from scipy.spatial import cKDTree

from aelib.neighbours import Neighbours, nearest_neighbours
from aelib.planted import planted_cloud, planted_filaments
from aelib.structure import (
    hopkins,
    largest_voids,
    local_shape,
    measure_plane,
    measure_structure,
    nearest_law,
    zoom_profile,
)
from aelib.twins import against_twins, rejection_rates

RNG = np.random.default_rng(41)
PLANE = RNG.standard_normal((600, 2)) @ [[2.0, 0.5], [0.0, 1.0]] + [3.0, -1.0]


def test_nearest_law_is_numpy():
    found = nearest_neighbours(RNG.standard_normal((300, 4)), k=2)
    law, nearest = nearest_law(found), found.distance[:, 0]
    assert law == pytest.approx((nearest.mean(), nearest.std(), *np.quantile(nearest, [0.01, 0.99])))


@pytest.mark.parametrize("shape", [(100, 3), (40, 30)])
def test_local_shape_is_that_of_each_neighbourhoods_covariance(shape):
    z = 100 + RNG.standard_normal(shape) * np.arange(1, shape[1] + 1)
    found = nearest_neighbours(z, k=9)
    measured = local_shape(z, found)
    for i in (0, 7, 39):
        values = np.linalg.eigvalsh(np.cov(z[[i, *found.index[i]]].T))
        assert measured.first_share[i] == pytest.approx(values[-1] / values.sum())
        assert measured.participation[i] == pytest.approx(values.sum() ** 2 / (values**2).sum())


def test_local_shape_of_copies_and_of_foreign_neighbours():
    z = np.repeat(np.eye(3), 5, axis=0).astype(np.float32)
    shape = local_shape(z, nearest_neighbours(z, k=4))
    assert (shape.first_share == 1).all() and (shape.participation == 1).all()
    others = nearest_neighbours(np.zeros((99, 3)), k=1)
    for found in (others, Neighbours(np.array([-1]), np.eye(1, dtype=int), np.eye(1))):
        with pytest.raises(ValueError, match="own points"):
            local_shape(z, found)


def test_hopkins_is_one_half_on_normals_and_more_on_clusters():
    values = {}
    for kind in ("normal", "clusters"):
        z = 7 + 3 * planted_cloud(kind, 2000, 6, random_state=2)
        values[kind] = hopkins(z, nearest_neighbours(z, k=1), random_state=1)
    # 2000 places and points, whose distances scatter by some 40 %: an error below 0.005.
    assert values["normal"] == pytest.approx(0.5, abs=0.02)
    assert values["clusters"] > 0.55


@pytest.mark.parametrize("points", [PLANE, PLANE.astype(np.float32)])
def test_voids_are_empty_circles_through_three_points(points):
    voids = largest_voids(points, k=5)
    tree = cKDTree(points.astype(float))
    near = tree.query(voids.centre, k=4)[0]
    np.testing.assert_allclose(near[:, :3], voids.radius[:, None] * np.ones(3), rtol=1e-6)
    assert (near[:, 3] > voids.radius * (1 - 1e-9)).all()
    assert (np.diff(voids.expected) <= 0).all()
    gaps = (
        np.linalg.norm(voids.centre[:, None] - voids.centre, axis=-1) - voids.radius[:, None] - voids.radius
    )
    assert (gaps[np.triu_indices(5, 1)] > -1e-9).all()


def test_no_place_of_a_fine_grid_is_emptier():
    voids = largest_voids(PLANE, k=1, share=0.5)
    mean, covariance = PLANE.mean(axis=0), np.cov(PLANE.T)
    x, y = np.meshgrid(np.linspace(-2, 8, 400), np.linspace(-4, 2, 400))
    steps = np.column_stack([x.ravel(), y.ravel()]) - mean
    square = np.einsum("nd,de,ne->n", steps, np.linalg.inv(covariance), steps)
    density = np.exp(-0.5 * square) / (2 * np.pi * np.sqrt(np.linalg.det(covariance)))
    radius = cKDTree(PLANE).query(steps + mean)[0]
    every = (600 * density * np.pi * radius**2)[square < 2 * np.log(2)]
    # The density rises towards the middle, so the emptiest place need not be the centre of a circle through points.
    assert voids.expected[0] == pytest.approx(every.max(), rel=0.15)


def test_the_largest_void_of_a_normal_cloud_holds_about_the_log_of_n():
    expected = [largest_voids(RNG.standard_normal((4000, 2)), k=1).expected[0] for _ in range(10)]
    assert np.log(4000) < np.mean(expected) < np.log(4000) + 5


def test_a_planted_void_is_found():
    middle = np.array([0.5, 0.3])
    z = RNG.standard_normal((5000, 2))
    z = z[np.linalg.norm(z - middle, axis=1) > 0.25]
    voids = largest_voids(z)
    assert np.linalg.norm(voids.centre[0] - middle) < 0.05
    assert voids.radius[0] == pytest.approx(0.25, rel=0.15)
    assert voids.expected[0] > 2 * voids.expected[1]


def test_zoom_profile_is_the_double_loop():
    profile = zoom_profile(PLANE, half_widths=[1.0, 0.5], centre=(3.0, -1.0), k=5, grid=16)
    for i, half in enumerate((1.0, 0.5)):
        inside = np.flatnonzero((np.abs(PLANE - [3.0, -1.0]) <= half).all(axis=1))
        assert profile.n_points[i] == len(inside)
        shares = []
        for j in inside:
            near = np.argsort(np.linalg.norm(PLANE - PLANE[j], axis=1))[:6]
            values = np.linalg.eigvalsh(np.cov(PLANE[near].T))
            shares.append(values[-1] / values.sum())
        assert profile.line_share[i] == pytest.approx(np.mean(shares))
        side = [3.0, -1.0] + np.stack(np.meshgrid(*[(np.arange(16) + 0.5) / 8 - 1] * 2), -1).reshape(
            -1, 2
        ) * half
        far = np.sqrt(3 * (2 * half) ** 2 / np.pi / len(inside))
        empty = [np.linalg.norm(PLANE - place, axis=1).min() > far for place in side]
        assert profile.void_share[i] == pytest.approx(np.mean(empty))


def test_an_even_plane_looks_the_same_on_every_scale():
    z = RNG.uniform(-1, 1, (40_000, 2))
    profile = zoom_profile(z, half_widths=[0.8, 0.4, 0.2])
    # The smallest window has 1600 points, in some 500 independent places: an error of 0.01.
    assert profile.void_share == pytest.approx(np.exp(-3), abs=0.03)
    assert np.ptp(profile.line_share) < 0.02


def test_zoom_finds_planted_lines_and_voids():
    lines = planted_filaments(5000, 2, n_filaments=60, length=1.0, thickness=0.01, random_state=3)
    profile = zoom_profile(lines, half_widths=[1.0, 0.5])
    twin = zoom_profile(RNG.standard_normal((5000, 2)), half_widths=[1.0, 0.5])
    assert (profile.line_share > twin.line_share + 0.1).all()
    assert (profile.void_share > 3 * twin.void_share).all()


def test_a_plane_is_read_in_the_window_of_its_innermost_points():
    seen = measure_plane(PLANE, n_window=50)
    centre = PLANE.mean(axis=0)
    half = np.sort(np.abs(PLANE - centre).max(axis=1))[49]
    profile = zoom_profile(PLANE, half_widths=[half * (1 + 1e-9)], centre=tuple(centre))
    assert profile.n_points[0] == 50
    assert seen.line_share == pytest.approx(profile.line_share[0])
    assert seen.void_share == pytest.approx(profile.void_share[0], abs=2 / 64**2)
    assert seen.void == pytest.approx(largest_voids(PLANE, k=1).expected[0])


def test_lines_in_a_plane_stand_out_from_twins_and_chance_does_not():
    lines = planted_filaments(3000, 2, n_filaments=60, length=1.0, thickness=0.01, random_state=3)
    found, chance = (against_twins(measure_plane, z, draws=39, tail="greater") for z in (lines, PLANE))
    assert (found.p_value <= 1 / 40).all()
    assert chance.joint_p_value > 0.05


def few(z):
    return measure_structure(z, k=8, n_queries=100)


def test_all_instruments_have_their_size_on_normals():
    spread = np.geomspace(0.2, 3.0, 12)
    rates = rejection_rates(
        few,
        lambda seed: 5 + spread * planted_cloud("normal", 120, 12, random_state=seed),
        clouds=40,
        draws=9,
        level=0.2,
        random_state=7,
    )
    # The error is sqrt(0.2 * 0.8 / 40) = 0.063; ten rates, so 3.2 errors. `test_twins` knows the size better.
    assert rates.rate == pytest.approx(0.2, abs=0.2)
    assert rates.joint_rate == pytest.approx(0.2, abs=0.2)
    # The nine are correlated, but their average is known better than one of them.
    assert rates.rate.mean() == pytest.approx(0.2, abs=0.12)


@pytest.mark.parametrize("kind", ["filaments", "clusters", "sheet"])
def test_planted_structure_is_found(kind):
    rates = rejection_rates(
        few,
        lambda seed: planted_cloud(kind, 600, 40, random_state=seed),
        clouds=2,
        draws=19,
        level=0.1,
        random_state=8,
    )
    found = dict(zip(rates.names, rates.rate, strict=True))
    assert rates.joint_rate == 1
    # Clumps are round: they bring points together, but give no neighbourhood an axis.
    local = () if kind == "clusters" else ("first_share", "participation")
    assert all(found[name] == 1 for name in ("nearest", "hopkins", *local))


def test_the_signs_say_what_was_planted():
    test = against_twins(few, planted_cloud("filaments", 600, 40, random_state=1), draws=9)
    effect = dict(zip(test.names, test.effect, strict=True))
    assert effect["nearest"] < -5 and effect["participation"] < -5 and effect["two_nn"] < -2
    assert effect["first_share"] > 5 and effect["hopkins"] > 5


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: largest_voids(PLANE, k=0), "k must be"),
        (lambda: largest_voids(PLANE, share=1.0), "share"),
        (lambda: largest_voids(PLANE[:3]), "at least 4"),
        (lambda: largest_voids(RNG.standard_normal((9, 3))), "in a plane"),
        (lambda: largest_voids(np.outer(np.arange(9.0), [1, 2])), "on a line"),
        (lambda: largest_voids(np.zeros((9, 2))), "on a line, or are the same"),
        (lambda: largest_voids(PLANE, share=1e-9), "take a larger share"),
        (lambda: zoom_profile(PLANE, half_widths=[]), "half_widths"),
        (lambda: zoom_profile(PLANE, half_widths=[1.0, -1.0]), "half_widths"),
        (lambda: zoom_profile(PLANE, half_widths=[0.1], centre=(99.0, 0.0)), "holds no point"),
        (lambda: zoom_profile(np.where(PLANE > 0, PLANE, np.nan), half_widths=[1.0]), "finite"),
        (lambda: zoom_profile(PLANE, half_widths=[1.0], k=600), "k 2 to 599"),
        (lambda: measure_plane(PLANE, n_window=601), "n_window must be 1 to 600"),
        (lambda: measure_plane(np.vstack([np.zeros((9, 2)), np.eye(2), -np.eye(2)]), n_window=5), "widen"),
        (lambda: measure_structure(np.zeros((30, 3))), "copy|vary|variance|equally"),
        (lambda: measure_structure(RNG.standard_normal((5, 3))), "k must be"),
    ],
)
def test_what_cannot_be_measured_is_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()
