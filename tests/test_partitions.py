"""Tests of aelib.partitions: whatever the partition, what is measured is what one pass over a NumPy array gives."""

import os
import subprocess
import sys
from functools import partial

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aelib import densities, ellipses, fidelity, moments, partitions, pca

RNG = np.random.default_rng(5)
N, D = 240, 4
CLOUD = (3 + RNG.standard_normal((N, D)) @ RNG.standard_normal((D, D))).astype(np.float32)
CLOUD[:, 2] = 0.1  # a constant component stays exactly so
OTHER = (3 + RNG.standard_normal((N - 40, D)) @ RNG.standard_normal((D, D))).astype(np.float32)
PLANE = pca.principal_axes(CLOUD, k=2)
ELLIPSES = ellipses.pairwise_ellipses(np.full(D, 3.0), np.eye(D), n_sigma=2.0)


@pytest.fixture(autouse=True)
def on_threads():
    with dask.config.set(scheduler="threads"):
        yield


@st.composite
def cuts(draw, n, d):
    """Draw the sizes of partitions along both axes; some may hold no row."""
    edges = sorted(draw(st.lists(st.integers(0, n), max_size=5)))
    columns = draw(st.sampled_from([(d,), (1, d - 1), (1,) * d]))
    return tuple(np.diff([0, *edges, n]).tolist()), columns


STATISTICS = {
    "correlation": lambda z: moments.measure_moments(z).correlation,
    "covariance": lambda z: moments.measure_moments(z).covariance,
    "principal axes": lambda z: pca.principal_axes(z).axes,
    "principal coordinates": lambda z: PLANE.transform(z),
    "largest correlation": pca.decorrelation,
    "least values": lambda z: densities.value_range(z).low,
    "greatest values": lambda z: densities.value_range(z).high,
    "number densities": lambda z: densities.number_densities(z).counts,
    "radii": densities.radii,
    "density of the radius": lambda z: densities.radius_density(z, width=0.3).counts,
    "Mahalanobis distance": lambda z: densities.mahalanobis_distance(
        z, mean=np.zeros(D), covariance=np.eye(D)
    ),
    "share in each ellipse": lambda z: ellipses.empirical_coverage(z, ELLIPSES),
    "inside all ellipses": lambda z: ellipses.inside_all(z, ELLIPSES),
    "2-D density": lambda z: ellipses.plane_density(z[:, [0, 3]], grid=20).density,
    "levels": lambda z: ellipses.highest_density_levels(
        ellipses.plane_density(CLOUD[:, [0, 3]], grid=20), z[:, [0, 3]], [0.3, 0.9]
    ),
}


@pytest.mark.parametrize("name", STATISTICS)
@settings(max_examples=8)
@given(cut=cuts(N, D))
def test_statistics_do_not_depend_on_the_partition(name, cut):
    statistic = STATISTICS[name]
    found, expected = statistic(da.from_array(CLOUD, chunks=cut)), statistic(CLOUD)
    assert np.asarray(found).dtype == np.asarray(expected).dtype
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-6, atol=1e-9)


SCORES = {
    "Fréchet": partial(fidelity.frechet_distance, draws=4),
    "kernel": partial(fidelity.kernel_distance, draws=2),
    "precision and recall": partial(fidelity.precision_recall, draws=2),
    "density and coverage": partial(fidelity.density_coverage, draws=2),
}


@pytest.mark.parametrize("name", SCORES)
@settings(max_examples=3)
@given(first=cuts(N, D), second=cuts(N - 40, D))
def test_scores_do_not_depend_on_the_partition(name, first, second):
    score = SCORES[name]
    lazy = da.from_array(CLOUD, chunks=first), da.from_array(OTHER, chunks=second)
    for found, expected in zip(np.atleast_1d(score(*lazy)), np.atleast_1d(score(CLOUD, OTHER)), strict=True):
        assert found.value == pytest.approx(expected.value, rel=1e-5)
        assert found.standard_error == pytest.approx(expected.standard_error, rel=1e-5)
        assert found.floor == pytest.approx(expected.floor, rel=1e-5, abs=1e-7)
        np.testing.assert_allclose(found.halves, expected.halves, rtol=1e-5)


def test_what_is_drawn_from_a_partition_is_lazy():
    z = da.from_array(CLOUD, chunks=(50, D))
    for lazy in (PLANE.transform(z), densities.radii(z), ellipses.inside_all(z, ELLIPSES)):
        assert isinstance(lazy, da.Array)
        assert lazy.chunks[0] == z.chunks[0]


def test_a_constant_component_is_exactly_constant():
    found = moments.measure_moments(da.from_array(CLOUD, chunks=(7, 2)))
    assert found.constant.tolist() == [False, False, True, False]
    assert found.mean[2] == CLOUD[0, 2]


