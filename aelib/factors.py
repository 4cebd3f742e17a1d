"""Factors behind the images: which of them z-points carry, and how well a linear map reads them."""

from dataclasses import dataclass
from functools import reduce

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from aelib.blocks import checked_blocks
from aelib.moments import Moments, measure_moments


def factor_correlations(z: Float[np.ndarray, "..."], table: pd.DataFrame) -> pd.DataFrame:
    """Correlate factors of the images with the components of their z-points.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The z-points, or their coordinates on other axes.
    table : pandas.DataFrame, n rows
        One row per z-point, one column per factor. Columns that are constant or not numbers are left out.

    Returns
    -------
    pandas.DataFrame, shape (f, d)
        Pearson correlation of each factor with each component, in [-1, 1]; 0 for a constant component.

    Raises
    ------
    ValueError
        If `z` is no cloud of at least two finite points, the table has another number of rows, a value is missing, or
        no factor is left.

    Examples
    --------
    >>> z = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0]])
    >>> factor_correlations(z, pd.DataFrame({"yaw": [3.0, 2.0, 1.0]}))
           0    1
    yaw -1.0  0.0
    """
    factors = _numeric_factors(table, z)
    both = _joint_moments(z, factors.to_numpy(dtype=np.float64), np.ones(len(z), dtype=bool))
    d = z.shape[1]
    return pd.DataFrame(both.correlation[d:, :d], index=factors.columns)


def factor_r_squared(
    z: Float[np.ndarray, "..."],
    table: pd.DataFrame,
    *,
    ridge: float = 0.0,
    test_share: float = 0.25,
    random_state: int | np.random.Generator = 0,
) -> pd.DataFrame:
    r"""Measure how well a linear map of z-points reads each factor, on points that it was not fitted to.

    :math:`R^2 = 1 - \sum (y - \hat y)^2 / \sum (y - \bar y)^2` over the held-out points, with :math:`\bar y` their
    mean: 1 for an exact reading, about 0 or less for none. The standard error follows by the delta method.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The z-points, or some of their components.
    table : pandas.DataFrame, n rows
        One row per z-point, one column per factor. Columns that are not numbers, or are constant in the points of
        either part, are left out.
    ridge : float
        Ridge penalty on the coefficients of the standardised components, at least 0, as a share of their variance.
    test_share : float
        Share of the points held out, in (0, 1).
    random_state : int or numpy.random.Generator
        Seed or generator that chooses them.

    Returns
    -------
    pandas.DataFrame, columns r_squared and standard_error
        One row per factor, in the order of the table.

    Raises
    ------
    ValueError
        If `z` is no cloud of finite points, fewer than two points are left to either part, the table has another
        number of rows, a value is missing, no factor is left, or the penalty or the share is out of range.

    References
    ----------
    .. [1] C. Eastwood and C. K. I. Williams (2018), A framework for the quantitative evaluation of disentangled
       representations, ICLR.

    Examples
    --------
    >>> z = np.random.default_rng(0).standard_normal((400, 3))
    >>> table = pd.DataFrame({"yaw": 2 * z[:, 0] - z[:, 1], "name": "a"})
    >>> factor_r_squared(z, table).round(3)
         r_squared  standard_error
    yaw        1.0             0.0
    """
    if not ridge >= 0:
        raise ValueError(f"ridge must be at least 0, not {ridge}.")
    checked_blocks(z)
    held_out = _held_out(len(z), test_share, random_state)
    factors = _numeric_factors(table, z, ~held_out, held_out)
    y = factors.to_numpy(dtype=np.float64)
    training = _joint_moments(z, y, ~held_out)
    errors = np.square(
        y[held_out] - _predictions(z, _coefficients(training, z.shape[1], ridge), training, held_out)
    )
    deviations = np.square(y[held_out] - y[held_out].mean(axis=0))
    lost = errors.mean(axis=0) / deviations.mean(axis=0)
    spread = (errors - lost * deviations).std(axis=0, ddof=1) / np.sqrt(len(errors))
    columns = {"r_squared": 1.0 - lost, "standard_error": spread / deviations.mean(axis=0)}
    return pd.DataFrame(columns, index=factors.columns)


