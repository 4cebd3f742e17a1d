"""Mutation testing: small mistakes are made in the library, one at a time, and the tests ought to see them.

A table says how many of them the tests have seen, and a list names the others. A quicker run tries a sample of each
subject, drawn with a seed; the interval is then that for the rate of all.
"""

import argparse
import json
import math
import multiprocessing
import os
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from robustness.killing import KILLED, TOO_LONG, Killing
from robustness.operators import Mutant, mutants_of

_ROOT = Path(__file__).resolve().parent.parent
_EQUIVALENT = Path(__file__).with_name("equivalent.txt")
SUBJECTS = {
    "moments": ("moments",),
    "ellipses": ("ellipses",),
    "densities": ("densities",),
    "samplers": (
        "samplers", "sampler", "laws", "limits", "mixtures", "empirical", "truncation", "marginals",
    ),
    "scores": ("scores", "fidelity", "audits"),
}  # fmt: skip
"""The modules of each subject. Its tests are those of the modules, with their doctests."""
_DEAD = (KILLED, TOO_LONG)
_COLUMNS = ("mutants", "tried", "killed", "survived", "equivalent", "rate", "without equivalents", "95 %")


def try_subject(
    subject: str, *, only: tuple[str, ...], sample: int | None, seed: int, workers: int, result: Path
) -> None:
    """Try the mutants of one subject; write what came of each to a file.

    Parameters
    ----------
    subject : str
        Which of `SUBJECTS`.
    only : tuple of str
        How the names of the mutants to try begin: those of modules, classes or functions. Then only the tests of the
        modules that hold them are run. An empty one tries all.
    sample : int or None
        How many mutants; None tries all.
    seed : int
        Of the sample.
    workers : int
        Processes at a time.
    result : Path
        The JSON file.
    """
    known = equivalents()
    every = {module: mutants_of(_ROOT / "aelib" / f"{module}.py") for module in SUBJECTS[subject]}
    named = {
        module: [mutant for mutant in part if mutant.name.startswith(only or "")]
        for module, part in every.items()
    }
    found = {module: part for module, part in named.items() if part}
    if not found:
        sys.exit(f"no mutant of {subject} has a name that begins with {' or '.join(only)}.")

    def tell(name: str, outcome: str) -> None:
        if outcome not in _DEAD and name not in known:
            print(f"    {outcome}: {name}", file=sys.stderr, flush=True)

    mutants = drawn([mutant for part in found.values() for mutant in part], sample, seed)
    killing = Killing(mutants, workers=workers, tell=tell)
    files = [_ROOT / place for module in found for place in (f"tests/test_{module}.py", f"aelib/{module}.py")]
    with tempfile.TemporaryDirectory(prefix="aelib-mutants-") as scratch:
        words = ["-q", "-s", "-n0", "--tb=line", "-p", "no:cacheprovider", "--hypothesis-profile=mutants"]
        words += [f"--basetemp={scratch}/pytest", f"--rootdir={_ROOT}", *map(str, files)]
        status = pytest.main(words, plugins=[killing])
    if status != 0:
        sys.exit(f"pytest ended with status {status}")
    sizes = {module: len(part) for module, part in found.items()}
    result.write_text(json.dumps({"sizes": sizes, "outcomes": killing.outcomes, "seconds": killing.seconds}))


def drawn(mutants: list[Mutant], sample: int | None, seed: int) -> list[Mutant]:
    """Draw mutants without replacement; all of them if there are no more, or None is asked for."""
    if sample is None or sample >= len(mutants):
        return mutants
    return random.Random(seed).sample(mutants, sample)


def interval(killed: int, tried: int) -> tuple[float, float]:
    """Return Wilson's interval for a rate, 95 %.

    Parameters
    ----------
    killed : int
        How many.
    tried : int
        Of how many; at least 1.

    Returns
    -------
    tuple of float
        Its ends, in [0, 1].
    """
    z, rate = 1.96, killed / tried
    middle = (rate + z**2 / (2 * tried)) / (1 + z**2 / tried)
    half = z / (1 + z**2 / tried) * math.sqrt(rate * (1 - rate) / tried + z**2 / (4 * tried**2))
    return middle - half, middle + half


def equivalents() -> dict[str, str]:
    """Return the mutants that do what the original does, each with the reason."""
    entries = [
        line.split(" | ", 1)
        for line in _EQUIVALENT.read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    return dict(reversed(entry) for entry in entries)  # type: ignore[misc]


def main() -> int:
    """Try the mutants of the subjects that are named; print the table; 1 if a rate is too low."""
    parser = argparse.ArgumentParser(prog="python -m robustness.mutants", description=__doc__)
    parser.add_argument("subjects", nargs="*", choices=[*SUBJECTS, []], help="all by default")
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="NAME",
        help="mutants that begin so: mixtures.CellMixture._learn",
    )
    parser.add_argument("--sample", type=int, help="mutants per subject (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: 0)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: one a core)")
    parser.add_argument(
        "--at-least", type=float, default=85, help="percent that must be killed (default: 85)"
    )
    options = parser.parse_args()
    print(f"| module | {' | '.join(_COLUMNS)} |\n|---|{'---:|' * len(_COLUMNS)}", flush=True)
    enough = True
    for subject in options.subjects or SUBJECTS:
        with tempfile.TemporaryDirectory(prefix="aelib-mutants-") as scratch:
            result = Path(scratch) / "result.json"
            process = multiprocessing.get_context("spawn").Process(
                target=try_subject,
                args=(subject,),
                kwargs={
                    "only": tuple(options.only),
                    "sample": options.sample,
                    "seed": options.seed,
                    "workers": options.workers,
                    "result": result,
                },
            )
            process.start()
            process.join()
            if process.exitcode:
                return 2
            enough &= _report(subject, json.loads(result.read_text())) >= options.at_least
    return int(not enough)


def _report(subject: str, result: dict) -> float:
    """Print the rows of a subject; return the percentage that was killed, equivalents not counted."""
    known = equivalents()
    counts: dict[str, Counter[str]] = {module: Counter() for module in result["sizes"]}
    for name, outcome in result["outcomes"].items():
        kind = "killed" if outcome in _DEAD else "equivalent" if name in known else "survived"
        counts[name.partition(".")[0]][kind] += 1
    if len(counts) > 1:
        for module, count in counts.items():
            print(_row(module, result["sizes"][module], count), flush=True)
    total = sum(counts.values(), Counter())
    print(_row(f"**{subject}**", sum(result["sizes"].values()), total), flush=True)
    late = sum(outcome == TOO_LONG for outcome in result["outcomes"].values())
    print(f"    {result['seconds']:.0f} s of computing; {late} ended by a limit", file=sys.stderr, flush=True)
    return 100 * total["killed"] / max(1, total["killed"] + total["survived"])


def _row(name: str, size: int, count: Counter[str]) -> str:
    tried, seen = count.total(), count["killed"]
    if not tried:
        return f"| {name} | {size} | 0 |  |  |  |  |  |  |"
    low, high = interval(seen, tried)
    other = seen / max(1, tried - count["equivalent"])
    return (
        f"| {name} | {size} | {tried} | {seen} | {count['survived']} | {count['equivalent']} "
        f"| {seen / tried:.1%} | {other:.1%} | {low:.0%} to {high:.0%} |"
    ).replace("%", " %")


if __name__ == "__main__":
    sys.exit(main())
