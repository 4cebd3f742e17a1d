"""Cores and threads: how many there are, and BLAS on one of them while others are busy."""

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


def n_cores() -> int:
    """Count the processor cores that this process may use.

    Returns
    -------
    int
        At least 1.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Blas:
    """Knows how many blocks need BLAS on one thread: the first sets it so, the last restores what was before."""

    def __init__(self) -> None:
        self._lock, self._blocks, self._limit = threading.Lock(), 0, ExitStack()

    def begin(self) -> None:
        with self._lock:
            if self._blocks == 0:
                self._limit.enter_context(_controller().limit(limits=1, user_api="blas"))
            self._blocks += 1

    def end(self) -> None:
        with self._lock:
            self._blocks -= 1
            if self._blocks == 0:
                self._limit.close()


_BLAS = _Blas()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep matrix products and decompositions to one thread each, where the work is shared out otherwise.

    The number of threads is that of the whole process, and comes back when no block needs it to be one any more. Blocks
    in several threads may overlap, and end in any order: were each to restore what it had found, the last one could
    leave another's limit behind.
    """
    _BLAS.begin()
    try:
        yield
    finally:
        _BLAS.end()


@cache
def _controller() -> ThreadpoolController:
    """Look for BLAS libraries once: it takes 3 ms, as long as a small statistic."""
    import scipy.linalg  # noqa: F401 - it brings SciPy's own BLAS into memory

    return ThreadpoolController()
