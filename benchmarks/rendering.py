"""How fast the embedded faces are drawn."""

from collections.abc import Iterator

from aelib import faces
from benchmarks.measure import Row, megabytes, seconds

GROUP, N = "rendering", 3000


def rows() -> Iterator[Row]:
    """Measure images per second on all cores, and memory beyond the images."""
    what = "rendered faces, 96 × 96"
    factors = faces.sample_factors(range(N), seed=1)
    faces.render(factors[:8])  # compiles
    rates = tuple(N / seconds(lambda: faces.render(factors)) for _ in range(3))
    yield Row(GROUP, what, "all cores", rates, "images/s", 1000)
    extra = megabytes(lambda: faces.render(factors)) - N * 96 * 96 * 3 * 4 / 1e6
    yield Row(GROUP, what, "memory beyond the images", (extra,), "MB", 100, at_most=True)
