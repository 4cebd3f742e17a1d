"""Figures: each function draws one result on one Axes and computes nothing."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from jaxtyping import Float, Int, UInt8
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import MaxNLocator, PercentFormatter
from PIL import Image

from aelib.cuts import OutlierCut
from aelib.densities import GaussianFits, NumberDensity, RadiusLaw
from aelib.ellipses import Departure, Ellipses, PlaneDensity, coverage
from aelib.files import replacing
from aelib.model import EpochRecord
from aelib.pca import PrincipalAxes
from aelib.scores import Estimate

PALETTE = sns.color_palette("colorblind")
_DENSITY_LABEL = "share of points per unit"


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


def density_curves(
    density: NumberDensity,
    *,
    highlight: Int[np.ndarray, " k"] | Sequence[int] = (),
    fits: GaussianFits | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the number densities of all components, some of them in colour.

    Parameters
    ----------
    density : NumberDensity
        Result of `aelib.densities.number_densities`.
    highlight : array or sequence of int
        Components to draw in colour, at most 20, the most important first; the others are thin and grey.
    fits : GaussianFits or None
        Fits of the same density, drawn as thin dashes over the coloured curves; None draws none.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes: a collection of grey curves, and one line for each component in colour, then one for each fit.

    Raises
    ------
    ValueError
        If more than 20 components are to be highlighted, or one is not there.
    """
    chosen = [int(j) for j in highlight]
    d = density.counts.shape[1]
    if len(chosen) > 20 or not all(0 <= j < d for j in chosen):
        raise ValueError(f"highlight must be at most 20 components from 0 to {d - 1}, not {chosen}.")
    if ax is None:
        _, ax = plt.subplots(figsize=(9, 4))
    x, y = density.centres, density.density
    grey = [np.column_stack([x, y[:, j]]) for j in range(d) if j not in chosen]
    ax.add_collection(
        LineCollection(grey, colors="0.75", linewidths=0.5, label="the others" if chosen else "")
    )
    styles = [(PALETTE[k % 10], "-" if k < 10 else "-.") for k in range(len(chosen))]
    for j, (colour, dashes) in zip(chosen, styles, strict=True):
        ax.plot(x, y[:, j], color=colour, linestyle=dashes, linewidth=1.5, label=f"{j}")
    if fits is not None:
        fine = np.linspace(x[0], x[-1], 1000)
        ax.plot(fine, fits.density(fine)[:, chosen], color="0.1", linestyle=(0, (2, 2)), linewidth=0.7)
    ax.autoscale_view()
    ax.set(xlabel="value of the component", ylabel=_DENSITY_LABEL)
    ax.set_ylim(bottom=0.0)
    if chosen:
        ax.legend(frameon=False, fontsize="small", ncols=2, title="component", loc="upper right")
    sns.despine(ax=ax)
    return ax


