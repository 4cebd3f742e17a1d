"""Pictures: images side by side."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes


def image_grid(
    images: Float[np.ndarray, "n h w c"],
    *,
    columns: int | None = None,
    row_labels: Sequence[str] = (),
    gap: int = 2,
    ax: Axes | None = None,
) -> Axes:
    """Show images side by side, as one tiled picture.

    Parameters
    ----------
    images : array of float, shape (n, h, w, 3), values in [0, 1]
        The images, row by row.
    columns : int or None
        Images per row, at least 1; None puts up to twelve into a row.
    row_labels : sequence of str
        One label per row, or none.
    gap : int
        White pixels between the images.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes, with one picture.

    Raises
    ------
    ValueError
        If there is no image, or the labels are not as many as the rows.

    Examples
    --------
    >>> ax = image_grid(np.zeros((6, 8, 8, 3)), columns=3)
    >>> ax.images[0].get_array().shape
    (18, 28, 3)
    """
    if len(images) == 0:
        raise ValueError("image_grid needs at least one image.")
    columns = min(len(images), 12) if columns is None else columns
    rows = -(-len(images) // columns)
    if row_labels and len(row_labels) != rows:
        raise ValueError(f"row_labels must be {rows} labels, one per row, not {len(row_labels)}.")
    if ax is None:
        _, ax = plt.subplots(figsize=(columns, rows))
    height = images.shape[1]
    ax.imshow(_tile(images, rows, columns, gap), interpolation="none", vmin=0, vmax=1)
    ax.set_xticks([])
    ax.set_yticks(
        (height + gap) * np.arange(len(row_labels)) + height / 2, labels=list(row_labels), fontsize="small"
    )
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax


def image_strip(
    images: Float[np.ndarray, "n h w c"],
    *,
    labels: Sequence[str] = (),
    gap: int = 2,
    ax: Axes | None = None,
) -> Axes:
    """Show the images along a path in one row, each with its label below.

    Parameters
    ----------
    images : array of float, shape (n, h, w, 3), values in [0, 1]
        The images, from left to right.
    labels : sequence of str
        One label per image, or none.
    gap : int
        White pixels between the images.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes, with one picture.

    Raises
    ------
    ValueError
        If there is no image, or the labels are not as many as the images.

    Examples
    --------
    >>> ax = image_strip(np.zeros((3, 8, 8, 3)), labels=["origin", "half-way", "centre"])
    >>> ax.images[0].get_array().shape
    (8, 28, 3)
    """
    if len(images) == 0:
        raise ValueError("image_strip needs at least one image.")
    if labels and len(labels) != len(images):
        raise ValueError(f"labels must be {len(images)}, one per image, not {len(labels)}.")
    ax = image_grid(images, columns=len(images), gap=gap, ax=ax)
    width = images.shape[2]
    places = (width + gap) * np.arange(len(labels)) + (width - 1) / 2
    ax.set_xticks(places, labels=list(labels), fontsize="small")
    return ax


def _tile(images: np.ndarray, rows: int, columns: int, gap: int) -> np.ndarray:
    height, width, channels = images.shape[1:]
    page = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), dtype=np.float32)
    for k, image in enumerate(images):
        top, left = (k // columns) * (height + gap), (k % columns) * (width + gap)
        page[top : top + height, left : left + width] = np.clip(image, 0.0, 1.0)
    return page
