"""Cores and threads: how many there are, and BLAS on one of them while others are busy."""

import os
from contextlib import AbstractContextManager
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


def one_blas_thread() -> AbstractContextManager[object]:
    """Keep matrix products and decompositions to one thread each, where the work is shared out otherwise.

    Returns
    -------
    context manager
        The number of threads before comes back at its end. It holds for the whole process.
    """
    return _controller().limit(limits=1, user_api="blas")


@cache
def _controller() -> ThreadpoolController:
    """Look for BLAS libraries once: it takes 3 ms, as long as a small statistic."""
    import scipy.linalg  # noqa: F401 - it brings SciPy's own BLAS into memory

    return ThreadpoolController()
