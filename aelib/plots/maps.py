"""Maps of the cloud: who is near whom."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection

from aelib.plots.style import PALETTE


def map_scatter(
    points: Float[np.ndarray, "n 2"],
    *,
    values: Float[np.ndarray, " _"] | None = None,
    placed: Float[np.ndarray, "m 2"] | None = None,
    label: str = "",
    colour: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw a map of z-points, without axes: those of t-SNE have no meaning.

    Parameters
    ----------
    points : array of float, shape (n, 2)
        Places on the map.
    values : array of float, shape (n,), or None
        A number for each point, shown by its colour from dark to light; None gives all one colour.
    placed : array of float, shape (m, 2), or None
        Places of other points, drawn over the map.
    label : str
        What `values` are, beside a scale of colours, or what was placed, in a legend.
    colour : int
        Place of the points' colour in the colour-blind-safe palette.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes, square and as wide as the map is; the smaller the dots, the more points there are.

    Raises
    ------
    ValueError
        If the values are not as many as the points.

    Examples
    --------
    >>> ax = map_scatter(np.array([[0.0, 0.0], [3.0, 1.0]]))
    >>> len(ax.collections[0].get_offsets())
    2
    """
    if values is not None and len(values) != len(points):
        raise ValueError(f"values must be {len(points)}, one for each point, not {len(values)}.")
    if ax is None:
        _, ax = plt.subplots(figsize=(4.5, 4.5))
    if values is not None:
        dots = _dots(ax, points, c=values, cmap="viridis")
        ax.figure.colorbar(dots, ax=ax, shrink=0.7, label=label)
    else:
        _dots(ax, points, color=PALETTE[colour] if placed is None else "0.75")
    if placed is not None:
        _dots(ax, placed, color=PALETTE[1], label=label)
        if label and values is None:
            plt.setp(ax.legend(frameon=False, loc="upper right").legend_handles, sizes=[25])
    _square(ax, points)
    return ax


def _square(ax: Axes, points: np.ndarray) -> None:
    low, high = points.min(axis=0), points.max(axis=0)
    half = 0.52 * float((high - low).max())
    x, y = (low + high) / 2
    ax.set(xlim=(x - half, x + half), ylim=(y - half, y + half), xticks=[], yticks=[], aspect="equal")


def _dots(ax: Axes, points: np.ndarray, **look: Any) -> PathCollection:
    size = min(1.5 * (20_000 / len(points)) ** 0.6, 8.0)
    return ax.scatter(points[:, 0], points[:, 1], s=size, linewidths=0, rasterized=True, **look)
