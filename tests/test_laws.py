import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.covariance import ledoit_wolf, oas

from aelib.laws import MultivariateNormal, SphereShell, StandardNormal, UniformBox

N = 100_000  # draws; Monte-Carlo tolerances are five standard errors unless stated otherwise
RNG = np.random.default_rng(21)
MIXING = np.diag([1.0, 2.0, 0.5, 3.0, 1.0]) + 0.4 * RNG.standard_normal((5, 5))
CENTRE = np.array([4.0, -7.0, 0.0, 30.0, 1.0])
CLOUD = RNG.standard_normal((400, 5)) @ MIXING + CENTRE


def assert_moments(points, mean, covariance):
    """Compare mean and covariance with those stated, within five standard errors of a normal law's."""
    n, variances = len(points), np.diagonal(covariance)
    assert (np.abs(points.mean(axis=0) - mean) <= 5 * np.sqrt(variances / n) + 1e-12).all()
    error = np.sqrt((np.outer(variances, variances) + covariance**2) / n)
    assert (np.abs(np.cov(points.T) - covariance) <= 5 * error + 1e-9).all()


@pytest.mark.parametrize(("b", "centre"), [(1.5, "origin"), (None, "origin"), (None, "mean")])
def test_box(b, centre):
    box = UniformBox(b, centre=centre).fit(CLOUD)
    middle = CLOUD.mean(axis=0) if centre == "mean" else np.zeros(5)
    rms = np.sqrt(np.square(CLOUD - middle).sum(axis=1).mean())
    side = 1.5 if b else rms * np.sqrt(3 / 5)
    assert box.b_ == pytest.approx(side)
    points = box.sample(N, random_state=1)
    assert np.abs(points - middle).max() <= side
    assert_moments(points, middle, np.eye(5) * side**2 / 3)
    if b is None:
        square = np.square(points - middle).sum(axis=1)
        assert square.mean() == pytest.approx(rms**2, abs=5 * square.std() / np.sqrt(N))
    log = box.score_samples(np.stack([middle, middle + 1.01 * side]))
    np.testing.assert_allclose(log, [-5 * np.log(2 * side), -np.inf])


@pytest.mark.parametrize(("radius", "centre"), [(2.0, "origin"), (None, "origin"), (None, "mean")])
def test_shell(radius, centre):
    shell = SphereShell(radius, centre=centre).fit(CLOUD.astype(np.float32))
    middle = CLOUD.mean(axis=0) if centre == "mean" else np.zeros(5)
    expected = radius or np.sqrt(np.square(CLOUD - middle).sum(axis=1).mean())
    points = shell.sample(N, random_state=2) - shell.centre_
    np.testing.assert_allclose(shell.centre_, middle, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), expected, rtol=1e-6)
    assert_moments(points, np.zeros(5), np.eye(5) * expected**2 / 5)


def test_standard_normal_ignores_the_cloud():
    law = StandardNormal().fit(CLOUD)
    assert_moments(law.sample(N, random_state=3), np.zeros(5), np.eye(5))
    np.testing.assert_allclose(law.score_samples(CLOUD), multivariate_normal(np.zeros(5)).logpdf(CLOUD))


@pytest.mark.parametrize("mean", ["fitted", "dropped"])
@pytest.mark.parametrize("covariance", ["full", "diagonal"])
@pytest.mark.parametrize("temperature", [1.0, 0.8])
def test_normal(mean, covariance, temperature):
    normal = MultivariateNormal(mean=mean, covariance=covariance, temperature=temperature).fit(CLOUD)
    centre = CLOUD.mean(axis=0) if mean == "fitted" else np.zeros(5)
    expected = np.cov(CLOUD.T) if covariance == "full" else np.diag(CLOUD.var(axis=0, ddof=1))
    np.testing.assert_allclose(normal.covariance_, expected, atol=1e-10)
    law = multivariate_normal(centre, temperature**2 * expected)
    assert_moments(normal.sample(N, random_state=4), centre, temperature**2 * expected)
    np.testing.assert_allclose(normal.score_samples(CLOUD), law.logpdf(CLOUD), rtol=1e-9)


