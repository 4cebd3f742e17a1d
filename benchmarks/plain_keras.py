"""The same network as one would write it in Keras, trained with `fit` on arrays in float32."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from aelib._backend import keras
from benchmarks import task


def build(filters: list[int], z_dim: int, image_size: int) -> tuple[Any, Any, Any]:
    """Return encoder, decoder and autoencoder."""
    layers, side = keras.layers, image_size // 2 ** len(filters)
    image = keras.Input((image_size, image_size, 3))
    x = image
    for n in filters:
        x = layers.Conv2D(n, 3, strides=2, padding="same", activation="leaky_relu")(x)
    encoder = keras.Model(image, layers.Dense(z_dim)(layers.Flatten()(x)))
    point = keras.Input((z_dim,))
    x = layers.Reshape((side, side, filters[-1]))(layers.Dense(side**2 * filters[-1])(point))
    for n in reversed(filters[:-1]):
        x = layers.Conv2DTranspose(n, 3, strides=2, padding="same", activation="leaky_relu")(x)
    copy = layers.Conv2DTranspose(3, 3, strides=2, padding="same", activation="sigmoid")(x)
    decoder = keras.Model(point, copy)
    return encoder, decoder, keras.Model(image, decoder(encoder(image)))


class Trainer:
    """Trains and applies it.

    Parameters
    ----------
    folder : pathlib.Path
        The task.
    """

    def __init__(self, folder: Path) -> None:
        given = task.read(folder)
        settings = given.settings
        keras.utils.set_random_seed(task.SEED)
        self._encoder, self._decoder, self._network = build(
            settings["filters"], settings["z_dim"], settings["image_size"]
        )
        self._network.set_weights(task.read_weights(folder))
        self._network.compile(keras.optimizers.Adam(task.LEARNING_RATE), loss="mse")
        self._images, self._held_out = task.as_floats(given.images), task.as_floats(given.held_out)
        self._points = given.points

    def describe(self) -> dict[str, Any]:
        """Tell what this is."""
        return {"keras": keras.__version__, "parameters": self._network.count_params()}

    def epoch(self, number: int) -> float:  # noqa: ARG002 (Keras shuffles in its own way)
        """Train one epoch; return its seconds."""
        start = time.perf_counter()
        self._network.fit(self._images, self._images, batch_size=task.BATCH, epochs=1, verbose=0)
        return time.perf_counter() - start

    def held_out_loss(self) -> float:
        """Return the loss on images that it does not train on."""
        return float(self._network.evaluate(self._held_out, self._held_out, batch_size=task.BATCH, verbose=0))

    def encode(self) -> float:
        """Encode all images; return the seconds."""
        start = time.perf_counter()
        self._encoder.predict(self._images, batch_size=task.ENCODE_BATCH, verbose=0)
        return time.perf_counter() - start

    def decode(self) -> float:
        """Decode all points; return the seconds."""
        start = time.perf_counter()
        self._decoder.predict(self._points, batch_size=task.ENCODE_BATCH, verbose=0)
        return time.perf_counter() - start

    def copies(self) -> list[float]:
        """Return what it makes of the first held-out image."""
        out = self._network(self._held_out[:1])
        return np.asarray(keras.ops.convert_to_numpy(out), float).ravel().tolist()
