"""Training: from images to a trained autoencoder, epoch by epoch, resumable at any moment."""

import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from aelib import files
from aelib._backend import fed, keras, n_replicas
from aelib.images import Images
from aelib.model import (
    CHECKPOINT_RECORD,
    PRESETS,
    Autoencoder,
    AutoencoderConfig,
    EpochRecord,
    build,
    check_choice,
    check_images,
    check_int,
    describe_images,
    load_checkpoint,
    resolve_precision,
    save_checkpoint,
)

SCHEDULES = ("constant", "cosine")
RESUME_FILE = "resume.npz"
HISTORY_FILE = "history.csv"
LOCK_FILE = ".lock"

_ARRAYS = ("weights", "optimizer", "best")
_LOSSES = {"mse": keras.losses.MeanSquaredError, "bce": keras.losses.BinaryCrossentropy}
_STEPS_PER_POSTFIX = 10
_VALIDATION_BATCH = 128


@dataclass(frozen=True)
class TrainingConfig:
    r"""How an autoencoder is trained: Adam on shuffled batches.

    Parameters
    ----------
    epochs : int
        Number of times that each image is seen, at least 1.
    batch_size : int
        Images per step; the last batch of an epoch may be smaller.
    learning_rate : float
        Adam's learning rate :math:`\eta`, at the start.
    schedule : {"constant", "cosine"}
        Learning rate at step t of T: :math:`\eta`, or :math:`\eta\,(1 + \cos(\pi t / T)) / 2`.
    flips : bool
        Whether to mirror each image, each time, with probability 1/2.
    early_stopping : int
        Stop after so many epochs without a lower validation loss, and return the weights of the best epoch;
        0 trains all epochs and returns the last weights.
    seed : int
        Seed of the initial weights, of the order of the images and of the flips, at least 0.
    precision : {"auto", "float32", "mixed_bfloat16"}
        Arithmetic of the convolutions, as in `aelib.model.build`.

    Raises
    ------
    ValueError
        If a setting is outside the ranges above.

    Notes
    -----
    The source used Adam at 5e-4 for 24 epochs of 170 000 images; it does not state the batch size.

    Examples
    --------
    >>> TrainingConfig(epochs=16, learning_rate=1e-3, schedule="cosine").batch_size
    64
    """

    epochs: int = 24
    batch_size: int = 64
    learning_rate: float = 5e-4
    schedule: str = "constant"
    flips: bool = False
    early_stopping: int = 0
    seed: int = 0
    precision: str = "auto"

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1), ("early_stopping", 0), ("seed", 0)):
            check_int(name, getattr(self, name), least=least)
        if not isinstance(self.learning_rate, float) or not 0 < self.learning_rate < 1:
            raise ValueError(f"learning_rate must be a float between 0 and 1, not {self.learning_rate!r}.")
        if not isinstance(self.flips, bool):
            raise ValueError(f"flips must be True or False, not {self.flips!r}.")
        check_choice("schedule", self.schedule, SCHEDULES)
        resolve_precision(self.precision)


_DEFAULTS = TrainingConfig()


