"""How whitened clouds depart from a normal law: the statistics behind the tests of `aelib.normality`."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline
from scipy.special import betainc, chdtr, chdtrc, gammaln, kolmogorov, ndtr, ndtri, xlogy

from aelib.nulls import check_enough, rewhiten

TESTS = (
    "radius",
    "kurtosis",
    "skewness",
    "energy",
    "nearest",
    "random directions",
    "principal axes",
    "worst direction",
)
"""Names of all statistics, in the order of tables."""

PAIRWISE = ("skewness", "energy", "nearest")
TWO_SIDED = ("kurtosis", "nearest")

_QUANTILES = 100
_GROUP = 32  # directions sorted at a time
_ROWS = 256  # of a matrix of pairs, so that it stays in the cache


@dataclass(frozen=True)
class Battery:
    """Which statistics are measured, and how much work they do.

    Parameters
    ----------
    names : tuple of str
        Statistics, of `TESTS`.
    n_pairwise : int
        Number of points, at least 3, whose pairs are compared ("skewness", "energy", "nearest"): a random sample of the
        cloud, whitened anew, or all points if there are fewer. It must exceed the number of dimensions by 2.
    n_directions : int
        Number of random directions, at least 1.
    n_starts : int
        Number of directions from which the worst one is searched, at least 1.
    n_steps : int
        Number of steps from each, at least 0.
    """

    names: tuple[str, ...] = TESTS
    n_pairwise: int = 3000
    n_directions: int = 64
    n_starts: int = 16
    n_steps: int = 10

    def __post_init__(self) -> None:
        unknown = set(self.names) - set(TESTS)
        if unknown or not self.names or len(set(self.names)) < len(self.names):
            raise ValueError(f"names must be different ones of {TESTS}, not {self.names}.")
        if self.n_pairwise < 3 or min(self.n_directions, self.n_starts) < 1 or self.n_steps < 0:
            raise ValueError(
                "n_pairwise must be at least 3, n_directions and n_starts 1 and n_steps 0, not "
                f"{self.n_pairwise}, {self.n_directions}, {self.n_starts} and {self.n_steps}."
            )


class Departure(NamedTuple):
    """One statistic of one cloud.

    Parameters
    ----------
    name : str
        Its name, one of `TESTS`.
    values : array of float64, shape (q,)
        The statistic; a curve of quantiles for "nearest", else a single number.
    size : float
        How large the departure is, in the unit that `measure_departures` states.
    naive_p_value : float
        What a textbook gives for it; not-a-number where there is nothing, or it was not asked for.
    """

    name: str
    values: Float[np.ndarray, " q"]
    size: float
    naive_p_value: float = math.nan


class Cut(NamedTuple):
    """Of how many points, and of which share of them, a cloud is the core.

    Parameters
    ----------
    n : int
        Number of points before the cut.
    share : float
        Share of them that was kept, those with the least Mahalanobis distance, in (0, 1].
    kept : float
        Ratio of the core's covariance to that of the whole, for a normal cloud.
    """

    n: int
    share: float = 1.0
    kept: float = 1.0


def measure_departures(
    u: Float[np.ndarray, "n k"],
    *,
    battery: Battery = Battery(),
    cut: Cut | None = None,
    naive: bool = False,
    rng: np.random.Generator,
) -> tuple[Departure, ...]:
    r"""Measure how a whitened cloud departs from the standard normal law.

    With :math:`r_i = |u_i|` and the m points of the pairs:

    - "radius": Cramér and von Mises' :math:`n \omega^2` of the radii against their exact law
      (:math:`r^2 n / (n - 1)^2` is beta with parameters k/2 and (n - k - 1)/2). Size: the largest distance of both
      distribution functions, a share of the points.
    - "kurtosis": Mardia's :math:`\overline{r^4}`, too large or too small [1]_. Size: its ratio to the expected value.
    - "skewness": Mardia's :math:`\sum_{ij} (u_i \cdot u_j)^3 / m^2` [1]_. Size: the same; all squared third moments.
    - "energy": Székely and Rizzo's :math:`m \, (\frac{2}{m} \sum_i E|u_i - X| - E|X - X'| - \frac{1}{m^2} \sum_{ij}
      |u_i - u_j|)`, with X and X' standard normal [2]_. Size: the bracket over twice its first mean, in [0, 1].
    - "nearest": the quantiles of each point's distance to the nearest other one. Size: their mean, in units of
      :math:`\sqrt{2k}`, about the distance of any two points.
    - "random directions": n (1 - W'), Shapiro and Francia's statistic [3]_, in the mean over random directions. Size:
      mean of 1 - W', the squared share by which a normal plot is not straight.
    - "principal axes": the largest n (1 - W') of the columns of `u`. Size: the largest 1 - W'.
    - "worst direction": the largest :math:`|\overline{\ln \cosh w \cdot u} - E \ln \cosh \nu|`, with :math:`\nu`
      standard normal, that fixed-point steps of independent component analysis find [4]_. They start at the extreme
      axes of :math:`\overline{r^2 u u^\mathsf{T}}`, at :math:`\overline{r^2 u}` and at random directions. Size: the
      same. With few points per dimension every cloud has such directions by chance: in normal clouds of 2000 points in
      256 dimensions the search finds 0.065, more than the 0.059 of two points of mass. There it cannot see two halves.

    Parameters
    ----------
    u : array of float32, shape (n, k)
        Whitened points: their mean is 0, their covariance I.
    battery : Battery
        Which statistics.
    cut : Cut or None
        Set if the points are the core of a larger cloud: it changes the law of the radii.
    naive : bool
        Whether to compute the p-values of textbooks too.
    rng : numpy.random.Generator
        Chooses the points of the pairs, the random directions and the starts.

    Returns
    -------
    tuple of Departure
        One for each name of the battery, in its order.

    Raises
    ------
    ValueError
        If there are too few points, or too few in pairs, for the dimensions.

    References
    ----------
    .. [1] K. V. Mardia (1970), Measures of multivariate skewness and kurtosis with applications, Biometrika 57,
       519-530.
    .. [2] G. J. Székely and M. L. Rizzo (2005), A new test for multivariate normality, Journal of Multivariate Analysis
       93, 58-80.
    .. [3] S. S. Shapiro and R. S. Francia (1972), An approximate analysis of variance test for normality, Journal of
       the American Statistical Association 67, 215-216.
    .. [4] A. Hyvärinen (1999), Fast and robust fixed-point algorithms for independent component analysis, IEEE
       Transactions on Neural Networks 10, 626-634.

    Examples
    --------
    >>> from aelib.nulls import normal_whitened
    >>> rng = np.random.default_rng(0)
    >>> found = measure_departures(normal_whitened(500, 2, rng), battery=Battery(("kurtosis",)), rng=rng)
    >>> round(found[0].size, 1)
    1.0
    """
    n, k = u.shape
    check_enough(n, k)
    square = np.einsum("ij,ij->i", u, u, dtype=np.float64)
    cut = Cut(n) if cut is None else cut
    found: list[Departure] = []
    if "radius" in battery.names:
        found.append(_radius(square, k, cut, naive))
    if "kurtosis" in battery.names:
        found.append(_kurtosis(square, k, naive))
    if set(PAIRWISE) & set(battery.names):
        found += _pairwise(_sample(u, battery.n_pairwise, rng), naive)
    if "random directions" in battery.names:
        found.append(_random_directions(u, battery.n_directions, rng))
    if "principal axes" in battery.names:
        found.append(_principal_axes(u))
    if "worst direction" in battery.names:
        found.append(_worst_direction(u, square, battery, naive, rng))
    by_name = {departure.name: departure for departure in found}
    return tuple(by_name[name] for name in battery.names)


def _radius(square: np.ndarray, k: int, cut: Cut, naive: bool) -> Departure:
    n = len(square)
    unit = np.sort(square) * cut.kept * cut.n / (cut.n - 1.0) ** 2
    share = betainc(0.5 * k, 0.5 * (cut.n - k - 1), np.minimum(unit, 1.0)) / cut.share
    middle = (np.arange(n) + 0.5) / n
    gap = np.minimum(share, 1.0) - middle
    largest = float(np.abs(gap).max()) + 0.5 / n
    p = math.nan
    if naive:
        p = float(kolmogorov(math.sqrt(n) * (np.abs(chdtr(k, np.sort(square)) - middle).max() + 0.5 / n)))
    return Departure("radius", np.array([1.0 / (12.0 * n) + float(gap @ gap)]), largest, p)


def _kurtosis(square: np.ndarray, k: int, naive: bool) -> Departure:
    n = len(square)
    kurtosis = float(np.mean(square**2)) * (n / (n - 1.0)) ** 2  # Mardia divides by the biased covariance
    p = math.nan
    if naive:
        p = 2.0 * float(ndtr(-abs(kurtosis - k * (k + 2)) / math.sqrt(8.0 * k * (k + 2) / n)))
    return Departure("kurtosis", np.array([kurtosis]), kurtosis * (n + 1) / (k * (k + 2) * (n - 1)), p)


def _sample(u: np.ndarray, m: int, rng: np.random.Generator) -> np.ndarray:
    """Take m points at random as a cloud of its own: else the chance moments of the sample would hide much."""
    if m >= len(u):
        return u
    check_enough(m, u.shape[1])
    return rewhiten(u[np.sort(rng.permutation(len(u))[:m])])


def _pairwise(u: np.ndarray, naive: bool) -> list[Departure]:
    """Measure all that needs pairs of points, from one matrix of products that is made block by block."""
    m, k = u.shape
    square = np.einsum("ij,ij->i", u, u, dtype=np.float64)
    cubes = distances = 0.0
    nearest = np.empty(m)
    length = square.astype(np.float32)
    for start in range(0, m, _ROWS):
        rows = slice(start, min(start + _ROWS, m))
        product = u[rows] @ u.T
        cubes += np.einsum("ij,ij->i", product * product, product).sum(dtype=np.float64)
        product *= -2.0
        product += length
        product += length[rows, None]
        gap = np.sqrt(np.maximum(product, 0.0, out=product), out=product)
        own = np.arange(rows.start, rows.stop)
        gap[own - start, own] = 0.0
        distances += gap.sum(axis=1).sum(dtype=np.float64)
        gap[own - start, own] = np.inf
        nearest[rows] = gap.min(axis=1)
    skewness = cubes / m**2
    return [
        _skewness(skewness, m, k, naive),
        _energy(distances / m**2, square, k),
        Departure(
            "nearest",
            np.quantile(nearest, (np.arange(_QUANTILES) + 0.5) / _QUANTILES),
            float(nearest.mean()) / math.sqrt(2.0 * k),
        ),
    ]


def _skewness(skewness: float, m: int, k: int, naive: bool) -> Departure:
    degrees = k * (k + 1) * (k + 2) / 6.0
    biased = skewness * (m / (m - 1.0)) ** 3  # Mardia divides by the biased covariance
    p = float(chdtrc(degrees, m * biased / 6.0)) if naive else math.nan
    return Departure("skewness", np.array([skewness]), skewness, p)


def _energy(distance: float, square: np.ndarray, k: int) -> Departure:
    cross = float(_distance_to_normal(np.sqrt(square), k).mean())
    apart = math.sqrt(2.0) * float(_chi_mean(np.array([k]))[0])
    gap = 2.0 * cross - apart - distance
    return Departure("energy", np.array([len(square) * gap]), gap / (2.0 * cross))


def _chi_mean(k: np.ndarray) -> np.ndarray:
    return math.sqrt(2.0) * np.exp(gammaln(0.5 * (k + 1.0)) - gammaln(0.5 * k))


def _distance_to_normal(r: np.ndarray, k: int) -> Float[np.ndarray, " m"]:
    """Mean distance of points at radii r from standard normal ones, by a spline through exact values.

    It is the mean of a non-central chi law: of chi laws with k + 2j degrees, mixed by Poisson weights.
    """
    # SciPy's hyp1f1, which has a closed form, is infinite where r² = k: right where the points are.
    knots = np.linspace(0.0, float(r.max()), 200)
    rate = 0.5 * knots[:, None] ** 2
    j = np.arange(math.ceil(rate[-1, 0] + 9.0 * math.sqrt(rate[-1, 0]) + 20.0))
    weight = np.exp(xlogy(j, rate) - rate - gammaln(j + 1.0))
    return CubicSpline(knots, weight @ _chi_mean(k + 2.0 * j) / weight.sum(axis=1))(r)


def _scores(n: int) -> Float[np.ndarray, " n"]:
    """Blom's normal scores, of length 1."""
    scores = ndtri((np.arange(1, n + 1) - 0.375) / (n + 0.25))
    return scores / np.linalg.norm(scores)


def _unlike_normal(y: np.ndarray, scores: np.ndarray) -> Float[np.ndarray, " c"]:
    """Return 1 - W' of each row of projections with mean 0."""
    ordered = np.sort(y, axis=1).astype(np.float64)
    return 1.0 - (ordered @ scores) ** 2 / np.einsum("ij,ij->i", ordered, ordered)


def _random_directions(u: np.ndarray, count: int, rng: np.random.Generator) -> Departure:
    n, k = u.shape
    scores, total = _scores(n), 0.0
    for start in range(0, count, _GROUP):
        total += float(_unlike_normal(_directions(k, min(_GROUP, count - start), rng).T @ u.T, scores).sum())
    return Departure("random directions", np.array([n * total / count]), total / count)


def _directions(k: int, count: int, rng: np.random.Generator) -> Float[np.ndarray, "k c"]:
    w = rng.standard_normal((k, count), dtype=np.float32)
    return w / np.linalg.norm(w, axis=0)


def _principal_axes(u: np.ndarray) -> Departure:
    n, k = u.shape
    scores = _scores(n)
    worst = max(
        float(_unlike_normal(np.ascontiguousarray(u[:, start : start + _GROUP].T), scores).max())
        for start in range(0, k, _GROUP)
    )
    return Departure("principal axes", np.array([n * worst]), worst)


_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(200)
_LOG_COSH = np.logaddexp(_NODES, -_NODES) - math.log(2.0)
_CONTRAST_MEAN = float(_WEIGHTS @ _LOG_COSH / _WEIGHTS.sum())
_CONTRAST_STD = math.sqrt(float(_WEIGHTS @ (_LOG_COSH - _CONTRAST_MEAN) ** 2 / _WEIGHTS.sum()))


def _worst_direction(
    u: np.ndarray, square: np.ndarray, battery: Battery, naive: bool, rng: np.random.Generator
) -> Departure:
    w = _starts(u, square, battery.n_starts, rng)
    worst = _contrast(y := u @ w)
    for _ in range(battery.n_steps):
        bend = np.tanh(y)
        w = u.T @ bend / np.float32(len(u)) - w * (1.0 - np.square(bend).mean(axis=0))
        w /= np.maximum(np.linalg.norm(w, axis=0), np.float32(1e-30))
        worst = max(worst, _contrast(y := u @ w))
    p = 2.0 * float(ndtr(-math.sqrt(len(u)) * worst / _CONTRAST_STD)) if naive else math.nan
    return Departure("worst direction", np.array([worst]), worst, p)


def _contrast(y: np.ndarray) -> float:
    """Return the largest difference of a column's mean log cosh from that of a standard normal law."""
    size = np.abs(y)
    means = (size + np.log1p(np.exp(-2.0 * size))).mean(axis=0, dtype=np.float64) - math.log(2.0)
    return float(np.abs(means - _CONTRAST_MEAN).max())


def _starts(u: np.ndarray, square: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return directions that the fourth and the third moments propose, and random ones."""
    n, k = u.shape
    fourth, third = np.zeros((k, k)), np.zeros(k)
    root = np.sqrt(square).astype(np.float32)[:, None]
    for start in range(0, n, 2048):
        rows = slice(start, start + 2048)
        weighted = u[rows] * root[rows]
        fourth += weighted.T @ weighted
        third += (weighted.T @ root[rows])[:, 0]
    axes = np.linalg.eigh(fourth)[1].astype(np.float32)
    ends = min(count // 4, k // 2)
    third /= max(float(np.linalg.norm(third)), 1e-30)
    proposed = [axes[:, k - ends :], axes[:, :ends], third[:, None]]
    chosen = np.concatenate([*proposed, _directions(k, count, rng)], axis=1)[:, :count]
    return chosen.astype(np.float32)
