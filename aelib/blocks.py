"""A cloud of points, read block by block so that any number of them fits, and refused if it is none."""

import operator
from collections.abc import Iterator
from functools import partial

import numpy as np
from jaxtyping import Float

from aelib.partitions import Points, merged

BLOCK = 2048  # points: a few MB in float64 at 256 dimensions


def checked_blocks(
    z: Float[np.ndarray, "..."], *, name: str = "z", first: int = 0, block: int = BLOCK
) -> Iterator[tuple[slice, np.ndarray]]:
    """Go through a cloud of points block by block, and refuse what is not one.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The points, in memory or memory-mapped.
    name : str
        What the points are called in errors.
    first : int
        Number of the first point in errors, where `z` is part of a larger cloud.
    block : int
        Points per block, at least 1.

    Returns
    -------
    iterator of (slice, array of float, shape (m, d))
        Where the block stands, and its rows as a view: `block` of them, fewer in the last one.

    Raises
    ------
    ValueError
        At once if `z` has another number of dimensions, no point or no component; on the way if a component is not
        finite.

    Examples
    --------
    >>> [(where.start, len(rows)) for where, rows in checked_blocks(np.zeros((5, 2)), block=2)]
    [(0, 2), (2, 2), (4, 1)]
    """
    check_cloud(z, name=name)
    if block < 1:
        raise ValueError(f"block must be at least 1, not {block}.")
    return _finite_blocks(z, name, first, block)


def check_cloud(z: Points, *, name: str = "z") -> None:
    """Refuse what has not the shape of a cloud of points; the points themselves are not looked at.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The points, also as a Dask array.
    name : str
        What the points are called in errors.

    Raises
    ------
    ValueError
        If `z` has another number of dimensions, or no point or no component.

    Examples
    --------
    >>> check_cloud(np.zeros((5, 2)))
    """
    if z.ndim != 2 or 0 in z.shape:
        raise ValueError(f"{name} must have shape (n, d), with n and d of at least 1, not {z.shape}.")


def check_points(z: Points, *, name: str = "z") -> None:
    """Refuse what is no cloud of finite points, in one pass over them.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The points, also as a Dask array.
    name : str
        What the points are called in errors.

    Raises
    ------
    ValueError
        If `z` has another number of dimensions, no point or no component, or a component that is not finite.

    Examples
    --------
    >>> check_points(np.zeros((5, 2)))
    """
    check_cloud(z, name=name)
    merged(partial(_count_points, name=name), z, operator.add)


def _count_points(part: np.ndarray, first: int, *, name: str) -> int:
    return sum(len(rows) for _, rows in checked_blocks(part, name=name, first=first))


def _finite_blocks(z: np.ndarray, name: str, first: int, block: int) -> Iterator[tuple[slice, np.ndarray]]:
    for start in range(0, len(z), block):
        where = slice(start, min(start + block, len(z)))
        rows = z[where]
        finite = np.isfinite(rows)
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            raise ValueError(
                f"{name} must be finite, but component {column} of point {first + start + row} is {rows[row, column]}; "
                "leave such points out."
            )
        yield where, rows
