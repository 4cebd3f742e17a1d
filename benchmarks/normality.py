"""Size and power of the tests of normality: `python -m benchmarks.normality`, which goes on where it was stopped.

Strengths of the planted departures were fixed before anything was measured: the defaults of `aelib.planted`, and a
weaker version of each. The last two mixtures were added when the first two had gone unseen.
"""

import argparse
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from aelib.departures import TESTS, Battery
from aelib.files import read_json, replacing, write_json, write_text
from aelib.normality import NullLaw, null_law
from aelib.planted import (
    planted_clusters,
    planted_filaments,
    planted_heavy_tails,
    planted_mixture,
    planted_sheet,
)
from aelib.power import correlated_normal, measured_power
from aelib.record import RUNS

LEVEL = 0.05
Z_DIM = 256
Draw = Callable[[int, np.random.Generator], np.ndarray]


def _planted(
    draw: Callable[..., np.ndarray], n: int, rng: np.random.Generator, **strength: float
) -> np.ndarray:
    return draw(n, Z_DIM, random_state=rng, **strength)


LAWS: dict[str, Draw] = {
    "normal": lambda n, rng: correlated_normal(n, Z_DIM, rng),
    "heavy tails, t with 10 degrees": partial(_planted, planted_heavy_tails, degrees=10.0),
    "heavy tails, t with 1000 degrees": partial(_planted, planted_heavy_tails, degrees=1000.0),
    "mixture, 4 σ apart": partial(_planted, planted_mixture, distance=4.0),
    "mixture, 2 σ apart": partial(_planted, planted_mixture, distance=2.0),
    "sheet, all points": partial(_planted, planted_sheet, share=1.0),
    "sheet, 10 % of the points": partial(_planted, planted_sheet, share=0.1),
    "filaments, all points": partial(_planted, planted_filaments, share=1.0),
    "filaments, 10 % of the points": partial(_planted, planted_filaments, share=0.1),
    "mixture, 4 σ apart, nine to one": partial(_planted, planted_mixture, distance=4.0, weight=0.1),
    "mixture of fifty": partial(_planted, planted_clusters),
}
# Points: simulated normal clouds, clouds that measure the size, clouds of each planted law, clouds at a time.
PLANS = {2_000: (499, 500, 100, 50), 20_000: (299, 300, 40, 10)}


def main() -> None:
    """Measure what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, choices=PLANS, nargs="*", default=list(PLANS))
    folder = RUNS / "bench" / "normality"
    folder.mkdir(parents=True, exist_ok=True)
    for n in parser.parse_args().points:
        null = simulated(n, folder / f"null_{n}.npz")
        counts = rejected(n, null, folder / f"rejected_{n}.json")
        text = f"{n} points, {Z_DIM} dimensions, level {LEVEL:.0%}\n{table(counts, null).to_string()}\n"
        write_text(folder / f"table_{n}.txt", text)
        print(text, flush=True)


def simulated(n: int, path: Path) -> NullLaw:
    """Simulate the null law, or what is missing of it."""
    draws, _, _, step = PLANS[n]
    null = _load(n, path) if path.exists() else None
    for start in tqdm(range(0 if null is None else len(null.sizes), draws, step), desc=f"null law, {n}"):
        more = null_law(
            n, Z_DIM, draws=min(step, draws - start), random_state=np.random.default_rng([n, 0, start])
        )
        null = more if null is None else null + more
        with replacing(path) as whole:
            np.savez(whole, *null.values, sizes=null.sizes)
    return null


def _load(n: int, path: Path) -> NullLaw:
    with np.load(path) as kept:
        return NullLaw(n, Z_DIM, Battery(), tuple(kept[f"arr_{i}"] for i in range(len(TESTS))), kept["sizes"])


def rejected(n: int, null: NullLaw, path: Path) -> dict[str, dict[str, list[float]]]:
    """Count rejections for each law, or what is missing of them: clouds, and rejections by each test and naively."""
    counts = read_json(path) if path.exists() else {}
    for number, name, start, size in tqdm(list(_missing(n, counts)), desc=f"rejections, {n}"):
        rates = measured_power(
            partial(LAWS[name], n),
            null=null,
            repeats=size,
            level=LEVEL,
            random_state=np.random.default_rng([n, 1 + number, start]),
        )
        old = counts.get(name, {"clouds": [0], "rejected": [0] * len(TESTS), "naive": [0] * len(TESTS)})
        counts[name] = {
            "clouds": [old["clouds"][0] + size],
            "rejected": [a + round(r.rate * size) for a, r in zip(old["rejected"], rates, strict=True)],
            "naive": [
                -1 if math.isnan(r.naive_rate) else a + round(r.naive_rate * size)
                for a, r in zip(old["naive"], rates, strict=True)
            ],
        }
        write_json(path, counts)
    return counts


def _missing(n: int, counts: dict[str, dict[str, list[float]]]) -> Iterator[tuple[int, str, int, int]]:
    _, sizes, powers, step = PLANS[n]
    for number, name in enumerate(LAWS):
        done = int(counts[name]["clouds"][0]) if name in counts else 0
        clouds = sizes if name == "normal" else powers
        for start in range(done, clouds, step):
            yield number, name, start, min(step, clouds - start)


def table(counts: dict[str, dict[str, list[float]]], null: NullLaw) -> pd.DataFrame:
    """Lay out rates in percent with their standard errors: tests down, laws across, the naive tests below."""
    columns = {}
    for name in (name for name in LAWS if name in counts):
        count = counts[name]
        clouds = count["clouds"][0]
        lost = 1.0 / clouds + 1.0 / (len(null.sizes) + 2)
        rates = [r / clouds for r in count["rejected"]]
        cells = [f"{100 * f:.1f} ± {100 * math.sqrt(f * (1 - f) * lost):.1f}" for f in rates]
        cells += [f"{100 * r / clouds:.1f}" if r >= 0 else "" for r in count["naive"]]
        columns[f"{name} ({clouds})"] = cells
    frame = pd.DataFrame(columns, index=[*TESTS, *(f"naive {name}" for name in TESTS)]).T
    return frame.loc[:, (frame != "").any()]


if __name__ == "__main__":
    main()
