"""Features: images as vectors in which two sets of images can be compared.

Whatever takes a batch of images to an array (n, k) serves as features, also a network of your own (Inception, say, if
you have its weights): `extract` reads any number of images through it, batch by batch.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial, reduce
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import Float, Float32
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.base import BaseEstimator
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from aelib.factors import factor_r_squared
from aelib.images import Images
from aelib.moments import Moments, measure_moments
from aelib.partitions import Points, is_partitioned, mapped
from aelib.pca import principal_axes

BATCH = 256  # images


@runtime_checkable
class Transformer(Protocol):
    """What turns images into features with a method `transform`, as scikit-learn's transformers do."""

    def transform(self, images: Float[np.ndarray, "..."]) -> Float[np.ndarray, "n k"]:
        """Return one row of features per image.

        Parameters
        ----------
        images : array of float, shape (n, h, w, 3), values in [0, 1]
            A batch of images.

        Returns
        -------
        array of float, shape (n, k)
            Their features.
        """
        ...


FeatureMap: TypeAlias = Transformer | Callable[[np.ndarray], np.ndarray]
"""A transformer, or a function from images (n, h, w, 3) to features (n, k)."""


def extract(features: FeatureMap, images: Images | Points, *, batch_size: int = BATCH) -> Points:
    """Turn any number of images into features, batch by batch.

    Parameters
    ----------
    features : transformer or callable
        A fitted transformer with a method `transform`, or a function that takes images (n, h, w, 3) to an array
        (n, k); for example the method `predict` of a network.
    images : Images or array of float, shape (n, h, w, 3), values in [0, 1]
        At least one image; also as a Dask array, with which the features go to its workers.
    batch_size : int
        Images per call, at least 1.

    Returns
    -------
    array of float, shape (n, k)
        One row per image; a Dask array for a Dask array.

    Raises
    ------
    ValueError
        If there is no image, the images are not of shape (n, h, w, 3), a value is not finite, or the features are not
        one finite row per image.

    Examples
    --------
    >>> extract(lambda images: images.mean(axis=(1, 2)), np.full((5, 8, 8, 3), 0.5), batch_size=2).shape
    (5, 3)
    """
    if is_partitioned(images):
        like = extract(features, np.zeros((1, *images.shape[1:]), np.float32))
        return mapped(
            partial(_part_features, batch_size=batch_size),
            images,
            shape=like.shape[1:],
            dtype=like.dtype,
            whole=(features,),
        )
    function = features.transform if isinstance(features, Transformer) else features
    parts = []
    for batch in image_batches(images, batch_size=batch_size):
        part = np.asarray(function(batch))
        if part.ndim != 2 or len(part) != len(batch) or not np.isfinite(part).all():
            raise ValueError(
                f"features of {len(batch)} images must be finite and of shape ({len(batch)}, k), not "
                f"{part.shape}; look at what the function returns."
            )
        parts.append(part)
    return np.concatenate(parts)


def _part_features(part: np.ndarray, _first: int, features: FeatureMap, *, batch_size: int) -> np.ndarray:
    return extract(features, part, batch_size=batch_size)


def image_batches(
    images: Images | Float[np.ndarray, "..."], *, batch_size: int = BATCH
) -> Iterator[Float32[np.ndarray, "b h w 3"]]:
    """Go through images batch by batch, and refuse what is none.

    Parameters
    ----------
    images : Images or array of float, shape (n, h, w, 3), values in [0, 1]
        At least one image.
    batch_size : int
        Images per batch, at least 1.

    Yields
    ------
    array of float32, shape (b, h, w, 3)
        The next images.

    Raises
    ------
    ValueError
        If there is no image, the shape is another one, a value is not finite, or `batch_size` is below 1.

    Examples
    --------
    >>> [len(batch) for batch in image_batches(np.zeros((5, 8, 8, 3)), batch_size=2)]
    [2, 2, 1]
    """
    shape = (len(images), images.size, images.size, 3) if isinstance(images, Images) else images.shape
    if len(shape) != 4 or shape[-1] != 3 or 0 in shape:
        raise ValueError(f"images must have shape (n, h, w, 3), with at least one image, not {shape}.")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}.")
    for start in range(0, len(images), batch_size):
        batch = np.asarray(images[start : start + batch_size], np.float32)
        if not np.isfinite(batch).all():
            raise ValueError(
                f"images must be finite; one of images {start} to {start + len(batch) - 1} is not."
            )
        yield batch


