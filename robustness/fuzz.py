"""Fuzzing: thousands of spoiled files for every loader, each in a process of its own, and a table of what came of it.

A loader may accept a file, skip it and report that, or raise a ValueError or OSError that says something. All else is a
failure: another exception, a warning, a hang, more memory than its bound, a crash of the process, a change outside its
folder, and anything that starts a program, runs or unpickles what a file says, connects or loads a library.
"""

import argparse
import functools
import json
import logging
import multiprocessing
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis

from robustness import misbehaving
from robustness.loader import Loader
from robustness.watch import Watch, fasten

SECONDS = 60
"""CPU time that a file may take."""
_SETTINGS = hypothesis.settings(
    deadline=None,
    database=None,
    phases=[hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)
_HEADER = (
    "| loader | tried | clear errors | reported skips | accepted | failures | MB allowed | MB at most | minutes |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
)


@dataclass
class Tally:
    """What came of the files that were tried on a loader.

    Parameters
    ----------
    name : str
        The loader.
    counts : dict
        Outcome ("error", "skipped", "accepted" or "FAILURE") to number of files.
    failures : dict
        What went wrong to the name of a file with which it did.
    allowed, most : float
        Memory that a file may take, and the most that one took, in MB.
    seconds : float
        Duration.
    """

    name: str
    counts: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)
    allowed: float = 0.0
    most: float = 0.0
    seconds: float = 0.0

    def note(self, outcome: str, data: bytes, folder: Path) -> None:
        """Count an outcome; keep the first file of each kind of failure."""
        kind = outcome.partition(":")[0]
        self.counts[kind] += 1
        if kind == "FAILURE" and outcome not in self.failures:
            self.failures[outcome] = f"{self.name.partition(' (')[0].replace(' ', '-')}-{len(self.failures)}"
            (folder / self.failures[outcome]).write_bytes(data)

    def row(self) -> str:
        """Write its row of the table."""
        shown = (*(self.counts[kind] for kind in ("error", "skipped", "accepted", "FAILURE")),)
        numbers = (self.counts.total(), *shown, round(self.allowed), round(self.most))
        cells = [
            self.name,
            *(f"{number:,}".replace(",", " ") for number in numbers),
            f"{self.seconds / 60:.1f}",
        ]
        return f"| {' | '.join(cells)} |"


def fuzz(make: Callable[[], Loader], *, tries: int, seed: int, seconds: int, folder: Path) -> None:
    """Try spoiled files on one loader; write what came of them to a file.

    Parameters
    ----------
    make : callable
        Makes the loader.
    tries : int
        Number of files.
    seed : int
        Of the spoiling.
    seconds : int
        How long one file may take.
    folder : pathlib.Path
        An empty folder. It gets `tally.json`, the files that failed, and `last`, the last file that was tried.
    """
    prepare_process()
    start, loader = time.monotonic(), make()
    watch = Watch(folder / "work", seconds, loader.megabytes)
    tally = Tally(loader.name, allowed=loader.megabytes)
    (folder / "last").touch()
    with _emptied(watch.folder):
        for whole in loader.whole:  # unwatched at first: what is imported on the way is no offence
            loader.load(whole, watch.folder)
    fasten()
    sys.addaudithook(watch.hook)

    def attempt(data: bytes, *, expected: tuple[str, ...] = ()) -> None:
        (folder / "last").write_bytes(data)  # what it was, should the process end here
        outcome = watch.attempt(loader.load, data)
        refused = expected and outcome not in expected
        tally.note(f"FAILURE: a whole file is refused: {outcome}" if refused else outcome, data, folder)
        if tally.counts.total() % 50 == 0:
            _empty(watch.folder)

    @hypothesis.seed(seed)
    @hypothesis.settings(max_examples=tries, parent=_SETTINGS)
    @hypothesis.given(loader.inputs)
    def spoiled(data: bytes) -> None:
        attempt(data)

    with _emptied(watch.folder):
        for whole in loader.whole:
            attempt(whole, expected=("accepted",))
        tally.counts.clear()  # they count only if they failed
        tally.counts["FAILURE"] += len(tally.failures)
        spoiled()
    tally.most, tally.seconds = watch.most, time.monotonic() - start
    (folder / "tally.json").write_text(json.dumps(vars(tally)))


