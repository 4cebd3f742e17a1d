"""Moments: mean, covariance and correlation of any number of z-points in one pass, and what the correlations show."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from aelib.blocks import BLOCK, check_cloud, checked_blocks
from aelib.partitions import Points, merged

_SHIFT_POINTS = 256  # whose mean is near enough to that of all


@dataclass(frozen=True, eq=False)
class Moments:
    r"""Number, mean and scatter of a cloud of points: all that its covariance and correlation need.

    Two of them add up to those of both clouds together, so parts may be measured apart.

    Parameters
    ----------
    n : int
        Number of points.
    mean : array of float64, shape (d,)
        Mean :math:`\bar z` of each component.
    scatter : array of float64, shape (d, d)
        :math:`\sum (z - \bar z)(z - \bar z)^\mathsf{T}`, summed over the points; exactly 0 for a component that is
        constant.
    """

    n: int
    mean: Float[np.ndarray, " d"]
    scatter: Float[np.ndarray, "d d"]

    @property
    def covariance(self) -> Float[np.ndarray, "d d"]:
        """Unbiased covariance, scatter / (n - 1); refused for a single point."""
        if self.n < 2:
            raise ValueError(
                f"covariance needs at least 2 points, not {self.n}; add the moments of more points."
            )
        return self.scatter / (self.n - 1)

    @property
    def std(self) -> Float[np.ndarray, " d"]:
        """Standard deviation of each component, with n - 1; refused for a single point."""
        return np.sqrt(np.diagonal(self.covariance))

    @property
    def constant(self) -> Bool[np.ndarray, " d"]:
        """Which components have the same value in all points."""
        return np.diagonal(self.scatter) == 0.0

    @property
    def correlation(self) -> Float[np.ndarray, "d d"]:
        """Pearson correlation; a constant component has 1 with itself and 0 with others. Refused for a single point."""
        spread = np.where(self.constant, 1.0, self.std)
        ratio = self.covariance / spread / spread[:, None]
        correlation = np.clip((ratio + ratio.T) / 2, -1.0, 1.0)  # the two sides of the diagonal round apart
        np.fill_diagonal(correlation, 1.0)
        return correlation

    @property
    def standardised(self) -> "Moments":
        """The moments of the points with mean 0 and standard deviation 1; constant components stay constant."""
        varying = ~self.constant
        scatter = (self.n - 1) * self.correlation * np.outer(varying, varying)
        return Moments(self.n, np.zeros_like(self.mean), scatter)

    def merge(self, other: "Moments") -> "Moments":
        r"""Add the points of another cloud.

        With :math:`\delta = \bar z_2 - \bar z_1`, the scatter is
        :math:`S_1 + S_2 + \frac{n_1 n_2}{n_1 + n_2}\,\delta\delta^\mathsf{T}`.

        Parameters
        ----------
        other : Moments
            Moments of other points with the same components.

        Returns
        -------
        Moments
            Moments of all points of both. `a + b` is the same.

        Raises
        ------
        ValueError
            If the numbers of components differ.

        References
        ----------
        .. [1] T. F. Chan, G. H. Golub and R. J. LeVeque (1983), Algorithms for computing the sample variance,
           The American Statistician 37, 242-247.

        Examples
        --------
        >>> left, right = measure_moments(np.array([[0.0]])), measure_moments(np.array([[2.0]]))
        >>> both = left.merge(right)
        >>> both.n, both.mean, both.covariance
        (2, array([1.]), array([[2.]]))
        """
        if self.mean.shape != other.mean.shape:
            raise ValueError(
                f"moments of {len(self.mean)} and of {len(other.mean)} components do not add up; "
                "both clouds must come from one latent space."
            )
        n, step = self.n + other.n, other.mean - self.mean
        weight = other.n / max(n, 1)
        return Moments(
            n=n,
            mean=self.mean + weight * step,
            scatter=self.scatter + other.scatter + self.n * weight * np.outer(step, step),
        )

    @classmethod
    def empty(cls, d: int) -> "Moments":
        """Return the moments of no points, to which others can be added.

        Parameters
        ----------
        d : int
            Number of components.

        Returns
        -------
        Moments
            With n = 0.
        """
        return cls(0, np.zeros(d), np.zeros((d, d)))

    def __add__(self, other: "Moments") -> "Moments":
        return self.merge(other)


def measure_moments(z: Points, *, block: int = BLOCK) -> Moments:
    r"""Measure mean and scatter of z-points in one pass.

    The points are read block by block, less the mean of the first few, and summed in float64. So a cloud far from
    the origin loses no digits, and memory is that of a few covariance matrices for any number of points. Parts of the
    points are measured in parallel, those of a Dask array by its workers, and merged by `Moments.merge`.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The z-points, in memory, memory-mapped, or as a Dask array.
    block : int
        Points per block, at least 1.

    Returns
    -------
    Moments
        Number, mean and scatter.

    Raises
    ------
    ValueError
        If `z` has another number of dimensions, no point or no component, a component that is not finite, or one so
        large that its square is not.

    References
    ----------
    .. [1] T. F. Chan, G. H. Golub and R. J. LeVeque (1983), Algorithms for computing the sample variance,
       The American Statistician 37, 242-247.

    Examples
    --------
    >>> moments = measure_moments(np.array([[0.0, 5.0], [2.0, 1.0], [4.0, 3.0]]))
    >>> moments.mean
    array([2., 3.])
    >>> moments.correlation
    array([[ 1. , -0.5],
           [-0.5,  1. ]])
    """
    check_cloud(z)
    return merged(partial(part_moments, block=block), z, Moments.merge)


def part_moments(part: Float[np.ndarray, "n d"], first: int, *, block: int = BLOCK) -> Moments:
    """Measure mean and scatter of a part of a larger cloud.

    Parameters
    ----------
    part : array of float, shape (n, d)
        The points.
    first : int
        Number of the first of them in the whole cloud.
    block : int
        Points per block, at least 1.

    Returns
    -------
    Moments
        Number, mean and scatter.

    Raises
    ------
    ValueError
        As `measure_moments`.

    Examples
    --------
    >>> part_moments(np.array([[0.0], [2.0]]), first=7).mean
    array([1.])
    """
    blocks = checked_blocks(part, first=first, block=block)
    d = part.shape[1]
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused below
        shift, sums, squares = _mean(part[:_SHIFT_POINTS]), np.zeros(d), np.zeros((d, d))
    product, buffer = np.empty((d, d)), np.empty((min(block, len(part)), d))
    for _, rows in blocks:
        with np.errstate(over="ignore", invalid="ignore"):  # refused below
            centred = np.subtract(rows, shift, out=buffer[: len(rows)])
            sums += centred.sum(axis=0)
            squares += np.matmul(centred.T, centred, out=product)  # NumPy sees the symmetry: half the work
    if not np.isfinite(squares).all():
        raise ValueError("z is too large to be squared in float64; scale it down.")
    offset = sums / len(part)
    return Moments(len(part), shift + offset, squares - np.outer(len(part) * offset, offset))


def _mean(rows: np.ndarray) -> Float[np.ndarray, " d"]:
    """Return the mean in float64, exactly so for a component that is constant."""
    first = rows[0].astype(np.float64)
    return first + np.subtract(rows, first).mean(axis=0)


class Pairs(NamedTuple):
    """Pairs of components with their correlation, the strongest first.

    Parameters
    ----------
    i, j : array of int, shape (k,)
        The components of each pair, i < j.
    rho : array of float64, shape (k,)
        Their Pearson correlation, in [-1, 1].
    """

    i: Int[np.ndarray, " k"]
    j: Int[np.ndarray, " k"]
    rho: Float[np.ndarray, " k"]


def pair_counts(
    correlation: Float[np.ndarray, "..."],
    thresholds: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
    *,
    components: Sequence[int] | Int[np.ndarray, " c"] | None = None,
) -> Int[np.ndarray, " t"]:
    r"""Count the pairs of components with a correlation above thresholds.

    :math:`\#\{i < j : |\rho_{ij}| > t\}` for each threshold :math:`t`.

    Parameters
    ----------
    correlation : array of float, shape (d, d)
        Correlation matrix.
    thresholds : sequence of float, length t
        Thresholds, in [0, 1].
    components : sequence of int or None
        Count pairs within these components only; None takes all.

    Returns
    -------
    array of int, shape (t,)
        Number of pairs above each threshold.

    Raises
    ------
    ValueError
        If the matrix is no correlation matrix, or a component is not there or named twice.

    Examples
    --------
    >>> pair_counts(np.array([[1.0, 0.35, 0.0], [0.35, 1.0, -0.7], [0.0, -0.7, 1.0]]))
    array([2, 2, 2, 1, 1, 1])
    """
    sizes = np.abs(_upper_pairs(correlation, components).rho)
    return np.array([np.count_nonzero(sizes > threshold) for threshold in thresholds], dtype=np.int64)


def strongest_pairs(
    correlation: Float[np.ndarray, "..."],
    *,
    k: int | None = 16,
    components: Sequence[int] | Int[np.ndarray, " c"] | None = None,
) -> Pairs:
    r"""List the pairs of components with the strongest correlations.

    Parameters
    ----------
    correlation : array of float, shape (d, d)
        Correlation matrix.
    k : int or None
        Number of pairs, at least 1; None takes all, so that the last ones are the weakest.
    components : sequence of int or None
        Look at pairs within these components only; None takes all.

    Returns
    -------
    Pairs
        Pairs with falling :math:`|\rho|`; equal ones in the order of their components.

    Raises
    ------
    ValueError
        If the matrix is no correlation matrix, a component is not there or named twice, or there are fewer than `k`
        pairs.

    Examples
    --------
    >>> strongest_pairs(np.array([[1.0, 0.35, 0.0], [0.35, 1.0, -0.7], [0.0, -0.7, 1.0]]), k=2)
    Pairs(i=array([1, 0]), j=array([2, 1]), rho=array([-0.7 ,  0.35]))
    """
    pairs = _upper_pairs(correlation, components)
    k = len(pairs.rho) if k is None else k
    if not 1 <= k <= len(pairs.rho):
        raise ValueError(f"k must be 1 to {len(pairs.rho)}, the number of pairs, not {k}.")
    first = np.argsort(-np.abs(pairs.rho), kind="stable")[:k]
    return Pairs(pairs.i[first], pairs.j[first], pairs.rho[first])


def _upper_pairs(correlation: np.ndarray, components: Sequence[int] | np.ndarray | None) -> Pairs:
    """Return all pairs i < j of the chosen components, in their order."""
    d = _size(correlation)
    chosen = np.arange(d) if components is None else np.sort(np.asarray(components, dtype=np.int64))
    if len(chosen) != len(np.unique(chosen)) or (len(chosen) and not 0 <= chosen[0] <= chosen[-1] < d):
        raise ValueError(f"components must be different whole numbers from 0 to {d - 1}, not {components}.")
    first, second = np.triu_indices(len(chosen), 1)
    i, j = chosen[first], chosen[second]
    return Pairs(i, j, correlation[i, j])


def _size(correlation: np.ndarray) -> int:
    """Return the number of components of a correlation matrix, and refuse anything else."""
    if correlation.ndim != 2 or correlation.shape[0] != correlation.shape[1] or len(correlation) == 0:
        raise ValueError(f"correlation must have shape (d, d), not {correlation.shape}.")
    if not (np.abs(correlation) <= 1 + 1e-6).all():
        raise ValueError("correlation must have values from -1 to 1; is it a covariance?")
    return len(correlation)


def cluster_order(correlation: Float[np.ndarray, "..."]) -> Int[np.ndarray, " d"]:
    r"""Order components so that strongly correlated ones, of either sign, stand together.

    Average linkage of the distances :math:`1 - |\rho|`, with the leaves in optimal order.

    Parameters
    ----------
    correlation : array of float, shape (d, d)
        Correlation matrix.

    Returns
    -------
    array of int, shape (d,)
        All components in their new order.

    Raises
    ------
    ValueError
        If the matrix is no correlation matrix.

    References
    ----------
    .. [1] Z. Bar-Joseph, D. K. Gifford and T. S. Jaakkola (2001), Fast optimal leaf ordering for hierarchical
       clustering, Bioinformatics 17, S22-S29.

    Examples
    --------
    >>> cluster_order(np.array([[1.0, 0.0, -0.9], [0.0, 1.0, 0.0], [-0.9, 0.0, 1.0]]))
    array([1, 2, 0])
    """
    if _size(correlation) == 1:
        return np.zeros(1, dtype=np.int64)
    distance = np.clip(1.0 - np.abs(correlation), 0.0, None)
    upper = squareform(distance, checks=False)
    return leaves_list(linkage(upper, method="average", optimal_ordering=True)).astype(np.int64)
