"""Tests of aelib._backend: quiet when all is well, loud when it is not."""

import os
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest

from aelib import _backend

TRAIN_WITH_EVERY_ACTIVATION = """
import numpy as np
from aelib.model import ACTIVATIONS, AutoencoderConfig
from aelib.training import TrainingConfig, train
from aelib.codec import reconstruct
images = np.random.default_rng(0).random((4, 32, 32, 3), dtype=np.float32)
for activation in ACTIVATIONS:
    config = AutoencoderConfig(filters=(4, 8), activation=activation, z_dim=2, image_size=32)
    model = train(images, config, training=TrainingConfig(epochs=1, batch_size=4))
    reconstruct(model, images)
"""


def run_python(code, **environment):
    variables = {
        k: v for k, v in os.environ.items() if k not in ("TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS")
    }
    # Keras reads tensors of JAX and PyTorch in a way that NumPy 2 deprecates.
    warnings = ["-W", "error", "-W", "ignore:__array__ implementation:DeprecationWarning"]
    command = [sys.executable, *warnings, "-c", code]
    return subprocess.run(command, env=variables | environment, capture_output=True, text=True, check=False)


def test_import_training_and_prediction_say_nothing():
    # On a busy machine the work may take the two seconds after which a bar appears.
    process = run_python(TRAIN_WITH_EVERY_ACTIVATION, TQDM_DISABLE="1")
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


def test_a_broken_backend_is_reported_with_all_it_said(tmp_path):
    (tmp_path / "tensorflow.py").write_text(
        "import os; os.write(2, b'said in C++'); raise ImportError('libcrucial.so not found')"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    process = run_python("import aelib._backend", KERAS_BACKEND="tensorflow", PYTHONPATH=path)
    assert process.returncode == 1
    assert "said in C++" in process.stderr
    assert "ImportError: libcrucial.so not found" in process.stderr


def test_stderr_is_held_back_only_inside(capfd):
    with _backend._stderr_held_back():
        os.write(2, b"noise")
    os.write(2, b"signal")
    assert capfd.readouterr().err == "signal"


def test_stderr_is_shown_and_restored_when_the_block_fails(capfd):
    with pytest.raises(RuntimeError), _backend._stderr_held_back():
        os.write(2, b"reason; ")
        raise RuntimeError
    os.write(2, b"after")
    assert capfd.readouterr().err == "reason; after"


def test_the_backend_is_the_one_asked_for():
    assert _backend.keras.config.backend() == os.environ["KERAS_BACKEND"]


@pytest.mark.parametrize(
    ("flags", "backend", "expected"),
    [
        ("flags: sse avx512_bf16", "tensorflow", True),
        ("flags: sse amx_bf16", "tensorflow", True),
        ("flags: sse avx2", "tensorflow", False),
        ("flags: sse avx512_bf16", "jax", False),
        (None, "tensorflow", False),
    ],
)
def test_bfloat16_is_fast_where_the_processor_says_so(tmp_path, monkeypatch, flags, backend, expected):
    if flags is not None:
        (tmp_path / "cpuinfo").write_text(flags)
    monkeypatch.setattr(_backend, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(_backend.keras.config, "backend", lambda: backend)
    assert _backend.has_fast_bfloat16() is expected


def test_a_keras_that_is_there_is_taken_as_it_is():
    level = os.environ.get("TF_CPP_MIN_LOG_LEVEL")
    assert _backend._import_keras() is _backend.keras
    assert os.environ.get("TF_CPP_MIN_LOG_LEVEL") == level


class Batches(_backend.keras.utils.PyDataset):
    """Three batches of a pair of arrays, the last one smaller."""

    parts = tuple((np.full((n, 2), n, np.float32), np.full((n, 1), n, np.uint8)) for n in (4, 4, 3))

    def __len__(self):
        return len(self.parts)

    def __getitem__(self, k):
        return self.parts[k]


@pytest.mark.parametrize("backend", ["tensorflow", "another"])
def test_batches_are_fed_in_their_order(monkeypatch, backend):
    if backend != "tensorflow":
        monkeypatch.setattr(_backend.keras.config, "backend", lambda: backend)
    elif _backend.keras.config.backend() != "tensorflow":
        pytest.skip("TensorFlow's pipeline is for its backend")
    fed = _backend.fed(Batches())
    assert len(fed) == 3
    for got, expected in zip(fed, Batches.parts, strict=False):
        for one, other in zip(got, expected, strict=True):
            np.testing.assert_array_equal(np.asarray(one), other)


def test_replicas_are_those_of_keras_where_tensorflow_is_not_the_backend(monkeypatch):
    monkeypatch.setattr(_backend.keras.config, "backend", lambda: "another")
    assert _backend.n_replicas() == 1
    monkeypatch.setattr(_backend.keras.distribution, "distribution", lambda: mock.Mock(num_model_replicas=4))
    assert _backend.n_replicas() == 4


def test_a_function_that_cannot_be_traced_is_called(monkeypatch):
    x = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)

    def function(tensor):
        return _backend.keras.ops.tanh(tensor) + 1

    traced = _backend.traced(function, x.shape)
    monkeypatch.setattr(_backend.keras.config, "backend", lambda: "another")
    called = _backend.traced(function, x.shape)
    for found in (traced(x), called(x)):
        np.testing.assert_allclose(found, np.tanh(x) + 1, rtol=1e-6)
