"""Nearest neighbours in hundreds of dimensions: exact, in blocks, never all pairs at once."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from aelib.blocks import check_cloud, check_points, checked_blocks
from aelib.threads import n_cores, one_blas_thread

_QUERIES, _CHUNK = 512, 8192  # rows of a table of squared distances, and its columns: 16 MB in float32
_SPARE = 8  # candidates beyond those asked for


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest neighbours of some points in a cloud, the nearest first.

    Parameters
    ----------
    rows : array of int, shape (m,)
        Where the points themselves stand in the cloud; -1 for points that are not of it.
    index : array of int, shape (m, k)
        Rows of their k nearest neighbours.
    distance : array of float64, shape (m, k)
        Euclidean distances to these, rising, in units of z.
    """

    rows: Int[np.ndarray, " m"]
    index: Int[np.ndarray, "m k"]
    distance: Float[np.ndarray, "m k"]


def nearest_neighbours(
    z: Float[np.ndarray, "..."],
    *,
    k: int = 20,
    n_queries: int | None = None,
    random_state: int | np.random.Generator = 0,
) -> Neighbours:
    """Find the k nearest neighbours of a cloud's own points, exactly.

    All distances are computed by products of blocks in single precision. The best k + 8 of each point are computed
    again from their differences in double precision; where rounding could have hidden a nearer one, double precision
    decides among all. In hundreds of dimensions no search tree is faster: it would visit all of its leaves.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The z-points, in memory or memory-mapped.
    k : int
        Neighbours of each point, 1 to n - 1.
    n_queries : int or None
        Number of points, chosen at random, whose neighbours are sought among all; None, or more than n, takes all.
    random_state : int or numpy.random.Generator
        Seed or generator of the choice.

    Returns
    -------
    Neighbours
        Neighbours of the chosen points, in the order of their rows. A point is none of its own, but a copy of it is.

    Raises
    ------
    ValueError
        If `z` is no cloud of finite points, or has too few for k.

    Examples
    --------
    >>> found = nearest_neighbours(np.array([[0.0], [1.0], [3.0]]), k=1)
    >>> found.index.ravel(), found.distance.ravel()
    (array([1, 0, 1]), array([1., 1., 2.]))
    """
    check_cloud(z)
    if not 1 <= k < len(z):
        raise ValueError(f"k must be 1 to {len(z) - 1}, the number of other points, not {k}.")
    if n_queries is not None and n_queries < 1:
        raise ValueError(f"n_queries must be at least 1, not {n_queries}.")
    rows = np.arange(len(z))
    if n_queries is not None and n_queries < len(z):
        chosen = np.random.default_rng(random_state).choice(len(z), n_queries, replace=False)
        rows = np.sort(chosen)
    return _search(z if len(rows) == len(z) else z[rows], rows, z, k)


def neighbours_in(
    points: Float[np.ndarray, "..."], cloud: Float[np.ndarray, "..."], *, k: int = 1
) -> Neighbours:
    """Find the k nearest points of a cloud to points that are not of it, exactly.

    Parameters
    ----------
    points : array of float, shape (m, d)
        The points.
    cloud : array of float, shape (n, d)
        The cloud, in memory or memory-mapped.
    k : int
        Neighbours of each point, 1 to n.

    Returns
    -------
    Neighbours
        Neighbours of the points in their order; all `rows` are -1.

    Raises
    ------
    ValueError
        If points or cloud are no finite points with the same components, or the cloud has fewer than k.

    Examples
    --------
    >>> neighbours_in(np.array([[0.4]]), np.array([[0.0], [1.0], [3.0]]), k=2).index
    array([[0, 1]])
    """
    check_points(points, name="points")
    check_cloud(cloud, name="cloud")
    if points.shape[1] != cloud.shape[1]:
        raise ValueError(
            f"points and cloud must have the same components, not {points.shape[1]} and {cloud.shape[1]}."
        )
    if not 1 <= k <= len(cloud):
        raise ValueError(f"k must be 1 to {len(cloud)}, the number of points of the cloud, not {k}.")
    return _search(points, np.full(len(points), -1), cloud, k)


def _search(points: np.ndarray, own: np.ndarray, cloud: np.ndarray, k: int) -> Neighbours:
    """Find neighbours in single precision, and in double precision those of points that may be wrong."""
    index, distance, certain = _ranked(points, own, cloud, k, np.float32)
    doubtful = np.flatnonzero(~certain)
    if len(doubtful):
        again = _ranked(points[doubtful], own[doubtful], cloud, k, np.float64)
        index[doubtful], distance[doubtful] = again[:2]
    return Neighbours(own, index, distance)