def _shrunk(images: Float32[np.ndarray, "n h w 3"], size: int) -> Float32[np.ndarray, "n size size 3"]:
    """Average square blocks of pixels."""
    n, height, width, _ = images.shape
    if height % size or width % size:
        raise ValueError(
            f"size must divide the images' sides, {height} and {width}, which {size} does not; take another one."
        )
    return images.reshape(n, size, height // size, size, width // size, 3).mean(axis=(2, 4))


class PixelPCA(BaseEstimator):
    r"""Leading principal coordinates of the pixels of images made smaller.

    The images are averaged over blocks to `size` pixels a side, and turned into coordinates along the first axes of
    their covariance, :math:`y = A(x - \bar x)`. These features see brightness, colour and coarse shape.

    They are linear in the pixels, and a decoder's coarse pixels are nearly linear in z. So they tell apart clouds with
    other means or covariances, but hardly a normal law from the cloud that it was fitted to, however they are scaled:
    take `CellContrast` or `RandomConvolutions` for that.

    Parameters
    ----------
    n_components : int
        Number of axes k, at least 1.
    size : int
        Side of the small images in pixels; a divisor of the images' side.

    Attributes
    ----------
    axes_ : PrincipalAxes
        The axes of the images that it was fitted to, with k axes of length 3 size².

    Examples
    --------
    >>> images = np.random.default_rng(0).random((50, 32, 32, 3))
    >>> PixelPCA(n_components=4, size=8).fit(images).transform(images).shape
    (50, 4)
    """

    def __init__(self, *, n_components: int = 64, size: int = 24) -> None:
        self.n_components = n_components
        self.size = size

    def fit(self, images: Images | Float[np.ndarray, "..."]) -> "PixelPCA":
        """Find the axes of images.

        Parameters
        ----------
        images : Images or array of float, shape (n, h, w, 3), values in [0, 1]
            More images than components.

        Returns
        -------
        PixelPCA
            Itself.

        Raises
        ------
        ValueError
            If the images are none, `size` does not divide their side, or they have variance along fewer than
            `n_components` axes.
        """
        batches = image_batches(images, batch_size=4 * BATCH)
        parts = (measure_moments(_shrunk(batch, self.size).reshape(len(batch), -1)) for batch in batches)
        self.axes_ = principal_axes(reduce(Moments.merge, parts), k=self.n_components)
        return self

    def transform(self, images: Images | Float[np.ndarray, "..."]) -> Float[np.ndarray, "n k"]:
        """Return the coordinates of images along the axes.

        Parameters
        ----------
        images : Images or array of float, shape (n, h, w, 3), values in [0, 1]
            At least one image, of a side that `size` divides.

        Returns
        -------
        array of float32, shape (n, k)
            Coordinates, in units of the pixels' values.

        Raises
        ------
        ValueError
            If the images are none, or `size` does not divide their side.
        """
        check_is_fitted(self)
        parts = [
            self.axes_.transform(_shrunk(batch, self.size).reshape(len(batch), -1))
            for batch in image_batches(images)
        ]
        return np.concatenate(parts)


@dataclass(frozen=True)
class CellContrast:
    r"""Contrast of the brightness in the cells of a grid.

    The standard deviation of the grey values, the means of the three colours, over the pixels of each cell. These
    features see where there is how much contrast: blur, sharpness, and patterns that are too weak or too strong. They
    know nothing of the set of images at hand, and are of second order in the pixels: a sampler that hits the mean and
    the covariance of the z-points does not hit them for that.

    Parameters
    ----------
    cells : int
        Cells per side, at least 1; a divisor of the images' sides.

    Examples
    --------
    >>> CellContrast(cells=2).transform(np.zeros((3, 8, 8, 3))).shape
    (3, 4)
    """

    cells: int = 8

    def __post_init__(self) -> None:
        if self.cells < 1:
            raise ValueError(f"cells must be at least 1, not {self.cells}.")

    def transform(self, images: Images | Float[np.ndarray, "..."]) -> Float32[np.ndarray, "n k"]:
        """Return the contrasts of images.

        Parameters
        ----------
        images : Images or array of float, shape (n, h, w, 3), values in [0, 1]
            At least one image, of sides that `cells` divides.

        Returns
        -------
        array of float32, shape (n, cells²)
            Contrasts in units of the pixels' values, row by row of the grid.

        Raises
        ------
        ValueError
            If the images are none, or `cells` does not divide their sides.
        """
        parts = []
        for batch in image_batches(images):
            grey = batch.mean(axis=-1)
            n, height, width = grey.shape
            if height % self.cells or width % self.cells:
                raise ValueError(
                    f"cells must divide the images' sides, {height} and {width}, not be {self.cells}."
                )
            squares = grey.reshape(n, self.cells, height // self.cells, self.cells, width // self.cells)
            parts.append(squares.std(axis=(2, 4)).reshape(n, -1))
        return np.concatenate(parts)


@dataclass(frozen=True)
class RandomConvolutions:
    r"""Responses of a convolutional network whose filters are random and never trained.

    The first level's filters are 5 x 5 pixels and move by 2 pixels, those of the others are 3 x 3 and move by 1; after
    each of these others, maps are averaged over 2 x 2 pixels. So each level sees structure twice as coarse as the one
    before. The weights are normal random numbers; those of the first level sum to 0 over each colour, for otherwise
    brightness makes three quarters of the features' variance and hides all else. Each response is shifted and scaled to
    mean 0 and deviation 1 over a fixed set of noise images with the 1/f spectrum of natural images, and passes a
    rectifier, max(0, x). A level's features are the averages of its maps over grid x grid cells.

    Random filters see textures, edges and their places, not brightness (`PixelPCA` does), and know nothing of the set
    of images at hand: the same seed gives the same features for all.

    Parameters
    ----------
    channels : tuple of int
        Filters of each level, at least one level.
    grid : int
        Cells per side, at least 1.
    seed : int
        Seed of the filters.

    References
    ----------
    .. [1] K. Jarrett, K. Kavukcuoglu, M. Ranzato and Y. LeCun (2009), What is the best multi-stage architecture for
       object recognition?, ICCV.
    .. [2] D. J. Field (1987), Relations between the statistics of natural images and the response properties of
       cortical cells, Journal of the Optical Society of America A 4, 2379-2394.

    Examples
    --------
    >>> RandomConvolutions(channels=(4, 4)).transform(np.zeros((2, 32, 32, 3))).shape
    (2, 32)
    """

    channels: tuple[int, ...] = (16, 16, 16, 16)
    grid: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.channels or min(self.channels) < 1 or self.grid < 1:
            raise ValueError(
                f"channels must be at least one number of filters and grid at least 1, not {self.channels} and "
                f"{self.grid}."
            )

    def transform(self, images: Images | Float[np.ndarray, "..."]) -> Float32[np.ndarray, "n k"]:
        """Return the features of images.

        Parameters
        ----------
        images : Images or array of float, shape (n, h, w, 3), values in [0, 1]
            At least one image, large enough for the last level's cells.

        Returns
        -------
        array of float32, shape (n, k)
            grid² features for each filter, those of the finest level first.

        Raises
        ------
        ValueError
            If the images are none, or too small.
        """
        layers = _random_layers(self.channels, self.seed)
        smallest = self.grid * 2 ** len(layers)  # each level halves the maps, and every cell needs a pixel
        parts = []
        for batch in image_batches(images, batch_size=32):
            if min(batch.shape[1:3]) < smallest:
                raise ValueError(
                    f"images must have {smallest} pixels a side or more for {len(layers)} levels and {self.grid} x "
                    f"{self.grid} cells, not {batch.shape[1:3]}; take fewer levels or cells."
                )
            maps = _levels(batch - np.float32(0.5), layers)
            cells = [_cell_means(level, self.grid).reshape(len(batch), -1) for level in maps]
            parts.append(np.concatenate(cells, axis=1))
        return np.concatenate(parts)


@dataclass(frozen=True, eq=False)
class _Layer:
    """A level's weights, one column per filter, and what is added to its responses."""

    weights: Float32[np.ndarray, "taps filters"]
    bias: Float32[np.ndarray, " filters"]
    side: int  # of a filter
    stride: int

    def responses(self, maps: Float32[np.ndarray, "n h w c"]) -> Float32[np.ndarray, "n hh ww filters"]:
        before, after = (self.side - 1) // 2, self.side // 2
        padded = np.pad(maps, ((0, 0), (before, after), (before, after), (0, 0)), mode="edge")
        windows = sliding_window_view(padded, (self.side, self.side), axis=(1, 2))
        windows = windows[:, :: self.stride, :: self.stride].transpose(0, 1, 2, 4, 5, 3)
        # A product for each image: in one for all, the rounding of an image would depend on its place.
        flat = windows.reshape(len(maps), -1, len(self.weights)) @ self.weights
        flat += self.bias
        return flat.reshape(*windows.shape[:3], -1)


def _levels(maps: Float32[np.ndarray, "n h w c"], layers: tuple[_Layer, ...]) -> Iterator[np.ndarray]:
    for layer in layers:
        maps = layer.responses(maps)
        np.maximum(maps, 0.0, out=maps)
        if layer.stride == 1:
            maps = _halved(maps)
        yield maps


def _halved(maps: Float32[np.ndarray, "n h w c"]) -> Float32[np.ndarray, "n hh ww c"]:
    """Average 2 x 2 pixels; an odd last row or column is left out."""
    height, width = (2 * (side // 2) for side in maps.shape[1:3])
    even = maps[:, :height, :width]
    total = even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]
    return np.multiply(total, np.float32(0.25), out=total)


def _cell_means(maps: Float32[np.ndarray, "n h w c"], grid: int) -> Float32[np.ndarray, "n grid grid c"]:
    rows, columns = ([round(side * cell / grid) for cell in range(grid + 1)] for side in maps.shape[1:3])
    sums = np.add.reduceat(np.add.reduceat(maps, rows[:-1], axis=1), columns[:-1], axis=2)
    sizes = np.outer(np.diff(rows), np.diff(columns)).astype(np.float32)
    return sums / sizes[..., None]


@lru_cache(maxsize=8)
def _random_layers(channels: tuple[int, ...], seed: int) -> tuple[_Layer, ...]:
    """Draw the filters, level after level, and set their responses to noise to mean 0 and deviation 1."""
    rng = np.random.default_rng(seed)
    maps, layers = _natural_noise(rng, n=32, size=64), []
    for level, filters in enumerate(channels):
        side, stride = (5, 2) if level == 0 else (3, 1)
        weights = rng.standard_normal((side * side, maps.shape[-1], filters), np.float32)
        if level == 0:
            weights -= weights.mean(axis=0)
        weights = weights.reshape(-1, filters)
        raw = _Layer(weights, np.zeros(filters, np.float32), side, stride).responses(maps)
        mean, spread = raw.mean(axis=(0, 1, 2)), raw.std(axis=(0, 1, 2))
        layers.append(_Layer(weights / spread, -mean / spread, side, stride))
        (maps,) = _levels(maps, (layers[-1],))
    return tuple(layers)


def _natural_noise(rng: np.random.Generator, *, n: int, size: int) -> Float32[np.ndarray, "n size size 3"]:
    """Draw images with amplitudes that fall as 1/f, mean 0 and deviation 1/4."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size))
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((n, 3, size, size))) / frequency
    noise = np.moveaxis(np.fft.irfft2(spectrum, s=(size, size)), 1, -1)
    return (0.25 * noise / noise.std()).astype(np.float32)


class FactorReader(BaseEstimator):
    r"""Reads the factors of the embedded faces off images, by ridge regression on fixed features.

    How well each factor is read is measured on images held out from the regression. Only factors with an
    :math:`R^2` of `least_r_squared` or more are kept. A reading is drawn towards the mean, the more so the smaller its
    :math:`R^2`: compare readings with readings, not with the factors themselves.

    Of 2500 rendered faces of 96 pixels, three quarters of them for the regression, the defaults read 17 factors with
    :math:`R^2` of 0.5 or more: 0.92 for yaw, 0.87 for the length of the hair, 0.84 for the darkness of the skin and the
    direction of the light, 0.7 to 0.8 for roll, pitch, shift and the brightness of wall and clothes. Of 400 faces of 64
    pixels they read three. What is small in the picture, such as smile and gaze, is not read.

    Parameters
    ----------
    features : transformer or callable
        What the regression sees, as `extract` takes it.
    ridge : float
        Penalty on the coefficients of the standardised features, at least 0, as a share of their variance.
    least_r_squared : float
        What a factor must reach on the held-out images to be kept, below 1.
    test_share : float
        Share of the images held out, in (0, 1).
    random_state : int
        Seed that chooses them.

    Attributes
    ----------
    r_squared_ : pandas.DataFrame, columns r_squared and standard_error
        All factors that vary, read from held-out images.
    factors_ : list of str
        The factors that are kept.
    std_ : array of float64, shape (k,)
        Standard deviation of each kept factor in the images, in its own unit.
    model_ : sklearn.pipeline.Pipeline
        The regression on all images.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> light = pd.DataFrame({"light": rng.random(60)})
    >>> images = np.full((60, 8, 8, 3), light.to_numpy()[:, :, None, None])
    >>> reader = FactorReader(lambda batch: batch.mean(axis=(1, 2)), ridge=0.0).fit(images, light)
    >>> reader.r_squared_.round(3)
           r_squared  standard_error
    light        1.0             0.0
    """

    def __init__(
        self,
        features: FeatureMap = RandomConvolutions(grid=4),
        *,
        ridge: float = 0.1,
        least_r_squared: float = 0.5,
        test_share: float = 0.25,
        random_state: int = 0,
    ) -> None:
        self.features = features
        self.ridge = ridge
        self.least_r_squared = least_r_squared
        self.test_share = test_share
        self.random_state = random_state

    def fit(self, images: Images | Float[np.ndarray, "..."], y: pd.DataFrame) -> "FactorReader":
        """Fit the regression.

        Parameters
        ----------
        images : Images or array of float, shape (n, h, w, 3), values in [0, 1]
            Rendered faces.
        y : pandas.DataFrame, n rows
            Their factors: for `Images` of faces, ``images.table``. Columns that are not numbers, or constant, are left
            out.

        Returns
        -------
        FactorReader
            Itself.

        Raises
        ------
        ValueError
            If the images are none, the table does not fit them, or no factor reaches `least_r_squared`.
        """
        x = extract(self.features, images)
        self.r_squared_ = factor_r_squared(
            x, y, ridge=self.ridge, test_share=self.test_share, random_state=self.random_state
        )
        kept = self.r_squared_.index[self.r_squared_.r_squared >= self.least_r_squared]
        if kept.empty:
            best = self.r_squared_.r_squared.max()
            raise ValueError(
                f"no factor is read with R² of {self.least_r_squared} or more; the best has {best:.2f}. "
                "Take more images, other features, or a smaller least_r_squared."
            )
        values = y[kept].to_numpy(dtype=np.float64)
        self.factors_ = list(kept)
        self.std_ = values.std(axis=0, ddof=1)
        self.model_ = make_pipeline(StandardScaler(), Ridge(alpha=self.ridge * len(x), solver="svd"))
        self.model_.fit(x.astype(np.float64), values / self.std_)
        return self

    def transform(self, images: Images | Float[np.ndarray, "..."]) -> Float[np.ndarray, "n k"]:
        """Read the kept factors in units of their standard deviations.

        Parameters
        ----------
        images : Images or array of float, shape (n, h, w, 3), values in [0, 1]
            At least one image.

        Returns
        -------
        array of float64, shape (n, k)
            One column per kept factor.

        Raises
        ------
        ValueError
            If the images are none.
        """
        check_is_fitted(self)
        x = extract(self.features, images).astype(np.float64)
        return self.model_.predict(x).reshape(len(x), len(self.factors_))

    def predict(self, images: Images | Float[np.ndarray, "..."]) -> pd.DataFrame:
        """Read the kept factors in their own units.

        Parameters
        ----------
        images : Images or array of float, shape (n, h, w, 3), values in [0, 1]
            At least one image.

        Returns
        -------
        pandas.DataFrame, shape (n, k)
            One row per image, one column per kept factor.

        Raises
        ------
        ValueError
            If the images are none.
        """
        return pd.DataFrame(self.transform(images) * self.std_, columns=self.factors_)
