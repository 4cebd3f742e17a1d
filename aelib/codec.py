"""Between images and z-points: encode, decode, reconstruct, for any number of them."""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from jaxtyping import Float32, UInt8
from tqdm.auto import tqdm

from aelib import files
from aelib._backend import keras, traced
from aelib.cache import cache_folder
from aelib.images import Images
from aelib.model import Autoencoder, AutoencoderConfig, build, check_images, check_int, describe_images
from aelib.partitions import Points, is_partitioned, mapped

_CHECKSUM = "sha256"
"""Where the description of z-points has the SHA-256 of their file."""


def encode(
    model: Autoencoder,
    images: Images | np.ndarray | Points,
    *,
    path: str | os.PathLike[str] | None = None,
    keep: bool = True,
    batch_size: int = 256,
) -> Points:
    """Encode images to z-points.

    The z-points of `Images` are kept in the cache folder, so that the same images are encoded by the same model once.

    Parameters
    ----------
    model : Autoencoder
        The autoencoder whose encoder is used.
    images : Images or array of float, shape (n, h, w, 3), values in [0, 1]
        The images; `Images` are read batch by batch, so their number is not limited by memory. A Dask array is encoded
        by its workers, each of which builds the network once.
    path : path-like or None
        A `.npy` file to write the z-points to, with a description in a `.json` file of the same name. If the file
        is there already, is whole and was made from the same images by the same model, it is used as it is; if the
        cache folder has them, they are copied from there. If another process is writing it, wait for it. None returns
        the z-points in memory.
    keep : bool
        Whether the z-points of `Images` are taken from the cache folder and, without a path, kept there. Those of an
        array never are.
    batch_size : int
        Images per call of the network, at least 1.

    Returns
    -------
    Float32[np.ndarray, "n z_dim"]
        One z-point per image, in their order; with a path, a read-only memory-map of the file; for a Dask array, a
        Dask array, encoded when it is asked for.

    Raises
    ------
    ValueError
        If the images do not fit the model, `path` does not end in `.npy`, or there is a path for a Dask array.
    TypeError
        If the images are neither `Images` nor an array of floats.

    Examples
    --------
    >>> from aelib.model import AutoencoderConfig, build
    >>> model = build(AutoencoderConfig(filters=(4, 8), z_dim=3, image_size=32))
    >>> encode(model, np.zeros((5, 32, 32, 3), np.float32)).shape
    (5, 3)
    """
    check_images(images, model.config)
    check_int("batch_size", batch_size, least=1)
    if is_partitioned(images):
        if path is not None:
            raise ValueError(
                "path is not for a Dask array: write what comes back with its own to_zarr or to_npy_stack."
            )
        return _mapped(encode, model, images, shape=(model.config.z_dim,), batch_size=batch_size)
    batches = _applied(model.encoder, images, batch_size=batch_size, name="encoding")
    if path is None and not (keep and isinstance(images, Images)):
        return np.concatenate(list(batches))
    description = _describe(model, images)
    place = _place_in_cache(description) if path is None else Path(path)
    if place.suffix != ".npy":
        raise ValueError(f"path must end in .npy, not {place.name!r}.")
    if path is not None and keep and isinstance(images, Images):
        batches = _from_cache(description, otherwise=batches)
    _keep(place, batches, description)
    return np.load(place, mmap_mode=None if path is None else "r")


def decode(model: Autoencoder, z: np.ndarray | Points, *, batch_size: int = 256) -> Points:
    """Decode z-points to images.

    Parameters
    ----------
    model : Autoencoder
        The autoencoder whose decoder is used.
    z : Float[np.ndarray, "n z_dim"]
        The z-points, from the encoder or from anywhere else; also as a Dask array.
    batch_size : int
        z-points per call of the network, at least 1.

    Returns
    -------
    Float32[np.ndarray, "n h w 3"]
        One image per z-point, values in [0, 1]; a Dask array for a Dask array.

    Raises
    ------
    ValueError
        If `z` has another shape than (n, z_dim), or a component is not finite.
    TypeError
        If `z` is not an array of floats.

    Examples
    --------
    >>> from aelib.model import AutoencoderConfig, build
    >>> model = build(AutoencoderConfig(filters=(4, 8), z_dim=3, image_size=32))
    >>> decode(model, np.zeros((2, 3))).shape
    (2, 32, 32, 3)
    """
    check_int("batch_size", batch_size, least=1)
    if is_partitioned(z):
        _check_shape(z, model)
        return _mapped(decode, model, z, shape=model.decoder.output_shape[1:], batch_size=batch_size)
    _check_points(z, model)
    return _collected(model, _applied(model.decoder, z, batch_size=batch_size, name="decoding"), len(z))