@dataclass(frozen=True, eq=False)
class FactorDirections:
    r"""Directions in latent space along which linear readings of factors rise, all in their standard deviations.

    Parameters
    ----------
    names : tuple of str
        The f factors.
    mean : array of float64, shape (d,)
        Mean :math:`\mu` of the cloud, where every reading is 0.
    readers : array of float64, shape (f, d)
        Weights w of the linear regression of each standardised factor on the z-points, in 1 / units of z.
    patterns : array of float64, shape (f, d)
        Directions v to walk along, in units of z: one unit of v raises the reading by one, :math:`w \cdot v = 1`.
    r_squared : array of float64, shape (f,)
        Share of each factor's variance that the reading explains, adjusted for the number of components: about 0 if
        the code does not carry the factor. NaN where there are too few points to tell, n - d - 1 < 1.
    """

    names: tuple[str, ...]
    mean: Float[np.ndarray, " d"]
    readers: Float[np.ndarray, "f d"]
    patterns: Float[np.ndarray, "f d"]
    r_squared: Float[np.ndarray, " f"]

    def direction(self, name: str) -> Float[np.ndarray, " d"]:
        """Look up the direction of a factor.

        Parameters
        ----------
        name : str
            One of `names`.

        Returns
        -------
        array of float64, shape (d,)
            Its pattern v: the step that raises its reading by one standard deviation.

        Raises
        ------
        ValueError
            If there is no such factor.
        """
        if name not in self.names:
            raise ValueError(f"there is no factor {name!r}; there are {', '.join(self.names)}.")
        return self.patterns[self.names.index(name)]

    def readings(self, z: Float[np.ndarray, "..."]) -> Float[np.ndarray, "n f"]:
        r"""Read the factors of z-points, :math:`w \cdot (z - \mu)`.

        Parameters
        ----------
        z : array of float, shape (n, d)
            The z-points.

        Returns
        -------
        array of float64, shape (n, f)
            Readings, in standard deviations from the factor's mean.
        """
        return (z - self.mean) @ self.readers.T


def factor_directions(z: Float[np.ndarray, "..."], table: pd.DataFrame) -> FactorDirections:
    r"""Find the direction of each factor in latent space, by linear regression.

    The weights of the regression of a factor y on z, :math:`w = \Sigma^{-1} \operatorname{Cov}(z, y)`, say what reads
    the factor. The way to walk is not along w but along the *pattern* :math:`\operatorname{Cov}(z, y) = \Sigma w` [1]_:
    of all steps that raise the reading by one, it has the smallest Mahalanobis length. What goes together with the
    factor in the images comes along.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The z-points.
    table : pandas.DataFrame, n rows
        One row per z-point, one column per factor. Columns that are constant or not numbers are left out.

    Returns
    -------
    FactorDirections
        Readers, patterns and what the readings explain.

    Raises
    ------
    ValueError
        If `z` is no cloud of at least two finite points, the table has another number of rows, a value is missing, or
        no factor is left.

    References
    ----------
    .. [1] S. Haufe, F. Meinecke, K. Görgen, S. Dähne, J.-D. Haynes, B. Blankertz and F. Biessmann (2014), On the
       interpretation of weight vectors of linear models in multivariate neuroimaging, NeuroImage 87, 96-110.

    Examples
    --------
    >>> z = np.random.default_rng(0).standard_normal((1000, 2)) * [3.0, 1.0]
    >>> ways = factor_directions(z, pd.DataFrame({"smile": z[:, 0] + 5.0}))
    >>> (ways.direction("smile").round() + 0.0).tolist(), ways.r_squared.round(3).tolist()
    ([3.0, 0.0], [1.0])
    """
    factors = _numeric_factors(table, z)
    y = factors.to_numpy(dtype=np.float64)
    both, d = _joint_moments(z, y, np.ones(len(z), dtype=bool)), z.shape[1]
    readers = (_coefficients(both, d, 0.0) / both.std[d:]).T
    covariances = both.covariance[d:, :d] / both.std[d:, None]
    explained = np.sum(readers * covariances, axis=1)
    # A factor that is not read at all has no direction; its step is none.
    patterns = np.divide(
        covariances, explained[:, None], out=np.zeros_like(covariances), where=explained[:, None] > 0
    )
    free = len(z) - d - 1
    adjusted = 1.0 - (1.0 - explained) * (len(z) - 1) / free if free > 0 else np.full(len(explained), np.nan)
    return FactorDirections(tuple(map(str, factors.columns)), both.mean[:d], readers, patterns, adjusted)


