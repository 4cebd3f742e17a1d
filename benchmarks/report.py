"""What `make bench` found: as JSON, as a table in Markdown, and as two figures."""

import importlib.metadata
import json
import math
import os
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import threadpoolctl
from matplotlib.axes import Axes

from aelib.files import replacing, write_json, write_text
from aelib.record import ROOT, versions
from benchmarks.measure import Row, said
from benchmarks.training import Record

PUBLISHED = ROOT / "docs" / "_static"
README = ROOT / "README.md"
BEGIN, END = "<!-- make bench: begin -->", "<!-- make bench: end -->"
DATA, TABLE, FIGURE, CURVES = "bench.json", "bench.md", "bench.png", "bench_loss.png"
PEERS = ("torch", "KDEpy", "prdc", "pythae", "scikit-learn", "openTSNE")
OURS, MISSED, GOAL = "#0072b2", "#d55e00", "0.55"


@dataclass
class Report:
    """A run of the benchmarks.

    Parameters
    ----------
    rows : list of Row
        The table.
    training : Record
        What training leaves beside its rows.
    minutes : dict
        Minutes of each group.
    load : list of float
        Load averages, over one minute, before and after each group.
    began : str
        Local time of the beginning.
    """

    rows: list[Row] = field(default_factory=list)
    training: Record = field(default_factory=Record)
    minutes: dict[str, float] = field(default_factory=dict)
    load: list[float] = field(default_factory=list)
    began: str = field(default_factory=lambda: time.strftime("%Y-%m-%d %H:%M"))

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON can say it."""
        rows = [asdict(row) | {"median": row.median, "verdict": row.verdict} for row in self.rows]
        said = {
            "began": self.began,
            "minutes": self.minutes,
            "load": self.load,
            "machine": describe_machine(),
            "versions": versions() | {"peers": {name: installed(name) for name in PEERS}},
            "training": asdict(self.training),
            "rows": rows,
        }
        return {name: _speakable(value) for name, value in said.items()}


def _speakable(value: Any) -> Any:
    """Put nothing where a figure is none: JSON has no word for that."""
    if isinstance(value, dict):
        return {name: _speakable(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_speakable(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def installed(package: str) -> str:
    """Return the version of a package, or that there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def describe_machine() -> dict[str, Any]:
    """Name the processor, its cores, and the kernels that OpenBLAS chose for it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    pools = {str(pool.get("architecture")) for pool in threadpoolctl.threadpool_info()} - {"None"}
    return {"processor": (names or [platform.processor()])[0], "cores": os.cpu_count(), "blas": sorted(pools)}


def write(report: Report, folder: Path) -> None:
    """Write everything into a folder."""
    data = report.as_dict()
    write_json(folder / DATA, data)
    write_text(folder / TABLE, markdown(report.rows, data))
    with replacing(folder / FIGURE) as path:
        draw_ratios(report.rows, path)
    if report.training.losses:
        with replacing(folder / CURVES) as path:
            draw_losses(report.training.losses, path)


def publish(folder: Path, *, readme: Path = README, published: Path = PUBLISHED) -> None:
    """Put table and figures where README and site show them."""
    text = readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{readme.name} lacks the marks that the figures stand between: {BEGIN} and {END}.")
    summary = summarised(json.loads((folder / DATA).read_text(encoding="utf-8")))
    write_text(readme, f"{before}{BEGIN}\n{summary}\n{END}{after}")
    for name in (DATA, TABLE, FIGURE, CURVES):
        shutil.copy(folder / name, published / name)


def markdown(rows: Sequence[Row], data: Mapping[str, Any]) -> str:
    """Lay out the table, with a line on the circumstances."""
    parts = [circumstances(data), ""]
    head = ("what", "beside", "median", "quartiles", "goal", "results differ by", "verdict")
    for group, members in groupby(rows, key=lambda row: row.group):
        parts += [f"**{group.capitalize()}**", "", _cells(head), "|---|---|--:|--:|--:|--:|---|"]
        parts += [*map(_line, members), ""]
    return "\n".join(parts)


def _line(row: Row) -> str:
    figure = "" if row.missing else f"{said(row.median)} {row.unit}".strip()
    apart = "" if math.isnan(row.apart) else f"{row.apart:.1g}"
    return _cells((row.what, row.beside, figure, row.said_spread, row.said_goal, apart, row.verdict))


def _cells(texts: Sequence[str]) -> str:
    return "| " + " | ".join(texts) + " |"


def circumstances(data: Mapping[str, Any]) -> str:
    """Say where and when the figures were measured, and what else ran."""
    machine, load = data["machine"], data["load"] or [math.nan]
    cores = machine["cores"]
    return (
        f"Measured on {data['began']} on {cores} cores of an {machine['processor']}, in "
        f"{sum(data['minutes'].values()):.0f} minutes. The load average was {load[0]:.1f} before; the benchmarks alone "
        f"make {cores} of it, and the most was {max(load):.1f}. × is how many times as fast as the peer: ours and "
        "theirs by turns, the median of the rounds and their quartiles."
    )


def summarised(data: Mapping[str, Any]) -> str:
    """Write what README shows: circumstances, how many goals are met, and which are not."""
    held = [row for row in data["rows"] if row["verdict"] in ("met", "NOT MET")]
    missed = [row for row in held if row["verdict"] == "NOT MET"]
    missing = sorted({row["missing"] for row in data["rows"] if row["missing"]})
    lines = [f"- NOT MET: {row['what']}, {row['beside']}: {_figure(row)}" for row in missed]
    lines += [f"- Not installed, so not compared: {', '.join(missing)}"] if missing else []
    picture = f"![How many times as fast as each peer](docs/_static/{FIGURE})"
    met = f"{len(held) - len(missed)} of {len(held)} goals are met: [the whole table](docs/_static/{TABLE})."
    return "\n\n".join(
        ["### Beside other tools", picture, circumstances(data), met, *filter(None, ["\n".join(lines)])]
    )


def _figure(row: Mapping[str, Any]) -> str:
    return "no figure" if row["median"] is None else f"{said(row['median'])} {row['unit']}"


def draw_ratios(rows: Sequence[Row], path: Path) -> None:
    """Draw how many times as fast as its peers everything is: a dot, its quartiles, its goal."""
    shown = [row for row in rows if row.unit == "×"]
    fig, ax = plt.subplots(figsize=(9, 0.27 * len(shown) + 1.8))
    places, y = [], 0.0
    ax.set_xscale("log")
    for group, members in groupby(shown, key=lambda row: row.group):
        heading = {"transform": ax.get_yaxis_transform(), "ha": "right", "va": "center", "weight": "bold"}
        ax.text(-0.01, y, group.capitalize(), fontsize=9, **heading)
        for row in members:
            y += 1
            _dot(ax, row, y)
            places.append(y)
        y += 1.4
    ax.set_yticks(places, [f"{row.what}  ·  {row.beside}" for row in shown], fontsize=7.5)
    ax.axvline(1, color="0.2", linewidth=0.8)
    low, high = ax.get_xlim()
    ax.set(
        ylim=(max(y - 0.8, 1), -0.8),
        xlim=(min(0.5, low), 1.6 * max(high, 3)),
        xlabel="times as fast as the peer",
    )
    _tidy(ax)
    fig.savefig(path, dpi=130, bbox_inches="tight", format="png")
    plt.close(fig)


def _dot(ax: Axes, row: Row, y: float) -> None:
    ax.plot([row.goal], [y], "|", color=GOAL, markersize=9, markeredgewidth=2)
    if row.missing:
        ax.text(row.goal * 1.1, y, f"{row.missing}: not installed", fontsize=7, va="center", color="0.4")
        return
    colour = OURS if row.met else MISSED
    ax.plot(row.spread, [y, y], color=colour, linewidth=1.6)
    ax.plot([row.median], [y], "o" if row.met else "D", color=colour, markersize=5)
    end = (max(row.spread), y)
    ax.annotate(said(row.median), end, (6, 0), textcoords="offset points", va="center", fontsize=7)


def _tidy(ax: Axes) -> None:
    ax.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", color="0.92")
    ax.set_axisbelow(True)
    ax.plot([], [], "o-", color=OURS, label="median and quartiles")
    ax.plot([], [], "D-", color=MISSED, label="the same, goal not met")
    ax.plot([], [], "|", color=GOAL, markersize=9, markeredgewidth=2, label="goal")
    ax.legend(frameon=False, fontsize=8, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))


def draw_losses(losses: Mapping[str, Sequence[float]], path: Path) -> None:
    """Draw the losses on held-out images of all trainers together."""
    fig, ax = plt.subplots(figsize=(6.5, 3.8))
    colours, styles = (OURS, "#e69f00", "#009e73", "#cc79a7"), ("-", "--", "-.", ":")
    for (name, values), colour, style in zip(losses.items(), colours, styles, strict=False):
        label = f"{name}: {values[-1]:.5f}"
        ax.plot(np.arange(1, len(values) + 1), values, style, color=colour, linewidth=2, label=label)
    ax.set(xlabel="epochs", ylabel="mean squared error on held-out images", yscale="log")
    ax.yaxis.set_major_formatter(lambda v, _: f"{v:g}")
    ax.yaxis.set_minor_formatter(lambda v, _: f"{v:g}")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=9, title="trainer: last loss", alignment="left")
    fig.savefig(path, dpi=130, bbox_inches="tight", format="png")
    plt.close(fig)
