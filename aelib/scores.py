"""Scores: real images against generated or reconstructed ones, each with its uncertainty."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Estimate(NamedTuple):
    """A measured figure.

    Parameters
    ----------
    value : float
        The figure itself.
    standard_error : float
        Its standard error over the images, in the same unit.
    """

    value: float
    standard_error: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ± {self.standard_error:.2f}"


def squared_errors(
    images: Float[np.ndarray, "n h w c"], copies: Float[np.ndarray, "..."]
) -> Float[np.ndarray, " n"]:
    """Measure the mean squared error of each image's copy.

    Parameters
    ----------
    images, copies : array of float, shape (n, h, w, c), values in [0, 1]
        Images and what is compared with them, in the same order.

    Returns
    -------
    array of float64, shape (n,)
        Mean squared difference over pixels and colours.

    Raises
    ------
    ValueError
        If the shapes differ or there is no image.

    Examples
    --------
    >>> squared_errors(np.zeros((2, 4, 4, 3)), np.full((2, 4, 4, 3), 0.1)).round(4)
    array([0.01, 0.01])
    """
    if images.shape != copies.shape or len(images) == 0:
        raise ValueError(
            f"images and copies must have one shape (n, h, w, c) with n of at least 1, "
            f"not {images.shape} and {copies.shape}."
        )
    return np.array([np.square(a - b, dtype=np.float64).mean() for a, b in zip(images, copies, strict=True)])


def psnr(images: Float[np.ndarray, "n h w c"], copies: Float[np.ndarray, "..."]) -> Estimate:
    r"""Measure the peak signal-to-noise ratio of copies of images.

    Parameters
    ----------
    images, copies : array of float, shape (n, h, w, c), values in [0, 1]
        Images and their copies, in the same order.

    Returns
    -------
    Estimate
        In decibels, as `psnr_from_errors` gives for their squared errors.

    Raises
    ------
    ValueError
        If the shapes differ or there is no image.

    Examples
    --------
    >>> print(psnr(np.zeros((2, 4, 4, 3)), np.full((2, 4, 4, 3), 0.1)))
    20.00 ± 0.00
    """
    return psnr_from_errors(squared_errors(images, copies))


def psnr_from_errors(errors: Float[np.ndarray, " n"]) -> Estimate:
    r"""Turn squared errors of images into a peak signal-to-noise ratio.

    :math:`-10 \log_{10} \bar e`, where :math:`\bar e` is the mean squared error over the images and 1 is the peak.
    The standard error follows from that of :math:`\bar e` by the delta method.

    Parameters
    ----------
    errors : array of float, shape (n,)
        Mean squared error of each image, at least 0.

    Returns
    -------
    Estimate
        In decibels; infinite if all errors are 0. The standard error is not-a-number for a single image.

    Raises
    ------
    ValueError
        If there is no error, or one is negative or not finite.

    Examples
    --------
    >>> print(psnr_from_errors(np.array([0.01, 0.01])))
    20.00 ± 0.00
    """
    if len(errors) == 0 or not (np.isfinite(errors).all() and errors.min() >= 0):
        raise ValueError("errors must be finite and at least 0, and there must be at least one.")
    mean = errors.mean(dtype=np.float64)
    if mean == 0.0:
        return Estimate(np.inf, 0.0)
    spread = errors.std(ddof=1) / np.sqrt(len(errors)) if len(errors) > 1 else np.nan
    return Estimate(float(-10.0 * np.log10(mean)), float(10.0 / np.log(10.0) * spread / mean))


def kept_by_frequency(
    images: Float[np.ndarray, "..."], copies: Float[np.ndarray, "..."], *, bands: int = 12
) -> Float[np.ndarray, " bands"]:
    r"""Measure what share of the images' structure their copies keep, from coarse to fine.

    Both are Fourier transformed over their pixels, under a Hann window, without which the jump from one border to the
    opposite one would pass for fine structure. In each band of radial frequency the share is
    :math:`1 - E(\text{image} - \text{copy}) / E(\text{image} - \text{mean image})`, with E the summed squared
    amplitudes: 1 where the copies are exact, 0 where they are no better than the mean image.

    Parameters
    ----------
    images, copies : array of float, shape (n, s, s, c), values in [0, 1]
        Square images, at least two of them different, and their copies in the same order.
    bands : int
        Number of bands of equal width from frequency 0 to 1/2 per pixel.

    Returns
    -------
    array of float64, shape (bands,)
        Share kept in each band; negative where the copies are worse than the mean image.

    Raises
    ------
    ValueError
        If the shapes differ, the images are not square, or they are all alike.

    References
    ----------
    .. [1] F. J. Harris (1978), On the use of windows for harmonic analysis with the discrete Fourier transform,
       Proceedings of the IEEE 66, 51-83.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> images = rng.random((8, 32, 32, 3))
    >>> kept_by_frequency(images, images, bands=4)
    array([1., 1., 1., 1.])
    """
    if images.shape != copies.shape or images.ndim != 4 or images.shape[1] != images.shape[2]:
        raise ValueError(
            f"images and copies must have one shape (n, s, s, c), not {images.shape} and {copies.shape}."
        )
    mean, lost, present = images.mean(axis=0), np.zeros(bands), np.zeros(bands)
    band = _radial_bands(images.shape[1], bands)
    for image, copy in zip(images, copies, strict=True):
        lost += _energy(image - copy, band, bands)
        present += _energy(image - mean, band, bands)
    if not present.all():
        raise ValueError("images must differ from each other in every band of frequency; take more images.")
    return 1.0 - lost / present


def _radial_bands(size: int, bands: int) -> np.ndarray:
    """Return the band of each Fourier coefficient; `bands` for those in the corners, beyond 1/2 per pixel."""
    frequency = np.fft.fftfreq(size)
    radius = np.hypot(*np.meshgrid(frequency, frequency))
    return np.minimum((2.0 * bands * radius).astype(int), bands)


def _energy(image: np.ndarray, band: np.ndarray, bands: int) -> Float[np.ndarray, " bands"]:
    window = np.hanning(len(image))
    amplitude = np.abs(np.fft.fft2(image * np.outer(window, window)[..., None], axes=(0, 1))) ** 2
    return np.bincount(band.ravel(), amplitude.sum(axis=2).ravel(), minlength=bands + 1)[:bands]
