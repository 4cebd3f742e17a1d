import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist

from aelib import neighbours as module
from aelib.neighbours import nearest_neighbours, neighbours_in

RNG = np.random.default_rng(11)
CLOUDS = {
    "off centre": 1000 + RNG.standard_normal((300, 12)),
    "float32": RNG.standard_normal((300, 12)).astype(np.float32),
    "correlated": RNG.standard_normal((300, 12)) @ RNG.standard_normal((12, 12)),
    "rank deficient": RNG.standard_normal((300, 2)) @ RNG.standard_normal((2, 12)),
    "constant component": RNG.standard_normal((300, 3)) * [1, 0, 1],
    "few points": RNG.standard_normal((7, 20)),
    "one component": RNG.standard_normal((300, 1)),
    "two far clumps": np.concatenate([RNG.standard_normal((150, 3)), 1e6 + RNG.standard_normal((150, 3))]),
}


def slow(points, cloud, own=None):
    distance = cdist(points.astype(float), cloud.astype(float))
    if own is not None:
        distance[np.arange(len(points)), own] = np.inf
    return distance


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("k", [1, 6])
def test_neighbours_are_those_of_all_distances(name, k):
    z = CLOUDS[name]
    found = nearest_neighbours(z, k=k)
    every = slow(z, z, np.arange(len(z)))
    np.testing.assert_allclose(found.distance, np.sort(every, axis=1)[:, :k], rtol=1e-6, atol=1e-9)
    assert (found.rows == np.arange(len(z))).all()
    np.testing.assert_allclose(np.take_along_axis(every, found.index, axis=1), found.distance, rtol=1e-6)


def test_blocks_make_no_difference(monkeypatch):
    z = RNG.standard_normal((500, 5))
    whole = nearest_neighbours(z, k=9)
    monkeypatch.setattr(module, "_CHUNK", 13)
    monkeypatch.setattr(module, "_QUERIES", 37)
    parts = nearest_neighbours(z, k=9)
    assert (whole.index == parts.index).all() and (whole.distance == parts.distance).all()


def test_rounding_of_single_precision_does_not_decide():
    # Beside an outlier, distances of 1e-4 are below what single precision resolves.
    z = np.vstack([1e-4 * RNG.standard_normal((400, 4)), [[1e3] * 4]])
    every = slow(z, z, np.arange(401))
    assert (nearest_neighbours(z, k=3).index == np.argsort(every, axis=1)[:, :3]).all()


def test_copies_are_neighbours_at_distance_0():
    z = np.repeat(RNG.standard_normal((40, 3)), 15, axis=0)
    found = nearest_neighbours(z, k=14)
    assert (found.distance == 0).all()
    assert (found.index != found.rows[:, None]).all()
    assert (found.index // 15 == found.rows[:, None] // 15).all()


def test_chosen_points_have_the_neighbours_they_have_among_all():
    z = RNG.standard_normal((400, 6))
    whole, some = nearest_neighbours(z, k=4), nearest_neighbours(z, k=4, n_queries=50, random_state=3)
    assert len(np.unique(some.rows)) == 50
    assert (some.index == whole.index[some.rows]).all()
    assert (nearest_neighbours(z, k=4, n_queries=50, random_state=3).rows == some.rows).all()
    assert (nearest_neighbours(z, k=4, n_queries=50, random_state=4).rows != some.rows).any()
    assert len(nearest_neighbours(z, k=4, n_queries=1000).rows) == 400


def test_places_off_the_cloud(tmp_path):
    cloud, points = RNG.standard_normal((300, 4)), RNG.standard_normal((20, 4))
    np.save(tmp_path / "cloud.npy", cloud)
    found = neighbours_in(points, np.load(tmp_path / "cloud.npy", mmap_mode="r"), k=300)
    np.testing.assert_allclose(found.distance, np.sort(slow(points, cloud), axis=1), rtol=1e-9)
    assert (found.rows == -1).all()
    assert (neighbours_in(cloud, cloud).distance == 0).all()  # a place on a point is at no distance


@given(arrays(np.float64, st.tuples(st.integers(2, 30), st.integers(1, 4)), elements=st.floats(-9, 9)))
def test_any_cloud(z):
    k = min(3, len(z) - 1)
    every = np.sort(slow(z, z, np.arange(len(z))), axis=1)[:, :k]
    np.testing.assert_allclose(nearest_neighbours(z, k=k).distance, every, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("search", "match"),
    [
        (lambda z: nearest_neighbours(z, k=0), "k must be 1 to 4"),
        (lambda z: nearest_neighbours(z, k=5), "k must be 1 to 4"),
        (lambda z: nearest_neighbours(z, k=1, n_queries=0), "n_queries"),
        (lambda z: nearest_neighbours(np.where(z > z.min(), z, np.nan), k=1), "finite"),
        (lambda z: nearest_neighbours(z[0], k=1), "shape"),
        (lambda z: neighbours_in(np.where(z > z.min(), z, np.nan), z), "points must be finite"),
        (lambda z: neighbours_in(np.where(z > z.min(), z, np.inf), z), "points must be finite"),
        (lambda z: neighbours_in(z, np.where(z > z.min(), z, np.nan)), "cloud must be finite"),
        (lambda z: neighbours_in(z[:, :1], z), "same components"),
        (lambda z: neighbours_in(z, z, k=6), "k must be 1 to 5"),
    ],
)
def test_what_cannot_be_searched_is_refused(search, match):
    with pytest.raises(ValueError, match=match):
        search(RNG.standard_normal((5, 2)))
