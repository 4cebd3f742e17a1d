"""The task that all trainers get: the same images, initial weights, batches and optimizer."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aelib import faces

N_IMAGES, N_HELD_OUT = 2048, 512
SEED = 1
BATCH, ENCODE_BATCH = 64, 256
LEARNING_RATE = 5e-4
IMAGES, HELD_OUT, POINTS, WEIGHTS, SETTINGS = (
    "images.npy",
    "held_out.npy",
    "points.npy",
    "weights.npz",
    "settings.json",
)


class Task(NamedTuple):
    """What a folder holds.

    Parameters
    ----------
    images, held_out : array of uint8, shapes (n, 96, 96, 3) and (m, 96, 96, 3)
        What is trained on, and what the loss is measured on.
    points : array of float32, shape (n, z_dim)
        z-points to decode.
    settings : dict
        The architecture.
    """

    images: np.ndarray
    held_out: np.ndarray
    points: np.ndarray
    settings: dict[str, Any]


def write(folder: Path, *, n: int = N_IMAGES, n_held_out: int = N_HELD_OUT, **changed: Any) -> None:
    """Render the images and describe the network: post III's, or what is changed about it."""
    from aelib.model import PRESETS, AutoencoderConfig  # Keras

    config = AutoencoderConfig(**{**asdict(PRESETS["post3"]), **changed})
    drawn = faces.render(faces.sample_factors(range(n + n_held_out), seed=SEED), size=config.image_size)
    pixels = np.round(255 * drawn).astype(np.uint8)
    np.save(folder / IMAGES, pixels[:n])
    np.save(folder / HELD_OUT, pixels[n:])
    np.save(folder / POINTS, np.random.default_rng(SEED).standard_normal((n, config.z_dim), dtype=np.float32))
    (folder / SETTINGS).write_text(json.dumps(config.to_dict()), encoding="utf-8")


def read(folder: Path) -> Task:
    """Read a folder."""
    arrays = [np.load(folder / name) for name in (IMAGES, HELD_OUT, POINTS)]
    return Task(*arrays, json.loads((folder / SETTINGS).read_text(encoding="utf-8")))


def read_weights(folder: Path) -> list[np.ndarray]:
    """Read the initial weights, in the order of Keras' layers from the image to its copy."""
    with np.load(folder / WEIGHTS) as kept:
        return [kept[f"arr_{k}"] for k in range(len(kept.files))]


def as_floats(pixels: np.ndarray) -> np.ndarray:
    """Turn bytes into float32 in [0, 1], as a user without this library would hold them."""
    return pixels.astype(np.float32) / np.float32(255)


def order(n: int, epoch: int) -> np.ndarray:
    """Draw the order of the images in an epoch, the library's own."""
    return np.random.default_rng((SEED, epoch, 0)).permutation(n)
