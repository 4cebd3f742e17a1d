import dask.array as da
import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError

from aelib.faces import render, sample_factors
from aelib.features import (
    CellContrast,
    FactorReader,
    PixelPCA,
    RandomConvolutions,
    _random_layers,
    extract,
    image_batches,
)
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


@pytest.mark.parametrize(
    "features", [lambda batch: batch.mean(axis=(1, 2)), RandomConvolutions(channels=(4,))]
)
def test_features_of_a_dask_array_are_those_of_the_array(features):
    lazy = extract(features, da.from_array(PHOTOS, chunks=((9, 0, 31), 32, 16, 3)), batch_size=4)
    expected = extract(features, PHOTOS)
    assert (type(lazy), lazy.shape, lazy.dtype) == (da.Array, expected.shape, expected.dtype)
    np.testing.assert_allclose(lazy.compute(scheduler="threads"), expected, rtol=1e-5, atol=1e-6)


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


@pytest.mark.parametrize("grid", [1, 2, 3, 4])
def test_the_smallest_images_that_are_allowed_have_finite_features(grid):
    features = RandomConvolutions(channels=(2, 2, 2), grid=grid)
    for side in (8 * grid, 8 * grid + 1, 8 * grid + 5):
        images = np.random.default_rng(side).random((2, side, side, 3))
        assert np.isfinite(features.transform(images)).all()
    with pytest.raises(ValueError, match=f"images must have {8 * grid} pixels"):
        features.transform(np.zeros((2, 8 * grid - 1, 8 * grid - 1, 3)))


def test_random_convolutions_depend_on_their_seed_but_not_on_brightness():
    first = RandomConvolutions(seed=1).transform(PHOTOS)
    np.testing.assert_allclose(RandomConvolutions(seed=1).transform(PHOTOS[::-1])[::-1], first, rtol=1e-5)
    assert not np.allclose(RandomConvolutions(seed=2).transform(PHOTOS), first)
    np.testing.assert_allclose(RandomConvolutions(seed=1).transform(PHOTOS + 0.3), first, atol=1e-4)
    with pytest.raises(ValueError, match="images must have 32 pixels a side or more"):
        RandomConvolutions().transform(PHOTOS[:, :31, :31])
    with pytest.raises(ValueError, match="at least one number of filters"):
        RandomConvolutions(channels=())


def test_cell_contrasts_are_those_of_loops_over_cells():
    found = CellContrast(cells=4).transform(PHOTOS)
    grey = PHOTOS.mean(axis=-1)
    for row, column in np.ndindex(4, 4):
        cell = grey[:, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8].reshape(40, -1)
        # The images are read in float32.
        np.testing.assert_allclose(found[:, 4 * row + column], cell.std(axis=1), rtol=1e-5)
    assert np.abs(CellContrast().transform(np.full((2, 16, 24, 3), 0.3))).max() < 1e-6
    np.testing.assert_allclose(
        CellContrast().transform(PHOTOS + 3), CellContrast().transform(PHOTOS), rtol=1e-4
    )
    with pytest.raises(ValueError, match="cells must divide the images' sides, 32 and 32, not be 5"):
        CellContrast(cells=5).transform(PHOTOS)
    with pytest.raises(ValueError, match="cells must be at least 1, not 0"):
        CellContrast(cells=0)


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


def test_the_default_reads_rendered_faces_that_it_has_not_seen():
    factors = sample_factors(range(600), seed=3)
    faces = render(factors, size=64)
    reader = FactorReader().fit(faces[:400], factors[:400])
    assert {"yaw", "skin_melanin"} <= set(reader.factors_)
    assert "gaze_x" not in reader.factors_
    truth, read = factors[reader.factors_][400:], reader.predict(faces[400:])
    lost = np.square(truth.to_numpy() - read.to_numpy()).mean(axis=0) / truth.to_numpy().var(axis=0)
    told = reader.r_squared_.loc[reader.factors_]
    # 100 held-out faces there and 200 here, read with a quarter more faces to learn from.
    assert (np.abs(1 - lost - told.r_squared) < 4 * np.sqrt(1.5) * told.standard_error + 0.05).all()
