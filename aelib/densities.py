"""Densities of z-points: one curve per component with its Gaussian fit, the density of radii, and distances."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import erf, ndtr, ndtri

from aelib.blocks import check_cloud, checked_blocks
from aelib.partitions import Points, mapped, merged

FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))  # of a Gaussian
_MOST_INTERVALS = 10_000
_TERMS = 4096  # of a cosine series
_LEAST_SIGMA = (
    0.25  # intervals: below it nearly all points fall into one or two, and no width can be read off
)


@dataclass(frozen=True)
class NumberDensity:
    """Histogram of every component, on one grid.

    Parameters
    ----------
    edges : array of float64, shape (m + 1,)
        Ends of the m intervals, in units of z. An interval has its lower end, not its upper one.
    counts : array of int, shape (m, d)
        Points in each interval, one column per component.
    width : float
        Width of an interval, in units of z.
    """

    edges: Float[np.ndarray, " edges"]
    counts: Int[np.ndarray, "m d"]
    width: float

    @property
    def centres(self) -> Float[np.ndarray, " m"]:
        """Middle of each interval, shape (m,), in units of z."""
        return 0.5 * (self.edges[1:] + self.edges[:-1])

    @property
    def n(self) -> int:
        """Number of points."""
        return int(self.counts[:, 0].sum())

    @property
    def density(self) -> Float[np.ndarray, "m d"]:
        """Share of the points per unit of z, shape (m, d): each column integrates to 1."""
        return self.counts / (self.n * self.width)


class ValueRange(NamedTuple):
    """Least and greatest value of each component.

    Parameters
    ----------
    low : array of float, shape (d,)
        Least values, in units of z.
    high : array of float, shape (d,)
        Greatest values, in units of z.
    """

    low: Float[np.ndarray, " d"]
    high: Float[np.ndarray, " d"]


def value_range(z: Points) -> ValueRange:
    """Find the least and the greatest value of each component.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The z-points, in memory, memory-mapped, or as a Dask array.

    Returns
    -------
    ValueRange
        Two arrays of shape (d,) and of the type of `z`.

    Raises
    ------
    ValueError
        If `z` is not of shape (n, d) with n and d of at least 1, or has a value that is not finite.

    Examples
    --------
    >>> value_range(np.array([[0.0, 5.0], [1.0, -5.0]]))
    ValueRange(low=array([ 0., -5.]), high=array([1., 5.]))
    """
    check_cloud(z)
    return merged(_part_range, z, _both_ranges)


def _part_range(part: np.ndarray, first: int) -> ValueRange:
    ranges = (ValueRange(rows.min(axis=0), rows.max(axis=0)) for _, rows in checked_blocks(part, first=first))
    return reduce(_both_ranges, ranges)


def _both_ranges(a: ValueRange, b: ValueRange) -> ValueRange:
    return ValueRange(np.minimum(a.low, b.low), np.maximum(a.high, b.high))


def number_densities(z: Points, *, width: float = 0.25) -> NumberDensity:
    """Count the points per interval, for each component.

    All components share one grid. The *middles* of its intervals are the multiples of the width, so that 0 is one
    of them; the edges are the odd multiples of half the width. The grid spans all points.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The z-points, in memory, memory-mapped, or as a Dask array.
    width : float
        Width of the intervals, above 0, in units of z.

    Returns
    -------
    NumberDensity
        The counts, with one column per component.

    Raises
    ------
    ValueError
        If `z` is not of shape (n, d) with n and d of at least 1, has a value that is not finite, or would need more
        than 10 000 intervals.

    Examples
    --------
    >>> found = number_densities(np.array([[0.0, 0.3], [0.1, 0.5], [-0.1, 0.5]]))
    >>> found.centres
    array([0. , 0.25, 0.5 ])
    >>> found.counts
    array([[3, 0],
           [0, 1],
           [0, 2]])
    """
    low, high = value_range(z)
    return _count(z, float(low.min()), float(high.max()), width, offset=0.5)


def _count(z: Points, low: float, high: float, width: float, *, offset: float) -> NumberDensity:
    """Count on the intervals with edges (k + offset) * width that span low to high."""
    if not 0.0 < width < np.inf:
        raise ValueError(f"width must be finite and above 0, not {width}.")
    if not (high - low) / width < _MOST_INTERVALS:
        raise ValueError(
            f"the values run from {low:g} to {high:g}, more than {_MOST_INTERVALS} intervals of width {width:g}; "
            "take wider ones, or remove the outliers."
        )
    first, last = (int(np.floor(value / width - offset)) for value in (low, high))
    intervals = range(first, last + 1)
    counts = merged(partial(_part_counts, intervals=intervals, width=width, offset=offset), z, np.add)
    return NumberDensity(width * (np.arange(first, last + 2) + offset), counts, float(width))


def _part_counts(
    part: np.ndarray, first: int, *, intervals: range, width: float, offset: float
) -> Int[np.ndarray, "m d"]:
    """Count on the intervals k, with edges (k + offset) * width and (k + 1 + offset) * width."""
    m, d = len(intervals), part.shape[1]
    counts = np.zeros(m * d, dtype=np.int64)
    for _, rows in checked_blocks(part, first=first):
        place = np.divide(rows, width, dtype=np.float64)
        np.floor(np.subtract(place, offset, out=place), out=place)
        cell = (place.astype(np.intp) - intervals.start) * d + np.arange(d)
        counts += np.bincount(cell.ravel(), minlength=m * d)
    return counts.reshape(m, d)


def _check_width(name: str, points: Points, d: int) -> None:
    if points.shape[1] != d:
        raise ValueError(
            f"{name} must have {d} components, as what it is compared with, not {points.shape[1]}."
        )


@dataclass(frozen=True)
class GaussianFits:
    r"""Gaussians :math:`a_j \exp(-(x - \mu_j)^2 / 2 \sigma_j^2)` fitted to number densities.

    Parameters
    ----------
    centre : array of float64, shape (d,)
        Centres :math:`\mu_j`, in units of z.
    sigma : array of float64, shape (d,)
        Standard deviations :math:`\sigma_j`, above 0, in units of z.
    amplitude : array of float64, shape (d,)
        Heights :math:`a_j`, share of the points per unit of z.
    r_squared : array of float64, shape (d,)
        Goodness of fit: 1 minus the squared residuals over the squared counts, both summed over all intervals.
    asymmetry : array of float64, shape (d,)
        Kelly's skewness of the measured density, in [-1, 1]: 0 if symmetric, above 0 if the upper flank is longer.
    fitted : array of bool, shape (d,)
        False where no Gaussian could be fitted, and the density's own mean and standard deviation stand instead.
    """

    centre: Float[np.ndarray, " d"]
    sigma: Float[np.ndarray, " d"]
    amplitude: Float[np.ndarray, " d"]
    r_squared: Float[np.ndarray, " d"]
    asymmetry: Float[np.ndarray, " d"]
    fitted: Bool[np.ndarray, " d"]

    @property
    def fwhm(self) -> Float[np.ndarray, " d"]:
        """Full widths at half maximum, 2.355 sigma, shape (d,), in units of z."""
        return FWHM_PER_SIGMA * self.sigma

    @property
    def half_width(self) -> Float[np.ndarray, " d"]:
        """Half of the full widths at half maximum, shape (d,), in units of z."""
        return 0.5 * self.fwhm

    def density(self, x: Float[np.ndarray, " k"]) -> Float[np.ndarray, "k d"]:
        """Evaluate the Gaussians.

        Parameters
        ----------
        x : array of float, shape (k,)
            Values of a component, in units of z.

        Returns
        -------
        array of float64, shape (k, d)
            Share of the points per unit of z, one column per component.
        """
        return self.amplitude * np.exp(-0.5 * ((x[:, None] - self.centre) / self.sigma) ** 2)


def fit_gaussians(density: NumberDensity) -> GaussianFits:
    r"""Fit a Gaussian to the number density of each component, by least squares.

    The sum over the intervals k of :math:`(c_{kj} - n \int_k g_j)^2` is made least, with c the counts, n the number of
    points and g a Gaussian of free centre, width and height. The Gaussian is *integrated* over each interval: its value
    at the middle would make narrow components too wide. Beyond the grid the counts are 0, so a component's fit does not
    depend on the others'. All fits run at once (Levenberg-Marquardt).

    Kelly's skewness is :math:`(q_{90} + q_{10} - 2 q_{50}) / (q_{90} - q_{10})` with the percentiles q of the counts,
    interpolated such that a normal density gives 0 however coarse the intervals are.

    Where a component is too narrow for the intervals (sigma below a quarter of the width, so also where it is
    constant), or has no bell shape that a fit could find, `fitted` is False. There, centre and sigma are the mean and
    the standard deviation of the counts, thought spread evenly over each interval: at least 0.29 widths.

    Parameters
    ----------
    density : NumberDensity
        Result of `number_densities`.

    Returns
    -------
    GaussianFits
        All values are finite.

    References
    ----------
    .. [1] D. W. Marquardt (1963), An algorithm for least-squares estimation of nonlinear parameters, Journal of the
       Society for Industrial and Applied Mathematics 11, 431-441.
    .. [2] T. L. Kelley (1947), Fundamentals of Statistics, Harvard University Press.

    Examples
    --------
    >>> z = np.random.default_rng(0).normal([0.0, 2.0], [0.1, 1.0], (100_000, 2))
    >>> fits = fit_gaussians(number_densities(z))
    >>> fits.centre.round(2), fits.sigma.round(2), fits.fitted
    (array([0., 2.]), array([0.1, 1. ]), array([ True, True]))
    """
    pad = 2 + len(density.counts) // 2
    share = np.pad(density.counts / density.n, ((pad, pad), (0, 0)))
    # In units of the width, with 0 at the grid's lower end.
    edges = np.arange(-pad, len(share) - pad + 1, dtype=np.float64)
    low, middle, high = (_quantile(density, p) for p in (0.1, 0.5, 0.9))
    start = np.stack([middle, (high - low) / (2 * ndtri(0.9)), np.ones_like(middle)])
    parameters, converged = _levenberg_marquardt(edges, share, start)
    fitted = converged & _is_bell(parameters, len(density.counts))
    centre, sigma, area = np.where(fitted, parameters, _moments(edges, share))
    residual = share - _model(edges, np.stack([centre, sigma, area]))
    return GaussianFits(
        centre=density.edges[0] + density.width * centre,
        sigma=density.width * sigma,
        amplitude=area / (np.sqrt(2.0 * np.pi) * density.width * sigma),
        r_squared=1.0 - (residual**2).sum(axis=0) / (share**2).sum(axis=0),
        asymmetry=(high + low - 2.0 * middle) / (high - low),
        fitted=fitted,
    )


def _quantile(density: NumberDensity, p: float) -> Float[np.ndarray, " d"]:
    """Interpolate a quantile, in intervals from the lower end; between edges, linear on the normal law's own scale."""
    below = np.pad(density.counts.cumsum(axis=0), ((1, 0), (0, 0))) / density.n
    k = (below <= p).sum(axis=0) - 1
    column, least = np.arange(len(k)), 0.25 / density.n  # keeps the scale finite at the two ends
    left, right = (ndtri(np.clip(below[row, column], least, 1.0 - least)) for row in (k, k + 1))
    return k + np.clip((ndtri(p) - left) / (right - left), 0.0, 1.0)


