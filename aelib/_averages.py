"""Averages of pixels over areas, compiled with Numba; `aelib.decoding` is its only caller."""

import math
from typing import no_type_check

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
@no_type_check  # the type checks of the tests would wrap it, and numba compiles no wrapper
def average_areas(
    pixels: np.ndarray, left: float, top: float, right: float, bottom: float, size: int
) -> np.ndarray:
    """Average (height, width, 3) bytes over the size x size cells of a box, each pixel by its share."""
    stripes = _average_rows(pixels, top, bottom, size)
    turned = _average_rows(stripes.transpose(1, 0, 2), left, right, size)
    result = np.empty((size, size, 3), np.uint8)
    for i in range(size):
        for j in range(size):
            for channel in range(3):
                result[i, j, channel] = np.uint8(turned[j, i, channel] + 0.5)
    return result


@njit(nogil=True, cache=True)
@no_type_check
def _average_rows(pixels: np.ndarray, low: float, high: float, size: int) -> np.ndarray:
    """Average (height, width, 3) values over `size` equal intervals of the first axis."""
    result = np.zeros((size, pixels.shape[1], 3))
    step = (high - low) / size
    for i in range(size):
        start, stop = low + i * step, low + (i + 1) * step
        for row in range(int(start), min(math.ceil(stop), pixels.shape[0])):
            share = (min(stop, row + 1) - max(start, row)) / step
            for column in range(pixels.shape[1]):
                for channel in range(3):
                    result[i, column, channel] += share * pixels[row, column, channel]
    return result
