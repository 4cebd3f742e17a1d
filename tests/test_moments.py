import tracemalloc
from functools import reduce

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import AgglomerativeClustering

from aelib.moments import (
    Moments,
    cluster_order,
    measure_moments,
    pair_counts,
    strongest_pairs,
)

RNG = np.random.default_rng(5)
MIXING = RNG.standard_normal((6, 6))
CLOUDS = {
    "correlated": RNG.standard_normal((500, 6)) @ MIXING,
    "float32": (RNG.standard_normal((500, 6)) @ MIXING).astype(np.float32),
    "far off centre": 1e6 + RNG.standard_normal((500, 6)) @ MIXING,
    "drifting": RNG.standard_normal((500, 6)) + np.linspace(0, 1e4, 500)[:, None],
    "rank deficient": RNG.standard_normal((500, 2)) @ RNG.standard_normal((2, 6)),
    "fewer points than dimensions": RNG.standard_normal((4, 6)),
    "two points": RNG.standard_normal((2, 6)),
    "unequal widths": RNG.standard_normal((500, 6)) * 10.0 ** np.arange(-3, 3),
}


def exact_covariance(z):
    """Two passes in the longest floats there are."""
    centred = z.astype(np.longdouble) - z.astype(np.longdouble).mean(axis=0)
    return np.array((centred.T @ centred) / (len(z) - 1), dtype=float)


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("block", [1, 7, 2048])
def test_moments_agree_with_two_passes(name, block):
    z = CLOUDS[name]
    moments = measure_moments(z, block=block)
    expected = exact_covariance(z)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert moments.n == len(z)
    np.testing.assert_allclose(moments.mean, z.astype(float).mean(axis=0), rtol=1e-11, atol=1e-11)
    # A block of one point that lies away from the mean costs digits, but only as many as there are blocks.
    np.testing.assert_allclose(moments.covariance / scale, expected / scale, atol=1e-11)
    np.testing.assert_allclose(moments.correlation, np.corrcoef(z.astype(float).T), atol=1e-9)
    np.testing.assert_allclose(moments.std, z.astype(float).std(axis=0, ddof=1), rtol=1e-9)


@given(
    hnp.arrays(
        np.float64,
        st.tuples(st.integers(2, 30), st.integers(1, 4)),
        elements=st.floats(-100, 100, width=32),
    ),
    st.data(),
)
def test_parts_add_up_to_the_whole_in_any_order(z, data):
    cuts = sorted(data.draw(st.sets(st.integers(1, len(z) - 1), max_size=4)))
    parts = data.draw(st.permutations([measure_moments(part) for part in np.split(z, cuts)]))
    merged, whole = reduce(Moments.merge, parts), measure_moments(z)
    assert merged.n == whole.n
    np.testing.assert_allclose(merged.mean, whole.mean, atol=1e-11)
    np.testing.assert_allclose(merged.scatter, whole.scatter, atol=1e-8)


def test_adding_is_merging():
    a, b = measure_moments(CLOUDS["correlated"]), measure_moments(CLOUDS["drifting"])
    np.testing.assert_array_equal((a + b).scatter, a.merge(b).scatter)
    with pytest.raises(ValueError, match="6 and of 2 components do not add up"):
        _ = a + measure_moments(np.zeros((3, 2)))


def test_points_add_up_one_by_one_from_none_at_all():
    z = CLOUDS["correlated"][:5]
    one_by_one = sum((measure_moments(point[None]) for point in z), start=Moments.empty(6))
    assert (one_by_one.n, Moments.empty(6).n) == (5, 0)
    np.testing.assert_allclose(one_by_one.mean, z.mean(axis=0))
    np.testing.assert_allclose(one_by_one.covariance, np.cov(z.T))


@pytest.mark.parametrize("value", [0.0, 0.1, -1e8, 3e-7])
def test_a_constant_component_is_exactly_constant(value):
    z = RNG.standard_normal((5000, 3))
    z[:, 1] = value
    for cloud in (z, z.astype(np.float32)):
        moments = measure_moments(cloud, block=999) + measure_moments(cloud)
        assert moments.constant.tolist() == [False, True, False]
        np.testing.assert_array_equal(moments.correlation[1], [0, 1, 0])
        assert moments.mean[1] == cloud[0, 1]
        assert moments.standardised.constant.tolist() == [False, True, False]


def test_correlation_is_a_correlation_matrix_where_components_are_copies():
    scales = [
        1,
        -2,
        1e-3,
        1e3,
        *np.random.default_rng(8).standard_normal(40),
    ]  # rounding leads out of [-1, 1]
    z = np.repeat(RNG.standard_normal((50, 1)), len(scales), axis=1) * scales
    correlation = measure_moments(z).correlation
    np.testing.assert_allclose(np.abs(correlation), 1.0, atol=1e-12)
    assert correlation.min() >= -1.0
    assert correlation.max() == 1.0
    np.testing.assert_array_equal(correlation, correlation.T)


def test_standardised_moments_are_those_of_the_standardised_cloud():
    z = CLOUDS["correlated"]
    expected = measure_moments((z - z.mean(axis=0)) / z.std(axis=0, ddof=1))
    np.testing.assert_allclose(measure_moments(z).standardised.scatter, expected.scatter, atol=1e-9)


def test_a_single_point_has_a_mean_but_no_covariance():
    moments = measure_moments(np.ones((1, 3)))
    np.testing.assert_array_equal(moments.mean, 1.0)
    for name in ("covariance", "std", "correlation"):
        with pytest.raises(ValueError, match="at least 2 points"):
            getattr(moments, name)


