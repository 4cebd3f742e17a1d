import numpy as np
import pytest

from aelib.planted import planted_normal
from aelib.twins import TwinTest, against_twins, rejection_rates

RNG = np.random.default_rng(31)
CLOUDS = {
    "off centre": 500 + RNG.standard_normal((60, 4)) @ RNG.standard_normal((4, 4)),
    "float32": (3 + RNG.standard_normal((60, 4))).astype(np.float32),
    "rank deficient": 2 + RNG.standard_normal((60, 2)) @ RNG.standard_normal((2, 4)),
    "constant component": RNG.standard_normal((60, 4)) * [1, 0, 2, 1] + 7,
}


def collect(z, kind="normal"):
    clouds = []

    def statistic(cloud):
        clouds.append(np.array(cloud))
        return 0.0

    against_twins(statistic, z, kind=kind, draws=3, random_state=1)
    return clouds


@pytest.mark.parametrize("name", CLOUDS)
def test_normal_twins_have_the_very_mean_and_covariance(name):
    z, *twins = collect(CLOUDS[name])
    for twin in twins:
        size = np.abs(z).max()
        np.testing.assert_allclose(twin.mean(axis=0), z.mean(axis=0), atol=1e-5 * size)
        np.testing.assert_allclose(np.cov(twin.T), np.cov(z.T), atol=2e-5 * size * z.std(axis=0).max())
        assert np.abs(twin - z).max() > 0.5
    assert np.abs(twins[0] - twins[1]).max() > 0.5


def test_other_kinds_keep_what_null_twin_says():
    z = CLOUDS["off centre"]
    _, twin, _, _ = collect(z, "shuffled")
    np.testing.assert_allclose(np.sort(twin, axis=0), np.sort(z, axis=0), rtol=1e-6)


def test_p_values_are_ranks():
    null = np.arange(1.0, 20.0)[:, None] + np.zeros(3)
    for tail, truth in (
        ("greater", [0.05, 0.55, 1]),
        ("less", [1, 0.55, 0.05]),
        ("two-sided", [0.1, 1, 0.1]),
    ):
        test = TwinTest(("high", "middle", "low"), np.array([25.0, 10.0, 0.5]), null, tail)
        assert test.p_value == pytest.approx(truth)
    assert test.effect[1] == 0 and test.effect[0] == pytest.approx(15 / null[:, 0].std(ddof=1))
    assert test.joint_p_value == 0.05
    assert list(test.table.columns) == ["value", "null mean", "null std", "effect", "p-value"]
    assert test.table.loc["low", "p-value"] == pytest.approx(0.1)


def test_twins_that_are_all_the_same():
    test = TwinTest(("same", "above"), np.array([1.0, 2.0]), np.ones((9, 2)), "greater")
    assert test.effect.tolist() == [0.0, np.inf]
    assert test.p_value.tolist() == [1.0, 0.1] and test.joint_p_value == 0.1


@pytest.mark.parametrize("tail", ["two-sided", "greater", "less"])
def test_the_joint_p_value_is_uniform_under_exchangeability(tail):
    p = []
    for _ in range(2000):
        x = RNG.standard_normal((20, 3)) * [1, 10, 0.1] + RNG.standard_normal((20, 1))
        p.append(TwinTest(("a", "b", "c"), x[0], x[1:], tail).joint_p_value)
    # Errors of at most sqrt(0.25 / 2000) = 0.011.
    for level in (0.05, 0.2, 0.5, 0.8):
        assert np.mean(np.array(p) <= level + 1e-9) == pytest.approx(level, abs=0.045)


def spread(z):
    """Neither invariant nor aware of the covariance: nearest distances from one point, and a fourth moment."""
    distance = np.sort(np.linalg.norm(z[1:] - z[0], axis=1))
    return distance[0], (z[:, 0] ** 4).mean(), np.linalg.norm(z, axis=1).std()


def test_the_size_is_nominal_even_with_hardly_more_points_than_dimensions():
    mixing = np.diag(np.geomspace(0.1, 3.0, 20))
    rates = rejection_rates(
        spread,
        lambda seed: 2 + planted_normal(30, 20, random_state=seed) @ mixing,
        clouds=100,
        draws=19,
        level=0.1,
        random_state=5,
    )
    # The error is sqrt(0.1 * 0.9 / 100) = 0.03; four numbers, so 3.3 errors, and no rate is below 0.
    assert rates.rate == pytest.approx(0.1, abs=0.1)
    assert rates.joint_rate == pytest.approx(0.1, abs=0.1)
    assert rates.names == ("0", "1", "2")
    assert (rates.standard_error > 0).all()


def test_the_seed_decides():
    z = CLOUDS["float32"]
    first, again, other = (against_twins(spread, z, draws=4, random_state=s) for s in (1, 1, 2))
    assert (first.null == again.null).all() and (first.null != other.null).any()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"draws": 1}, "draws"),
        ({"tail": "both"}, "tail"),
        ({"kind": "uniform"}, "kind"),
        ({"statistic": lambda z: np.nan}, "finite"),
        ({"statistic": lambda z: np.zeros((2, 2))}, "one or more"),
        ({"z": np.zeros((9, 2))}, "variance|vary"),
        ({"z": RNG.standard_normal((3, 5))}, "too few"),
    ],
)
def test_what_cannot_be_compared_is_refused(options, match):
    given = {"statistic": lambda z: z.mean(), "z": CLOUDS["float32"]} | options
    with pytest.raises(ValueError, match=match):
        against_twins(given.pop("statistic"), given.pop("z"), **given)


def test_rates_refuse_what_is_out_of_range():
    for options in ({"clouds": 1}, {"level": 0.0}):
        with pytest.raises(ValueError, match="clouds must be"):
            rejection_rates(spread, lambda seed: CLOUDS["float32"], **options)
