"""Ellipses of normal clouds in coordinate planes, and densities with their contours to compare them with."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from contourpy import contour_generator
from jaxtyping import Bool, Float, Int
from scipy import integrate, ndimage

from aelib.blocks import check_cloud, check_points, checked_blocks
from aelib.moments import measure_moments
from aelib.partitions import Points, mapped, merged

_PLANE_POINTS = 2**17  # per block of a plane: some MB
_POINTS = 1024  # per block: the temporary arrays of _POINTS x _PLANES numbers stay in the processor's cache
_PLANES = 128
_ANGLES = 120
_FINEST = 4096  # rows of the largest grid that a density is computed on


@dataclass(frozen=True, eq=False)
class Ellipses:
    r"""Ellipses in m coordinate planes, all at the same number of standard deviations.

    Parameters
    ----------
    i, j : array of int, shape (m,)
        First and second component of each plane.
    centre : array of float, shape (m, 2)
        Centre :math:`(\mu_i, \mu_j)`, in units of the components.
    half_axes : array of float, shape (m, 2)
        Long and short half-axis, in the same units; a half-axis of 0 makes the ellipse a segment or a point.
    angle : array of float, shape (m,)
        Angle from axis i to the long half-axis, in radians; arbitrary for a circle.
    n_sigma : float
        Number of standard deviations n at which the ellipses are drawn.
    """

    i: Int[np.ndarray, " m"]
    j: Int[np.ndarray, " m"]
    centre: Float[np.ndarray, "m 2"]
    half_axes: Float[np.ndarray, "m 2"]
    angle: Float[np.ndarray, " m"]
    n_sigma: float

    def __len__(self) -> int:
        return len(self.i)

    @property
    def axis_ratio(self) -> Float[np.ndarray, " m"]:
        """Short over long half-axis: 1 for a circle (and a point), 0 for a segment."""
        long, short = self.half_axes.T
        return np.divide(short, long, out=np.ones_like(short), where=long > 0)

    def outline(self, k: int = 0, *, n_points: int = 181) -> Float[np.ndarray, "n_points 2"]:
        """Trace one ellipse.

        Parameters
        ----------
        k : int
            Which of the m ellipses.
        n_points : int
            Number of points; the last one is the first again.

        Returns
        -------
        array of float64, shape (n_points, 2)
            Points of the plane, in units of the components.
        """
        t = np.linspace(0.0, 2.0 * np.pi, n_points)
        return self.centre[k] + np.stack([np.cos(t), np.sin(t)], axis=1) @ self._frames()[k].T

    def _frames(self) -> Float[np.ndarray, "m 2 2"]:
        """Return matrices that map the unit circle to the ellipses, their centres at the origin."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        rotations = np.stack([cos, -sin, sin, cos], axis=-1).reshape(-1, 2, 2)
        return rotations * self.half_axes[:, None, :]


def coverage(n_sigma: float) -> float:
    r"""Compute the share of a bivariate normal cloud inside its ellipse at n standard deviations.

    :math:`1 - e^{-n^2/2}`, whatever the correlation: the squared Mahalanobis distance follows the chi-square law of
    two degrees of freedom.

    Parameters
    ----------
    n_sigma : float
        Number of standard deviations n, at least 0.

    Returns
    -------
    float
        The share, in [0, 1].

    Raises
    ------
    ValueError
        If `n_sigma` is negative or not a number.

    Examples
    --------
    >>> [round(coverage(n), 3) for n in (1.0, 2.0, 2.5, 3.0)]
    [0.393, 0.865, 0.956, 0.989]
    """
    if not n_sigma >= 0:
        raise ValueError(f"n_sigma must be at least 0, not {n_sigma}.")
    return -math.expm1(-0.5 * n_sigma * n_sigma)


def n_sigma_for(share: float) -> float:
    r"""Compute the number of standard deviations whose ellipse holds a share of a bivariate normal cloud.

    :math:`\sqrt{-2 \ln(1 - \text{share})}`, the inverse of `coverage`.

    Parameters
    ----------
    share : float
        The share, at least 0 and below 1.

    Returns
    -------
    float
        Number of standard deviations.

    Raises
    ------
    ValueError
        If `share` is not in [0, 1).

    Examples
    --------
    >>> round(n_sigma_for(0.95), 3)
    2.448
    """
    if not 0 <= share < 1:
        raise ValueError(
            f"share must be at least 0 and below 1, not {share}; percent must be divided by 100."
        )
    return math.sqrt(-2.0 * math.log1p(-share))


