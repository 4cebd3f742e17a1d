import numpy as np
import pytest
from scipy.linalg import expm
from scipy.stats import kurtosis

from aelib import mixtures
from aelib.audits import copying_audit
from aelib.mixtures import (
    CellMixture,
    _divide_by_scales,
    _mixed_by,
    _mode_deviation,
    _modes,
    _spike,
    _squares,
)
from aelib.moments import measure_moments
from aelib.pca import principal_axes

N = 40_000
RNG = np.random.default_rng(81)
MIXING = np.diag([1.0, 2.0, 0.5, 3.0]) + 0.4 * RNG.standard_normal((4, 4))
CLOUD = RNG.exponential(size=(6000, 4)) @ MIXING + [4.0, -7.0, 0.0, 30.0]
SINGULAR = {
    "rank 2": RNG.standard_normal((300, 2)) @ RNG.standard_normal((2, 4)) + 5,
    "n < d": CLOUD[:3],
    "constant component": CLOUD[:600] * [1, 0, 1, 1] + [0, 7, 0, 0],
    "one component": CLOUD[:600, 3:],
}


def whitened(points, cloud):
    axes = principal_axes(cloud)
    return axes.transform(points) / np.sqrt(axes.variances)


def test_mean_and_covariance_are_those_of_the_cloud():
    points = CellMixture(n_modes=0).fit(CLOUD).sample(N, random_state=1)
    u = whitened(points, CLOUD)
    # Kurtosis below 12: five standard errors.
    np.testing.assert_allclose(u.mean(axis=0), 0, atol=5 / np.sqrt(N))
    np.testing.assert_allclose(np.cov(u.T), np.eye(4), atol=5 * np.sqrt(11 / N))


def test_modes_leave_the_covariance_to_a_few_per_cent():
    u = whitened(CellMixture().fit(CLOUD).sample(N, random_state=2), CLOUD)
    np.testing.assert_allclose(np.cov(u.T), np.eye(4), atol=5 * np.sqrt(11 / N) + 0.05)


def test_cells_together_have_mean_zero_and_covariance_one():
    found = CellMixture(100).fit(CLOUD)
    assert len(found.weights_) > 10
    total = sum(
        w * (root @ root + np.outer(m, m))
        for w, root, m in zip(found.weights_, found.roots_, found.means_, strict=True)
    )
    np.testing.assert_allclose(found.weights_ @ found.means_, 0, atol=1e-12)
    np.testing.assert_allclose(total, np.eye(4), atol=1e-12)
    assert (found.weights_ * 6000 >= 30 - 1e-9).all()


def test_a_cells_own_covariance_is_that_of_the_leading_axes():
    rng = np.random.default_rng(18)
    cells = [measure_moments(rng.standard_normal((n, 5)) @ rng.standard_normal((5, 5))) for n in (70, 90)]
    within = (cells[0].scatter + cells[1].scatter + 30 * np.eye(5)) / 190
    mixed = _mixed_by(cells, 30.0, 2)(cells[0])
    size = (np.trace(np.linalg.inv(within) @ cells[0].scatter) / 5 + 1) / 71
    lead = (cells[0].scatter + 30 * size * within)[:2, :2] / 100
    np.testing.assert_allclose(mixed[:2, :2], lead, rtol=1e-12)

    def rest(covariance):
        return np.linalg.inv(np.linalg.inv(covariance)[2:, 2:])  # of the others, given the leading axes

    np.testing.assert_allclose(rest(mixed), size * rest(within), rtol=1e-10)
    whole = _mixed_by(cells, 30.0, 9)(cells[0])
    np.testing.assert_allclose(whole, (cells[0].scatter + 30 * size * within) / 100, rtol=1e-12)


@pytest.mark.parametrize(("weighting", "axis"), [(0.0, 1), (1.0, 0)])
def test_the_weighting_says_by_which_distance_points_are_parted(weighting, axis):
    rng = np.random.default_rng(22)
    z = np.column_stack([100 * rng.standard_normal(2000), np.repeat([-1.0, 1.0], 1000)])
    z[:, 1] += 0.05 * rng.standard_normal(2000)
    found = CellMixture(1000, weighting=weighting, n_modes=0).fit(z)
    # Two heaps lie apart along the short axis, in Mahalanobis distances; in those of z the long axis is halved.
    apart = np.abs(found.means_[1] - found.means_[0])
    assert len(found.means_) == 2
    assert apart[axis] > 1.5
    assert apart[1 - axis] < 0.2


