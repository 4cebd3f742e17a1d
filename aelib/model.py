"""The autoencoder: its configuration, its Keras models, and checkpoints that hold weights but never run code."""

import hashlib
import io
import json
import math
import os
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import h5py
import numpy as np
import pandas as pd

from aelib import files
from aelib._backend import has_fast_bfloat16, keras
from aelib.images import Images
from aelib.partitions import Points, is_partitioned

ACTIVATIONS = ("relu", "leaky_relu", "selu", "elu", "gelu")
LOSSES = ("mse", "bce")
PRECISIONS = ("auto", "float32", "mixed_bfloat16")

CHECKPOINT_FORMAT = "aelib checkpoint"
CHECKPOINT_VERSION = 1
CHECKPOINT_MODEL = "model.keras"
CHECKPOINT_RECORD = "checkpoint.json"

_WEIGHTS = "model.weights.h5"  # in the archive
_MOST_LAYERS = 32
# What Keras, h5py and zipfile raise for archives that are damaged or do not fit.
_UNREADABLE = (*files.BAD_ARCHIVE, KeyError, TypeError, AttributeError, UserWarning)

Settings = TypeVar("Settings")

SHIPPED_CHECKPOINT = Path(__file__).resolve().parent.parent / "data" / "checkpoints" / "faces-post3"