def density_fit(
    density: NumberDensity,
    fits: GaussianFits,
    component: int,
    *,
    colour: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw the number density of one component with its Gaussian fit.

    Parameters
    ----------
    density : NumberDensity
        Result of `aelib.densities.number_densities`.
    fits : GaussianFits
        Its result of `aelib.densities.fit_gaussians`.
    component : int
        Which component.
    colour : int
        Place in the colour-blind-safe palette.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes: the density as steps, the fit as a dashed line, its centre as a vertical line, and a bar at half of
        its maximum as long as its full width.

    Raises
    ------
    ValueError
        If there is no such component.
    """
    d = density.counts.shape[1]
    if not 0 <= component < d:
        raise ValueError(f"component must be from 0 to {d - 1}, not {component}.")
    if ax is None:
        _, ax = plt.subplots(figsize=(5, 3.5))
    centre, fwhm, height = (float(a[component]) for a in (fits.centre, fits.fwhm, fits.amplitude))
    x = np.linspace(centre - 2 * fwhm, centre + 2 * fwhm, 400)
    ax.stairs(
        density.density[:, component],
        density.edges,
        fill=True,
        color=PALETTE[colour],
        alpha=0.45,
        label="measured",
    )
    ax.plot(
        x, fits.density(x)[:, component], color="0.1", linestyle="--", linewidth=1.3, label="Gaussian fit"
    )
    ax.axvline(centre, color="0.1", linewidth=0.7)
    ax.plot([centre - fwhm / 2, centre + fwhm / 2], [height / 2] * 2, color="0.1", linewidth=0.7, marker="|")
    ax.annotate(
        f"FWHM {fwhm:.2f}",
        (centre + fwhm / 2, height / 2),
        (5, 2),
        textcoords="offset points",
        fontsize="small",
    )
    ax.set(
        xlabel=f"value of component {component}",
        ylabel=_DENSITY_LABEL,
        xlim=(x[0], x[-1]),
    )
    ax.set_ylim(bottom=0.0)
    ax.legend(frameon=False, fontsize="small", loc="upper left")
    sns.despine(ax=ax)
    return ax


def radius_curves(
    measured: Mapping[str, NumberDensity],
    laws: Mapping[str, RadiusLaw],
    *,
    relative: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw measured densities of the radius, and laws of it.

    Parameters
    ----------
    measured : mapping of str to NumberDensity
        Name to a result of `aelib.densities.radius_density`, drawn as steps, the first filled; may be empty.
    laws : mapping of str to RadiusLaw
        Name to a law of the length of random vectors, drawn as a line; may be empty.
    relative : bool
        Whether each curve is drawn relative to its own peak. Thin shells have high peaks, beside which a broad density
        would hardly be seen.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes: the steps, and one line for each law, in the order of the legend.

    Raises
    ------
    ValueError
        If there are no curves, or more than the palette's 10 colours.
    """
    if not 1 <= len(measured) + len(laws) <= 10:
        raise ValueError(f"radius_curves draws 1 to 10 curves, not {len(measured) + len(laws)}.")
    if ax is None:
        _, ax = plt.subplots(figsize=(9, 4))
    for k, (name, density) in enumerate(measured.items()):
        values = density.density[:, 0]
        height = values.max() if relative else 1.0
        steps = ax.stairs(values / height, density.edges, fill=k == 0, color=PALETTE[k], label=name)
        steps.set(alpha=0.45 if k == 0 else 1.0, linewidth=1.5)
    for colour, (name, law) in zip(PALETTE[len(measured) :], laws.items(), strict=False):
        r = np.linspace(max(0.0, law.mean - 5 * law.std), law.mean + 5 * law.std, 400)
        values = law.density(r)
        height = values.max() if relative else 1.0
        ax.plot(r, values / height, color=colour, linewidth=1.3, label=name)
    ax.set(
        xlabel="radius (length of the vector)",
        ylabel="density relative to its peak" if relative else _DENSITY_LABEL,
    )
    ax.set_ylim(bottom=0.0)
    ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    sns.despine(ax=ax)
    return ax


def correlation_matrix(
    correlation: Float[np.ndarray, "d d"],
    *,
    order: Int[np.ndarray, " k"] | None = None,
    limit: float = 1.0,
    ax: Axes | None = None,
) -> Axes:
    """Draw a correlation matrix as a map, red for positive and blue for negative.

    Parameters
    ----------
    correlation : array of float, shape (d, d)
        Correlation matrix.
    order : array of int, shape (k,), or None
        Which components to draw, in which order: `aelib.moments.cluster_order` gives all. None leaves them as they are.
    limit : float
        Correlation at which the colours are full, in (0, 1]; smaller shows weak correlations.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes, with a colour bar beside them; components are named where at most 32 are drawn.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 5))
    shown = np.arange(len(correlation)) if order is None else order
    names = [str(k) for k in shown] if len(shown) <= 32 else False
    sns.heatmap(
        correlation[np.ix_(shown, shown)],
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        square=True,
        xticklabels=names,
        yticklabels=names,
        rasterized=True,
        cbar_kws={"label": "correlation", "extend": "neither" if limit == 1 else "both", "shrink": 0.85},
        ax=ax,
    )
    kind = "component" if names or order is None else "component, reordered"
    ax.set(xlabel=kind, ylabel=kind)
    ax.tick_params(axis="x", rotation=90)
    ax.tick_params(axis="y", rotation=0)
    return ax


def explained_variance(
    axes: PrincipalAxes,
    *,
    first: int = 40,
    chance: Float[np.ndarray, " d"] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the share of the variance along each of the first principal axes.

    Parameters
    ----------
    axes : PrincipalAxes
        Result of `aelib.pca.principal_axes`.
    first : int
        Number of axes to draw, at least 1.
    chance : array of float, shape (d,), or None
        Variances that chance alone may give, the thresholds of `aelib.pca.significant_axes`.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes: a bar per principal axis, counted from 0, and a line for chance.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 3.5))
    shares = axes.explained[:first]
    ax.bar(np.arange(len(shares)), shares, color=PALETTE[0], width=0.8, label="measured")
    if chance is not None:
        by_chance = chance[:first] / axes.total_variance
        ax.plot(
            np.arange(len(by_chance)), by_chance, color=PALETTE[3], linewidth=2, label="without correlations"
        )
        ax.legend(frameon=False)
    ax.set(xlabel="principal axis", ylabel="share of the variance", xlim=(-0.7, len(shares) - 0.3))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    sns.despine(ax=ax)
    return ax


def cumulative_variance(
    axes: PrincipalAxes,
    *,
    first: int | None = None,
    n_marked: int | None = None,
    label: str = "",
    colour: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw the share of the variance that the first principal axes explain together.

    Parameters
    ----------
    axes : PrincipalAxes
        Result of `aelib.pca.principal_axes`.
    first : int or None
        Number of axes to draw, at least 1; None draws all.
    n_marked : int or None
        A number of axes to mark with its share, as `aelib.pca.n_for_share` gives; at most that of `axes`.
    label : str
        Name in the legend.
    colour : int
        Place in the colour-blind-safe palette.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes, with one curve that begins at no axis and no variance.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 3.5))
    shares = np.concatenate([[0.0], axes.cumulative])
    ax.plot(shares if first is None else shares[: first + 1], color=PALETTE[colour], label=label or None)
    if n_marked is not None:
        share = shares[n_marked]
        ax.plot([n_marked, n_marked, 0], [0, share, share], color="0.5", linestyle=":", linewidth=1.2)
        ax.plot([n_marked], [share], "o", color=PALETTE[colour])
        ax.annotate(
            f"{share:.0%} with {n_marked} axes", (n_marked, share), (8, -12), textcoords="offset points"
        )
    ax.set(xlabel="number of principal axes", ylabel="share of the variance", ylim=(0, 1.03))
    ax.set_xlim(left=0)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    sns.despine(ax=ax)
    return ax


def plane_scatter(
    z: Float[np.ndarray, "n d"],
    i: int,
    j: int,
    *,
    random: Float[np.ndarray, "m d"] | None = None,
    chosen: Float[np.ndarray, " d"] | None = None,
    centre: Float[np.ndarray, " d"] | None = None,
    legend: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw a cloud of z-points in the plane of two components, with the origin and other points.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The z-points.
    i, j : int
        Components along the horizontal and the vertical axis.
    random : array of float, shape (m, d), or None
        Random vectors to compare with.
    chosen : array of float, shape (d,), or None
        The z-point of one image.
    centre : array of float, shape (d,), or None
        Centre of the cloud.
    legend : bool
        Whether to name what is drawn; in a grid, one panel is enough.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes. The cloud is drawn as one picture, so that many points stay a small file.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(4.5, 4))
    size = float(np.clip(8_000 / len(z), 0.5, 8.0))
    ax.scatter(
        z[:, i], z[:, j], s=size, color=PALETTE[0], alpha=0.5, linewidths=0, rasterized=True, label="z-points"
    )
    marks = (
        ("random vectors", random, "x", {"color": PALETTE[3], "s": 28, "linewidths": 1.5}),
        ("centre", centre, "P", {"color": "white", "s": 90, "edgecolors": "black"}),
        ("one image", chosen, "D", {"color": PALETTE[1], "s": 55, "edgecolors": "black"}),
        ("origin", np.zeros(z.shape[1]), "o", {"color": PALETTE[8], "s": 65, "edgecolors": "black"}),
    )
    for name, points, marker, style in marks:
        if points is not None:
            shown = np.atleast_2d(points)
            ax.scatter(shown[:, i], shown[:, j], marker=marker, label=name, zorder=3, **style)
    ax.set(xlabel=f"component {i}", ylabel=f"component {j}")
    if legend:
        cloud = ax.legend(fontsize="small", markerscale=0.8).legend_handles[0]
        plt.setp(cloud, sizes=[20], alpha=1)  # its points are too small to be seen there
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


def factor_bars(scores: pd.DataFrame, *, first: int = 20, colour: int = 0, ax: Axes | None = None) -> Axes:
    """Draw how well z-points tell the factors behind their images, the best first.

    Parameters
    ----------
    scores : pandas.DataFrame, columns r_squared and standard_error
        Result of `aelib.factors.factor_r_squared`, at least one row.
    first : int
        Number of factors to draw, at least 1.
    colour : int
        Place in the colour-blind-safe palette.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes: a bar per factor, with two standard errors.
    """
    best = scores.sort_values("r_squared", ascending=False)[:first]
    if ax is None:
        _, ax = plt.subplots(figsize=(5, 0.22 * len(best) + 0.8))
    ax.barh(
        list(best.index),
        best["r_squared"],
        xerr=2 * best["standard_error"],
        color=PALETTE[colour],
        ecolor="0.3",
    )
    ax.invert_yaxis()
    ax.margins(y=0.01)
    ax.set(xlabel="R² on held-out points")
    ax.set_xlim(right=1.0)
    ax.tick_params(axis="y", length=0, labelsize="small")
    sns.despine(ax=ax)
    return ax


def factor_map(correlations: pd.DataFrame, *, kind: str = "component", ax: Axes | None = None) -> Axes:
    """Draw correlations of factors with components as a map, red for positive and blue for negative.

    Parameters
    ----------
    correlations : pandas.DataFrame, shape (f, k)
        Result of `aelib.factors.factor_correlations`, or the rows and columns of it that are to be seen.
    kind : str
        What the columns are, for their axis.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes, with a colour bar beside them.
    """
    rows, columns = correlations.shape
    if ax is None:
        _, ax = plt.subplots(figsize=(0.32 * columns + 2.5, 0.24 * rows + 1.2))
    sns.heatmap(
        correlations,
        cmap="RdBu_r",
        vmin=-1,
        vmax=1,
        xticklabels=True,
        yticklabels=True,
        cbar_kws={"label": "correlation"},
        ax=ax,
    )
    ax.set(xlabel=kind, ylabel="")
    ax.tick_params(labelsize="small", length=0)
    return ax


def plane_ellipses(
    ellipses: Sequence[Ellipses], *, k: int = 0, legend: bool = True, ax: Axes | None = None
) -> Axes:
    """Draw the ellipses of one plane at several numbers of standard deviations.

    Drawn on the axes of `plane_scatter`, it gives the cloud with its ellipses.

    Parameters
    ----------
    ellipses : sequence of Ellipses
        Ellipses of the same planes, one batch for each number of standard deviations, at least one.
    k : int
        Which plane of each batch.
    legend : bool
        Whether to name what is drawn; in a grid, one panel is enough.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes: a line for each ellipse, and their centre.

    Raises
    ------
    ValueError
        If there is no batch of ellipses, or they are of different planes.
    """
    if len({(int(batch.i[k]), int(batch.j[k])) for batch in ellipses}) != 1:
        raise ValueError("plane_ellipses needs at least one batch of ellipses, all of the same plane.")
    if ax is None:
        _, ax = plt.subplots(figsize=(4.5, 4))
    halo = [Stroke(linewidth=3.0, foreground="white"), Normal()]
    for batch, colour in zip(ellipses, (1, 3, 4, 5, 2) * len(ellipses), strict=False):
        label = f"{batch.n_sigma:.3g} σ ({coverage(batch.n_sigma):.1%} if normal)"
        ax.plot(
            *batch.outline(k).T,
            color=PALETTE[colour],
            linewidth=1.8,
            path_effects=halo,
            zorder=2.5,
            label=label,
        )
    ax.plot(*ellipses[0].centre[k], "P", color="white", markeredgecolor="black", markersize=8, zorder=3)
    ax.set(xlabel=f"component {ellipses[0].i[k]}", ylabel=f"component {ellipses[0].j[k]}")
    if legend:
        ax.legend(fontsize="small", markerscale=0.8)
    sns.despine(ax=ax)
    return ax


def plane_contours(
    density: PlaneDensity,
    levels: Float[np.ndarray, " s"],
    *,
    shares: Sequence[float] = (),
    ax: Axes | None = None,
) -> Axes:
    """Draw contours of a density in a plane; `plane_ellipses` adds ellipses to them.

    Parameters
    ----------
    density : PlaneDensity
        The density.
    levels : array of float, shape (s,)
        Levels of the contours, as `aelib.ellipses.highest_density_levels` gives, in any order.
    shares : sequence of float, s numbers, or none
        Shares of the points that the contours enclose, in the order of the levels, to label them with.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes: the darker, the denser; the view is that of the outermost contour.

    Raises
    ------
    ValueError
        If there is no level, two are equal, one is too high, or the shares are not as many as the levels.
    """
    if len(levels) == 0 or len(np.unique(levels)) < len(levels) or max(levels) > density.density.max():
        raise ValueError(
            f"levels must be at least one, different, and below the highest density, not {levels}."
        )
    if shares and len(shares) != len(levels):
        raise ValueError(f"shares must be {len(levels)}, one per level, not {len(shares)}.")
    if ax is None:
        _, ax = plt.subplots(figsize=(4.5, 4))
    order, grid = np.argsort(levels), (density.x, density.y, density.density)
    top = 1.001 * density.density.max()
    ax.contourf(*grid, levels=[*levels[order], top], cmap="Blues", alpha=0.6)
    lines = ax.contour(*grid, levels=levels[order], colors=[PALETTE[0]], linewidths=1.0)
    if shares:
        names = {float(levels[s]): f"{shares[s]:.0%}" for s in order}
        ax.clabel(lines, fmt=names, fontsize="x-small", inline=True)
    ax.ignore_existing_data_limits = True  # matplotlib has taken those of the whole grid
    ax.update_datalim(np.concatenate([np.asarray(path.vertices) for path in lines.get_paths()]))
    ax.autoscale_view(tight=False)
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


def coverage_scatter(
    ellipses: Ellipses,
    shares: Float[np.ndarray, " m"],
    *,
    label: str = "",
    colour: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw the share of points inside each ellipse against the ellipse's shape.

    Parameters
    ----------
    ellipses : Ellipses
        Ellipses in m planes.
    shares : array of float, shape (m,)
        Result of `aelib.ellipses.empirical_coverage` for them.
    label : str
        Name in the legend; if empty, the number of standard deviations.
    colour : int
        Place in the colour-blind-safe palette.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes: a point for each plane, and a line at the share of a normal cloud, which is the same for all shapes.

    Raises
    ------
    ValueError
        If the shares are not as many as the ellipses.
    """
    if len(shares) != len(ellipses):
        raise ValueError(f"shares must be {len(ellipses)}, one per ellipse, not {len(shares)}.")
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 3.5))
    name = label or f"{ellipses.n_sigma:g} σ"
    size = float(np.clip(4_000 / len(shares), 1.0, 12.0))
    style = {"s": size, "color": PALETTE[colour], "alpha": 0.4, "linewidths": 0, "rasterized": True}
    ax.scatter(ellipses.axis_ratio, shares, label=name, **style)
    theory = "_" if ax.get_legend() else "normal cloud"
    ax.axhline(
        coverage(ellipses.n_sigma), color="0.15", linewidth=1.0, linestyle="--", zorder=3, label=theory
    )
    ax.set(xlabel="short / long half-axis", ylabel="share of points inside", xlim=(0, 1.02))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.legend(frameon=False, markerscale=3)
    sns.despine(ax=ax)
    return ax


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


