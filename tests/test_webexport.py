"""The decoder as a web page gets it: described without Keras, and run by the page's own JavaScript in Node."""

import base64
import json
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import erf

from aelib import codec, model, site, webexport
from aelib._backend import keras
from aelib.laws import MultivariateNormal
from aelib.model import PRESETS, AutoencoderConfig

NODE = shutil.which("node") or shutil.which("nodejs")
SMALL = AutoencoderConfig(filters=(4, 8), z_dim=3, image_size=32)
CONFIGS = {
    **PRESETS,
    **{name: replace(SMALL, filters=(5, 6, 7), activation=name) for name in model.ACTIVATIONS},
    "batch norm": replace(SMALL, filters=(6, 9), batch_norm=True, activation="gelu", z_dim=17),
    "strides of all kinds": replace(SMALL, filters=(3, 5, 6), strides=(3, 1, 2), image_size=36),
    "kernels of all kinds": replace(
        SMALL, filters=(8, 4, 5, 6), kernel_size=(5, 4, 1, 2), strides=(2, 1, 2, 3), image_size=48
    ),
    "kernels below the stride": replace(SMALL, kernel_size=(2, 1), strides=(4, 2)),
    "one layer": replace(SMALL, filters=(2,), kernel_size=7, strides=1),
}

# Reads lists of [script, z-points] and writes the images as base64 of float32, one line for each.
RUN = """
const faceDecoder = require(process.argv[1]);
const rows = require("fs").readFileSync(0, "utf8").trim().split("\\n");
for (const [path, points] of rows.map((row) => JSON.parse(row))) {
  global.self = {};
  require(path);
  const decode = faceDecoder().build(self.LATENT_FACES);
  const images = points.map((z) => Buffer.from(Float32Array.from(decode(z)).buffer));
  console.log(Buffer.concat(images).toString("base64"));
}
"""


def lively(config: AutoencoderConfig) -> model.Autoencoder:
    """Build a network whose images have contrast, as those of a trained one: logits of 5 at the most."""
    built = model.build(config, seed=1)
    rng = np.random.default_rng(1)
    for layer in built.decoder.layers:
        weights = [np.asarray(weight) for weight in layer.get_weights()]
        if type(layer).__name__ == "BatchNormalization":
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in weights])
        elif weights:
            kernel, *biases = weights
            layer.set_weights([kernel, *(rng.normal(0, 0.1, bias.shape) for bias in biases)])
    kernel, bias = built.decoder.layers[-1].get_weights()
    flat = codec.decode(built, points(config)).astype(np.float64)
    built.decoder.layers[-1].set_weights([kernel * 5.0 / np.abs(np.log(flat / (1 - flat))).max(), bias])
    return built


def points(config: AutoencoderConfig, n: int = 2) -> np.ndarray:
    return np.random.default_rng(2).normal(size=(n, config.z_dim)).astype(np.float32)