def test_memory_does_not_grow_with_the_number_of_points(tmp_path):
    path = tmp_path / "z.npy"
    np.save(path, np.random.default_rng(0).standard_normal((60_000, 64), dtype=np.float32))
    z = np.load(path, mmap_mode="r")
    tracemalloc.start()
    measure_moments(z)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6  # all points in float64 are 31 MB


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_points_are_named(bad):
    z = np.zeros((5000, 3))
    z[4321, 2] = bad
    with pytest.raises(ValueError, match=f"component 2 of point 4321 is {bad}"):
        measure_moments(z)


def test_blocks_and_sizes_out_of_range_are_refused():
    with pytest.raises(ValueError, match="block must be at least 1, not 0"):
        measure_moments(np.zeros((3, 2)), block=0)
    with pytest.raises(ValueError, match="too large to be squared"):
        measure_moments(np.array([[1e200], [-1e200]]))
    for early, late in ((0.0, 1e308), (-1e308, 1.7e308)):  # the sum overflows, or already a difference
        with pytest.raises(ValueError, match="too large to be squared"):
            measure_moments(np.repeat([[early], [late]], 300, axis=0))
    with pytest.raises(
        ValueError, match="too large to be squared"
    ):  # the mean overflows, and infinity meets zero
        measure_moments(np.array([[1e308, 1.0], [-1e308, 1.0]]))


def slow_pairs(correlation, components):
    return {
        (i, j): correlation[i, j]
        for i in range(len(correlation))
        for j in range(i + 1, len(correlation))
        if i in components and j in components
    }


@pytest.mark.parametrize("components", [None, [8, 2, 5, 11]])
def test_pairs_agree_with_the_double_loop(components):
    correlation = np.corrcoef(np.random.default_rng(2).standard_normal((12, 9)))
    expected = slow_pairs(correlation, components or range(12))
    thresholds = (0.0, 0.1, 0.3, 0.5)
    assert pair_counts(correlation, thresholds, components=components).tolist() == [
        sum(abs(rho) > t for rho in expected.values()) for t in thresholds
    ]
    found = strongest_pairs(correlation, k=None, components=components)
    assert dict(zip(zip(found.i, found.j, strict=True), found.rho, strict=True)) == expected
    assert (np.diff(np.abs(found.rho)) <= 0).all()
    some = strongest_pairs(correlation, k=3, components=components)
    np.testing.assert_array_equal(some.rho, found.rho[:3])


def test_equal_correlations_stand_in_the_order_of_their_components():
    pairs = strongest_pairs(np.full((3, 3), 0.5), k=3)
    assert list(zip(pairs.i, pairs.j, strict=True)) == [(0, 1), (0, 2), (1, 2)]
    i, j = np.triu_indices(30, 1)
    pairs = strongest_pairs(np.full((30, 30), 0.5), k=None)
    np.testing.assert_array_equal([pairs.i, pairs.j], [i, j])


def test_pairs_at_the_edges():
    correlation = np.full((7, 7), 0.5)
    assert len(strongest_pairs(correlation).rho) == 16
    assert strongest_pairs(correlation, k=1).rho.tolist() == [0.5]
    assert pair_counts(correlation, (0.5, np.nextafter(0.5, 0))).tolist() == [0, 21]
    assert pair_counts(correlation, (0.1,), components=[2]).tolist() == [0]
    assert pair_counts(correlation, ()).dtype == np.int64
    np.fill_diagonal(correlation, 1 + 1e-9)  # rounding is no reason to refuse
    assert pair_counts(correlation, (0.1,)).tolist() == [21]


def test_pairs_refuse_what_they_cannot_use():
    correlation = np.eye(4)
    with pytest.raises(ValueError, match="k must be 1 to 6"):
        strongest_pairs(correlation, k=7)
    with pytest.raises(ValueError, match="is it a covariance"):
        pair_counts(4 * correlation)
    with pytest.raises(ValueError, match="is it a covariance"):
        pair_counts(np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="shape"):
        pair_counts(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="is it a covariance"):
        pair_counts(1.01 * correlation)
    for components in ([0, 0], [0, 4], [0, 1, 4], [-1, 2]):
        with pytest.raises(ValueError, match="different whole numbers from 0 to 3"):
            pair_counts(correlation, components=components)


def test_cluster_order_brings_groups_together():
    rng = np.random.default_rng(4)
    group = rng.permutation(np.repeat(np.arange(4), 5))
    z = rng.standard_normal((400, 4))[:, group] * rng.choice([-1, 1], 20)
    order = cluster_order(measure_moments(z + 0.3 * rng.standard_normal(z.shape)).correlation)
    assert sorted(order) == list(range(20))
    assert np.count_nonzero(np.diff(group[order])) == 3


def test_all_clusters_of_average_linkage_stand_together():
    rng = np.random.default_rng(1)
    correlation = np.corrcoef(rng.standard_normal((12, 40)))
    order = cluster_order(correlation)
    for k in range(2, 12):
        model = AgglomerativeClustering(n_clusters=k, metric="precomputed", linkage="average")
        labels = model.fit_predict(1 - np.abs(correlation))[order]
        assert np.count_nonzero(np.diff(labels)) == k - 1


def test_cluster_order_bears_the_rounding_of_copies():
    correlation = np.full((3, 3), 1 + 1e-9)
    assert sorted(cluster_order(correlation)) == [0, 1, 2]


def test_cluster_order_of_one_component():
    assert cluster_order(np.ones((1, 1))).tolist() == [0]