def _ranked(
    points: np.ndarray, own: np.ndarray, cloud: np.ndarray, k: int, precision: type[np.floating]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the k nearest points, their distances, and whether rounding cannot have hidden a nearer one."""
    centre = _centre(cloud)
    queries = np.empty(points.shape, dtype=precision)
    for where in _parts(len(points)):  # in parts: the difference is in double precision
        queries[where] = points[where] - centre
    candidates, squares, largest = _candidates(queries, own, cloud, centre, k, precision)
    index, distance = np.empty((len(points), k), dtype=np.int64), np.empty((len(points), k))
    for where in _parts(len(points)):
        steps = cloud[candidates[where]] - points[where, None].astype(np.float64)
        exact = np.sqrt(np.einsum("mkd,mkd->mk", steps, steps))
        first = np.argsort(exact, axis=1, kind="stable")[:, :k]
        index[where] = np.take_along_axis(candidates[where], first, axis=1)
        distance[where] = np.take_along_axis(exact, first, axis=1)
    size = np.einsum("md,md->m", queries, queries).astype(np.float64)
    # A sum of d products is off by less than d + 2 roundings of the product of both lengths.
    rounding = 2 * (points.shape[1] + 2) * float(np.finfo(precision).eps) * (np.sqrt(size) + largest) ** 2
    left_out = candidates.shape[1] < len(cloud) - (own >= 0)
    certain = ~left_out | (np.square(distance[:, -1]) < squares.max(axis=1) + size - rounding)
    return index, distance, certain


def _candidates(
    queries: np.ndarray,
    own: np.ndarray,
    cloud: np.ndarray,
    centre: np.ndarray,
    k: int,
    precision: type[np.floating],
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the rows of the k + 8 nearest points, their squared distances less |query|², and the greatest length."""
    kept = min(k + _SPARE, len(cloud) - int(own.max() >= 0))
    best = np.zeros((len(queries), kept), dtype=np.int64)
    least = np.full((len(queries), kept), np.inf, dtype=precision)
    largest = 0.0
    parts = list(_parts(len(queries)))
    with _one_thread_each(len(parts)) as run:
        for chunk, rows in checked_blocks(cloud, name="cloud", block=_CHUNK):
            block = (rows - centre).astype(precision)
            lengths = np.einsum("nd,nd->n", block, block)
            largest = max(largest, float(np.sqrt(lengths.max())))

            def merge(
                where: slice,
                start: int = chunk.start,
                block: np.ndarray = block,
                lengths: np.ndarray = lengths,
            ) -> None:
                _merge(queries[where], own[where], block, lengths, start, best[where], least[where])

            list(run(merge, parts))
    return best, least, largest


@contextmanager
def _one_thread_each(n_parts: int) -> Iterator[Callable[..., Iterable[None]]]:
    """Give a `map` that runs parts side by side, with one BLAS thread each; a single part needs no such setting up."""
    if n_parts == 1:
        yield map
        return
    with one_blas_thread(), ThreadPoolExecutor(n_cores()) as pool:
        yield pool.map


def _merge(
    queries: np.ndarray,
    own: np.ndarray,
    block: np.ndarray,
    lengths: np.ndarray,
    start: int,
    best: np.ndarray,
    least: np.ndarray,
) -> None:
    """Take the points of one block of the cloud, which begins at row `start`, among the best, in place."""
    squares = queries @ block.T
    squares *= -2.0
    squares += lengths
    inside = np.flatnonzero((own >= start) & (own < start + len(block)))
    squares[inside, own[inside] - start] = np.inf
    nearer = squares <= np.minimum(_bound(squares, best.shape[1]), least.max(axis=1))[:, None]
    row, column = np.divmod(np.flatnonzero(nearer), len(block))
    found = np.bincount(row, minlength=len(queries))
    place = np.arange(len(row)) - np.repeat(np.cumsum(found) - found, found)
    # The best so far, then what this block adds: as many columns as the row with the most.
    both = np.full((len(queries), best.shape[1] + found.max()), np.inf, dtype=least.dtype)
    rows = np.zeros(both.shape, dtype=np.int64)
    both[:, : best.shape[1]], rows[:, : best.shape[1]] = least, best
    both[row, best.shape[1] + place] = squares[row, column]
    rows[row, best.shape[1] + place] = column + start
    first = np.argpartition(both, best.shape[1] - 1, axis=1)[:, : best.shape[1]]
    best[:] = np.take_along_axis(rows, first, axis=1)
    least[:] = np.take_along_axis(both, first, axis=1)


def _bound(squares: np.ndarray, k: int) -> Float[np.ndarray, " m"]:
    """Return an upper bound of the k-th smallest value of each row, infinite if it has fewer.

    Folded to a few columns of minima, a row is quickly partitioned; these are k different values of it at least.
    """
    while squares.shape[1] >= 8 * k:
        half = squares.shape[1] // 2
        squares = np.minimum(squares[:, :half], squares[:, half : 2 * half])
    if squares.shape[1] < k:
        return np.full(len(squares), np.inf)
    return np.partition(squares, k - 1, axis=1)[:, k - 1]


def _centre(cloud: np.ndarray) -> Float[np.ndarray, " d"]:
    """Return the mean of the points: products of numbers far from 0 would lose digits."""
    total = sum(rows.sum(axis=0, dtype=np.float64) for _, rows in checked_blocks(cloud, name="cloud"))
    return np.asarray(total) / len(cloud)


def _parts(m: int) -> Iterator[slice]:
    return (slice(start, min(start + _QUERIES, m)) for start in range(0, m, _QUERIES))