def from_settings(cls: type[Settings], settings: Mapping[str, Any]) -> Settings:
    """Rebuild a frozen settings class from the dict that JSON gave back.

    Parameters
    ----------
    cls : dataclass
        The settings class; it validates itself.
    settings : mapping
        Exactly its fields; lists stand for tuples.

    Returns
    -------
    instance of cls
        The validated settings.

    Raises
    ------
    ValueError
        If a field is missing, unknown or of the wrong type.
    """
    expected = {setting.name for setting in fields(cls)}  # type: ignore[arg-type]
    if settings.keys() != expected:
        missing, unknown = sorted(expected - settings.keys()), sorted(settings.keys() - expected)
        raise ValueError(f"{cls.__name__}: missing settings {missing}, unknown settings {unknown}.")
    return cls(
        **{name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
    )


def check_int(name: str, value: Any, *, least: int) -> None:
    """Check a setting that is a whole number.

    Parameters
    ----------
    name : str
        The setting's name, for the message.
    value : Any
        Its value.
    least : int
        The smallest one allowed.

    Raises
    ------
    ValueError
        If it is not a whole number, or smaller than `least`.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}.")


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Check a setting that has a few named values.

    Parameters
    ----------
    name : str
        The setting's name, for the message.
    value : Any
        Its value.
    choices : tuple of str
        The values allowed.

    Raises
    ------
    ValueError
        If it is none of them.
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}.")


@dataclass(frozen=True)
class AutoencoderConfig:
    """The architecture of a convolutional autoencoder, and the loss it is trained with.

    The encoder is one `Conv2D` per entry of `filters` and a dense layer to the latent space. The decoder mirrors
    it: a dense layer, then one `Conv2DTranspose` per entry, in reverse order, the last one to the three colours.

    Parameters
    ----------
    filters : tuple of int
        Filters of each convolution, from the image inwards; 32 at most.
    kernel_size : int or tuple of int
        Side of the convolution kernels in pixels: one for all, or one per layer.
    strides : int or tuple of int
        Strides of the convolutions: one for all, or one per layer.
    activation : {"relu", "leaky_relu", "selu", "elu", "gelu"}
        Activation after each convolution; `leaky_relu` has slope 0.2 on the left.
    z_dim : int
        Dimension of the latent space.
    image_size : int
        Side of the square RGB images in pixels: at least 32 and a multiple of the product of the strides.
    loss : {"mse", "bce"}
        Mean squared error, or binary cross-entropy, per pixel and colour.
    batch_norm : bool
        Whether each convolution but the last is followed by a batch normalisation.

    Raises
    ------
    ValueError
        If a setting is outside the ranges above; the message says what to change.

    Notes
    -----
    The source names the filters, `z_dim`, 96x96 images, both losses and no batch normalisation. It does not state
    kernels and strides, nor which of ReLU, LeakyReLU and SELU a figure was made with: 3x3, 2 and LeakyReLU are our
    choice.

    Examples
    --------
    >>> AutoencoderConfig(filters=(16, 32), z_dim=10, image_size=32).grid_size
    8
    """

    filters: tuple[int, ...] = (64, 64, 128, 128)
    kernel_size: int | tuple[int, ...] = 3
    strides: int | tuple[int, ...] = 2
    activation: str = "leaky_relu"
    z_dim: int = 256
    image_size: int = 96
    loss: str = "mse"
    batch_norm: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.filters, tuple) or not self.filters:
            raise ValueError(
                f"filters must be a tuple with one number per convolution, not {self.filters!r}."
            )
        if len(self.filters) > _MOST_LAYERS:
            raise ValueError(
                f"filters has {len(self.filters)} entries; expected {_MOST_LAYERS} convolutions at most."
            )
        for name in ("filters", "kernel_size", "strides"):
            for number in self._per_layer(name):
                check_int(name, number, least=1)
        check_int("z_dim", self.z_dim, least=1)
        check_int("image_size", self.image_size, least=32)
        check_choice("activation", self.activation, ACTIVATIONS)
        check_choice("loss", self.loss, LOSSES)
        if not isinstance(self.batch_norm, bool):
            raise ValueError(f"batch_norm must be True or False, not {self.batch_norm!r}.")
        self._check_grid()

    def _per_layer(self, name: str) -> tuple[int, ...]:
        value = getattr(self, name)
        if not isinstance(value, tuple):
            return (value,) * len(self.filters)
        if len(value) != len(self.filters):
            raise ValueError(
                f"{name} must be one number or {len(self.filters)}, one per entry of filters, not {value!r}."
            )
        return value

    def _check_grid(self) -> None:
        product = math.prod(self._per_layer("strides"))
        if self.image_size % product:
            raise ValueError(
                f"image_size {self.image_size} is not a multiple of {product}, the product of the strides, "
                "so the decoder could not restore it: change one of them."
            )

    @property
    def grid_size(self) -> int:
        """Side of the feature maps between the convolutions and the dense layers, in grid points."""
        return self.image_size // math.prod(self._per_layer("strides"))

    @property
    def convolutions(self) -> tuple["Convolution", ...]:
        """The encoder's convolutions, from the image inwards; the decoder's are the same, turned round."""
        channels = (3, *self.filters)
        sizes = zip(self._per_layer("kernel_size"), self._per_layer("strides"), strict=True)
        return tuple(
            Convolution(
                channels_in=channels[k], channels_out=channels[k + 1], kernel_size=kernel, stride=stride
            )
            for k, (kernel, stride) in enumerate(sizes)
        )

    @property
    def n_parameters(self) -> int:
        """Number of weights of the autoencoder, those that batch normalisation does not train included."""
        flat = self.grid_size**2 * self.filters[-1]
        kernels = 2 * sum(c.kernel_size**2 * c.channels_in * c.channels_out for c in self.convolutions)
        normalised = sum(self.filters) + sum(self.filters[:-1])
        return (
            kernels
            + (4 if self.batch_norm else 1) * normalised
            + 3
            + 2 * flat * self.z_dim
            + self.z_dim
            + flat
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a dict that JSON can say.

        Returns
        -------
        dict
            One entry per setting; tuples become lists.
        """
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> "AutoencoderConfig":
        """Rebuild a configuration from `to_dict`'s dict.

        Parameters
        ----------
        settings : mapping
            Exactly the settings that `to_dict` gives.

        Returns
        -------
        AutoencoderConfig
            The validated configuration.

        Raises
        ------
        ValueError
            If a setting is missing, unknown or out of range.
        """
        return from_settings(cls, settings)


class Convolution(NamedTuple):
    """One convolution of the encoder, and the transposed one that mirrors it in the decoder.

    Parameters
    ----------
    channels_in, channels_out : int
        Channels on the side of the image, and on the side of the latent space.
    kernel_size : int
        Side of the kernel in pixels.
    stride : int
        Stride in both directions in pixels.
    """

    channels_in: int
    channels_out: int
    kernel_size: int
    stride: int


PRESETS: Mapping[str, AutoencoderConfig] = MappingProxyType(
    {
        "post1": AutoencoderConfig(filters=(32, 64, 128, 256)),
        "post3": AutoencoderConfig(filters=(64, 64, 128, 128)),
        # Post III's network with the last stride 1 has 9.98 M parameters; 160 filters there bring it to 12.4 M.
        "large": AutoencoderConfig(filters=(64, 64, 128, 160), strides=(2, 2, 2, 1)),
    }
)
"""The source's networks: post I's filters (5.50 M parameters), post III's (2.88 M), and one of more than 10 M."""


class EpochRecord(NamedTuple):
    """What one epoch of training measured.

    Parameters
    ----------
    epoch : int
        Number of the epoch, from 1.
    loss : float
        Mean training loss over the epoch, while the weights were changing.
    val_loss : float or None
        Loss on the validation images after the epoch; None without validation images.
    learning_rate : float
        Adam's learning rate at the first step of the epoch.
    seconds : float
        Duration of the epoch, validation included, in seconds.
    images_per_second : float
        Training images per second, validation excluded.
    """

    epoch: int
    loss: float
    val_loss: float | None
    learning_rate: float
    seconds: float
    images_per_second: float


@dataclass(frozen=True)
class Autoencoder:
    """An autoencoder with the record of how it came about.

    Parameters
    ----------
    config : AutoencoderConfig
        Its architecture and loss.
    encoder : keras.Model
        Images (n, image_size, image_size, 3) in [0, 1] to z-points (n, z_dim).
    decoder : keras.Model
        z-points (n, z_dim) to images (n, image_size, image_size, 3) in [0, 1].
    autoencoder : keras.Model
        The decoder after the encoder; it shares their weights.
    history : tuple of EpochRecord
        One record per epoch of training; empty for an untrained model.
    data : dict
        Description of the training images; empty for an untrained model.
    training : dict
        The settings of the training; empty for an untrained model.
    """

    config: AutoencoderConfig
    encoder: keras.Model
    decoder: keras.Model
    autoencoder: keras.Model
    history: tuple[EpochRecord, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)

    def fingerprint(self) -> str:
        """Return the SHA-256 of the configuration and the weights: the same for the same function.

        Returns
        -------
        str
            64 hexadecimal digits.
        """
        digest = hashlib.sha256(json.dumps(self.config.to_dict(), sort_keys=True).encode())
        for weight in self.autoencoder.get_weights():
            digest.update(np.ascontiguousarray(weight).tobytes())
        return digest.hexdigest()


def build(config: AutoencoderConfig, *, seed: int = 0, precision: str = "float32") -> Autoencoder:
    """Build an untrained autoencoder.

    Parameters
    ----------
    config : AutoencoderConfig
        The architecture.
    seed : int
        Seed of the initial weights, at least 0: the same seed gives the same weights.
    precision : {"float32", "mixed_bfloat16", "auto"}
        Arithmetic of the convolutions. Weights, z-points and images are float32 in any case. "auto" is
        "mixed_bfloat16" where the processor has instructions for it (and Keras runs on TensorFlow), else "float32".

    Returns
    -------
    Autoencoder
        The Keras models, without history.

    Raises
    ------
    ValueError
        If `seed` or `precision` is not one of the above.

    Examples
    --------
    >>> model = build(AutoencoderConfig(filters=(4, 8), z_dim=3, image_size=32))
    >>> model.encoder.output_shape, model.decoder.output_shape
    ((None, 3), (None, 32, 32, 3))
    """
    check_int("seed", seed, least=0)
    seeds = iter(np.random.SeedSequence(seed).generate_state(2 * len(config.filters) + 2).tolist())
    dtype = resolve_precision(precision)
    encoder = _build_encoder(config, seeds, dtype)
    decoder = _build_decoder(config, seeds, dtype)
    image = keras.Input(encoder.input_shape[1:], dtype="float32", name="image")
    autoencoder = keras.Model(image, decoder(encoder(image)), name="autoencoder")
    return Autoencoder(config=config, encoder=encoder, decoder=decoder, autoencoder=autoencoder)


def resolve_precision(precision: str) -> str:
    """Turn "auto" into the precision that is the faster one on this machine.

    Parameters
    ----------
    precision : {"auto", "float32", "mixed_bfloat16"}
        What was asked for.

    Returns
    -------
    {"float32", "mixed_bfloat16"}
        What to use.

    Raises
    ------
    ValueError
        If `precision` is none of the three.
    """
    check_choice("precision", precision, PRECISIONS)
    if precision != "auto":
        return precision
    return "mixed_bfloat16" if has_fast_bfloat16() else "float32"


def _build_encoder(config: AutoencoderConfig, seeds: Iterator[int], dtype: str) -> keras.Model:
    image = keras.Input((config.image_size, config.image_size, 3), dtype="float32", name="image")
    x = image
    for number, convolution in enumerate(config.convolutions, start=1):
        settings = _convolution_settings(
            config, convolution, name=f"conv_{number}", seed=next(seeds), dtype=dtype
        )
        x = _convolve(x, config, keras.layers.Conv2D, convolution.channels_out, settings)
    x = keras.layers.Flatten(data_format="channels_last", name="flatten", dtype=dtype)(x)
    initializer = _initializer(config, next(seeds))
    z = keras.layers.Dense(config.z_dim, kernel_initializer=initializer, name="z_points", dtype="float32")(x)
    return keras.Model(image, z, name="encoder")


def _build_decoder(config: AutoencoderConfig, seeds: Iterator[int], dtype: str) -> keras.Model:
    z = keras.Input((config.z_dim,), dtype="float32", name="z_point")
    grid = (config.grid_size, config.grid_size, config.filters[-1])
    initializer = _initializer(config, next(seeds))
    x = keras.layers.Dense(math.prod(grid), kernel_initializer=initializer, name="dense", dtype=dtype)(z)
    x = keras.layers.Reshape(grid, name="reshape", dtype=dtype)(x)
    for number, convolution in reversed(list(enumerate(config.convolutions, start=1))):
        settings = _convolution_settings(
            config, convolution, name=f"deconv_{number}", seed=next(seeds), dtype=dtype
        )
        if number > 1:
            x = _convolve(x, config, keras.layers.Conv2DTranspose, convolution.channels_in, settings)
        else:
            x = _convolve_to_colours(x, convolution.channels_in, settings)
    return keras.Model(z, x, name="decoder")


def _convolve_to_colours(x: Any, channels: int, settings: dict[str, Any]) -> Any:
    if settings["dtype"] == "float32":
        return keras.layers.Conv2DTranspose(channels, activation="sigmoid", **settings)(x)
    x = keras.layers.Conv2DTranspose(channels, **settings)(x)
    # In bfloat16 the sigmoid would take longer, and steps of a whole grey level in bright colours.
    return keras.layers.Activation("sigmoid", name="colours", dtype="float32")(x)


def _convolution_settings(
    config: AutoencoderConfig, convolution: Convolution, *, name: str, seed: int, dtype: str
) -> dict[str, Any]:
    return {
        "kernel_size": convolution.kernel_size,
        "strides": convolution.stride,
        "padding": "same",
        "data_format": "channels_last",
        "kernel_initializer": _initializer(config, seed),
        "name": name,
        "dtype": dtype,
    }


def _convolve(x: Any, config: AutoencoderConfig, layer: Any, filters: int, settings: dict[str, Any]) -> Any:
    """Apply a convolution and its activation, with batch normalisation between them if asked for."""
    if not config.batch_norm:
        return layer(filters, activation=config.activation, **settings)(x)
    name, dtype = settings["name"], settings["dtype"]
    x = layer(filters, use_bias=False, **settings)(x)
    x = keras.layers.BatchNormalization(name=f"{name}_norm", dtype="float32")(x)
    return keras.layers.Activation(config.activation, name=f"{name}_activation", dtype=dtype)(x)


def _initializer(config: AutoencoderConfig, seed: int) -> keras.initializers.Initializer:
    # SELU keeps the variance from layer to layer only with LeCun's initial weights.
    kind = keras.initializers.LecunNormal if config.activation == "selu" else keras.initializers.GlorotUniform
    return kind(seed=seed)


def check_images(
    images: Images | np.ndarray | Points, config: AutoencoderConfig, *, name: str = "images"
) -> None:
    """Check that a network of this configuration can take the images.

    Parameters
    ----------
    images : Images or array of float, shape (n, image_size, image_size, 3), values in [0, 1]
        What is to be trained on or encoded; of a Dask array only the shape is looked at.
    config : AutoencoderConfig
        The configuration of the network.
    name : str
        What the message calls the images.

    Raises
    ------
    TypeError
        If they are neither `Images` nor an array of floats.
    ValueError
        If there are none, their shape is another one, or a value is not finite or outside [0, 1].

    Examples
    --------
    >>> check_images(np.full((2, 96, 96, 3), 0.5), PRESETS["post3"])
    """
    if isinstance(images, Images):
        shape: tuple[int, ...] = (len(images), images.size, images.size, 3)
    elif isinstance(images, np.ndarray) or is_partitioned(images):
        shape = images.shape
    else:
        raise TypeError(f"{name} must be aelib.Images or an array of floats, not a {type(images).__name__}.")
    expected = (config.image_size, config.image_size, 3)
    if len(shape) != 4 or shape[1:] != expected:
        raise ValueError(
            f"{name} have shape {shape}, but the model takes (n, {config.image_size}, {config.image_size}, 3): open "
            "them with size=..., choose image_size=... in AutoencoderConfig, or wrap a single image as image[None]."
        )
    if shape[0] == 0:
        raise ValueError(f"{name} hold no image: pass at least one.")
    if isinstance(images, np.ndarray):
        _check_values(images, name)


def _check_values(images: np.ndarray, name: str) -> None:
    if images.dtype == np.uint8:
        raise TypeError(
            f"{name} are uint8: divide by 255 (in float32), or pass aelib.Images.from_array(...)."
        )
    if not np.issubdtype(images.dtype, np.floating):
        raise TypeError(f"{name} hold {images.dtype}; expected floats in [0, 1].")
    low, high = images.min(), images.max()
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"{name} have values from {low} to {high}; expected finite values in [0, 1]: divide bytes by 255, "
            "clip, or leave out damaged images."
        )


