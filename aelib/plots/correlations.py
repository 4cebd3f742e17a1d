"""Correlations, principal axes, and what factors share with z-points."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from aelib.pca import PrincipalAxes
from aelib.plots.style import PALETTE


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
