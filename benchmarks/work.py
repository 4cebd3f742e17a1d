"""How many multiplications with addition a network needs: counted from its configuration, not measured."""

from typing import NamedTuple

from aelib.model import AutoencoderConfig


class LayerWork(NamedTuple):
    """The work of one layer, for one image.

    Parameters
    ----------
    name : str
        The layer's name.
    shape_in : tuple of int
        Shape of its input.
    forward : int
        Multiplications with addition from its input to its output.
    training : int
        The same for output, gradient of the weights, and gradient of the input, which the first layer does not need.
    """

    name: str
    shape_in: tuple[int, ...]
    forward: int
    training: int


def layers_of(config: AutoencoderConfig) -> list[LayerWork]:
    """List the layers with weights, from the image to its copy."""
    down, side = [], config.image_size
    for number, c in enumerate(config.convolutions, start=1):
        out = side // c.stride
        products = out**2 * c.kernel_size**2 * c.channels_in * c.channels_out
        down.append((number, (side, side, c.channels_in), (out, out, c.channels_out), products))
        side = out
    flat = side**2 * config.filters[-1]
    shapes = [(f"conv_{number}", before, products) for number, before, _, products in down]
    shapes += [("z_points", (flat,), flat * config.z_dim), ("dense", (config.z_dim,), flat * config.z_dim)]
    # A transposed convolution does what the gradient of its twin does: as many products.
    shapes += [(f"deconv_{number}", after, products) for number, _, after, products in reversed(down)]
    return [LayerWork(*entry, (3 if k else 2) * entry[-1]) for k, entry in enumerate(shapes)]


def training_work(config: AutoencoderConfig) -> int:
    """Count multiplications with addition of one training step, per image."""
    return sum(layer.training for layer in layers_of(config))