def train(
    images: Images | np.ndarray,
    config: AutoencoderConfig = PRESETS["post3"],
    *,
    training: TrainingConfig = _DEFAULTS,
    validation: Images | np.ndarray | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> Autoencoder:
    """Train an autoencoder to reproduce images.

    With a folder, the whole state is written after each epoch. Killed at any moment, the same call goes on from
    the last finished epoch and ends, on the same machine, with the same weights as an uninterrupted run. At the
    end the folder is a checkpoint, and the same call returns it at once.

    Under a strategy of `tf.distribute`, or after `keras.distribution.set_distribution(DataParallel(...))` with JAX, the
    devices share every batch. The weights are then those of a single device, up to rounding; batch normalisation
    alone sees, with TensorFlow, only the images of its own device.

    Parameters
    ----------
    images : Images or array of float, shape (n, h, w, 3), values in [0, 1]
        The training images.
    config : AutoencoderConfig
        The architecture and the loss.
    training : TrainingConfig
        How to train it.
    validation : Images, array like `images`, or None
        Held-out images, on which the loss is measured after each epoch.
    folder : path-like or None
        Where to keep the state, `history.csv` and, at the end, the checkpoint. None keeps nothing.

    Returns
    -------
    Autoencoder
        The trained autoencoder, in float32 whatever precision it was trained in, with its history.

    Raises
    ------
    ValueError
        If the images do not fit the configuration, the folder holds another training, the devices cannot share the
        batches evenly, or the loss diverges.
    RuntimeError
        If another process trains in the folder.

    Examples
    --------
    >>> images = np.random.default_rng(0).random((8, 32, 32, 3), dtype=np.float32)
    >>> config = AutoencoderConfig(filters=(4, 8), z_dim=3, image_size=32)
    >>> model = train(images, config, training=TrainingConfig(epochs=2, batch_size=4))
    >>> [record.epoch for record in model.history]
    [1, 2]
    """
    check_images(images, config)
    if validation is not None:
        check_images(validation, config, name="validation")
    elif training.early_stopping:
        raise ValueError("early_stopping needs validation images: pass validation=..., or early_stopping=0.")
    _check_replicas(n_replicas(), images, validation, training)
    run = _Run(images, validation, config=config, training=training)
    if folder is None:
        return run.finished(run.completed(run.start()))
    folder = Path(folder)
    if (folder / CHECKPOINT_RECORD).exists() and not (folder / RESUME_FILE).exists():
        return _loaded(folder, run)  # also where nothing can be written
    with _only_process(folder):
        return _train_in(folder, run)


def _check_replicas(
    replicas: int,
    images: Images | np.ndarray,
    validation: Images | np.ndarray | None,
    training: TrainingConfig,
) -> None:
    if training.batch_size % replicas or _VALIDATION_BATCH % replicas:
        raise ValueError(
            f"batch_size {training.batch_size} and the {_VALIDATION_BATCH} images of a validation batch must be "
            f"multiples of {replicas}, the number of devices that share each batch."
        )
    for name, given in (("images", images), ("validation", validation)):
        if given is not None and len(given) < replicas:
            raise ValueError(f"{name} must be at least {replicas}, one for each device, not {len(given)}.")


def _shared_evenly(n: int) -> int:
    """Round a number of images down to what the devices can share: all of them get as many."""
    return n - n % n_replicas()


def training_images(model: Autoencoder, images: Images, *, n: int) -> Images:
    """Return images that a model was trained on.

    Parameters
    ----------
    model : Autoencoder
        A model trained by `python -m aelib train` or by a run.
    images : Images
        The images opened for the notebook. Those of the run's training are among them; rendered faces are drawn
        anew, whatever faces are opened here.
    n : int
        Number of images wanted, at least 1.

    Returns
    -------
    Images
        The first n of the training images, or all where there are fewer.

    Raises
    ------
    ValueError
        If the model has no record of such a training, or was trained on other images than these.
    """
    trained = model.data.get("images", {})
    if "split" not in trained:
        raise ValueError(
            "the model does not say which images it was trained on: train it with aelib's command."
        )
    settings = trained["split"]
    shares = {name: settings[name] for name in ("validation", "test", "seed")}
    if trained["source"] == "faces":
        from aelib import faces  # compiled code, slow to import

        # The split needs only the number of images: these stand for them without being rendered.
        stand_ins = Images(np.zeros((1, 1, 1, 3), np.uint8), np.arange(settings["n"]), source="faces")
        chosen = faces.sample_factors(stand_ins.split(**shares).train.indices[:n], seed=trained["seed"])
        return Images.from_array(faces.render(chosen, size=model.config.image_size), table=chosen)
    part = images.split(**shares).train
    if part.description() != trained:
        raise ValueError("the model was trained on other images than these: open the source of its run.")
    return part.subset(slice(0, n))


def _train_in(folder: Path, run: "_Run") -> Autoencoder:
    if (folder / CHECKPOINT_RECORD).exists():  # a killed training had only to remove its state
        model = _loaded(folder, run)
    else:
        files.remove_all_leftovers(folder)
        state = _read_state(folder, run) if (folder / RESUME_FILE).exists() else run.start()
        state = run.completed(state, folder)
        _write_history(folder, state)  # a kill may have come between the last state and its line
        model = run.finished(state)
        save_checkpoint(model, folder)
    for name in (RESUME_FILE, LOCK_FILE):
        (folder / name).unlink(missing_ok=True)
    return model


def _loaded(folder: Path, run: "_Run") -> Autoencoder:
    model = load_checkpoint(folder)
    run.check_same(_settings(model.config, model.training, model.data), folder)
    return model


@dataclass(frozen=True)
class _State:
    """All that the next epoch depends on, besides the settings and the images."""

    precision: str
    weights: list[np.ndarray]
    optimizer: list[np.ndarray]
    best: list[np.ndarray] = field(default_factory=list)
    history: tuple[EpochRecord, ...] = ()


class _Run:
    """One training: its settings, its images, and the steps from a state to the next."""

    def __init__(
        self,
        images: Images | np.ndarray,
        validation: Images | np.ndarray | None,
        *,
        config: AutoencoderConfig,
        training: TrainingConfig,
    ) -> None:
        self.images, self.validation, self.config, self.training = images, validation, config, training
        self.data = {
            "images": describe_images(images),
            "validation": None if validation is None else describe_images(validation),
        }
        self.steps_per_epoch = -(-_shared_evenly(len(images)) // training.batch_size)

    def start(self) -> _State:
        """Return the state before the first epoch."""
        precision = resolve_precision(self.training.precision)
        network = self._compiled(precision)
        return _State(precision, network.get_weights(), _values(network.optimizer.variables))

    def completed(self, state: _State, folder: Path | None = None) -> _State:
        """Train all epochs that a state lacks; write each new state to the folder."""
        network = self._compiled(state.precision)
        network.set_weights(state.weights)
        for variable, value in zip(network.optimizer.variables, state.optimizer, strict=True):
            variable.assign(value)
        with self._progress(done=len(state.history)) as bar:
            while not self._is_complete(state.history):
                state = self._next(state, network, bar)
                if folder is not None:
                    _write_state(folder, state, self.settings(state.precision))
        return state

    def finished(self, state: _State) -> Autoencoder:
        """Return the trained model in float32."""
        model = build(self.config)
        model.autoencoder.set_weights(state.best or state.weights)
        training = asdict(replace(self.training, precision=state.precision))
        return replace(model, history=state.history, data=self.data, training=training)

    def settings(self, precision: str) -> dict[str, Any]:
        """Return what must not change between a training and its resumption."""
        return _settings(self.config, asdict(replace(self.training, precision=precision)), self.data)

    def check_same(self, found: dict[str, Any], folder: Path) -> None:
        """Refuse a folder that belongs to a training with other settings or images."""
        precision = self.training.precision
        if precision == "auto":
            precision = found.get("training.precision", precision)
        wanted = self.settings(precision)
        for name in sorted(wanted.keys() | found.keys()):
            if wanted.get(name) != found.get(name):
                raise ValueError(
                    f"{folder} holds a training with {name} = {found.get(name)!r}, not {wanted.get(name)!r}: pass the "
                    "same settings and images to go on with it, or choose another folder, or delete this one."
                )

    def _compiled(self, precision: str) -> keras.Model:
        network = _Reproduction(build(self.config, seed=self.training.seed, precision=precision).autoencoder)
        optimizer = keras.optimizers.Adam(self._learning_rate())
        network.compile(optimizer=optimizer, loss=_LOSSES[self.config.loss]())
        optimizer.build(network.trainable_variables)
        return network

    def _learning_rate(self) -> Any:
        if self.training.schedule == "constant":
            return self.training.learning_rate
        return keras.optimizers.schedules.CosineDecay(
            self.training.learning_rate, decay_steps=self.training.epochs * self.steps_per_epoch
        )

    def _progress(self, *, done: int) -> tqdm:
        return tqdm(
            desc="training",
            total=self.training.epochs * self.steps_per_epoch,
            initial=done * self.steps_per_epoch,
            unit="step",
            delay=2,
        )

    def _is_complete(self, history: tuple[EpochRecord, ...]) -> bool:
        patience = self.training.early_stopping
        stopped = bool(history) and 0 < patience <= len(history) - _best_epoch(history)
        return stopped or len(history) == self.training.epochs

    def _next(self, state: _State, network: keras.Model, bar: tqdm) -> _State:
        """Train one epoch; everything random in it follows from the seed and its number."""
        record = self._measured_epoch(network, len(state.history) + 1, bar)
        history, weights = (*state.history, record), network.get_weights()
        is_best = self.training.early_stopping > 0 and _best_epoch(history) == record.epoch
        return replace(
            state,
            weights=weights,
            optimizer=_values(network.optimizer.variables),
            best=weights if is_best else state.best,
            history=history,
        )

    def _measured_epoch(self, network: keras.Model, epoch: int, bar: tqdm) -> EpochRecord:
        learning_rate = float(network.optimizer.learning_rate)
        batches = ShuffledBatches(
            self.images,
            epoch=epoch,
            batch_size=self.training.batch_size,
            flips=self.training.flips,
            seed=self.training.seed,
        )
        start = time.perf_counter()
        logs = network.fit(
            fed(batches), epochs=1, shuffle=False, verbose=0, callbacks=[_BarUpdate(bar)]
        ).history
        trained = time.perf_counter()
        loss, val_loss = logs["loss"][0], self._validation_loss(network)
        if not math.isfinite(loss):
            raise ValueError(
                f"The loss became {loss} in epoch {epoch}: lower the learning rate {learning_rate}."
            )
        return EpochRecord(
            epoch=epoch,
            loss=float(loss),
            val_loss=val_loss,
            learning_rate=learning_rate,
            seconds=time.perf_counter() - start,
            images_per_second=len(self.images) / (trained - start),
        )

    def _validation_loss(self, network: keras.Model) -> float | None:
        if self.validation is None:
            return None
        batches = _Batches(self.validation, batch_size=_VALIDATION_BATCH)
        return float(network.evaluate(fed(batches), verbose=0))


class _Reproduction(keras.Model):
    """An autoencoder in training: its input is its target too, and may come as bytes, a quarter of the memory.

    Handing over a target of its own, or floats, takes a twentieth of a step.
    """

    def __init__(self, autoencoder: keras.Model) -> None:
        super().__init__(name="reproduction")
        self._autoencoder = autoencoder
        self.built = True  # as the autoencoder is

    def call(self, x: Any, *, training: bool = False) -> Any:
        """Return the copies of images."""
        return self._autoencoder(_as_floats(x), training=training)

    def compute_loss(
        self, x: Any, _y: Any = None, y_pred: Any = None, *rest: Any, training: bool = True
    ) -> Any:
        """Compare the copies with the images."""
        return super().compute_loss(x, _as_floats(x), y_pred, *rest, training=training)


def _as_floats(x: Any) -> Any:
    """Turn bytes into float32 in [0, 1], as `Images` does."""
    return keras.ops.cast(x, "float32") / 255.0 if keras.backend.standardize_dtype(x.dtype) == "uint8" else x


def _taken(images: Images | np.ndarray, key: np.ndarray | slice) -> np.ndarray:
    """Take images in the form in which they are held: a copy, for TensorFlow may share, and was seen to write, it."""
    if isinstance(images, Images):
        return images.bytes(key)
    return np.array(images[key], np.float32)


class ShuffledBatches(keras.utils.PyDataset):
    """The batches of one epoch: a pure function of the images, the seed and the epoch's number.

    Parameters
    ----------
    images : Images or array of float, shape (n, h, w, 3)
        The training images.
    epoch : int
        Number of the epoch, from 1.
    batch_size : int
        Images per batch; the last one may be smaller. Where several devices share a batch, an epoch leaves out the last
        few images that they cannot share evenly, other ones each time.
    flips : bool
        Whether to mirror each image with probability 1/2.
    seed : int
        Seed of order and flips.

    Examples
    --------
    >>> images = np.random.default_rng(0).random((5, 32, 32, 3), dtype=np.float32)
    >>> batches = ShuffledBatches(images, epoch=1, batch_size=2, flips=True, seed=0)
    >>> len(batches), batches[2][0].shape
    (3, (1, 32, 32, 3))
    """

    def __init__(
        self, images: Images | np.ndarray, *, epoch: int, batch_size: int, flips: bool, seed: int
    ) -> None:
        super().__init__()
        self._images, self._batch_size, self._flips, self._key = images, batch_size, flips, (seed, epoch)
        order = np.random.default_rng((*self._key, 0)).permutation(len(images))
        self._order = order[: _shared_evenly(len(order))]

    def __len__(self) -> int:
        return -(-len(self._order) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray]:
        rows = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        batch = _taken(self._images, rows)
        if self._flips:
            mirrored = np.random.default_rng((*self._key, 1, index)).random(len(batch)) < 0.5
            batch[mirrored] = batch[mirrored, :, ::-1]
        return (batch,)


class _Batches(keras.utils.PyDataset):
    """The images in their order, without the last few that several devices cannot share evenly."""

    def __init__(self, images: Images | np.ndarray, *, batch_size: int) -> None:
        super().__init__()
        self._images, self._batch_size, self._n = images, batch_size, _shared_evenly(len(images))

    def __len__(self) -> int:
        return -(-self._n // self._batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray]:
        start = index * self._batch_size
        return (_taken(self._images, slice(start, min(start + self._batch_size, self._n))),)


class _BarUpdate(keras.callbacks.Callback):
    """Moves the progress bar by one for each step."""

    def __init__(self, bar: tqdm) -> None:
        super().__init__()
        self._bar = bar

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if batch % _STEPS_PER_POSTFIX == 0 and logs:
            self._bar.set_postfix(loss=f"{float(logs['loss']):.4f}", refresh=False)
        self._bar.update()


def _settings(config: AutoencoderConfig, training: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Flatten what defines a training into one dict, whose keys name each setting."""
    groups = {"config": config.to_dict(), "training": training, "data": data}
    return {f"{group}.{name}": value for group, values in groups.items() for name, value in values.items()}


def _best_epoch(history: tuple[EpochRecord, ...]) -> int:
    return min(history, key=lambda record: (record.val_loss, record.epoch)).epoch


def _values(variables: list[Any]) -> list[np.ndarray]:
    return [np.array(variable.numpy()) for variable in variables]


def _write_state(folder: Path, state: _State, settings: dict[str, Any]) -> None:
    history = [record._asdict() for record in state.history]
    arrays = {f"{name}_{k}": array for name in _ARRAYS for k, array in enumerate(getattr(state, name))}
    with files.replacing(folder / RESUME_FILE) as temporary:
        np.savez(temporary, record=np.array(json.dumps({"settings": settings, "history": history})), **arrays)
    _write_history(folder, state)


def _write_history(folder: Path, state: _State) -> None:
    table = pd.DataFrame([record._asdict() for record in state.history])
    files.write_text(folder / HISTORY_FILE, table.to_csv(index=False))


def _read_state(folder: Path, run: _Run) -> _State:
    path = folder / RESUME_FILE
    try:
        stored = files.read_arrays(path)
        record = json.loads(str(stored["record"]))
        settings = dict(record["settings"])
        state = _State(
            precision=resolve_precision(settings["training.precision"]),
            history=tuple(files.as_record(EpochRecord, entry) for entry in record["history"]),
            **{name: _numbered(stored, name) for name in _ARRAYS},
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}): delete it to train from the first epoch.") from error
    run.check_same(settings, folder)
    if not _fits(state, run.start()):
        raise ValueError(
            f"{path} is damaged (its arrays are not those of this network): delete it to train from the first epoch."
        )
    return state


def _fits(state: _State, start: _State) -> bool:
    """Whether a state has the arrays that a training of its kind begins with."""

    def form(arrays: list[np.ndarray]) -> list[tuple[tuple[int, ...], Any]]:
        return [(array.shape, array.dtype) for array in arrays]

    weights = form(start.weights)
    return (
        form(state.weights) == weights
        and form(state.optimizer) == form(start.optimizer)
        and form(state.best) in ([], weights)
    )


def _numbered(stored: Any, name: str) -> list[np.ndarray]:
    return [stored[f"{name}_{k}"] for k in range(sum(key.startswith(f"{name}_") for key in stored))]


@contextmanager
def _only_process(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; a second training in it would overwrite the first one's state."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RuntimeError(
            f"Another process is training in {folder}: wait for it, or choose another folder."
        ) from None
    try:
        yield
    finally:
        lock.release()
