"""Principal component analysis: the axes along which a cloud of z-points is uncorrelated."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from aelib.blocks import check_cloud, checked_blocks
from aelib.moments import Moments, measure_moments
from aelib.partitions import Points, mapped

_EQUAL = 1e-8  # loadings that differ by less may come in any order


@dataclass(frozen=True, eq=False)
class PrincipalAxes:
    r"""A cloud's principal axes: a coordinate system moved to its mean and turned to its directions of variance.

    Parameters
    ----------
    mean : array of float64, shape (d,)
        Mean of the cloud, the origin of the new coordinates.
    axes : array of float64, shape (k, d)
        Orthonormal axes as rows, with falling variance. The largest loading of each is positive; of several that are
        as large but for rounding, the first.
    variances : array of float64, shape (k,)
        Variance :math:`\lambda_k` of the cloud along each axis, with n - 1.
    total_variance : float
        Variance of the cloud along all its axes, kept here or not.
    """

    mean: Float[np.ndarray, " d"]
    axes: Float[np.ndarray, "k d"]
    variances: Float[np.ndarray, " k"]
    total_variance: float

    @property
    def explained(self) -> Float[np.ndarray, " k"]:
        """Share of the total variance along each axis."""
        return self.variances / self.total_variance

    @property
    def cumulative(self) -> Float[np.ndarray, " k"]:
        """Share of the total variance along each axis and those before it, at most 1."""
        return np.minimum(np.cumsum(self.explained), 1.0)

    def transform(self, z: Points) -> Points:
        r"""Turn z-points into principal coordinates, :math:`y = A (z - \bar z)`.

        Parameters
        ----------
        z : array of float, shape (n, d)
            The z-points, of this cloud or of another one; also as a Dask array.

        Returns
        -------
        array of float, shape (n, k)
            Coordinates along the axes, computed in float64 block by block, in the precision of `z`; a Dask array for
            a Dask array.

        Raises
        ------
        ValueError
            If `z` is no cloud of finite points with d components.

        Examples
        --------
        >>> cloud = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
        >>> principal_axes(cloud).transform(cloud).round(3).ravel()
        array([-2.828,  0.   ,  2.828])
        """
        check_cloud(z)
        _check_width(z, len(self.mean), "d")
        return mapped(_coordinates, z, shape=(len(self.axes),), dtype=z.dtype, whole=(self.mean, self.axes))

    def inverse_transform(self, y: Float[np.ndarray, "..."]) -> Float[np.ndarray, "n d"]:
        r"""Turn principal coordinates into z-points, :math:`z = \bar z + A^\mathsf{T} y`.

        Parameters
        ----------
        y : array of float, shape (n, k)
            Coordinates along the axes.

        Returns
        -------
        array of float, shape (n, d)
            The z-points, computed in float64 block by block, in the precision of `y`.

        Raises
        ------
        ValueError
            If `y` is no cloud of finite points with k coordinates.

        Examples
        --------
        >>> cloud = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
        >>> principal_axes(cloud).inverse_transform(np.array([[0.0]]))
        array([[2., 3.]])
        """
        blocks = checked_blocks(y)
        _check_width(y, len(self.axes), "k")
        z = np.empty((len(y), len(self.mean)), dtype=y.dtype)
        for where, rows in blocks:
            z[where] = rows.astype(np.float64) @ self.axes + self.mean
        return z


def _coordinates(part: np.ndarray, first: int, mean: np.ndarray, axes: np.ndarray) -> np.ndarray:
    y = np.empty((len(part), len(axes)), dtype=part.dtype)
    for where, rows in checked_blocks(part, first=first):
        y[where] = (rows - mean) @ axes.T
    return y


def _check_width(points: Any, width: int, symbol: str) -> None:
    if points.shape[1] != width:
        raise ValueError(
            f"points must have {symbol} = {width} components, as these axes have, not {points.shape[1]}."
        )


def principal_axes(cloud: Moments | Points, *, k: int | None = None) -> PrincipalAxes:
    r"""Find the principal axes of a cloud of z-points.

    Eigenvectors of the covariance, :math:`\Sigma a_k = \lambda_k a_k`. Directions without variance, of which there are
    d - n + 1 or more where points are few, are no axes: a variance counts if it exceeds the rounding of the
    covariance, :math:`d \varepsilon \lambda_1`.

    Parameters
    ----------
    cloud : Moments or array of float, shape (n, d)
        The z-points, also as a Dask array, or their moments.
    k : int or None
        Number of axes, at least 1; None takes all that have variance.

    Returns
    -------
    PrincipalAxes
        Mean, axes and variances.

    Raises
    ------
    ValueError
        If there are fewer than two different points, fewer than `k` axes with variance, or `z` is no cloud of finite
        points.

    References
    ----------
    .. [1] I. T. Jolliffe (2002), Principal Component Analysis, 2nd ed., Springer, chapter 3.

    Examples
    --------
    >>> axes = principal_axes(np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]))
    >>> axes.axes.round(3), axes.variances.round(3)
    (array([[0.707, 0.707]]), array([8.]))
    """
    moments = cloud if isinstance(cloud, Moments) else measure_moments(cloud)
    variances, columns = np.linalg.eigh(moments.covariance)
    variances, axes = variances[::-1], columns.T[::-1]
    rounding = len(variances) * np.finfo(np.float64).eps * max(variances[0], 0.0)
    rank = int(np.count_nonzero(variances > rounding))
    k = rank if k is None else k
    if not 1 <= k <= rank:
        raise ValueError(
            f"k must be 1 to {rank}, the number of axes along which the cloud has variance, not {k}."
            if rank
            else "the cloud has no variance: all its points are the same."
        )
    total = float(np.trace(moments.covariance))
    return PrincipalAxes(moments.mean, (axes * _signs(axes))[:k], variances[:k].copy(), total)


def _signs(axes: np.ndarray) -> Float[np.ndarray, "k 1"]:
    """Return the signs of the largest loadings, of the first ones where rounding alone would choose among several."""
    size = np.abs(axes)
    first = (size >= (1.0 - _EQUAL) * size.max(axis=1, keepdims=True)).argmax(axis=1)
    return np.sign(np.take_along_axis(axes, first[:, None], axis=1))


def resolved_axes(
    moments: Moments, *, precision: np.dtype | type[np.floating], k: int | None = None
) -> PrincipalAxes:
    r"""Find the principal axes along which points vary by more than their own rounding.

    Coordinates of size :math:`|z|` are rounded by :math:`\varepsilon |z|` at the most. Directions with variances up to
    the largest square of that are none of the cloud; so a flat cloud stays flat in single precision.

    Parameters
    ----------
    moments : Moments
        Moments of at least two points.
    precision : numpy.dtype
        Type of the points' coordinates, of float.
    k : int or None
        Number of leading axes, at least 1; None takes all.

    Returns
    -------
    PrincipalAxes
        Mean, axes and variances.

    Raises
    ------
    ValueError
        If the points do not vary, or along fewer than `k` axes.

    Examples
    --------
    >>> z = np.array([[100.0, 0.1], [200.0, 0.2], [300.0, 0.3], [700.0, 0.7]], dtype=np.float32)
    >>> len(resolved_axes(measure_moments(z), precision=z.dtype).axes)
    1
    """
    axes = principal_axes(moments)
    square = np.square(moments.mean) + np.diagonal(moments.covariance)
    rounding = float(np.finfo(precision).eps) ** 2 * square.max()
    rank = max(int(np.count_nonzero(axes.variances > rounding)), 1)
    keep = rank if k is None else k
    if not 1 <= keep <= rank:
        raise ValueError(f"the cloud varies along {rank} axes; 1 to {rank} of them can be taken, not {k}.")
    return PrincipalAxes(axes.mean, axes.axes[:keep], axes.variances[:keep], axes.total_variance)


def decorrelation(points: Points) -> float:
    r"""Measure how far a cloud is from uncorrelated components.

    :math:`\max_{i \ne j} |\rho_{ij}|`: 0, but for rounding, in a cloud's own principal coordinates.

    Parameters
    ----------
    points : array of float, shape (n, d)
        At least two points with at least two components.

    Returns
    -------
    float
        The largest correlation of two components, in [0, 1]; a constant component counts as uncorrelated.

    Raises
    ------
    ValueError
        If there are fewer than two points or components, or one is not finite.

    Examples
    --------
    >>> decorrelation(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
    0.0
    """
    correlation = measure_moments(points).correlation
    if len(correlation) < 2:
        raise ValueError("decorrelation needs at least 2 components, not 1.")
    return float(np.abs(correlation[np.triu_indices(len(correlation), 1)]).max())


def n_for_share(axes: PrincipalAxes, share: float) -> int:
    r"""Count the axes that together explain a share of the variance.

    The smallest k with :math:`\sum_{i \le k} \lambda_i \ge \text{share} \cdot \operatorname{tr} \Sigma`.

    Parameters
    ----------
    axes : PrincipalAxes
        Principal axes.
    share : float
        Share of the total variance, in (0, 1].

    Returns
    -------
    int
        Number of axes, at least 1.

    Raises
    ------
    ValueError
        If the share is not in (0, 1], or the axes explain less.

    Examples
    --------
    >>> axes = PrincipalAxes(np.zeros(3), np.eye(3), np.array([6.0, 3.0, 1.0]), 10.0)
    >>> n_for_share(axes, 0.8), n_for_share(axes, 1.0)
    (2, 3)
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, not {share}.")
    # Rounding may leave the sum of all shares just below 1.
    reached = axes.cumulative >= share * (1.0 - 1e-12)
    if not reached.any():
        raise ValueError(
            f"{len(reached)} axes explain {axes.cumulative[-1]:.3f} of the variance, less than {share}; take more."
        )
    return int(reached.argmax()) + 1


class ChanceVariances(NamedTuple):
    """What principal axes have by chance, and how many have more.

    Parameters
    ----------
    variances : array of float64, shape (d,)
        Variance of the measured cloud along its axes, falling.
    thresholds : array of float64, shape (d,)
        Variance that the k-th axis stays below, in the stated share of clouds with independent components.
    n_significant : int
        Number of leading axes of the measured cloud whose variance is above its threshold.
    """

    variances: Float[np.ndarray, " d"]
    thresholds: Float[np.ndarray, " d"]
    n_significant: int


def significant_axes(
    moments: Moments,
    *,
    quantile: float = 0.95,
    draws: int = 50,
    random_state: int | np.random.Generator = 0,
) -> ChanceVariances:
    r"""Count the principal axes that are due to correlations, by parallel analysis.

    Compared are clouds of as many points in which each component has its measured variance, but no correlation with
    others, as if its values were shuffled. Their correlation matrices are simulated from the normal law (Bartlett's
    decomposition of a Wishart matrix), so that the points themselves are not needed. Counted are the leading axes,
    up to the first whose variance does not exceed the quantile of the variances of the same rank.

    Where a few components are much wider than the rest, they make the leading axes with or without correlations. Then
    `moments.standardised` is the cloud to ask about, as Horn did: it has the same correlations and equal widths.

    Parameters
    ----------
    moments : Moments
        Moments of at least two points.
    quantile : float
        Share of the simulated clouds that a variance must exceed, in (0, 1).
    draws : int
        Number of simulated clouds, at least 1.
    random_state : int or numpy.random.Generator
        Seed or generator of the simulation.

    Returns
    -------
    ChanceVariances
        Variances, thresholds and the number of significant axes.

    Raises
    ------
    ValueError
        If there are fewer than two points, the quantile is not in (0, 1), or `draws` is below 1.

    References
    ----------
    .. [1] J. L. Horn (1965), A rationale and test for the number of factors in factor analysis, Psychometrika 30,
       179-185.
    .. [2] M. S. Bartlett (1933), On the theory of statistical regression, Proceedings of the Royal Society of
       Edinburgh 53, 260-283.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> z = rng.standard_normal((500, 6)) + 2 * rng.standard_normal((500, 1))
    >>> significant_axes(measure_moments(z).standardised).n_significant
    1
    """
    if not 0 < quantile < 1 or draws < 1:
        raise ValueError(
            f"quantile must lie between 0 and 1 and draws be at least 1, not {quantile} and {draws}."
        )
    rng = np.random.default_rng(random_state)
    std = moments.std
    spectra = [_chance_spectrum(moments.n - 1, std, rng) for _ in range(draws)]
    thresholds = np.quantile(spectra, quantile, axis=0)
    variances = np.linalg.eigvalsh(moments.covariance)[::-1]
    above = variances > thresholds
    return ChanceVariances(variances, thresholds, int(np.logical_and.accumulate(above).sum()))


def _chance_spectrum(
    degrees: int, std: Float[np.ndarray, " d"], rng: np.random.Generator
) -> Float[np.ndarray, " d"]:
    """Draw the falling variances of the axes of a cloud with these deviations and independent components."""
    root = _wishart_root(degrees, len(std), rng)
    root *= (std / np.sqrt(np.square(root).sum(axis=1)))[:, None]
    return np.linalg.eigvalsh(root @ root.T)[::-1]


def _wishart_root(degrees: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a matrix A so that A A' is the scatter of `degrees` + 1 points with d independent components."""
    if degrees < d:
        return rng.standard_normal((d, degrees))
    root = np.tril(rng.standard_normal((d, d)), -1)
    root[np.diag_indices(d)] = np.sqrt(rng.chisquare(degrees - np.arange(d)))
    return root
