"""Several devices, several backends: the same weights from two devices as from one, and checkpoints for all backends.

`make test-backends` sets up an environment with all three backends; what is not installed is skipped.
"""

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

BACKENDS = [name for name in ("tensorflow", "jax", "torch") if find_spec(name)]

TRAIN_ON_TWO_DEVICES = """
import contextlib
import os
import sys
import numpy as np

if os.environ["KERAS_BACKEND"] == "tensorflow":
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from aelib import training as training_module
from aelib._backend import keras, n_replicas
from aelib.codec import encode
from aelib.model import AutoencoderConfig, load_checkpoint
from aelib.training import TrainingConfig, train

@contextlib.contextmanager
def two_devices():
    if keras.config.backend() == "tensorflow":
        with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
            yield
    else:
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=["cpu:0", "cpu:1"]))
        yield
        keras.distribution.set_distribution(None)

ramp = np.linspace(0, 1, 32, dtype=np.float32)[:, None, None]
power = np.random.default_rng(0).uniform(0.3, 3, (22, 1, 1, 3)).astype(np.float32)
images = np.broadcast_to(ramp**power, (22, 32, 32, 3)).copy()
kept = images.copy()
config = AutoencoderConfig(filters=(4, 8), z_dim=3, image_size=32, loss="bce")
settings = dict(epochs=2, batch_size=8, schedule="cosine", flips=True, precision="float32")

def trained(folder=None):
    return train(images, config, training=TrainingConfig(**settings), validation=images[:6], folder=folder)

class Stopped(Exception):
    pass

def trained_after_a_stop(folder):
    write = training_module._write_state
    def write_and_stop(*state):
        write(*state)
        raise Stopped
    training_module._write_state = write_and_stop
    try:
        trained(folder)
    except Stopped:
        training_module._write_state = write
    return trained(folder)

one, alone = trained(), n_replicas()
with two_devices():
    two, together = trained(sys.argv[2]), n_replicas()
    resumed = trained_after_a_stop(sys.argv[3])
    refused = ""
    try:
        train(images, config, training=TrainingConfig(batch_size=7))
    except ValueError as error:
        refused = str(error)
np.testing.assert_array_equal(images, kept, err_msg="training wrote into the images")
again = load_checkpoint(sys.argv[2])
np.savez(
    sys.argv[1],
    replicas=[alone, together],
    one=np.concatenate([w.ravel() for w in one.autoencoder.get_weights()]),
    two=np.concatenate([w.ravel() for w in two.autoencoder.get_weights()]),
    resumed=np.concatenate([w.ravel() for w in resumed.autoencoder.get_weights()]),
    losses_resumed=[record[1:3] for record in resumed.history],
    losses_one=[record[1:3] for record in one.history],
    losses_two=[record[1:3] for record in two.history],
    z_one=encode(one, images),
    z_two=encode(again, images),
    refused=refused,
)
"""

ENCODE_EVERYWHERE = """
import sys
from pathlib import Path
import numpy as np
from aelib.codec import decode, encode
from aelib.model import AutoencoderConfig, load_checkpoint, save_checkpoint
from aelib.training import TrainingConfig, train

images = np.random.default_rng(0).random((12, 32, 32, 3), dtype=np.float32)
own, others = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
if not own.exists():
    config = AutoencoderConfig(filters=(4, 8), z_dim=3, image_size=32, batch_norm=True)
    model = train(images, config, training=TrainingConfig(epochs=1, batch_size=4, learning_rate=1e-2))
    save_checkpoint(model, own)
for folder in [own, *others]:
    model = load_checkpoint(folder)
    z = encode(model, images)
    np.savez(folder / f"by_{own.name}.npz", z=z, decoded=decode(model, np.tile([[1.0, -2.0, 0.5]], (2, 1))))
"""


def run_python(code, *arguments, backend):
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"} if backend == "jax" else {}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"KERAS_BACKEND": backend, "TQDM_DISABLE": "1"} | flags,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_two_devices_find_the_weights_of_one_and_go_on_after_a_stop(tmp_path, backend):
    if backend not in BACKENDS:
        pytest.skip(f"{backend} is not installed: make test-backends")
    folders = tmp_path / "checkpoint", tmp_path / "stopped"
    run_python(TRAIN_ON_TWO_DEVICES, tmp_path / "found.npz", *folders, backend=backend)
    with np.load(tmp_path / "found.npz") as found:
        assert found["replicas"].tolist() == [1, 2]
        np.testing.assert_allclose(found["two"], found["one"], atol=1e-6)
        np.testing.assert_allclose(found["losses_two"], found["losses_one"], rtol=1e-5)
        np.testing.assert_allclose(found["resumed"], found["two"], atol=1e-7)
        np.testing.assert_allclose(found["losses_resumed"], found["losses_two"], rtol=1e-6)
        np.testing.assert_allclose(found["z_two"], found["z_one"], atol=1e-5)
        assert "must be multiples of 2" in str(found["refused"])


@pytest.mark.skipif(len(BACKENDS) < 2, reason="one backend is installed: make test-backends")
def test_checkpoints_move_between_backends(tmp_path):
    folders = [tmp_path / name for name in BACKENDS]
    for folder in folders:
        run_python(ENCODE_EVERYWHERE, folder, backend=folder.name)
    for folder in folders:
        others = [other for other in folders if other != folder]
        run_python(ENCODE_EVERYWHERE, folder, *others, backend=folder.name)
    for folder in folders:
        with np.load(folder / f"by_{folder.name}.npz") as expected:
            for other in folders:
                with np.load(folder / f"by_{other.name}.npz") as found:
                    for name in ("z", "decoded"):
                        np.testing.assert_allclose(found[name], expected[name], atol=1e-4)
