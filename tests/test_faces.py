import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from aelib import faces

NAMES = list(faces.NAMES)


@pytest.fixture(scope="module")
def many():
    return faces.sample_factors(range(20_000), seed=5)


def test_there_are_at_least_45_continuous_factors_each_described():
    continuous = [f for f in faces.FACTORS if not isinstance(f.distribution, faces.Presence)]
    assert len(continuous) >= 45
    assert len(set(NAMES)) == len(NAMES)
    assert (faces.factor_table()[["meaning", "unit", "distribution"]] != "").all(axis=None)


def test_factor_k_does_not_depend_on_what_else_is_asked_for():
    k = 3 * faces.BLOCK + 17
    alone = faces.sample_factors([k], seed=2)
    among = faces.sample_factors([5, k, 0, k, faces.BLOCK], seed=2)
    pd.testing.assert_frame_equal(alone, among.iloc[[1]].reset_index(drop=True))
    pd.testing.assert_frame_equal(
        among.iloc[[1]].reset_index(drop=True), among.iloc[[3]].reset_index(drop=True)
    )
    assert (faces.sample_factors([k], seed=3) != alone).any(axis=None)


def test_image_k_does_not_depend_on_its_batch():
    factors = faces.sample_factors(range(7), seed=1)
    together = faces.render(factors, size=40)
    np.testing.assert_array_equal(faces.render(factors, size=40, n_threads=1), together)
    alone = np.concatenate([faces.render(factors.iloc[[k]], size=40) for k in (6, 3, 0)])
    np.testing.assert_array_equal(together[[6, 3, 0]], alone)


