"""What is done to a running job: killed, interrupted, left without room, memory or photographs, started twice."""

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil

from robustness import processes, trials
from robustness.finished import digest
from robustness.processes import Started
from robustness.trials import Trial

_FULL = os.strerror(errno.ENOSPC)
_READ_ONLY = os.strerror(errno.EROFS)
_GONE = os.strerror(errno.ENOENT)
_BUSY = ("another process",)
_LOADING = 0.2  # seconds from when a library is mapped until it can be called
_MOST_MEMORY = 100e6  # bytes beyond those that it holds, after which a process gets no more


def kill(trial: Trial, started: Started, rng: np.random.Generator) -> str:
    """Kill the job with all its processes, or, one time in three, the parent alone."""
    if rng.random() < 2 / 3:
        processes.kill_all(started)
        return trial.problem()
    processes.kill_parent(started)
    trial.tally.counts["of the parent alone"] += 1
    trial.orphans.append(started)
    if rng.random() < 1 / 2:  # else it is started again at once, whatever its orphans do
        trial.tally.timed("orphans are gone", processes.seconds_until_gone(started, trials.LINGER))
        return trial.without_orphans() or trial.problem()
    return ""


def interrupt(trial: Trial, started: Started, _rng: np.random.Generator) -> str:
    """Type Ctrl-C in the job's terminal."""
    is_early = not trial.has_written()
    processes.interrupt(started)
    return _ended(trial, started, statuses=(130, -2), is_early=is_early)


def _is_before_main(trial: Trial, started: Started) -> bool:
    """Whether there is nothing but a traceback from before the first line of aelib's command."""
    said = started.output().removeprefix("^C").lstrip()
    return trial.job.is_command and said.startswith("Traceback") and ", in main" not in said


def terminate(trial: Trial, started: Started, _rng: np.random.Generator) -> str:
    """Send SIGTERM to the command."""
    processes.terminate(started)
    return _ended(trial, started, statuses=(143, -15))


def _ended(trial: Trial, started: Started, *, statuses: tuple[int, ...], is_early: bool = False) -> str:
    begun = time.monotonic()
    status = started.finish(time.monotonic() - started.begun + trials.LINGER)
    if status == 0:
        trial.tally.counts["had just ended"] += 1
        return trial.problem()
    if "KeyboardInterrupt" in started.output() and (is_early or _is_before_main(trial, started)):
        trial.tally.counts["while Python was starting, which shows a traceback"] += 1
        return _nothing_lingers(started) or trial.problem()
    if status not in statuses:
        return f"it ended with status {status}: {started.output()[-600:]}"
    if _is_bare(trial, started):
        return f"it did not end quietly: {started.output()[-600:]}"
    lingering = _nothing_lingers(started)
    trial.tally.timed("its processes are gone", time.monotonic() - begun)
    return lingering or trial.problem()


def fill_disk(trial: Trial, started: Started, rng: np.random.Generator) -> str:
    """Leave less room on the job's disk than it still needs, as much as chance will have it."""
    room = rng.uniform(0, max(trial.reference.size - trial.disk.used(), 0))
    with trial.disk.full_after(int(room)):
        return _refused(trial, started, says=(_FULL, f"[Errno {errno.ENOSPC}]"), names=trial.job.places)


def write_protect(trial: Trial, started: Started, _rng: np.random.Generator) -> str:
    """Kill the job, and have it go on where nothing can be written."""
    processes.kill_all(started)
    if problem := trial.problem():
        return problem
    with trial.disk.read_only():
        before = _state(trial.job.places)
        problem = _refused(trial, trial.start(), says=(_READ_ONLY,), names=trial.job.places)
        return problem or ("it changed a read-only folder" if _state(trial.job.places) != before else "")


def _state(places: tuple[Path, ...]) -> dict[Path, tuple[int, str]]:
    paths = [path for place in places for path in place.rglob("*") if path.is_file()]
    return {path: (path.stat().st_mtime_ns, digest(path.read_bytes())) for path in paths}


def take_source_away(trial: Trial, started: Started, rng: np.random.Generator) -> str:
    """Move the photographs away until the job has ended: all of them, or, once they are listed, one."""
    source = trial.job.source
    if source is None:
        raise ValueError(f"{trial.job.name} has no photographs.")
    taken = source
    if source.is_dir() and not trial.job.is_command and trial.job.is_listed() and rng.random() < 1 / 2:
        trial.tally.counts["of one file"] += 1
        taken = rng.choice(sorted(source.iterdir()))
    with _moved_away(taken):
        return _refused(trial, started, says=("does not exist", "moved or removed", _GONE), names=(source,))