def _moments(edges: np.ndarray, share: np.ndarray) -> Float[np.ndarray, "3 d"]:
    middles = 0.5 * (edges[1:] + edges[:-1])
    mean = middles @ share
    variance = ((middles[:, None] - mean) ** 2 * share).sum(axis=0) + 1.0 / 12.0
    return np.stack([mean, np.sqrt(variance), np.ones_like(mean)])


def _is_bell(parameters: np.ndarray, n_intervals: int) -> Bool[np.ndarray, " d"]:
    centre, sigma, area = parameters
    return (
        (area > 0)
        & (sigma >= _LEAST_SIGMA)
        & (sigma <= n_intervals)
        & (abs(centre - n_intervals / 2) <= n_intervals / 2)
    )


def _model(edges: np.ndarray, parameters: np.ndarray) -> Float[np.ndarray, "m d"]:
    """Integrate each Gaussian, given as (centre, sigma, area), over each interval."""
    return parameters[2] * np.diff(ndtr((edges[:, None] - parameters[0]) / parameters[1]), axis=0)


def _jacobian(edges: np.ndarray, parameters: np.ndarray) -> Float[np.ndarray, "3 m d"]:
    """Differentiate by the steps that `_moved` takes."""
    centre, sigma, area = parameters
    u = (edges[:, None] - centre) / sigma
    bell = np.exp(-0.5 * u**2) / np.sqrt(2.0 * np.pi)
    return np.stack(
        [-area * np.diff(bell, axis=0), -area * np.diff(u * bell, axis=0), np.diff(ndtr(u), axis=0)]
    )


