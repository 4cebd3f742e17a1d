"""Time and memory against size, each stage of the pipeline in a process of its own.

`python -m benchmarks.scaling` measures ten thousand, a hundred thousand and a million images, which takes hours and
goes on where it was stopped. `--points 1e7 --limit-mb 1000` adds the statistics of ten million points on disk.
Memory is read from /proc, so this is for Linux only.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullFormatter

from aelib.files import write_text
from aelib.plots import PALETTE
from aelib.record import RUNS
from benchmarks.stages import Z_DIM, costs_of, n_encoded

SIZES = (10_000, 100_000, 1_000_000)
ON_DISK = ("statistics", "dask", "sample", "score")
CURVES = {  # the stage, and the beginnings of its parts' names; none takes the whole stage
    "draw the faces": ("render", ()),
    "encode them": ("encode", ()),
    "statistics of the points": ("statistics", ()),
    "fit the normal law, draw as many": ("sample", ()),
    "Fréchet distance of the drawn points": ("score", ("Fréchet",)),
    "scores of pairs, of 5 000 points each": ("score", ("kernel", "precision")),
}
_ROOT = Path(__file__).parent.parent
_MEGABYTES = (50, 100, 200, 500, 1_000)
_QUIET = os.environ | {"TQDM_DISABLE": "1"}


@dataclass(frozen=True)
class Part:
    """What a part of a stage cost: processor and clock in seconds, private memory at its highest."""

    cpu: float
    seconds: float
    private_mb: float


@dataclass(frozen=True)
class Cost:
    """What a stage cost: the sum of its parts, the most private memory, and the most resident with mapped files."""

    stage: str
    n: int
    cpu: float
    seconds: float
    private_mb: float
    resident_mb: float
    parts: dict[str, Part]
    points: str = "faces"


def run_stage(stage: str, folder: Path, n: int, *, limit_mb: float | None = None) -> Cost:
    """Run a stage in a process of its own, unless it has been, and return what it cost."""
    done = folder / f"{stage}-{n}.done"
    if not done.exists():
        costs_of(stage, folder, n).unlink(missing_ok=True)
        limit = [] if limit_mb is None else [str(limit_mb)]
        subprocess.run([*_command(stage, folder, n), *limit], check=True, cwd=_ROOT, env=_QUIET)
        done.touch()
    return read_cost(stage, folder, n)


def run_images(folder: Path, n: int) -> list[Cost]:
    """Draw and encode the images that have not been, and return what all n cost."""
    if n_encoded(folder / "z.f32", n) < n:
        with subprocess.Popen(
            _command("render", folder, n), stdout=subprocess.PIPE, cwd=_ROOT, env=_QUIET
        ) as render:
            encode = subprocess.run(
                _command("encode", folder, n), stdin=render.stdout, check=False, cwd=_ROOT, env=_QUIET
            )
        if render.returncode or encode.returncode:
            raise RuntimeError(
                f"drawing ended with {render.returncode}, encoding with {encode.returncode}: see above. What is "
                "encoded is kept, and the same command goes on."
            )
    return [read_cost(stage, folder, n) for stage in ("render", "encode")]


def _command(stage: str, folder: Path, n: int) -> list[str]:
    return [sys.executable, "-m", "benchmarks.stages", stage, str(folder.resolve()), str(n)]


def read_cost(stage: str, folder: Path, n: int) -> Cost:
    """Add up the lines that a stage has written; of a part that was done again, the last one counts."""
    lines = {}
    for line in map(json.loads, costs_of(stage, folder, n).read_text(encoding="utf-8").splitlines()):
        if isinstance(line["part"], str) or line["part"] < n:  # else it belongs to more images than these
            lines[str(line["part"])] = line
    parts = {name: Part(line["cpu"], line["seconds"], line["private_mb"]) for name, line in lines.items()}
    return Cost(
        stage=stage,
        n=n,
        cpu=sum(part.cpu for part in parts.values()),
        seconds=sum(part.seconds for part in parts.values()),
        private_mb=max(part.private_mb for part in parts.values()),
        resident_mb=max(line["resident_mb"] for line in lines.values()),
        parts={} if stage in ("render", "encode") else parts,
    )


def pipeline(folder: Path, sizes: Sequence[int]) -> Iterator[Cost]:
    """Measure all stages at each size; a smaller size is the beginning of a larger one."""
    folder.mkdir(parents=True, exist_ok=True)
    for n in sorted(sizes):
        yield from run_images(folder, n)
        for stage in ("statistics", "sample", "score"):
            yield run_stage(stage, folder, n)
        (folder / f"drawn-{n}.f32").unlink(missing_ok=True)


def on_disk(
    folder: Path, n: int, *, stages: Sequence[str] = ("statistics",), limit_mb: float | None = None
) -> Iterator[Cost]:
    """Measure stages on a normal cloud that is written to disk first, and removed afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    need, free = 4 * Z_DIM * n * (2 if "sample" in stages else 1), shutil.disk_usage(folder).free
    if free < 1.1 * need:
        raise ValueError(f"{n} points need {need / 1e9:.0f} GB in {folder}, where {free / 1e9:.0f} are free.")
    with tempfile.TemporaryDirectory(dir=folder) as place:
        run_stage("cloud", Path(place), n)
        for stage in stages:
            yield replace(run_stage(stage, Path(place), n, limit_mb=limit_mb), points="normal cloud")


