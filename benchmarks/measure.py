"""Seconds and megabytes of calls, and the lines of the table."""

import importlib.util
import math
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

NAN = math.nan


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Parameters
    ----------
    group : str
        What the line belongs to.
    what : str
        What was measured.
    beside : str
        The peer, or the quantity.
    values : tuple of float
        One figure for each round; empty where the peer is missing. With the unit "×" they are ratios: how many times as
        fast as the peer.
    unit : str
        Unit of the figures.
    goal : float
        What their median is held against; not-a-number where there is no goal.
    at_most : bool
        Whether the goal is an upper bound.
    apart : float
        By how much the results of both differ, relative to the peer's largest figure; not-a-number where they are not
        comparable.
    within : float
        How much they may differ.
    missing : str
        The package that is not installed; empty if there is none.
    """

    group: str
    what: str
    beside: str
    values: tuple[float, ...]
    unit: str
    goal: float = NAN
    at_most: bool = False
    apart: float = NAN
    within: float = NAN
    missing: str = ""

    @property
    def median(self) -> float:
        """The figure: the median of the rounds."""
        return float(np.median(self.values)) if self.values else NAN

    @property
    def spread(self) -> tuple[float, float]:
        """The quartiles of the rounds."""
        if not self.values:
            return NAN, NAN
        low, high = np.quantile(self.values, (0.25, 0.75))
        return float(low), float(high)

    @property
    def met(self) -> bool:
        """Whether nothing is amiss: the goal is met and the results agree, or there is nothing to be held against."""
        if self.missing:
            return True
        reached = self.median <= self.goal if self.at_most else self.median >= self.goal
        agrees = self.apart <= self.within
        return (reached or math.isnan(self.goal)) and (agrees or math.isnan(self.within))

    @property
    def verdict(self) -> str:
        """What the last column says."""
        if self.missing:
            return f"{self.missing}: not installed"
        if math.isnan(self.goal) and math.isnan(self.within):
            return ""
        return "met" if self.met else "NOT MET"

    def __str__(self) -> str:
        figure = "" if self.missing else f"{said(self.median)} {self.unit} ({self.said_spread})"
        return (
            f"{self.group:12} {self.what:42} {self.beside:46} {figure:30} {self.said_goal:8} {self.verdict}"
        )

    @property
    def said_spread(self) -> str:
        """The quartiles as text; empty for a single round."""
        return "–".join(map(said, self.spread)) if len(self.values) > 1 else ""

    @property
    def said_goal(self) -> str:
        """The goal as text; empty where there is none."""
        return "" if math.isnan(self.goal) else f"{'≤' if self.at_most else '≥'} {said(self.goal)}"


def said(figure: float) -> str:
    """Write a figure with three digits."""
    if figure == 0 or not math.isfinite(figure):
        return f"{figure:.0f}"
    decimals = max(0, 2 - math.floor(math.log10(abs(figure))))
    text = f"{round(figure, 2 - math.floor(math.log10(abs(figure)))):,.{decimals}f}".replace(",", " ")
    return text.rstrip("0").rstrip(".") if "." in text else text


def seconds(call: Callable[[], Any]) -> float:
    """Return the duration of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def alternately(
    calls: Sequence[Callable[[], float]], *, rounds: int, on_round: Callable[[int], None] = lambda _: None
) -> np.ndarray:
    """Take figures by turns, so that what disturbs the machine disturbs all alike: one row for each round.

    Every other round goes backwards: nobody always comes after the same one.
    """
    figures = np.empty((rounds, len(calls)))
    for k in range(rounds):
        order = range(len(calls)) if k % 2 == 0 else reversed(range(len(calls)))
        for j in order:
            figures[k, j] = calls[j]()
        on_round(k)
    return figures


def timed(call: Callable[[], Any], *, at_least: float = 0.0) -> Callable[[], float]:
    """Make a function that returns the seconds of a call: the mean of as many as fill `at_least` seconds."""

    def measure() -> float:
        durations = [seconds(call)]
        while sum(durations) < at_least:
            durations.append(seconds(call))
        return sum(durations) / len(durations)

    return measure


def times_as_fast(
    ours: Callable[[], Any], theirs: Callable[[], Any], *, rounds: int, at_least: float = 0.1
) -> tuple[float, ...]:
    """Return, for each round, the duration of their call over that of ours."""
    figures = alternately([timed(ours, at_least=at_least), timed(theirs, at_least=at_least)], rounds=rounds)
    return tuple((figures[:, 1] / figures[:, 0]).tolist())


def furthest(ours: Any, theirs: Any) -> float:
    """Return the largest difference of two results, relative to the largest figure in theirs."""
    a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    return float(np.abs(a - b).max() / np.abs(b).max())


def is_missing(package: str) -> bool:
    """Say whether a peer is not installed."""
    return importlib.util.find_spec(package) is None


def megabytes(call: Callable[[], Any]) -> float:
    """Return the most memory that Python and NumPy held during a call, beyond what they held before."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()