def share_inside_all(n_sigma: float, d: int) -> float:
    r"""Compute the share of a normal cloud of d independent components that lies inside all its pairwise ellipses.

    A point does if the sum of its two largest squares :math:`u_k^2` (in standard deviations) is at most :math:`n^2`.
    With F the law of :math:`|u_k|` and f its density, the share is
    :math:`F(n/\sqrt 2)^d + d \int_{n/\sqrt 2}^{n} f(u)\, F(\sqrt{n^2 - u^2})^{d-1}\, du`.

    Parameters
    ----------
    n_sigma : float
        Number of standard deviations n of every ellipse, at least 0.
    d : int
        Number of components, at least 2.

    Returns
    -------
    float
        The share, in [0, 1].

    Raises
    ------
    ValueError
        If `n_sigma` is negative or not finite, or `d` below 2.

    Examples
    --------
    >>> [round(share_inside_all(n, 256), 4) for n in (3.0, 4.07)]
    [0.0003, 0.5...]
    """
    if not 0 <= n_sigma < math.inf or d < 2:
        raise ValueError(f"n_sigma must be finite and at least 0, d at least 2; not {n_sigma} and {d}.")

    def largest(u: float) -> float:
        below = math.erf(math.sqrt(max(n_sigma**2 - u**2, 0.0) / 2.0)) ** (d - 1)
        return d * math.sqrt(2.0 / math.pi) * math.exp(-0.5 * u * u) * below

    rest, _ = integrate.quad(largest, n_sigma / math.sqrt(2.0), n_sigma, epsabs=1e-13, limit=200)
    return math.erf(n_sigma / 2.0) ** d + rest


def ellipse_from_correlation(
    mean: Float[np.ndarray, "..."], sigma: Float[np.ndarray, "..."], rho: float, *, n_sigma: float
) -> Ellipses:
    r"""Construct an ellipse from a correlation coefficient and two standard deviations.

    The unit circle is stretched to half-axes :math:`\sqrt{1+\rho}` and :math:`\sqrt{1-\rho}`, turned by 45°, scaled by
    :math:`n\sigma_i` and :math:`n\sigma_j` along the axes, and shifted to the means. Unequal scaling changes half-axes
    and angle, so those of the outcome are read off the singular values and vectors of the whole map.

    Parameters
    ----------
    mean : array of float, shape (2,)
        Means of the two components.
    sigma : array of float, shape (2,)
        Their standard deviations, at least 0.
    rho : float
        Their correlation coefficient, in [-1, 1].
    n_sigma : float
        Number of standard deviations n, above 0.

    Returns
    -------
    Ellipses
        One ellipse, in plane (0, 1).

    Raises
    ------
    ValueError
        If an argument is out of its range or not finite, or `mean` or `sigma` are not two numbers.

    References
    ----------
    .. [1] C. Schelp (2018), An alternative way to plot the covariance ellipse,
       https://carstenschelp.github.io/2018/09/14/Plot_Confidence_Ellipse_001.html

    Examples
    --------
    >>> ellipse = ellipse_from_correlation(np.zeros(2), np.array([1.0, 1.0]), 0.28, n_sigma=1.0)
    >>> ellipse.half_axes.round(3), np.degrees(ellipse.angle).round(3)
    (array([[1.131, 0.849]]), array([45.]))
    """
    if mean.shape != (2,) or sigma.shape != (2,) or not np.isfinite([mean, sigma]).all() or sigma.min() < 0:
        raise ValueError(
            f"mean and sigma must be two finite numbers each, sigma >= 0; not {mean} and {sigma}."
        )
    if not abs(rho) <= 1:
        raise ValueError(f"rho must be in [-1, 1], not {rho}.")
    _check_n_sigma(n_sigma)
    turned = np.array([[1.0, -1.0], [1.0, 1.0]]) / np.sqrt(2.0) * np.sqrt([1.0 + rho, 1.0 - rho])
    vectors, half_axes, _ = np.linalg.svd(n_sigma * sigma[:, None].astype(np.float64) * turned)
    angle = _upright(np.arctan2(vectors[1, :1], vectors[0, :1]))
    plane = np.array([0]), np.array([1])
    return Ellipses(*plane, mean[None].astype(np.float64), half_axes[None], angle, float(n_sigma))


