"""What is computed to see whether it comes out the same: one small result of each kind, and the same in another way."""

import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from PIL import Image

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
_N_FACES, _SIZE = 96, 32


class Probe(NamedTuple):
    """A result, and how it can be had in parts or by another way.

    Parameters
    ----------
    name : str
        What it is, for the table.
    result : callable
        Returns it as an array.
    again : callable or None
        Returns it by the other way, where there is one.
    way : str
        The other way, in a few words.
    keras : bool
        Whether a network is run.
    """

    name: str
    result: Callable[[], np.ndarray]
    again: Callable[[], np.ndarray] | None = None
    way: str = ""
    keras: bool = False


@cache
def faces() -> np.ndarray:
    """Render small faces."""
    from aelib import faces as rendering

    return rendering.render(rendering.sample_factors(range(_N_FACES), seed=3), size=_SIZE)


def _one_by_one() -> np.ndarray:
    from aelib import faces as rendering

    factors = rendering.sample_factors(range(_N_FACES), seed=3)
    return np.concatenate([rendering.render(factors.iloc[[k]], size=_SIZE) for k in range(_N_FACES)])


def _factors(order: list[int]) -> np.ndarray:
    from aelib import faces as rendering

    return rendering.sample_factors(order, seed=3).to_numpy()[np.argsort(order)]


def _splits() -> np.ndarray:
    from aelib.images import Images

    images = Images.from_array(faces(), names=[f"{k}.png" for k in range(_N_FACES)])
    return np.array([name for part in images.split(seed=5) for name in part.names], dtype=np.str_)


def _photographs() -> np.ndarray:
    from aelib.decoding import decode_square

    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (24, 30, 3), dtype=np.uint8)).resize((301, 240))
    buffer = io.BytesIO()
    coarse.save(buffer, "JPEG", quality=90)
    return np.stack([decode_square(buffer.getvalue(), size=size) for size in (96, 96)])


@cache
def cloud() -> np.ndarray:
    """Draw a correlated cloud: products and roots only, so that all machines have the same points."""
    rng = np.random.default_rng(7)
    z = rng.standard_normal((4_200, 12))
    for j in range(1, 12):  # sums of two terms, which no BLAS orders otherwise
        z[:, j] = 0.6 * z[:, j - 1] + 0.8 * z[:, j]
    return z * 1.2 ** -np.arange(12)


def _scatter(block: int) -> np.ndarray:
    from aelib.moments import measure_moments

    return measure_moments(cloud(), block=block).scatter


def _axes() -> np.ndarray:
    from aelib.pca import principal_axes

    return principal_axes(cloud()).axes


def _draws(name: str, *, saved: bool) -> np.ndarray:
    from aelib import samplers

    made = {cls.__name__: cls() for cls in samplers.SAMPLERS} | {
        "GaussianMixture": samplers.GaussianMixture(3),
        "CellMixture": samplers.CellMixture(300.0, prior=50.0),
    }
    sampler = made[name].fit(cloud())
    if saved:
        with tempfile.TemporaryDirectory() as folder:
            samplers.save_sampler(sampler, Path(folder) / "sampler.npz")
            sampler = samplers.load_sampler(Path(folder) / "sampler.npz")
    return sampler.sample(500, random_state=11)


def _scores() -> np.ndarray:
    from aelib import fidelity

    x, y = cloud()[:600], 0.1 + cloud()[600:1200]
    pairs = (*fidelity.precision_recall(x, y), *fidelity.density_coverage(x, y))
    return np.array(
        [s.value for s in (fidelity.frechet_distance(x, y), fidelity.kernel_distance(x, y), *pairs)]
    )


def _test_statistics() -> np.ndarray:
    from aelib.normality import normality_tests

    found = normality_tests(cloud()[:500], draws=19, random_state=2)
    return np.array([value for test in found for value in (test.statistic, test.p_value)])


def _map(n_jobs: int | None) -> np.ndarray:
    from aelib.maps import MapSettings, tsne_map

    settings = MapSettings(perplexity=10, early_iterations=100, iterations=200)
    return tsne_map(cloud()[:800], settings, random_state=1, n_jobs=n_jobs).points


def _features(batch_size: int) -> np.ndarray:
    from aelib.features import RandomConvolutions, extract

    return extract(
        RandomConvolutions(), np.asarray(faces(), np.float32) / np.float32(255), batch_size=batch_size
    )


@cache
def _trained(precision: str) -> Any:
    from aelib.training import train

    return train(_pictures(), _network(), training=_settings(precision))


def _pictures() -> np.ndarray:
    return faces().astype(np.float32) / np.float32(255)


