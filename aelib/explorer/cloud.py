"""What the explorer knows of a cloud: measured once, asked many times a second."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Float

from aelib.blocks import checked_blocks
from aelib.factors import FactorDirections, factor_directions
from aelib.moments import Moments, measure_moments
from aelib.pca import PrincipalAxes, principal_axes

_COMPARED = 20_000  # points whose distances a new one is compared with
_OFF_PLANE = 1e-10  # of the total variance, as in aelib.densities.mahalanobis_distance


@dataclass(frozen=True, eq=False)
class Cloud:
    r"""A cloud of z-points with its moments, axes and factors.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The z-points.
    moments : Moments
        Their mean :math:`\mu` and covariance :math:`\Sigma`.
    axes : PrincipalAxes
        Their principal axes.
    distances : array of float64, shape (m,)
        Mahalanobis distances of the points from the mean, in rising order; of evenly spaced rows if they are many.
    table : pandas.DataFrame
        The factors that are finite numbers and vary, one row per point; without columns if there are none.
    directions : FactorDirections or None
        Ways along the factors; None without any.
    tsne : array of float, shape (k, 2), or None
        Places of the first k points on a t-SNE map.
    """

    z: Float[np.ndarray, "n d"]
    moments: Moments
    axes: PrincipalAxes
    distances: Float[np.ndarray, " m"]
    table: pd.DataFrame = field(repr=False)
    directions: FactorDirections | None
    tsne: Float[np.ndarray, "k 2"] | None = None

    @property
    def n(self) -> int:
        """Number of points."""
        return len(self.z)

    @property
    def d(self) -> int:
        """Number of components."""
        return self.z.shape[1]

    @cached_property
    def sigma(self) -> Float[np.ndarray, " k"]:
        """Standard deviations along the principal axes, in units of z."""
        return np.sqrt(self.axes.variances)

    def axis_values(self, point: Float[np.ndarray, " d"]) -> Float[np.ndarray, " k"]:
        r"""Give a point's principal coordinates in standard deviations, :math:`u_k = a_k \cdot (z - \mu) / \sigma_k`.

        Parameters
        ----------
        point : array of float, shape (d,)
            The point.

        Returns
        -------
        array of float64, shape (k,)
            Its coordinates.
        """
        return self.axes.axes @ (point - self.axes.mean) / self.sigma

    def distance(self, point: Float[np.ndarray, " d"]) -> float:
        r"""Measure the Mahalanobis distance from the mean, :math:`\sqrt{\sum_k u_k^2}`, without a new decomposition.

        Parameters
        ----------
        point : array of float, shape (d,)
            The point.

        Returns
        -------
        float
            What `aelib.densities.mahalanobis_distance` gives: in standard deviations; infinite off a flat cloud.
        """
        u = self.axis_values(point)
        if len(u) < self.d:
            offset = point - self.axes.mean
            off = offset - (u * self.sigma) @ self.axes.axes
            if off @ off > _OFF_PLANE * self.axes.total_variance:
                return float("inf")
        return float(np.sqrt(u @ u))

    def share_nearer(self, distance: float) -> float:
        """Count the share of the cloud's points that lie nearer to the mean.

        Parameters
        ----------
        distance : float
            A Mahalanobis distance.

        Returns
        -------
        float
            The share, in [0, 1].
        """
        return float(np.searchsorted(self.distances, distance) / len(self.distances))


def measure_cloud(
    z: Float[np.ndarray, "..."],
    table: pd.DataFrame | None = None,
    *,
    tsne: Float[np.ndarray, "..."] | None = None,
) -> Cloud:
    """Measure what the explorer asks for.

    Parameters
    ----------
    z : array of float, shape (n, d)
        At least three z-points with two components or more that vary.
    table : pandas.DataFrame or None
        Factors or attributes, one row per point. Columns that are constant, not numbers or have missing values are
        left out.
    tsne : array of float, shape (k, 2), or None
        Places of the first k points on a map.

    Returns
    -------
    Cloud
        The cloud.

    Raises
    ------
    ValueError
        If `z` is no such cloud, or the table or the map has other rows.

    Examples
    --------
    >>> z = np.random.default_rng(0).standard_normal((500, 4)) + 5
    >>> cloud = measure_cloud(z)
    >>> round(cloud.distance(z.mean(axis=0)), 3), cloud.share_nearer(9.0)
    (0.0, 1.0)
    """
    checked_blocks(z)
    moments = measure_moments(z)
    if moments.n < 3 or np.count_nonzero(~moments.constant) < 2:
        raise ValueError(
            f"an explorer needs at least 3 points that differ in 2 components or more; this cloud has {moments.n} "
            f"points and {np.count_nonzero(~moments.constant)} components that vary."
        )
    if tsne is not None and (tsne.ndim != 2 or tsne.shape[1] != 2 or not 1 <= len(tsne) <= len(z)):
        raise ValueError(f"the map must have places (x, y) of the first points, not the shape {tsne.shape}.")
    axes = principal_axes(moments)
    factors = _usable(table, len(z))
    directions = factor_directions(z, factors) if len(factors.columns) else None
    compared = np.sort(mahalanobis_distances(z[:: -(-len(z) // _COMPARED)], axes))
    return Cloud(z, moments, axes, compared, factors, directions, tsne)


def mahalanobis_distances(z: Float[np.ndarray, "..."], axes: PrincipalAxes) -> Float[np.ndarray, " n"]:
    """Measure the Mahalanobis distances of a cloud's own points, by its principal axes.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The points.
    axes : PrincipalAxes
        All axes of the cloud.

    Returns
    -------
    array of float64, shape (n,)
        Distances, in standard deviations.
    """
    out = np.empty(len(z))
    for where, rows in checked_blocks(z):
        u = (rows - axes.mean) @ axes.axes.T / np.sqrt(axes.variances)
        out[where] = np.sqrt(np.square(u).sum(axis=1))
    return out


def _usable(table: pd.DataFrame | None, n: int) -> pd.DataFrame:
    if table is None:
        return pd.DataFrame(index=range(n))
    if len(table) != n:
        raise ValueError(f"table must have one row per z-point, {n}, not {len(table)}.")
    numeric = table.select_dtypes(["number", "bool"])
    values = numeric.to_numpy(dtype=np.float64)
    kept = np.isfinite(values).all(axis=0)
    kept[kept] = np.ptp(values[:, kept], axis=0) > 0
    return numeric[numeric.columns[kept]]
