from itertools import pairwise

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from aelib.marginals import Marginals, fit_marginals

RNG = np.random.default_rng(51)
CLOUD = np.stack(
    [
        RNG.normal(50, 0.01, 20_000),
        RNG.exponential(3, 20_000) - 100,
        RNG.standard_t(4, 20_000),
        np.where(RNG.random(20_000) < 0.3, -4, 4) + RNG.standard_normal(20_000),
        np.full(20_000, 7.3),
        RNG.integers(0, 3, 20_000),
    ],
    axis=1,
)


@pytest.mark.parametrize("n", [2, 30, 500, 20_000])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_mean_and_variance_are_those_of_the_points(n, dtype):
    z = CLOUD[:n].astype(dtype)
    mean, std = fit_marginals(z).moments()
    np.testing.assert_allclose(mean, z.mean(axis=0, dtype=float), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(std, z.std(axis=0, ddof=1, dtype=float), rtol=1e-6, atol=1e-5)


def test_moments_are_those_of_a_numerical_integral():
    marginals = fit_marginals(CLOUD[:500])
    x = np.linspace(-12, 12, 400_001)
    weight = stats.norm.pdf(x) * (x[1] - x[0])
    values = marginals.quantile(np.broadcast_to(x[:, None], (len(x), 6)))
    mean, std = marginals.moments()
    np.testing.assert_allclose(weight @ values, mean, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(np.sqrt(weight @ np.square(values - mean)), std, rtol=1e-5, atol=1e-6)


def test_a_normal_component_gives_a_straight_line():
    n = 4000
    z = stats.norm.ppf((np.arange(n) + 0.5) / n)[:, None] * 3 + 5
    marginals = fit_marginals(z)
    x = np.linspace(-4, 4, 81)[:, None]
    # Beyond the outermost knots, ten points decide: their mean is that of the tail to about 1 %.
    np.testing.assert_allclose(marginals.quantile(x), 5 + 3 * x, atol=0.1)
    inner = np.abs(x[:, 0]) < 2.5
    np.testing.assert_allclose(marginals.quantile(x)[inner], 5 + 3 * x[inner], atol=0.01)


@pytest.mark.parametrize("column", [0, 1, 2, 3])
def test_draws_follow_the_law_of_the_points(column):
    marginals = fit_marginals(CLOUD[:, [column]])
    drawn = marginals.quantile(RNG.standard_normal((50_000, 1)))[:, 0]
    # Two empirical laws of 20 000 and 50 000 points differ by more than 0.016 with a probability of 0.0012; the
    # straight pieces between knots add less than 0.01.
    assert stats.ks_2samp(drawn, CLOUD[:, column]).statistic < 0.026


def test_scores_invert_quantiles_also_in_the_tails():
    marginals = fit_marginals(CLOUD)
    x = RNG.standard_normal((300, 6)) * 3
    x[:, 4] = 0
    np.testing.assert_allclose(marginals.scores(marginals.quantile(x))[:, :5], x[:, :5], atol=1e-6)
    # In the steep and flat pieces of a component with three values, scores are known less well.
    np.testing.assert_allclose(marginals.quantile(marginals.scores(CLOUD)), CLOUD, atol=1e-5)
    np.testing.assert_array_equal(marginals.quantile(x)[:, 4], 7.3)


def test_densities_integrate_to_one():
    marginals = fit_marginals(CLOUD[:, [3]])

    def density(v):
        x = marginals.scores(np.array([[v]]))
        return float((stats.norm.pdf(x) * np.exp(-marginals.log_slope(x)))[0, 0])

    steps = np.sort(marginals.values[:, 0]).tolist()
    edges = [-30, *steps, 30]
    total = sum(quad(density, low, high)[0] for low, high in pairwise(edges))
    assert total == pytest.approx(1, abs=1e-6)


def test_two_knots_by_hand():
    marginals = Marginals(np.array([-1.0, 1.0]), np.array([[0.0], [4.0]]), np.array([[1.0], [3.0]]))
    x = np.array([[-2.0], [-1.0], [0.0], [1.0], [2.0]])
    np.testing.assert_allclose(marginals.quantile(x)[:, 0], [-1, 0, 2, 4, 7])
    np.testing.assert_allclose(np.exp(marginals.log_slope(x))[:, 0], [1, 2, 2, 3, 3])
    np.testing.assert_allclose(marginals.scores(marginals.quantile(x)), x)


def test_bad_input_is_refused():
    for z in (np.zeros(4), np.zeros((1, 3)), np.zeros((4, 0))):
        with pytest.raises(ValueError, match="z must have shape"):
            fit_marginals(z)
    with pytest.raises(ValueError, match="z must be finite"):
        fit_marginals(np.array([[0.0], [np.nan], [1.0]]))
