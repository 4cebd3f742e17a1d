"""A cloud of points, read block by block so that any number of them fits, and refused if it is none."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

BLOCK = 2048  # points: a few MB in float64 at 256 dimensions


def checked_blocks(
    z: Float[np.ndarray, "..."], *, name: str = "z", part: slice = slice(None), block: int = BLOCK
) -> Iterator[tuple[slice, np.ndarray]]:
    """Go through a cloud of points block by block, and refuse what is not one.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The points, in memory or memory-mapped.
    name : str
        What the points are called in errors.
    part : slice
        The rows to go through, in their order.
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
    if z.ndim != 2 or 0 in z.shape:
        raise ValueError(f"{name} must have shape (n, d), with n and d of at least 1, not {z.shape}.")
    if block < 1:
        raise ValueError(f"block must be at least 1, not {block}.")
    return _finite_blocks(z, name, range(len(z))[part], block)


def _finite_blocks(
    z: np.ndarray, name: str, numbers: range, block: int
) -> Iterator[tuple[slice, np.ndarray]]:
    for start in numbers[::block]:
        where = slice(start, min(start + block, numbers.stop))
        rows = z[where]
        finite = np.isfinite(rows)
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            raise ValueError(
                f"{name} must be finite, but component {column} of point {start + row} is {rows[row, column]}; "
                "leave such points out."
            )
        yield where, rows
