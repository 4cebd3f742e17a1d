"""Features and scores: beside prdc, SciPy and scikit-learn where they measure the same, and by themselves."""

import contextlib
import io
from collections.abc import Callable, Iterator

import numpy as np
from scipy.linalg import sqrtm
from sklearn.metrics.pairwise import polynomial_kernel

from aelib.audits import copying_audit, two_sample_test
from aelib.features import RandomConvolutions, extract
from aelib.fidelity import density_coverage, frechet_distance, kernel_distance, precision_recall
from benchmarks.measure import Row, furthest, is_missing, megabytes, seconds, times_as_fast
from benchmarks.statistics import cloud

GROUP = "scores"
N_IMAGES, N_PAIRED = 10_000, 5_000
N_TIMED = 512  # images that the time of all is measured with: it grows in proportion
K = 5


def rows() -> Iterator[Row]:
    """Measure one line of the table after the other."""
    real, generated = cloud(N_PAIRED, seed=1), cloud(N_PAIRED, seed=2)
    yield beside_prdc(real, generated)
    yield beside_scipy(real, generated)
    yield beside_sklearn(real, generated)
    yield from as_they_come()
    yield from features()


def beside_prdc(real: np.ndarray, generated: np.ndarray) -> Row:
    """Measure precision, recall, density and coverage; ours has, beside the four, the scores of two half-samples."""
    what, beside = "precision, recall, density, coverage, 5 000", "prdc"
    if is_missing("prdc"):
        return Row(GROUP, what, beside, (), "×", 1, missing="prdc")
    from prdc import compute_prdc

    def ours() -> list[float]:
        first = precision_recall(real, generated, k=K, draws=2, floor="none")
        second = density_coverage(real, generated, k=K, draws=2, floor="none")
        return [score.value for score in (*first, *second)]

    def theirs() -> list[float]:
        with contextlib.redirect_stdout(io.StringIO()):
            found = compute_prdc(real, generated, nearest_k=K)
        return [found[name] for name in ("precision", "recall", "density", "coverage")]

    apart = furthest(ours(), theirs())
    ratios = times_as_fast(ours, theirs, rounds=3)
    return Row(
        GROUP, what, beside, ratios, "×", 1, apart=apart, within=1e-3
    )  # a tie counts for one point of 5 000


def beside_scipy(real: np.ndarray, generated: np.ndarray) -> Row:
    """Measure the Fréchet distance beside its formula, as it is usually written."""

    def ours() -> float:
        return frechet_distance(real, generated, extrapolate=False, floor="none", draws=2).value

    def theirs() -> float:
        a, b = (np.cov(sample, rowvar=False) for sample in (real, generated))
        shift = real.mean(axis=0, dtype=np.float64) - generated.mean(axis=0, dtype=np.float64)
        return float(shift @ shift + np.trace(a + b - 2.0 * sqrtm(a @ b).real))

    apart = furthest(ours(), theirs())
    ratios = times_as_fast(ours, theirs, rounds=5)
    return Row(
        GROUP,
        "Fréchet distance, 5 000",
        "the formula with scipy.linalg.sqrtm",
        ratios,
        "×",
        1,
        apart=apart,
        within=1e-6,
    )


def beside_sklearn(real: np.ndarray, generated: np.ndarray) -> Row:
    """Measure the kernel distance beside the same sums of scikit-learn's kernel."""

    def ours() -> float:
        return kernel_distance(real, generated, standardise=False, floor="none", draws=2).value

    def theirs() -> float:
        x, y = real.astype(np.float64), generated.astype(np.float64)
        own = [polynomial_kernel(a, degree=3) for a in (x, y)]
        within = sum((k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in own)
        return float(within - 2.0 * polynomial_kernel(x, y, degree=3).mean())

    apart = furthest(ours(), theirs())
    ratios = times_as_fast(ours, theirs, rounds=3)
    return Row(
        GROUP,
        "kernel distance, 5 000",
        "sklearn polynomial_kernel",
        ratios,
        "×",
        1,
        apart=apart,
        within=1e-6,
    )


def as_they_come() -> Iterator[Row]:
    """Measure the time of every score with its interval and its floor."""
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
        time = seconds(call) / 60
        yield Row(GROUP, f"{name}, 10 000", "time, with interval and floor", (time,), "min", 5, at_most=True)
    extra = megabytes(lambda: precision_recall(real, generated, draws=2, floor="none"))
    yield Row(
        GROUP,
        "precision and recall, 10 000",
        "memory beyond the features",
        (extra,),
        "MB",
        1000,
        at_most=True,
    )


def features() -> Iterator[Row]:
    """Measure how long images take to become features, and what they need beyond themselves."""
    images = np.random.default_rng(0).random((N_TIMED, 96, 96, 3), dtype=np.float32)
    function = RandomConvolutions()
    what = "random filters, 10 000 images of 96 × 96"
    time = seconds(lambda: extract(function, images)) * N_IMAGES / N_TIMED
    yield Row(GROUP, what, "time", (time / 60,), "min", 5, at_most=True)
    extra = megabytes(lambda: extract(function, images))
    yield Row(GROUP, what, "memory beyond the images", (extra,), "MB", 500, at_most=True)