def _moved(parameters: np.ndarray, step: np.ndarray) -> Float[np.ndarray, "3 d"]:
    """Take steps that know no scale: of the centre in sigmas, of the logarithm of sigma, of the area."""
    centre, sigma, area = parameters
    return np.stack([centre + sigma * step[0], sigma * np.exp(step[1]), area + step[2]])


def _levenberg_marquardt(
    edges: np.ndarray, share: np.ndarray, parameters: np.ndarray, *, iterations: int = 200
) -> tuple[Float[np.ndarray, "3 d"], Bool[np.ndarray, " d"]]:
    """Fit all columns at once; return the parameters and where they have converged."""
    parameters, damping = parameters.copy(), np.full(share.shape[1], 1e-3)
    converged = np.zeros(share.shape[1], dtype=bool)
    for _ in range(iterations):
        k = np.flatnonzero(~converged)
        if not k.size:
            break
        now, goal = parameters[:, k], share[:, k]
        residual = goal - _model(edges, now)
        step = _step(_jacobian(edges, now), residual, damping[k])
        trial = _moved(now, step)
        better = ((goal - _model(edges, trial)) ** 2).sum(axis=0) <= (residual**2).sum(axis=0)
        parameters[:, k[better]] = trial[:, better]
        damping[k] = np.clip(damping[k] * np.where(better, 0.1, 10.0), 1e-12, 1e12)
        converged[k] = abs(step).max(axis=0) < 1e-9
    return parameters, converged