def pixel_decoder(model: Autoencoder, *, n: int = 1) -> Callable[[np.ndarray], UInt8[np.ndarray, "n h w 3"]]:
    """Make a decoder for pictures on a screen: a few milliseconds per call, bytes instead of floats.

    The decoder network is traced for n z-points, with clipping and rounding inside. `decode` takes several times as
    long for a single z-point, most of it outside the network.

    Parameters
    ----------
    model : Autoencoder
        The autoencoder whose decoder is used, with the weights that it has now.
    n : int
        Number of z-points per call, at least 1.

    Returns
    -------
    callable
        From z-points, Float[np.ndarray, "n z_dim"], to images with values 0 to 255: those of `decode`, rounded. It
        raises what `decode` raises, and `ValueError` for another number of z-points.

    Raises
    ------
    ValueError
        If `n` is below 1.

    Examples
    --------
    >>> from aelib.model import AutoencoderConfig, build
    >>> model = build(AutoencoderConfig(filters=(4, 8), z_dim=3, image_size=32))
    >>> picture = pixel_decoder(model)(np.zeros((1, 3), np.float32))
    >>> picture.shape, picture.dtype
    ((1, 32, 32, 3), dtype('uint8'))
    """
    check_int("n", n, least=1)

    def pixels(z: Any) -> Any:
        images = keras.ops.clip(model.decoder(z, training=False), 0.0, 1.0)
        return keras.ops.cast(keras.ops.round(images * 255.0), "uint8")

    run = traced(pixels, (n, model.config.z_dim))

    def decoded(z: np.ndarray) -> UInt8[np.ndarray, "n h w 3"]:
        _check_points(z, model)
        if len(z) != n:
            raise ValueError(
                f"this decoder takes {n} z-points at a time, not {len(z)}: use decode for others."
            )
        return run(np.asarray(z, np.float32))

    return decoded


def reconstruct(model: Autoencoder, images: Images | np.ndarray | Points, *, batch_size: int = 256) -> Points:
    """Encode images and decode their z-points.

    Parameters
    ----------
    model : Autoencoder
        The autoencoder.
    images : Images or array of float, shape (n, h, w, 3), values in [0, 1]
        The originals; also as a Dask array.
    batch_size : int
        Images per call of the network, at least 1.

    Returns
    -------
    Float32[np.ndarray, "n h w 3"]
        One reconstruction per image, values in [0, 1]; a Dask array for a Dask array.

    Raises
    ------
    ValueError
        If the images do not fit the model.
    TypeError
        If the images are neither `Images` nor an array of floats.

    Examples
    --------
    >>> from aelib.model import AutoencoderConfig, build
    >>> model = build(AutoencoderConfig(filters=(4, 8), z_dim=3, image_size=32))
    >>> reconstruct(model, np.zeros((5, 32, 32, 3), np.float32)).shape
    (5, 32, 32, 3)
    """
    check_images(images, model.config)
    check_int("batch_size", batch_size, least=1)
    if is_partitioned(images):
        return _mapped(reconstruct, model, images, shape=images.shape[1:], batch_size=batch_size)
    batches = _applied(model.autoencoder, images, batch_size=batch_size, name="reconstructing")
    return _collected(model, batches, len(images))


@dataclass(frozen=True)
class _Packed:
    """A model on its way to a worker."""

    config: AutoencoderConfig
    precision: str
    fingerprint: str
    weights: tuple[np.ndarray, ...] = field(compare=False)


_LOCK = threading.Lock()  # Keras uses all cores for one batch; its functions are not made for several threads


def _mapped(
    function: Callable[..., np.ndarray],
    model: Autoencoder,
    rows: Points,
    *,
    shape: tuple[int, ...],
    batch_size: int,
) -> Points:
    """Have the workers apply encode, decode or reconstruct to their partitions."""
    weights = tuple(model.autoencoder.get_weights())
    packed = _Packed(model.config, _precision(model), model.fingerprint(), weights)
    task = partial(_part_applied, function=function, batch_size=batch_size)
    return mapped(task, rows, shape=shape, dtype=np.float32, whole=(packed,))


def _part_applied(
    part: np.ndarray, _first: int, packed: _Packed, *, function: Callable[..., np.ndarray], batch_size: int
) -> np.ndarray:
    with _LOCK:
        return function(_unpacked(packed), part, batch_size=batch_size)


@lru_cache(maxsize=2)
def _unpacked(packed: _Packed) -> Autoencoder:
    """Build the model that a worker applies to all its partitions."""
    model = build(packed.config, precision=packed.precision)
    model.autoencoder.set_weights(packed.weights)
    return model


