from functools import partial

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import ks_2samp, multivariate_normal, spearmanr
from sklearn.mixture import GaussianMixture as Oracle

from aelib import empirical
from aelib.blocks import checked_blocks
from aelib.empirical import GaussianCopula, GaussianMixture, NeighbourInterpolation, PCAMarginals
from aelib.pca import principal_axes

N = 40_000
RNG = np.random.default_rng(61)
MIXING = np.diag([1.0, 2.0, 0.5, 3.0]) + 0.4 * RNG.standard_normal((4, 4))
CLOUD = RNG.standard_normal((3000, 4)) @ MIXING + [4.0, -7.0, 0.0, 30.0]
SKEWED = RNG.exponential(size=(3000, 4)) @ MIXING + [4.0, -7.0, 0.0, 30.0]
SINGULAR = {
    "rank 2": RNG.standard_normal((300, 2)) @ RNG.standard_normal((2, 4)) + 5,
    "n < d": CLOUD[:3],
    "constant component": CLOUD * [1, 0, 1, 1] + [0, 7, 0, 0],
    "one component": CLOUD[:, 3:],
}
SAMPLERS = {
    "marginals": PCAMarginals(),
    "copula": GaussianCopula(),
    "mixture": GaussianMixture(2),
    "segments": NeighbourInterpolation(2),
    "kernel": NeighbourInterpolation(2, draw="kernel", scale=0.5),
}


def covariance_error(points, expected):
    """Return the largest deviation in standard errors of a normal law's; tails may double those."""
    variances = np.diagonal(expected)
    return np.abs((np.cov(points.T) - expected) / np.sqrt(np.outer(variances, variances) / len(points))).max()


def test_marginals_keep_covariance_and_the_laws_of_principal_coordinates():
    sampler = PCAMarginals().fit(SKEWED)
    points = sampler.sample(N, random_state=1)
    assert covariance_error(points, np.cov(SKEWED.T)) < 15
    std = SKEWED.std(axis=0)
    np.testing.assert_allclose(points.mean(axis=0), SKEWED.mean(axis=0), atol=(5 * std / np.sqrt(N)).max())
    axes = principal_axes(SKEWED)
    for drawn, given in zip(axes.transform(points).T, axes.transform(SKEWED).T, strict=True):
        # 3000 and 40 000 points of one law differ by more than 0.038 with a probability of 0.001.
        assert ks_2samp(drawn, given).statistic < 0.038


def test_marginals_of_a_normal_cloud_have_the_normal_density():
    z = np.random.default_rng(2).standard_normal((100_000, 2)) @ MIXING[:2, :2] + 3
    law = multivariate_normal(z.mean(axis=0), np.cov(z.T))
    found = PCAMarginals().fit(z).score_samples(z[:2000])
    # Slopes between knots are known to some per cent; their logarithms average out.
    assert np.mean(found - law.logpdf(z[:2000])) == pytest.approx(0, abs=0.02)
    assert np.std(found - law.logpdf(z[:2000])) < 0.2


def test_marginals_of_independent_exponential_laws_have_their_density():
    z = np.random.default_rng(12).exponential([1.0, 10.0], (50_000, 2))
    log = -z[:2000] @ [1.0, 0.1] - np.log(10)
    # The principal axes are the components' own to about 0.01; near an edge the smoothed law is a little too low.
    assert np.mean(PCAMarginals().fit(z).score_samples(z[:2000]) - log) == pytest.approx(0, abs=0.05)


def test_axes_are_read_in_groups(monkeypatch):
    whole = PCAMarginals().fit(SKEWED)
    monkeypatch.setattr(empirical, "_AXES", 3)
    parts = PCAMarginals().fit(SKEWED)
    np.testing.assert_allclose(parts.quantiles_, whole.quantiles_)
    np.testing.assert_allclose(parts.tails_, whole.tails_)


def test_copula_keeps_marginal_laws_and_rank_correlations():
    z = np.exp(0.5 * CLOUD / CLOUD.std(axis=0))
    points = GaussianCopula().fit(z).sample(N, random_state=3)
    for drawn, given in zip(points.T, z.T, strict=True):
        assert ks_2samp(drawn, given).statistic < 0.038
    # Rank correlations of 3000 points, five standard errors.
    np.testing.assert_allclose(spearmanr(points).statistic, spearmanr(z).statistic, atol=5 / np.sqrt(3000))


