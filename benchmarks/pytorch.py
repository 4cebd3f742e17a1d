"""The same network, and its training, written by hand in PyTorch.

`padding=1` pads on both sides, where Keras' "same" pads an even image with stride 2 on the right alone. The one is the
mirror image of the other: with all kernels turned round, this network does with turned images what Keras' does with the
images. So it starts from the same weights.
"""

import math
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import task

SLOPE = 0.2


class Network(nn.Module):
    """Post III's autoencoder for square images: four convolutions, two dense layers, four transposed convolutions.

    Parameters
    ----------
    filters : list of int
        Filters of the convolutions, from the image inwards.
    z_dim : int
        Dimension of the latent space.
    image_size : int
        Side of the images in pixels.
    """

    def __init__(self, filters: list[int], z_dim: int, image_size: int) -> None:
        super().__init__()
        channels, side = [3, *filters], image_size // 2 ** len(filters)
        pairs = list(pairwise(channels))
        down = [[nn.Conv2d(a, b, 3, stride=2, padding=1), nn.LeakyReLU(SLOPE)] for a, b in pairs]
        up = [
            [
                nn.ConvTranspose2d(b, a, 3, stride=2, padding=1, output_padding=1),
                nn.LeakyReLU(SLOPE) if a > 3 else nn.Sigmoid(),
            ]
            for a, b in reversed(pairs)
        ]
        self.down = nn.Sequential(*(layer for pair in down for layer in pair))
        self.up = nn.Sequential(*(layer for pair in up for layer in pair))
        self.to_z = nn.Linear(side**2 * filters[-1], z_dim)
        self.from_z = nn.Linear(z_dim, side**2 * filters[-1])
        self.grid = (side, side, filters[-1])

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Images (n, 3, h, w) to z-points; the grid is flattened with the channels last, where they lie."""
        return self.to_z(self.down(x).permute(0, 2, 3, 1).flatten(1))

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """z-points to images."""
        return self.up(self.from_z(z).view(-1, *self.grid).permute(0, 3, 1, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images to their copies."""
        return self.decode(self.encode(x))

    def load(self, weights: list[np.ndarray]) -> None:
        """Take Keras' weights: kernels turned round, with the axes in this framework's order."""
        layers = [layer for layer in self.down if isinstance(layer, nn.Conv2d)]
        layers += [self.to_z, self.from_z]
        layers += [layer for layer in self.up if isinstance(layer, nn.ConvTranspose2d)]
        with torch.no_grad():
            for layer, kernel, bias in zip(layers, weights[::2], weights[1::2], strict=True):
                layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(self._turned(layer, kernel))))
                layer.bias.copy_(torch.from_numpy(self._turned_grid(bias) if layer is self.from_z else bias))

    def _turned(self, layer: nn.Module, kernel: np.ndarray) -> np.ndarray:
        if kernel.ndim == 4:
            return kernel[::-1, ::-1].transpose(3, 2, 0, 1)
        if layer is self.to_z:
            return self._turned_grid(kernel.T)
        return self._turned_grid(kernel).T

    def _turned_grid(self, flat: np.ndarray) -> np.ndarray:
        """Turn round what belongs to the grid, along the last axis."""
        grid = flat.reshape(*flat.shape[:-1], *self.grid)
        return np.ascontiguousarray(grid[..., ::-1, ::-1, :]).reshape(flat.shape)


class Trainer:
    """Trains and applies it, with the channels last, in float32 or with autocast to bfloat16.

    Parameters
    ----------
    folder : pathlib.Path
        The task.
    precision : str
        "float32" or "bfloat16".
    """

    def __init__(self, folder: Path, precision: str) -> None:
        given = task.read(folder)
        settings = given.settings
        torch.manual_seed(task.SEED)
        self._bfloat16 = precision == "bfloat16"
        self._network = Network(settings["filters"], settings["z_dim"], settings["image_size"])
        self._network.load(task.read_weights(folder))
        self._network = self._network.to(memory_format=torch.channels_last)
        # The fused step is the fastest of PyTorch's.
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=task.LEARNING_RATE, fused=True)
        self._steps = 0
        self._images, self._held_out = (
            torch.from_numpy(np.ascontiguousarray(task.as_floats(pixels)[:, ::-1, ::-1]))
            for pixels in (given.images, given.held_out)
        )
        self._points = torch.from_numpy(given.points)

    def describe(self) -> dict[str, Any]:
        """Tell what this is."""
        parameters = sum(p.numel() for p in self._network.parameters())
        return {"torch": torch.__version__, "threads": torch.get_num_threads(), "parameters": parameters}

    def epoch(self, number: int) -> float:
        """Train one epoch; return its seconds."""
        start = time.perf_counter()
        order = task.order(len(self._images), number)
        loss = torch.zeros(1)
        for rows in torch.from_numpy(order).split(task.BATCH):
            batch = self._images[rows].permute(0, 3, 1, 2)  # the channels lie last, as channels_last has them
            self._optimizer.zero_grad(set_to_none=True)
            loss = self._loss(batch)
            loss.backward()
            self._step()
        loss.item()
        return time.perf_counter() - start

    def _step(self) -> None:
        """Step as Keras' Adam does, whose epsilon stands beside the biased second moment: at the start it matters."""
        self._steps += 1
        for group in self._optimizer.param_groups:
            group["eps"] = 1e-7 / math.sqrt(1 - group["betas"][1] ** self._steps)
        self._optimizer.step()

    def _loss(self, batch: torch.Tensor) -> torch.Tensor:
        with self._autocast():
            copies = self._network(batch)
        return nn.functional.mse_loss(copies.float(), batch)

    def _autocast(self) -> torch.autocast:
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=self._bfloat16)

    def held_out_loss(self) -> float:
        """Return the loss on images that it does not train on."""
        with torch.inference_mode():
            losses = [
                float(self._loss(part.permute(0, 3, 1, 2))) for part in self._held_out.split(task.BATCH)
            ]
        return float(np.mean(losses))

    def encode(self) -> float:
        """Encode all images; return the seconds."""
        start = time.perf_counter()
        with torch.inference_mode(), self._autocast():
            parts = [
                self._network.encode(x.permute(0, 3, 1, 2)) for x in self._images.split(task.ENCODE_BATCH)
            ]
            torch.cat(parts).float().numpy()
        return time.perf_counter() - start

    def decode(self) -> float:
        """Decode all points; return the seconds."""
        start = time.perf_counter()
        with torch.inference_mode(), self._autocast():
            out = np.empty(self._images.shape, np.float32)
            for first in range(0, len(self._points), task.ENCODE_BATCH):
                part = self._network.decode(self._points[first : first + task.ENCODE_BATCH])
                out[first : first + len(part)] = part.permute(0, 2, 3, 1).float().numpy()
        return time.perf_counter() - start

    def copies(self) -> list[float]:
        """Return what it makes of the first held-out image, turned back."""
        with torch.inference_mode():
            out = self._network(self._held_out[:1].permute(0, 3, 1, 2))
        return out[0].permute(1, 2, 0).numpy()[::-1, ::-1].astype(float).ravel().tolist()
