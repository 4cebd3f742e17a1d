"""Fuzzing guided by coverage (Google's atheris): what is read in Python, with the oracle of `robustness.fuzz`.

Where `robustness.fuzz` spoils files blindly, atheris keeps a change that reached a new line and goes on from it.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

READERS = ("parameter_file", "notebook", "run_folder", "explored_run", "sweep_table", "image_zip", "sampler")
"""Loaders that mostly run Python; what C decodes is out of sight for atheris."""
_INSTRUMENTED = ["aelib", "yaml", "zipfile", "json", "nbformat", "tokenize", "ast"]
_COMPILED = ["aelib._averages", "aelib._face_kernels"]  # Numba cannot read what is instrumented
_SECONDS = 60  # for one file; as `robustness.fuzz`


def _try_one(name: str, keep: Path, options: list[str]) -> None:
    """Fuzz a loader in this process until the time is over or it fails; never returns."""
    import atheris

    with atheris.instrument_imports(_INSTRUMENTED, _COMPILED), tempfile.TemporaryDirectory() as scratch:
        from robustness import loaders
        from robustness.fuzz import prepare_process
        from robustness.watch import Watch, fasten

        prepare_process()
        loader = getattr(loaders, name)()
        folder = Path(scratch).resolve() / "work"
        folder.mkdir()
        corpus = Path(scratch, "corpus")
        corpus.mkdir()
        for k, whole in enumerate(loader.whole):
            loader.load(whole, folder)  # what is imported on the way is no offence
            (corpus / str(k)).write_bytes(whole)
        watch = Watch(folder, _SECONDS, loader.megabytes)
        fasten()
        sys.addaudithook(watch.hook)

        def one(data: bytes) -> None:
            outcome = watch.attempt(loader.load, data)
            if outcome.startswith("FAILURE"):
                (keep / f"{name}-failed").write_bytes(data)
                raise RuntimeError(outcome)

        # The watch has its own clock and measure of memory; atheris takes a limit of 0 for a second.
        limits = ["-timeout=86400", "-rss_limit_mb=0", "-max_len=65536"]
        atheris.Setup([sys.argv[0], str(corpus), *limits, *options], one)
        atheris.Fuzz()


def _row(name: str, seconds: int, keep: Path) -> tuple[str, bool]:
    """Fuzz a loader in a process of its own; return its row of the table and whether it failed."""
    options = [
        f"-max_total_time={seconds}",
        "-print_final_stats=1",
        f"-artifact_prefix={keep}/{name}-",  # for what ends the process
        "-seed=1",
    ]
    words = [sys.executable, "-m", "robustness.guided", "--one", name, str(keep), *options]
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
    said = done.stdout + done.stderr
    covered = [int(found) for found in re.findall(r"cov: (\d+)", said)]
    executed = re.findall(r"number_of_executed_units: (\d+)", said)
    (keep / f"{name}.log").write_text(said, encoding="utf-8")
    failure = re.search(r"FAILURE: .*", said) or re.search(r"(?<=Uncaught Python exception: ===\n).*", said)
    well = done.returncode == 0 and bool(executed)
    what = "none" if well else failure[0] if failure else f"status {done.returncode}: {said[-300:]!r}"
    cells = (
        name.replace("_", " "),
        *(executed or ["?"]),
        *map(str, (covered[0], covered[-1]) if covered else "??"),
    )
    return f"| {' | '.join(cells)} | {what} |", not well


def main() -> int:
    """Fuzz all readers one after the other; print the table; 1 if anything failed."""
    if sys.argv[1:2] == ["--one"]:
        _try_one(sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
    parser = argparse.ArgumentParser(prog="python -m robustness.guided", description=__doc__)
    parser.add_argument("--seconds", type=int, default=300, help="for each loader (default: 300)")
    parser.add_argument("--only", nargs="+", default=READERS, choices=READERS, help="loaders")
    parser.add_argument(
        "--keep", type=Path, default=Path("build/fuzz"), help="a folder for files that failed"
    )
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    print(
        "| loader | executions | branches at first | branches at last | failures |\n|---|---:|---:|---:|---|",
        flush=True,
    )
    failed = False
    for name in options.only:
        row, bad = _row(name, options.seconds, options.keep)
        failed |= bad
        print(row, flush=True)
    print(f"\n`python -m robustness.guided {' '.join(sys.argv[1:])}`, {options.seconds} s for each loader.")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
