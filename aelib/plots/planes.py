"""The cloud in a plane: points, ellipses, contours, paths."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import PercentFormatter

from aelib.ellipses import Ellipses, PlaneDensity, coverage
from aelib.plots.style import PALETTE


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