@pytest.mark.parametrize("n", [3, 60, 2000])
@pytest.mark.parametrize("name", ["oas", "ledoit-wolf"])
def test_shrinkage_is_that_of_scikit_learn(n, name):
    z = RNG.standard_normal((n, 12)) * np.linspace(1, 5, 12) + 100
    oracle = {"oas": oas, "ledoit-wolf": ledoit_wolf}[name]
    normal = MultivariateNormal(shrinkage=name).fit(z)
    shrunk, weight = oracle(z)
    assert normal.shrinkage_ == pytest.approx(weight, rel=1e-9)
    np.testing.assert_allclose(normal.covariance_, shrunk * n / (n - 1), rtol=1e-9, atol=1e-9)
    assert normal.axes_.shape == (12, 12)  # though n < d
    assert np.isfinite(normal.score_samples(z + 1)).all()


def test_shrinkage_of_a_round_cloud_and_of_one_component():
    round_cloud = np.concatenate([np.eye(3), -np.eye(3)])
    assert MultivariateNormal(shrinkage="oas").fit(round_cloud).shrinkage_ == 1.0
    assert MultivariateNormal(shrinkage="ledoit-wolf").fit(CLOUD[:, :1]).shrinkage_ == 0.0


@pytest.mark.parametrize("core", [0.5, 0.75, 0.9])
@pytest.mark.parametrize("n", [300, 20_000])
def test_core_of_a_normal_cloud_is_corrected_for_the_cut(core, n):
    z = np.random.default_rng(6).standard_normal((n, 10)) @ np.diag(np.arange(1.0, 11)) + 5
    normal = MultivariateNormal(core=core).fit(z)
    # In units of the true law. Estimates from half of 300 points: trace of 10 to 5 %, of 20 000 points to 1 %.
    inverse = np.diag(1 / np.arange(1.0, 11) ** 2)
    assert np.trace(inverse @ normal.covariance_) == pytest.approx(10, rel=0.05 if n == 300 else 0.01)
    np.testing.assert_allclose(normal.mean_ / np.arange(1, 11), 5 / np.arange(1, 11), atol=5 / np.sqrt(n / 3))


def test_core_forgets_outliers():
    z = CLOUD.copy()
    z[:20] += 60.0
    clean = np.cov(CLOUD.T)
    robust, plain = MultivariateNormal(core=0.8).fit(z), MultivariateNormal().fit(z)
    np.testing.assert_allclose(robust.mean_, CLOUD[20:].mean(axis=0), atol=0.6)
    # A covariance from 80 % of 400 points is known to about 10 %.
    assert np.trace(robust.covariance_) == pytest.approx(np.trace(clean), rel=0.15)
    assert np.trace(plain.covariance_) > 5 * np.trace(clean)
    np.testing.assert_array_equal(MultivariateNormal(core=1.0).fit(z).covariance_, plain.covariance_)


@pytest.mark.parametrize("height", [0.5, 20.0])
def test_core_of_a_cloud_in_a_plane_leaves_out_what_is_off_it(height):
    rng = np.random.default_rng(9)
    z = np.zeros((420, 3))
    z[:, :2] = rng.normal(0, [3.0, 2.0], (420, 2))
    z[:20] = [0.1, 0.1, height]  # near the middle, but for the direction in which the others do not vary
    normal = MultivariateNormal(core=0.9).fit(z)
    assert normal.axes_.shape == (2, 3)
    np.testing.assert_allclose(normal.axes_[:, 2], 0, atol=1e-9)
    assert normal.mean_[2] == 0


