"""One job, disturbed again and again at moments drawn at random, and compared with an undisturbed one."""

import contextlib
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robustness import processes
from robustness.disk import Disk, bytes_below
from robustness.finished import Found
from robustness.jobs import PLACE, Job, leftovers
from robustness.processes import Started

LIMIT = 900.0
"""Seconds that a job may take; generous, because other work slows a machine down."""
LINGER = 60.0
"""Seconds after which nothing of a job that has ended may be running any more."""
_START_UP = 0.2  # share of the moments that fall before the first file is written
_BUSY = "another process"


@dataclass(frozen=True)
class Reference:
    """What an undisturbed job did.

    Parameters
    ----------
    job : Job
        The job.
    found : dict of str to str
        What was finished at its end.
    first_file : float
        Seconds until it wrote its first file.
    seconds : float
        Seconds until its end.
    size : int
        Bytes of all that it wrote.
    """

    job: Job
    found: Found
    first_file: float
    seconds: float
    size: int

    def moment(self, rng: np.random.Generator) -> float:
        """Draw a moment of the job, one in five before it writes anything."""
        if rng.random() < _START_UP:
            return float(rng.uniform(0.0, self.first_file))
        return float(rng.uniform(self.first_file, self.seconds))


@dataclass
class Tally:
    """How often a fault was tried, and what came of it."""

    tried: int = 0
    failures: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    slowest: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, content: dict[str, Any]) -> "Tally":
        """Make one of what `asdict` gave."""
        return cls(**{**content, "counts": Counter(content["counts"])})

    def asdict(self) -> dict[str, Any]:
        """Return all of it in a form for JSON."""
        return {**vars(self), "counts": dict(self.counts)}

    @property
    def survived(self) -> int:
        """Tries after which all was well."""
        return max(0, self.tried - len(self.failures))

    @property
    def note(self) -> str:
        """What else there is to say."""
        counted = [f"{number} {what}" for what, number in self.counts.items() if number]
        timed = [f"{what} after at most {seconds:.1f} s" for what, seconds in self.slowest.items()]
        return "; ".join([*counted, *timed])

    def timed(self, what: str, seconds: float) -> None:
        """Note how long something took, if it took longest."""
        self.slowest[what] = max(seconds, self.slowest.get(what, 0.0))

    def failed(self, problem: str) -> None:
        """Note a problem, if there is one."""
        if problem:
            print(f"    {problem}", flush=True)
            self.failures.append(problem)


def measured(job: Job) -> Reference:
    """Run a job undisturbed, and note when it writes its first file."""
    trial = Trial(Reference(job, {}, 0.0, 0.0, 0), Tally())
    started = trial.start()
    first = None
    while started.wait_until(time.monotonic() - started.begun + 0.05):
        if first is None and trial.has_written():
            first = time.monotonic() - started.begun
    seconds = time.monotonic() - started.begun
    if started.process.returncode:
        raise RuntimeError(f"{job.name} fails undisturbed: {started.output()[-2000:]}")
    return Reference(job, job.found(job.folder), first or seconds, seconds, bytes_below(job.places))