def _step(jacobian: np.ndarray, residual: np.ndarray, damping: np.ndarray) -> Float[np.ndarray, "3 d"]:
    normal = np.einsum("imd,jmd->dij", jacobian, jacobian)
    gradient = np.einsum("imd,md->di", jacobian, residual)
    diagonal = np.einsum("dii->di", normal)  # a view
    diagonal += damping[:, None] * (diagonal + 1e-9)
    return np.clip(np.linalg.solve(normal, gradient[..., None])[..., 0].T, -1.0, 1.0)


def dominant_components(fits: GaussianFits, *, whiskers: float = 1.5) -> Int[np.ndarray, " k"]:
    r"""Pick the components that stand out from the others by their size.

    The size is the root mean square about the *origin*, :math:`\sqrt{\mu_j^2 + \sigma_j^2}`, so that a component stands
    out by its width, by its centre, or by both. It is dominant if its size lies above Tukey's upper fence
    :math:`Q_3 + w (Q_3 - Q_1)`, with the quartiles Q of all sizes.

    Parameters
    ----------
    fits : GaussianFits
        Result of `fit_gaussians`.
    whiskers : float
        The factor w, at least 0.

    Returns
    -------
    array of int, shape (k,)
        Indices of the dominant components, the largest first.

    Raises
    ------
    ValueError
        If `whiskers` is negative or not finite.

    References
    ----------
    .. [1] J. W. Tukey (1977), Exploratory Data Analysis, Addison-Wesley.

    Examples
    --------
    >>> z = np.random.default_rng(0).normal(0.0, [1, 1, 1, 1, 1, 1, 4, 8], (10_000, 8))
    >>> dominant_components(fit_gaussians(number_densities(z)))
    array([7, 6])
    """
    if not 0.0 <= whiskers < np.inf:
        raise ValueError(f"whiskers must be finite and at least 0, not {whiskers}.")
    size = np.hypot(fits.centre, fits.sigma)
    lower, upper = np.quantile(size, [0.25, 0.75])
    order = np.argsort(-size, kind="stable")
    return order[size[order] > upper + whiskers * (upper - lower)]


def radii(z: Points, *, centre: Float[np.ndarray, "..."] | None = None) -> Points:
    r"""Measure the distance of each point from the origin, or from a centre: :math:`R = \lVert z - c \rVert`.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The z-points, in memory, memory-mapped, or as a Dask array.
    centre : array of float, shape (d,), or None
        The point c; None is the origin.

    Returns
    -------
    array of float64, shape (n,)
        Distances, in units of z; a Dask array for a Dask array.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, or a value is not finite.

    Examples
    --------
    >>> radii(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([5., 0.])
    """
    check_cloud(z)
    origin = np.zeros(z.shape[1]) if centre is None else _vector("centre", centre, z.shape[1])
    return mapped(_part_radii, z, whole=(origin,))