def test_one_cell_of_normal_points_is_the_normal_law():
    z = np.random.default_rng(3).standard_normal((20_000, 12)) @ np.diag(np.arange(1, 13.0)) + 40
    found = CellMixture(1e9).fit(z)
    assert len(found.weights_) == 1
    assert found.scale_deviation_ == 0
    assert len(found.modes_) == 0
    np.testing.assert_allclose(found.roots_[0], np.eye(12), atol=1e-10)


def test_clusters_far_apart_are_found_with_their_shares_and_covariances():
    rng = np.random.default_rng(4)
    shares, centres = [4000, 2000], np.array([[0.0, 0.0, 0.0], [40.0, 0.0, -20.0]])
    roots = [np.diag([1.0, 2.0, 3.0]), np.array([[1.0, 0, 0], [0.9, 0.3, 0], [0, 0, 1.0]])]
    z = np.concatenate(
        [
            rng.standard_normal((n, 3)) @ root.T + centre
            for n, root, centre in zip(shares, roots, centres, strict=True)
        ]
    )
    points = CellMixture(3000, prior=1e-6).fit(z).sample(N, random_state=5)
    second = points[:, 0] > 20
    assert second.mean() == pytest.approx(1 / 3, abs=5 * np.sqrt(2 / 9 / N))
    for part, given in ((points[~second], z[:4000]), (points[second], z[4000:])):
        scale = np.sqrt(np.outer(given.var(axis=0), given.var(axis=0)))
        np.testing.assert_allclose(
            np.cov(part.T) / scale, np.cov(given.T) / scale, atol=5 * np.sqrt(2 / 12_000)
        )


def test_a_common_scale_is_found_and_drawn():
    rng = np.random.default_rng(6)
    z = np.exp(0.4 * rng.standard_normal((20_000, 1))) * rng.standard_normal((20_000, 40))
    found = CellMixture(1e9, n_modes=0).fit(z)
    # The deviation of 20 000 numbers, five standard errors, and 1 % for what hides in the means' own deviation.
    assert found.scale_deviation_ == pytest.approx(0.4, abs=0.4 * (5 / np.sqrt(2 * 20_000) + 0.01))
    lengths = np.log(np.linalg.norm(found.sample(N, random_state=7), axis=1))
    given = np.log(np.linalg.norm(z, axis=1))
    assert lengths.std() == pytest.approx(given.std(), rel=0.04)
    assert lengths.mean() == pytest.approx(given.mean(), abs=0.03)


def test_stretches_are_roots_of_the_exponential_of_the_modes(monkeypatch):
    monkeypatch.setattr(mixtures, "_BLOCK", 3)
    rng = np.random.default_rng(23)
    sampler = CellMixture()
    sampler.modes_ = 0.3 * (half := rng.standard_normal((2, 3, 3))) + 0.3 * half.transpose(0, 2, 1)
    sampler.band_modes_ = 0.3 * rng.standard_normal((2, 2))
    y, x = rng.standard_normal((8, 2)), rng.standard_normal((8, 5))
    stretched = sampler._stretched(y, x)
    for own, point, found in zip(y, x, stretched, strict=True):
        leading = expm(0.5 * np.tensordot(own, sampler.modes_, axes=1)) @ point[:3]
        others = np.exp(0.5 * own @ sampler.band_modes_) * point[3:]
        np.testing.assert_allclose(found, np.concatenate([leading, others]))


def test_scales_are_found_where_points_are_few_for_their_cells():
    rng = np.random.default_rng(24)
    z = np.exp(0.5 * rng.standard_normal((2000, 1))) * rng.standard_normal((2000, 30))
    # By the covariance of its own half, of some fifty points, no point would be far out: this would give 0.25.
    assert CellMixture(100, prior=1, n_modes=0).fit(z).scale_deviation_ == pytest.approx(0.5, rel=0.15)


def test_a_mode_is_found_and_drawn():
    rng = np.random.default_rng(8)
    y = rng.standard_normal((40_000, 1))
    z = rng.standard_normal((40_000, 6))
    b = np.array([1, 1, -1, -1, 0, 0]) / 2
    x = z * np.exp(0.5 * 0.8 * y * b - 0.25 * 0.64 * b**2)  # variances e^(0.8 y b), with mean 1
    modes = _modes(x, 6, 5)
    # Each variable scale also widens the tails along its own axis, which weaker modes take up.
    assert max(mode.deviation for mode in modes[1:]) < modes[0].deviation
    np.testing.assert_allclose(np.abs(np.sum(modes[0].leading * np.diag(b))), 1, atol=0.02)
    assert modes[0].deviation == pytest.approx(0.8, rel=0.15)  # too low: points farthest out are pulled in
    drawn = whitened(CellMixture(1e9).fit(x).sample(N, random_state=9), x)
    together, given = (np.corrcoef(np.square(p).T) for p in (drawn, whitened(x, x)))
    np.testing.assert_allclose(together, given, atol=0.05)


