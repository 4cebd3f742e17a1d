"""Tests of aelib.training: losses against NumPy, resumption bit for bit after a real kill, every refusal."""

import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from aelib import model as model_module
from aelib import training as training_module
from aelib._backend import keras
from aelib.codec import reconstruct
from aelib.images import Images
from aelib.model import AutoencoderConfig, build, load_checkpoint
from aelib.training import ShuffledBatches, TrainingConfig, train

CONFIG = AutoencoderConfig(filters=(4, 8), z_dim=3, image_size=32)
TRAINING = TrainingConfig(epochs=3, batch_size=8, learning_rate=1e-3, schedule="cosine", flips=True, seed=3)


def random_images(n, seed=0):
    return np.random.default_rng(seed).random((n, 32, 32, 3), dtype=np.float32)


@pytest.fixture(scope="module")
def images():
    return random_images(20)


@pytest.fixture(scope="module")
def validation():
    return random_images(6, seed=1)


@pytest.fixture(scope="module")
def uninterrupted(images, validation):
    return train(images, CONFIG, training=TRAINING, validation=validation)


def loss_in_numpy(kind, images, reconstructions):
    y, p = images.astype(np.float64), reconstructions.astype(np.float64)
    return np.mean((y - p) ** 2) if kind == "mse" else -np.mean(y * np.log(p) + (1 - y) * np.log1p(-p))


class Killing(np.ndarray):
    """Images that kill the process when a given number of batches has been read."""

    def __getitem__(self, key):
        if isinstance(key, np.ndarray):
            type(self).countdown -= 1
            if type(self).countdown == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return np.asarray(self).__getitem__(key)


class Stopped(Exception):  # noqa: N818
    """Ends a training from inside."""


def train_first_epoch(monkeypatch, *arguments, **settings):
    """Train until the state of the first epoch is written."""
    write_state = training_module._write_state

    def write_and_stop(*state):
        write_state(*state)
        raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(training_module, "_write_state", write_and_stop)
        train(*arguments, **settings)


class TestBatches:
    def batches(self, images, **changes):
        settings = {"epoch": 1, "batch_size": 8, "flips": False, "seed": 0} | changes
        batches = ShuffledBatches(images, **settings)
        return [batches[k] for k in range(len(batches))]

    def test_an_epoch_shows_every_image_once(self, images):
        batches = self.batches(images)
        assert [len(x) for (x,) in batches] == [8, 8, 4]
        seen = np.concatenate([x for (x,) in batches])
        assert sorted(image.tobytes() for image in seen) == sorted(image.tobytes() for image in images)

    def test_order_and_flips_follow_from_seed_and_epoch_alone(self, images):
        def shown(**changes):
            return np.concatenate([x for (x,) in self.batches(images, flips=True, **changes)])

        np.testing.assert_array_equal(shown(epoch=2, seed=5), shown(epoch=2, seed=5))
        assert not np.array_equal(shown(epoch=2, seed=5), shown(epoch=3, seed=5))
        assert not np.array_equal(shown(epoch=2, seed=5), shown(epoch=2, seed=6))
        backwards = ShuffledBatches(images, epoch=2, batch_size=8, flips=True, seed=5)
        np.testing.assert_array_equal(
            np.concatenate([backwards[k][0] for k in (2, 1, 0)][::-1]), shown(epoch=2, seed=5)
        )

    def test_flips_mirror_left_and_right_half_of_the_time(self):
        images = random_images(400)
        plain = np.concatenate([x for (x,) in self.batches(images, batch_size=50)])
        flipped = np.concatenate([x for (x,) in self.batches(images, batch_size=50, flips=True)])
        kept = np.array([np.array_equal(a, b) for a, b in zip(plain, flipped, strict=True)])
        mirrored = np.array([np.array_equal(a[:, ::-1], b) for a, b in zip(plain, flipped, strict=True)])
        assert np.array_equal(kept, ~mirrored)
        # Binomial(400, 1/2): mean 200, standard deviation 10; four of them.
        assert 160 < mirrored.sum() < 240

    def test_images_in_bytes_are_handed_over_as_bytes(self):
        pixels = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
        from_bytes = self.batches(Images.from_array(pixels), flips=True)
        from_floats = self.batches(pixels.astype(np.float32) / np.float32(255), flips=True)
        for (x,), (expected,) in zip(from_bytes, from_floats, strict=True):
            assert x.dtype == np.uint8
            np.testing.assert_allclose(x / 255, expected, rtol=1e-6)

    def test_flips_leave_the_images_alone(self, images):
        before = images.copy()
        self.batches(images, flips=True)
        np.testing.assert_array_equal(images, before)


