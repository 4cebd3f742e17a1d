"""The stages of the pipeline at any size, each for a process of its own: `python -m benchmarks.stages STAGE FOLDER N`.

Images and points pass block by block; `render` writes bytes to the pipe that `encode` reads. What a part of a stage
cost is a line in a file of the stage. `benchmarks.scaling` starts the stages.
"""

import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

IMAGES_AT_ONCE, POINTS_AT_ONCE = 500, 10_000
SIZE, Z_DIM, SEED = 96, 256, 11
PAIRED = 5_000  # rows of each sample, at most, for scores that look at all pairs

_STATUS = Path("/proc/self/status")


def memory() -> dict[str, float]:
    """Return megabytes of this process: private now, and the most that was resident, pages of mapped files included."""
    entries = dict(line.split(":", 1) for line in _STATUS.read_text(encoding="ascii").splitlines())
    kilobytes = {name: int(entries[name].split()[0]) for name in ("RssAnon", "VmHWM")}
    return {"private_mb": kilobytes["RssAnon"] / 1024, "resident_mb": kilobytes["VmHWM"] / 1024}


def costs_of(stage: str, folder: Path, n: int) -> Path:
    """Return where a stage writes what it cost: images are one stream, whose beginnings are the smaller sizes."""
    return folder / (f"{stage}.jsonl" if stage in ("render", "encode") else f"{stage}-{n}.jsonl")


@contextmanager
def measured(folder: Path, part: str | int) -> Iterator[None]:
    """Append what the block cost to the stage's file; private memory is looked at fifty times a second."""
    samples, ended = [memory()["private_mb"]], threading.Event()

    def look() -> None:
        while not ended.wait(0.02):
            samples.append(memory()["private_mb"])

    watcher = threading.Thread(target=look, daemon=True)
    start, cpu = time.perf_counter(), time.process_time()
    watcher.start()
    yield
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    ended.set()
    watcher.join()
    found = memory()
    line = {"part": part, "cpu": cpu, "seconds": seconds, "private_mb": max(*samples, found["private_mb"])}
    with costs_of(sys.argv[1], folder, int(sys.argv[3])).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line | {"resident_mb": found["resident_mb"]}) + "\n")


def starts(n: int, at_once: int, first: int = 0) -> Iterator[tuple[int, int]]:
    """Go through n rows: the first of each block, and how many it has."""
    for start in range(first, n, at_once):
        yield start, min(at_once, n - start)


def points(path: Path, n: int) -> np.ndarray:
    """Map the first points of a file."""
    return np.memmap(path, np.float32, "r", shape=(n, Z_DIM))


def n_encoded(path: Path, n: int) -> int:
    """Return how many of n points are there in whole blocks; what is more than that was cut short, and is cut off."""
    rows = path.stat().st_size // (4 * Z_DIM) if path.exists() else 0
    if rows >= n:
        return n
    done = rows - rows % IMAGES_AT_ONCE
    with path.open("ab") as file:
        file.truncate(done * 4 * Z_DIM)
    return done


def render(folder: Path, n: int, pipe: BinaryIO) -> None:
    """Draw faces; those that `encode` has done are left out."""
    from aelib import faces

    for start, m in starts(n, IMAGES_AT_ONCE, n_encoded(folder / "z.f32", n)):
        with measured(folder, start):
            images = faces.render(faces.sample_factors(range(start, start + m), seed=SEED), size=SIZE)
            images *= 255.0
            drawn = np.rint(images, out=images).astype(np.uint8)
        pipe.write(drawn.data)
    pipe.flush()


def encode(folder: Path, n: int, _pipe: BinaryIO) -> None:
    """Encode what comes through the pipe."""
    import aelib

    model, path = aelib.load_checkpoint(), folder / "z.f32"
    first = n_encoded(path, n)
    with path.open("ab", buffering=0) as file:
        for start, m in starts(n, IMAGES_AT_ONCE, first):
            drawn = sys.stdin.buffer.read(m * SIZE * SIZE * 3)
            if len(drawn) < m * SIZE * SIZE * 3:
                sys.exit(f"the images ended before image {start + m}")
            with measured(folder, start):
                images = np.frombuffer(drawn, np.uint8).reshape(m, SIZE, SIZE, 3) / np.float32(255)
                z = aelib.encode(model, images)
            file.write(z.data)