class Trial:
    """A job under disturbance: begun, gone on with, and held against its reference.

    Parameters
    ----------
    reference : Reference
        The undisturbed job.
    tally : Tally
        Where it is noted what came of it.
    disk : Disk or None
        The disk that the job writes to, if it has one of its own.
    """

    def __init__(self, reference: Reference, tally: Tally, disk: Disk | None = None) -> None:
        self.reference, self.job, self.tally, self._disk = reference, reference.job, tally, disk
        self.before: Found = {}
        self.orphans: list[Started] = []
        self.is_over = False
        self.job.clear()

    @property
    def disk(self) -> Disk:
        """The job's own disk."""
        if self._disk is None:
            raise ValueError("this job has no disk of its own.")
        return self._disk

    def start(self, *, terminal: bool = False, second: bool = False) -> Started:
        """Begin the job, or go on with it once it has begun; a second one at a time has a log of its own."""
        begun = (self.job.folder / "run.json").exists()
        return processes.start(
            self.job.again if begun else self.job.words,
            log=self.job.log.with_name("second.txt") if second else self.job.log,
            variables={"AELIB_CACHE": str(self.job.cache)},
            terminal=terminal,
        )

    def has_written(self) -> bool:
        """Say whether there is a file in the folders that the job writes to."""
        with contextlib.suppress(OSError):  # what is looked at may be gone the next moment
            return any(path.is_file() for place in self.job.places for path in place.rglob("*"))
        return True

    def problem(self) -> str:
        """Say what is wrong with what is finished now, or nothing; it is what must stay from now on."""
        try:
            found = self.job.found(self.job.folder)
        except (ValueError, OSError, KeyError, IndexError) as error:
            return f"what is there cannot be read: {error!s:.300}"
        wanted = {name.lstrip("~"): digest for name, digest in self.reference.found.items()}
        wrong = [name for name, digest in found.items() if wanted.get(name.lstrip("~")) != digest]
        gone = [name for name in self.before if not name.startswith("~") and name not in found]
        self.before = found
        if wrong:
            return f"not what an undisturbed job makes: {', '.join(wrong[:5])}"
        return f"finished before, and gone: {', '.join(gone[:5])}" if gone else ""

    def keep(self) -> None:
        """Copy what is there, with the output, to where it can be looked at."""
        kept = PLACE / "failed" / self.job.name
        for place in filter(Path.exists, (self.job.folder, self.job.log.parent)):
            shutil.copytree(place, kept / place.name, dirs_exist_ok=True)

    def completed(self) -> str:
        """Start the job again and let it come to its end; say what is wrong with the result, or nothing."""
        started = self.start()
        return self.result(started, started.finish(LIMIT))

    def result(self, started: Started, status: int) -> str:
        """Say what is wrong with a job that has ended, or nothing; if its folder was in use, start it again."""
        if status and self.orphans and _BUSY in started.output().lower():
            self.tally.counts["found the folder still in use"] += 1
            return self.without_orphans() or self.completed()
        self.is_over = True
        if status:
            return f"it ended with status {status}: {started.output()[-600:]}"
        if problem := self.without_orphans() or self.problem():
            return problem
        if lacking := self.reference.found.keys() - self.before.keys():
            return f"lacking at the end: {', '.join(sorted(lacking)[:5])}"
        left = leftovers(self.job)
        return f"left behind: {', '.join(path.name for path in left[:5])}" if left else ""

    def without_orphans(self) -> str:
        """Wait until what killed parents left behind is gone."""
        lingering = [processes.seconds_until_gone(orphans, LINGER) for orphans in self.orphans]
        if max(lingering, default=0.0) == np.inf:
            for orphans in self.orphans:
                processes.kill_all(orphans)
            return f"orphans are still running after {LINGER:.0f} s"
        self.orphans.clear()
        return ""


Disturb = Callable[[Trial, Started, np.random.Generator], str]
"""Disturbs a running job and waits until it has ended; says what is wrong with that, or nothing."""


def disturbed(
    reference: Reference,
    disturb: Disturb,
    *,
    times: int,
    seed: int,
    tally: Tally,
    seconds: float = np.inf,
    terminal: bool = False,
    disk: Disk | None = None,
) -> None:
    """Disturb a job, and go on with it, until it comes to its end before the next moment; then begin another.

    Parameters
    ----------
    reference : Reference
        The undisturbed job.
    disturb : callable
        What is done to it.
    times : int
        How often, what the tally has already included.
    seed : int
        Seed of the moments.
    tally : Tally
        Where it is noted what comes of it.
    seconds : float
        No further try is begun after so many seconds.
    terminal : bool
        Whether the job has a terminal.
    disk : Disk or None
        The job's own disk, if it has one.
    """
    rng, begun = np.random.default_rng((seed, tally.tried)), time.monotonic()
    trial: Trial | None = None
    while tally.tried < times and time.monotonic() - begun < seconds:
        trial = trial or Trial(reference, tally, disk)
        started = trial.start(terminal=terminal)
        if started.wait_until(reference.moment(rng)):
            tally.tried += 1
            problem = disturb(trial, started, rng)
        else:
            problem = trial.result(started, started.process.returncode)
            tally.counts["came to the end on the way"] += 1
        tally.failed(problem)
        if problem:
            trial.keep()
        if problem or trial.is_over:
            trial = None
    if trial:
        tally.failed(trial.completed())