def test_copula_reads_correlations_of_all_blocks(monkeypatch):
    whole = GaussianCopula().fit(SKEWED)
    monkeypatch.setattr(empirical, "checked_blocks", partial(checked_blocks, block=700))
    parts = GaussianCopula().fit(SKEWED)
    scores = whole._scores(SKEWED)
    np.testing.assert_allclose(whole.correlation_, np.corrcoef(scores.T), atol=1e-12)
    np.testing.assert_allclose(parts.correlation_, whole.correlation_, atol=1e-12)


def test_copula_density_is_that_of_a_normal_and_of_its_exponential():
    cov = np.array([[1.0, 0.7], [0.7, 1.0]])
    x = np.random.default_rng(4).multivariate_normal([0, 0], cov, 100_000)
    law = multivariate_normal([0, 0], cov)
    for z, log in ((x, law.logpdf(x)), (np.exp(x), law.logpdf(x) - x.sum(axis=1))):
        found = GaussianCopula().fit(z).score_samples(z[:2000])
        assert np.mean(found - log[:2000]) == pytest.approx(0, abs=0.03)


def test_copula_of_dependent_points_without_density_says_so():
    copula = GaussianCopula().fit(CLOUD[:3])
    assert np.isfinite(copula.sample(5, random_state=1)).all()
    with pytest.raises(ValueError, match="the 4 components vary along 2 axes only"):
        copula.score_samples(CLOUD)


@pytest.mark.parametrize("space", ["whitened", "principal"])
@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("n_axes", [None, 2])
def test_mixture_is_that_of_scikit_learn(space, kind, n_axes):
    sampler = GaussianMixture(3, covariance_type=kind, space=space, n_axes=n_axes, random_state=5).fit(SKEWED)
    axes = principal_axes(SKEWED)
    y, a = axes.transform(SKEWED), n_axes or 4
    scale = np.sqrt(axes.variances) if space == "whitened" else np.ones(4)
    oracle = Oracle(3, covariance_type=kind, random_state=5, max_iter=200).fit((y / scale)[:, :a])
    expected = oracle.score_samples((y / scale)[:, :a]) - np.log(scale[:a]).sum()
    expected += sum(
        multivariate_normal(0, v).logpdf(c) for c, v in zip(y.T[a:], axes.variances[a:], strict=True)
    )
    np.testing.assert_allclose(sampler.score_samples(SKEWED), expected, rtol=1e-7)

    points = sampler.sample(N, random_state=6)
    drawn = axes.transform(points)
    theirs, _ = oracle.set_params(random_state=7).sample(N)
    for j in range(a):
        # Two samples of 40 000 of one law differ by more than 0.0138 with a probability of 0.001.
        assert ks_2samp(drawn[:, j], theirs[:, j] * scale[j]).statistic < 0.0138
    inner = np.cov(theirs.T) * np.outer(scale[:a], scale[:a])
    tolerance = 15 * np.sqrt(np.outer(np.diagonal(inner), np.diagonal(inner)) / N)
    assert (np.abs(np.cov(drawn[:, :a].T) - inner) < tolerance).all()
    np.testing.assert_allclose(drawn[:, a:].var(axis=0), axes.variances[a:], rtol=5 * np.sqrt(2 / N))


def test_a_mixture_of_one_is_the_normal_law():
    sampler = GaussianMixture(1, reg_covar=0).fit(CLOUD)
    law = multivariate_normal(CLOUD.mean(axis=0), np.cov(CLOUD.T) * 2999 / 3000)
    np.testing.assert_allclose(sampler.score_samples(CLOUD), law.logpdf(CLOUD))


