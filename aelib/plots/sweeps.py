"""Sweeps: a claim's figure at every point of a grid."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aelib.claims import CLAIMS, Claim
from aelib.files import replacing
from aelib.plots.style import PALETTE

_WIDTH = 0.5  # of the places of one variant's repetitions


def claim_dots(
    table: pd.DataFrame, claim: Claim, *, axes: Sequence[str], over: str = "seed", ax: Axes | None = None
) -> Axes:
    """Draw what was measured for one claim at the points of a sweep: a column for each variant, a dot for each seed.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of one claim, with finite figures, as `aelib.sweeps.sweep_table` returns them.
    claim : Claim
        The claim.
    axes : sequence of str
        Columns of the table that vary.
    over : str
        The axis of repetitions: dots beside each other.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes: figures with two standard errors to either side, and a band where they count as reproduced. A scale
        that spans more than two powers of ten is logarithmic.

    Raises
    ------
    ValueError
        If there is no row.

    Examples
    --------
    >>> rows = pd.DataFrame({"seed": [1, 2], "measured": [0.1, 0.3], "standard error": [0.0, 0.1]})
    >>> claim_dots(rows, CLAIMS[0], axes=["seed"]).get_ylabel()
    'numbers per image'
    """
    if not len(table):
        raise ValueError("claim_dots needs one row or more.")
    if ax is None:
        _, ax = plt.subplots(figsize=(5.2, 3.2))
    others = [name for name in axes if name != over]
    variants = ["\n".join(str(row[name]) for name in others) for _, row in table.iterrows()]
    names = list(dict.fromkeys(variants))
    places = np.array([names.index(variant) for variant in variants], dtype=float)
    if over in axes:
        repetitions = sorted(table[over].unique())
        steps = np.linspace(-0.5, 0.5, len(repetitions)) * _WIDTH
        places += [steps[repetitions.index(value)] for value in table[over]]
    measured, error = (table[name].to_numpy(dtype=float) for name in ("measured", "standard error"))
    ax.errorbar(places, measured, yerr=2 * error, fmt="o", color=PALETTE[0], markersize=4, capsize=2)
    ends = [end for end in (claim.low, claim.high) if math.isfinite(end)]
    if min([*ends, measured.min()]) > 0 and measured.max() > 100 * measured.min():
        ax.set_yscale("log")
    for end in ends:
        ax.axhline(end, color=PALETTE[2], linewidth=1, linestyle="--", zorder=1)
    # Only now: the limits hold the ends of the criterion.
    low, high = ax.get_ylim()
    bottom, top = max(claim.low, low), min(claim.high, high)
    ax.axhspan(bottom, top, color=PALETTE[2], alpha=0.15, linewidth=0, zorder=0)
    ax.set_ylim(low, high)
    ax.set_xticks(range(len(names)), names)
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.set_xlabel(", ".join(others))
    ax.set_ylabel(textwrap.fill(claim.measure, 38), fontsize="small")
    sns.despine(ax=ax)
    return ax


def draw_claims(table: pd.DataFrame, folder: Path, *, axes: Sequence[str]) -> tuple[Path, ...]:
    """Draw a figure for each claim of a sweep that has figures to show.

    Parameters
    ----------
    table : pandas.DataFrame
        As `aelib.sweeps.sweep_table` returns it.
    folder : pathlib.Path
        Where the PNG files go, one per claim, `KEY.png`.
    axes : sequence of str
        Columns of the table that vary.

    Returns
    -------
    tuple of pathlib.Path
        The files, in the order of the registry.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for claim in CLAIMS:
        rows = table[(table["claim"] == claim.key) & np.isfinite(table["measured"].to_numpy(dtype=float))]
        if len(rows):
            figure = Figure(figsize=(5.2, 3.2), layout="constrained")
            claim_dots(rows, claim, axes=axes, ax=figure.subplots())
            with replacing(folder / f"{claim.key}.png") as whole:
                figure.savefig(whole, format="png", dpi=110)
            drawn.append(folder / f"{claim.key}.png")
    return tuple(drawn)
