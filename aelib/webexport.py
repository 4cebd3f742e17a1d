"""A decoder and its cloud for a web page: model, z-points → a script with all that a browser needs to decode."""

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from aelib.empirical import GaussianMixture
from aelib.laws import UniformBox
from aelib.model import Autoencoder
from aelib.pca import PrincipalAxes
from aelib.truncation import standard_coordinates

VERSION = 1
"""Of what a script holds; the page's JavaScript reads this one."""
MIXTURES = (1, 5, 20)
"""Numbers of normal laws that are tried; 1 is N(μ, Σ)."""

_VARIABLE = "LATENT_FACES"
_LEAST_POINTS = 50  # for each normal law of a mixture
_HELD_OUT = 5  # one point in so many
_LEVELS = (0.05, 0.5, 0.95)


@dataclass(frozen=True, eq=False)
class PortableLayer:
    """A layer of a decoder in a form that needs no Keras.

    Parameters
    ----------
    kind : str
        "dense" or "transposed", a transposed convolution that pads as Keras does for "same".
    kernel : array of float32, shape (inputs, outputs) or (side, side, filters, channels)
        Weights, in Keras' order.
    bias : array of float32, shape (outputs,) or (filters,)
        What is added to the sums.
    stride : int
        Stride in both directions in pixels; 1 for a dense layer.
    activation : str
        Keras' name of the function that follows.
    """

    kind: str
    kernel: np.ndarray
    bias: Float[np.ndarray, " outputs"]
    stride: int
    activation: str


@dataclass(frozen=True, eq=False)
class PortableCloud:
    r"""What a page needs to know of a cloud of z-points, in standardised principal coordinates u.

    A law is a mixture of normal laws with independent :math:`u_k`. Of those that were tried, it is the one under which
    held-out z-points are the most likely.

    Parameters
    ----------
    axes : PrincipalAxes
        Mean, axes and variances of the cloud.
    weights : array of float64, shape (c,)
        Shares of the normal laws.
    centres, deviations : array of float64, shape (c, k)
        Their means and standard deviations, in units of the cloud's.
    gain : float
        Mean log-density of held-out points under the law, less that under N(μ, Σ), in nats; 0 for N(μ, Σ) itself.
    box : float
        Half the side of a uniform box round the origin whose points have the length of z-points, in units of z.
    levels : array of float64, shape (3,)
        Lengths of u, the distances from the centre, that 5, 50 and 95 % of the points stay below.
    faces : array of float64, shape (m, k)
        A few of the points.
    n : int
        Number of points that all this was measured on.
    """

    axes: PrincipalAxes
    weights: Float[np.ndarray, " c"]
    centres: Float[np.ndarray, "c k"]
    deviations: Float[np.ndarray, "c k"]
    gain: float
    box: float
    levels: Float[np.ndarray, " 3"]
    faces: Float[np.ndarray, "m k"]
    n: int


def portable_layers(model: Autoencoder) -> tuple[PortableLayer, ...]:
    """Describe the layers of a decoder; batch normalisations are folded into the convolutions before them.

    Keras holds weights in float32, also where it computes in bfloat16: so this is the decoder in float32.

    Parameters
    ----------
    model : Autoencoder
        The network.

    Returns
    -------
    tuple of PortableLayer
        From the z-point to the image.

    Raises
    ------
    ValueError
        If the decoder has a layer of another kind than `aelib.model.build` makes.

    Examples
    --------
    >>> from aelib.model import AutoencoderConfig, build
    >>> layers = portable_layers(build(AutoencoderConfig(filters=(4, 8), z_dim=3, image_size=32)))
    >>> [(layer.kind, layer.kernel.shape, layer.activation) for layer in layers]
    [('dense', (3, 512), 'linear'), ('transposed', (3, 3, 4, 8), 'leaky_relu'), ('transposed', (3, 3, 3, 4), 'sigmoid')]
    """
    layers: list[PortableLayer] = []
    for layer in model.decoder.layers:
        kind = type(layer).__name__
        if kind in ("Dense", "Conv2DTranspose"):
            layers.append(_with_weights(layer, kind))
        elif kind == "BatchNormalization":
            layers.append(_normalised(layers.pop(), layer))
        elif kind == "Activation":
            last = layers.pop()
            layers.append(
                PortableLayer(last.kind, last.kernel, last.bias, last.stride, layer.activation.__name__)
            )
        elif kind not in ("InputLayer", "Reshape"):
            raise ValueError(f"a decoder of aelib has no {kind} layer: {layer.name} cannot be exported.")
    return tuple(layers)


def _with_weights(layer: Any, kind: str) -> PortableLayer:
    kernel, *rest = (np.asarray(weight, np.float32) for weight in layer.get_weights())
    outputs = kernel.shape[1] if kind == "Dense" else kernel.shape[2]
    bias = rest[0] if rest else np.zeros(outputs, np.float32)
    if kind == "Dense":
        return PortableLayer("dense", kernel, bias, 1, layer.activation.__name__)
    return PortableLayer("transposed", kernel, bias, int(layer.strides[0]), layer.activation.__name__)


def _normalised(layer: PortableLayer, norm: Any) -> PortableLayer:
    """Fold a batch normalisation, as it is after training, into the linear layer before it."""
    gamma, beta, mean, variance = (np.asarray(weight, np.float64) for weight in norm.get_weights())
    factor = gamma / np.sqrt(variance + norm.epsilon)
    kernel = (layer.kernel * factor[:, None]).astype(np.float32)
    bias = ((layer.bias - mean) * factor + beta).astype(np.float32)
    return PortableLayer(layer.kind, kernel, bias, layer.stride, layer.activation)


