"""Tests of aelib._backend: quiet when all is well, loud when it is not."""

import os
import subprocess
import sys

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
