"""Filaments and voids: a plane beside its twin's, readings of instruments among those of null twins, dimensions."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.patches import Circle
from matplotlib.ticker import FixedLocator, PercentFormatter

from aelib.densities import NumberDensity
from aelib.plots.style import DENSITY_LABEL, PALETTE
from aelib.structure import Voids, ZoomProfile
from aelib.twins import TwinTest


def plane_window(
    points: Float[np.ndarray, "n 2"],
    *,
    half_width: float,
    centre: tuple[float, float] = (0.0, 0.0),
    voids: Voids | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a square window of a plane: with the same window, a cloud and its twin can be compared.

    Parameters
    ----------
    points : array of float, shape (n, 2)
        The cloud in the plane.
    half_width : float
        Half the side of the window, above 0, in units of z.
    centre : tuple of float
        Centre of the window.
    voids : Voids or None
        Empty circles to draw.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes, with one dot for each point in the window.

    Raises
    ------
    ValueError
        If `half_width` is not above 0.

    Examples
    --------
    >>> ax = plane_window(np.array([[0.0, 0.1], [5.0, 0.0]]), half_width=1.0)
    >>> len(ax.collections[0].get_offsets())
    1
    """
    if half_width <= 0:
        raise ValueError(f"half_width must be above 0, not {half_width}.")
    if ax is None:
        _, ax = plt.subplots(figsize=(4, 4))
    shown = points[(np.abs(points - np.asarray(centre)) <= half_width).all(axis=1)]
    size = float(np.clip(4_000 / max(len(shown), 1), 0.5, 12.0))
    ax.scatter(shown[:, 0], shown[:, 1], s=size, color=PALETTE[0], linewidths=0, rasterized=True)
    if voids is not None:
        circles = [Circle(tuple(middle), r) for middle, r in zip(voids.centre, voids.radius, strict=True)]
        ax.add_collection(
            PatchCollection(circles, facecolor="none", edgecolor=PALETTE[3], linewidths=1.2, label="voids")
        )
    ax.set_xlim(centre[0] - half_width, centre[0] + half_width)
    ax.set_ylim(centre[1] - half_width, centre[1] + half_width)
    ax.set_aspect("equal")
    return ax


def nearest_curves(laws: Mapping[str, NumberDensity], *, ax: Axes | None = None) -> Axes:
    """Draw the densities of distances to the nearest neighbour, of a cloud and of its twins.

    Parameters
    ----------
    laws : mapping of str to NumberDensity
        Label and density of one column of distances each, by `number_densities(distance[:, :1])`.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes, with one labelled curve each.

    Raises
    ------
    ValueError
        If there is no law.

    Examples
    --------
    >>> from aelib.densities import number_densities
    >>> len(nearest_curves({"faces": number_densities(np.array([[1.0], [1.5]]))}).lines)
    1
    """
    if not laws:
        raise ValueError("nearest_curves needs at least one law.")
    if ax is None:
        _, ax = plt.subplots(figsize=(5, 3.2))
    for (label, law), colour in zip(laws.items(), PALETTE * len(laws), strict=False):
        ax.plot(law.centres, law.density[:, 0], color=colour, label=label)
    ax.set(xlabel="distance to the nearest point", ylabel=DENSITY_LABEL, ylim=(0, None))
    ax.legend()
    return ax


def twin_dots(test: TwinTest, *, label: str = "cloud", legend: bool = True, ax: Axes | None = None) -> Axes:
    """Draw each statistic of a cloud among those of its twins, in the twins' standard deviations.

    Parameters
    ----------
    test : TwinTest
        The statistics.
    label : str
        What the cloud is called.
    legend : bool
        Whether to draw a legend, to the right of the axes.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes, with a row for each statistic, the first at the top: small dots for the twins, a large one for the
        cloud. The scale is linear to three standard deviations and logarithmic beyond.

    Examples
    --------
    >>> test = TwinTest(("a",), np.array([9.0]), np.array([[0.0], [1.0], [2.0]]), "two-sided")
    >>> [line.get_xdata().tolist() for line in twin_dots(test).lines if line.get_label() == "cloud"]
    [[8.0]]
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(5, 0.8 + 0.35 * len(test.names)))
    rows = np.arange(len(test.names))
    twins = test.null_effect
    ax.plot(
        twins.ravel(),
        np.tile(rows, len(twins)),
        ".",
        color="0.6",
        markersize=4,
        alpha=0.6,
        label="null twins",
    )
    ax.plot(test.effect, rows, "o", color=PALETTE[3], label=label)
    ax.set_xscale("symlog", linthresh=3.0)
    # Without those at ±1, which would touch that at 0.
    ax.xaxis.set_major_locator(FixedLocator([0, *(sign * 10**k for k in range(1, 9) for sign in (-1, 1))]))
    ax.axvline(0.0, color="0.8", linewidth=0.8, zorder=0)
    ax.set_yticks(rows, test.names)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel("distance from the twins' mean, in their standard deviations")
    if legend:
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return ax


def dimension_bias_curve(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the dimension that is estimated against the true one.

    Parameters
    ----------
    table : pandas.DataFrame
        What `dimension_bias` returns.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes, with a curve for each estimator and the diagonal of those without bias.

    Examples
    --------
    >>> table = pd.DataFrame({"TwoNN": [2.0], "TwoNN error": [0.1], "MLE": [1.9], "MLE error": [0.1]}, index=[2])
    >>> dimension_bias_curve(table).get_xlabel()
    'true dimension'
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(4.5, 4))
    truth = table.index.to_numpy()
    ax.plot(truth, truth, color="0.6", linestyle="--", label="no bias")
    for name, colour in (("TwoNN", PALETTE[0]), ("MLE", PALETTE[1])):
        ax.errorbar(truth, table[name], yerr=2 * table[f"{name} error"], marker="o", color=colour, label=name)
    ax.set(xscale="log", yscale="log", xlabel="true dimension", ylabel="estimated dimension")
    ax.legend()
    return ax


def zoom_curves(
    profiles: Mapping[str, ZoomProfile], *, quantity: str = "void_share", ax: Axes | None = None
) -> Axes:
    """Draw what is seen in ever smaller windows of a plane, of a cloud and of its twins.

    Parameters
    ----------
    profiles : mapping of str to ZoomProfile
        Label and profile.
    quantity : str
        "void_share" or "line_share".
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes, with one labelled curve each, the smallest window on the right.

    Raises
    ------
    ValueError
        If there is no profile or no such quantity.

    Examples
    --------
    >>> profile = ZoomProfile(np.array([2.0, 1.0]), np.array([9, 4]), np.array([0.7, 0.7]), np.array([0.05, 0.06]))
    >>> zoom_curves({"faces": profile}).lines[0].get_ydata()
    array([0.05, 0.06])
    """
    labels = {"void_share": "share of the area far from all points", "line_share": "line-likeness"}
    if not profiles or quantity not in labels:
        raise ValueError(f"zoom_curves needs a profile and one of {list(labels)}, not {quantity!r}.")
    if ax is None:
        _, ax = plt.subplots(figsize=(5, 3.2))
    for (label, profile), colour in zip(profiles.items(), PALETTE * len(profiles), strict=False):
        ax.plot(profile.half_width, getattr(profile, quantity), marker="o", color=colour, label=label)
    ax.set(xscale="log", xlabel="half the side of the window", ylabel=labels[quantity])
    ax.set_xticks(profile.half_width, [f"{half:.2g}" for half in profile.half_width])
    ax.minorticks_off()
    if quantity == "void_share":
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if not ax.xaxis_inverted():
        ax.invert_xaxis()
    ax.legend()
    return ax
