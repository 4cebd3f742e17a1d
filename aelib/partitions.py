"""Rows in partitions: measured where they lie and merged, or mapped one by one.

A NumPy array is cut into a few partitions, which the cores share. A Dask array has its own, on the workers of a cluster
or on the threads of this process; only the partial results travel. What is measured this way is written once for both.
"""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from itertools import pairwise
from typing import Any, TypeAlias, TypeGuard, TypeVar

import numpy as np
from jaxtyping import Float

from aelib.threads import n_cores, one_blas_thread

Points: TypeAlias = Float[Any, "..."]
"""Rows of floats: a NumPy array, in memory or memory-mapped, or a Dask array."""

Partial = TypeVar("Partial")

_LEAST_ROWS = 2048  # of a partition
_MOST_PARTS = 16  # whatever the number of cores, so that it does not change the last digits of sums
_MERGED_AT_ONCE = 8


def is_partitioned(array: Any) -> TypeGuard[Any]:
    """Say whether an array is a Dask array, without importing Dask.

    Parameters
    ----------
    array : Any
        An array.

    Returns
    -------
    bool
        True for a Dask array.

    Examples
    --------
    >>> is_partitioned(np.zeros((3, 2)))
    False
    """
    dask_array = sys.modules.get("dask.array")
    return dask_array is not None and isinstance(array, dask_array.Array)


def merged(
    measure: Callable[..., Partial],
    rows: Any,
    merge: Callable[[Partial, Partial], Partial],
    *,
    along: Sequence[np.ndarray] = (),
    whole: Sequence[Any] = (),
) -> Partial:
    """Measure each partition of an array, and merge the partial results.

    Parameters
    ----------
    measure : callable
        ``measure(part, first, *along, *whole)`` returns the partial result of a partition, whose first row is row
        `first` of the whole array. For a cluster it must be a function that can be pickled.
    rows : array, shape (n, ...)
        A NumPy or Dask array with at least one row. The columns of a Dask array are brought together.
    merge : callable
        ``merge(a, b)`` returns the partial result of two neighbouring partitions, in this order, as one. It must not
        matter which neighbours are merged first, but for rounding.
    along : sequence of array of n rows
        What each partition gets its rows of.
    whole : sequence of array
        What every partition gets the whole of; also Dask arrays, which must fit into a worker's memory.

    Returns
    -------
    Partial
        The result for all rows.

    Raises
    ------
    ValueError
        If a Dask array does not know the sizes of its partitions, or has no row.

    Examples
    --------
    >>> merged(lambda part, first: part.sum(axis=0), np.ones((5, 2)), np.add)
    array([5., 5.])
    """
    if is_partitioned(rows):
        return _merged_by_dask(measure, rows, merge, along, whole)
    n_parts = max(1, min(_MOST_PARTS, len(rows) // _LEAST_ROWS))
    if n_parts == 1:
        return measure(rows, 0, *along, *whole)
    edges = np.linspace(0, len(rows), n_parts + 1).astype(int).tolist()

    def part(low: int, high: int) -> Partial:
        return measure(rows[low:high], low, *(each[low:high] for each in along), *whole)

    # A thread per part with its own small products is faster than small products on all threads, one after the other.
    with one_blas_thread(), ThreadPoolExecutor(min(n_cores(), n_parts)) as pool:
        return reduce(merge, pool.map(lambda edge: part(*edge), pairwise(edges)))


def _merged_by_dask(
    measure: Callable[..., Partial],
    rows: Any,
    merge: Callable[[Partial, Partial], Partial],
    along: Sequence[np.ndarray],
    whole: Sequence[Any],
) -> Partial:
    import dask

    edges = _edges(rows)
    parts = _columns_together(rows).to_delayed().ravel()
    shared = [_as_one_task(each) for each in whole]
    task, merge_task = dask.delayed(measure, pure=False), dask.delayed(_merge_all, pure=False)
    found = [
        task(part, low, *(each[low:high] for each in along), *shared)
        for part, (low, high) in zip(parts, pairwise(edges), strict=True)
        if high > low
    ]
    while len(found) > 1:
        found = [
            merge_task(merge, found[k : k + _MERGED_AT_ONCE]) for k in range(0, len(found), _MERGED_AT_ONCE)
        ]
    with one_blas_thread():  # the partitions are what runs in parallel
        return dask.compute(found[0])[0]


def _merge_all(merge: Callable[[Partial, Partial], Partial], found: list[Partial]) -> Partial:
    return reduce(merge, found)


def _edges(rows: Any) -> list[int]:
    """Return the number of rows before each partition of a Dask array, and of all."""
    sizes = rows.chunks[0]
    if any(np.isnan(size) for size in sizes):
        raise ValueError(
            "the sizes of the Dask array's partitions are not known: call its method compute_chunk_sizes() first."
        )
    if not sum(sizes):
        raise ValueError("the Dask array has no row.")
    return np.cumsum([0, *sizes]).tolist()


def _columns_together(rows: Any) -> Any:
    return rows.rechunk(dict.fromkeys(range(1, rows.ndim), -1))


def _as_one_task(array: Any) -> Any:
    import dask

    return array.rechunk(-1).to_delayed().item() if is_partitioned(array) else dask.delayed(array, pure=False)


def mapped(
    function: Callable[..., np.ndarray],
    rows: Any,
    *,
    shape: tuple[int, ...] = (),
    dtype: Any = np.float64,
    whole: Sequence[Any] = (),
) -> Any:
    """Apply a function to the rows of an array, partition by partition.

    Parameters
    ----------
    function : callable
        ``function(part, first, *whole)`` returns a NumPy array with a row for each of the partition, whose first row
        is row `first` of the whole array. For a cluster it must be a function that can be pickled.
    rows : array, shape (n, ...)
        A NumPy or Dask array.
    shape : tuple of int
        Shape of what it returns for a row; () for a number.
    dtype : numpy.dtype
        Its type.
    whole : sequence of object
        What is handed to the function each time; on a cluster it is sent to each worker once.

    Returns
    -------
    array, shape (n, ...), as in `shape`
        A NumPy array at once; for a Dask array, a Dask array of the same partitions, computed when it is asked for.

    Raises
    ------
    ValueError
        If a Dask array does not know the sizes of its partitions, or has no row.

    Examples
    --------
    >>> mapped(lambda part, first: part.sum(axis=1), np.ones((3, 2)))
    array([2., 2., 2.])
    """
    if not is_partitioned(rows):
        return function(rows, 0, *whole)
    import dask
    import dask.array as da

    parts = _columns_together(rows).to_delayed().ravel()
    task = dask.delayed(function, pure=False)
    shared = [dask.delayed(each, pure=False) for each in whole]
    arrays = [
        da.from_delayed(task(part, low, *shared), (high - low, *shape), dtype)
        for part, (low, high) in zip(parts, pairwise(_edges(rows)), strict=True)
        if high > low
    ]
    return da.concatenate(arrays)
