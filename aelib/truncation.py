"""The truncation meter: what a limit on z-points keeps of a cloud, and of a perfect normal law."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import brentq
from scipy.special import betainc, betaincinv, chdtr, erf, gammaincinv, gammaln

from aelib.blocks import checked_blocks
from aelib.ellipses import share_inside_all
from aelib.moments import Moments, measure_moments
from aelib.pca import PrincipalAxes

LIMITS = ("pairs", "ellipsoid", "ranges")
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)


class Truncation(NamedTuple):
    """What a limit keeps of a cloud or of a law.

    Parameters
    ----------
    share : float
        Share of the points that it accepts, in [0, 1].
    radius_ratio : float
        Mean distance from the centre of the accepted points, over that of all.
    variance_ratio : float
        Variance of the accepted points, summed over all directions, over that of all.
    """

    share: float
    radius_ratio: float
    variance_ratio: float


def standard_coordinates(z: Float[np.ndarray, "..."], axes: PrincipalAxes) -> Float[np.ndarray, "n k"]:
    r"""Turn z-points into standardised principal coordinates, :math:`u_k = y_k / \sigma_k`.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The z-points, of the axes' cloud or of another one.
    axes : PrincipalAxes
        Mean, axes and variances.

    Returns
    -------
    array of float, shape (n, k)
        Coordinates in standard deviations, in the precision of `z`.

    Raises
    ------
    ValueError
        If `z` is no cloud of finite points with the axes' number of components.

    Examples
    --------
    >>> axes = PrincipalAxes(np.zeros(2), np.eye(2), np.array([4.0, 1.0]), 5.0)
    >>> standard_coordinates(np.array([[2.0, 3.0]]), axes)
    array([[1., 3.]])
    """
    u = axes.transform(z)
    u /= np.sqrt(axes.variances)
    return u


def limit_levels(u: Float[np.ndarray, "..."], limit: str) -> Float[np.ndarray, " n"]:
    r"""Find for each point the lowest level, in standard deviations, at which a limit accepts it.

    - "pairs": the ellipses at n sigma in all planes of two coordinates. The level is
      :math:`\sqrt{\max_{i \ne j} (u_i^2 + u_j^2)}`.
    - "ellipsoid": the level is the Mahalanobis distance :math:`|u|`.
    - "ranges": every coordinate on its own. The level is :math:`\max_i |u_i|`.

    So `limit_levels(u, limit) <= level` are the accepted points, and a quantile of the levels is the level that keeps a
    stated share. For ellipses in planes of original components, which are correlated, see `aelib.ellipses.inside_all`.

    Parameters
    ----------
    u : array of float, shape (n, d)
        Standardised, uncorrelated coordinates, as `standard_coordinates` gives; at least two for "pairs".
    limit : str
        "pairs", "ellipsoid" or "ranges".

    Returns
    -------
    array of float64, shape (n,)
        Levels, without unit.

    Raises
    ------
    ValueError
        If the limit is unknown, or `u` is no cloud of finite points with enough coordinates.

    Examples
    --------
    >>> u = np.array([[3.0, 4.0, 12.0]])
    >>> [limit_levels(u, limit).round(2).item() for limit in ("pairs", "ellipsoid", "ranges")]
    [12.65, 13.0, 12.0]
    """
    blocks = checked_blocks(u, name="u")
    _check_limit(limit, u.shape[1])
    out = np.empty(len(u))
    for where, rows in blocks:
        squares = np.square(rows, dtype=np.float64)
        if limit == "pairs":
            squares = np.partition(squares, -2, axis=1)[:, -2:]
        out[where] = np.sqrt(squares.max(axis=1) if limit == "ranges" else squares.sum(axis=1))
    return out


def measure_truncation(
    points: Float[np.ndarray, "..."],
    accepted: Bool[np.ndarray, "..."],
    *,
    centre: Float[np.ndarray, "..."] | None = None,
) -> Truncation:
    """Measure what a limit keeps of a cloud.

    Parameters
    ----------
    points : array of float, shape (n, d)
        The cloud, in any coordinates: of z, or standardised ones to compare with `normal_truncation`.
    accepted : array of bool, shape (n,)
        Which points the limit accepts.
    centre : array of float, shape (d,), or None
        Where radii are measured from; None takes the mean of all points.

    Returns
    -------
    Truncation
        Share, and the ratios of radius and variance. Of no accepted point there is no radius, of fewer than two no
        variance: those ratios are not-a-number.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, a point is not finite, or all points are the same.

    Examples
    --------
    >>> u = np.random.default_rng(0).normal(size=(100_000, 2))
    >>> measured = measure_truncation(u, limit_levels(u, "ellipsoid") <= 2.0)
    >>> [round(value, 2) for value in measured]
    [0.86, 0.85, 0.69]
    """
    everything = measure_moments(points)
    if accepted.shape != (len(points),):
        raise ValueError(f"accepted must have shape ({len(points)},), one per point, not {accepted.shape}.")
    if everything.constant.all():
        raise ValueError("the cloud has no variance: all its points are the same.")
    origin = everything.mean if centre is None else centre
    if origin.shape != everything.mean.shape:
        raise ValueError(f"centre must have shape {everything.mean.shape}, not {origin.shape}.")
    radius = np.concatenate([np.linalg.norm(rows - origin, axis=1) for _, rows in checked_blocks(points)])
    count = int(np.count_nonzero(accepted))
    return Truncation(
        share=count / len(points),
        radius_ratio=float(radius[accepted].mean() / radius.mean()) if count else math.nan,
        variance_ratio=_variance(points, accepted) / float(np.trace(everything.covariance)),
    )


def _variance(points: np.ndarray, accepted: np.ndarray) -> float:
    """Return the variance of the accepted points, summed over all directions."""
    total: Moments | None = None
    for where, rows in checked_blocks(points):
        if accepted[where].any():
            part = measure_moments(rows[accepted[where]])
            total = part if total is None else total + part
    return math.nan if total is None or total.n < 2 else float(np.trace(total.covariance))


def normal_truncation(limit: str, level: float, *, d: int) -> Truncation:
    r"""Compute what a limit keeps of the normal law N(0, I) in d dimensions.

    All is exact, but for the rounding of quadratures. With :math:`F_\nu` the chi-square distribution of ν degrees of
    freedom and level n:

    - "ellipsoid": share :math:`F_d(n^2)`, ratios :math:`F_{d+1}(n^2)/F_d(n^2)` and :math:`F_{d+2}(n^2)/F_d(n^2)`.
    - "ranges": share :math:`F_1(n^2)^d`, ratio of variances :math:`F_3(n^2)/F_1(n^2)`.
    - "pairs": as in `aelib.ellipses.share_inside_all`, by conditioning on the largest coordinate.

    For the last two, the mean radius follows from the Laplace transform L of the accepted points' :math:`R^2`:
    :math:`E R = \int_0^\infty (1 - L(s))\, s^{-3/2}\, ds / (2 \sqrt\pi)`.

    For any other normal law, these are the limits on its standardised principal coordinates. Its covariance then
    shrinks as a whole: the ratio of variances holds for every direction and in units of z too. The ratio of radii is
    that of Mahalanobis distances.

    Parameters
    ----------
    limit : str
        "pairs", "ellipsoid" or "ranges", as in `limit_levels`.
    level : float
        Level n of the limit in standard deviations, above 0.
    d : int
        Number of dimensions, at least 1; 2 for "pairs".

    Returns
    -------
    Truncation
        Share, and the ratios of radius and variance.

    Raises
    ------
    ValueError
        If the limit is unknown, the level is not finite and above 0, or `d` is too low.

    Examples
    --------
    >>> [round(value, 4) for value in normal_truncation("pairs", 3.0, d=256)]
    [0.0003, 0.9...
    """
    _check_limit(limit, d)
    if not 0 < level < math.inf:
        raise ValueError(f"level must be finite and above 0, not {level}.")
    if limit == "ellipsoid":
        below = [float(_log_chi2(nu, level**2)) for nu in (d, d + 1, d + 2)]
        return Truncation(math.exp(below[0]), math.exp(below[1] - below[0]), math.exp(below[2] - below[0]))
    law = _ranges_law if limit == "ranges" else _pairs_law
    log_share, square = law(level, d, np.zeros(1))
    mean_square = float(square[0])

    def log_laplace(s: np.ndarray) -> np.ndarray:
        return law(level, d, s)[0] - log_share[0]

    mean_radius = math.sqrt(d * mean_square) * _mean_root(log_laplace, d * mean_square)
    chi = math.sqrt(2.0) * math.exp(gammaln(0.5 * (d + 1)) - gammaln(0.5 * d))
    share = share_inside_all(level, d) if limit == "pairs" else math.exp(log_share[0])
    return Truncation(share, mean_radius / chi, mean_square)


def _log_chi2(nu: int, x: float) -> float:
    """Logarithm of the chi-square distribution, by its series where the distribution itself underflows."""
    value = chdtr(nu, x)
    if value > 1e-290:
        return math.log(value)
    a, half = 0.5 * nu, 0.5 * x  # far below the mean, the series converges at once
    terms = np.cumprod(half / (a + np.arange(1, 200)))
    return a * math.log(half) - half - float(gammaln(a + 1.0)) + math.log1p(float(terms.sum()))


def _ranges_law(level: float, d: int, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return log E[exp(-s R²); accepted], and the mean of one coordinate's square under that weight."""
    log_h, square = _coordinate(np.full(1, level), s)
    return d * log_h[0], square[0]


def _pairs_law(level: float, d: int, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `_ranges_law`: all coordinates below level / sqrt 2, or one above and the others below what it leaves them."""
    low = level / math.sqrt(2.0)
    u = low + (level - low) * 0.5 * (_NODES + 1.0)
    log_h, square = _coordinate(np.append(np.sqrt(level**2 - u**2), low), s)
    weight = (d - 1) * log_h
    weight[-1] = d * log_h[-1]
    density = math.log(d * math.sqrt(2.0 / math.pi) * 0.5 * (level - low)) + np.log(_WEIGHTS)
    weight[:-1] += density[:, None] - np.outer(u**2, 0.5 + s)
    mean = (np.append(u**2, 0.0)[:, None] + (d - 1) * square) / d
    mean[-1] = square[-1]
    top = weight.max(axis=0)
    parts = np.exp(weight - top)
    return top + np.log(parts.sum(axis=0)), (parts * mean).sum(axis=0) / parts.sum(axis=0)


def _coordinate(reach: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For |u| <= reach (rows) and each s (columns): log E[exp(-s u²); inside], and the mean of u² under that weight."""
    precision = 1.0 + 2.0 * s
    x = np.outer(reach, np.sqrt(precision))
    inside = erf(x / math.sqrt(2.0))
    return np.log(inside) - 0.5 * np.log1p(2.0 * s), chdtr(3, x**2) / inside / precision


def _mean_root(log_laplace: Callable[[np.ndarray], np.ndarray], mean_square: float) -> float:
    r"""Return :math:`E \sqrt X` of :math:`X = R^2 / E R^2`, from the logarithm of the Laplace transform of R².

    With :math:`s = e^y`, :math:`1 - E \sqrt X = \int (L(s) - e^{-s}) s^{-1/2} dy / \sqrt{4 \pi}`; the trapezoidal rule
    is exact to rounding, as the integrand is analytic and falls off exponentially on both sides. Below s = 1e-7, less
    than 1e-10 of it is left, and differences of rounded numbers would be all one sees.
    """
    y, h = np.linspace(-16.0, 80.0, 961, retstep=True)
    s = np.exp(y)
    logarithm = log_laplace(s / mean_square)
    integrand = -np.exp(logarithm) * np.expm1(np.minimum(-s - logarithm, 0.0)) / np.sqrt(4.0 * np.pi * s)
    return 1.0 - float(h * integrand.sum())


def level_for_share(limit: str, share: float, *, d: int) -> float:
    """Compute the level of a limit that keeps a stated share of a normal law in d dimensions.

    Parameters
    ----------
    limit : str
        "pairs", "ellipsoid" or "ranges", as in `limit_levels`.
    share : float
        Share to keep, in (0, 1).
    d : int
        Number of dimensions, at least 1; 2 for "pairs".

    Returns
    -------
    float
        The level, in standard deviations.

    Raises
    ------
    ValueError
        If the limit is unknown, the share is not in (0, 1), or `d` is too low.

    Examples
    --------
    >>> [round(level_for_share(limit, 0.5, d=256), 2) for limit in ("pairs", "ellipsoid", "ranges")]
    [4.07, 15.98, 3.0]
    """
    _check_limit(limit, d)
    if not 0 < share < 1:
        raise ValueError(f"share must be above 0 and below 1, not {share}.")
    if limit == "ellipsoid":
        return math.sqrt(2.0 * gammaincinv(0.5 * d, share))
    single = math.sqrt(2.0 * gammaincinv(0.5, share ** (1.0 / d)))
    if limit == "ranges":
        return single
    # The ellipses lie between the boxes at level / sqrt 2 and at level.
    return float(brentq(lambda level: share_inside_all(level, d) - share, single, math.sqrt(2.0) * single))


def _check_limit(limit: str, d: int) -> None:
    if limit not in LIMITS:
        raise ValueError(f"limit must be one of {', '.join(map(repr, LIMITS))}, not {limit!r}.")
    least = 2 if limit == "pairs" else 1
    if d < least:
        raise ValueError(f"the limit {limit!r} needs at least {least} dimensions, not {d}.")


def kept_variance(n: int, k: int, share: float) -> float:
    r"""Compute the share of its variance that a normal cloud keeps when its outer points are cut.

    Squared Mahalanobis distances from a cloud's own mean and by its own covariance, times n / (n - 1)², follow the beta
    law with parameters k/2 and (n - k - 1)/2 [1]_. With q its quantile at the share kept, the rest has the covariance
    times :math:`F_{k/2+1,\,(n-k-1)/2}(q) / \text{share}`.

    Parameters
    ----------
    n, k : int
        Number of points before the cut, and of dimensions.
    share : float
        Share of the points that are kept, in (0, 1].

    Returns
    -------
    float
        Ratio of the covariances, in (0, 1].

    References
    ----------
    .. [1] R. Gnanadesikan and J. R. Kettenring (1972), Robust estimates, residuals, and outlier detection with
       multiresponse data, Biometrics 28, 81-124.

    Examples
    --------
    >>> round(kept_variance(100_000, 1, 0.6827), 3), kept_variance(100, 5, 1.0)
    (0.291, 1.0)
    """
    if share == 1.0:
        return 1.0
    rest = 0.5 * (n - k - 1)
    return float(betainc(0.5 * k + 1.0, rest, betaincinv(0.5 * k, rest, share)) / share)
