"""Tests of aelib.codec: the networks' own answers, however they are batched, in memory or on disk."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import dask
import dask.array as da
import numpy as np
import pytest

from aelib import codec, faces
from aelib._backend import keras
from aelib.codec import decode, encode, pixel_decoder, reconstruct
from aelib.images import Images
from aelib.model import AutoencoderConfig, build, load_checkpoint, save_checkpoint
from aelib.scores import psnr

CONFIG = AutoencoderConfig(filters=(4, 8), z_dim=3, image_size=32)
# Keras reads tensors of JAX and PyTorch in a way that NumPy 2 deprecates.
SPOKEN_BY_KERAS = ("-W", "ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def model():
    return build(CONFIG, seed=1)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((21, 32, 32, 3), dtype=np.float32)


@pytest.fixture(scope="module")
def expected(model, images):
    return keras.ops.convert_to_numpy(model.encoder(images, training=False))


@pytest.mark.parametrize("batch_size", [1, 2, 8, 21, 256])
def test_encoding_is_the_encoder_s_whatever_the_batch(model, images, expected, batch_size):
    z = encode(model, images, batch_size=batch_size)
    assert (z.shape, z.dtype) == ((21, 3), np.float32)
    np.testing.assert_allclose(z, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 8, 256])
def test_decoding_is_the_decoder_s_whatever_the_batch(model, expected, batch_size):
    pictures = decode(model, expected, batch_size=batch_size)
    truth = keras.ops.convert_to_numpy(model.decoder(expected, training=False))
    assert (pictures.shape, pictures.dtype) == ((21, 32, 32, 3), np.float32)
    np.testing.assert_allclose(pictures, truth, atol=1e-6)
    assert pictures.min() >= 0 and pictures.max() <= 1


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("n", [1, 16])
def test_pixels_are_those_of_decode_to_one_grey_level(precision, n):
    shipped = load_checkpoint(precision=precision)
    z = np.random.default_rng(0).normal(0, 3, (n, shipped.config.z_dim))
    pixels = pixel_decoder(shipped, n=n)(z)
    assert pixels.dtype == np.uint8
    if precision == "float32":
        assert np.abs(pixels - 255 * decode(shipped, z)).max() <= 1
    else:  # the order of sums shows in bfloat16
        assert np.abs(pixels - 255 * decode(shipped, z)).mean() < 1


def test_a_pixel_decoder_takes_its_number_of_finite_points(model):
    pixels = pixel_decoder(model, n=2)
    with pytest.raises(ValueError, match="takes 2 z-points at a time, not 3"):
        pixels(np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"expected \(n, 3\)"):
        pixels(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="not finite"):
        pixels(np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match="n must be"):
        pixel_decoder(model, n=0)


def test_reconstruction_is_decoding_after_encoding(model, images):
    np.testing.assert_allclose(reconstruct(model, images), decode(model, encode(model, images)), atol=1e-6)


def test_images_bytes_and_floats_encode_alike(model):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    floats = pixels.astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(encode(model, Images.from_array(pixels)), encode(model, floats))
    np.testing.assert_array_equal(reconstruct(model, Images.from_array(pixels)), reconstruct(model, floats))


def test_float64_points_and_far_ones_decode(model):
    z = np.array([[0, 0, 0], [1e30, -1e30, 0]])
    np.testing.assert_array_equal(decode(model, z), decode(model, z.astype(np.float32)))
    assert np.isfinite(decode(model, z)).all()


def test_no_points_give_no_images(model):
    assert decode(model, np.zeros((0, 3))).shape == (0, 32, 32, 3)


@pytest.fixture
def written(monkeypatch):
    """Writes, which take so long that another one could come between."""
    found, write = [], codec._write

    def write_slowly(*what):
        time.sleep(0.2)
        write(*what)
        found.append(what)

    monkeypatch.setattr(codec, "_write", write_slowly)
    return found


class TestFile:
    def test_the_file_is_an_ordinary_npy_mapped_read_only(self, model, images, tmp_path):
        path = tmp_path / "new" / "z.npy"
        z = encode(model, images, path=path, batch_size=8)
        assert isinstance(z, np.memmap) and not z.flags.writeable
        np.testing.assert_array_equal(z, encode(model, images, batch_size=8))
        np.testing.assert_array_equal(np.load(path, allow_pickle=False), z)
        # The lock stays: removed, it would let in two that wait for it.
        assert {entry.name for entry in path.parent.iterdir()} == {"z.npy", "z.json", ".z.lock"}

    def test_the_description_says_what_it_was_made_from(self, model, images, tmp_path):
        encode(model, Images.from_array(images), path=tmp_path / "z.npy")
        description = json.loads((tmp_path / "z.json").read_text())
        assert (description["n"], description["z_dim"]) == (21, 3)
        assert description["images"] == Images.from_array(images).description()
        assert description["model"] == {
            "config": CONFIG.to_dict(),
            "fingerprint": model.fingerprint(),
            "precision": "float32",
        }

    def test_it_is_used_again_for_the_same_images_and_model(self, model, images, tmp_path):
        encode(model, images, path=tmp_path / "z.npy")
        before = (tmp_path / "z.npy").stat().st_ino
        encode(model, images, path=str(tmp_path / "z.npy"))
        assert (tmp_path / "z.npy").stat().st_ino == before

    @pytest.mark.parametrize(
        "change",
        ["model", "images", "precision", "no description", "cut description", "no file", "a flipped bit"],
    )
    def test_it_is_written_anew_for_anything_else(self, model, images, tmp_path, change):
        path = tmp_path / "z.npy"
        encode(model, images, path=path)
        if change == "model":
            model = build(CONFIG, seed=2)
        elif change == "images":
            images = images[::-1]
        elif change == "precision":
            model = build(CONFIG, seed=1, precision="mixed_bfloat16")
        elif change == "no description":
            (tmp_path / "z.json").unlink()
        elif change == "cut description":
            (tmp_path / "z.json").write_text("{")
        elif change == "a flipped bit":
            damaged = bytearray(path.read_bytes())
            damaged[-3] ^= 1
            path.write_bytes(damaged)
        else:
            path.unlink()
        np.testing.assert_array_equal(encode(model, images, path=path), encode(model, images))
        assert json.loads((tmp_path / "z.json").read_text())["model"]["fingerprint"] == model.fingerprint()

    def test_an_interruption_leaves_no_file_that_would_be_used(self, model, images, tmp_path):
        class Interrupted(np.ndarray):
            def __getitem__(self, key):
                if isinstance(key, slice) and key.start == 16:
                    raise KeyboardInterrupt
                return np.asarray(self).__getitem__(key)

        with pytest.raises(KeyboardInterrupt):
            encode(model, images.view(Interrupted), path=tmp_path / "z.npy", batch_size=8)
        assert [path.name for path in tmp_path.iterdir()] == [".z.lock"]

    def test_what_a_killed_writer_left_is_removed(self, model, images, tmp_path):
        (tmp_path / ".z.part-0123abcd.npy").write_bytes(b"half")
        encode(model, images, path=tmp_path / "z.npy")
        assert {entry.name for entry in tmp_path.iterdir()} == {".z.lock", "z.npy", "z.json"}

    def test_who_waited_and_who_comes_later_want_the_same_lock(self, model, images, tmp_path):
        lock = tmp_path / ".z.lock"
        lock.touch()
        with lock.open() as waiting:  # as a writer that could not have it yet
            encode(model, images, path=tmp_path / "z.npy")
            assert os.path.samestat(os.fstat(waiting.fileno()), lock.stat())

    def test_of_two_that_write_the_same_file_one_waits(self, model, images, tmp_path, written):
        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(lambda _: encode(model, images, path=tmp_path / "z.npy"), range(2))
        np.testing.assert_array_equal(first, second)
        assert len(written) == 1

    def test_the_path_must_be_an_npy(self, model, images, tmp_path):
        with pytest.raises(ValueError, match=r"path must end in \.npy, not 'z\.npz'"):
            encode(model, images, path=tmp_path / "z.npz")


class TestKept:
    """The z-points of Images are kept in the cache folder."""

    @pytest.fixture
    def kept(self, monkeypatch, tmp_path):
        monkeypatch.setenv("AELIB_CACHE", str(tmp_path))
        return lambda: sorted(path.stat().st_ino for path in tmp_path.glob("z/*.npy"))

    def test_the_same_images_are_encoded_once(self, model, images, expected, kept):
        first = encode(model, Images.from_array(images))
        before = kept()
        again = encode(model, Images.from_array(images))
        assert len(before) == 1
        assert kept() == before
        np.testing.assert_array_equal(first, again)
        np.testing.assert_allclose(first, expected, rtol=2e-2, atol=2e-3)  # Images are bytes
        again += 1.0  # they are in memory, not a read-only map

    def test_other_images_and_other_models_have_their_own(self, model, images, kept):
        pictures = Images.from_array(images)
        for network, part in (
            (model, pictures),
            (model, pictures.subset(slice(0, 9))),
            (build(CONFIG, seed=2), pictures),
        ):
            np.testing.assert_array_equal(encode(network, part), encode(network, part, keep=False))
        assert len(kept()) == 3

    def test_of_two_that_want_the_same_one_waits(self, model, images, expected, kept, written):
        with ThreadPoolExecutor(2) as pool:
            for z in pool.map(lambda _: encode(model, Images.from_array(images)), range(2)):
                np.testing.assert_allclose(z, expected, rtol=2e-2, atol=2e-3)
        assert len(written) == len(kept()) == 1

    def test_arrays_and_what_is_not_wanted_are_not_kept(self, model, images, kept):
        encode(model, images)
        encode(model, Images.from_array(images), keep=False)
        assert kept() == []


class TestRefusals:
    @pytest.mark.parametrize("function", [encode, reconstruct])
    @pytest.mark.parametrize(
        ("spoil", "error", "message"),
        [
            (lambda x: x[0], ValueError, r"shape \(32, 32, 3\)"),
            (lambda x: x[:0], ValueError, "no image"),
            (lambda x: (x * 255).astype(np.uint8), TypeError, "divide by 255"),
            (lambda x: np.where(x > 0.9, np.nan, x), ValueError, "finite values"),
            (lambda x: x * 2 - 1, ValueError, r"in \[0, 1\]"),
        ],
    )
    def test_images(self, model, images, function, spoil, error, message):
        with pytest.raises(error, match=message):
            function(model, spoil(images))

    @pytest.mark.parametrize(
        ("z", "error", "message"),
        [
            (np.zeros(3), ValueError, r"shape \(3,\); expected \(n, 3\): wrap a single z-point as z\[None\]"),
            (np.zeros((2, 4)), ValueError, r"shape \(2, 4\); expected \(n, 3\)"),
            (np.zeros((2, 3), int), TypeError, "array of floats, not int64"),
            (np.zeros((2, 3), complex), TypeError, "array of floats, not complex128"),
            (np.array([[0, 0, 0], [0, np.nan, 0]]), ValueError, r"1 of 2 z-points .* first one is z\[1\]"),
            (np.array([[np.inf, 0, 0], [0, -np.inf, 0]]), ValueError, r"2 of 2 z-points .* z\[0\]"),
            (np.array([[1e300, 0, 0]]), ValueError, "not finite in float32"),
        ],
    )
    def test_points(self, model, z, error, message):
        with pytest.raises(error, match=message):
            decode(model, z)

    def test_batch_size(self, model, images):
        for call in (
            lambda: encode(model, images, batch_size=0),
            lambda: decode(model, np.zeros((1, 3)), batch_size=0),
        ):
            with pytest.raises(ValueError, match="batch_size must be a whole number of at least 1, not 0"):
                call()


def test_the_shipped_checkpoint_copies_faces_that_it_never_saw():
    shipped = load_checkpoint()
    unseen = faces.render(faces.sample_factors(range(200), seed=7))
    # Measured on 2 000 such faces: 31.07 dB; over 200 of them the standard error is 0.1 dB.
    assert psnr(unseen, reconstruct(shipped, unseen)).value > 30.5


def test_the_networks_see_few_sizes_of_batch(model, monkeypatch):
    sizes = []
    apply = model.decoder.predict_on_batch
    monkeypatch.setattr(model.decoder, "predict_on_batch", lambda z: sizes.append(len(z)) or apply(z))
    z = np.random.default_rng(0).standard_normal((300, 3))
    whole = decode(model, z)
    for n in (1, 5, 32, 33, 100, 256):
        np.testing.assert_allclose(decode(model, z[:n]), whole[:n], atol=1e-6)
    assert set(sizes) == {1, 8, 32, 64, 128, 256}


@pytest.mark.parametrize("rows", [(21,), (8, 0, 12, 1)])
def test_a_dask_array_is_encoded_by_workers_that_build_the_network_once(model, images, expected, rows):
    codec._unpacked.cache_clear()
    lazy = da.from_array(images, chunks=(rows, 16, 32, 3))
    z = encode(model, lazy)
    pictures = decode(model, z), reconstruct(model, lazy)
    assert (type(z), z.shape, z.dtype) == (da.Array, (21, 3), np.float32)
    with dask.config.set(scheduler="threads"):
        np.testing.assert_allclose(z.compute(), expected, rtol=1e-4, atol=1e-6)
        for picture in pictures:
            np.testing.assert_allclose(picture.compute(), reconstruct(model, images), atol=1e-6)
    assert codec._unpacked.cache_info().misses == 1


ENCODED_BY_TWO_PROCESSES = """
import sys
from pathlib import Path
import dask.array as da
import numpy as np
from distributed import Client, LocalCluster
from aelib import codec, load_checkpoint