def _part_radii(part: np.ndarray, first: int, origin: Float[np.ndarray, " d"]) -> Float[np.ndarray, " n"]:
    out = np.empty(len(part))
    for where, rows in checked_blocks(part, first=first):
        offset = rows - origin
        out[where] = np.sqrt(np.einsum("nd,nd->n", offset, offset))
    if not np.isfinite(out).all():
        raise ValueError("z has values too large to be squared; scale it down.")
    return out


def _vector(name: str, values: np.ndarray, d: int) -> Float[np.ndarray, " d"]:
    if values.shape != (d,) or not np.isfinite(values).all():
        raise ValueError(
            f"{name} must be {d} finite numbers, one per component; its shape is {values.shape}."
        )
    return values.astype(np.float64)


def radius_density(
    z: Points, *, width: float = 0.5, centre: Float[np.ndarray, "..."] | None = None
) -> NumberDensity:
    """Count the points per interval of their distance from the origin, or from a centre.

    The edges are the multiples of the width; the grid spans all distances.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The z-points, in memory, memory-mapped, or as a Dask array.
    width : float
        Width of the intervals, above 0, in units of z.
    centre : array of float, shape (d,), or None
        Where the distance is 0; None is the origin.

    Returns
    -------
    NumberDensity
        The counts, in one column.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, a value is not finite, or more than 10 000 intervals would be needed.

    Examples
    --------
    >>> radius_density(np.array([[3.0, 4.0], [0.3, 0.4]]), width=5.0).counts
    array([[1],
           [1]])
    """
    distance = radii(z, centre=centre)[:, None]
    low, high = value_range(distance)
    return _count(distance, float(low[0]), float(high[0]), width, offset=0.0)


