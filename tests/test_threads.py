"""Cores and threads."""

import os

import numpy as np
import scipy.linalg  # noqa: F401 - its BLAS is to be found among those of this process
from threadpoolctl import threadpool_info

from aelib.threads import n_cores, one_blas_thread


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_the_cores_are_those_of_the_process(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5, 7})
    assert n_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert n_cores() == 1


def test_every_blas_has_one_thread_for_a_while():
    np.ones((2, 2)) @ np.ones((2, 2))
    before = blas_threads()
    for _ in range(2):  # the libraries are looked for the first time, and known the second
        with one_blas_thread():
            assert blas_threads() == [1] * len(before)
        assert blas_threads() == before
