"""Null twins: clouds that share stated properties with a given one and have no other structure."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import solve_triangular

from aelib.blocks import BLOCK, checked_blocks
from aelib.moments import Moments, measure_moments
from aelib.pca import PrincipalAxes, resolved_axes
from aelib.sampler import check_choice


def null_twin(
    z: Float[np.ndarray, "..."],
    *,
    kind: str = "normal",
    n_samples: int | None = None,
    random_state: int | np.random.Generator = 0,
) -> Float[np.ndarray, "m d"]:
    r"""Draw a cloud that looks like another one, but has no structure beyond what is stated.

    - "normal" keeps mean and covariance: points of :math:`N(\hat\mu, \hat\Sigma)`. A singular covariance is no
      obstacle: the twin then lives in the same plane.
    - "shuffled" keeps the law of every component: the values of each are put in an order of their own. Correlations
      are lost.
    - "marginals" keeps the law of every principal coordinate, which are shuffled likewise. The covariance is kept, but
      for chance correlations of about :math:`1/\sqrt n`; what is lost is how the coordinates depend on each other
      beyond it.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The cloud, in memory or memory-mapped; at least two different points.
    kind : str
        "normal", "shuffled", "marginals" or "elliptical".
    n_samples : int or None
        Number of points m; None takes n. Values and distances are shuffled without replacement, so there are n at the
        most, unless `kind` is "normal".
    random_state : int or numpy.random.Generator
        Seed or generator.

    Returns
    -------
    array of float32, shape (m, d)
        The twin, in units of z.

    Raises
    ------
    ValueError
        If `kind` is unknown, `n_samples` is out of its range, the points do not vary, or `z` is no cloud of finite
        points.

    Examples
    --------
    >>> z = np.random.default_rng(0).exponential(size=(1000, 2)).astype(np.float32)
    >>> twin = null_twin(z)
    >>> bool(z.min() < 0), bool(twin.min() < 0)
    (False, True)
    >>> bool((np.sort(null_twin(z, kind="shuffled"), axis=0) == np.sort(z, axis=0)).all())
    True
    """
    check_choice("kind", kind, ("normal", "shuffled", "marginals", "elliptical"))
    moments = measure_moments(z)
    m = len(z) if n_samples is None else n_samples
    if m < 1 or (kind != "normal" and m > len(z)):
        limit = "" if kind == "normal" else f" and at most {len(z)}, the number of points to shuffle"
        raise ValueError(f"n_samples must be at least 1{limit}, not {m}.")
    rng = np.random.default_rng(random_state)
    if kind == "shuffled":
        return _shuffled(z, m, rng)
    axes = resolved_axes(moments, precision=z.dtype)
    if kind == "normal":
        return _normal_points(axes, m, rng)
    if kind == "elliptical":
        return axes.inverse_transform(_turned(axes.transform(z), np.sqrt(axes.variances), m, rng))
    return axes.inverse_transform(_shuffled(axes.transform(z), m, rng))


def _shuffled(points: np.ndarray, m: int, rng: np.random.Generator) -> Float[np.ndarray, "m k"]:
    """Put the values of each component in an order of its own."""
    out = np.empty((m, points.shape[1]), dtype=np.float32)
    for j in range(points.shape[1]):
        out[:, j] = rng.permutation(points[:, j])[:m]
    return out


def _turned(
    y: Float[np.ndarray, "n k"], scales: Float[np.ndarray, " k"], m: int, rng: np.random.Generator
) -> Float[np.ndarray, "m k"]:
    """Give m of the points a direction of its own each, and leave them their Mahalanobis distance."""
    distance = rng.permutation(np.linalg.norm(y / scales, axis=1))[:m]
    turned = rng.standard_normal((m, len(scales)), dtype=np.float32)
    turned *= (distance / np.linalg.norm(turned, axis=1))[:, None]
    turned *= scales
    return turned


def _normal_points(axes: PrincipalAxes, m: int, rng: np.random.Generator) -> Float[np.ndarray, "m d"]:
    out = np.empty((m, len(axes.mean)), dtype=np.float32)
    for start in range(0, m, BLOCK):
        rows = out[start : start + BLOCK]
        rows[:] = (
            rng.standard_normal((len(rows), len(axes.axes))) * np.sqrt(axes.variances)
        ) @ axes.axes + axes.mean
    return out


class Whitened(NamedTuple):
    r"""A cloud in coordinates in which its own mean is 0 and its own covariance is I.

    Of a normal cloud of n points in k dimensions, the matrix u is uniformly distributed over all such matrices,
    whatever the mean and the covariance, and whichever root of the covariance is divided by: the law of every
    statistic of u depends on (n, k) alone, and simulation from N(0, I) gives it exactly [1]_.

    Parameters
    ----------
    u : array of float32, shape (n, k)
        The points, without unit.
    axes : PrincipalAxes
        Principal axes of the cloud; column j of u is the coordinate along axis j over its standard deviation.

    References
    ----------
    .. [1] M. L. Eaton (1983), Multivariate Statistics: A Vector Space Approach, Wiley, chapter 7.
    """

    u: Float[np.ndarray, "n k"]
    axes: PrincipalAxes


def whiten(z: Float[np.ndarray, "..."], *, k: int | None = None) -> Whitened:
    r"""Whiten a cloud along its principal axes, :math:`u_j = a_j \cdot (z - \bar z) / \sqrt{\lambda_j}`.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The cloud, in memory or memory-mapped; read block by block.
    k : int or None
        Number of leading axes; None takes all along which the points vary by more than their rounding.

    Returns
    -------
    Whitened
        The points and the axes.

    Raises
    ------
    ValueError
        If `z` is no cloud of finite points, varies along fewer than `k` axes, or has no more than k + 1 points: then
        all are equally far from their mean, and nothing is left to test.

    Examples
    --------
    >>> z = np.random.default_rng(0).normal(3.0, [1.0, 5.0], (100, 2))
    >>> np.cov(whiten(z).u.T).round(3)
    array([[ 1., -0.],
           [-0.,  1.]])
    """
    axes = resolved_axes(measure_moments(z), precision=z.dtype, k=k)
    check_enough(len(z), len(axes.axes))
    u = np.empty((len(z), len(axes.axes)), dtype=np.float32)
    for where, rows in checked_blocks(z):
        u[where] = ((rows - axes.mean) @ axes.axes.T) / np.sqrt(axes.variances)
    return Whitened(u, axes)


def check_enough(n: int, k: int) -> None:
    """Refuse a whitened cloud with too few points for its dimensions.

    Parameters
    ----------
    n, k : int
        Number of points and of dimensions.

    Raises
    ------
    ValueError
        If there are fewer than k + 2 points, or no dimension.

    Examples
    --------
    >>> check_enough(4, 2)
    """
    if k < 1 or n < k + 2:
        raise ValueError(
            f"{n} points are too few to be whitened in {k} dimensions: that takes {k + 2} or more, several times as "
            f"many to see anything. Take more points, or fewer leading axes by k."
        )


def normal_whitened(n: int, k: int, rng: np.random.Generator) -> Float[np.ndarray, "n k"]:
    r"""Draw a normal cloud and whiten it: the null law of every whitened cloud of n points in k dimensions.

    Parameters
    ----------
    n, k : int
        Number of points, at least k + 2, and of dimensions, at least 1.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    array of float32, shape (n, k)
        Points with mean 0 and covariance I.

    Raises
    ------
    ValueError
        If there are too few points.

    Examples
    --------
    >>> u = normal_whitened(100, 2, np.random.default_rng(0))
    >>> np.cov(u.T).round(3) + 0.0
    array([[1., 0.],
           [0., 1.]])
    """
    check_enough(n, k)
    return rewhiten(rng.standard_normal((n, k), dtype=np.float32))


def rewhiten(points: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    r"""Whiten points that are near enough to it already for single precision, by the Cholesky root.

    :math:`u = L^{-1} (x - \bar x)` with :math:`L L^\mathsf{T}` the covariance.

    Parameters
    ----------
    points : array of float32, shape (n, k)
        The points, with a regular covariance.

    Returns
    -------
    array of float32, shape (n, k)
        Points with mean 0 and covariance I.

    Examples
    --------
    >>> u = rewhiten(np.array([[1, 0], [0, 1], [0, 0], [2, 2]], dtype=np.float32))
    >>> np.cov(u.T).round(3) + 0.0
    array([[1., 0.],
           [0., 1.]])
    """
    moments = _moments(points)
    root = np.linalg.cholesky(moments.covariance)
    inverse = solve_triangular(root, np.eye(len(root)), lower=True).T.astype(np.float32)
    out = np.empty_like(points)
    mean = moments.mean.astype(np.float32)
    for start in range(0, len(points), BLOCK):
        rows = slice(start, start + BLOCK)
        np.matmul(points[rows] - mean, inverse, out=out[rows])
    return out


def _moments(points: np.ndarray) -> Moments:
    """Moments in single precision within blocks, which is enough for points of size 1."""
    n, k = points.shape
    sums, squares = np.zeros(k), np.zeros((k, k))
    for start in range(0, n, BLOCK):
        rows = points[start : start + BLOCK]
        sums += rows.sum(axis=0, dtype=np.float64)
        squares += rows.T @ rows
    return Moments(n, sums / n, squares - np.outer(sums, sums) / n)
