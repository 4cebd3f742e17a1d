"""One run, one table. JSON, table and figures go to runs/bench; `--publish` puts them into README and site."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

from aelib.record import RUNS
from benchmarks import drawing, explorer, maps, rendering, report, scores, statistics, training
from benchmarks.measure import Row

GROUPS: dict[str, Callable[[], Iterator[Row]]] = {
    "rendering": rendering.rows,
    "statistics": statistics.rows,
    "samplers": drawing.rows,
    "scores": scores.rows,
    "maps": maps.rows,
    "explorer": explorer.rows,
}


def main() -> int:
    """Measure, print, write; the exit status says whether all goals were met."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=("training", *GROUPS), metavar="GROUP", help="some of the groups"
    )
    parser.add_argument("--publish", action="store_true", help="put the results into README and the site")
    asked = parser.parse_args()
    if asked.only and asked.publish:
        parser.error("--publish needs all groups: leave --only out.")
    found = report.Report()
    groups = {"training": partial(training.rows, found.training), **GROUPS}
    folder = RUNS / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    for name in asked.only or groups:
        _measure(name, groups[name], found)
        report.write(found, folder)
    if asked.publish:
        report.publish(folder)
    missed = [row for row in found.rows if not row.met]
    print(
        f"\n{len(missed)} goals NOT MET; {sum(found.minutes.values()):.1f} minutes; {folder / report.TABLE}"
    )
    return 1 if missed else 0


def _measure(name: str, rows: Callable[[], Iterator[Row]], found: report.Report) -> None:
    found.load.append(os.getloadavg()[0])
    start = time.perf_counter()
    for row in rows():
        found.rows.append(row)
        print(row, flush=True)
    found.minutes[name] = (time.perf_counter() - start) / 60
    found.load.append(os.getloadavg()[0])


if __name__ == "__main__":
    sys.exit(main())