def describe_images(images: Images | np.ndarray) -> dict[str, Any]:
    """Describe images so that a result can say what it was made from, without a path.

    Parameters
    ----------
    images : Images or array of float, shape (n, h, w, 3)
        The images.

    Returns
    -------
    dict
        JSON-able: the description of `Images`, or an array's number, size and SHA-256.

    Examples
    --------
    >>> describe_images(np.zeros((2, 32, 32, 3), np.float32))["n"]
    2
    """
    if isinstance(images, Images):
        return images.description()
    digest = hashlib.sha256(str(images.dtype).encode())
    for image in images:
        digest.update(np.ascontiguousarray(image).data)
    return {"source": "array", "n": len(images), "size": images.shape[1], "key": digest.hexdigest()}


def layer_table(keras_model: keras.Model) -> pd.DataFrame:
    """Tabulate the layers of a Keras model.

    Parameters
    ----------
    keras_model : keras.Model
        For example an `Autoencoder`'s encoder.

    Returns
    -------
    pandas.DataFrame
        One row per layer: `layer` (its name), `type`, `output` (shape of one sample's output), `parameters`.

    Examples
    --------
    >>> model = build(AutoencoderConfig(filters=(4, 8), z_dim=3, image_size=32))
    >>> print(layer_table(model.encoder).to_string(index=False))
       layer       type      output  parameters
       image InputLayer (32, 32, 3)           0
      conv_1     Conv2D (16, 16, 4)         112
      conv_2     Conv2D   (8, 8, 8)         296
     flatten    Flatten      (512,)           0
    z_points      Dense        (3,)        1539
    """
    return pd.DataFrame(
        {
            "layer": [layer.name for layer in keras_model.layers],
            "type": [type(layer).__name__ for layer in keras_model.layers],
            "output": [tuple(layer.output.shape[1:]) for layer in keras_model.layers],
            "parameters": [layer.count_params() for layer in keras_model.layers],
        }
    )