@dataclass(frozen=True)
class RadiusLaw:
    r"""Law of the length R of a random vector.

    The density of the squared length is kept as a cosine series on [low, high],
    :math:`f(R^2) = \sum_k a_k \cos(k \pi (R^2 - \text{low}) / (\text{high} - \text{low}))`.

    Parameters
    ----------
    mean : float
        Mean of R, in units of z.
    std : float
        Standard deviation of R, in units of z.
    low, high : float
        Range of the squared length outside of which practically nothing lies, in squared units of z.
    coefficients : array of float64, shape (terms,)
        The :math:`a_k`, probability per squared unit of z.
    """

    mean: float
    std: float
    low: float
    high: float
    coefficients: Float[np.ndarray, " terms"]

    def density(self, r: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
        """Evaluate the probability density of R.

        Parameters
        ----------
        r : array of float, shape (k,)
            Lengths, in units of z; the density is 0 where they are negative.

        Returns
        -------
        array of float64, shape (k,)
            Probability per unit of z.
        """
        x = (np.square(r, dtype=np.float64) - self.low) / (self.high - self.low)
        squared = np.cos(np.pi * np.outer(x, np.arange(len(self.coefficients)))) @ self.coefficients
        return np.where((r >= 0) & (x >= 0) & (x <= 1), np.maximum(2.0 * r * squared, 0.0), 0.0)


def uniform_radius(b: float, d: int) -> RadiusLaw:
    r"""Give the law of the length of a vector whose components are independent and uniform in [-b, b].

    It is exact. The source's :math:`\langle R \rangle \approx b \sqrt{d/3} \, (1 - 1/(10d))` and
    :math:`\sigma_R \approx b / \sqrt{15}` are the first terms of its mean and standard deviation for large d.

    All follows from the Laplace transform of the squared length,
    :math:`L(s) = (\sqrt{\pi} \, \operatorname{erf}(b \sqrt s) / (2 b \sqrt s))^d`: the moments of its root by an
    integral over s, its density by a cosine series. The series is exact to about 1e-7 of the peak for d of 8 and more.
    For d below 4 the law itself has kinks, which the curve rounds off.

    Parameters
    ----------
    b : float
        Half the side of the cube, above 0, in units of z.
    d : int
        Number of components, at least 1.

    Returns
    -------
    RadiusLaw
        The law of the length.

    Raises
    ------
    ValueError
        If b or d is out of its range.

    References
    ----------
    .. [1] F. Fang and C. W. Oosterlee (2008), A novel pricing method for European options based on Fourier-cosine
       series expansions, SIAM Journal on Scientific Computing 31, 826-848.

    Examples
    --------
    >>> law = uniform_radius(1.5, 256)
    >>> round(law.mean, 2), round(law.std, 2)
    (13.85, 0.39)
    """
    if not 0.0 < b < np.inf or d < 1:
        raise ValueError(f"b must be finite and above 0, and d at least 1, not {b} and {d}.")
    mean_square = d * b**2 / 3.0

    def log_laplace(s: np.ndarray) -> np.ndarray:
        s = 3.0 * s / d  # of one component with b = 1
        series = -s / 3 + s**2 * 2 / 45 - s**3 * 8 / 2835  # near 0 the closed form loses its digits
        near = abs(s) < 1e-4
        x = np.sqrt(np.where(near, 1.0, s))
        return d * np.where(near, series, np.log(np.sqrt(np.pi) / 2 * erf(x) / x))

    return _law(log_laplace, mean_square, relative_std=np.sqrt(0.8 / d))


def normal_radius(
    covariance: Float[np.ndarray, "..."], *, mean: Float[np.ndarray, "..."] | None = None
) -> RadiusLaw:
    r"""Give the law of the length of a normal vector, centred or not.

    It is exact, for any covariance; where that is a multiple of the unit matrix it is a chi law, or a noncentral one.
    All follows from the Laplace transform of the squared length,
    :math:`L(s) = \prod_i (1 + 2 s v_i)^{-1/2} \exp(-s m_i^2 / (1 + 2 s v_i))` with the variances v and the mean m along
    the covariance's axes: the moments of its root by an integral over s, its density by a cosine series. The series is
    exact to about 1e-7 of the peak if eight or more variances are of like size, and to 0.3 % from two on. If a single
    variance outweighs all others, the series cannot follow the steep rise at length 0, and ripples up to half of that
    standard deviation. Mean and standard deviation stay exact.

    Parameters
    ----------
    covariance : array of float, shape (d, d)
        The covariance, in squared units of z; it may be singular but not 0.
    mean : array of float, shape (d,), or None
        The mean, in units of z; None is the origin.

    Returns
    -------
    RadiusLaw
        The law of the length.

    Raises
    ------
    ValueError
        If the covariance is not symmetric, has a negative eigenvalue, is 0, or does not fit the mean.

    References
    ----------
    .. [1] A. M. Mathai and S. B. Provost (1992), Quadratic Forms in Random Variables, Marcel Dekker.
    .. [2] F. Fang and C. W. Oosterlee (2008), A novel pricing method for European options based on Fourier-cosine
       series expansions, SIAM Journal on Scientific Computing 31, 826-848.

    Examples
    --------
    >>> law = normal_radius(np.eye(256))
    >>> round(law.mean, 2), round(law.std, 2)
    (15.98, 0.71)
    """
    variances, axes, _ = _spectrum(covariance)
    d = len(variances)
    squares = (axes.T @ (np.zeros(d) if mean is None else _vector("mean", mean, d))) ** 2
    mean_square = variances.sum() + squares.sum()
    v, m2 = variances / mean_square, squares / mean_square

    def log_laplace(s: np.ndarray) -> np.ndarray:
        stretch = 2.0 * s[:, None] * v
        return -0.5 * np.log1p(stretch).sum(axis=1) - s * (m2 / (1.0 + stretch)).sum(axis=1)

    return _law(log_laplace, mean_square, relative_std=np.sqrt(2.0 * (v**2).sum() + 4.0 * m2 @ v))


def _law(
    log_laplace: Callable[[np.ndarray], np.ndarray], mean_square: float, *, relative_std: float
) -> RadiusLaw:
    r"""Find the law of R from the Laplace transform L of :math:`X = R^2 / E R^2`, whose standard deviation is given.

    With :math:`s = e^y`, :math:`1 - E \sqrt X = \int (L(s) - e^{-s}) s^{-1/2} dy / \sqrt{4 \pi}`. The integrand is
    analytic and falls off exponentially on both sides, so the trapezoidal rule is exact to rounding. Coefficient k of
    the cosine series is the real part of L at an imaginary s, up to a phase.
    """
    y, h = np.linspace(-80.0, 80.0, 1601, retstep=True)
    s = np.exp(y)
    logarithm = log_laplace(s)
    missing = float(h * (-np.exp(logarithm) * np.expm1(-s - logarithm) / np.sqrt(4.0 * np.pi * s)).sum())
    variance = max(0.0, missing * (2.0 - missing))
    root = float(np.sqrt(mean_square))

    spread = 30.0 * float(relative_std)
    low, high = max(0.0, 1.0 - spread), 1.0 + spread  # less than 1e-9 lies outside
    k = np.arange(_TERMS)
    t = np.pi * k / (high - low)
    a = 2.0 / (high - low) * np.exp(log_laplace(-1j * t) - 1j * t * low).real
    a *= np.exp(-36.0 * (k / _TERMS) ** 8)  # takes the ripples off a series that has not converged
    a[0] *= 0.5
    terms = 1 + int(np.flatnonzero(abs(a) > 1e-14 * abs(a[0])).max())
    return RadiusLaw(
        root * (1.0 - missing),
        root * float(np.sqrt(variance)),
        low * float(mean_square),
        high * float(mean_square),
        a[:terms] / mean_square,
    )


def _spectrum(covariance: np.ndarray) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, "d d"], float]:
    """Return a covariance's variances along its axes, the axes as columns, and what is 0 to rounding."""
    if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1] or covariance.size == 0:
        raise ValueError(f"covariance must be an array of shape (d, d), not {covariance.shape}.")
    size = abs(covariance).max()
    if not 0.0 < size < np.inf or abs(covariance - covariance.T).max() > 1e-5 * size:
        raise ValueError("covariance must be finite, symmetric and not 0.")
    variances, axes = np.linalg.eigh(covariance.astype(np.float64))
    tolerance = float(len(variances) * np.finfo(covariance.dtype).eps * variances[-1])
    if variances[0] < -tolerance:
        raise ValueError(
            f"covariance must have no negative eigenvalue; the lowest is {variances[0]:.3g}. Estimate it from the "
            "points, as a whole."
        )
    return np.maximum(variances, 0.0), axes, tolerance