class TestTraining:
    @pytest.mark.parametrize("loss", ["mse", "bce"])
    def test_the_first_loss_is_that_of_the_initial_weights(self, images, loss):
        config = replace(CONFIG, loss=loss)
        training = TrainingConfig(epochs=1, batch_size=len(images), seed=7, precision="float32")
        record = train(images, config, training=training).history[0]
        expected = loss_in_numpy(loss, images, reconstruct(build(config, seed=7), images))
        assert record.loss == pytest.approx(expected, rel=1e-5)

    @pytest.mark.parametrize("loss", ["mse", "bce"])
    def test_the_last_validation_loss_is_that_of_the_result(self, images, validation, loss):
        config = replace(CONFIG, loss=loss)
        training = TrainingConfig(epochs=2, batch_size=8, precision="float32")
        model = train(images, config, training=training, validation=validation)
        expected = loss_in_numpy(loss, validation, reconstruct(model, validation))
        assert model.history[-1].val_loss == pytest.approx(expected, rel=1e-5)

    def test_the_first_step_is_adam_s(self, images):
        # Adam's first step moves each weight by learning_rate * |g| / (|g| + epsilon), and epsilon is small.
        training = TrainingConfig(epochs=1, batch_size=len(images), learning_rate=0.01, precision="float32")
        before = build(CONFIG, seed=0).autoencoder.get_weights()
        after = train(images, CONFIG, training=training).autoencoder.get_weights()
        steps = np.concatenate([np.abs(b - a).ravel() for a, b in zip(before, after, strict=True)])
        assert 0.0095 < steps.max() < 0.01 + 1e-6

    def test_it_learns(self):
        # One image over and over: the decoder's bias alone can learn it.
        images = np.tile(np.linspace(0.2, 0.8, 32, dtype=np.float32)[:, None, None], (16, 1, 32, 3))
        training = TrainingConfig(epochs=6, batch_size=1, learning_rate=0.01)
        history = train(images, CONFIG, training=training).history
        assert history[-1].loss < 0.1 * history[0].loss

    def test_bytes_and_floats_train_alike(self, validation):
        pixels = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
        settings = {"training": replace(TRAINING, precision="float32"), "validation": validation}
        one = train(Images.from_array(pixels), CONFIG, **settings)
        other = train(pixels.astype(np.float32) / np.float32(255), CONFIG, **settings)
        assert [record.loss for record in one.history] == pytest.approx(
            [record.loss for record in other.history]
        )
        for weights, expected in zip(
            one.autoencoder.get_weights(), other.autoencoder.get_weights(), strict=True
        ):
            np.testing.assert_allclose(weights, expected, atol=1e-5)

    def test_history_and_rates(self, uninterrupted):
        history = uninterrupted.history
        assert [record.epoch for record in history] == [1, 2, 3]
        # Three epochs of three steps: the first steps are 0, 3 and 6 of 9.
        expected = [1e-3 * (1 + np.cos(np.pi * t / 9)) / 2 for t in (0, 3, 6)]
        assert [record.learning_rate for record in history] == pytest.approx(expected, rel=1e-5)
        assert all(record.seconds > 0 and record.images_per_second > 0 for record in history)
        assert all(20 / record.images_per_second <= record.seconds for record in history)

    def test_a_constant_rate_and_no_validation(self, images):
        history = train(images, CONFIG, training=TrainingConfig(epochs=2, batch_size=16)).history
        assert [(record.val_loss, round(record.learning_rate, 9)) for record in history] == [(None, 5e-4)] * 2

    def test_the_result_is_float32_and_says_what_it_was_made_from(self, uninterrupted, images, validation):
        assert uninterrupted.encoder.get_layer("conv_1").dtype_policy.name == "float32"
        assert uninterrupted.data == {
            "images": model_module.describe_images(images),
            "validation": model_module.describe_images(validation),
        }
        assert uninterrupted.training == asdict(
            replace(TRAINING, precision=model_module.resolve_precision("auto"))
        )

    def test_batch_normalisation_trains_too(self, images, tmp_path):
        config = replace(CONFIG, batch_norm=True)
        model = train(images, config, training=TRAINING, folder=tmp_path)
        assert load_checkpoint(tmp_path).fingerprint() == model.fingerprint()

    def test_early_stopping_returns_the_best_epoch(self, validation):
        # What is learnt from bright images is wrong for dark ones: the first epoch is the best.
        images = np.full((8, 32, 32, 3), 0.9, np.float32)
        dark = np.full((4, 32, 32, 3), 0.1, np.float32)
        training = TrainingConfig(epochs=20, batch_size=8, early_stopping=3, precision="float32")
        model = train(images, CONFIG, training=training, validation=dark)
        assert np.argmin([record.val_loss for record in model.history]) == 0
        assert len(model.history) == 4
        expected = loss_in_numpy("mse", dark, reconstruct(model, dark))
        assert model.history[0].val_loss == pytest.approx(expected, rel=1e-5)

    def test_nothing_global_is_seeded_and_nothing_is_said(self, images, capfd, monkeypatch):
        # On a busy machine even this training takes long enough for a progress bar.
        monkeypatch.setattr(training_module, "tqdm", partial(training_module.tqdm, disable=True))
        state = np.random.get_state()[1].copy()  # noqa: NPY002
        train(images, CONFIG, training=TrainingConfig(epochs=1, batch_size=8))
        np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
        assert capfd.readouterr() == ("", "")

    def test_one_bar_over_all_steps(self, images, validation, monkeypatch, tmp_path):
        bars = []

        class Bar(training_module.tqdm):
            def __init__(self, *arguments, **settings):
                super().__init__(*arguments, **settings | {"delay": 1e6})
                bars.append(self)

        monkeypatch.setattr(training_module, "tqdm", Bar)
        train(images, CONFIG, training=TRAINING, validation=validation, folder=tmp_path)
        assert [(bar.initial, bar.n, bar.total) for bar in bars] == [(0, 9, 9)]
        assert "loss=" in bars[0].postfix


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"epochs": 0}, "epochs must be a whole number of at least 1, not 0"),
            ({"batch_size": 0}, "batch_size must be a whole number of at least 1"),
            ({"early_stopping": -1}, "early_stopping must be a whole number of at least 0"),
            ({"seed": -1}, "seed must be a whole number of at least 0"),
            ({"learning_rate": 0.0}, "learning_rate must be a float between 0 and 1"),
            ({"learning_rate": float("nan")}, "learning_rate must be a float between 0 and 1, not nan"),
            ({"schedule": "step"}, "schedule must be one of constant, cosine"),
            ({"precision": "float16"}, "precision must be one of auto"),
        ],
    )
    def test_settings(self, change, message):
        with pytest.raises(ValueError, match=message):
            TrainingConfig(**change)

    def test_images_that_do_not_fit(self, images, validation):
        with pytest.raises(ValueError, match=r"images have shape \(20, 16, 16, 3\)"):
            train(images[:, :16, :16], CONFIG)
        with pytest.raises(
            ValueError, match=r"validation have values from .* expected finite values in \[0, 1\]"
        ):
            train(images, CONFIG, validation=validation * 2)
        with pytest.raises(ValueError, match="validation hold no image"):
            train(images, CONFIG, validation=validation[:0])

    def test_early_stopping_without_validation(self, images):
        with pytest.raises(ValueError, match="early_stopping needs validation images"):
            train(images, CONFIG, training=TrainingConfig(early_stopping=2))

    def test_a_loss_that_is_not_finite(self, images, monkeypatch, tmp_path):
        class Broken(keras.losses.MeanSquaredError):
            def call(self, y_true, y_pred):
                return super().call(y_true, y_pred) * float("nan")

        monkeypatch.setitem(training_module._LOSSES, "mse", Broken)
        with pytest.raises(
            ValueError, match=r"The loss became nan in epoch 1: lower the learning rate 0\.001"
        ):
            train(images, CONFIG, training=TRAINING, folder=tmp_path)
        assert not (tmp_path / "resume.npz").exists()


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path({tests!r})))
import test_training as t
t.Killing.countdown = int(sys.argv[2])
images, validation = t.random_images(20).view(t.Killing), t.random_images(6, seed=1)
t.train(images, t.CONFIG, training=t.TRAINING, validation=validation, folder=sys.argv[1])
"""


class TestResumption:
    def test_killed_in_mid_epoch_the_same_call_ends_with_the_same_weights(
        self, uninterrupted, images, validation, tmp_path
    ):
        code = CHILD.format(tests=os.path.dirname(__file__))
        # With TensorFlow the first batch of an epoch is read twice; at the eighth read the second epoch is on its way.
        process = subprocess.run([sys.executable, "-c", code, tmp_path, "8"], check=False)
        assert process.returncode == -signal.SIGKILL
        with np.load(tmp_path / "resume.npz") as state:
            assert "weights_0" in state
        assert len(pd.read_csv(tmp_path / "history.csv")) in (1, 2)
        resumed = train(images, CONFIG, training=TRAINING, validation=validation, folder=tmp_path)
        assert resumed.fingerprint() == uninterrupted.fingerprint()
        for record, expected in zip(resumed.history, uninterrupted.history, strict=True):
            assert (record.loss, record.val_loss) == (expected.loss, expected.val_loss)
        assert {entry.name for entry in tmp_path.iterdir()} == {
            "model.keras",
            "checkpoint.json",
            "history.csv",
        }

    @pytest.fixture
    def unfinished(self, images, validation, tmp_path, monkeypatch):
        """A folder in which the first epoch is done."""
        train_first_epoch(
            monkeypatch, images, CONFIG, training=TRAINING, validation=validation, folder=tmp_path
        )
        return tmp_path

    @pytest.mark.parametrize(
        ("change", "name"),
        [
            ({"training": replace(TRAINING, epochs=4)}, "training.epochs = 3, not 4"),
            ({"training": replace(TRAINING, seed=4)}, "training.seed = 3, not 4"),
            ({"config": replace(CONFIG, z_dim=4)}, "config.z_dim = 3, not 4"),
            ({"images": random_images(20, seed=9)}, "data.images = "),
            ({"validation": None}, "data.validation = .*not None"),
        ],
    )
    def test_other_settings_are_named(self, unfinished, images, validation, change, name):
        call = {"images": images, "config": CONFIG, "training": TRAINING, "validation": validation} | change
        with pytest.raises(
            ValueError, match=f"holds a training with {name}.*choose another folder, or delete"
        ):
            train(call.pop("images"), call.pop("config"), folder=unfinished, **call)

    def test_auto_precision_goes_on_as_it_began(
        self, unfinished, images, validation, uninterrupted, monkeypatch
    ):
        began = uninterrupted.training["precision"]
        monkeypatch.setattr(model_module, "has_fast_bfloat16", lambda: began == "float32")
        resumed = train(images, CONFIG, training=TRAINING, validation=validation, folder=unfinished)
        assert resumed.training["precision"] == began
        assert resumed.fingerprint() == uninterrupted.fingerprint()

    @pytest.mark.parametrize("damage", ["cut", "emptied", "foreign"])
    def test_damaged_state_is_named(self, unfinished, images, validation, damage):
        path = unfinished / "resume.npz"
        content = path.read_bytes()
        if damage == "foreign":
            np.savez(path, record=np.array("{}"))
        else:
            path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
        with pytest.raises(
            ValueError, match=r"resume\.npz is damaged .*delete it to train from the first epoch"
        ):
            train(images, CONFIG, training=TRAINING, validation=validation, folder=unfinished)

    def test_a_finished_folder_is_returned_at_once(
        self, images, validation, uninterrupted, tmp_path, monkeypatch
    ):
        first = train(images, CONFIG, training=TRAINING, validation=validation, folder=tmp_path)
        (tmp_path / "resume.npz").write_bytes(b"left by a kill after the last write")
        monkeypatch.setattr(training_module._Run, "completed", None)
        second = train(images, CONFIG, training=TRAINING, validation=validation, folder=tmp_path)
        assert second.fingerprint() == first.fingerprint() == uninterrupted.fingerprint()
        assert second.history == first.history == load_checkpoint(tmp_path).history
        assert [path.name for path in tmp_path.glob("resume*")] == []
        monkeypatch.setattr(training_module, "_only_process", None)  # as where nothing can be written
        third = train(images, CONFIG, training=TRAINING, validation=validation, folder=tmp_path)
        assert third.fingerprint() == first.fingerprint()
        with pytest.raises(ValueError, match=r"training\.epochs = 3, not 5"):
            train(
                images, CONFIG, training=replace(TRAINING, epochs=5), validation=validation, folder=tmp_path
            )

    def test_a_kill_between_the_last_state_and_its_line_costs_no_line(
        self, images, validation, uninterrupted, tmp_path, monkeypatch
    ):
        write = training_module._write_history

        def killed(folder, state):
            if len(state.history) == TRAINING.epochs:
                raise KeyboardInterrupt
            write(folder, state)

        monkeypatch.setattr(training_module, "_write_history", killed)
        call = {"training": TRAINING, "validation": validation, "folder": tmp_path}
        with pytest.raises(KeyboardInterrupt):
            train(images, CONFIG, **call)
        monkeypatch.setattr(training_module, "_write_history", write)
        assert train(images, CONFIG, **call).fingerprint() == uninterrupted.fingerprint()
        lines = (tmp_path / "history.csv").read_text(encoding="utf-8").splitlines()
        assert [line.partition(",")[0] for line in lines] == ["epoch", "1", "2", "3"]

    def test_the_csv_says_what_the_history_says(self, images, validation, tmp_path):
        model = train(images, CONFIG, training=TRAINING, validation=validation, folder=tmp_path)
        header, *_ = (tmp_path / "history.csv").read_text(encoding="utf-8").splitlines()
        assert tuple(header.split(",")) == model_module.EpochRecord._fields
        table = np.loadtxt(tmp_path / "history.csv", delimiter=",", skiprows=1)
        np.testing.assert_array_equal(table, np.array(model.history))

    def test_a_second_process_is_refused(self, images, tmp_path):
        with (
            FileLock(tmp_path / training_module.LOCK_FILE),
            pytest.raises(RuntimeError, match="Another process is training in .*wait for it"),
        ):
            train(images, CONFIG, training=TRAINING, folder=tmp_path)

    def test_early_stopping_survives_an_interruption(self, tmp_path, monkeypatch):
        images, dark = np.full((8, 32, 32, 3), 0.9, np.float32), np.full((4, 32, 32, 3), 0.1, np.float32)
        training = TrainingConfig(epochs=20, batch_size=8, early_stopping=3)
        whole = train(images, CONFIG, training=training, validation=dark)
        train_first_epoch(monkeypatch, images, CONFIG, training=training, validation=dark, folder=tmp_path)
        resumed = train(images, CONFIG, training=training, validation=dark, folder=tmp_path)
        assert (len(resumed.history), resumed.fingerprint()) == (4, whole.fingerprint())
