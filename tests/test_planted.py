import numpy as np
import pytest

from aelib.planted import (
    KINDS,
    planted_cloud,
    planted_clusters,
    planted_filaments,
    planted_heavy_tails,
    planted_mixture,
    planted_normal,
    planted_sheet,
)


@pytest.mark.parametrize("kind", KINDS)
def test_mean_and_covariance_are_as_stated(kind):
    clouds = np.array([planted_cloud(kind, 100, 6, random_state=seed) for seed in range(300)], dtype=float)
    # Clouds are independent: their scatter gives the error of their averages. 36 numbers, so 4.5 errors.
    means = clouds.mean(axis=1)
    squares = clouds.transpose(0, 2, 1) @ clouds / 100
    for found, truth in ((means, np.zeros(6)), (squares, np.eye(6))):
        error = found.std(axis=0) / np.sqrt(300)
        assert (np.abs(found.mean(axis=0) - truth) < 4.5 * error).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides(kind):
    first, again, other = (planted_cloud(kind, 20, 6, random_state=seed) for seed in (3, 3, 4))
    assert first.dtype == np.float32
    assert (first == again).all() and (first != other).any()
    assert (planted_cloud(kind, 20, 6, random_state=np.random.default_rng(3)) == first).all()


def test_filaments_without_thickness_are_arcs():
    z = planted_filaments(60, 5, n_filaments=1, length=3.0, thickness=0.0).astype(float)
    spread = np.linalg.svd(z - z.mean(axis=0), compute_uv=False)
    assert spread[2] < 1e-5 * spread[0] < spread[1]
    # Ends stand off the chord's middle by a quarter of the length.
    assert np.linalg.norm(z[:, None] - z[None], axis=-1).max() == pytest.approx(3.0, rel=0.06)


def test_clusters_without_thickness_are_points_and_the_background_is_normal():
    z = planted_clusters(200, 4, n_clusters=7, thickness=0.0)
    assert len(np.unique(z.round(4), axis=0)) == 7
    mixed = planted_clusters(2000, 4, n_clusters=7, thickness=0.0, share=0.25)
    copies = np.unique(mixed, axis=0, return_counts=True)[1]
    # 500 expected, with a deviation of 19.
    assert copies[copies > 1].sum() == pytest.approx(500, abs=80)
    assert planted_clusters(30, 2, share=0.0).std() == pytest.approx(1, abs=0.35)


def test_a_sheet_has_two_dimensions():
    z = planted_sheet(4000, 40, thickness=0.0).astype(float)
    near = np.argsort(np.linalg.norm(z - z[0], axis=1))[:30]
    spread = np.linalg.svd(z[near] - z[near].mean(axis=0), compute_uv=False)
    assert spread[2] < 0.2 * spread[1]


def test_a_mixture_has_two_modes_along_one_direction():
    z = planted_mixture(20_000, 8, distance=6.0).astype(float)
    fourth = np.array([np.mean(z[i : i + 5000] ** 4) for i in (0, 5000)])
    assert np.allclose(np.cov(z.T), np.eye(8), atol=0.05)  # 5 errors of sqrt(2 / n)
    assert fourth.max() < 3.0  # flatter than normal in some directions, never steeper


def test_heavy_tails_have_the_kurtosis_of_t():
    z = planted_heavy_tails(200_000, 2, degrees=12.0).astype(float)
    # 3 (v - 2) / (v - 4) = 3.75; the eighth moment leaves an error of about 0.05.
    assert np.mean(z**4) == pytest.approx(3.75, abs=0.15)


@pytest.mark.parametrize(
    ("draw", "match"),
    [
        (lambda: planted_normal(0, 3), "n must be at least 1"),
        (lambda: planted_filaments(10, 1), "d at least 2"),
        (lambda: planted_filaments(10, 2), "take shorter ones"),
        (lambda: planted_filaments(10, 20, length=-1.0), "above 0"),
        (lambda: planted_clusters(10, 2, n_clusters=0), "parts must be"),
        (lambda: planted_clusters(10, 2, thickness=1.0), "thickness"),
        (lambda: planted_sheet(10, 2, share=1.5), "share"),
        (lambda: planted_sheet(10, 2, curl=0.0), "curl"),
        (lambda: planted_mixture(10, 2, weight=1.0), "weight"),
        (lambda: planted_heavy_tails(10, 2, degrees=2.0), "degrees"),
    ],
)
def test_what_is_out_of_range_is_refused(draw, match):
    with pytest.raises(ValueError, match=match):
        draw()


def test_an_unknown_kind_is_refused():
    with pytest.raises(Exception, match="kind"):  # by the type check of the tests, or by our own
        planted_cloud("spiral", 10, 2)