def share_outside(
    points: Float[np.ndarray, "..."], *, low: Float[np.ndarray, "..."], high: Float[np.ndarray, "..."]
) -> Float[np.ndarray, " m"]:
    """Measure for each point the share of its components that lie outside a range of values.

    Parameters
    ----------
    points : array of float, shape (m, d)
        The points.
    low, high : array of float, shape (d,)
        Ends of the range of each component, which belong to it; for instance `value_range` of a cloud.

    Returns
    -------
    array of float64, shape (m,)
        Shares in [0, 1].

    Raises
    ------
    ValueError
        If the shapes do not fit each other, or a value is not finite.

    Examples
    --------
    >>> share_outside(np.array([[0.0, 0.0], [2.0, 0.0]]), low=-np.ones(2), high=np.ones(2))
    array([0. , 0.5])
    """
    value_range(points)  # refuses what is not finite
    d = points.shape[1]
    lower, upper = _vector("low", low, d), _vector("high", high, d)
    return ((points < lower) | (points > upper)).mean(axis=1)


def mahalanobis_distance(
    points: Points, *, mean: Float[np.ndarray, "..."], covariance: Float[np.ndarray, "..."]
) -> Points:
    r"""Measure the distance of points from a mean in standard deviations along their own direction.

    :math:`\sqrt{(x - \mu)^T \Sigma^{-1} (x - \mu)}`. If the covariance is singular, the normal law lives in a
    plane of fewer dimensions: there the distance is measured within, and points off the plane are infinitely far.

    Parameters
    ----------
    points : array of float, shape (m, d)
        The points x, also as a Dask array.
    mean : array of float, shape (d,)
        The mean :math:`\mu`, in units of z.
    covariance : array of float, shape (d, d)
        The covariance :math:`\Sigma`, in squared units of z, not 0.

    Returns
    -------
    array of float64, shape (m,)
        Distances, without unit; infinite for points off a singular covariance's plane, by more than 1e-5 of the
        cloud's size (the root of the trace of the covariance). A Dask array for a Dask array.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, a value is not finite, or the covariance is not one.

    References
    ----------
    .. [1] P. C. Mahalanobis (1936), On the generalised distance in statistics, Proceedings of the National Institute of
       Sciences of India 2, 49-55.

    Examples
    --------
    >>> mahalanobis_distance(np.array([[2.0, 0.0], [0.0, 2.0]]), mean=np.zeros(2), covariance=np.diag([1.0, 4.0]))
    array([2., 1.])
    """
    check_cloud(points, name="points")
    variances, axes, tolerance = _spectrum(covariance)
    _check_width("points", points, len(variances))
    centre = _vector("mean", mean, len(variances))
    return mapped(_part_mahalanobis, points, whole=(centre, variances, axes, variances > tolerance))