def plane_path(
    path: Float[np.ndarray, "n d"],
    i: int,
    j: int,
    *,
    label: str = "",
    colour: int = 1,
    ax: Axes | None = None,
) -> Axes:
    """Draw a path as it is seen in the plane of two components, for instance over a `plane_scatter`.

    Parameters
    ----------
    path : array of float, shape (n, d)
        Points of a path, in their order.
    i, j : int
        The components that span the plane.
    label : str
        Name in the legend.
    colour : int
        Place in the colour-blind-safe palette.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes: one line with a mark at each point, a larger one at the first.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(4, 4))
        ax.set(xlabel=f"component {i}", ylabel=f"component {j}")
        sns.despine(ax=ax)
    way = np.column_stack([path[:, i], path[:, j]])
    ax.plot(*way.T, "o-", color=PALETTE[colour], markersize=3.5, linewidth=1.2, zorder=4, label=label or None)
    ax.plot(*way[:1].T, "o", color=PALETTE[colour], markeredgecolor="black", zorder=4.5)
    return ax


def save_animation(
    images: Float[np.ndarray, "n h w 3"], path: str | os.PathLike[str], *, fps: float = 12.0
) -> Path:
    """Write images as a film that repeats (`.gif`), or as one that ends (`.mp4`).

    The film is written whole or not at all. A GIF shows each image with 256 colours of its own, for a whole number of
    hundredths of a second. An MP4 needs the program ffmpeg; its sides are even, by a black line at the edge if need be.

    Parameters
    ----------
    images : array of float, shape (n, h, w, 3), values in [0, 1]
        The images in their order; values outside [0, 1] are shown as the nearest inside.
    path : path-like
        The file to write or replace; its name ends in `.gif` or `.mp4`.
    fps : float
        Images per second, from 0.01 to 50: viewers slow down faster GIFs.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ValueError
        If there is no image, a value is not finite, `fps` is out of range, or the name has another ending.
    RuntimeError
        If ffmpeg is needed and not installed, or fails.

    Examples
    --------
    >>> import tempfile
    >>> save_animation(np.zeros((2, 8, 8, 3)), Path(tempfile.mkdtemp()) / "walk.gif", fps=5).name
    'walk.gif'
    """
    if len(images) == 0 or not np.isfinite(images).all():
        raise ValueError("save_animation needs at least one image, and finite values in all.")
    if not 0.01 <= fps <= 50:
        raise ValueError(f"fps must be from 0.01 to 50 images per second, not {fps}.")
    path = Path(path)
    writers = {".gif": _write_gif, ".mp4": _write_mp4}
    if path.suffix.lower() not in writers:
        raise ValueError(f"path must end in .gif or .mp4, not {path.name!r}.")
    frames = np.rint(255.0 * np.clip(images, 0.0, 1.0)).astype(np.uint8)
    with replacing(path) as temporary:
        writers[path.suffix.lower()](frames, temporary, fps)
    return path


def _write_gif(frames: UInt8[np.ndarray, "n h w 3"], path: Path, fps: float) -> None:
    first, *others = map(Image.fromarray, frames)
    first.save(path, save_all=True, append_images=others, duration=10 * max(1, round(100 / fps)), loop=0)


def _write_mp4(frames: UInt8[np.ndarray, "n h w 3"], path: Path, fps: float) -> None:
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise RuntimeError(
            "an .mp4 needs the program ffmpeg, which is not found here; install it, or write a .gif instead."
        )
    height, width = frames.shape[1:3]
    source = ["-f", "rawvideo", "-pixel_format", "rgb24", "-video_size", f"{width}x{height}"]
    # Players want colour at half the resolution, which needs even sides, and the index at the front.
    target = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    command = [
        ffmpeg,
        "-loglevel",
        "error",
        *source,
        "-framerate",
        f"{fps}",
        "-i",
        "-",
        *target,
        "-y",
        str(path),
    ]
    outcome = subprocess.run(command, input=frames.tobytes(), capture_output=True, check=False)
    if outcome.returncode != 0:
        reason = outcome.stderr.decode(errors="replace").strip() or f"exit status {outcome.returncode}"
        raise RuntimeError(f"ffmpeg could not write {path.suffix}: {reason}")