def save_checkpoint(model: Autoencoder, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write an autoencoder as a checkpoint folder: `model.keras` and, last, `checkpoint.json`.

    Parameters
    ----------
    model : Autoencoder
        What to save: weights, configuration and records, but no optimizer.
    path : path-like
        The folder; made if need be. Other files in it stay.
    overwrite : bool
        Whether to replace a checkpoint that is there already.

    Raises
    ------
    ValueError
        If there is a checkpoint in the folder and `overwrite` is False.
    """
    folder = Path(path)
    record = folder / CHECKPOINT_RECORD
    if record.exists() and not overwrite:
        raise ValueError(
            f"{folder} holds a checkpoint already: choose another folder or pass overwrite=True."
        )
    # Without its record a checkpoint is not one, so a kill in between cannot leave two halves that do not match.
    record.unlink(missing_ok=True)
    with files.replacing(folder / CHECKPOINT_MODEL) as temporary, warnings.catch_warnings():
        # Keras reads TensorFlow's variables in a way that NumPy 2 deprecates.
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        _bare_copy(model).autoencoder.save(temporary)
    files.write_json(record, _checkpoint_record(model, folder / CHECKPOINT_MODEL))


def load_checkpoint(path: str | os.PathLike[str] | None = None, *, precision: str = "float32") -> Autoencoder:
    """Read a checkpoint folder.

    The networks are built anew from the validated configuration, and only weights are read from the `.keras`
    file: nothing in a checkpoint is ever run.

    Parameters
    ----------
    path : path-like or None
        The folder that `save_checkpoint` or `train` wrote. None loads the checkpoint shipped with the repository:
        post III's network, trained on embedded faces.
    precision : {"float32", "mixed_bfloat16", "auto"}
        As in `build`. The default gives the same z-points on every machine, up to float32 rounding.

    Returns
    -------
    Autoencoder
        The trained autoencoder with its records.

    Raises
    ------
    ValueError
        If the folder holds no checkpoint, a damaged or altered one, or one of a later version.
    """
    folder = SHIPPED_CHECKPOINT if path is None else Path(path)
    record = _read_record(folder)
    _check_model_file(folder / CHECKPOINT_MODEL, record)
    model = build(record.config, precision=precision)
    _load_weights(model, folder / CHECKPOINT_MODEL)
    return replace(model, history=record.history, data=record.data, training=record.training)


@dataclass(frozen=True)
class _CheckpointRecord:
    """What `checkpoint.json` says, validated."""

    config: AutoencoderConfig
    history: tuple[EpochRecord, ...]
    data: dict[str, Any]
    training: dict[str, Any]
    model_sha256: str


def _checkpoint_record(model: Autoencoder, model_file: Path) -> dict[str, Any]:
    return {
        "format": CHECKPOINT_FORMAT,
        "version": CHECKPOINT_VERSION,
        "config": model.config.to_dict(),
        "history": [record._asdict() for record in model.history],
        "data": model.data,
        "training": model.training,
        "model_sha256": _sha256(model_file),
        "versions": {"keras": keras.__version__, "numpy": np.__version__, "backend": keras.config.backend()},
    }


def _read_record(folder: Path) -> _CheckpointRecord:
    try:
        content = files.read_json(folder / CHECKPOINT_RECORD)
    except FileNotFoundError:
        raise ValueError(_no_checkpoint(folder)) from None
    if not isinstance(content, dict) or content.get("format") != CHECKPOINT_FORMAT:
        raise ValueError(f"{folder / CHECKPOINT_RECORD} was not written by aelib.save_checkpoint.")
    if content.get("version") != CHECKPOINT_VERSION:
        raise ValueError(
            f"{folder} is a checkpoint of version {content.get('version')!r}, and this aelib reads version "
            f"{CHECKPOINT_VERSION}: update aelib, or train again."
        )
    try:
        return _parse_record(content)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{folder / CHECKPOINT_RECORD} is damaged or was edited: {error}") from error


def _parse_record(content: dict[str, Any]) -> _CheckpointRecord:
    for name, kind in (
        ("config", dict),
        ("history", list),
        ("data", dict),
        ("training", dict),
        ("model_sha256", str),
    ):
        if not isinstance(content[name], kind):
            raise ValueError(f"{name} must be a {kind.__name__}")
    return _CheckpointRecord(
        config=AutoencoderConfig.from_dict(content["config"]),
        history=tuple(files.as_record(EpochRecord, record) for record in content["history"]),
        data=content["data"],
        training=content["training"],
        model_sha256=content["model_sha256"],
    )


def _no_checkpoint(folder: Path) -> str:
    if folder == SHIPPED_CHECKPOINT:
        return (
            f"The shipped checkpoint is not at {folder}: it comes with the repository (pip install -e .), not with "
            "an installed wheel. Pass the path of a checkpoint folder."
        )
    return f"{folder} holds no checkpoint: there is no {CHECKPOINT_RECORD}. Pass a folder that aelib.train finished."


def _check_model_file(path: Path, record: _CheckpointRecord) -> None:
    if not path.is_file():
        raise ValueError(f"{path} is missing: restore the whole checkpoint folder.")
    if _sha256(path) != record.model_sha256:
        raise ValueError(
            f"{path} is not the file that {CHECKPOINT_RECORD} describes: truncated, altered or exchanged. "
            "Restore the whole checkpoint folder."
        )
    # Before building: an altered configuration could ask for any amount of memory.
    if path.stat().st_size < 4 * record.config.n_parameters:
        raise ValueError(
            f"{path} is too small for the {record.config.n_parameters} weights of its configuration."
        )
    _check_archive(path)


def _check_archive(path: Path) -> None:
    """Refuse an archive that could take more memory than it has bytes, or whose weights lie elsewhere."""
    try:
        with zipfile.ZipFile(path) as archive:
            files.check_members(archive)
            with h5py.File(io.BytesIO(archive.read(_WEIGHTS)), "r") as weights:
                _check_weights(weights, path.stat().st_size)
    except _UNREADABLE as error:
        raise ValueError(f"{path} was not written by Keras: {error}. Restore the checkpoint.") from error


def _check_weights(weights: h5py.File, most_bytes: int) -> None:
    """Refuse links, and arrays that say they are larger than the file: HDF5 would make up what is missing."""
    entries: dict[str, Any] = {}
    weights.visititems_links(entries.__setitem__)  # it does not go where links lead
    if links := [name for name, entry in entries.items() if not isinstance(entry, h5py.HardLink)]:
        raise ValueError(f"{links[0]} is a link")
    arrays = [entry for name in entries if isinstance(entry := weights[name], h5py.Dataset)]
    if any(array.external or array.is_virtual or array.chunks for array in arrays):
        raise ValueError("an array is packed or lies in another file")
    if sum(array.nbytes for array in arrays) > most_bytes:
        raise ValueError("its arrays say that they are larger than the file")


def _load_weights(model: Autoencoder, path: Path) -> None:
    try:
        with warnings.catch_warnings():
            # Keras only warns when the file lacks a layer, and leaves that layer as it was.
            warnings.simplefilter("error", UserWarning)
            # From a .keras file this reads weights alone; the architecture in it, which could name code, is not used.
            model.autoencoder.load_weights(path)
    except _UNREADABLE as error:
        raise ValueError(
            f"{path} does not hold the weights of the configuration beside it: {error}"
        ) from error
    if not all(np.isfinite(weight).all() for weight in model.autoencoder.get_weights()):
        raise ValueError(f"{path} holds weights that are not finite: restore or train it again.")


def _bare_copy(model: Autoencoder) -> Autoencoder:
    """Copy the networks in float32, without optimizer or loss."""
    copy = build(model.config)
    copy.autoencoder.set_weights(model.autoencoder.get_weights())
    return replace(copy, history=model.history, data=model.data, training=model.training)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
