"""Intrinsic dimension from distances to nearest neighbours, and how far off it is where the truth is known."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from aelib.neighbours import Neighbours, nearest_neighbours
from aelib.planted import planted_normal
from aelib.sampler import check_choice

_GROUPS = 20  # of the jackknife
_LATTICE = "neighbours are equally far: points on a lattice, or rounded ones, have no dimension of this kind."


class Dimension(NamedTuple):
    """An estimated intrinsic dimension.

    Parameters
    ----------
    value : float
        The dimension.
    standard_error : float
        Its standard error by chance in the choice of points, as if these were independent; it knows nothing of the
        bias.
    """

    value: float
    standard_error: float


def two_nn(neighbours: Neighbours, *, discard: float = 0.1, method: str = "fit") -> Dimension:
    r"""Estimate the intrinsic dimension by the ratio of the distances to the two nearest neighbours, TwoNN.

    Where the density does not change over a neighbourhood, :math:`\mu = r_2 / r_1` follows
    :math:`F(\mu) = 1 - \mu^{-d}`. "fit" is the slope of the line through the origin of :math:`-\ln(1 - F)` against
    :math:`\ln \mu`, with the largest ratios left out; "likelihood" is :math:`(m - 1) / \sum \ln \mu`, where the ratios
    left out count as at least as large as the largest one kept.

    In many dimensions neighbours are far and the density does change: 10 000 points of a normal law of 256 dimensions
    give about 90. See `dimension_bias`; only the comparison with a null twin counts.

    Parameters
    ----------
    neighbours : Neighbours
        Two nearest neighbours, or more, of at least 2 points.
    discard : float
        Share of the points with the largest ratios to leave out, in [0, 1).
    method : str
        "fit" or "likelihood".

    Returns
    -------
    Dimension
        The dimension and its standard error, by a jackknife over 20 groups of points.

    Raises
    ------
    ValueError
        If there are fewer than two neighbours or three points left, points with a copy of themselves, or an option is
        out of its range.

    References
    ----------
    .. [1] E. Facco, M. d'Errico, A. Rodriguez and A. Laio (2017), Estimating the intrinsic dimension of datasets by a
       minimal neighborhood information, Scientific Reports 7, 12140.

    Examples
    --------
    >>> z = np.random.default_rng(0).uniform(size=(2000, 2))
    >>> round(two_nn(nearest_neighbours(z, k=2)).value, 1)
    2.0
    """
    check_choice("method", method, ("fit", "likelihood"))
    distance = _checked(neighbours, 2)
    if not 0 <= discard < 1 or int(len(distance) * (1 - discard)) < 3:
        raise ValueError(
            f"discard must be at least 0 and leave 3 points or more, not {discard} of {len(distance)}."
        )
    ratios = np.log(distance[:, 1] / distance[:, 0])
    if np.count_nonzero(ratios) < 0.5 * len(ratios):
        raise ValueError(_LATTICE)

    def estimate(ratios: np.ndarray) -> float:
        logs = np.sort(ratios)[: int(len(ratios) * (1 - discard))]
        n, kept = len(ratios), len(logs)
        if method == "likelihood":
            return (kept - 1) / (logs.sum() + (n - kept) * logs[-1])
        # The last of all would have F = 1; it is left out even where none is to be.
        logs = logs[: n - 1]
        survival = -np.log1p(-np.arange(1, len(logs) + 1) / n)
        return logs @ survival / (logs @ logs)

    return _with_error(estimate, ratios)


def levina_bickel(
    neighbours: Neighbours, *, low: int = 10, high: int = 20, average: str = "harmonic"
) -> Dimension:
    r"""Estimate the intrinsic dimension by maximum likelihood.

    At a point with distances :math:`r_1 \le \dots \le r_k` to its neighbours,
    :math:`\hat d_k = \left( \frac{1}{k - 1} \sum_{j<k} \ln \frac{r_k}{r_j} \right)^{-1}`. It is averaged over the
    points, then over k from `low` to `high`: "arithmetic" as first published [1]_, "harmonic" with the mean of
    :math:`1/\hat d_k` over the points, which is the likelihood of all points together [2]_. It is biased like `two_nn`
    in many dimensions, and more so, as its neighbours are farther.

    Parameters
    ----------
    neighbours : Neighbours
        The `high` nearest neighbours, or more, of at least 2 points.
    low, high : int
        Numbers of neighbours k; 2 <= low <= high.
    average : str
        "harmonic" or "arithmetic".

    Returns
    -------
    Dimension
        The dimension and its standard error, by a jackknife over 20 groups of points.

    Raises
    ------
    ValueError
        If there are fewer neighbours, fewer than two points, points with a copy of themselves, or an option is out of
        its range.

    References
    ----------
    .. [1] E. Levina and P. J. Bickel (2004), Maximum likelihood estimation of intrinsic dimension, Advances in Neural
       Information Processing Systems 17.
    .. [2] D. J. C. MacKay and Z. Ghahramani (2005), Comments on "Maximum likelihood estimation of intrinsic
       dimension" by E. Levina and P. Bickel.

    Examples
    --------
    >>> z = np.random.default_rng(0).uniform(size=(2000, 2))
    >>> round(levina_bickel(nearest_neighbours(z, k=20)).value, 1)
    2.0
    """
    check_choice("average", average, ("harmonic", "arithmetic"))
    if not 2 <= low <= high:
        raise ValueError(f"low and high must be 2 <= low <= high, not {low} and {high}.")
    logs = np.log(_checked(neighbours, high)[:, :high])
    k = np.arange(low, high + 1)
    sums = np.cumsum(logs, axis=1)
    inverse = logs[:, k - 1] - sums[:, k - 2] / (k - 1)  # 1 / d at each point, for each k
    if (inverse <= 0).any():
        raise ValueError(_LATTICE)
    if average == "harmonic":
        return _with_error(lambda each: float((1.0 / each.mean(axis=0)).mean()), inverse)
    return _with_error(lambda each: float((1.0 / each).mean()), inverse)


def dimension_bias(
    dimensions: Sequence[int] = (1, 2, 5, 10, 20, 50, 100, 256),
    *,
    n: int = 10_000,
    n_queries: int | None = 2000,
    draws: int = 3,
    random_state: int | np.random.Generator = 0,
) -> pd.DataFrame:
    """Measure what both estimators make of normal clouds of known dimension.

    Parameters
    ----------
    dimensions : sequence of int
        True dimensions d; a cloud is drawn from N(0, I) in each.
    n : int
        Points of a cloud, above 20.
    n_queries : int or None
        Number of points whose neighbours are sought; None takes all.
    draws : int
        Number of clouds for each dimension, at least 2.
    random_state : int or numpy.random.Generator
        Seed or generator.

    Returns
    -------
    pandas.DataFrame
        A row for each true dimension, and the columns "TwoNN", "TwoNN error", "MLE" and "MLE error": means over the
        clouds, and the standard errors of these means.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> dimension_bias((2, 50), n=1000, n_queries=500)["MLE"].round().to_dict()
    {2: 2.0, 50: 27.0}
    """
    if draws < 2:
        raise ValueError(f"draws must be at least 2, not {draws}: one cloud tells no error.")
    rng = np.random.default_rng(random_state)
    rows = []
    for d in dimensions:
        found = np.array(
            [_both(planted_normal(n, d, random_state=rng), n_queries, rng) for _ in range(draws)]
        )
        mean, error = found.mean(axis=0), found.std(axis=0, ddof=1) / np.sqrt(draws)
        rows.append((mean[0], error[0], mean[1], error[1]))
    columns = ["TwoNN", "TwoNN error", "MLE", "MLE error"]
    return pd.DataFrame(rows, columns=columns, index=pd.Index(dimensions, name="d"))


def _both(z: np.ndarray, n_queries: int | None, rng: np.random.Generator) -> tuple[float, float]:
    neighbours = nearest_neighbours(z, k=20, n_queries=n_queries, random_state=rng)
    return two_nn(neighbours).value, levina_bickel(neighbours).value


def _checked(neighbours: Neighbours, k: int) -> Float[np.ndarray, "m k"]:
    """Return the distances, and refuse too few of them or points that coincide."""
    distance = neighbours.distance
    if distance.shape[1] < k or len(distance) < 2:
        raise ValueError(
            f"the dimension takes {k} neighbours of 2 points or more, not {distance.shape[1]} of {len(distance)}."
        )
    copies = int(np.count_nonzero(distance[:, 0] == 0))
    if copies:
        raise ValueError(f"{copies} points have a copy of themselves at distance 0; leave the copies out.")
    return distance


def _with_error(estimate: Callable[[np.ndarray], float], values: np.ndarray) -> Dimension:
    """Estimate from all points, and the error from leaving out each of some groups of them."""
    groups = min(_GROUPS, len(values))
    number = np.arange(len(values)) % groups
    left = [estimate(values[number != g]) for g in range(groups)]
    return Dimension(float(estimate(values)), float(np.sqrt((groups - 1) * np.var(left))))
