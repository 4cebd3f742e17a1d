"""Jobs with bad habits: `make faults ARGS=--self-test` shows that each is found out, and that a careful one is not."""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from robustness import toy, trials
from robustness.disk import can_mount
from robustness.finished import Found, digest
from robustness.jobs import WORK, Job
from robustness.processes import python
from robustness.trials import Tally, measured

CAREFUL = "careful"
EXPECTED = (
    ("writes under the final name", "kill -9"),
    ("forgets what was finished", "kill -9"),
    ("cannot go on", "kill -9"),
    ("hangs the second time", "kill -9"),
    ("leaves temporary files", "kill -9"),
    ("stays when it is interrupted", "Ctrl-C"),
    ("leaves a child behind", "SIGTERM"),
    ("says nothing", "full disk"),
    ("takes half for whole", "full disk"),
    ("says nothing", "read-only folder"),
    ("takes a missing file for empty", "vanished source"),
    ("waits for memory for good", "no more memory"),
    ("waits for its worker for good", "worker killed"),
    ("lets two in", "two at once"),
)
"""Habits, each with the fault that must bring it to light."""

_HELPERS = {"no more memory": "careful with memory", "worker killed": "careful with a worker"}
_TIMES = 2
_MOST_TIMES = 10
_LIMIT, _LINGER = 10.0, 3.0


class Fault(Protocol):
    """What is needed of a fault."""

    name: str
    needs_disk: bool
    attempt: Callable[..., None]


def self_test(faults: Sequence[Fault]) -> int:
    """Try the faults on careful and careless jobs; print what came of it; 1 if one was judged wrongly."""
    trials.LIMIT, trials.LINGER = _LIMIT, _LINGER
    careful = [(_HELPERS.get(fault.name, CAREFUL), fault.name) for fault in faults]
    by_name = {fault.name: fault for fault in faults if can_mount() or not fault.needs_disk}
    print("| habit | fault | found out | as expected |\n|---|---|---|---|", flush=True)
    wrong = 0
    for habit, name in (*careful, *EXPECTED):
        if name not in by_name:
            print(f"| {habit} | {name} | skipped: it needs root, or `unshare` for others | |", flush=True)
            continue
        is_good = (habit, name) not in EXPECTED
        found_out = _is_found_out(_job(habit), by_name[name], times=_TIMES if is_good else _MOST_TIMES)
        wrong += found_out == is_good
        answers = " | ".join("yes" if one else "no" for one in (found_out, found_out != is_good))
        print(f"| {habit} | {name} | {answers} |", flush=True)
    return int(wrong > 0)


class _FoundOutError(Exception):
    pass


class _Impatient(Tally):
    """Ends it all with the first problem."""

    def failed(self, problem: str) -> None:
        """Raise if there is a problem."""
        super().failed(problem)
        if problem:
            raise _FoundOutError


def _is_found_out(job: Job, fault: Fault, *, times: int) -> bool:
    try:
        fault.attempt(measured(job), _Impatient(), times=times, seed=0, seconds=60.0)
    except _FoundOutError:
        return True
    finally:
        shutil.rmtree(job.log.parent, ignore_errors=True)
    return False


def _job(habit: str) -> Job:
    home = WORK / f"toy {os.getpid()}"  # several self-tests may run at a time
    source = home / "source"
    source.mkdir(parents=True, exist_ok=True)
    for k in range(toy.STEPS):
        (source / f"{k}.txt").write_text(f"{k}")
    words = python(toy.__file__, habit, str(home / "folder"), str(source))
    return Job(home.name, home / "folder", words, words, _found, source, loads="")


def _found(folder: Path) -> Found:
    book = folder / "book.txt"
    lines = book.read_text().splitlines() if book.exists() else []
    found = {f"line {number}": line for number, line in enumerate(lines)}
    return found | {path.name: digest(path.read_bytes()) for path in folder.glob("[0-9]*.txt")}
