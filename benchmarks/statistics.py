"""Statistics of z-points beside the usual tools, on a normal cloud of the source's size."""

from collections.abc import Iterator

import numpy as np
from scipy.optimize import curve_fit
from scipy.special import ndtr
from scipy.stats import gaussian_kde
from sklearn.decomposition import PCA

from aelib import densities, ellipses, moments, pca
from benchmarks.measure import Row, furthest, is_missing, megabytes, timed, times_as_fast

N_POINTS, Z_DIM, SHARES = 170_000, 256, (0.3, 0.6, 0.9)
GROUP = "statistics"


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
    """Measure the correlation matrix beside NumPy's, and beside one product of matrices in the same precision."""
    what = "correlation matrix, 170 000 × 256"

    def ours() -> np.ndarray:
        return moments.measure_moments(z).correlation

    def theirs() -> np.ndarray:
        return np.corrcoef(z, rowvar=False)

    apart = furthest(ours(), theirs())
    ratios = times_as_fast(ours, theirs, rounds=5)
    yield Row(GROUP, what, "numpy.corrcoef", ratios, "×", 1, apart=apart, within=1e-6)
    wide = z.astype(np.float64)
    ratios = times_as_fast(ours, lambda: wide.T @ wide, rounds=5)
    yield Row(GROUP, what, "one product z'z in float64", ratios, "×", 1 / 1.5)
    del wide
    yield Row(GROUP, what, "memory beyond the points", (megabytes(ours),), "MB", 100, at_most=True)


def principal_axes(z: np.ndarray) -> Iterator[Row]:
    """Measure PCA beside scikit-learn's: the solver that it chooses itself, and the full one."""
    ours = pca.principal_axes(z).variances
    for solver, goal in (("auto", 1.0), ("full", 5.0)):
        theirs = PCA(svd_solver=solver)
        apart = furthest(ours, theirs.fit(z).explained_variance_)
        ratios = times_as_fast(
            lambda: pca.principal_axes(z), lambda: theirs.fit(z), rounds=3 if solver == "full" else 5
        )
        beside = f"scikit-learn, svd_solver='{solver}'"
        yield Row(
            GROUP, "PCA, 170 000 × 256", beside, ratios, "×", goal, apart=apart, within=1e-4
        )  # float32 within theirs


def number_densities(z: np.ndarray) -> Iterator[Row]:
    """Measure all number densities and their Gaussian fits, beside a fit of the same Gaussians one by one."""
    what = "256 Gaussian fits, 170 000 points"
    counted = densities.number_densities(z)
    edges, share = counted.edges, counted.counts / counted.n

    def model(_: np.ndarray, centre: float, sigma: float, area: float) -> np.ndarray:
        return area * np.diff(ndtr((edges - centre) / sigma))

    def theirs() -> np.ndarray:
        return np.array(
            [curve_fit(model, counted.centres, column, (np.median(edges), 1.0, 1.0))[0] for column in share.T]
        )

    def ours() -> densities.GaussianFits:
        return densities.fit_gaussians(counted)

    apart = furthest(ours().sigma, np.abs(theirs()[:, 1]))
    ratios = times_as_fast(ours, theirs, rounds=5)
    yield Row(GROUP, what, "scipy.optimize.curve_fit", ratios, "×", 1, apart=apart, within=1e-4)
    whole = timed(lambda: densities.fit_gaussians(densities.number_densities(z)))
    yield Row(
        GROUP,
        what,
        "time, with the histograms",
        tuple(whole() for _ in range(3)),
        "s",
        2,
        at_most=True,
    )


def planes(z: np.ndarray) -> Iterator[Row]:
    """Measure the confidence ellipses of all planes."""
    known = moments.measure_moments(z)
    ours = timed(lambda: ellipses.pairwise_ellipses(known.mean, known.covariance, n_sigma=2.5))
    figures = tuple(ours() for _ in range(5))
    yield Row(GROUP, "ellipses of all 32 640 planes", "time", figures, "s", 0.2, at_most=True)


def contours(points: np.ndarray) -> Iterator[Row]:
    """Measure a 2-D number density beside SciPy's and KDEpy's estimates on the same grid, with the same kernel."""
    what = "2-D density with contours, 80 000 points"
    density = ellipses.plane_density(points, grid=200)
    kde = gaussian_kde(points.T)
    places = np.stack([density.x.ravel(), density.y.ravel()])
    reference = np.empty(density.density.size)

    def theirs() -> None:
        reference[:] = kde(places)

    def ours() -> None:
        found = ellipses.plane_density(points, grid=200)
        for level in ellipses.highest_density_levels(found, points, SHARES):
            ellipses.contour_lines(found, float(level))

    ratios = times_as_fast(ours, theirs, rounds=2)
    apart = furthest(density.density.ravel(), reference)
    yield Row(GROUP, what, "scipy.stats.gaussian_kde", ratios, "×", 1000, apart=apart, within=0.01)
    yield _beside_kdepy(points, density, reference)


def _beside_kdepy(points: np.ndarray, density: ellipses.PlaneDensity, reference: np.ndarray) -> Row:
    what, beside = "2-D density alone, 80 000 points", "KDEpy.FFTKDE, whitened points"
    if is_missing("KDEpy"):
        return Row(GROUP, what, beside, (), "×", 1, missing="KDEpy")
    from KDEpy import FFTKDE

    white = np.linalg.solve(density.frame, (points - density.centre).T).T
    grid = np.stack([g.ravel() for g in np.meshgrid(density.u, density.v, indexing="ij")], axis=1)

    def theirs() -> np.ndarray:
        return FFTKDE(kernel="gaussian", bw=density.bandwidth).fit(white).evaluate(grid)

    ratios = times_as_fast(lambda: ellipses.plane_density(points, grid=200), theirs, rounds=5)
    scaled = theirs() / abs(np.linalg.det(density.frame))
    theirs_off = furthest(scaled, reference)
    beside = f"{beside} ({100 * theirs_off:.2g} % off SciPy's)"
    return Row(
        GROUP, what, beside, ratios, "×", 1, apart=furthest(density.density.ravel(), scaled), within=0.05
    )