def test_parts_without_points_change_nothing():
    whole = moments.measure_moments(CLOUD)
    for found in (moments.Moments.empty(D) + whole, whole + moments.Moments.empty(D)):
        np.testing.assert_array_equal(found.scatter, whole.scatter)
        np.testing.assert_array_equal(found.mean, whole.mean)
    with pytest.raises(ValueError, match="at least 2 points, not 0"):
        _ = (moments.Moments.empty(2) + moments.Moments.empty(2)).covariance


def test_points_that_are_not_finite_are_named_by_their_place_in_the_whole():
    bad = CLOUD.copy()
    bad[123, 1] = np.nan
    z = da.from_array(bad, chunks=(50, 2))
    for statistic in (moments.measure_moments, densities.number_densities, densities.value_range):
        with pytest.raises(ValueError, match="component 1 of point 123 is nan"):
            statistic(z)
    with pytest.raises(ValueError, match="generated must be finite, but component 1 of point 123"):
        fidelity.frechet_distance(CLOUD, z)


def test_what_cannot_be_cut_into_partitions_is_refused():
    z = da.from_array(CLOUD, chunks=(50, D))
    with pytest.raises(ValueError, match=r"call its method compute_chunk_sizes\(\)"):
        moments.measure_moments(z[z[:, 0] > 0])
    with pytest.raises(ValueError, match="has no row"):
        partitions.merged(len, z[:0], np.add)
    with pytest.raises(ValueError, match="z must have shape"):
        moments.measure_moments(z[:0])
    with pytest.raises(ValueError, match="z must have shape"):
        densities.value_range(z[0])


def test_threads_of_one_array_agree_with_one_thread(monkeypatch):
    z = RNG.standard_normal((9000, 3))
    found = {}
    for cores in (1, 4):
        monkeypatch.setattr(partitions, "n_cores", lambda cores=cores: cores)
        counts, reach = densities.number_densities(z).counts, fidelity._reach(z[:5000], 3)
        found[cores] = counts, reach, moments.measure_moments(z).scatter
    for one, four in zip(
        found[1], found[4], strict=True
    ):  # to the last bit: the parts do not hang on the cores
        np.testing.assert_array_equal(one, four)


def test_merging_keeps_the_order_of_the_partitions():
    rows = np.arange(100.0)[:, None]
    found = partitions.merged(lambda part, first: part[:, 0], da.from_array(rows, chunks=(3, 1)), np.append)
    np.testing.assert_array_equal(found, rows[:, 0])


MEASURED_BY_TWO_WORKERS = """
import sys
import numpy as np
from distributed import Client, LocalCluster
import dask.array as da
from aelib import densities, ellipses, fidelity, moments

if __name__ == "__main__":
    z = np.load(sys.argv[1])
    with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster:
        with Client(cluster):
            lazy = da.from_array(z, chunks=(60, 2))
            found = {
                "covariance": moments.measure_moments(lazy).covariance,
                "counts": densities.number_densities(lazy).counts,
                "plane": ellipses.plane_density(lazy[:, :2], grid=20).density,
                "Fréchet": [fidelity.frechet_distance(lazy, lazy[::-1] * 2, draws=2).value],
                "density": [fidelity.density_coverage(lazy, lazy[::-1] * 2, draws=2).density.value],
            }
    np.savez(sys.argv[2], **found)
"""


def test_two_workers_measure_what_one_process_measures(tmp_path):
    (tmp_path / "measure.py").write_text(MEASURED_BY_TWO_WORKERS)
    np.save(tmp_path / "z.npy", CLOUD)
    command = [
        sys.executable,
        "-W",
        "error",
        tmp_path / "measure.py",
        tmp_path / "z.npy",
        tmp_path / "out.npz",
    ]
    # A heartbeat may come when the scheduler has closed, and Dask logs it as an error. Warnings raise all the same.
    quiet = os.environ | {"DASK_LOGGING__DISTRIBUTED": "critical"}
    done = subprocess.run(command, env=quiet, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    expected = {
        "covariance": moments.measure_moments(CLOUD).covariance,
        "counts": densities.number_densities(CLOUD).counts,
        "plane": ellipses.plane_density(CLOUD[:, :2], grid=20).density,
        "Fréchet": fidelity.frechet_distance(CLOUD, CLOUD[::-1] * 2, draws=2).value,
        "density": fidelity.density_coverage(CLOUD, CLOUD[::-1] * 2, draws=2).density.value,
    }
    with np.load(tmp_path / "out.npz") as found:
        for name, value in expected.items():
            np.testing.assert_allclose(np.squeeze(found[name]), value, rtol=1e-6, err_msg=name)