def _line(cost: Cost) -> str:
    return (
        f"{cost.stage:10} {cost.n:>10,}  {cost.cpu:9.1f} s of processor {cost.seconds:9.1f} s  "
        f"{cost.private_mb:7,.0f} MB private {cost.resident_mb:7,.0f} MB resident"
    )


def draw(costs: Sequence[Cost], path: Path) -> None:
    """Draw processor time and memory against size, and write the figures beside it as JSON."""
    fig, axes = plt.subplots(1, 2, figsize=(11, 4.8), layout="constrained")
    for (label, (stage, parts)), colour in zip(CURVES.items(), PALETTE, strict=False):
        mine = sorted((cost for cost in costs if cost.stage == stage), key=lambda cost: cost.n)
        n = [cost.n for cost in mine]
        measured = np.array([_of_parts(cost, parts) for cost in mine]).reshape(-1, 2)
        for ax, values in zip(axes, measured.T, strict=True):
            ax.plot(n, values, color=colour, marker="o", markersize=4, label=label)
            cloud = [k for k, cost in enumerate(mine) if cost.points != "faces"]
            ax.plot(
                np.take(n, cloud), values[cloud], "o", color=colour, markerfacecolor="white", markersize=5
            )
    ends = np.array([min(cost.n for cost in costs), max(cost.n for cost in costs)])
    axes[0].plot(ends, 1e-5 * ends, color="0.6", linestyle=":", label="in proportion")
    axes[0].set(ylabel="seconds of processor time", title="Time")
    axes[1].set(ylabel="MB, without mapped files", title="Highest memory of the process")
    for ax in axes:
        ax.set(xscale="log", yscale="log", xlabel="images or points (hollow: points of a normal cloud)")
        ax.spines[["top", "right"]].set_visible(False)
        ax.autoscale_view()  # the limits so far were those of straight axes
        ax.grid(color="0.92")
    axes[1].yaxis.set_minor_formatter(NullFormatter())
    axes[1].set_yticks(_MEGABYTES, [f"{mb:g}" for mb in _MEGABYTES])
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    fig.savefig(path, dpi=110)
    plt.close(fig)
    write_text(path.with_suffix(".json"), json.dumps([asdict(cost) for cost in costs], indent=1) + "\n")


def _of_parts(cost: Cost, names: Sequence[str]) -> tuple[float, float]:
    """Return seconds of processor and megabytes of some parts of a stage, or of the whole."""
    parts = [part for name, part in cost.parts.items() if name.startswith(tuple(names))] if names else [cost]
    return sum(part.cpu for part in parts), max(part.private_mb for part in parts)


def _known(path: Path) -> dict[tuple[str, int], Cost]:
    """Read what earlier calls have measured."""
    entries = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    costs = [
        Cost(**entry | {"parts": {k: Part(**part) for k, part in entry["parts"].items()}})
        for entry in entries
    ]
    return {(cost.stage, cost.n): cost for cost in costs}


def main() -> None:
    """Measure what was asked for, and draw it with what was measured before."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--sizes", type=float, nargs="*", default=SIZES, help="numbers of images")
    parser.add_argument("--points", type=float, help="no images, but the stages for so many points on disk")
    parser.add_argument("--stages", nargs="*", choices=ON_DISK, default=ON_DISK[:2], help="with --points")
    parser.add_argument(
        "--limit-mb", type=float, help="with --points: more private memory than that is refused"
    )
    parser.add_argument("--folder", type=Path, default=RUNS / "growth", help="scratch: 2 KB for each image")
    parser.add_argument(
        "--figure", type=Path, default=RUNS / "bench" / "growth.png", help="with a .json beside it"
    )
    asked = parser.parse_args()
    asked.figure.parent.mkdir(parents=True, exist_ok=True)
    if asked.points:
        found = on_disk(asked.folder, int(asked.points), stages=asked.stages, limit_mb=asked.limit_mb)
    else:
        found = pipeline(asked.folder, [int(n) for n in asked.sizes])
    for cost in found:
        print(_line(cost), flush=True)
        known = _known(asked.figure.with_suffix(".json")) | {(cost.stage, cost.n): cost}
        draw([known[key] for key in sorted(known)], asked.figure)
    print(asked.figure)


if __name__ == "__main__":
    main()
