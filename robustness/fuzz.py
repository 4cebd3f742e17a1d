"""Fuzzing: thousands of spoiled files for every loader, each in a process of its own, and a table of what came of it.

A loader may accept a file, skip it and report that, or raise a ValueError or OSError that says something. All else is a
failure: another exception, a warning, a hang, more memory than its bound, a crash of the process, a write outside its
folder, and anything that starts a program, unpickles, connects or loads a library.
"""

import argparse
import json
import logging
import multiprocessing
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import hypothesis

from robustness.loaders import LOADERS
from robustness.watch import Watch, peak_megabytes

SECONDS = 60
"""How long a file may take; generous, because other work slows a machine down."""
_SETTINGS = hypothesis.settings(
    deadline=None,
    database=None,
    phases=[hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)
_COLUMNS = ("tried", "clear errors", "reported skips", "accepted", "failures")


def fuzz(number: int, *, tries: int, seed: int, folder: Path) -> None:
    """Try spoiled files on one loader; write the counts to a file as they grow."""
    _prepare_process()
    loader = LOADERS[number]()
    watch = Watch(folder / "work", SECONDS)
    watch.folder.mkdir()
    sys.addaudithook(watch.hook)
    counts: Counter[str] = Counter()
    failures: dict[str, str] = {}
    before = 0.0

    @hypothesis.seed(seed)
    @hypothesis.settings(max_examples=tries, parent=_SETTINGS)
    @hypothesis.given(loader.inputs)
    def one(data: bytes) -> None:
        nonlocal before
        (folder / "last").write_bytes(data)  # what it was, should the process end here
        outcome = watch.attempt(loader.load, data)
        if sum(counts.values()) == 20:  # compiled, and warm
            before = peak_megabytes()
        kind = outcome.partition(":")[0]
        counts[kind] += 1
        if kind == "FAILURE" and outcome not in failures:
            kept = f"{loader.name.partition(' (')[0].replace(' ', '-')}-{len(failures)}"
            (folder / kept).write_bytes(data)
            failures[outcome] = kept
        if sum(counts.values()) % 50 == 0:
            shutil.rmtree(watch.folder)
            watch.folder.mkdir()

    one()
    grown = peak_megabytes() - before
    if grown > loader.megabytes:
        counts["FAILURE"] += 1
        failures[f"FAILURE: {grown:.0f} MB, over {loader.megabytes} MB"] = ""
    (folder / "result.json").write_text(
        json.dumps({"name": loader.name, "counts": counts, "failures": failures, "megabytes": grown})
    )


def _prepare_process() -> None:
    logging.disable()
    sys.dont_write_bytecode = (
        True  # compiled files of what is imported on the way would count as written elsewhere
    )


def main() -> int:
    """Fuzz all loaders, or those that are named; print the table; 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m robustness.fuzz", description=__doc__)
    parser.add_argument("--tries", type=int, default=2_000, help="files per loader (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="of the spoiling (default: 0)")
    names = [make.__name__ for make in LOADERS]
    parser.add_argument("--only", nargs="+", default=names, choices=names, help="loaders")
    parser.add_argument("--keep", type=Path, help="a folder for the files that failed")
    options = parser.parse_args()
    print(f"| loader | {' | '.join(_COLUMNS)} | MB |\n|---|{'---:|' * (len(_COLUMNS) + 1)}", flush=True)
    failed = False
    for number in [names.index(name) for name in options.only]:
        with tempfile.TemporaryDirectory(prefix="aelib-fuzz-") as scratch:
            folder = Path(scratch).resolve()
            process = multiprocessing.get_context("spawn").Process(
                target=fuzz,
                args=(number,),
                kwargs={"tries": options.tries, "seed": options.seed, "folder": folder},
            )
            process.start()
            process.join()
            failed |= _report(folder, names[number], process.exitcode)
            if options.keep:
                options.keep.mkdir(parents=True, exist_ok=True)
                for path in folder.iterdir():
                    if path.is_file() and path.name not in ("last", "result.json"):
                        shutil.copy(path, options.keep / path.name)
    return int(failed)


def _report(folder: Path, name: str, status: int | None) -> bool:
    """Print the row of a loader and its failures; say whether there were any."""
    if not (folder / "result.json").exists():
        (folder / f"{name}-crash").write_bytes(
            (folder / "last").read_bytes() if (folder / "last").exists() else b""
        )
        print(f"| {name} | CRASHED with status {status} |", flush=True)
        return True
    result = json.loads((folder / "result.json").read_text())
    counts = Counter(result["counts"])
    shown = [counts.total(), counts["error"], counts["skipped"], counts["accepted"], counts["FAILURE"]]
    print(
        f"| {result['name']} | {' | '.join(f'{n:,}'.replace(',', ' ') for n in shown)} | {result['megabytes']:.0f} |",
        flush=True,
    )
    for failure, kept in result["failures"].items():
        print(f"    {failure}   [{kept}]", flush=True)
    return bool(result["failures"])


if __name__ == "__main__":
    sys.exit(main())
