import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import r2_score

from aelib.factors import factor_correlations, factor_directions, factor_r_squared


@pytest.fixture
def cloud():
    rng = np.random.default_rng(13)
    z = rng.standard_normal((3000, 5)) @ rng.standard_normal((5, 5)) + np.arange(5) * 10
    yaw, noise = z @ [1.0, -2, 0, 0, 0.5] + 100, rng.standard_normal(3000)
    table = pd.DataFrame(
        {
            "yaw": yaw + noise * yaw.std(),
            "name": "x",
            "smile": z[:, 0] > z[:, 1],
            "constant": 3.0,
            "noise": noise,
        },
        index=np.arange(3000)[::-1],
    )
    return z, table


def held_out(n, share, seed):
    chosen = np.random.default_rng(seed).permutation(n)[: round(n * share)]
    return np.isin(np.arange(n), chosen)


def test_correlations_agree_with_numpy(cloud):
    z, table = cloud
    found = factor_correlations(z, table)
    assert list(found.index) == ["yaw", "smile", "noise"]
    for name in found.index:
        expected = [np.corrcoef(z[:, k], table[name].to_numpy(dtype=float))[0, 1] for k in range(5)]
        np.testing.assert_allclose(found.loc[name], expected, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_r_squared_agrees_with_scikit_learn(cloud, dtype):
    z, table = cloud[0].astype(dtype), cloud[1]
    found = factor_r_squared(z, table, test_share=0.3, random_state=4)
    test = held_out(len(z), 0.3, 4)
    for name in ("yaw", "smile", "noise"):
        y = table[name].to_numpy(dtype=float)
        predicted = LinearRegression().fit(z[~test].astype(float), y[~test]).predict(z[test].astype(float))
        assert found.loc[name, "r_squared"] == pytest.approx(r2_score(y[test], predicted), abs=1e-7)
    assert found.loc["yaw", "r_squared"] == pytest.approx(0.5, abs=0.06)
    assert abs(found.loc["noise", "r_squared"]) < 0.02


def test_ridge_is_that_of_standardised_components(cloud):
    z, table = cloud
    test = held_out(len(z), 0.25, 0)
    scaled = (z - z[~test].mean(axis=0)) / z[~test].std(axis=0, ddof=1)
    y = table["yaw"].to_numpy()
    model = Ridge(alpha=0.1 * (np.count_nonzero(~test) - 1)).fit(scaled[~test], y[~test])
    found = factor_r_squared(z, table, ridge=0.1).loc["yaw", "r_squared"]
    assert found == pytest.approx(r2_score(y[test], model.predict(scaled[test])), abs=1e-9)


def test_standard_error_agrees_with_repeated_draws():
    rng = np.random.default_rng(14)
    found = []
    for seed in range(300):
        z = rng.standard_normal((400, 2))
        table = pd.DataFrame({"y": z[:, 0] + rng.standard_normal(400)})
        found.append(factor_r_squared(z, table, test_share=0.5, random_state=seed).loc["y"].to_numpy())
    values, errors = np.array(found).T
    # 300 draws give a standard deviation to 4 %; the fit on the other half adds a little that it leaves out.
    assert errors.mean() == pytest.approx(values.std(), rel=0.15)


def test_dependent_and_constant_components_change_nothing(cloud):
    z, table = cloud
    wider = np.column_stack([z, z[:, 0] - 2 * z[:, 1], np.full(len(z), 4.0)])
    pd.testing.assert_frame_equal(factor_r_squared(wider, table), factor_r_squared(z, table), atol=1e-8)
    assert (factor_correlations(wider, table)[6] == 0).all()


def test_more_components_than_points_are_fitted_but_not_believed():
    rng = np.random.default_rng(15)
    z = rng.standard_normal((40, 60))
    found = factor_r_squared(z, pd.DataFrame({"noise": rng.standard_normal(40)}))
    assert found.loc["noise", "r_squared"] < 0.3
    assert np.isfinite(found.to_numpy()).all()


def test_a_factor_constant_in_one_part_is_left_out(cloud):
    z, table = cloud
    test = held_out(len(z), 0.25, 0)
    table["rare"] = np.where(np.arange(len(z)) == np.flatnonzero(~test)[0], 1.0, 0.0)
    assert "rare" not in factor_r_squared(z, table).index
    assert "rare" in factor_correlations(z, table).index


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ridge": -1.0}, "ridge must be at least 0"),
        ({"test_share": 1.0}, "test_share must lie between 0 and 1"),
        ({"test_share": 0.0001}, "0.0001 of 3000 points does not"),
    ],
)
def test_settings_out_of_range_are_refused(cloud, settings, message):
    with pytest.raises(ValueError, match=message):
        factor_r_squared(*cloud, **settings)


@pytest.mark.parametrize("measure", [factor_correlations, factor_r_squared])
def test_tables_that_do_not_fit_are_refused(cloud, measure):
    z, table = cloud
    with pytest.raises(ValueError, match="one row per z-point, 3000, not 2999"):
        measure(z, table[1:])
    with pytest.raises(ValueError, match="no column of numbers that vary"):
        measure(z, table[["name", "constant"]])
    with pytest.raises(ValueError, match="no column of numbers that vary"):
        measure(z, table[["name"]])
    with pytest.raises(ValueError, match=r"\['yaw'\] have missing values"):
        measure(z, table.assign(yaw=np.nan))
    with pytest.raises(ValueError, match="z must be finite"):
        measure(np.full((3000, 2), np.nan), table)


def test_directions_are_those_of_a_regression_and_the_shortest_way(cloud):
    z, table = cloud
    ways = factor_directions(z, table)
    assert ways.names == ("yaw", "smile", "noise")
    covariance = np.cov(z.T)
    for name, reader, pattern in zip(ways.names, ways.readers, ways.patterns, strict=True):
        y = table[name].to_numpy(dtype=float)
        expected = LinearRegression().fit(z, (y - y.mean()) / y.std(ddof=1))
        np.testing.assert_allclose(reader, expected.coef_, rtol=1e-6, atol=1e-9)
        assert reader @ pattern == pytest.approx(1)
        # Any other step with the same rise of the reading is longer, in units of the cloud.
        length = pattern @ np.linalg.solve(covariance, pattern)
        for k in range(5):
            other = pattern + 0.1 * (np.eye(5)[k] - reader[k] * pattern)
            assert other @ np.linalg.solve(covariance, other) >= length
        r_squared = r2_score((y - y.mean()) / y.std(ddof=1), z @ reader - z.mean(axis=0) @ reader)
        adjusted = 1 - (1 - r_squared) * (len(z) - 1) / (len(z) - 5 - 1)
        assert ways.r_squared[ways.names.index(name)] == pytest.approx(adjusted, abs=1e-9)
    assert ways.readings(z).mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-9)
    np.testing.assert_array_equal(ways.direction("smile"), ways.patterns[1])
    with pytest.raises(ValueError, match="no factor 'frown'"):
        ways.direction("frown")


def test_directions_from_fewer_points_than_components():
    rng = np.random.default_rng(1)
    z, table = rng.standard_normal((8, 20)), pd.DataFrame({"a": rng.standard_normal(8)})
    ways = factor_directions(z, table)
    assert np.isfinite(ways.patterns).all() and np.isnan(ways.r_squared).all()
    assert ways.readings(z + ways.direction("a")) - ways.readings(z) == pytest.approx(1)
