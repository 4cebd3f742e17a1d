"""Faults on purpose: jobs are killed, starved and doubled, and must come to the same end as undisturbed ones.

After every fault what was finished must be as it was, whatever has a final name must be whole, the same command must go
on, and at the end all must be equal, byte for byte, to what an undisturbed job made: pixels, z-points, weights, losses,
figures, claims, and the outputs of notebooks. Times are not compared. Where a job cannot go on, its error must say why.
What a job that did not survive left is kept in runs/faults/failed.
"""

import argparse
import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aelib import files
from robustness import careless, disturbances
from robustness.disk import Disk, can_mount, start_again_to_mount
from robustness.jobs import PLACE, Job, jobs, jobs_on_photographs, jobs_with_workers, make_photographs
from robustness.trials import Disturb, Reference, Tally, disturbed, measured


@dataclass(frozen=True)
class Fault:
    """A fault, and the jobs that it is tried on.

    Parameters
    ----------
    name : str
        What the table calls it.
    disturb : callable
        What is done to a job.
    share : int
        It is tried once for so many kills, at least once.
    on : callable
        Lists the jobs.
    needs_disk : bool
        Whether the job gets a disk of its own.
    terminal : bool
        Whether it gets a terminal.
    """

    name: str
    disturb: Disturb
    share: int = 15
    on: Callable[[], tuple[Job, ...]] = jobs
    needs_disk: bool = False
    terminal: bool = False

    def attempt(self, reference: Reference, tally: Tally, *, times: int, seed: int, seconds: float) -> None:
        """Try it on a job, until the tally counts so many times or the seconds are over."""
        own = Disk.below(reference.job) if self.needs_disk else contextlib.nullcontext()
        with own as disk:
            disturbed(
                reference,
                self.disturb,
                times=times,
                seed=seed,
                tally=tally,
                seconds=seconds,
                terminal=self.terminal,
                disk=disk,
            )


FAULTS = (
    Fault("kill -9", disturbances.kill, share=1),
    Fault("Ctrl-C", disturbances.interrupt, terminal=True),
    Fault("SIGTERM", disturbances.terminate),
    Fault("full disk", disturbances.fill_disk, needs_disk=True),
    Fault("read-only folder", disturbances.write_protect, needs_disk=True),
    Fault("vanished source", disturbances.take_source_away, on=jobs_on_photographs),
    Fault("no more memory", disturbances.take_memory_away),
    Fault("worker killed", disturbances.kill_worker, on=jobs_with_workers),
    Fault("two at once", disturbances.start_twice),
)


def main() -> int:
    """Try all faults, or those that are named; print the table; 1 if anything did not survive or is still to do."""
    options = _options()
    start_again_to_mount()
    if options.self_test:
        return careless.self_test(FAULTS)
    print("| fault | job | tried | survived | note |\n|---|---|---:|---:|---|", flush=True)
    make_photographs()
    references: dict[str, Reference] = {}
    rows = [(fault, job) for fault in FAULTS for job in fault.on()]
    chosen = [row for row in rows if any(word in _name(*row) for word in options.only)]
    done = [_row(fault, job, options, references) for fault, job in chosen]
    return int(not all(done))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m robustness.faults", description=__doc__)
    parser.add_argument(
        "--times", type=int, default=30, help="kills of each job (default: 30); the rest follows"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument(
        "--minutes",
        type=float,
        default=30,
        help="for each row of the table, at most (default: 30); the next start goes on with it",
    )
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="NAME", help="faults or jobs, or parts of their names"
    )
    parser.add_argument("--again", action="store_true", help="try again what was tried before with this seed")
    parser.add_argument(
        "--self-test", action="store_true", help="careless jobs instead, each of which must be found out"
    )
    return parser.parse_args()


def _name(fault: Fault, job: Job) -> str:
    return f"{fault.name}, {job.name}"


def _row(fault: Fault, job: Job, options: argparse.Namespace, references: dict[str, Reference]) -> bool:
    """Try a fault on a job, or go on with what was cut short; say whether all is done and survived."""
    if fault.needs_disk and not can_mount():
        print(f"| {fault.name} | {job.name} | 0 | 0 | skipped: it needs root, or `unshare` for others |")
        return True
    times = -(-options.times // fault.share)
    path = PLACE / f"{_name(fault, job).replace(' ', '-').replace(',', '')}.json"
    tally = Tally() if options.again else _kept(path, options.seed)
    if tally.tried < times:
        reference = references.get(job.name) or references.setdefault(job.name, measured(job))
        fault.attempt(reference, tally, times=times, seed=options.seed, seconds=60 * options.minutes)
        files.write_json(path, {"seed": options.seed, "seconds": reference.seconds, "tally": tally.asdict()})
        job.clear()
    cut = [f"cut short at {tally.tried} of {times}"] if tally.tried < times else []
    note = "; ".join([*cut, *filter(None, [tally.note])])
    print(f"| {fault.name} | {job.name} | {tally.tried} | {tally.survived} | {note} |", flush=True)
    return not cut and not tally.failures


def _kept(path: Path, seed: int) -> Tally:
    """Return what an earlier start has counted with this seed."""
    found: dict[str, Any] = files.read_json(path) if path.exists() else {}
    return Tally.of(found["tally"]) if found.get("seed") == seed and "tally" in found else Tally()


if __name__ == "__main__":
    sys.exit(main())
