import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError

from aelib.features import FactorReader, PixelPCA, RandomConvolutions, _random_layers, extract, image_batches
from aelib.images import Images

RNG = np.random.default_rng(0)
PHOTOS = RNG.random((40, 32, 32, 3))


def test_images_and_arrays_are_read_in_batches_with_the_same_features():
    images = Images.from_array(PHOTOS)

    def colours(batch):
        assert batch.dtype == np.float32
        assert len(batch) <= 7
        return batch.mean(axis=(1, 2))

    by_view = extract(colours, images, batch_size=7)
    np.testing.assert_allclose(by_view, images[:].mean(axis=(1, 2)), rtol=1e-6)
    np.testing.assert_array_equal(extract(colours, images[:], batch_size=7), by_view)


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (4, 8, 8), (4, 8, 8, 1)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(ValueError, match=r"images must have shape \(n, h, w, 3\)"):
        list(image_batches(np.zeros(shape)))


def test_features_must_be_one_finite_row_per_image():
    with pytest.raises(ValueError, match="images must be finite"):
        extract(lambda batch: batch[:, 0, 0], np.full((3, 8, 8, 3), np.nan))
    for wrong in (lambda b: b, lambda b: b[:1, 0, 0], lambda b: b[:, 0, 0] * np.nan):
        with pytest.raises(ValueError, match=r"features of 3 images must be finite and of shape \(3, k\)"):
            extract(wrong, np.ones((3, 8, 8, 3)))
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        list(image_batches(PHOTOS, batch_size=0))


def test_pixel_coordinates_are_scikit_learns():
    small = PHOTOS.reshape(40, 8, 4, 8, 4, 3).mean(axis=(2, 4)).reshape(40, -1)
    oracle = PCA(n_components=5, svd_solver="full").fit(small).transform(small)
    found = PixelPCA(n_components=5, size=8).fit(PHOTOS).transform(PHOTOS)
    # The images are read in float32.
    np.testing.assert_allclose(np.abs(found), np.abs(oracle), atol=1e-5)


def test_pixel_coordinates_refuse_what_they_cannot_use():
    with pytest.raises(NotFittedError):
        PixelPCA().transform(PHOTOS)
    with pytest.raises(ValueError, match="size must divide the images' sides, 32 and 32, which 24 does not"):
        PixelPCA(size=24).fit(PHOTOS)
    with pytest.raises(ValueError, match="k must be 1 to 39"):
        PixelPCA(n_components=40, size=8).fit(PHOTOS)


def slow_features(images, features):
    """Convolve, rectify, average, pixel by pixel."""
    maps, levels = images - 0.5, []
    for layer in _random_layers(features.channels, features.seed):
        pad = layer.side // 2
        padded = np.pad(maps, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="edge")
        size = -(-maps.shape[1] // layer.stride)
        kernels = layer.weights.reshape(layer.side, layer.side, maps.shape[-1], -1)
        out = np.empty((len(maps), size, size, kernels.shape[-1]))
        for i, j in np.ndindex(size, size):
            window = padded[:, i * layer.stride :, j * layer.stride :][:, : layer.side, : layer.side]
            out[:, i, j] = np.tensordot(window, kernels, 3) + layer.bias
        maps = np.maximum(out, 0)
        if layer.stride == 1:
            maps = maps.reshape(len(maps), size // 2, 2, size // 2, 2, -1).mean(axis=(2, 4))
        g, cell = features.grid, maps.shape[1] // features.grid
        levels.append(maps.reshape(len(maps), g, cell, g, cell, -1).mean(axis=(2, 4)).reshape(len(maps), -1))
    return np.hstack(levels)


def test_random_convolutions_agree_with_the_slow_way():
    features = RandomConvolutions(channels=(3, 4, 5), grid=2, seed=3)
    found = features.transform(PHOTOS[:4])
    np.testing.assert_allclose(found, slow_features(PHOTOS[:4], features), rtol=1e-4, atol=1e-5)


def test_random_convolutions_depend_on_their_seed_but_not_on_brightness():
    first = RandomConvolutions(seed=1).transform(PHOTOS)
    np.testing.assert_allclose(RandomConvolutions(seed=1).transform(PHOTOS[::-1])[::-1], first, rtol=1e-5)
    assert not np.allclose(RandomConvolutions(seed=2).transform(PHOTOS), first)
    np.testing.assert_allclose(RandomConvolutions(seed=1).transform(PHOTOS + 0.3), first, atol=1e-4)
    with pytest.raises(ValueError, match="images must have 16 pixels a side or more"):
        RandomConvolutions().transform(PHOTOS[:, :8, :8])
    with pytest.raises(ValueError, match="at least one number of filters"):
        RandomConvolutions(channels=())


def colours_and_name(n):
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {"red": rng.random(n), "noise": rng.random(n), "name": "x", "blue": 5 * rng.random(n)}
    )


def test_a_reader_reads_what_is_there_and_says_so():
    table = colours_and_name(300)
    images = np.zeros((300, 8, 8, 3))
    images[..., 0], images[..., 2] = (table[c].to_numpy()[:, None, None] for c in ("red", "blue"))
    images += 0.01 * RNG.standard_normal(images.shape)
    reader = FactorReader(lambda batch: batch.mean(axis=(1, 2)), ridge=1e-6).fit(images, table)
    assert reader.factors_ == ["red", "blue"]
    assert list(reader.r_squared_.index) == ["red", "noise", "blue"]
    assert reader.r_squared_.r_squared["noise"] < 0.1 < 0.99 < reader.r_squared_.r_squared["blue"]
    read = reader.predict(images)
    # The mean of 64 pixels has an error of 0.01 / 8.
    np.testing.assert_allclose(read, table[["red", "blue"]], atol=0.01)
    np.testing.assert_allclose(reader.transform(images), read / table[["red", "blue"]].std(), rtol=1e-6)


def test_a_reader_that_reads_nothing_says_so():
    with pytest.raises(ValueError, match="no factor is read with R² of 0.5"):
        FactorReader(lambda batch: batch[:, 0, 0]).fit(PHOTOS, colours_and_name(40)[["noise"]])
    with pytest.raises(ValueError, match="one row per z-point"):
        FactorReader(lambda batch: batch[:, 0, 0]).fit(PHOTOS, colours_and_name(39))
    with pytest.raises(NotFittedError):
        FactorReader().predict(PHOTOS)