def networks_built():
    return codec._unpacked.cache_info()[:2]

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    model, images = load_checkpoint(folder / "model"), np.load(folder / "images.npy")
    settings = dict(n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None)
    with LocalCluster(**settings) as cluster, Client(cluster) as client:
        z = codec.encode(model, da.from_array(images, chunks=(3, -1, -1, -1))).compute()
        used = list(client.run(networks_built).values())
    np.savez(folder / "found.npz", z=z, used=used, here=networks_built())
"""


def test_two_processes_encode_what_one_encodes(model, images, expected, tmp_path):
    save_checkpoint(model, tmp_path / "model")
    np.save(tmp_path / "images.npy", images)
    (tmp_path / "encode.py").write_text(ENCODED_BY_TWO_PROCESSES)
    command = [sys.executable, "-W", "error", *SPOKEN_BY_KERAS, tmp_path / "encode.py", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (
        done.stderr
    )  # Dask may tell there that a busy machine ends its workers slowly
    with np.load(tmp_path / "found.npz") as found:
        np.testing.assert_allclose(found["z"], expected, rtol=1e-4, atol=1e-6)
        hits, misses = found["used"].T
        assert (hits + misses).sum() == 7  # each partition by one of the workers
        assert misses.max() == 1  # which builds the network once
        assert found["here"].tolist() == [0, 0]


def test_a_dask_array_that_does_not_fit_is_refused(model, images, tmp_path):
    lazy = da.from_array(images, chunks=8)
    with pytest.raises(ValueError, match="to_zarr"):
        encode(model, lazy, path=tmp_path / "z.npy")
    with pytest.raises(ValueError, match="the model takes"):
        encode(model, lazy[:, :16])
    with pytest.raises(ValueError, match=r"expected \(n, 3\)"):
        decode(model, da.zeros((5, 4), chunks=2))
    with pytest.raises(ValueError, match="values from"), dask.config.set(scheduler="threads"):
        encode(model, 2 * lazy).compute()
