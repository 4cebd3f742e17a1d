"""Cores and threads."""

import os

import numpy as np
import pytest
import scipy.linalg  # noqa: F401 - its BLAS is to be found among those of this process
from threadpoolctl import threadpool_info, threadpool_limits

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


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_blas_has_its_threads_back_whoever_ends_first(order):
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        blocks = [one_blas_thread() for _ in range(2)]
        for block in blocks:
            block.__enter__()
        assert set(blas_threads()) == {1}
        blocks[order[0]].__exit__(None, None, None)
        assert set(blas_threads()) == {1}
        blocks[order[1]].__exit__(None, None, None)
        assert blas_threads() == before
        assert set(before) == {2}
