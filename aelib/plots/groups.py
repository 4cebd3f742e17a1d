"""Groups beside each other."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from jaxtyping import Float, Int
from matplotlib.axes import Axes

from aelib.comparison import FLOOR, Comparison
from aelib.densities import GaussianFits
from aelib.plots.style import PALETTE


def component_sizes(
    fits: GaussianFits,
    *,
    fence: float | None = None,
    highlight: Int[np.ndarray, " k"] | Sequence[int] = (),
    ax: Axes | None = None,
) -> Axes:
    """Draw where the density of each component is centred, and how wide it is.

    Parameters
    ----------
    fits : GaussianFits
        Result of `aelib.densities.fit_gaussians`.
    fence : float or None
        A size, root mean square about the origin, drawn as the line of all centres and half-widths that have it.
    highlight : array or sequence of int
        Components to draw in colour, the most important first; the first twelve get their numbers.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes: a point for each component, the highlighted ones in a second collection, and a line for the fence.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(7, 4))
    chosen = np.asarray(highlight, dtype=int)
    others = np.setdiff1d(np.arange(len(fits.centre)), chosen)
    ax.axvline(0.0, color="0.8", linewidth=0.8, zorder=0)
    for places, colour, size in ((others, "0.6", 9), (chosen, PALETTE[1], 28)):
        ax.scatter(fits.centre[places], fits.half_width[places], s=size, color=colour, linewidths=0)
    for j in chosen[:12]:
        at = (fits.centre[j], fits.half_width[j])
        ax.annotate(f"{j}", at, (4, 3), textcoords="offset points", fontsize="small")
    if fence is not None:
        angle = np.linspace(0.0, np.pi, 200)
        half_width = np.sqrt(2.0 * np.log(2.0)) * fence * np.sin(angle)
        ax.plot(fence * np.cos(angle), half_width, color="0.3", linestyle="--", linewidth=1.2, label="fence")
        ax.legend(frameon=False)
    ax.set(xlabel="centre", ylabel="half-width")
    ax.set_ylim(bottom=0.0)
    sns.despine(ax=ax)
    return ax


def group_boxes(
    groups: Mapping[str, Float[np.ndarray, " _"]],
    *,
    band: tuple[float, float] | None = None,
    colours: Sequence[int] = (),
    ax: Axes | None = None,
) -> Axes:
    """Draw how a measure is distributed in several groups, a row for each, the first at the top.

    Parameters
    ----------
    groups : mapping of str to array of float, shape (n,)
        Name to finite values; a group of one value is drawn as a diamond.
    band : tuple of two floats or None
        A range to compare with, shaded.
    colours : sequence of int
        Place of each group in the colour-blind-safe palette; none gives all the first.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes. A box holds the middle half of a group with the median as a line, its whiskers reach from the first
        to the last percentile.

    Raises
    ------
    ValueError
        If there is no group, one is empty, or the colours are not as many as the groups.
    """
    if not groups or any(len(values) == 0 for values in groups.values()):
        raise ValueError("group_boxes needs at least one group, and at least one value in each.")
    if colours and len(colours) != len(groups):
        raise ValueError(f"colours must be {len(groups)}, one per group, not {len(colours)}.")
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 0.35 * len(groups) + 0.8))
    if band is not None:
        ax.axvspan(*band, color="0.9", linewidth=0, zorder=0)
    for row, (values, colour) in enumerate(zip(groups.values(), colours or [0] * len(groups), strict=True)):
        if len(values) == 1:
            ax.plot(values, [row], "D", color=PALETTE[colour], markeredgecolor="black", markersize=6)
            continue
        least, low, middle, high, most = np.quantile(values, [0.01, 0.25, 0.5, 0.75, 0.99])
        ax.plot([least, most], [row, row], color=PALETTE[colour], linewidth=1.5, zorder=2)
        ax.barh(row, high - low, left=low, height=0.6, color=PALETTE[colour], zorder=2.5)
        ax.plot([middle, middle], [row - 0.3, row + 0.3], color="black", linewidth=1.5, zorder=3)
    ax.set_yticks(range(len(groups)), labels=list(groups))
    ax.set_ylim(len(groups) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    sns.despine(ax=ax)
    return ax


_DISTANCES = {"frechet": "Fréchet distance", "kernel": "kernel distance"}


def sampler_dots(
    comparison: Comparison,
    *,
    features: str,
    score: str = "frechet",
    colour: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw a score of each sampler with its interval, a row for each, the first at the top.

    Distances have a logarithmic axis. What lies at or below 0 there, as an extrapolated distance may, is a triangle at
    the left edge.

    Parameters
    ----------
    comparison : Comparison
        Result of `aelib.compare`.
    features : str
        Name of the feature space.
    score : str
        A score of the comparison's table: frechet, kernel, precision, recall, density or coverage.
    colour : int
        Place in the colour-blind-safe palette.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes: a band for the floor's interval with its value as a line, bars for the samplers' intervals, then the
        values on the axis and those off it.

    Raises
    ------
    ValueError
        If the comparison has no such feature space or score.
    """
    spaces = list(comparison.table.index.unique("features"))
    if features not in spaces or score not in comparison.table.columns:
        raise ValueError(
            f"there is no feature space {features!r} or no score {score!r}; choose of {spaces} and "
            f"{list(comparison.table.columns)}."
        )
    here = comparison.table.index.get_level_values("features") == features
    found = comparison.table.loc[here, [f"{score}_low", score, f"{score}_high"]].droplevel("features")
    names = [name for name in found.index if name != FLOOR]
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 0.3 * len(names) + 1.0))
    edge = -np.inf
    if score in _DISTANCES:
        edge = 0.5 * min((x for x in found.iloc[:, 1:].to_numpy().ravel() if x > 0), default=1.0)
        ax.set_xscale("log")
    low, value, high = np.maximum(found.loc[[FLOOR, *names]].to_numpy(), edge).T
    if score in _DISTANCES:
        ax.set_xlim(edge, 1.5 * high.max())
    ax.axvspan(low[0], high[0], color="0.9", linewidth=0, zorder=0)
    ax.axvline(value[0], color="0.4", linewidth=0.8, zorder=1, label=FLOOR)
    rows, on = np.arange(len(names)), value[1:] > edge
    ax.hlines(rows, low[1:], high[1:], color=PALETTE[colour], linewidth=1.5)
    for places, marker in ((on, "o"), (~on, "<")):
        if places.any():  # an empty unclipped line would count as a point in the figure's corner
            ax.plot(value[1:][places], rows[places], marker, color=PALETTE[colour], clip_on=False)
    ax.set_yticks(rows, labels=names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel(f"{_DISTANCES.get(score, score)}, {features}")
    ax.legend(frameon=False, fontsize="small")
    sns.despine(ax=ax)
    return ax
