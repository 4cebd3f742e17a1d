"""One job, disturbed again and again at moments drawn at random, and compared with an undisturbed one."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from robustness import processes
from robustness.jobs import Found, Job, leftovers
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
    """

    job: Job
    found: Found
    first_file: float
    seconds: float

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

    @property
    def survived(self) -> int:
        """Tries after which all was well."""
        return self.tried - len(self.failures)

    @property
    def note(self) -> str:
        """What else there is to say."""
        counted = [f"{number} {what}" for what, number in self.counts.items()]
        timed = [f"{what} after at most {seconds:.1f} s" for what, seconds in self.slowest.items()]
        return "; ".join([*counted, *timed])

    def timed(self, what: str, seconds: float) -> None:
        """Note how long something took, if it took longest."""
        self.slowest[what] = max(seconds, self.slowest.get(what, 0.0))


def measured(job: Job) -> Reference:
    """Run a job undisturbed, and note when it writes its first file."""
    trial = Trial(Reference(job, {}, 0.0, 0.0), Tally())
    started = trial.start()
    first = None
    while started.wait_until(time.monotonic() - started.begun + 0.05):
        if first is None and trial.has_written():
            first = time.monotonic() - started.begun
    seconds = time.monotonic() - started.begun
    if started.process.returncode:
        raise RuntimeError(f"{job.name} fails undisturbed: {started.output()[-2000:]}")
    return Reference(job, job.found(job.folder), first or seconds, seconds)


class Trial:
    """A job under disturbance: begun, gone on with, and held against its reference."""

    def __init__(self, reference: Reference, tally: Tally) -> None:
        self.reference, self.job, self.tally = reference, reference.job, tally
        self.before: Found = {}
        self.orphans: list[Started] = []
        self.job.clear()

    def start(self, *, terminal: bool = False, limit: int = 0) -> Started:
        """Begin the job, or go on with it once it has begun."""
        begun = (self.job.folder / "run.json").exists()
        return processes.start(
            self.job.again if begun else self.job.words,
            log=self.job.log,
            variables={"AELIB_CACHE": str(self.job.cache)},
            terminal=terminal,
            limit=limit,
        )

    def has_written(self) -> bool:
        """Say whether there is a file in the folders that the job writes to."""
        with contextlib.suppress(OSError):  # what is looked at may be gone the next moment
            return any(
                path.is_file() for place in (self.job.folder, self.job.cache) for path in place.rglob("*")
            )
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

    def completed(self) -> str:
        """Start the job again and let it come to its end; say what is wrong with the result, or nothing."""
        started = self.start()
        return self.result(started, started.finish(LIMIT))

    def result(self, started: Started, status: int) -> str:
        """Say what is wrong with a job that has ended, or nothing; if its folder was in use, start it again."""
        if status and self.orphans and _BUSY in started.output().lower():
            self.tally.counts["found the folder still in use"] += 1
            return self._without_orphans() or self.completed()
        if status:
            return f"it ended with status {status}: {started.output()[-600:]}"
        if problem := self._without_orphans() or self.problem():
            return problem
        if lacking := self.reference.found.keys() - self.before.keys():
            return f"lacking at the end: {', '.join(sorted(lacking)[:5])}"
        left = leftovers(self.job)
        return f"left behind: {', '.join(path.name for path in left[:5])}" if left else ""

    def _without_orphans(self) -> str:
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
    seconds: float = np.inf,
    terminal: bool = False,
) -> Tally:
    """Disturb a job, and go on with it, until it comes to its end before the next moment; then begin another.

    Parameters
    ----------
    reference : Reference
        The undisturbed job.
    disturb : callable
        What is done to it.
    times : int
        How often.
    seed : int
        Seed of the moments.
    seconds : float
        No further try is begun after so many seconds.
    terminal : bool
        Whether the job has a terminal.
    """
    rng, tally, begun = np.random.default_rng(seed), Tally(), time.monotonic()
    trial: Trial | None = None
    while tally.tried < times and time.monotonic() - begun < seconds:
        trial = trial or Trial(reference, tally)
        started = trial.start(terminal=terminal)
        if started.wait_until(reference.moment(rng)):
            tally.tried += 1
            problem = disturb(trial, started, rng)
            goes_on = True
        else:
            problem, goes_on = trial.result(started, started.process.returncode), False
        _noted(tally, problem)
        if problem or not goes_on:
            tally.counts["came to the end on the way"] += not goes_on
            trial = None
    if trial:
        _noted(tally, trial.completed())
    return tally


def _noted(tally: Tally, problem: str) -> None:
    if problem:
        print(f"    {problem}", flush=True)
        tally.failures.append(problem)


def kill(trial: Trial, started: Started, rng: np.random.Generator) -> str:
    """Kill the job with all its processes, or, one time in three, the parent alone."""
    if rng.random() < 2 / 3:
        processes.kill_all(started)
        return trial.problem()
    processes.kill_parent(started)
    trial.tally.counts["of the parent alone"] += 1
    if rng.random() < 1 / 2:  # else it is started again at once, whatever its orphans do
        trial.tally.timed("orphans are gone", processes.seconds_until_gone(started, LINGER))
        trial.orphans.append(started)
        return trial._without_orphans() or trial.problem()
    trial.orphans.append(started)
    return ""


def interrupt(trial: Trial, started: Started, _rng: np.random.Generator) -> str:
    """Type Ctrl-C in the job's terminal."""
    processes.interrupt(started)
    return _ended(trial, started, statuses=(130, -2), what="its processes are gone")


def terminate(trial: Trial, started: Started, _rng: np.random.Generator) -> str:
    """Send SIGTERM to the command."""
    processes.terminate(started)
    return _ended(trial, started, statuses=(143, -15), what="its processes are gone")


def _ended(trial: Trial, started: Started, *, statuses: tuple[int, ...], what: str) -> str:
    begun = time.monotonic()
    status = started.finish(time.monotonic() - started.begun + LINGER)
    if status == 0:
        trial.tally.counts["had just ended"] += 1
        return trial.problem()
    if status not in statuses:
        return f"it ended with status {status}: {started.output()[-600:]}"
    if "aelib" in started.process.args and "Traceback" in started.output():
        return f"it did not end quietly: {started.output()[-600:]}"
    lingering = processes.seconds_until_gone(started, LINGER)
    if lingering == np.inf:
        processes.kill_all(started)
        return f"some of its processes are still running after {LINGER:.0f} s"
    trial.tally.timed(what, time.monotonic() - begun)
    return trial.problem()