def pairwise_ellipses(
    mean: Float[np.ndarray, "..."],
    covariance: Float[np.ndarray, "..."],
    *,
    n_sigma: float,
    pairs: Sequence[tuple[int, int]] | Int[np.ndarray, "m 2"] | None = None,
) -> Ellipses:
    r"""Compute the ellipses of a normal cloud in coordinate planes.

    With the eigenvalues :math:`\lambda_1 \ge \lambda_2` of the plane's 2×2 covariance matrix, the half-axes are
    :math:`n\sqrt{\lambda_1}` and :math:`n\sqrt{\lambda_2}`, along the eigenvectors.

    Parameters
    ----------
    mean : array of float, shape (d,)
        Means of the components.
    covariance : array of float, shape (d, d)
        Their covariance matrix; it may be singular.
    n_sigma : float
        Number of standard deviations n, above 0.
    pairs : sequence of (int, int), array of int of shape (m, 2), or None
        The planes (i, j), i and j different; None stands for all d(d-1)/2 planes with i < j, row by row.

    Returns
    -------
    Ellipses
        One ellipse per plane.

    Raises
    ------
    ValueError
        If shapes do not fit, a number is not finite, the matrix is not symmetric, a variance is negative, a
        correlation coefficient leaves [-1, 1], or a pair is not one of two different components.

    Examples
    --------
    >>> covariance = np.array([[4.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 9.0]])
    >>> ellipses = pairwise_ellipses(np.zeros(3), covariance, n_sigma=2.0)
    >>> ellipses.half_axes
    array([[4., 2.], [6., 4.], [6., 2.]])
    >>> np.degrees(ellipses.angle)
    array([ 0., 90., 90.])
    """
    _check_n_sigma(n_sigma)
    _check_moments(mean, covariance)
    i, j = _planes(len(mean), pairs)
    mean, covariance = mean.astype(np.float64), covariance.astype(np.float64)
    variances = np.diag(covariance)
    half_axes, angle = _axes(variances[i], variances[j], covariance[i, j])
    return Ellipses(i, j, np.stack([mean[i], mean[j]], axis=1), n_sigma * half_axes, angle, float(n_sigma))


