"""Faults on purpose: jobs are killed or interrupted, and must come to the same end as undisturbed ones.

After every fault what was finished must be as it was, whatever has a final name must be whole, the same command must go
on, and at the end all must be equal, byte for byte, to what an undisturbed job made: pixels, z-points, weights, losses,
figures, claims, and the outputs of notebooks. Times are not compared.
"""

import argparse
import sys
from collections.abc import Callable
from typing import Any

from aelib import files
from robustness.jobs import PLACE, WORK, Job, jobs, make_photographs
from robustness.trials import Reference, Tally, disturbed, interrupt, kill, measured, terminate

Fault = Callable[[Reference, int], Tally]
"""Tries a fault on a job, with a seed."""


def faults(times: int, seconds: float) -> list[tuple[str, Job, Fault]]:
    """List the faults and the jobs that they are tried on."""
    few = -(-times // 6)
    tried = {
        "kill -9": _disturbance(kill, times, seconds=seconds),
        "Ctrl-C": _disturbance(interrupt, few, seconds=seconds, terminal=True),
        "SIGTERM": _disturbance(terminate, few, seconds=seconds),
    }
    return [(fault, job, attempt) for fault, attempt in tried.items() for job in jobs()]


def _disturbance(disturb: Any, times: int, **options: Any) -> Fault:
    return lambda reference, seed: disturbed(reference, disturb, times=times, seed=seed, **options)


def main() -> int:
    """Try all faults, or those that are named; print the table; 1 if anything did not survive."""
    parser = argparse.ArgumentParser(prog="python -m robustness.faults", description=__doc__)
    parser.add_argument(
        "--times", type=int, default=30, help="kills of each job (default: 30); the rest follows"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument(
        "--minutes", type=float, default=30, help="for each row of the table, at most (default: 30)"
    )
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="NAME", help="faults or jobs, or parts of their names"
    )
    parser.add_argument("--again", action="store_true", help="try again what was tried before with this seed")
    options = parser.parse_args()
    print("| fault | job | tried | survived | note |\n|---|---|---:|---:|---|", flush=True)
    make_photographs(WORK / "photographs")
    references: dict[str, Reference] = {}
    failed = False
    for fault, job, attempt in faults(options.times, 60 * options.minutes):
        name = f"{fault}, {job.name}"
        if not any(word in name for word in options.only):
            continue
        path = PLACE / f"{name.replace(' ', '-').replace(',', '')}.json"
        asked = {"fault": fault, "job": job.name, "times": options.times, "seed": options.seed}
        found = files.read_json(path) if path.exists() and not options.again else {}
        if not asked.items() <= found.items():
            if job.name not in references:
                references[job.name] = measured(job)
            found = asked | _described(references[job.name], attempt(references[job.name], options.seed))
            files.write_json(path, found)
            job.clear()
        failed |= found["survived"] < found["tried"]
        print(
            f"| {fault} | {job.name} | {found['tried']} | {found['survived']} | {found['note']} |", flush=True
        )
    return int(failed)


def _described(reference: Reference, tally: Tally) -> dict[str, Any]:
    return {
        "tried": tally.tried,
        "survived": tally.survived,
        "note": tally.note,
        "failures": tally.failures,
        "undisturbed_seconds": round(reference.seconds, 1),
        "first_file_seconds": round(reference.first_file, 1),
    }


if __name__ == "__main__":
    sys.exit(main())
