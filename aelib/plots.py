"""Figures: each function draws one result on one Axes and computes nothing."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from aelib.model import EpochRecord
from aelib.scores import Estimate

PALETTE = sns.color_palette("colorblind")


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


def _tile(images: np.ndarray, rows: int, columns: int, gap: int) -> np.ndarray:
    height, width, channels = images.shape[1:]
    page = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), dtype=np.float32)
    for k, image in enumerate(images):
        top, left = (k // columns) * (height + gap), (k % columns) * (width + gap)
        page[top : top + height, left : left + width] = np.clip(image, 0.0, 1.0)
    return page


def loss_curve(
    history: Sequence[EpochRecord], *, label: str = "", colour: int = 0, ax: Axes | None = None
) -> Axes:
    """Draw training and validation loss against the epoch.

    Parameters
    ----------
    history : sequence of EpochRecord
        A model's history, at least one epoch.
    label : str
        Name of the training in the legend.
    colour : int
        Place in the colour-blind-safe palette.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes: the training loss dashed, the validation loss solid.

    Raises
    ------
    ValueError
        If the history is empty.
    """
    if not history:
        raise ValueError("the history is empty: the model was not trained, or its history was not kept.")
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 3.5))
    epochs = [record.epoch for record in history]
    style = {"color": PALETTE[colour], "marker": "o", "markersize": 3.5}
    name = f"{label}, " if label else ""
    ax.plot(epochs, [record.loss for record in history], linestyle="--", label=f"{name}training", **style)
    validation = [record.val_loss for record in history if record.val_loss is not None]
    if validation:
        ax.plot(epochs, validation, label=f"{name}validation", **style)
    ax.set(xlabel="epoch", ylabel="loss")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False)
    sns.despine(ax=ax)
    return ax


def score_curve(
    scores: Mapping[int, Estimate],
    *,
    label: str = "",
    colour: int = 0,
    marker: str = "o",
    ax: Axes | None = None,
) -> Axes:
    """Draw a score with its standard errors against a number of dimensions.

    Parameters
    ----------
    scores : mapping of int to Estimate
        Dimension to score; a single entry is drawn as a point.
    label : str
        Name in the legend.
    colour : int
        Place in the colour-blind-safe palette.
    marker : str
        Matplotlib's name of the marker.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes, with a logarithmic scale of dimensions.

    Raises
    ------
    ValueError
        If there is no score.
    """
    if not scores:
        raise ValueError("score_curve needs at least one score.")
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 3.5))
    dimensions = sorted(scores)
    values = [scores[d].value for d in dimensions]
    errors = [2 * scores[d].standard_error for d in dimensions]
    ax.errorbar(
        dimensions, values, yerr=errors, color=PALETTE[colour], marker=marker, capsize=2, label=label or None
    )
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter("{x:g}")
    sns.despine(ax=ax)
    return ax


def frequency_curve(
    kept: Float[np.ndarray, " bands"], *, label: str = "", colour: int = 0, ax: Axes | None = None
) -> Axes:
    """Draw the share of structure that copies keep, from coarse to fine.

    Parameters
    ----------
    kept : array of float, shape (bands,)
        Result of `aelib.scores.kept_by_frequency`.
    label : str
        Name in the legend.
    colour : int
        Place in the colour-blind-safe palette.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes; bands are drawn at their middles.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 3.5))
    middles = 0.5 * (np.arange(len(kept)) + 0.5) / len(kept)
    ax.plot(middles, kept, color=PALETTE[colour], marker="o", markersize=3.5, label=label or None)
    ax.axhline(0.0, color="0.7", linewidth=0.8, zorder=0)
    ax.set(xlabel="spatial frequency (periods per pixel)", ylabel="share of structure kept", xlim=(0, 0.5))
    ax.set_ylim(top=1.03)
    sns.despine(ax=ax)
    return ax
