from dataclasses import replace

import numpy as np
import pytest
from openTSNE import TSNE
from scipy.spatial.distance import cdist

from aelib.maps import DEFAULTS, SOURCE, MapSettings, neighbours_kept, tsne_map
from aelib.planted import planted_clusters, planted_normal

RNG = np.random.default_rng(2)
QUICK = MapSettings(perplexity=10, early_iterations=100, iterations=150)


def three_clusters(n=300, d=20):
    part = np.arange(n) % 3
    return (10 * np.eye(3, d)[part] + RNG.standard_normal((n, d))).astype(np.float32), part


def nearest(z, k):
    distance = cdist(z, z)
    np.fill_diagonal(distance, np.inf)
    return np.argsort(distance, axis=1)[:, :k]


CLUSTERS, PART = three_clusters()


def test_settings_are_the_sources_and_openTSNEs():
    assert (SOURCE.perplexity, SOURCE.early_exaggeration, SOURCE.early_iterations + SOURCE.iterations) == (
        10,
        16,
        1000,
    )
    other = TSNE()
    assert (DEFAULTS.perplexity, DEFAULTS.early_iterations, DEFAULTS.iterations, DEFAULTS.start) == (
        other.perplexity,
        other.early_exaggeration_iter,
        other.n_iter,
        other.initialization,
    )
    assert DEFAULTS.early_exaggeration == 12
    with pytest.raises(ValueError, match="perplexity and early_exaggeration must be at least 1"):
        MapSettings(perplexity=0.5)
    with pytest.raises(ValueError, match="iterations must be at least 0"):
        MapSettings(iterations=-1)


def test_clusters_stay_together():
    made = tsne_map(CLUSTERS, QUICK)
    neighbours = nearest(made.points, 10)
    assert (PART[neighbours] == PART[:, None]).mean() > 0.99
    assert made.cloud is CLUSTERS
    assert made.axes is None


@pytest.mark.parametrize("start", ["pca", "random"])
def test_as_good_as_openTSNE_itself(start):
    z = planted_normal(500, 12, random_state=3)
    ours = tsne_map(z, replace(DEFAULTS, start=start), random_state=4)
    options = {"negative_gradient_method": "bh", "theta": 0.2, "neighbors": "exact", "random_state": 4}
    theirs = TSNE(initialization=start, **options).fit(z.astype(np.float64))
    # Two runs of openTSNE from different random places differ by about 0.01.
    assert ours.kl_divergence == pytest.approx(theirs.kl_divergence, abs=0.03)
    kept = neighbours_kept(z, ours.points).share, neighbours_kept(z, np.asarray(theirs)).share
    assert kept[0] == pytest.approx(kept[1], abs=0.03)


def test_the_same_seed_makes_the_same_map_for_any_number_of_threads():
    z = planted_normal(4200, 3, random_state=8)  # enough for two threads
    short = MapSettings(perplexity=5, early_iterations=15, iterations=15)
    first = tsne_map(z, short, random_state=5, n_jobs=1)
    for jobs in (1, 2):
        again = tsne_map(z, short, random_state=5, n_jobs=jobs)
        np.testing.assert_array_equal(first.points, again.points)
        # openTSNE adds this number up in the order in which threads end.
        assert again.kl_divergence == pytest.approx(first.kl_divergence, rel=1e-9)


def test_the_seed_may_be_a_generator():
    one, same, other = (tsne_map(CLUSTERS, QUICK, random_state=np.random.default_rng(s)) for s in (6, 6, 7))
    np.testing.assert_array_equal(one.points, same.points)
    assert not np.array_equal(one.points, other.points)


def test_principal_coordinates_are_mapped():
    made = tsne_map(CLUSTERS, QUICK, n_pca=2)
    assert made.axes is not None
    np.testing.assert_allclose(np.cov(made.cloud.T), np.diag(made.axes.variances), atol=1e-3)
    assert made.cloud.dtype == np.float32
    # Two coordinates can be kept nearly whole.
    assert neighbours_kept(made.cloud, made.points).share > 0.7


def test_new_points_fall_among_their_likes_and_the_map_stays():
    for n_pca in (None, 3):
        made = tsne_map(CLUSTERS, QUICK, n_pca=n_pca)
        before = made.points.copy()
        z, part = three_clusters(n=60)
        placed = made.place(z)
        np.testing.assert_array_equal(made.points, before)
        found = np.argmin(cdist(placed, made.points), axis=1)
        assert (PART[found] == part).mean() > 0.98
        np.testing.assert_array_equal(placed, made.place(z, n_jobs=1))
    # Points of the map itself come back to where they are: near, as seen from its width.
    again = made.place(CLUSTERS)
    assert np.median(np.linalg.norm(again - made.points, axis=1)) < 0.1 * np.ptp(made.points)
    np.testing.assert_array_equal(
        made.place(CLUSTERS[:3], iterations=0)[0], made.place(CLUSTERS[:1], iterations=0)[0]
    )