def _network() -> Any:
    from aelib.model import AutoencoderConfig

    return AutoencoderConfig(filters=(8, 16), z_dim=8, image_size=_SIZE)


def _settings(precision: str) -> Any:
    from aelib.training import TrainingConfig

    return TrainingConfig(
        epochs=2, batch_size=16, learning_rate=1e-3, flips=True, seed=3, precision=precision
    )


class _Stopped(Exception):  # noqa: N818
    """Ends a training from inside."""


@contextmanager
def _stopping_after_an_epoch() -> Iterator[None]:
    from aelib import training

    write = training._write_state

    def write_and_stop(*state: Any) -> None:
        write(*state)
        raise _Stopped

    with mock.patch.object(training, "_write_state", write_and_stop):
        try:
            yield
        except _Stopped:
            return
        raise RuntimeError("the training did not stop.")


def _resumed(precision: str) -> np.ndarray:
    from aelib.training import train

    with tempfile.TemporaryDirectory() as folder:
        again = partial(train, _pictures(), _network(), training=_settings(precision), folder=folder)
        with _stopping_after_an_epoch():
            again()
        return _weights(again())


def _weights(model: Any) -> np.ndarray:
    return np.concatenate([np.ravel(weights) for weights in model.autoencoder.get_weights()])


@cache
def _untrained() -> Any:
    from aelib.model import build

    return build(_network(), seed=4)


def _encoded(batch_size: int) -> np.ndarray:
    from aelib.codec import encode

    return np.asarray(encode(_untrained(), _pictures(), batch_size=batch_size))


def _decoded(batch_size: int) -> np.ndarray:
    from aelib.codec import decode

    return np.asarray(decode(_untrained(), cloud()[:80, :8], batch_size=batch_size))


def _parameters(names: list[Path]) -> np.ndarray:
    from aelib.parameters import assign, declared_parameters, read_profile

    declared = {
        path.stem: {name: p.default for name, p in declared_parameters(path).items()} for path in names
    }
    full = assign(read_profile(NOTEBOOKS / "params" / "full.yaml"), names)
    text = json.dumps([declared, full], sort_keys=True)
    return np.frombuffer(text.encode(), dtype=np.uint8)


def _in_training_order(precision: str) -> Probe:
    return Probe(
        f"training, {precision}: weights",
        lambda: _weights(_trained(precision)),
        lambda: _resumed(precision),
        "stopped after an epoch, resumed",
        keras=True,
    )


def probes() -> list[Probe]:
    """Return all probes, in the order of the table."""
    from aelib.samplers import SAMPLERS

    notebooks = sorted(NOTEBOOKS.glob("[0-9A]*_*.ipynb"))
    backwards = list(range(_N_FACES))[::-1]
    return [
        Probe("factors", lambda: _factors(list(range(_N_FACES))), lambda: _factors(backwards), "backwards"),
        Probe("rendered images", faces, _one_by_one, "one by one"),
        Probe("splits", _splits),
        Probe("decoded photographs", _photographs),
        Probe("notebooks' parameters", lambda: _parameters(notebooks)),
        _in_training_order("float32"),
        _in_training_order("mixed_bfloat16"),
        Probe("encode", lambda: _encoded(64), lambda: _encoded(7), "batches of 7, not 64", keras=True),
        Probe("decode", lambda: _decoded(64), lambda: _decoded(7), "batches of 7, not 64", keras=True),
        Probe("random convolutions", lambda: _features(64), lambda: _features(7), "batches of 7, not 64"),
        Probe("moments", lambda: _scatter(2048), lambda: _scatter(100), "blocks of 100, not 2048"),
        Probe("principal axes", _axes),
        *(
            Probe(
                f"draws, {cls.__name__}",
                partial(_draws, cls.__name__, saved=False),
                partial(_draws, cls.__name__, saved=True),
                "saved and loaded",
            )
            for cls in SAMPLERS
        ),
        Probe("scores", _scores),
        Probe("tests of normality", _test_statistics),
        Probe("t-SNE map", lambda: _map(None), lambda: _map(1), "one thread"),
    ]


def write(path: str, *, keras: bool, one_core: bool, bfloat16: bool) -> None:
    """Compute all results and write them to an .npz file."""
    if one_core and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    found: dict[str, Any] = {}
    for probe in probes():
        if (keras or not probe.keras) and (bfloat16 or "bfloat16" not in probe.name):
            found[probe.name] = probe.result()
            if probe.again is not None:
                found[f"{probe.name}|again"] = probe.again()
    np.savez(path, **found)
