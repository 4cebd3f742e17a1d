"""Features and scores of 10 000 images against 10 000, and samplers at the source's number of components."""

from collections.abc import Callable, Iterator

import numpy as np

from aelib import samplers
from aelib.audits import copying_audit, two_sample_test
from aelib.features import RandomConvolutions, extract
from aelib.fidelity import density_coverage, frechet_distance, kernel_distance, precision_recall
from benchmarks.measure import Row, megabytes, seconds
from benchmarks.statistics import Z_DIM, cloud

N_IMAGES, N_POINTS = 10_000, 20_000
N_TIMED = 1024  # images that the time of all is measured with: it grows in proportion
PAIR = "10 000 × 10 000, 256 features"


def rows() -> Iterator[Row]:
    """Measure one line of the table after the other."""
    yield from features()
    yield from scores()
    yield from drawing()


def features() -> Iterator[Row]:
    """Measure how long images take to become features, and what they need beyond themselves."""
    images = np.random.default_rng(0).random((N_TIMED, 96, 96, 3), dtype=np.float32)
    function = RandomConvolutions()
    time = seconds(lambda: extract(function, images)) * N_IMAGES / N_TIMED
    yield Row("random filters, 10 000 images of 96 × 96", "time", time / 60, "min", 5, True)
    yield Row("", "memory beyond the images", megabytes(lambda: extract(function, images)), "MB", 500, True)


def scores() -> Iterator[Row]:
    """Measure the time of every score with its interval, and the memory of the hungriest."""
    real, generated = cloud(N_IMAGES, seed=1), cloud(N_IMAGES, seed=2)
    calls: dict[str, Callable[[], object]] = {
        "Fréchet distance": lambda: frechet_distance(real, generated),
        "kernel distance": lambda: kernel_distance(real, generated),
        "precision and recall": lambda: precision_recall(real, generated),
        "density and coverage": lambda: density_coverage(real, generated),
        "copying audit": lambda: copying_audit(generated, real, cloud(2000, seed=3)),
        "two-sample test, neural": lambda: two_sample_test(real, generated, classifier="neural"),
    }
    for name, call in calls.items():
        yield Row(f"{name}, {PAIR}", "time, with its interval", seconds(call) / 60, "min", 5, True)
    extra = megabytes(lambda: precision_recall(real, generated, draws=2, floor="none"))
    yield Row(f"precision and recall, {PAIR}", "memory beyond the features", extra, "MB", 1000, True)


def drawing() -> Iterator[Row]:
    """Measure samplers: one fit, and 10 000 points drawn."""
    z = cloud(N_POINTS)
    for sampler in (
        samplers.MultivariateNormal(),
        samplers.EllipseLimited(),
        samplers.TruncatedNormal(0.9),
        samplers.PCAMarginals(),
        samplers.GaussianCopula(),
        samplers.NeighbourInterpolation(draw="kernel"),
    ):
        time = seconds(lambda: sampler.fit(z).sample(N_IMAGES, random_state=0))
        yield Row(
            f"{type(sampler).__name__}, 20 000 × {Z_DIM}",
            "time to fit, and to draw 10 000",
            time,
            "s",
            60,
            True,
        )