@contextlib.contextmanager
def _moved_away(path: Path) -> Iterator[None]:
    away = path.with_name(f"{path.name}.away")
    path.rename(away)
    try:
        yield
    finally:
        away.rename(path)


def take_memory_away(trial: Trial, started: Started, rng: np.random.Generator) -> str:
    """Let one of the job's processes have hardly more memory than it holds, once SciPy's OpenBLAS is there.

    While that is being loaded, it was seen to try for ever to get memory (in `blas_memory_alloc`).
    """
    if running := processes.family(started):
        chosen = running[rng.integers(len(running))]
        with contextlib.suppress(psutil.Error, OSError):  # it may have ended
            if trial.job.loads:
                _wait_until_loaded(chosen, trial.job.loads)
            limit = processes.bytes_of_data(chosen) + int(rng.uniform(0, _MOST_MEMORY))
            chosen.rlimit(psutil.RLIMIT_DATA, (limit, limit))
    return _ended_anyhow(trial, started)


def _wait_until_loaded(process: psutil.Process, library: str) -> None:
    while not processes.has_mapped(process, library):
        time.sleep(0.05)
    time.sleep(_LOADING)


def kill_worker(trial: Trial, started: Started, rng: np.random.Generator) -> str:
    """Kill one of the processes that the job has started, as the system does when memory runs out."""
    while not (workers := processes.workers(started)) and started.process.poll() is None:
        time.sleep(0.05)
    if workers:
        with contextlib.suppress(psutil.Error):
            workers[rng.integers(len(workers))].kill()
    else:
        trial.tally.counts["had no worker any more"] += 1
    return _ended_anyhow(trial, started)


def start_twice(trial: Trial, started: Started, _rng: np.random.Generator) -> str:
    """Start the job once more while it is running."""
    second = trial.start(second=True)
    ended = [(one, one.finish(trials.LIMIT)) for one in (started, second)]
    for one, status in ended:
        if status and (not _says(one, _BUSY) or _is_bare(trial, one)):
            return f"one of two ended with status {status}: {one.output()[-600:]}"
    if all(status for _, status in ended):
        return "each of two said that there is another"
    trial.tally.counts["of two refused"] += any(status for _, status in ended)
    finished = next(one for one, status in ended if not status)
    return _nothing_lingers(started) or _nothing_lingers(second) or trial.result(finished, 0)


def _refused(trial: Trial, started: Started, *, says: tuple[str, ...], names: tuple[Path, ...]) -> str:
    """Wait for an end with a clear error: one that says what is wrong, and where."""
    status = started.finish(trials.LIMIT)
    if status == 0:
        return _came_through(trial, started)
    if status < 0 or not _says(started, says) or _is_bare(trial, started):
        return f"no clear error, but status {status}: {started.output()[-900:]}"
    if not _says(started, tuple(map(str, names))):
        return f"the error does not say where: {started.output()[-600:]}"
    return _nothing_lingers(started) or trial.problem()


def _ended_anyhow(trial: Trial, started: Started) -> str:
    """Wait for an end, with an error or without: it may do without a worker; a library in C may give up."""
    status = started.finish(trials.LIMIT)
    if status == 0:
        return _came_through(trial, started)
    if status == -9:
        return f"it hung: {started.output()[-600:]}"
    if status > 0 and _is_bare(trial, started):
        return f"no clear error: {started.output()[-900:]}"
    trial.tally.counts["ended by a signal"] += status < 0
    return _nothing_lingers(started) or trial.problem()


def _came_through(trial: Trial, started: Started) -> str:
    trial.tally.counts["came through all the same"] += 1
    return _nothing_lingers(started) or trial.result(started, 0)


def _nothing_lingers(started: Started) -> str:
    if processes.seconds_until_gone(started, trials.LINGER) < np.inf:
        return ""
    processes.kill_all(started)
    return f"some of its processes are still running after {trials.LINGER:.0f} s"


def _says(started: Started, words: tuple[str, ...]) -> bool:
    said = started.output().lower()
    return any(word.lower() in said for word in words)


def _is_bare(trial: Trial, started: Started) -> bool:
    """Whether a command of aelib shows where in its code something went wrong, not what."""
    return trial.job.is_command and "Traceback" in started.output()
