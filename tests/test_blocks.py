"""Tests of aelib.blocks: all rows once, in their order, and nothing but finite clouds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aelib.blocks import checked_blocks


@given(n=st.integers(1, 40), block=st.integers(1, 50))
def test_every_row_comes_once_and_in_order(n, block):
    z = np.arange(2.0 * n).reshape(n, 2)
    found = list(checked_blocks(z, block=block))
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in found]), z)
    assert all(np.shares_memory(rows, z) and np.array_equal(z[where], rows) for where, rows in found)
    assert max(len(rows) for _, rows in found) <= block


def test_points_of_a_part_are_counted_as_in_the_whole():
    z = np.zeros((4, 2))
    z[1, 0] = np.nan
    with pytest.raises(ValueError, match="of point 101 is nan"):
        list(checked_blocks(z, first=100))


@pytest.mark.parametrize("shape", [(3,), (0, 3), (3, 0), (2, 2, 2)])
def test_what_is_no_cloud_is_refused_at_once(shape):
    with pytest.raises(ValueError, match=r"points must have shape \(n, d\)"):
        checked_blocks(np.zeros(shape), name="points")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named(bad):
    z = np.zeros((9, 3))
    z[7, 2] = bad
    with pytest.raises(ValueError, match=f"z must be finite, but component 2 of point 7 is {bad}"):
        list(checked_blocks(z, block=4))


def test_a_block_has_a_point_at_least():
    with pytest.raises(ValueError, match="block must be at least 1, not 0"):
        checked_blocks(np.zeros((3, 2)), block=0)