@pytest.mark.parametrize(
    "cloud",
    [
        1000 + CLUSTERS,
        CLUSTERS @ RNG.standard_normal((20, 20)).astype(np.float32),
        CLUSTERS[:, :2] @ RNG.standard_normal((2, 20)),
        CLUSTERS * (np.arange(20) > 0),
        np.repeat(CLUSTERS[:100], 3, axis=0),
        CLUSTERS[:, :1].astype(np.float64),
        RNG.standard_normal((40, 90)),
    ],
    ids=["off centre", "correlated", "flat", "constant component", "copies", "one component", "few points"],
)
def test_clouds_of_every_kind(cloud):
    made = tsne_map(cloud, MapSettings(perplexity=5, early_iterations=50, iterations=50))
    assert made.points.shape == (len(cloud), 2)
    assert np.isfinite(made.points).all()
    assert np.isfinite(made.kl_divergence)
    assert neighbours_kept(cloud, made.points, k=5).share > neighbours_kept(cloud, made.points, k=5).chance


def test_a_memory_map_gives_the_same_map(tmp_path):
    np.save(tmp_path / "z.npy", CLUSTERS)
    made = tsne_map(np.load(tmp_path / "z.npy", mmap_mode="r"), QUICK)
    np.testing.assert_array_equal(made.points, tsne_map(CLUSTERS, QUICK).points)


def test_progress_is_silent_unless_asked_for(capfd):
    tsne_map(CLUSTERS, QUICK)
    assert capfd.readouterr() == ("", "")
    tsne_map(CLUSTERS, QUICK, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "250/250" in err


def test_refuses_what_cannot_be_mapped():
    with pytest.raises(
        ValueError, match="perplexity 30.0 needs 90 neighbours of each point, but there are 90"
    ):
        tsne_map(CLUSTERS[:90])
    with pytest.raises(ValueError, match="has no variance"):
        tsne_map(np.ones((100, 3)), QUICK)
    with pytest.raises(ValueError, match="n_pca must be 1 to 20"):
        tsne_map(CLUSTERS, QUICK, n_pca=21)
    with pytest.raises(ValueError, match="n_jobs must be at least 1"):
        tsne_map(CLUSTERS, QUICK, n_jobs=0)
    with pytest.raises(ValueError, match="must be finite"):
        tsne_map(np.where(np.arange(300)[:, None] == 7, np.inf, CLUSTERS), QUICK)
    with pytest.raises(ValueError, match="must have shape"):
        tsne_map(CLUSTERS[0], QUICK)
    made = tsne_map(CLUSTERS, MapSettings(perplexity=2, early_iterations=5, iterations=5))
    with pytest.raises(ValueError, match="same components"):
        made.place(CLUSTERS[:, :5])
    with pytest.raises(ValueError, match="iterations must be at least 0"):
        made.place(CLUSTERS, iterations=-1)


def test_neighbours_kept_agrees_with_the_slow_count():
    z, points = RNG.standard_normal((80, 6)), RNG.standard_normal((80, 2))
    points[:, 0] += z[:, 0]
    shares = [len(set(a) & set(b)) / 7 for a, b in zip(nearest(z, 7), nearest(points, 7), strict=True)]
    found = neighbours_kept(z, points, k=7)
    assert found.share == pytest.approx(np.mean(shares))
    assert found.standard_error == pytest.approx(np.std(shares, ddof=1) / np.sqrt(80))
    assert found.chance == pytest.approx(7 / 79)
    assert neighbours_kept(z[:, :2], z[:, :2]).share == 1.0


def test_neighbours_kept_by_chance():
    z, points = RNG.standard_normal((400, 5)), RNG.standard_normal((400, 2))
    found = neighbours_kept(z, points)
    assert abs(found.share - found.chance) < 4 * found.standard_error


def test_neighbours_kept_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="equally many"):
        neighbours_kept(CLUSTERS, CLUSTERS[:-1, :2])
    with pytest.raises(ValueError, match="k be 1 to n - 2"):
        neighbours_kept(CLUSTERS, CLUSTERS[:, :2], k=299)


def test_a_normal_cloud_has_fewer_neighbours_kept_than_clusters():
    clusters = planted_clusters(600, 30, random_state=1)
    normal = planted_normal(600, 30, random_state=1)
    shares = [neighbours_kept(z, tsne_map(z, QUICK).points).share for z in (clusters, normal)]
    assert shares[0] > shares[1]