def _applied(
    network: keras.Model, inputs: Images | np.ndarray, *, batch_size: int, name: str
) -> Iterator[np.ndarray]:
    """Yield the network's output for one batch of inputs after the other."""
    with tqdm(desc=name, total=len(inputs), delay=2) as bar:
        for start in range(0, len(inputs), batch_size):
            batch = np.asarray(inputs[start : start + batch_size], np.float32)
            yield network.predict_on_batch(_padded(batch, batch_size))[: len(batch)]
            bar.update(len(batch))


def _padded(batch: np.ndarray, batch_size: int) -> np.ndarray:
    """Fill a batch up to a power of two or the batch size: backends compile the network anew for each new shape."""
    target = min(1 << (len(batch) - 1).bit_length(), batch_size)
    return np.pad(batch, [(0, target - len(batch))] + [(0, 0)] * (batch.ndim - 1))


def _collected(model: Autoencoder, batches: Iterator[np.ndarray], n: int) -> Float32[np.ndarray, "n h w 3"]:
    images = np.empty((n, *model.autoencoder.output_shape[1:]), np.float32)
    start = 0
    for batch in batches:
        images[start : start + len(batch)] = batch
        start += len(batch)
    return images


def _check_points(z: Any, model: Autoencoder) -> None:
    if not isinstance(z, np.ndarray) or not np.issubdtype(z.dtype, np.floating):
        kind = z.dtype if isinstance(z, np.ndarray) else type(z).__name__
        raise TypeError(
            f"z must be an array of floats, not {kind}: convert it with np.asarray(z, np.float32)."
        )
    _check_shape(z, model)
    with np.errstate(over="ignore"):
        finite = np.isfinite(z.astype(np.float32, copy=False)).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"{np.sum(~finite)} of {len(z)} z-points have components that are not finite in float32, the first one is "
            f"z[{np.argmin(finite)}]: leave them out."
        )


def _check_shape(z: Points, model: Autoencoder) -> None:
    z_dim = model.config.z_dim
    if z.ndim != 2 or z.shape[1] != z_dim:
        raise ValueError(f"z has shape {z.shape}; expected (n, {z_dim}): wrap a single z-point as z[None].")


def _describe(model: Autoencoder, images: Images | np.ndarray) -> dict[str, Any]:
    return {
        "n": len(images),
        "z_dim": model.config.z_dim,
        "images": describe_images(images),
        "model": {
            "config": model.config.to_dict(),
            "fingerprint": model.fingerprint(),
            "precision": _precision(model),
        },
    }


def _precision(model: Autoencoder) -> str:
    return model.encoder.layers[1].dtype_policy.name


def _place_in_cache(description: dict[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    return cache_folder() / "z" / f"{digest.hexdigest()[:20]}.npy"


def _is_there(path: Path, description: dict[str, Any]) -> bool:
    try:
        found = files.read_json(path.with_suffix(".json"))
        if not isinstance(found, dict) or {**found, _CHECKSUM: None} != {**description, _CHECKSUM: None}:
            return False
        files.map_array(path, (description["n"], description["z_dim"]), np.float32)
        return bool(found[_CHECKSUM] == _sha256(path))
    except (OSError, ValueError, KeyError):
        return False  # not there, or no whole file: it is written anew


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _from_cache(description: dict[str, Any], *, otherwise: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the z-points that the cache folder has, or else those that are encoded now."""
    kept = _place_in_cache(description)
    if _is_there(kept, description):
        yield np.load(kept, mmap_mode="r")
    else:
        yield from otherwise


def _keep(place: Path, batches: Iterator[np.ndarray], description: dict[str, Any]) -> None:
    """Write z-points, if no other process has or does: two notebooks often want the same."""
    if _is_there(place, description):
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    # Its file stays: once it is gone, who waits for this lock and who comes later would hold two different ones.
    with FileLock(place.with_name(f".{place.stem}.lock")):
        if not _is_there(place, description):
            files.remove_leftovers(place)
            _write(place, batches, description)


def _write(path: Path, batches: Iterator[np.ndarray], description: dict[str, Any]) -> None:
    # Without its description a file is not used, so a kill in between cannot pair it with the wrong one.
    path.with_suffix(".json").unlink(missing_ok=True)
    header = {"descr": "<f4", "fortran_order": False, "shape": (description["n"], description["z_dim"])}
    with files.replacing(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for batch in batches:
            file.write(np.ascontiguousarray(batch, "<f4").data)
        file.flush()
        checksum = _sha256(temporary)
    files.write_json(path.with_suffix(".json"), {**description, _CHECKSUM: checksum})
