"""How fast the embedded faces are drawn."""

from collections.abc import Iterator

from aelib import faces
from benchmarks.measure import Row, megabytes, seconds


def rows() -> Iterator[Row]:
    """Measure images per second on all cores, and memory beyond the images."""
    factors = faces.sample_factors(range(4000), seed=1)
    faces.render(factors[:8])  # compiles
    rate = len(factors) / seconds(lambda: faces.render(factors), times=3)
    yield Row("rendered faces, 96 × 96, all cores", "images per second", rate, "/s", 1000)
    extra = megabytes(lambda: faces.render(factors)) - len(factors) * 96 * 96 * 3 * 4 / 1e6
    yield Row("", "memory beyond the images, 4 000 faces", extra, "MB", 100, True)
