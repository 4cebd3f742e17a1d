"""Cost against the number of points: time is a line, memory a constant."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from tqdm.auto import tqdm

from aelib import densities, ellipses, moments, pca
from benchmarks.measure import megabytes, seconds
from benchmarks.statistics import Z_DIM, cloud

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
CALLS: dict[str, Callable[[np.ndarray], object]] = {
    "mean, covariance, correlation": lambda z: moments.measure_moments(z).correlation,
    "principal axes": pca.principal_axes,
    "256 densities with fits": lambda z: densities.fit_gaussians(densities.number_densities(z)),
    "2-D density of a plane": lambda z: ellipses.plane_density(z[:, :2]),
}


def measure(folder: Path) -> dict[str, list[tuple[int, float, float]]]:
    """Measure (number of points, seconds, megabytes) of each call on a memory-mapped file."""
    found: dict[str, list[tuple[int, float, float]]] = {name: [] for name in CALLS}
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        path = Path(scratch) / "z.npy"
        every = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(SIZES[-1], Z_DIM))
        for start in range(0, len(every), 100_000):
            every[start : start + 100_000] = cloud(100_000, seed=start)
        for n, (name, call) in tqdm(
            [(n, item) for n in SIZES for item in CALLS.items()], desc="cost against n"
        ):
            z = np.load(path, mmap_mode="r")[:n]
            found[name].append(
                (
                    n,
                    seconds(lambda z=z, call=call: call(z), times=2),
                    megabytes(lambda z=z, call=call: call(z)),
                )
            )
    return found


def draw(found: dict[str, list[tuple[int, float, float]]], path: Path) -> None:
    """Draw seconds and megabytes against the number of points."""
    fig, axes = plt.subplots(1, 2, figsize=(10, 4))
    for name, measured in found.items():
        n, time, memory = np.array(measured).T
        for ax, values in zip(axes, (time, memory), strict=True):
            ax.plot(n, values, marker="o", markersize=3.5, label=name)
    n = np.array(SIZES)
    axes[0].plot(n, 2e-6 * n, color="0.6", linestyle=":", label="in proportion to n")
    axes[0].set(xscale="log", yscale="log", xlabel="z-points", ylabel="seconds")
    axes[1].set(xscale="log", xlabel="z-points", ylabel="MB beyond the points", ylim=(0, None))
    axes[0].legend(frameon=False, fontsize="small")
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    fig.tight_layout()
    fig.savefig(path, dpi=150)
    plt.close(fig)
    path.with_suffix(".json").write_text(json.dumps(found, indent=1), encoding="utf-8")