def test_core_needs_more_points_than_dimensions():
    with pytest.raises(
        ValueError, match="a core of 0.5 of 12 points holds 6, but needs more than d \\+ 1 = 6"
    ):
        MultivariateNormal(core=0.5).fit(CLOUD[:12])


SINGULAR = {
    "rank 2": RNG.standard_normal((300, 2)) @ RNG.standard_normal((2, 5)) + CENTRE,
    "n < d": RNG.standard_normal((4, 5)) @ MIXING + CENTRE,
    "constant component": CLOUD * [1, 1, 0, 1, 1] + [0, 0, 7, 0, 0],
}


@pytest.mark.parametrize("name", SINGULAR)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_singular_normal_lives_in_its_plane(name, dtype):
    z = SINGULAR[name].astype(dtype)
    normal = MultivariateNormal().fit(z)
    points = normal.sample(N, random_state=7)
    assert_moments(points, z.mean(axis=0, dtype=float), np.cov(z.T.astype(float)))
    law = multivariate_normal(normal.mean_, normal.covariance_, allow_singular=True)
    np.testing.assert_allclose(normal.score_samples(points[:50]), law.logpdf(points[:50]), rtol=1e-6)
    assert np.isfinite(normal.score_samples(z)).all()
    off = np.linalg.svd(normal.axes_)[2][-1]
    assert np.isneginf(normal.score_samples(points[:5] + off)).all()


def test_one_dimension():
    z = CLOUD[:, :1]
    law = multivariate_normal(z.mean(), z.var(ddof=1))
    np.testing.assert_allclose(MultivariateNormal().fit(z).score_samples(z), law.logpdf(z[:, 0]))


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (UniformBox(0.0), "b must be finite and above 0"),
        (UniformBox(centre="middle"), "centre must be one of 'origin', 'mean', not 'middle'"),
        (SphereShell(-1.0), "radius must be finite and above 0"),
        (MultivariateNormal(mean="zero"), "mean must be one of 'fitted', 'dropped'"),
        (MultivariateNormal(covariance="half"), "covariance must be one of"),
        (MultivariateNormal(shrinkage="yes"), "shrinkage must be one of"),
        (MultivariateNormal(core=0.0), "core must be a share above 0 and at most 1"),
        (MultivariateNormal(core=1.1), "core must be a share above 0 and at most 1"),
        (MultivariateNormal(temperature=0.0), "temperature must be finite and above 0"),
    ],
)
def test_bad_parameters_are_refused(sampler, message):
    with pytest.raises(ValueError, match=message):
        sampler.fit(CLOUD)


def test_a_box_needs_some_extent():
    with pytest.raises(ValueError, match="all points \\(n_samples=4\\) lie at the centre"):
        UniformBox(None, centre="mean").fit(np.ones((4, 2)))


@pytest.mark.parametrize("name", [*SINGULAR, "one component"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_boxes_shells_and_the_standard_normal_do_not_mind_singular_clouds(name, dtype):
    z = (SINGULAR[name] if name in SINGULAR else CLOUD[:, 3:4]).astype(dtype)
    middle, d = z.mean(axis=0, dtype=float), z.shape[1]
    rms = np.sqrt(np.square(z - middle).sum(axis=1).mean())
    drawn = UniformBox(None, centre="mean").fit(z).sample(500, random_state=8)
    # The largest of 500 numbers or more lies below 0.98 of its limit with a probability of 4e-5.
    assert np.abs(drawn - middle).max() / (rms * np.sqrt(3 / d)) == pytest.approx(0.99, abs=0.011)
    drawn = SphereShell(centre="mean").fit(z).sample(500, random_state=8)
    np.testing.assert_allclose(np.linalg.norm(drawn - middle, axis=1), rms, rtol=1e-5)
    points = StandardNormal().fit(z).sample(N, random_state=8)
    assert np.abs(points.mean(axis=0)).max() < 5 / np.sqrt(N)
    assert np.abs(points.var(axis=0) - 1).max() < 5 * np.sqrt(2 / N)
