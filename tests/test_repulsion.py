import numpy as np
import pytest
from openTSNE import _tsne

from aelib.repulsion import RepulsionField

RNG = np.random.default_rng(1)


def slow_repulsion(points):
    steps = points[:, None] - points
    q = 1 / (1 + np.square(steps).sum(axis=2))
    np.fill_diagonal(q, 0)
    return np.einsum("ij,ijk->ik", q**2, steps), q.sum()


def error_of(force, points):
    exact = slow_repulsion(points)[0]
    return np.sqrt(np.square(force - exact).mean() / np.square(exact).mean())


@pytest.mark.parametrize("size", [1e-6, 0.01, 1.0, 10.0, 40.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_agrees_with_all_pairs_at_every_size(size, dtype):
    points = (size * RNG.standard_normal((600, 2))).astype(dtype)
    found = RepulsionField().measure(points)
    total = slow_repulsion(points.astype(float))[1]
    # Off by a few per cent where points are as far apart as nodes, as in openTSNE; far less in dense maps.
    assert error_of(found.force, points.astype(float)) < 0.05
    assert found.total == pytest.approx(total, rel=0.01, abs=0.05 * len(points))


def test_is_not_worse_than_the_reference():
    points = RNG.standard_normal((3000, 2)) * [8.0, 25.0]
    reference = np.zeros_like(points)
    total = _tsne.estimate_negative_gradient_fft_2d(points, reference, 3, 50, 1)
    ours = RepulsionField(n_jobs=2).measure(points)
    assert error_of(ours.force, points) < 1.2 * error_of(-reference * total, points)


def test_off_centre_and_copies():
    points = np.repeat(RNG.standard_normal((40, 2)), 3, axis=0)
    field = RepulsionField()
    here, there = field.measure(points), field.measure(points + 1000.0)
    np.testing.assert_allclose(here.force, there.force, atol=1e-4 * np.abs(here.force).max())
    same = field.measure(np.ones((5, 2)))
    np.testing.assert_allclose(same.force, 0.0, atol=1e-6)
    assert same.total == pytest.approx(20, rel=1e-4)


def test_no_net_force():
    force = RepulsionField().measure(RNG.standard_normal((500, 2)) * 20).force
    assert np.abs(force.sum(axis=0)).max() < 0.02 * np.abs(force).sum()


def test_threads_and_history_do_not_matter():
    points = 30 * RNG.standard_normal((2000, 2))
    one, two = RepulsionField(n_jobs=1), RepulsionField(n_jobs=2)
    two.measure(points / 50)
    np.testing.assert_array_equal(one.measure(points).force, two.measure(points).force)
    assert one.measure(points).total == two.measure(points).total


def test_refuses_what_is_no_map():
    with pytest.raises(ValueError, match="n_jobs must be at least 1"):
        RepulsionField(n_jobs=0)
    with pytest.raises(ValueError, match="must be finite"):
        RepulsionField().measure(np.array([[0.0, 1.0], [np.nan, 0.0]]))
    for points in (np.zeros((5, 3)), np.zeros((1, 2))):
        with pytest.raises(ValueError, match=r"points must have shape \(n, 2\)"):
            RepulsionField().measure(points)