def test_neighbours_are_those_of_the_slow_definition():
    z = (
        np.concatenate([CLOUD[:60], CLOUD[:5], *[CLOUD[:1]] * 6]) + 1e4
    )  # with points that are there twice, and one more often than it has neighbours
    sampler = NeighbourInterpolation(3).fit(z)
    own = np.arange(len(z))
    found = sampler._neighbours(own)
    assert (found != own[:, None]).all()
    distance = cdist(z, z)
    np.fill_diagonal(distance, np.inf)
    nearest = np.sort(distance, axis=1)[:, :3]
    np.testing.assert_allclose(np.take_along_axis(distance, found, axis=1), nearest, atol=1e-8)


def test_segments_lie_between_a_point_and_a_neighbour():
    z = CLOUD[:40]
    sampler = NeighbourInterpolation(2, scale=0.5).fit(z)
    points = sampler.sample(300, random_state=8)
    distance = cdist(z, z)
    np.fill_diagonal(distance, np.inf)
    pairs = [(i, j) for i in range(40) for j in np.argsort(distance[i])[:2]]
    starts, ends = (z[list(side)] for side in zip(*pairs, strict=True))
    direction = ends - starts
    step = np.einsum("nmd,md->nm", points[:, None] - starts, direction) / np.square(direction).sum(axis=1)
    gap = np.linalg.norm(points[:, None] - starts - step[..., None] * direction, axis=2)
    inside = (gap < 1e-9) & (step >= -1e-9) & (step <= 0.5 + 1e-9)
    assert inside.any(axis=1).all()


def test_kernel_has_the_local_scatter_as_covariance():
    z = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 1.0]])
    sampler = NeighbourInterpolation(2, draw="kernel", scale=0.1).fit(z)
    points = sampler.sample(3 * N, random_state=9)
    near = points[np.argmin(cdist(points, z), axis=1) == 0]
    # From (0, 0): 0.1² / 2 times 4² and 1². Shares of thirds: N points, five standard errors.
    np.testing.assert_allclose(np.cov(near.T), 0.005 * np.diag([16, 1]), atol=5 * np.sqrt(2 / N) * 0.08)
    np.testing.assert_allclose(near.mean(axis=0), 0, atol=5 * 0.29 / np.sqrt(N))


@pytest.mark.parametrize("name", SINGULAR)
@pytest.mark.parametrize("law", SAMPLERS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_singular_clouds(name, law, dtype):
    z = SINGULAR[name].astype(dtype)
    sampler = SAMPLERS[law].fit(z)
    points = sampler.sample(400, random_state=10)
    assert points.shape == (400, z.shape[1])
    assert np.isfinite(points).all()
    if law != "copula":  # whose law is curved
        axes = principal_axes(SINGULAR[name])
        np.testing.assert_allclose(axes.inverse_transform(axes.transform(points)), points, atol=1e-4)
    if name == "constant component":
        np.testing.assert_allclose(points[:, 1], 7, rtol=1e-6)
    if law in ("marginals", "mixture") or (
        law == "copula" and name in ("constant component", "one component")
    ):
        assert np.isfinite(sampler.score_samples(points)).all()
    if law == "copula" and name == "constant component":
        assert np.isneginf(sampler.score_samples(points + 1)).all()


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (GaussianMixture(2, covariance_type="round"), "covariance_type must be one of"),
        (GaussianMixture(2, space="z"), "space must be one of 'whitened', 'principal'"),
        (GaussianMixture(2, n_axes=5), "n_axes must be 1 to 4"),
        (GaussianMixture(0), "n_components"),
        (NeighbourInterpolation(0), "k must be at least 1 and below n_samples = 3000, not 0"),
        (NeighbourInterpolation(3000), "k must be at least 1 and below n_samples"),
        (NeighbourInterpolation(draw="line"), "draw must be one of 'segment', 'kernel'"),
        (NeighbourInterpolation(scale=0.0), "scale must be finite and above 0"),
        (NeighbourInterpolation(scale=1.5), "scale must be at most 1 with draw='segment'"),
    ],
)
def test_bad_parameters_are_refused(sampler, message):
    with pytest.raises(ValueError, match=message):
        sampler.fit(CLOUD)


def test_a_cloud_of_one_place_is_refused():
    for law in ("marginals", "copula", "mixture"):
        with pytest.raises(ValueError, match="no variance"):
            SAMPLERS[law].fit(np.ones((9, 3)))