def prepare_process() -> None:
    """Keep logs, bars and compiled files out of the way."""
    logging.disable()
    os.environ["TQDM_DISABLE"] = "1"
    # Compiled files of what is imported on the way would count as written elsewhere.
    sys.dont_write_bytecode = True


@contextmanager
def _emptied(folder: Path) -> Iterator[None]:
    _empty(folder)
    yield
    shutil.rmtree(folder)


def _empty(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()


def tried(
    make: Callable[[], Loader],
    name: str,
    *,
    tries: int,
    seed: int,
    seconds: int = SECONDS,
    keep: Path | None = None,
) -> Tally:
    """Fuzz a loader in a process of its own.

    Parameters
    ----------
    make : callable
        Makes the loader; a function of a module, or a partial one.
    name : str
        What to call it should its process end.
    tries, seed, seconds : int
        As for `fuzz`.
    keep : pathlib.Path or None
        A folder for the files that failed.

    Returns
    -------
    Tally
        What came of it.
    """
    with tempfile.TemporaryDirectory(prefix="aelib-fuzz-") as scratch:
        folder = Path(scratch).resolve()
        options = {"tries": tries, "seed": seed, "seconds": seconds, "folder": folder}
        process = multiprocessing.get_context("spawn").Process(target=fuzz, args=(make,), kwargs=options)
        process.start()
        process.join()
        if (folder / "tally.json").exists():
            read: Mapping[str, Any] = json.loads((folder / "tally.json").read_text())
            tally = Tally(**{**read, "counts": Counter(read["counts"])})
        else:
            tally = Tally(name)
            last = (folder / "last").read_bytes() if (folder / "last").exists() else b""
            tally.note(f"FAILURE: its process ended with status {process.exitcode}", last, folder)
        if keep:
            keep.mkdir(parents=True, exist_ok=True)
            for file in tally.failures.values():
                shutil.copy(folder / file, keep / file)
    return tally


def _fuzz_all(options: argparse.Namespace) -> bool:
    from robustness.loaders import LOADERS

    start, tallies = time.monotonic(), []
    print(_HEADER, flush=True)
    for make in LOADERS:
        if make.__name__ in options.only:
            tallies.append(
                tried(make, make.__name__, tries=options.tries, seed=options.seed, keep=options.keep)
            )
            print(tallies[-1].row(), flush=True)
    total = sum(tally.counts.total() for tally in tallies)
    failed = sum(tally.counts["FAILURE"] for tally in tallies)
    count, minutes = f"{total:,}".replace(",", " "), (time.monotonic() - start) / 60
    print(
        f"\n{count} files, {failed} failures. `python -m robustness.fuzz {' '.join(sys.argv[1:])}`: "
        f"{minutes:.0f} minutes, Python {platform.python_version()}."
    )
    for tally in tallies:
        for failure, kept in tally.failures.items():
            print(f"- {tally.name}: {failure} [{kept}]")
    return failed == 0


def _test_itself() -> bool:
    """Try the loaders that misbehave; say whether each was found out."""
    print("| what a loader does | what is said of it | found out |\n|---|---|---|", flush=True)
    well = True
    for number, (load, expected) in enumerate(misbehaving.EXPECTED.items()):
        make, name = functools.partial(misbehaving.misbehaving, number), load.__name__
        tally = tried(make, name, tries=1, seed=0, seconds=misbehaving.SECONDS)
        said = "; ".join(tally.failures) or "nothing"
        found = all(re.search(expected, failure) for failure in tally.failures) and len(tally.failures) == 1
        print(f"| {name.strip('_').replace('_', ' ')} | {said} | {'yes' if found else 'NO'} |", flush=True)
        well &= found
    return well


def main() -> int:
    """Fuzz all loaders, or those that are named; print the table; 1 if anything failed."""
    from robustness.loaders import LOADERS

    parser = argparse.ArgumentParser(prog="python -m robustness.fuzz", description=__doc__)
    parser.add_argument("--tries", type=int, default=2_000, help="files per loader (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="of the spoiling (default: 0)")
    names = [make.__name__ for make in LOADERS]
    parser.add_argument("--only", nargs="+", default=names, choices=names, help="loaders")
    parser.add_argument("--keep", type=Path, help="a folder for the files that failed")
    parser.add_argument(
        "--self-test", action="store_true", help="try loaders that do what none may: is each found out?"
    )
    options = parser.parse_args()
    return int(not (_test_itself() if options.self_test else _fuzz_all(options)))


if __name__ == "__main__":
    sys.exit(main())
