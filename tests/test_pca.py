import numpy as np
import pytest
from sklearn.decomposition import PCA

from aelib.moments import measure_moments
from aelib.pca import PrincipalAxes, decorrelation, n_for_share, principal_axes, significant_axes

RNG = np.random.default_rng(6)
MIXING = RNG.standard_normal((7, 7))
CLOUDS = {
    "correlated": RNG.standard_normal((800, 7)) @ MIXING,
    "off centre": 1e4 + RNG.standard_normal((800, 7)) @ MIXING,
    "float32": (RNG.standard_normal((800, 7)) @ MIXING).astype(np.float32),
    "rank deficient": RNG.standard_normal((800, 3)) @ RNG.standard_normal((3, 7)) + 5,
    "fewer points than dimensions": RNG.standard_normal((5, 7)),
    "a constant component": RNG.standard_normal((800, 7)) * [1, 2, 3, 0, 4, 5, 6] + 2,
}
RANKS = dict(zip(CLOUDS, [7, 7, 7, 3, 4, 6], strict=True))


@pytest.mark.parametrize("name", CLOUDS)
def test_axes_agree_with_scikit_learn(name):
    z = CLOUDS[name]
    axes, rank = principal_axes(z), RANKS[name]
    oracle = PCA(n_components=rank, svd_solver="full").fit(z.astype(float))
    np.testing.assert_allclose(axes.mean, oracle.mean_, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(axes.variances, oracle.explained_variance_, rtol=1e-7)
    np.testing.assert_allclose(axes.explained, oracle.explained_variance_ratio_, rtol=1e-7)
    overlap = axes.axes @ oracle.components_.T
    np.testing.assert_allclose(np.abs(overlap), np.eye(rank), atol=1e-6)
    assert axes.cumulative[-1] == pytest.approx(1.0)
    assert axes.cumulative.max() <= 1.0


@pytest.mark.parametrize("name", CLOUDS)
def test_coordinates_are_uncorrelated_and_lead_back(name):
    z = CLOUDS[name]
    axes = principal_axes(z)
    y = axes.transform(z)
    assert y.dtype == z.dtype
    # float32 coordinates are rounded by 6e-8 each.
    assert decorrelation(y) < (1e-6 if z.dtype == np.float32 else 1e-8)
    np.testing.assert_allclose(y.var(axis=0, ddof=1), axes.variances, rtol=1e-4)
    np.testing.assert_allclose(axes.inverse_transform(y), z, rtol=1e-5, atol=1e-5)


def test_the_largest_loading_is_positive_and_the_first_axes_are_the_same():
    z = CLOUDS["correlated"]
    axes, first = principal_axes(z), principal_axes(measure_moments(z), k=2)
    assert (axes.axes[np.arange(7), np.abs(axes.axes).argmax(axis=1)] > 0).all()
    np.testing.assert_array_equal(first.axes, axes.axes[:2])
    assert first.cumulative[-1] == pytest.approx(axes.cumulative[1])
    np.testing.assert_allclose(first.transform(z), axes.transform(z)[:, :2])


def test_axes_refuse_what_they_cannot_use():
    with pytest.raises(ValueError, match="k must be 1 to 3, the number of axes"):
        principal_axes(CLOUDS["rank deficient"], k=4)
    with pytest.raises(ValueError, match="all its points are the same"):
        principal_axes(np.ones((4, 3)))
    with pytest.raises(ValueError, match="at least 2 points"):
        principal_axes(np.ones((1, 3)))
    with pytest.raises(ValueError, match="z must be finite"):
        principal_axes(np.full((4, 3), np.nan))
    axes = principal_axes(CLOUDS["rank deficient"])
    with pytest.raises(ValueError, match="d = 7 components, as these axes have, not 3"):
        axes.transform(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="k = 3 components, as these axes have, not 7"):
        axes.inverse_transform(np.zeros((2, 7)))


def test_decorrelation_is_the_largest_correlation():
    z = CLOUDS["correlated"]
    assert decorrelation(z) == pytest.approx(np.abs(np.corrcoef(z.T) - np.eye(7)).max())
    with pytest.raises(ValueError, match="at least 2 components"):
        decorrelation(z[:, :1])


def test_number_of_axes_for_a_share():
    axes = PrincipalAxes(np.zeros(4), np.eye(4), np.array([4.0, 3.0, 2.0, 1.0]), 10.0)
    shares = [0.01, 0.4, 0.41, 0.7, 0.9, 0.91, 1.0]
    assert [n_for_share(axes, share) for share in shares] == [1, 1, 2, 2, 3, 4, 4]
    assert n_for_share(principal_axes(CLOUDS["correlated"]), 1.0) == 7
    for share in (0.0, 1.1, float("nan")):
        with pytest.raises(ValueError, match="share must be above 0 and at most 1"):
            n_for_share(axes, share)
    with pytest.raises(ValueError, match="1 axes explain 0.400 of the variance, less than 0.5"):
        n_for_share(PrincipalAxes(np.zeros(4), np.eye(4)[:1], np.array([4.0]), 10.0), 0.5)


def shuffled_spectra(z, draws, rng):
    shuffled = (rng.permuted(z, axis=0) for _ in range(draws))
    return np.array([np.linalg.eigvalsh(np.cov(points.T))[::-1] for points in shuffled])


@pytest.mark.parametrize("n", [12, 400])
def test_thresholds_are_those_of_shuffled_clouds(n):
    rng = np.random.default_rng(10)
    z = rng.gamma(4.0, size=(n, 20)) @ (np.eye(20) + 0.2) * np.linspace(1, 2, 20)
    found = significant_axes(measure_moments(z), quantile=0.5, draws=400, random_state=1)
    shuffled = np.median(shuffled_spectra(z, 400, rng), axis=0)
    # Medians of 400 draws are known to about a twentieth of the draws' spread; 3 % is three times that or more.
    np.testing.assert_allclose(found.thresholds[:8], shuffled[:8], rtol=0.03)


def test_hidden_causes_are_counted():
    rng = np.random.default_rng(11)
    causes = rng.standard_normal((2000, 3)) @ rng.standard_normal((3, 30))
    z = (rng.standard_normal((2000, 30)) + causes) * np.geomspace(1, 100, 30)
    found = significant_axes(measure_moments(z).standardised, random_state=2)
    assert found.n_significant == 3
    expected = np.linalg.eigvalsh(np.corrcoef(z.T))[::-1]
    np.testing.assert_allclose(found.variances, expected)


def test_few_axes_are_significant_by_chance():
    rng = np.random.default_rng(12)
    clouds = (rng.standard_normal((300, 10)) for _ in range(100))
    counts = [significant_axes(measure_moments(z), random_state=3).n_significant for z in clouds]
    # 5 % of the clouds by construction; the thresholds are estimated too. P(more than 14 of 100 | 5 %) < 0.001
    assert np.count_nonzero(counts) <= 14


def test_a_constant_component_is_no_axis_and_bad_settings_are_refused():
    moments = measure_moments(CLOUDS["a constant component"])
    assert significant_axes(moments).thresholds[-1] == pytest.approx(0.0, abs=1e-9)
    for settings in ({"quantile": 1.0}, {"draws": 0}):
        with pytest.raises(ValueError, match="quantile must lie between 0 and 1"):
            significant_axes(moments, **settings)
