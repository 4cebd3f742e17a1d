import numpy as np
import pytest
from scipy import stats

from aelib.cuts import FWHM_PER_SIGMA, cut_outliers, near_plane, normal_survivors, truncated_normal_variance


@pytest.fixture
def z():
    rng = np.random.default_rng(1)
    return (rng.standard_normal((5000, 8)) * np.arange(1, 9) + np.arange(8) / 2).astype(np.float32)


def test_a_slice_thins_out_step_by_step_as_in_the_source(z):
    # The source limits the components before i, between i and j, and after j, one after the other.
    i, j, limit = 2, 5, 4.0
    steps = [range(i), range(j), range(8)]
    left, expected = z, []
    for part in (slice(0, i), slice(i + 1, j), slice(j + 1, None)):
        left = left[(np.abs(left[:, part]) < limit).all(axis=1)]
        expected.append(len(left))
    assert [near_plane(z, i, j, limit=limit, components=part).sum() for part in steps] == expected
    np.testing.assert_array_equal(z[near_plane(z, i, j, limit=limit)], left)
    assert 0 < expected[2] < expected[1] < expected[0] < 5000


def test_a_slice_around_a_point_is_that_of_the_shifted_cloud(z):
    centre = z.mean(axis=0)
    np.testing.assert_array_equal(
        near_plane(z, 6, 1, limit=3.0, around=centre), near_plane(z - centre, 1, 6, limit=3.0)
    )


def test_the_limit_itself_is_outside():
    assert near_plane(np.array([[0.0, 0.0, 2.0]]), 0, 1, limit=2.0).tolist() == [False]


@pytest.mark.parametrize(
    ("i", "j", "settings", "message"),
    [
        (1, 1, {}, "two different components"),
        (0, 8, {}, "two different components"),
        (-1, 2, {}, "two different components"),
        (0, 1, {"limit": 0.0}, "limit must be above 0"),
        (0, 1, {"limit": float("nan")}, "limit must be above 0"),
        (0, 1, {"around": np.zeros(3)}, r"around must be one finite point of shape \(8,\)"),
        (0, 1, {"around": np.full(8, np.nan)}, "around must be one finite point"),
        (0, 1, {"components": [8]}, "components must be whole numbers from 0 to 7"),
    ],
)
def test_slices_refuse_what_they_cannot_use(z, i, j, settings, message):
    with pytest.raises(ValueError, match=message):
        near_plane(z, i, j, **{"limit": 2.0, **settings})


def test_cut_agrees_with_one_component_after_the_other(z):
    centre, fwhm = z.mean(axis=0), np.linspace(2, 12, 8)
    cut = cut_outliers(z, centre, fwhm, fact=1.2)
    left = np.ones(len(z), dtype=bool)
    for k in range(8):
        inside = ~((z[:, k] < centre[k] - 1.2 * fwhm[k]) | (z[:, k] > centre[k] + 1.2 * fwhm[k]))
        assert cut.survivors_per_component[k] == inside.sum()
        left &= inside
    np.testing.assert_array_equal(cut.kept, left)
    assert (cut.survivors, cut.share) == (left.sum(), left.mean())


def test_a_constant_component_cuts_nothing(z):
    z[:, 3] = 7.5
    fwhm = FWHM_PER_SIGMA * z.std(axis=0)
    cut = cut_outliers(z, np.zeros(8), fwhm, fact=1.7)
    np.testing.assert_array_equal(
        cut.kept, cut_outliers(np.delete(z, 3, 1), np.zeros(7), np.delete(fwhm, 3), fact=1.7).kept
    )
    assert cut.survivors_per_component[3] == len(z)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"centre": np.zeros(7)}, "centre must be 8 finite numbers"),
        ({"fwhm": np.full(8, np.nan)}, "fwhm must be 8 finite numbers"),
        ({"fwhm": -np.ones(8)}, "fwhm must be at least 0, but component 0 has -1"),
        ({"fact": 0.0}, "fact must be a finite number above 0"),
        ({"fact": float("inf")}, "fact must be a finite number above 0"),
        ({"z": np.full((3, 8), np.inf)}, "z must be finite"),
        ({"z": np.zeros(8)}, "z must have shape"),
    ],
)
def test_cut_refuses_what_it_cannot_use(z, settings, message):
    with pytest.raises(ValueError, match=message):
        cut_outliers(**{"z": z, "centre": np.zeros(8), "fwhm": np.ones(8), "fact": 1.7, **settings})


def test_shares_of_a_perfect_normal_are_those_of_the_source():
    source = {1.35: 0.685, 1.45: 0.849, 1.55: 0.935, 1.7: 0.984, 1.8: 0.994}
    for fact, share in source.items():
        assert round(normal_survivors(fact, d=256), 3) == share


def test_normal_survivors_agree_with_simulated_clouds():
    rng = np.random.default_rng(8)
    z = rng.standard_normal((40_000, 20)) * 3 + 5
    cut = cut_outliers(z, np.full(20, 5.0), np.full(20, 3 * FWHM_PER_SIGMA), fact=0.9)
    expected = normal_survivors(0.9, d=20)
    # 4 standard errors of a share of 40 000 points
    assert cut.share == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 40_000))
    correlated = 0.8 * z[:, :1] + 0.6 * z
    fwhm = FWHM_PER_SIGMA * correlated.std(axis=0)
    assert cut_outliers(correlated, correlated.mean(axis=0), fwhm, fact=0.9).share > expected + 0.05


@pytest.mark.parametrize("fact", [0.3, 0.9, 1.35, 1.8])
def test_variance_after_a_cut_is_that_of_scipys_truncated_normal(fact):
    k = FWHM_PER_SIGMA * fact
    assert truncated_normal_variance(fact) == pytest.approx(stats.truncnorm(-k, k).var(), rel=1e-9)


def test_variance_after_a_very_narrow_cut_is_that_of_a_uniform_density():
    assert truncated_normal_variance(1e-6) == pytest.approx((FWHM_PER_SIGMA * 1e-6) ** 2 / 3, rel=1e-9)


def test_the_correction_restores_the_variance_of_a_cut_cloud():
    rng = np.random.default_rng(9)
    z = rng.standard_normal((100_000, 5)) * np.arange(1, 6)
    kept = z[cut_outliers(z, np.zeros(5), FWHM_PER_SIGMA * np.arange(1.0, 6.0), fact=0.8).kept]
    restored = kept.var(axis=0, ddof=1) / truncated_normal_variance(0.8)
    # A variance from some 75 000 points has a standard error of 0.5 %.
    np.testing.assert_allclose(restored, np.arange(1, 6) ** 2, rtol=0.02)


def test_shares_refuse_what_they_cannot_use():
    for share in (normal_survivors, truncated_normal_variance):
        with pytest.raises(ValueError, match="fact must be a finite number above 0"):
            share(-1.0)
    with pytest.raises(ValueError, match="d must be at least 1"):
        normal_survivors(1.0, d=0)