def test_images_are_the_same_in_a_fresh_process():
    code = (
        "from aelib import faces; import numpy as np;"
        "print(float(faces.render(faces.sample_factors([11, 4], seed=9), size=24).astype(np.float64).sum()))"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    here = faces.render(faces.sample_factors([11, 4], seed=9), size=24).astype(np.float64).sum()
    assert float(run.stdout) == pytest.approx(here, rel=1e-6)


@pytest.mark.parametrize("factor", faces.FACTORS, ids=NAMES)
def test_marginals_follow_their_quantile_functions(many, factor):
    # Kolmogorov-Smirnov of the sample against 200 000 exact quantiles; 95 factors, fixed seed, level 1e-5 each.
    if isinstance(factor.distribution, faces.Presence):
        share, p = many[factor.name].mean(), factor.distribution.probability
        assert abs(share - p) < 4.5 * np.sqrt(p * (1 - p) / len(many))
        return
    exact = factor.distribution.quantile((np.arange(200_000) + 0.5) / 200_000)
    assert stats.ks_2samp(many[factor.name], exact, method="asymp").pvalue > 1e-5


def test_factors_are_coupled_as_documented(many):
    # The rank correlation of a Gaussian copula is 6/π arcsin(r/2), whatever the marginals (Kruskal 1958).
    continuous = [
        i for i, f in enumerate(faces.FACTORS)
        if isinstance(f.distribution, faces.Normal | faces.Uniform)
    ]  # fmt: skip
    r = faces.score_correlation()[np.ix_(continuous, continuous)]
    measured = stats.spearmanr(many.iloc[:, continuous]).statistic
    # Some 2000 coefficients with a standard error of at most 1/sqrt(n): 5 of them.
    np.testing.assert_allclose(measured, 6 / np.pi * np.arcsin(r / 2), atol=5 / np.sqrt(len(many)))
    assert np.linalg.eigvalsh(faces.score_correlation()).min() > 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
@settings(max_examples=25, deadline=None)
def test_quantile_functions_rise_and_stay_in_range(shares):
    u = np.sort(np.array(shares))
    for factor in faces.FACTORS:
        values = factor.distribution.quantile(u)
        assert (np.diff(values) >= -1e-12).all()
        assert np.isfinite(values).all()


def test_values_stay_in_range_and_images_are_not_flat():
    images = faces.render(faces.sample_factors(range(200), seed=3))
    assert images.dtype == np.float32
    assert images.min() >= 0.0
    assert images.max() <= 1.0
    assert (images.std(axis=(1, 2, 3)) > 0.05).all()


def test_size_changes_the_resolution_not_the_picture():
    factors = faces.sample_factors(range(12), seed=4)
    small, large = faces.render(factors, size=48), faces.render(factors, size=192)
    reduced = large.reshape(12, 48, 4, 48, 4, 3).mean(axis=(2, 4))
    # Edges are anti-aliased, so that a small picture is close to a large one averaged down.
    assert np.sqrt(np.mean((small - reduced) ** 2)) < 0.03


@pytest.mark.parametrize(
    ("name", "low", "high", "where"),
    [
        ("yaw", -25, 25, "face"), ("pitch", -12, 12, "face"), ("roll", -12, 12, "face"), ("smile", -0.4, 1.2, "mouth"),
        ("mouth_open", 0, 0.7, "mouth"), ("gaze_x", -1, 1, "eyes"), ("hair_length", 0.1, 0.9, "sides"),
        ("light_azimuth", -60, 60, "face"), ("wall_hue", 0.0, 0.4, "corner"), ("eye_open", 0.5, 1.4, "eyes"),
        ("lip_colour", 0.0, 0.9, "mouth"), ("glasses", 0, 1, "eyes"), ("beard", 0, 0.9, "chin"),
    ],
)  # fmt: skip
def test_a_factor_changes_its_part_of_the_picture(name, low, high, where):
    part = {
        "face": np.s_[35:85, 25:71], "mouth": np.s_[60:80, 32:64], "eyes": np.s_[42:58, 25:71],
        "sides": np.s_[60:90, 10:86], "corner": np.s_[:10, :10], "chin": np.s_[72:86, 36:60],
    }[where]  # fmt: skip
    factors = faces.typical_factors(2)
    factors["wall_saturation"] = 0.5
    factors[name] = [float(low), float(high)]
    a, b = faces.render(factors)
    change = np.abs(a - b).mean(axis=2)
    assert change[part].mean() > 0.004
    assert change[part].mean() > 1.2 * change.mean() or where in ("face", "sides")


def test_yaw_turns_to_the_right_and_the_light_comes_from_its_side():
    factors = faces.typical_factors(2)
    factors["light_azimuth"] = [-50.0, 50.0]
    left, right = faces.render(factors)[:, 40:80, 30:66].mean(axis=3)
    assert left[:, :14].mean() > left[:, -14:].mean()
    assert right[:, :14].mean() < right[:, -14:].mean()


def test_the_mirrored_face_is_the_face_with_mirrored_factors():
    factors = faces.typical_factors(2)
    signed = ["yaw", "roll", "shift_x", "gaze_x", "light_azimuth"]
    factors.loc[0, signed] = [14.0, 5.0, 0.01, 0.5, 30.0]
    factors.loc[1, signed] = [-14.0, -5.0, -0.01, -0.5, -30.0]
    factors["hair_parting"] = 0.0
    a, b = faces.render(factors)
    # The inner face; hair strands and wall are not symmetric.
    assert np.abs(a - b[:, ::-1])[45:82, 30:66].mean() < 0.012


def test_bad_input_is_refused_with_the_reason():
    good = faces.typical_factors(2)
    with pytest.raises(ValueError, match=r"lacks the columns.*yaw"):
        faces.render(good.drop(columns="yaw"))
    with pytest.raises(ValueError, match="smile of row 1 is nan"):
        faces.render(good.assign(smile=[0.1, np.nan]))
    with pytest.raises(ValueError, match="n_threads must be at least 1, not 0"):
        faces.render(good, n_threads=0)
    with pytest.raises(ValueError, match="at least 8 pixels"):
        faces.render(good, size=4)
    with pytest.raises(ValueError, match="indices"):
        faces.sample_factors([-1], seed=1)
    with pytest.raises(ValueError, match="seed"):
        faces.sample_factors([0], seed=-1)
    with pytest.raises(ValueError, match="n must be at least 1"):
        faces.typical_factors(0)


def test_no_rows_make_no_images():
    assert faces.render(faces.sample_factors([], seed=1)).shape == (0, 96, 96, 3)


def test_compiling_shows_a_bar_once(tmp_path):
    code = "from aelib import faces; f = faces.typical_factors(); faces.render(f, size=8); faces.render(f, size=8)"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        ).stderr
        for _ in range(2)
    ]
    assert "compiling the renderer (once): 100%" in runs[0]
    assert runs[1] == ""