def cloud(folder: Path, n: int, _pipe: BinaryIO) -> None:
    """Write an off-centre, correlated normal cloud in place of encoded images."""
    rng = np.random.default_rng(SEED)
    mixing = np.eye(Z_DIM, dtype=np.float32) + rng.normal(0, 0.03, (Z_DIM, Z_DIM)).astype(np.float32)
    with measured(folder, "all"), (folder / "z.f32").open("wb", buffering=0) as file:
        for _, m in starts(n, POINTS_AT_ONCE):
            z = rng.standard_normal((m, Z_DIM), dtype=np.float32) @ mixing + np.float32(0.5)
            file.write(z.data)


def statistics(folder: Path, n: int, _pipe: BinaryIO) -> None:
    """Measure the statistics of the points."""
    _statistics(folder, points(folder / "z.f32", n))


def dask(folder: Path, n: int, _pipe: BinaryIO) -> None:
    """Measure the same of a Dask array, on this process's threads; each partition is read where it is measured."""
    import dask.array as da

    from aelib.partitions import mapped

    numbers = da.arange(n, chunks=5 * POINTS_AT_ONCE)
    path = folder / "z.f32"
    _statistics(folder, mapped(_read, numbers, shape=(Z_DIM,), dtype=np.float32, whole=(path, n)))


def _read(numbers: np.ndarray, _first: int, path: Path, n: int) -> np.ndarray:
    return points(path, n)[numbers[0] : numbers[-1] + 1]


def _statistics(folder: Path, z: Any) -> None:
    from aelib import densities, ellipses, moments, pca

    with measured(folder, "moments and correlations"):
        known = moments.measure_moments(z)
        _ = known.correlation
    with measured(folder, "principal axes"):
        axes = pca.principal_axes(known, k=2)
    with measured(folder, "256 number densities with fits"):
        densities.fit_gaussians(densities.number_densities(z))
    with measured(folder, "radii"):
        densities.radius_density(z, centre=known.mean)
    with measured(folder, "ellipses of all planes"):
        ellipses.pairwise_ellipses(known.mean, known.covariance, n_sigma=2.5)
    with measured(folder, "density of the first principal plane"):
        ellipses.plane_density(axes.transform(z))


def sample(folder: Path, n: int, _pipe: BinaryIO) -> None:
    """Fit the normal law to the points, and draw as many."""
    from aelib import MultivariateNormal

    with measured(folder, "fit"):
        law, rng = MultivariateNormal().fit(points(folder / "z.f32", n)), np.random.default_rng(SEED)
    with measured(folder, "draw"), (folder / f"drawn-{n}.f32").open("wb", buffering=0) as file:
        for _, m in starts(n, POINTS_AT_ONCE):
            file.write(law.sample(m, random_state=rng).astype(np.float32).data)


def score(folder: Path, n: int, _pipe: BinaryIO) -> None:
    """Score the drawn points against the others: some of each where a score looks at all pairs."""
    from aelib import fidelity

    real, drawn = points(folder / "z.f32", n), points(folder / f"drawn-{n}.f32", n)
    with measured(folder, "Fréchet distance"):
        fidelity.frechet_distance(real, drawn)
    chosen = np.sort(np.random.default_rng(SEED).permutation(n)[:PAIRED])
    real, drawn = real[chosen], drawn[chosen]
    with measured(folder, f"kernel distance, {len(chosen)} of each"):
        fidelity.kernel_distance(real, drawn)
    with measured(folder, f"precision and recall, {len(chosen)} of each"):
        fidelity.precision_recall(real, drawn)


STAGES: dict[str, Callable[[Path, int, BinaryIO], None]] = {
    call.__name__: call for call in (render, encode, cloud, statistics, dask, sample, score)
}


def main() -> None:
    """Run one stage; with a fourth word, refuse it more than so many megabytes of private memory."""
    stage, folder, n, *limit = sys.argv[1:]
    if limit:
        resource.setrlimit(resource.RLIMIT_DATA, (int(float(limit[0]) * 1e6),) * 2)
    # Only the images go into the pipe, whatever else is printed.
    with os.fdopen(os.dup(1), "wb") as pipe:
        os.dup2(2, 1)
        STAGES[stage](Path(folder), int(n), pipe)


if __name__ == "__main__":
    main()