def portable_cloud(z: Float[np.ndarray, "..."], *, n_faces: int = 8, random_state: int = 0) -> PortableCloud:
    """Measure what a page needs to know of a cloud of z-points.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The z-points.
    n_faces : int
        Number of points to show: the first ones.
    random_state : int
        Seed of the choice of the points that are held out while laws are compared.

    Returns
    -------
    PortableCloud
        Axes, the best law with a formula, and a few of the points.

    Raises
    ------
    ValueError
        If `z` is no cloud of at least two different finite points.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> two = rng.normal(size=(2000, 2)) + np.where(rng.random(2000) < 0.25, 8.0, 0.0)[:, None]
    >>> cloud = portable_cloud(two)
    >>> len(cloud.weights) > 1, cloud.gain > 0
    (True, True)
    """
    count, gain = _choose_law(z, random_state)
    law = _mixture(count).fit(z)
    sigma = np.sqrt(law.variances_)
    axes = PrincipalAxes(law.mean_, law.axes_, law.variances_, float(law.variances_.sum()))
    u = standard_coordinates(z, axes).astype(np.float64)
    return PortableCloud(
        axes,
        law.weights_,
        law.means_ / sigma,
        np.sqrt(law.covariances_) / sigma,
        gain,
        UniformBox(b=None).fit(z).b_,
        np.quantile(np.linalg.norm(u, axis=1), _LEVELS),
        u[:n_faces],
        len(z),
    )


def _mixture(count: int) -> GaussianMixture:
    return GaussianMixture(count, covariance_type="diag", space="principal", tol=0.05)


def _choose_law(z: np.ndarray, random_state: int) -> tuple[int, float]:
    """Return the number of normal laws under which held-out points are the most likely, and the gain over one law."""
    shuffled = z[np.random.default_rng(random_state).permutation(len(z))]
    held_out, others = np.split(shuffled, [len(z) // _HELD_OUT])
    counts = [count for count in MIXTURES if count * _LEAST_POINTS <= len(others)]
    if len(counts) < 2:
        return 1, 0.0
    scores = np.array([_mixture(count).fit(others).score(held_out) for count in counts])
    if not np.isfinite(
        scores[0]
    ):  # the points are too few to fill their space, and those held out lie off it
        return 1, 0.0
    best = int(scores.argmax())
    return counts[best], float(scores[best] - scores[0])


def web_script(model: Autoencoder, z: Float[np.ndarray, "..."], *, n_faces: int = 8) -> str:
    """Write a decoder and what is to be known of its cloud as a script for a web page.

    All numbers are in half precision, little-endian, in base64: 2.7 bytes a weight. The script does nothing but set
    one variable to what JSON can say, so it can be loaded where a page may not read files, as from the file system.

    Parameters
    ----------
    model : Autoencoder
        The network.
    z : array of float, shape (n, d)
        z-points of its images.
    n_faces : int
        Number of z-points to show: the first ones.

    Returns
    -------
    str
        JavaScript.

    Raises
    ------
    ValueError
        If a weight is too large for half precision, or `z` is no cloud of the model's z-points.

    Examples
    --------
    >>> from aelib.model import AutoencoderConfig, build
    >>> model = build(AutoencoderConfig(filters=(4, 8), z_dim=3, image_size=32))
    >>> web_script(model, np.random.default_rng(0).normal(size=(20, 3)))[:55]
    'self.LATENT_FACES = {"version": 1, "image_size": 32, "g'
    """
    config = model.config
    if z.ndim != 2 or z.shape[1] != config.z_dim:
        raise ValueError(f"z has shape {z.shape}; the model's z-points have shape (n, {config.z_dim}).")
    content = {
        "version": VERSION,
        "image_size": config.image_size,
        "grid": config.grid_size,
        **_say_layers(portable_layers(model)),
        "cloud": _say_cloud(portable_cloud(z, n_faces=n_faces)),
    }
    return f"self.{_VARIABLE} = {json.dumps(content)};\n"


def _say_layers(layers: tuple[PortableLayer, ...]) -> dict[str, Any]:
    said = [
        {
            "kind": layer.kind,
            "kernel": layer.kernel.shape,
            "bias": layer.bias.shape,
            "stride": layer.stride,
            "activation": layer.activation,
        }
        for layer in layers
    ]
    return {"layers": said, "weights": _halves(a for layer in layers for a in (layer.kernel, layer.bias))}


def _say_cloud(cloud: PortableCloud) -> dict[str, Any]:
    arrays = {
        "mean": cloud.axes.mean,
        "axes": cloud.axes.axes,
        "sigma": np.sqrt(cloud.axes.variances),
        "weights": cloud.weights,
        "centres": cloud.centres,
        "deviations": cloud.deviations,
        "faces": cloud.faces,
    }
    return {
        "arrays": {name: array.shape for name, array in arrays.items()},
        "numbers": _halves(arrays.values()),
        "explained": [round(float(share), 4) for share in cloud.axes.explained],
        "levels": [round(float(level), 3) for level in cloud.levels],
        "box": round(cloud.box, 3),
        "gain": round(cloud.gain, 2),
        "n": cloud.n,
    }


def _halves(arrays: Iterable[np.ndarray]) -> str:
    """Round numbers to half precision, one array after the other, and write them in base64."""
    numbers = np.concatenate([np.ravel(array) for array in arrays])
    largest = float(np.abs(numbers).max())
    if not largest <= float(np.finfo(np.float16).max):
        raise ValueError(
            f"a number of size {largest:g} is too large for half precision: train the network anew."
        )
    return base64.b64encode(numbers.astype("<f2").tobytes()).decode()