def _axes(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the roots of the eigenvalues of [[a, c], [c, b]], large first, and the angle of the first eigenvector."""
    large = 0.5 * (a + b) + np.hypot(0.5 * (a - b), c)
    # The small one as determinant / large: as a difference it would lose its digits in long ellipses.
    determinant = np.maximum(a * b - c * c, 0.0)
    small = np.divide(determinant, large, out=np.zeros_like(large), where=large > 0)
    return np.sqrt(np.stack([large, small], axis=1)), _upright(0.5 * np.arctan2(2.0 * c, a - b))


def _upright(angle: np.ndarray) -> np.ndarray:
    """Return the angles of the same lines in (-pi/2, pi/2]."""
    return 0.5 * np.pi - np.mod(0.5 * np.pi - angle, np.pi)


def _check_n_sigma(n_sigma: float) -> None:
    if not 0 < n_sigma < math.inf:
        raise ValueError(f"n_sigma must be finite and above 0, not {n_sigma}.")


def _check_moments(mean: np.ndarray, covariance: np.ndarray) -> None:
    if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
        raise ValueError(
            f"mean and covariance must have shapes (d,) and (d, d), not {mean.shape} and {covariance.shape}."
        )
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise ValueError("mean and covariance must be finite; compute them from finite z-points.")
    sigma = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    slack = 1e-5 * np.outer(sigma, sigma)  # single precision's rounding
    if (
        np.diag(covariance).min(initial=0.0) < 0
        or (np.abs(covariance) > np.outer(sigma, sigma) + slack).any()
    ):
        raise ValueError("covariance must have variances >= 0 and correlation coefficients in [-1, 1].")
    if (np.abs(covariance - covariance.T) > slack).any():
        raise ValueError("covariance must be symmetric.")


def _planes(d: int, pairs: Sequence[tuple[int, int]] | np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    if pairs is None:
        i, j = np.triu_indices(d, 1)
        return i, j
    chosen = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    outside = chosen.size > 0 and (chosen.min() < 0 or chosen.max() >= d)
    if outside or (chosen[:, 0] == chosen[:, 1]).any():
        raise ValueError(f"pairs must be two different components in 0 ... {d - 1} each.")
    return chosen[:, 0], chosen[:, 1]


def empirical_coverage(z: Points, ellipses: Ellipses) -> Float[np.ndarray, " m"]:
    """Count the share of z-points inside each ellipse.

    The points are read block by block. A border belongs to its ellipse, widened by the rounding of the points in their
    own precision, and of their deviations from the centre in single precision; so a segment (a constant component, or a
    correlation of one) holds the points on it.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The z-points, n at least 1, in memory, memory-mapped, or as a Dask array.
    ellipses : Ellipses
        Ellipses in planes of these d components.

    Returns
    -------
    array of float64, shape (m,)
        Share of the points inside each ellipse, over the points' projections onto its plane.

    Raises
    ------
    ValueError
        If `z` has not shape (n, d), is empty or not finite, or a plane has a component that z lacks.

    Examples
    --------
    >>> z = np.random.default_rng(7).standard_normal((100_000, 3))
    >>> empirical_coverage(z, pairwise_ellipses(np.zeros(3), np.eye(3), n_sigma=2.0)).round(2)
    array([0.87, 0.86, 0.86])
    """
    _check_points(z, ellipses)
    return merged(_part_inside, z, np.add, whole=(ellipses,)) / len(z)


def _part_inside(part: np.ndarray, first: int, ellipses: Ellipses) -> Int[np.ndarray, " m"]:
    """Count the points inside each ellipse."""
    counts = np.zeros(len(ellipses), dtype=np.int64)
    discs = _Discs(ellipses, part.dtype)
    for _, block in _blocks(part, first):
        deviations = discs.deviations(block)
        for chunk in discs.chunks():
            counts[chunk] += np.count_nonzero(discs.hold(chunk, deviations), axis=1)
    return counts


def inside_all(z: Points, ellipses: Ellipses) -> Any:
    """Find the z-points that lie inside every ellipse.

    Points and borders are treated as in `empirical_coverage`. Work on a point ends at the first planes that it fails.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The z-points, n at least 1, in memory, memory-mapped, or as a Dask array.
    ellipses : Ellipses
        Ellipses in planes of these d components; a single one gives the points inside it.

    Returns
    -------
    array of bool, shape (n,)
        True for the points inside all ellipses; a Dask array for a Dask array.

    Raises
    ------
    ValueError
        If `z` has not shape (n, d), is empty or not finite, or a plane has a component that z lacks.

    Examples
    --------
    >>> ellipses = pairwise_ellipses(np.zeros(2), np.eye(2), n_sigma=1.0)
    >>> inside_all(np.array([[0.5, 0.5], [0.8, 0.8]]), ellipses)
    array([ True, False])
    """
    _check_points(z, ellipses)
    return mapped(_part_inside_all, z, dtype=np.bool_, whole=(ellipses,))


def _part_inside_all(part: np.ndarray, first: int, ellipses: Ellipses) -> Bool[np.ndarray, " n"]:
    inside = np.zeros(len(part), dtype=bool)
    discs = _Discs(ellipses, part.dtype)
    for start, block in _blocks(part, first):
        deviations = discs.deviations(block)
        alive = np.arange(start, start + block.shape[1])
        for chunk in discs.chunks():
            kept = discs.hold(chunk, deviations).all(axis=0)
            if not kept.all():
                alive, deviations = alive[kept], deviations[:, kept]
            if len(alive) == 0:
                break
        inside[alive] = True
    return inside


class _Discs:
    r"""Ellipses as unit discs: :math:`(a x_i)^2 + (c (x_j - b x_i))^2 \le 1` for deviations x from the centre.

    Deviations are taken in double precision, once per component (and centre), and compared in single precision: that
    halves the time, and the number of planes is what costs.
    """

    def __init__(self, ellipses: Ellipses, precision: np.dtype) -> None:
        m = len(ellipses)
        # One sortable number for a component and its centre.
        key = np.concatenate([ellipses.i, ellipses.j]) + 1j * ellipses.centre.T.ravel()
        kinds, rows = np.unique(key, return_inverse=True)
        self._component, self._centre = kinds.real.astype(int), kinds.imag[:, None]
        self._i, self._j = rows[:m], rows[m:]
        cos, sin = np.cos(ellipses.angle), np.sin(ellipses.angle)
        long, short = _widened(ellipses, precision).T
        width = np.hypot(long * cos, short * sin)
        self._a = _column(1.0 / width)
        self._b = _column((long / width - short / width) * (long / width + short / width) * cos * sin)
        self._c = _column(width / long / short)

    def chunks(self) -> Iterator[slice]:
        """Yield slices of a few ellipses."""
        return (slice(start, start + _PLANES) for start in range(0, len(self._i), _PLANES))

    def deviations(self, block: np.ndarray) -> np.ndarray:
        """Return the points' deviations, a row for each component and centre; infinite beyond single precision."""
        with np.errstate(over="ignore"):
            return (block[self._component] - self._centre).astype(np.float32)

    def hold(self, chunk: slice, deviations: np.ndarray) -> np.ndarray:
        """Return (ellipses, points): whether the points lie inside."""
        x, y = deviations[self._i[chunk]], deviations[self._j[chunk]]
        # Far off there are infinities, and where two of them meet no number, which is outside, too.
        with np.errstate(over="ignore", invalid="ignore"):
            y -= self._b[chunk] * x
            y *= self._c[chunk]
            y *= y
            x *= self._a[chunk]
            x *= x
            x += y
        return x <= 1.0


def _widened(ellipses: Ellipses, precision: np.dtype) -> Float[np.ndarray, "m 2"]:
    """Return half-axes longer by the rounding of points, and by that of their deviations, so that none is 0."""
    size = ellipses.half_axes.sum(axis=1)
    rounding = np.finfo(precision).eps * np.abs(ellipses.centre).sum(axis=1) + np.finfo(np.float32).eps * size
    return ellipses.half_axes + (4.0 * rounding + 1e-30)[:, None]


def _column(values: np.ndarray) -> Float[np.ndarray, "m 1"]:
    return values[:, None].astype(np.float32)


def _blocks(z: np.ndarray, first: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the start and the transposed float64 copy of each block of z-points."""
    for where, rows in checked_blocks(z, first=first, block=_POINTS):
        yield where.start, np.ascontiguousarray(rows.T, dtype=np.float64)


def _check_points(z: Points, ellipses: Ellipses) -> None:
    check_cloud(z)
    needed = 1 + max(ellipses.i.max(initial=-1), ellipses.j.max(initial=-1))
    if z.shape[1] < needed:
        raise ValueError(f"z must have the ellipses' components, at least {needed}, not {z.shape[1]}.")


@dataclass(frozen=True, eq=False)
class PlaneDensity:
    r"""A density in a plane, on a grid along the axes of the points' ellipse.

    Whitened coordinates (u, v) count standard deviations from the points' mean along the long and the short axis of
    their ellipse. A point of the plane is ``centre + frame @ (u, v)``.

    Parameters
    ----------
    u, v : array of float, shape (g,)
        The grid's whitened coordinates, equally spaced.
    density : array of float, shape (g, g)
        Density p at (u[a], v[b]), per unit area of the plane (not of the whitened one); its integral is 1.
    centre : array of float, shape (2,)
        Mean of the points.
    frame : array of float, shape (2, 2)
        Columns are the ellipse's half-axes at one standard deviation; frame times its transpose is the covariance.
    bandwidth : float
        Standard deviation h of the kernel, in whitened coordinates.
    n : int
        Number of points.
    """

    u: Float[np.ndarray, " g"]
    v: Float[np.ndarray, " g"]
    density: Float[np.ndarray, "g g"]
    centre: Float[np.ndarray, " 2"]
    frame: Float[np.ndarray, "2 2"]
    bandwidth: float
    n: int

    @property
    def x(self) -> Float[np.ndarray, "g g"]:
        """First plane coordinate of the grid's points."""
        return self.centre[0] + self.frame[0, 0] * self.u[:, None] + self.frame[0, 1] * self.v

    @property
    def y(self) -> Float[np.ndarray, "g g"]:
        """Second plane coordinate of the grid's points."""
        return self.centre[1] + self.frame[1, 0] * self.u[:, None] + self.frame[1, 1] * self.v

    def at(self, points: Points) -> Points:
        """Interpolate the density linearly.

        Parameters
        ----------
        points : array of float, shape (n, 2)
            Points of the plane, also as a Dask array.

        Returns
        -------
        array of float64, shape (n,)
            Density at the points; 0 outside the grid. A Dask array for a Dask array.
        """
        return mapped(_part_density, points, whole=(self,))

    def _at_whitened(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        a = (u - self.u[0]) / (self.u[1] - self.u[0])
        b = (v - self.v[0]) / (self.v[1] - self.v[0])
        return ndimage.map_coordinates(self.density, [a, b], order=1, mode="constant", cval=0.0)


def _part_density(part: np.ndarray, _first: int, density: PlaneDensity) -> Float[np.ndarray, " n"]:
    return density._at_whitened(*_whitened(part, density.centre, density.frame))


def plane_density(points: Points, *, grid: int = 200, bandwidth: float | None = None) -> PlaneDensity:
    r"""Estimate the density of points in a plane with a Gaussian kernel shaped like the points' own ellipse.

    :math:`p(x) = \frac1n \sum_k \mathcal N(x;\, x_k,\, h^2 S)`, where S is the points' covariance matrix. In whitened
    coordinates the kernel is round, so the bandwidth respects the correlation. Points are shared out linearly among the
    corners of their grid cells, then convolved along both axes. The cost is that of a pass over the points; against
    the exact sum the error stays below 1 % of the peak, as the grid is refined until its steps are at most h/2.

    Parameters
    ----------
    points : array of float, shape (n, 2)
        Points of the plane, n at least 3, not on one line; also as a Dask array.
    grid : int
        Number g of grid points along each axis, at least 2; they reach four bandwidths beyond the outermost points.
    bandwidth : float or None
        Standard deviation h of the kernel in units of the points' own, above 0; None takes Scott's rule
        :math:`n^{-1/6}`. Both as in `scipy.stats.gaussian_kde`.

    Returns
    -------
    PlaneDensity
        The density on a grid of g x g points.

    Raises
    ------
    ValueError
        If the points are too few, not finite or on one line; if `grid` or `bandwidth` is out of its range; or if
        the outermost points are so far out that the refined grid would have more than 4096 rows.

    References
    ----------
    .. [1] D. W. Scott (1992), Multivariate Density Estimation, Wiley.
    .. [2] M. P. Wand (1994), Fast computation of multivariate kernel estimators, Journal of Computational and
       Graphical Statistics 3, 433-445.

    Examples
    --------
    >>> points = np.random.default_rng(7).standard_normal((50_000, 2))
    >>> density = plane_density(points)
    >>> round(float(density.at(np.zeros((1, 2)))[0] * 2 * np.pi), 1)  # the normal density's peak is 1 / (2 pi)
    1.0
    """
    if grid < 2:
        raise ValueError(f"grid must be at least 2 points along each axis, not {grid}.")
    centre, frame = _frame(points)
    h = len(points) ** (-1.0 / 6.0) if bandwidth is None else bandwidth
    if not 0 < h < math.inf:
        raise ValueError(f"bandwidth must be finite and above 0, not {h}.")
    ends = merged(_part_ends, points, np.minimum, whole=(centre, frame))
    low, high = ends[0] - 4.0 * h, 4.0 * h - ends[1]
    fine = _refinement(float((high - low).max()), grid, h)
    rows = fine * (grid - 1) + 1
    step = (high - low) / (rows - 1)
    # Sharing out among corners blurs by step²/6; taken off here, the kernel's variance is h² in all.
    blur = np.sqrt(h * h - step * step / 6.0) / step
    counts = merged(partial(_part_counts, rows=rows), points, np.add, whole=(centre, frame, low, step))
    density = ndimage.gaussian_filter(counts, blur, mode="constant", truncate=6.0)[::fine, ::fine]
    density = density / (len(points) * step.prod() * abs(np.linalg.det(frame)))
    u, v = np.linspace(low, high, grid, axis=1)
    return PlaneDensity(u, v, density, centre, frame, float(h), len(points))


def _part_ends(
    part: np.ndarray, first: int, centre: np.ndarray, frame: np.ndarray
) -> Float[np.ndarray, "2 2"]:
    """Return the least whitened coordinates, and the greatest with the opposite sign."""
    blocks = _whitened_blocks(part, first, centre, frame)
    return np.min([(whitened.min(axis=1), -whitened.max(axis=1)) for whitened in blocks], axis=0)


def _part_counts(
    part: np.ndarray,
    first: int,
    centre: np.ndarray,
    frame: np.ndarray,
    low: np.ndarray,
    step: np.ndarray,
    *,
    rows: int,
) -> Float[np.ndarray, "rows rows"]:
    counts = np.zeros((rows, rows))
    for whitened in _whitened_blocks(part, first, centre, frame):
        counts += _shared_out((whitened - low[:, None]) / step[:, None], rows)
    return counts


def _frame(points: Points) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of the points and the frame of their ellipse at one standard deviation."""
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
        raise ValueError(f"points must have shape (n, 2) with n of at least 3, not {points.shape}.")
    moments = measure_moments(points)
    covariance = moments.covariance
    variances = np.diag(covariance)
    if variances.min() <= 0 or covariance[0, 1] ** 2 >= (1.0 - 1e-10) * variances.prod():
        raise ValueError("points must not lie on one line; choose another plane.")
    return moments.mean, pairwise_ellipses(moments.mean, covariance, n_sigma=1.0)._frames()[0]


def _whitened(points: np.ndarray, centre: np.ndarray, frame: np.ndarray) -> Float[np.ndarray, "2 n"]:
    return np.linalg.inv(frame) @ (points - centre).T


def _whitened_blocks(
    points: np.ndarray, first: int, centre: np.ndarray, frame: np.ndarray
) -> Iterator[Float[np.ndarray, "2 n"]]:
    blocks = checked_blocks(points, first=first, block=_PLANE_POINTS)
    return (_whitened(rows, centre, frame) for _, rows in blocks)


def _refinement(extent: float, grid: int, h: float) -> int:
    """Return how many times finer than asked for the grid must be for steps of at most h/2."""
    fine = math.ceil(2.0 * extent / (h * (grid - 1)))
    if fine * (grid - 1) >= _FINEST:
        raise ValueError(
            f"points reach over {extent:.0f} standard deviations, too many for a kernel of {h:.2g}; "
            "take the outermost points off, or a larger bandwidth."
        )
    return fine


def _shared_out(cells: np.ndarray, rows: int) -> Float[np.ndarray, "rows rows"]:
    """Share each point out among the four corners of its cell, each by how near it is."""
    corner = cells.astype(np.int64)
    part = cells - corner
    first = corner[0] * rows + corner[1]
    counts = np.zeros(rows * rows)
    for a, weight_a in ((0, 1.0 - part[0]), (1, part[0])):
        for b, weight_b in ((0, 1.0 - part[1]), (1, part[1])):
            counts += np.bincount(first + (a * rows + b), weight_a * weight_b, minlength=rows * rows)
    return counts.reshape(rows, rows)


def highest_density_levels(
    density: PlaneDensity, points: Points, shares: Sequence[float] | Float[np.ndarray, " s"]
) -> Float[np.ndarray, " s"]:
    """Find the levels whose regions of higher density enclose stated shares of the points.

    The level of share s is the quantile 1 - s of the density at the points. It counts points, not the integral of
    the estimated density, which the kernel has spread out.

    Parameters
    ----------
    density : PlaneDensity
        A density, as a rule estimated from the same points.
    points : array of float, shape (n, 2)
        Points of the plane, n at least 1; also as a Dask array, whose n densities are brought together.
    shares : sequence of float, s numbers
        Shares to enclose, above 0 and below 1.

    Returns
    -------
    array of float64, shape (s,)
        A level for each share: the density is at least as high at this share of the points, or at one point more.

    Raises
    ------
    ValueError
        If a share is out of its range, or the points are none, not finite, or not of shape (n, 2).

    References
    ----------
    .. [1] R. J. Hyndman (1996), Computing and graphing highest density regions, The American Statistician 50, 120-126.

    Examples
    --------
    >>> points = np.random.default_rng(7).standard_normal((1000, 2))
    >>> density = plane_density(points)
    >>> level, = highest_density_levels(density, points, [0.9])
    >>> round(float((density.at(points) >= level).mean()), 3)
    0.9
    """
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        raise ValueError(f"points must have shape (n, 2), n at least 1, not {points.shape}.")
    check_points(points, name="points")
    wanted = np.asarray(shares, dtype=np.float64)
    if not ((wanted > 0) & (wanted < 1)).all():
        raise ValueError(f"shares must be above 0 and below 1, not {shares}; percent must be divided by 100.")
    values = np.sort(np.asarray(density.at(points)))[::-1]
    # The small number keeps 0.9 * 1000 from being rounded up to 901 points.
    enclosed = np.ceil(wanted * len(values) - 1e-9).astype(int)
    return values[np.maximum(enclosed, 1) - 1]


def contour_lines(density: PlaneDensity, level: float) -> list[Float[np.ndarray, "_ 2"]]:
    """Trace the contour of a density at a level.

    Parameters
    ----------
    density : PlaneDensity
        The density.
    level : float
        Above 0 and below the highest density.

    Returns
    -------
    list of array of float64, shape (k, 2)
        The contour's lines in plane coordinates, that round the largest area first: more than one where the region
        above the level has islands or holes. A closed line ends at its first point.

    Raises
    ------
    ValueError
        If the level is not between 0 and the highest density.

    Examples
    --------
    >>> points = np.random.default_rng(7).standard_normal((50_000, 2))
    >>> density = plane_density(points)
    >>> level, = highest_density_levels(density, points, [0.5])
    >>> line, = contour_lines(density, level)
    >>> round(float(np.hypot(*line.T).mean()), 2), round(n_sigma_for(0.5), 2)
    (1.17, 1.18)
    """
    peak = density.density.max()
    if not 0 < level < peak:
        raise ValueError(f"level must be above 0 and below the highest density {peak:.3g}, not {level:.3g}.")
    lines = contour_generator(density.x, density.y, density.density).lines(level)
    return sorted((np.asarray(line) for line in lines), key=_area, reverse=True)


def _area(line: np.ndarray) -> float:
    x, y = (line - line[0]).T
    return float(0.5 * abs((x[:-1] * y[1:] - x[1:] * y[:-1]).sum()))


@dataclass(frozen=True, eq=False)
class DepartureLaw:
    """How far contours of normal clouds depart from their ellipses: the law that `contour_departure` compares with.

    Parameters
    ----------
    n : int
        Number of points of each cloud.
    share : float
        Share of the points that contour and ellipse enclose.
    grid : int
        Grid points along each axis.
    values : array of float, shape (draws,)
        Departures of the normal clouds, in ascending order.
    spread : float
        Root mean square, over clouds and angles, of the contour's radius / the ellipse's radius - 1.
    """

    n: int
    share: float
    grid: int
    values: Float[np.ndarray, " draws"]
    spread: float

    @property
    def mean(self) -> float:
        """Mean departure of normal clouds."""
        return float(self.values.mean())

    @property
    def std(self) -> float:
        """Standard deviation of the departure over normal clouds."""
        return float(self.values.std(ddof=1))


@dataclass(frozen=True, eq=False)
class Departure:
    r"""How far a contour departs from the ellipse of the same share.

    With q the contour's radius over the ellipse's, ``value**2 == size**2 + shape**2``.

    Parameters
    ----------
    value : float
        Root mean square of q - 1 over the angles.
    size : float
        Mean of q - 1: above 0 if the contour is larger than the ellipse.
    shape : float
        Standard deviation of q over the angles: shift, deformation and wiggles together.
    p_value : float
        Share of normal clouds that depart at least as far, this one counted with them; at least 1/(draws + 1).
    angle : array of float, shape (a,)
        Angles in whitened coordinates, from the ellipse's long axis, in radians.
    ratio : array of float, shape (a,)
        q at these angles.
    law : DepartureLaw
        Departures of normal clouds of the same number of points.
    """

    value: float
    size: float
    shape: float
    p_value: float
    angle: Float[np.ndarray, " a"]
    ratio: Float[np.ndarray, " a"]
    law: DepartureLaw


def departure_law(
    n: int, share: float, *, draws: int = 99, grid: int = 200, random_state: int | np.random.Generator
) -> DepartureLaw:
    """Simulate how far contours of normal clouds of n points depart from their ellipses.

    Each cloud is treated as `contour_departure` treats the points. The outcome does not depend on the normal clouds'
    mean and covariance, since the points are whitened by their own; so one law serves all planes.

    Parameters
    ----------
    n : int
        Number of points of each cloud, at least 20.
    share : float
        Share of the points that contour and ellipse enclose, above 0 and below 1.
    draws : int
        Number of clouds, at least 19; 99 let p-values reach 0.01.
    grid : int
        Grid points along each axis.
    random_state : int or numpy.random.Generator
        Seed, or the generator to draw from.

    Returns
    -------
    DepartureLaw
        The departures.

    Raises
    ------
    ValueError
        If `n`, `share` or `draws` is out of its range.

    Examples
    --------
    >>> law = departure_law(2_000, 0.9, draws=19, random_state=7)
    >>> 0.02 < law.mean < 0.05, law.std < law.mean
    (True, True)
    """
    if n < 20 or draws < 19:
        raise ValueError(f"n must be at least 20 and draws at least 19, not {n} and {draws}.")
    rng = np.random.default_rng(random_state)
    ratios = np.array([_radii(rng.standard_normal((n, 2)), share, grid) for _ in range(draws)])
    values = np.sqrt(np.square(ratios - 1.0).mean(axis=1))
    return DepartureLaw(n, float(share), grid, np.sort(values), float(np.sqrt(np.square(values).mean())))


def contour_departure(points: Float[np.ndarray, "..."], law: DepartureLaw) -> Departure:
    r"""Measure how far the highest-density contour of points departs from the ellipse of the same share.

    The contour encloses a share s of the points, by `plane_density` and `highest_density_levels`. In coordinates
    whitened by the points' own mean and covariance, the ellipse that encloses the share s of a normal cloud is a circle
    of radius :math:`\sqrt{-2\ln(1-s)}`. At 120 equally spaced angles the contour's radius is divided by the circle's.
    Where a ray from the centre leaves the region above the level more than once, because of islands or holes, the
    radius is that of the sector of the same area.

    Parameters
    ----------
    points : array of float, shape (n, 2)
        Points of the plane, as many as the law's clouds have, not on one line.
    law : DepartureLaw
        Departures of normal clouds for the share in question, from `departure_law`.

    Returns
    -------
    Departure
        The departure, with its p-value among normal clouds.

    Raises
    ------
    ValueError
        If the number of points is not the law's, or `plane_density` refuses them.

    Examples
    --------
    >>> law = departure_law(2_000, 0.9, draws=19, random_state=7)
    >>> points = np.random.default_rng(8).exponential(size=(2_000, 2))
    >>> departure = contour_departure(points, law)
    >>> departure.value > 5 * law.mean, departure.p_value
    (True, 0.05)
    """
    if points.shape != (law.n, 2):
        raise ValueError(
            f"points must have shape ({law.n}, 2), as the law's clouds have, not {points.shape}; "
            "make a law for this number of points."
        )
    ratio = _radii(points, law.share, law.grid)
    value = float(np.sqrt(np.square(ratio - 1.0).mean()))
    as_far = int(np.count_nonzero(law.values >= value))
    return Departure(
        value=value,
        size=float(ratio.mean() - 1.0),
        shape=float(ratio.std()),
        p_value=(1 + as_far) / (1 + len(law.values)),
        angle=_angles(),
        ratio=ratio,
        law=law,
    )


def _angles() -> Float[np.ndarray, " a"]:
    return np.linspace(0.0, 2.0 * np.pi, _ANGLES, endpoint=False)


def _radii(points: np.ndarray, share: float, grid: int) -> Float[np.ndarray, " a"]:
    """Return the contour's radius over the ellipse's at each angle, in whitened coordinates."""
    density = plane_density(points, grid=grid)
    (level,) = highest_density_levels(density, points, [share])
    reach = np.hypot(np.abs(density.u).max(), np.abs(density.v).max())
    r = np.linspace(0.0, reach, 1 + math.ceil(16.0 * reach / density.bandwidth))
    cos, sin = np.cos(_angles())[:, None], np.sin(_angles())[:, None]
    above = density._at_whitened(r * cos, r * sin) - level
    # The part of each step along the ray that lies above the level, as if the density were linear on it.
    low, high = np.minimum(above[:, :-1], above[:, 1:]), np.maximum(above[:, :-1], above[:, 1:])
    part = np.where(low >= 0, 1.0, np.divide(high, high - low, out=np.zeros_like(low), where=high > 0))
    area = (part * np.diff(r * r)).sum(axis=1)
    return np.sqrt(area) / n_sigma_for(share)
