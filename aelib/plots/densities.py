"""Number densities of components and radii."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from aelib.densities import GaussianFits, NumberDensity, RadiusLaw
from aelib.plots.style import DENSITY_LABEL, PALETTE

_HUES = [*PALETTE[:7], *PALETTE[8:]]  # without grey, which is for the others
_DASHES = ("-", "-.", ":")


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
    styles = [(_HUES[k % len(_HUES)], _DASHES[k // len(_HUES)]) for k in range(len(chosen))]
    for j, (colour, dashes) in zip(chosen, styles, strict=True):
        ax.plot(x, y[:, j], color=colour, linestyle=dashes, linewidth=1.5, label=f"{j}")
    if fits is not None:
        fine = np.linspace(x[0], x[-1], 1000)
        ax.plot(fine, fits.density(fine)[:, chosen], color="0.1", linestyle=(0, (2, 2)), linewidth=0.7)
    ax.autoscale_view()
    ax.set(xlabel="value of the component", ylabel=DENSITY_LABEL)
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
        ylabel=DENSITY_LABEL,
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
        ylabel="density relative to its peak" if relative else DENSITY_LABEL,
    )
    ax.set_ylim(bottom=0.0)
    ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    sns.despine(ax=ax)
    return ax