@pytest.fixture(scope="module")
def decoded(tmp_path_factory) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Decode the same points with Keras and in Node, for all configurations."""
    if NODE is None:
        pytest.skip("no Node on this machine: the page's JavaScript was not compared with Keras")
    folder = tmp_path_factory.mktemp("scripts")
    asked, expected = [], {}
    for k, (name, config) in enumerate(CONFIGS.items()):
        network, z = lively(config), points(config)
        (folder / f"{k}.js").write_text(webexport.web_script(network, points(config, 20)), encoding="utf-8")
        asked.append(json.dumps([str(folder / f"{k}.js"), z.tolist()]))
        expected[name] = codec.decode(network, z)
    script = str(site.PAGES / "_static" / "try" / "decoder.js")
    done = subprocess.run(
        [NODE, "-e", RUN, script], input="\n".join(asked), capture_output=True, text=True, check=True
    )
    found = [np.frombuffer(base64.b64decode(line), "<f4") for line in done.stdout.split()]
    return {name: (e, f.reshape(e.shape)) for (name, e), f in zip(expected.items(), found, strict=True)}


@pytest.mark.parametrize("name", CONFIGS)
def test_javascript_decodes_as_keras_does(decoded, name):
    expected, found = decoded[name]
    assert expected.std() > 0.02
    assert np.abs(found - expected).max() < 1e-3


# The description, without Node


def slow_decode(layers: tuple[webexport.PortableLayer, ...], z: np.ndarray, grid: int) -> np.ndarray:
    """Decode as the definition says: every input pixel puts the kernel, times itself, on the output."""
    act = {
        "linear": lambda x: x,
        "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
        "gelu": lambda x: 0.5 * x * (1 + erf(x / np.sqrt(2))),
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    }
    first, *rest = layers
    x = act[first.activation](z @ first.kernel + first.bias).reshape(grid, grid, -1)
    for layer in rest:
        side, size, s = len(layer.kernel), len(x), layer.stride
        wide = np.zeros((size * s + side, size * s + side, layer.kernel.shape[2]))
        for i, j in np.ndindex(size, size):
            wide[i * s : i * s + side, j * s : j * s + side] += layer.kernel @ x[i, j]
        cut = max(side - s, 0) // 2
        x = act[layer.activation](wide[cut : cut + size * s, cut : cut + size * s] + layer.bias)
    return x


@pytest.mark.parametrize(
    "config",
    [SMALL, CONFIGS["batch norm"], replace(SMALL, kernel_size=(5, 4), strides=(1, 4))],
    ids=["plain", "batch norm", "kernels and strides"],
)
def test_layers_are_described_completely(config):
    network, z = lively(config), points(config, 1)
    found = slow_decode(webexport.portable_layers(network), z[0], config.grid_size)
    np.testing.assert_allclose(found, codec.decode(network, z)[0], atol=2e-6)


def test_a_network_that_computes_in_bfloat16_is_exported_in_full():
    one, other = lively(SMALL), model.build(SMALL, precision="mixed_bfloat16")
    other.autoencoder.set_weights(one.autoencoder.get_weights())
    assert other.decoder.get_layer("dense").compute_dtype == "bfloat16"
    assert webexport.web_script(one, points(SMALL, 20)) == webexport.web_script(other, points(SMALL, 20))


def test_a_weight_beyond_half_precision_is_refused():
    network = lively(SMALL)
    layer = network.decoder.get_layer("dense")
    kernel, bias = layer.get_weights()
    layer.set_weights([1e6 * kernel, bias])
    with pytest.raises(ValueError, match="too large for half precision"):
        webexport.web_script(network, points(SMALL, 20))


def test_a_layer_that_javascript_does_not_know_is_refused():
    network = lively(SMALL)
    layers = [*network.decoder.layers, keras.layers.Dropout(0.5, name="rain")]
    other = replace(network, decoder=keras.Sequential(layers))
    with pytest.raises(ValueError, match="has no Dropout layer: rain cannot be exported"):
        webexport.portable_layers(other)


def test_points_of_another_model_are_refused():
    with pytest.raises(ValueError, match=r"z has shape \(20, 4\)"):
        webexport.web_script(lively(SMALL), np.zeros((20, 4)))


# The cloud


def test_a_normal_cloud_gets_one_normal_law():
    z = np.random.default_rng(0).multivariate_normal([5.0, -3.0], [[4.0, 1.0], [1.0, 1.0]], 5000)
    cloud = webexport.portable_cloud(z, n_faces=3)
    normal = MultivariateNormal().fit(z)
    np.testing.assert_allclose(cloud.axes.variances, normal.variances_, rtol=1e-6)
    assert (cloud.weights.shape, cloud.gain) == ((1,), 0.0) or cloud.gain < 0.01
    # |u|² follows chi-squared of 2 degrees of freedom, whose quantile at p is -2 ln(1 - p).
    np.testing.assert_allclose(cloud.levels, np.sqrt(-2 * np.log([0.95, 0.5, 0.05])), rtol=0.06)
    back = cloud.axes.mean + (cloud.faces * np.sqrt(cloud.axes.variances)) @ cloud.axes.axes
    np.testing.assert_allclose(back, z[:3], rtol=1e-6)
    assert cloud.box == pytest.approx(np.sqrt(3 * np.square(z).sum(axis=1).mean() / 2))


def test_two_clouds_get_a_mixture_with_their_moments():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(5000, 3)) + np.where(rng.random(5000) < 0.3, 9.0, 0.0)[:, None]
    cloud = webexport.portable_cloud(z)
    assert len(cloud.weights) > 1
    assert cloud.gain > 0.1
    # The law of total variance, in units in which the cloud's mean is 0 and its variances are 1.
    mean = cloud.weights @ cloud.centres
    square = cloud.weights @ (cloud.deviations**2 + cloud.centres**2)
    np.testing.assert_allclose(mean, 0, atol=1e-6)
    np.testing.assert_allclose(square, 1, atol=1e-3)


@pytest.mark.parametrize("n", [2, 5, 40])
def test_few_points_in_many_dimensions_are_a_flat_cloud(n):
    z = np.random.default_rng(0).normal(size=(n, 50)).astype(np.float32)
    z[:, 7] = 1.0
    cloud = webexport.portable_cloud(z)
    assert len(cloud.axes.variances) == n - 1
    assert len(cloud.weights) == 1
    assert np.isfinite(cloud.levels).all()