def test_a_mode_of_leading_and_other_axes_is_drawn():
    rng = np.random.default_rng(8)
    y = rng.standard_normal((40_000, 1))
    b = np.array([1, 1, -1, -1, 0, 0]) / 2
    x = rng.standard_normal((40_000, 6)) * np.exp(0.5 * 0.8 * y * b) * np.arange(6, 0, -1)
    drawn = whitened(CellMixture(1e9, n_leading=3).fit(x).sample(N, random_state=9), x)
    together, given = (np.corrcoef(np.square(p).T)[:3, 3] for p in (drawn, whitened(x, x)))
    # Axis 3 is not a leading one: its variance rises as those of the first two fall. More than a third of that is
    # drawn; not all, since points farthest out are pulled in.
    assert (np.sign(given) == [-1, -1, 1]).all()
    assert together @ given > given @ given / 3


def test_points_without_their_scales_have_mean_square_one():
    rng = np.random.default_rng(15)
    t = 0.5 * rng.standard_normal((5000, 1))
    x = (np.exp(t) * rng.standard_normal((5000, 60))).astype(np.float32)
    deviation = _divide_by_scales(x)
    assert deviation == pytest.approx(0.5, rel=0.05)
    np.testing.assert_allclose(np.square(x).mean(axis=0), 1, rtol=1e-3)
    assert (
        np.log(np.linalg.norm(x, axis=1)).std() < 0.2
    )  # what chance gives means of 60 numbers, not 0.5 any longer


def test_moments_of_squares_do_not_depend_on_the_blocks(monkeypatch):
    x = np.random.default_rng(16).standard_t(5, (500, 12))
    whole = mixtures._moments_of_squares(x, 3)
    monkeypatch.setattr(mixtures, "_BLOCK", 77)
    parts = mixtures._moments_of_squares(x, 3)
    np.testing.assert_allclose(parts.mean, whole.mean)
    np.testing.assert_allclose(parts.covariance, whole.covariance)


def test_a_bent_cloud_is_drawn_bent():
    rng = np.random.default_rng(20)
    z = rng.standard_normal((30_000, 6))
    z[:, 2] = 0.5 * (z[:, 0] ** 2 - z[:, 1] ** 2) / 2 + 0.8 * z[:, 2]  # a saddle
    u = whitened(z, z)
    sampler = CellMixture(1e9).fit(z)
    drawn = whitened(sampler.sample(N, random_state=21), z)
    third = [np.einsum("ni,nj,nk->ijk", p, p, p) / len(p) for p in (u, drawn)]
    assert np.abs(third[0]).max() > 0.4
    assert np.linalg.norm(third[1] - third[0]) < 0.5 * np.linalg.norm(third[0])
    np.testing.assert_allclose(np.cov(drawn.T), np.eye(6), atol=0.05)
    sampler.bends_[:] = 0  # nothing else in it is odd
    straight = whitened(sampler.sample(N, random_state=21), z)
    np.testing.assert_allclose(np.einsum("ni,nj,nk->ijk", straight, straight, straight) / N, 0, atol=0.1)


def test_bends_leave_no_third_moment_but_by_chance():
    rng = np.random.default_rng(20)
    y = rng.standard_normal((30_000, 1))
    x = rng.standard_normal((30_000, 4)) * np.exp(0.4 * y * [0.7, -0.7, 0, 0]) + y * [0, 0, 0.3, 0]
    x = np.float32(x / np.sqrt(np.square(x).mean(axis=0)))
    sampler = CellMixture(n_modes=1)
    sampler._set_modes(x, np.random.default_rng(5))
    # The numbers with which they were found: with others, ten thousand draws would have a chance of their own.
    rng = np.random.default_rng(5)
    y = rng.standard_normal((mixtures._TRIALS, 1)) * sampler.mode_deviations_
    stretched = sampler._stretched(y, rng.standard_normal((mixtures._TRIALS, 4)))
    drawn = y @ sampler.bends_.T + stretched @ sampler.correction_
    limit = float(np.quantile(np.abs(sampler._strengths(x)), 0.99))
    wanted, error = sampler._third_moments(x, limit)
    assert np.abs(wanted[2]) > 10 * error
    assert np.sqrt(np.square(wanted - sampler._third_moments(drawn, limit)[0]).mean()) < error


