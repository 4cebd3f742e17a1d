"""Statistics of z-points beside the usual tools, on a normal cloud of the source's size."""

from collections.abc import Iterator

import numpy as np
from scipy.stats import gaussian_kde
from sklearn.decomposition import PCA

from aelib import densities, ellipses, moments, pca
from benchmarks.measure import Row, megabytes, seconds

N_POINTS, Z_DIM, SHARES = 170_000, 256, (0.3, 0.6, 0.9)


def cloud(n: int, *, d: int = Z_DIM, seed: int = 0) -> np.ndarray:
    """Draw an off-centre, correlated normal cloud in float32."""
    rng = np.random.default_rng(seed)
    mixing = np.eye(d, dtype=np.float32) + rng.normal(0.0, 0.5 / np.sqrt(d), (d, d)).astype(np.float32)
    return rng.standard_normal((n, d), dtype=np.float32) @ mixing + np.float32(0.5)


def rows() -> Iterator[Row]:
    """Measure one line of the table after the other."""
    z = cloud(N_POINTS)
    yield from correlation(z)
    yield from principal_axes(z)
    yield from number_densities(z)
    yield from planes(z)
    yield from contours(z[:80_000, :2].astype(float))


def correlation(z: np.ndarray) -> Iterator[Row]:
    """Measure the correlation matrix beside one product of matrices in the precision that it is summed in."""
    product, ours = [], []
    wide = z.astype(np.float64)
    for _ in range(3):
        product.append(seconds(lambda: wide.T @ wide))
        ours.append(seconds(lambda: moments.measure_moments(z).correlation))
    del wide
    yield Row(
        "correlation matrix, 170 000 × 256",
        "time over one float64 product z'z",
        min(ours) / min(product),
        "×",
        1.5,
        True,
    )
    extra = megabytes(lambda: moments.measure_moments(z).correlation)
    yield Row("", "memory beyond the points", extra, "MB", 100, True)


def principal_axes(z: np.ndarray) -> Iterator[Row]:
    """Measure PCA beside scikit-learn's."""
    theirs = seconds(lambda: PCA(svd_solver="full").fit(z), times=2)
    ours = seconds(lambda: pca.principal_axes(z), times=3)
    yield Row("PCA, 170 000 × 256", "faster than scikit-learn, svd_solver='full'", theirs / ours, "×", 5)


def number_densities(z: np.ndarray) -> Iterator[Row]:
    """Measure all number densities and their Gaussian fits."""
    ours = seconds(lambda: densities.fit_gaussians(densities.number_densities(z)), times=3)
    yield Row("256 number densities with fits, 170 000", "time", ours, "s", 2, True)


def planes(z: np.ndarray) -> Iterator[Row]:
    """Measure the confidence ellipses of all planes."""
    known = moments.measure_moments(z)
    ours = seconds(lambda: ellipses.pairwise_ellipses(known.mean, known.covariance, n_sigma=2.5), times=3)
    yield Row("ellipses of all 32 640 planes", "time", ours, "s", 0.2, True)


def contours(points: np.ndarray) -> Iterator[Row]:
    """Measure contours of a 2-D number density beside SciPy's estimate on the same grid, with the same kernel."""
    density = ellipses.plane_density(points, grid=200)
    kde = gaussian_kde(points.T)
    places = np.stack([density.x.ravel(), density.y.ravel()])
    reference = np.empty(places.shape[1])

    def theirs() -> None:
        reference[:] = kde(places)

    def ours() -> None:
        found = ellipses.plane_density(points, grid=200)
        for level in ellipses.highest_density_levels(found, points, SHARES):
            ellipses.contour_lines(found, float(level))

    ratio = seconds(theirs) / seconds(ours, times=5)
    yield Row(
        "contours, 80 000 points on 200 × 200", "faster than scipy.stats.gaussian_kde", ratio, "×", 1000
    )
    error = 100 * np.abs(density.density.ravel() - reference).max() / reference.max()
    yield Row("", "largest difference from it, of the peak", error, "%", 1, True)
