"""The library's own training, encoding and decoding, as one process of several; and where its time goes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from aelib import training
from aelib._backend import keras  # before TensorFlow, which is then quiet
from aelib.codec import decode, encode
from aelib.images import Images
from aelib.model import AutoencoderConfig, build, resolve_precision
from benchmarks import task
from benchmarks.measure import seconds
from benchmarks.work import layers_of

# isort: split
import tensorflow as tf

SIDE = 4096  # of the matrices whose product shows the peak


class Trainer:
    """Trains and applies it, through the library's own functions.

    Parameters
    ----------
    folder : pathlib.Path
        The task; the initial weights are written there.
    """

    def __init__(self, folder: Path) -> None:
        given = task.read(folder)
        self._config = AutoencoderConfig.from_dict(given.settings)
        self._precision = resolve_precision("auto")
        self._images = Images.from_array(given.images)
        self._floats = task.as_floats(given.images)
        self._held_out, self._points = task.as_floats(given.held_out), given.points
        settings = training.TrainingConfig(
            batch_size=task.BATCH, learning_rate=task.LEARNING_RATE, seed=task.SEED
        )
        # What `train` runs epoch by epoch, held between two of them.
        self._run = training._Run(self._images, None, config=self._config, training=settings)
        self._network = self._run._compiled(self._precision)
        np.savez(folder / task.WEIGHTS, *self._network.get_weights())
        self._models = {
            precision: build(self._config, seed=task.SEED, precision=precision)
            for precision in dict.fromkeys(("float32", self._precision))
        }

    def describe(self) -> dict[str, Any]:
        """Tell what this is."""
        return {
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "precision": self._precision,
            "parameters": self._network.count_params(),
        }

    def epoch(self, number: int) -> float:
        """Train one epoch; return its seconds."""
        record = self._run._measured_epoch(self._network, number, tqdm(disable=True))
        return len(self._images) / record.images_per_second

    def held_out_loss(self) -> float:
        """Return the loss on images that it does not train on."""
        batches = training._Batches(self._held_out, batch_size=task.BATCH)
        return float(self._network.evaluate(batches, verbose=0))

    def encode(self, precision: str) -> float:
        """Encode all images; return the seconds."""
        return seconds(lambda: encode(self._models[precision], self._floats, batch_size=task.ENCODE_BATCH))

    def decode(self, precision: str) -> float:
        """Decode all points; return the seconds."""
        return seconds(lambda: decode(self._models[precision], self._points, batch_size=task.ENCODE_BATCH))

    def copies(self) -> list[float]:
        """Return what it makes of the first held-out image, in float32."""
        out = self._models["float32"].autoencoder(self._held_out[:1])
        return np.asarray(out, float).ravel().tolist()

    def product(self, dtype: str) -> float:
        """Multiply two large matrices; return multiplications with addition per second."""
        if not hasattr(self, "_product"):
            self._product = tf.function(tf.matmul, autograph=False)
        a = tf.cast(tf.random.stateless_uniform((SIDE, SIDE), (1, 2)), dtype)
        self._product(a[:64], a)  # traced
        self._product(a, a).numpy()
        return SIDE**3 / seconds(lambda: self._product(a, a).numpy())

    def parts(self) -> dict[str, float]:
        """Return the seconds of one step: its input alone, its layers there, there and back, and all of it."""
        if not hasattr(self, "_parts"):
            self._parts = self._prepared_parts()
        return {name: seconds(call) / count for name, (call, count) in self._parts.items()}

    def _prepared_parts(self) -> dict[str, tuple[Callable[[], Any], int]]:
        batches = training.ShuffledBatches(
            self._images, epoch=1, batch_size=task.BATCH, flips=False, seed=task.SEED
        )
        x = tf.constant(batches[0][0])
        network = self._run._compiled(self._precision)  # its own: these steps must not train the other
        variables = network.trainable_variables

        def loss(x: Any) -> Any:
            return network.compute_loss(x, y_pred=network(x, training=True))

        def gradients(x: Any) -> Any:
            with tf.GradientTape() as tape:
                value = loss(x)
            return tape.gradient(value, variables)

        forward, backward = (tf.function(f, autograph=False) for f in (loss, gradients))
        calls = {
            "input": lambda: [tf.constant(part) for part in batches[0]],
            "forward": lambda: forward(x).numpy(),
            "forward and backward": lambda: backward(x)[-1].numpy(),
            "step": lambda: network.train_on_batch(x),
        }
        for call in calls.values():
            call()
        return {name: (_repeated(call, 8), 8) for name, call in calls.items()}

    def layers(self) -> dict[str, float]:
        """Return the seconds of each layer of a step by itself: there and back, as in training."""
        if not hasattr(self, "_layers"):
            self._layers = self._prepared_layers()
        return {name: seconds(_repeated(call, 4)) / 4 for name, call in self._layers.items()}

    def _prepared_layers(self) -> dict[str, Callable[[], Any]]:
        model = build(self._config, seed=task.SEED, precision=self._precision)
        keras_layers = {layer.name: layer for part in (model.encoder, model.decoder) for layer in part.layers}
        calls = {}
        for number, work in enumerate(layers_of(self._config)):
            layer = keras_layers[work.name]
            x = tf.random.stateless_uniform((task.BATCH, *work.shape_in), (number, 2))
            calls[work.name] = _there_and_back(layer, tf.cast(x, layer.compute_dtype), first=number == 0)
            calls[work.name]()
        return calls


def _there_and_back(layer: Any, x: Any, *, first: bool) -> Callable[[], Any]:
    def call(x: Any, upstream: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        wanted = layer.trainable_variables if first else [*layer.trainable_variables, x]
        return tape.gradient(y, wanted, output_gradients=upstream)

    traced = tf.function(call, autograph=False)
    upstream = tf.ones_like(layer(x))
    return lambda: traced(x, upstream)[0].numpy()


def _repeated(call: Callable[[], Any], times: int) -> Callable[[], None]:
    def repeated() -> None:
        for _ in range(times):
            call()

    return repeated
