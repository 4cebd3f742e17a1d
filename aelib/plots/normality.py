"""Tests of normality."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes

from aelib.normality import CoreVerdict, NormalityTest
from aelib.plots.style import PALETTE

_LINEAR = 3.0  # z-scores up to here have a linear axis, those beyond a logarithmic one
_Z_LABEL = "standard deviations from the mean of normal clouds"


def normality_dots(
    clouds: Mapping[str, Sequence[NormalityTest]],
    *,
    level: float = 0.05,
    colours: Sequence[int] = (),
    ax: Axes | None = None,
) -> Axes:
    """Draw the tests of one cloud or several, a row for each test, the first at the top.

    The axis counts standard deviations of normal clouds: linear up to 3, logarithmic beyond.

    Parameters
    ----------
    clouds : mapping of str to sequence of NormalityTest
        Name of each cloud to its tests; all have the same.
    level : float
        P-values up to this one make a full dot, larger ones a hollow dot.
    colours : sequence of int
        Place of each cloud in the colour-blind-safe palette; none takes them in order.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes: a bar for normal clouds in each row, two standard deviations to either side, then for each cloud a
        line of full dots and one of hollow ones.

    Raises
    ------
    ValueError
        If there is no cloud, the tests are not the same, or the colours are not as many as the clouds.
    """
    names = {tuple(test.name for test in tests) for tests in clouds.values()}
    if len(names) != 1:
        raise ValueError(f"normality_dots needs one cloud or more, with the same tests, not {sorted(names)}.")
    if colours and len(colours) != len(clouds):
        raise ValueError(f"colours must be {len(clouds)}, one per cloud, not {len(colours)}.")
    (rows,) = names
    if ax is None:
        _, ax = plt.subplots(figsize=(6.5, 0.4 * len(rows) + 1.0))
    ax.barh(np.arange(len(rows)), 4.0, left=-2.0, height=0.7, color="0.88", label="normal clouds, ± 2")
    shifts = 0.22 * (np.arange(len(clouds)) - 0.5 * (len(clouds) - 1))
    for (name, tests), shift, colour in zip(
        clouds.items(), shifts, colours or range(len(clouds)), strict=True
    ):
        _dots(ax, tests, np.arange(len(rows)) + shift, name, colour, level)
    ax.set_xscale("symlog", linthresh=_LINEAR)
    ax.set_yticks(range(len(rows)), labels=list(rows))
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel(_Z_LABEL)
    _legend(ax)
    sns.despine(ax=ax)
    return ax


def _dots(
    ax: Axes, tests: Sequence[NormalityTest], height: np.ndarray, name: str, colour: int, level: float
) -> None:
    z = np.array([test.z_score for test in tests])
    rejected = np.array([test.p_value <= level for test in tests])
    for some, sign, face in ((rejected, "≤", PALETTE[colour]), (~rejected, ">", "white")):
        # A label that begins with "_" is not in the legend: there is nothing it could stand for.
        label = f"{'' if some.any() else '_'}{name}, p {sign} {level:g}"
        ax.plot(z[some], height[some], "o", color=PALETTE[colour], markerfacecolor=face, label=label)


def _legend(ax: Axes) -> None:
    ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))


def core_curves(verdicts: Sequence[CoreVerdict], *, ax: Axes | None = None) -> Axes:
    """Draw how the tests change as the outer points of a cloud are cut.

    Parameters
    ----------
    verdicts : sequence of CoreVerdict
        Result of `aelib.normality.core_and_shell`.
    ax : matplotlib.axes.Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes: a line for each test, against the share of points that is cut, and a band of two standard deviations
        of normal clouds. Both axes end up logarithmic; the vertical one is linear up to 3.

    Raises
    ------
    ValueError
        If there is no verdict.
    """
    if not verdicts:
        raise ValueError("core_curves needs at least one verdict.")
    if ax is None:
        _, ax = plt.subplots(figsize=(6.5, 4))
    cut = [100.0 * (1.0 - verdict.share) for verdict in verdicts]
    ax.axhspan(-2.0, 2.0, color="0.88", linewidth=0, zorder=0, label="normal clouds, ± 2")
    for number, tests in enumerate(zip(*(verdict.tests for verdict in verdicts), strict=True)):
        colour = PALETTE[number % len(PALETTE)]
        ax.plot(cut, [test.z_score for test in tests], "o-", color=colour, markersize=4, label=tests[0].name)
    ax.set_xscale("symlog", linthresh=1.0)
    ax.set_yscale("symlog", linthresh=_LINEAR)
    ax.set_xticks(cut, labels=[f"{value:g}" for value in cut])
    ax.minorticks_off()
    ax.set(xlabel="outer points cut, %", ylabel="standard deviations from normal")
    _legend(ax)
    sns.despine(ax=ax)
    return ax
