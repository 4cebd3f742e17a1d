"""Size and power of the instruments of structure: `python -m benchmarks.structure`, which goes on where it was stopped.

The laws are those of `benchmarks.normality`.
"""

import argparse
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from aelib.files import read_json, write_json, write_text
from aelib.record import RUNS
from aelib.structure import Structure, measure_structure
from aelib.twins import rejection_rates
from benchmarks import normality
from benchmarks.normality import LEVEL, Z_DIM, Draw

DRAWS = 39  # two-sided p-values reach 5 %
LAWS: dict[str, Draw] = {
    "normal": normality.LAWS["normal"],
    "heavy tails, t with 10 degrees": normality.LAWS["heavy tails, t with 10 degrees"],
    "mixture, 4 σ apart": normality.LAWS["mixture, 4 σ apart"],
    "clusters": normality.LAWS["mixture of fifty"],
    "sheet, 10 % of the points": normality.LAWS["sheet, 10 % of the points"],
    "filaments, 10 % of the points": normality.LAWS["filaments, 10 % of the points"],
}
# Points: clouds that measure the size, clouds of each planted law, clouds at a time.
PLANS = {2_000: (280, 20, 20), 20_000: (40, 5, 5)}
STATISTIC = partial(measure_structure, n_queries=200)


def main() -> None:
    """Measure what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, choices=PLANS, nargs="*", default=list(PLANS))
    folder = RUNS / "bench" / "structure"
    folder.mkdir(parents=True, exist_ok=True)
    for n in parser.parse_args().points:
        counts = rejected(n, folder / f"rejected_{n}.json")
        text = f"{n} points, {Z_DIM} dimensions, level {LEVEL:.0%}\n{table(counts).to_string()}\n"
        write_text(folder / f"table_{n}.txt", text)
        print(text, flush=True)


def rejected(n: int, path: Path) -> dict[str, list[float]]:
    """Count rejections for each law, or what is missing of them: clouds, then rejections by each and jointly."""
    counts = read_json(path) if path.exists() else {}
    for number, name, start, size in tqdm(list(_missing(n, counts)), desc=f"rejections, {n}"):
        found = rejection_rates(
            STATISTIC,
            lambda seed, law=LAWS[name]: law(n, np.random.default_rng(seed)),
            clouds=size,
            draws=DRAWS,
            level=LEVEL,
            random_state=np.random.default_rng([n, number, start]),
        )
        more = np.array([size, *np.round(size * found.rate), round(size * found.joint_rate)])
        counts[name] = (np.array(counts.get(name, np.zeros(len(more)))) + more).tolist()
        write_json(path, counts)
    return counts


def _missing(n: int, counts: dict[str, list[float]]) -> Iterator[tuple[int, str, int, int]]:
    sizes, powers, step = PLANS[n]
    for number, name in enumerate(LAWS):
        clouds = sizes if name == "normal" else powers
        for start in range(int(counts.get(name, [0])[0]), clouds, step):
            yield number, name, start, min(step, clouds - start)


def table(counts: dict[str, list[float]]) -> pd.DataFrame:
    """Lay out rates in percent with their standard errors: laws down, instruments across."""
    rows = {}
    for name in (name for name in LAWS if name in counts):
        clouds, *rejections = counts[name]
        rates = [r / clouds for r in rejections]
        rows[f"{name} ({clouds:.0f})"] = [
            f"{100 * f:.1f} ± {100 * math.sqrt(f * (1 - f) / clouds):.1f}" for f in rates
        ]
    return pd.DataFrame(rows, index=[*Structure._fields, "any, jointly"]).T


if __name__ == "__main__":
    main()
