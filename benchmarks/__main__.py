"""Run all benchmarks: a table on the screen, figures under runs/bench."""

import sys
from itertools import chain

from aelib.record import RUNS
from benchmarks import explorer, generation, rendering, scaling, statistics


def main() -> int:
    """Measure, print, draw; the exit status says whether all goals were met."""
    folder = RUNS / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for row in chain(rendering.rows(), statistics.rows(), generation.rows(), explorer.rows()):
        rows.append(row)
        print(row, flush=True)
    scaling.draw(scaling.measure(folder), folder / "cost_against_n.png")
    print(f"cost against the number of points: {(folder / 'cost_against_n.png').relative_to(RUNS.parent)}")
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
