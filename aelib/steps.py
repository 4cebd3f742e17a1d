"""The heavy steps of a run, done once and shared by its notebooks: open the images, train on them, encode them."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from aelib import files
from aelib.codec import encode
from aelib.images import Images, open_images
from aelib.model import (
    CHECKPOINT_RECORD,
    PRESETS,
    SHIPPED_CHECKPOINT,
    Autoencoder,
    AutoencoderConfig,
    load_checkpoint,
)
from aelib.training import TrainingConfig, train

IMAGE_EPOCHS = 170_000
"""Budget of a run's training, in images shown to the network: about ten minutes on two cores at 96x96."""
DATA = "data.json"
"""What a run says of its images."""
MOST_EPOCHS = 100
"""Limit for small image sets, where an epoch takes less time than what is written after it."""


def preset(name: str, *, z_dim: int = 256, loss: str = "mse") -> AutoencoderConfig:
    """Look up a preset and set what is chosen most often.

    Parameters
    ----------
    name : str
        A key of `aelib.PRESETS`.
    z_dim : int
        Dimension of the latent space.
    loss : {"mse", "bce"}
        Loss per pixel and colour.

    Returns
    -------
    AutoencoderConfig
        The architecture.

    Raises
    ------
    ValueError
        If there is no such preset or a setting is out of range.

    Examples
    --------
    >>> preset("post1", z_dim=64).filters
    (32, 64, 128, 256)
    """
    if name not in PRESETS:
        raise ValueError(f"there is no preset {name!r}; choose one of {', '.join(PRESETS)}.")
    return replace(PRESETS[name], z_dim=z_dim, loss=loss)


def epochs_within(budget: int, *, n_images: int) -> int:
    """Count the epochs that a budget of shown images pays for.

    Parameters
    ----------
    budget : int
        Number of images that the network is to see, repetitions included.
    n_images : int
        Number of training images.

    Returns
    -------
    int
        At least 1, at most 100.

    Examples
    --------
    >>> epochs_within(120_000, n_images=7_296), epochs_within(120_000, n_images=10**6)
    (16, 1)
    """
    return min(max(1, round(budget / n_images)), MOST_EPOCHS)


def open_for_run(source: str, *, n_images: int, seed: int, at_most: bool) -> Images:
    """Open the images of a run.

    Parameters
    ----------
    source : str
        Image source, as for `open_images`.
    n_images : int
        Number of images.
    seed : int
        Seed of their choice.
    at_most : bool
        Whether all images will do where there are fewer than `n_images`.

    Returns
    -------
    Images
        The images.

    Raises
    ------
    ValueError
        If the source cannot be opened or holds too few images.
    """
    try:
        return open_images(source, n=n_images, seed=seed)
    except ValueError:
        if not at_most:
            raise
        return open_images(source, seed=seed)  # too few, or it says again what is wrong


def usual_training(n_images: int, *, seed: int) -> TrainingConfig:
    """Say how a network is trained where nobody says otherwise, within the budget of a run.

    Parameters
    ----------
    n_images : int
        Number of training images.
    seed : int
        Seed of the initial weights and the order of the images.

    Returns
    -------
    TrainingConfig
        The settings.

    Examples
    --------
    >>> usual_training(17_000, seed=1).epochs
    10
    """
    return TrainingConfig(
        epochs=epochs_within(IMAGE_EPOCHS, n_images=n_images),
        batch_size=64,
        learning_rate=1e-3,
        schedule="cosine",
        flips=True,
        seed=seed,
    )


def train_for_run(images: Images, folder: Path, *, seed: int) -> Autoencoder:
    """Train post III's network on the training part of a run's images, within the run's budget.

    Parameters
    ----------
    images : Images
        All images of the run.
    folder : pathlib.Path
        Where the checkpoint goes. A training that was stopped goes on from there; a finished one is only read.
    seed : int
        Seed of the split, the initial weights and the order of the images.

    Returns
    -------
    Autoencoder
        The trained network.
    """
    parts = images.split(seed=seed)
    settings = usual_training(len(parts.train), seed=seed)
    config = replace(PRESETS["post3"], image_size=images.size)
    return train(parts.train, config, training=settings, validation=parts.validation, folder=folder)


def write_data(images: Images, folder: Path, *, source: str) -> None:
    """Describe the images of a run in its `data.json`.

    Parameters
    ----------
    images : Images
        The images.
    folder : pathlib.Path
        The run's folder.
    source : str
        Where they come from, as for `open_images`.
    """
    skipped = [{"name": skip.name, "reason": skip.reason} for skip in images.skipped]
    content = {"source": source, "skipped": skipped, "images": images.description()}
    files.write_json(folder / DATA, content)


def check_data(images: Images, folder: Path, *, source: str) -> None:
    """Refuse images that are not those which a run was begun on.

    Parameters
    ----------
    images : Images
        The images as they are now.
    folder : pathlib.Path
        The run's folder.
    source : str
        Where they come from.

    Raises
    ------
    ValueError
        If the run's `data.json` describes others, because files were added, changed or removed since, or is damaged.
    """
    path = folder / DATA
    found = files.read_json(path) if path.exists() else None
    described = json.loads(json.dumps(images.description()))  # as JSON has it: lists, no tuples
    if not isinstance(found, dict) or found.get("images") != described:
        raise ValueError(
            f"{source} does not give the images any more that {path} describes: bring them back as they were, or give "
            "this run another name (--name), or remove its folder."
        )


def share_points(images: Images, checkpoint: str, folder: Path) -> None:
    """Encode the images of a run: the notebooks find the z-points in the cache, and the run keeps a copy.

    Parameters
    ----------
    images : Images
        The images.
    checkpoint : str
        Folder of the network; empty for the shipped one.
    folder : pathlib.Path
        The run's folder. It gets `z.npy`, its description `z.json`, and `checkpoint.json`: where the network is,
        the SHA-256 of its file, and its record.
    """
    model = load_checkpoint(checkpoint or None)
    files.write_json(folder / "checkpoint.json", _reference(Path(checkpoint or SHIPPED_CHECKPOINT), folder))
    encode(model, images)
    encode(model, images, path=folder / "z.npy")


def _reference(checkpoint: Path, folder: Path) -> dict[str, Any]:
    record = files.read_json(checkpoint / CHECKPOINT_RECORD)
    return {
        "folder": os.path.relpath(checkpoint, folder),
        "model_sha256": record["model_sha256"],
        "config": record["config"],
        "data": record["data"],
        "training": record["training"],
    }