def _part_mahalanobis(
    part: np.ndarray,
    first: int,
    centre: np.ndarray,
    variances: np.ndarray,
    axes: np.ndarray,
    wide: np.ndarray,
) -> Float[np.ndarray, " n"]:
    out = np.empty(len(part))
    for where, rows in checked_blocks(part, name="points", first=first):
        y = (rows - centre) @ axes
        out[where] = np.sqrt((y[:, wide] ** 2 / variances[wide]).sum(axis=1))
        off = (y[:, ~wide] ** 2).sum(axis=1) > 1e-10 * variances.sum()
        out[where][off] = np.inf
    return out


def nearest_distance(
    points: Float[np.ndarray, "..."],
    cloud: Float[np.ndarray, "..."],
    *,
    own_rows: Int[np.ndarray, " m"] | None = None,
) -> Float[np.ndarray, " m"]:
    """Measure the distance of each point to the nearest point of a cloud, exactly.

    All pairs are compared, by products of blocks of the two matrices. In hundreds of dimensions no search tree is
    faster: it would visit all of its leaves.

    Parameters
    ----------
    points : array of float, shape (m, d)
        The points.
    cloud : array of float, shape (n, d)
        The cloud, in memory or memory-mapped.
    own_rows : array of int, shape (m,), or None
        Where the points are themselves of the cloud: the row of each, which does not count as its neighbour.

    Returns
    -------
    array of float64, shape (m,)
        Euclidean distances, in units of z.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, a value is not finite, or nothing but a point's own row is there.

    Examples
    --------
    >>> cloud = np.array([[0.0, 0.0], [3.0, 4.0]])
    >>> nearest_distance(np.array([[0.0, 1.0]]), cloud)
    array([1.])
    >>> nearest_distance(cloud, cloud, own_rows=np.arange(2))
    array([5., 5.])
    """
    blocks, _ = checked_blocks(points, name="points"), checked_blocks(cloud, name="cloud")
    _check_width("cloud", cloud, points.shape[1])
    own = np.full(len(points), -1) if own_rows is None else own_rows
    if own.shape != (len(points),) or own.max() >= len(cloud):
        raise ValueError(f"own_rows must be {len(points)} rows of the cloud, which has {len(cloud)}.")
    if own_rows is not None and len(cloud) == 1:
        raise ValueError("the cloud must hold another point than the points' own rows.")
    out = np.empty(len(points))
    for where, rows in blocks:
        nearest = _nearest(rows.astype(np.float64), cloud, own[where])
        # From the difference itself, the distance is exact even where it is tiny.
        out[where] = np.linalg.norm(rows - cloud[nearest].astype(np.float64), axis=1)
    return out


def _nearest(points: np.ndarray, cloud: np.ndarray, own: np.ndarray) -> Int[np.ndarray, " m"]:
    """Return the row of the nearest point of the cloud, leaving out own rows."""
    origin = points.mean(axis=0)  # products of numbers far from 0 would lose digits
    centred = points - origin
    least, nearest = np.full(len(points), np.inf), np.zeros(len(points), dtype=np.intp)
    for where, rows in checked_blocks(cloud, name="cloud"):
        block = rows - origin
        squares = (
            np.einsum("nd,nd->n", block, block) - 2.0 * centred @ block.T
        )  # less |point|², the same for all
        inside = np.flatnonzero((own >= where.start) & (own < where.stop))
        squares[inside, own[inside] - where.start] = np.inf
        best = squares.argmin(axis=1)
        value = squares[np.arange(len(points)), best]
        closer = value < least
        least[closer], nearest[closer] = value[closer], best[closer] + where.start
    return nearest
