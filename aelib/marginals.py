"""Marginal laws: each component's own law, as a monotone map from the standard normal law to its values."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, ndtri

_MOST_BEYOND = 10  # points beyond the outermost knots, if there are enough in all
_COLUMNS = 32  # sorted at a time
_LEAST_SLOPE = 1e-6  # standard deviations per unit of x: equal values become a narrow peak, not a point


@dataclass(frozen=True, eq=False)
class Marginals:
    r"""Laws of d components: component j is :math:`T_j(x)` with x standard normal.

    :math:`T_j` rises, and is linear between the knots and beyond them. A linear map is a normal law; so this is exact
    for normal components, and a quantile function with normal tails for others.

    Parameters
    ----------
    knots : array of float64, shape (m,)
        Values of x at equal steps.
    values : array of float64, shape (m, d)
        Values :math:`T_j` there, rising; all the same for a constant component.
    tails : array of float64, shape (2, d)
        Slopes of :math:`T_j` below the first and above the last knot.
    """

    knots: Float[np.ndarray, " m"]
    values: Float[np.ndarray, "m d"]
    tails: Float[np.ndarray, "2 d"]

    def quantile(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """Map standard normal scores to values.

        Parameters
        ----------
        x : array of float, shape (n, d)
            Scores: the quantile of probability p has x with Φ(x) = p.

        Returns
        -------
        array of float64, shape (n, d)
            Values of the components.
        """
        segment, column = self._segments(x), np.arange(x.shape[1])
        anchor = np.maximum(segment - 1, 0)
        return self.values[anchor, column] + self._slopes()[segment, column] * (x - self.knots[anchor])

    def scores(self, values: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """Map values to standard normal scores, the inverse of `quantile`; 0 for a constant component.

        Parameters
        ----------
        values : array of float, shape (n, d)
            Values of the components.

        Returns
        -------
        array of float64, shape (n, d)
            Scores.
        """
        x = np.zeros(values.shape)
        for j in np.flatnonzero(self.values[0] < self.values[-1]):
            low, high, v = self.values[0, j], self.values[-1, j], values[:, j].astype(np.float64)
            x[:, j] = np.interp(v, self.values[:, j], self.knots)
            x[:, j] += (
                np.minimum(v - low, 0.0) / self.tails[0, j] + np.maximum(v - high, 0.0) / self.tails[1, j]
            )
        return x

    def log_slope(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        r"""Evaluate :math:`\ln T_j'(x)`: minus that, plus the log of the normal density at x, is the log-density.

        Parameters
        ----------
        x : array of float, shape (n, d)
            Scores.

        Returns
        -------
        array of float64, shape (n, d)
            Logarithms; 0 for a constant component.
        """
        slopes = self._slopes()
        return np.log(np.where(slopes > 0, slopes, 1.0))[self._segments(x), np.arange(x.shape[1])]

    def moments(self) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
        r"""Compute the laws' means and standard deviations, by the closed form on each segment.

        Returns
        -------
        tuple of two arrays of float64, shape (d,)
            Means and standard deviations.
        """
        edges = np.concatenate([[-np.inf], self.knots, [np.inf]])
        bell = np.exp(-0.5 * edges**2) / math.sqrt(2.0 * math.pi)
        share = np.diff(ndtr(edges))[:, None]
        first = -np.diff(bell)[:, None]
        second = share - np.diff(np.concatenate([[0.0], self.knots, [0.0]]) * bell)[:, None]
        slope, middle = self._slopes(), self.values.mean(axis=0)
        anchor = np.maximum(np.arange(len(edges) - 1) - 1, 0)
        intercept = self.values[anchor] - middle - slope * self.knots[anchor][:, None]
        mean = (intercept * share + slope * first).sum(axis=0)
        square = (intercept**2 * share + 2.0 * intercept * slope * first + slope**2 * second).sum(axis=0)
        return middle + mean, np.sqrt(np.maximum(square - mean**2, 0.0))

    def _segments(self, x: np.ndarray) -> np.ndarray:
        step = self.knots[1] - self.knots[0]
        place = np.clip((x - self.knots[0]) / step, -1.0, len(self.knots) - 1.0)
        return np.floor(place).astype(np.intp) + 1

    def _slopes(self) -> Float[np.ndarray, "segments d"]:
        inner = np.diff(self.values, axis=0) / np.diff(self.knots)[:, None]
        return np.vstack([self.tails[:1], inner, self.tails[1:]])


def fit_marginals(z: Float[np.ndarray, "..."]) -> Marginals:
    r"""Fit the law of each component: its empirical quantiles, smoothed, with its exact mean and variance.

    The knots stand at equal steps of the normal score, about :math:`4 n^{1/3}` of them; between two, the quantile
    function is straight in the score. Of 400 points or more, ten lie beyond each outermost knot, and the tail is the
    normal one with their mean; of fewer points, it is the one with the component's standard deviation. At last each
    component is shifted and scaled so that its mean and variance are those of the points.

    Parameters
    ----------
    z : array of float, shape (n, d)
        At least two finite points, in memory or memory-mapped; read by groups of components.

    Returns
    -------
    Marginals
        The laws.

    Raises
    ------
    ValueError
        If `z` is no cloud of at least two finite points.

    Examples
    --------
    >>> z = np.random.default_rng(0).exponential(size=(20_000, 1))
    >>> marginals = fit_marginals(z)
    >>> marginals.quantile(np.zeros((1, 1))).round(2)  # the median, ln 2
    array([[0.69]])
    """
    if z.ndim != 2 or len(z) < 2 or z.shape[1] == 0:
        raise ValueError(f"z must have shape (n, d) with n of at least 2 and d of at least 1, not {z.shape}.")
    beyond = min(max(len(z) / 40.0, 0.5), float(_MOST_BEYOND))
    reach = -ndtri(beyond / len(z))
    knots = np.linspace(-reach, reach, 1 + 2 * math.ceil(2.0 * len(z) ** (1.0 / 3.0)))
    groups = [_fit(z[:, first : first + _COLUMNS], knots) for first in range(0, z.shape[1], _COLUMNS)]
    return Marginals(
        knots,
        np.concatenate([group.values for group in groups], axis=1),
        np.concatenate([group.tails for group in groups], axis=1),
    )


def _fit(columns: np.ndarray, knots: np.ndarray) -> Marginals:
    points = np.sort(columns.astype(np.float64), axis=0)
    if not np.isfinite(points).all():
        raise ValueError("z must be finite; leave points out that are not.")
    centre = points[0] + (points - points[0]).mean(axis=0)
    std = points.std(axis=0, ddof=1)
    std[points[0] == points[-1]] = 0.0
    scale = np.where(std > 0, std, 1.0)
    points -= centre
    points /= scale  # from here on, mean 0 and standard deviation 1
    values = np.quantile(points, ndtr(knots), axis=0, method="hazen")
    values = np.maximum.accumulate(values, axis=0) + _LEAST_SLOPE * knots[:, None]
    tails = np.stack([_tail(-points[::-1], -values[0], knots), _tail(points, values[-1], knots)])
    mean, deviation = Marginals(knots, values, tails).moments()
    values, tails = (values - mean) / deviation, tails / deviation
    return Marginals(knots, centre + std * values, std * tails)


def _tail(points: np.ndarray, last: np.ndarray, knots: np.ndarray) -> Float[np.ndarray, " d"]:
    """Return the slope of the upper tail of points that rise: the normal tail with their mean beyond the last knot."""
    n, x = len(points), knots[-1]
    beyond = round(n * ndtr(-x))
    if beyond < _MOST_BEYOND:
        return np.ones_like(last)
    excess = math.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi) / ndtr(-x) - x
    return np.maximum((points[n - beyond :].mean(axis=0) - last) / excess, _LEAST_SLOPE)
