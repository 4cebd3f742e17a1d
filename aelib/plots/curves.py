"""Scores and losses against what was varied."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from aelib.cuts import OutlierCut
from aelib.ellipses import Departure
from aelib.model import EpochRecord
from aelib.plots.style import PALETTE
from aelib.scores import Estimate


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


def survivor_curve(
    cuts: Sequence[OutlierCut],
    *,
    expected: Mapping[str, Sequence[float]] | None = None,
    label: str = "measured",
    colour: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw the share of the points that an outlier cut keeps against its limit.

    Parameters
    ----------
    cuts : sequence of OutlierCut
        Results of `aelib.cuts.cut_outliers`, at least one, with rising `fact`.
    expected : mapping of str to sequence of float, or None
        Name to the shares to compare with, one per cut, as `aelib.cuts.normal_survivors` gives; at most three.
    label : str
        Name in the legend.
    colour : int
        Place in the colour-blind-safe palette.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes: measured shares in colour, those to compare with in grey.

    Raises
    ------
    ValueError
        If there is no cut, or expected shares are not as many as the cuts.
    """
    expected = expected or {}
    if not cuts or any(len(shares) != len(cuts) for shares in expected.values()):
        raise ValueError(
            "survivor_curve needs at least one cut, and as many expected shares under each name."
        )
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 3.5))
    facts = [cut.fact for cut in cuts]
    ax.plot(facts, [cut.share for cut in cuts], color=PALETTE[colour], marker="o", label=label)
    for (name, shares), dashes, marker in zip(expected.items(), ("--", ":", "-."), "s^v", strict=False):
        ax.plot(
            facts, shares, color="0.35", linestyle=dashes, marker=marker, markerfacecolor="white", label=name
        )
    ax.set(xlabel="limit (full widths at half maximum)", ylabel="share of points kept")
    ax.set_ylim(top=1.02)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.legend(frameon=False)
    sns.despine(ax=ax)
    return ax


def departure_curve(
    departure: Departure, *, label: str = "contour", colour: int = 0, ax: Axes | None = None
) -> Axes:
    """Draw how far a contour departs from its ellipse, all the way round.

    Parameters
    ----------
    departure : Departure
        Result of `aelib.ellipses.contour_departure`.
    label : str
        Name in the legend.
    colour : int
        Place in the colour-blind-safe palette.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes: the contour's radius over the ellipse's against the angle, and a band of two standard deviations
        of normal clouds around 1.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 3.5))
    band, named = 2.0 * departure.law.spread, ax.get_legend() is not None
    name = "_" if named else "normal clouds, ±2 σ"
    ax.axhspan(1.0 - band, 1.0 + band, color="0.88", linewidth=0, zorder=0, label=name)
    ax.axhline(1.0, color="0.5", linewidth=0.8, zorder=1)
    angle, ratio = (
        np.append(np.degrees(departure.angle), 360.0),
        np.append(departure.ratio, departure.ratio[0]),
    )
    ax.plot(angle, ratio, color=PALETTE[colour], label=label)
    ax.set(
        xlabel="angle from the ellipse's long axis, whitened (degrees)", ylabel="radius of contour / ellipse"
    )
    ax.set(xlim=(0, 360), xticks=range(0, 361, 90))
    ax.legend(frameon=False, fontsize="small")
    sns.despine(ax=ax)
    return ax