def _numeric_factors(table: pd.DataFrame, z: np.ndarray, *parts: Bool[np.ndarray, " n"]) -> pd.DataFrame:
    """Return the numeric columns that vary in each part of the rows."""
    checked_blocks(z)
    if len(table) != len(z):
        raise ValueError(f"table must have one row per z-point, {len(z)}, not {len(table)}.")
    numeric = table.select_dtypes(["number", "bool"])
    values = numeric.to_numpy(dtype=np.float64)
    if not np.isfinite(values).all():
        bad = numeric.columns[~np.isfinite(values).all(axis=0)].tolist()
        raise ValueError(
            f"factors must be finite, but {bad} have missing values; drop those rows or columns."
        )
    chosen = [values[part] for part in parts] or [values]
    varying = np.all([np.ptp(part, axis=0) > 0 for part in chosen], axis=0)
    if not varying.any():
        raise ValueError("table has no column of numbers that vary, so no factor to compare with.")
    return numeric[numeric.columns[varying]]


def _held_out(n: int, test_share: float, random_state: int | np.random.Generator) -> Bool[np.ndarray, " n"]:
    count = round(n * test_share)
    if not 0 < test_share < 1 or not 2 <= count <= n - 2:
        raise ValueError(
            f"test_share must lie between 0 and 1 and leave two points or more to either part; "
            f"{test_share} of {n} points does not."
        )
    held_out = np.zeros(n, dtype=bool)
    held_out[np.random.default_rng(random_state).permutation(n)[:count]] = True
    return held_out


def _joint_moments(z: np.ndarray, y: Float[np.ndarray, "n f"], chosen: Bool[np.ndarray, " n"]) -> Moments:
    """Measure the chosen points and their factors together, the factors as the last components."""
    parts = (
        measure_moments(np.hstack([rows, y[where]])[chosen[where]])
        for where, rows in checked_blocks(z)
        if chosen[where].any()
    )
    return reduce(Moments.merge, parts)


def _coefficients(training: Moments, d: int, ridge: float) -> Float[np.ndarray, "d f"]:
    """Solve the normal equations of the standardised components; the shortest solution where they are dependent."""
    scale = np.where(training.constant, 1.0, training.std)
    correlation = training.correlation
    among = correlation[:d, :d] + ridge * np.eye(d)
    solution = np.linalg.lstsq(among, correlation[:d, d:], rcond=d * np.finfo(np.float64).eps)[0]
    return solution / scale[:d, None] * scale[d:]


def _predictions(
    z: np.ndarray, coefficients: Float[np.ndarray, "d f"], training: Moments, chosen: Bool[np.ndarray, " n"]
) -> Float[np.ndarray, "m f"]:
    d = z.shape[1]
    blocks = ((rows[chosen[where]] - training.mean[:d]) @ coefficients for where, rows in checked_blocks(z))
    return training.mean[d:] + np.concatenate(list(blocks))