def test_products_are_those_of_the_slow_definition_and_of_variance_two():
    x = np.random.default_rng(10).standard_normal((5000, 12)).astype(np.float32)
    rows = np.concatenate(list(_squares(x, 3)))
    assert rows.shape == (5000, 6 + 8)
    h = x.astype(np.float64)
    np.testing.assert_allclose(rows[:, 0], h[:, 0] ** 2 - 1)
    np.testing.assert_allclose(rows[:, 1], np.sqrt(2) * h[:, 0] * h[:, 1])
    np.testing.assert_allclose(rows[:, 6], ((h[:, 3] ** 2 - 1) + (h[:, 4] ** 2 - 1)) / np.sqrt(2))
    np.testing.assert_allclose(rows.var(axis=0), 2, rtol=5 * np.sqrt(14 / 5000))


def test_variance_along_a_mode_is_that_of_draws():
    rng = np.random.default_rng(11)
    own = np.array([0.7, 0.5, -0.5, 0.1])
    tau, n = 0.6, 2_000_000
    weights = np.exp(tau * rng.standard_normal((n, 1)) * own - 0.5 * tau**2 * own**2)
    drawn = (own * weights * rng.standard_normal((n, 4)) ** 2).sum(axis=1)
    # Five standard errors with kurtosis 30.
    assert _mode_deviation(own, drawn.var()) == pytest.approx(tau, rel=0.03)
    assert _mode_deviation(own, 0.5) == 0  # below what normal points have
    assert np.isfinite(_mode_deviation(own, 1e60))


def test_spikes_come_back_from_what_a_sample_shows():
    for true in (2.0, 5.0, 30.0):
        assert _spike(true + 0.5 * true / (true - 1), 0.5) == pytest.approx(true)


def test_heavy_tails_that_a_normal_law_misses_come_back():
    rng = np.random.default_rng(12)
    z = rng.standard_normal((4000, 20)) * np.exp(0.3 * rng.standard_normal((4000, 1)))
    drawn = CellMixture(400).fit(z).sample(N, random_state=13)
    true = 3 * np.exp(4 * 0.3**2) - 3
    assert 0.5 * true < np.median(kurtosis(drawn)) < 1.25 * true


def test_the_audit_clears_large_cells_and_finds_small_ones():
    rng = np.random.default_rng(14)
    z = rng.standard_normal((3000, 60)) * 0.9 ** np.arange(60)
    train, held_out = z[:1500], z[1500:]
    clear = CellMixture(500, n_modes=0).fit(train).sample(1000, random_state=15)
    copies = CellMixture(30, prior=1e-3, n_modes=0).fit(train).sample(1000, random_state=15)
    assert copying_audit(clear, train, held_out).clear
    assert not copying_audit(copies, train, held_out).clear


@pytest.mark.parametrize("name", SINGULAR)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_singular_clouds(name, dtype):
    z = SINGULAR[name].astype(dtype)
    points = CellMixture(50).fit(z).sample(400, random_state=16)
    assert points.shape == (400, z.shape[1])
    assert np.isfinite(points).all()
    axes = principal_axes(SINGULAR[name])
    np.testing.assert_allclose(axes.inverse_transform(axes.transform(points)), points, atol=1e-4)
    if name == "constant component":
        np.testing.assert_allclose(points[:, 1], 7, rtol=1e-6)


def test_there_is_no_density():
    assert not hasattr(CellMixture().fit(CLOUD), "score_samples")


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (CellMixture(0.0), "cell_size must be finite and above 0"),
        (CellMixture(prior=-1.0), "prior must be finite and above 0"),
        (CellMixture(weighting=1.5), "weighting must be 0 to 1, not 1.5"),
        (CellMixture(n_leading=0), "n_leading must be at least 1"),
        (CellMixture(n_modes=-1), "n_modes at least 0, not 64 and -1"),
    ],
)
def test_bad_parameters_are_refused(sampler, message):
    with pytest.raises(ValueError, match=message):
        sampler.fit(CLOUD)


def test_a_cloud_of_one_place_is_refused():
    with pytest.raises(ValueError, match="no variance"):
        CellMixture().fit(np.ones((9, 3)))
