"""Seconds and megabytes of a call."""

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, the figure, and the goal it is held against."""

    what: str
    beside: str
    measured: float
    unit: str
    goal: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether the goal is met."""
        return self.measured <= self.goal if self.at_most else self.measured >= self.goal

    def __str__(self) -> str:
        sign = "≤" if self.at_most else "≥"
        verdict = "met" if self.met else "NOT MET"
        figure = f"{self.measured:10,.3g} {self.unit:4} {sign} {self.goal:<6,.4g}"
        return f"{self.what:40} {self.beside:44} {figure} {verdict}"


def seconds(call: Callable[[], Any], *, times: int = 1) -> float:
    """Return the least duration of some calls: what disturbs a machine only ever adds."""
    durations = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        durations.append(time.perf_counter() - start)
    return min(durations)


def megabytes(call: Callable[[], Any]) -> float:
    """Return the most memory that Python and NumPy held during a call, beyond what they held before."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()
