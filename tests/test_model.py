"""Tests of aelib.model: networks against NumPy, counts against closed forms, checkpoints against damage."""

import hashlib
import io
import json
import math
import shutil
import zipfile

import h5py
import numpy as np
import pytest

from aelib import model as model_module
from aelib._backend import keras
from aelib.images import Images
from aelib.model import (
    ACTIVATIONS,
    PRESETS,
    AutoencoderConfig,
    EpochRecord,
    build,
    check_images,
    describe_images,
    layer_table,
    load_checkpoint,
    resolve_precision,
    save_checkpoint,
)

TINY = AutoencoderConfig(filters=(4, 8), z_dim=3, image_size=32)
HISTORY = (
    EpochRecord(1, 0.5, None, 5e-4, 1.25, 80.0),
    EpochRecord(2, 0.1 + 0.2, 0.3, 5e-4, 1.5, 79.5),
)


@pytest.fixture(scope="module")
def tiny():
    return build(TINY, seed=1)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((5, 32, 32, 3), dtype=np.float32)


@pytest.fixture
def checkpoint(tiny, tmp_path):
    save_checkpoint(tiny, tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def network_output(network, inputs):
    return keras.ops.convert_to_numpy(network(inputs, training=False))


class TestConfig:
    @pytest.mark.parametrize(
        ("config", "millions"),
        [
            (PRESETS["post1"], 5.50),
            (PRESETS["post3"], 2.88),
            (AutoencoderConfig(strides=(2, 2, 2, 1)), 9.98),
            (PRESETS["large"], 12.41),
        ],
    )
    def test_parameter_counts_are_the_published_ones(self, config, millions):
        assert round(config.n_parameters / 1e6, 2) == millions

    def test_presets_have_the_source_s_filters(self):
        assert PRESETS["post1"].filters == (32, 64, 128, 256)
        assert PRESETS["post3"].filters == (64, 64, 128, 128)
        assert PRESETS["large"].n_parameters >= 10_000_000
        assert all((c.z_dim, c.image_size, c.batch_norm) == (256, 96, False) for c in PRESETS.values())

    @pytest.mark.parametrize(
        "config",
        [
            PRESETS["post3"],
            TINY,
            AutoencoderConfig(filters=(4,), z_dim=1, image_size=32),
            AutoencoderConfig(
                filters=(4, 6, 8),
                kernel_size=(5, 4, 2),
                strides=(2, 1, 4),
                z_dim=7,
                image_size=64,
                batch_norm=True,
            ),
        ],
    )
    def test_the_count_is_that_of_the_networks(self, config):
        assert config.n_parameters == build(config).autoencoder.count_params()

    def test_survives_json(self):
        config = AutoencoderConfig(filters=(4, 8), kernel_size=(3, 5), z_dim=2, image_size=64, loss="bce")
        assert AutoencoderConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"filters": ()}, "filters must be a tuple"),
            ({"filters": (8,) * 33}, "filters has 33 entries; expected 32 convolutions at most"),
            ({"filters": (8, 0)}, "filters must be a whole number of at least 1, not 0"),
            ({"filters": (8, True)}, "filters must be a whole number"),
            ({"kernel_size": 0}, "kernel_size must be a whole number of at least 1"),
            ({"kernel_size": (3, 3, 3)}, "kernel_size must be one number or 4"),
            ({"strides": (2, 2)}, "strides must be one number or 4"),
            ({"activation": "tanh"}, "activation must be one of relu, leaky_relu"),
            ({"loss": "mae"}, "loss must be one of mse, bce, not 'mae'"),
            ({"z_dim": 0}, "z_dim must be a whole number of at least 1"),
            ({"image_size": 31}, "image_size must be a whole number of at least 32"),
            ({"image_size": 100}, "image_size 100 is not a multiple of 16"),
            ({"strides": (2, 2, 2, 5)}, "not a multiple of 40"),
        ],
    )
    def test_refuses_what_cannot_be_built(self, change, message):
        with pytest.raises(ValueError, match=message):
            AutoencoderConfig(**change)

    @pytest.mark.parametrize("change", ["missing", "unknown"])
    def test_from_dict_wants_exactly_the_settings(self, change):
        settings = TINY.to_dict()
        if change == "missing":
            del settings["loss"]
        else:
            settings["dropout"] = 0.5
        with pytest.raises(ValueError, match=f"{change} settings .*(loss|dropout)"):
            AutoencoderConfig.from_dict(settings)


def convolution(x, kernel, bias, stride):
    """The slow obvious convolution with TensorFlow's "same" padding."""
    k, size = kernel.shape[0], -(-x.shape[1] // stride)
    total = max((size - 1) * stride + k - x.shape[1], 0)
    pad = (total // 2, total - total // 2)
    x = np.pad(x, [(0, 0), pad, pad, (0, 0)])
    out = np.zeros((len(x), size, size, kernel.shape[3])) + bias
    for i in range(k):
        for j in range(k):
            rows = slice(i, i + (size - 1) * stride + 1, stride)
            columns = slice(j, j + (size - 1) * stride + 1, stride)
            out += x[:, rows, columns] @ kernel[i, j]
    return out


def activation_in_numpy(name, x):
    erf = np.vectorize(math.erf)
    return {
        "relu": lambda: np.maximum(x, 0),
        "leaky_relu": lambda: np.where(x > 0, x, 0.2 * x),
        "selu": lambda: (
            1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0)))
        ),
        "elu": lambda: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
        "gelu": lambda: x * (1 + erf(x / math.sqrt(2))) / 2,
    }[name]()


class TestBuild:
    @pytest.mark.parametrize("activation", ACTIVATIONS)
    def test_the_encoder_computes_what_numpy_computes(self, images, activation):
        config = AutoencoderConfig(
            filters=(4, 8), kernel_size=(3, 4), strides=(2, 1), activation=activation, z_dim=3, image_size=32
        )
        encoder = build(config, seed=2).encoder
        kernel_1, bias_1, kernel_2, bias_2, matrix, offset = encoder.get_weights()
        x = activation_in_numpy(activation, convolution(images, kernel_1, bias_1, 2))
        x = activation_in_numpy(activation, convolution(x, kernel_2, bias_2, 1))
        expected = x.reshape(len(x), -1) @ matrix + offset
        np.testing.assert_allclose(network_output(encoder, images), expected, rtol=1e-4, atol=1e-5)

    def test_the_transposed_convolution_is_the_adjoint_of_the_convolution(self):
        # <conv(x), y> = <x, deconv(y)> for the same kernel: so paddings mirror each other.
        rng = np.random.default_rng(3)
        decoder = build(AutoencoderConfig(filters=(4,), z_dim=2, image_size=32), seed=3).decoder
        layer = decoder.get_layer("deconv_1")
        layer.activation = keras.activations.linear
        kernel = layer.get_weights()[0]
        x, y = rng.standard_normal((1, 32, 32, 3)), rng.standard_normal((1, 16, 16, 4))
        deconvolved = keras.ops.convert_to_numpy(layer(y.astype(np.float32)))
        assert np.sum(convolution(x, kernel, 0, 2) * y) == pytest.approx(np.sum(x * deconvolved), rel=1e-4)

    @pytest.mark.parametrize("size", [32, 64, 128])
    @pytest.mark.parametrize("strides", [2, (2, 1, 4), (4, 2, 2)])
    def test_the_decoder_mirrors_the_encoder(self, size, strides):
        config = AutoencoderConfig(
            filters=(4, 6, 8), kernel_size=(3, 5, 2), strides=strides, z_dim=1, image_size=size
        )
        model = build(config)
        inwards = [table_row.output for table_row in layer_table(model.encoder).itertuples()][:4]
        outwards = [table_row.output for table_row in layer_table(model.decoder).itertuples()][2:]
        assert inwards == outwards[::-1]
        assert model.autoencoder.output_shape == model.autoencoder.input_shape == (None, size, size, 3)
        assert model.encoder.output_shape == model.decoder.input_shape == (None, 1)

    def test_the_autoencoder_is_the_composition(self, tiny, images):
        z = network_output(tiny.encoder, images)
        np.testing.assert_array_equal(
            network_output(tiny.autoencoder, images), network_output(tiny.decoder, z)
        )

    def test_the_seed_alone_decides_the_weights(self):
        state = np.random.get_state()[1].copy()  # noqa: NPY002
        same, again, other = (build(TINY, seed=seed).fingerprint() for seed in (5, 5, 6))
        assert same == again != other
        np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002

    @pytest.mark.parametrize(("activation", "variance"), [("selu", 1 / 288), ("relu", 2 / (288 + 576))])
    def test_initial_weights_have_the_initializer_s_variance(self, activation, variance):
        config = AutoencoderConfig(filters=(32, 64), activation=activation, z_dim=2, image_size=32)
        kernel = build(config).encoder.get_layer("conv_2").get_weights()[0]
        assert kernel.var() == pytest.approx(variance, rel=0.05)

    def test_batch_normalisation_follows_all_convolutions_but_the_last(self):
        model = build(AutoencoderConfig(filters=(4, 8), z_dim=3, image_size=32, batch_norm=True))
        norms = [
            layer.name
            for network in (model.encoder, model.decoder)
            for layer in network.layers
            if isinstance(layer, keras.layers.BatchNormalization)
        ]
        assert norms == ["conv_1_norm", "conv_2_norm", "deconv_2_norm"]

    def test_mixed_precision_computes_nearly_the_same_and_keeps_float32_outside(self, tiny, images):
        mixed = build(TINY, seed=1, precision="mixed_bfloat16")
        assert mixed.fingerprint() == tiny.fingerprint()
        assert keras.config.dtype_policy().name == "float32"
        policies = {
            layer.name: layer.dtype_policy.name for layer in (*mixed.encoder.layers, *mixed.decoder.layers)
        }
        assert policies["conv_1"] == policies["deconv_1"] == "mixed_bfloat16"
        assert policies["z_points"] == policies["colours"] == "float32"
        for network, exact in ((mixed.encoder, tiny.encoder), (mixed.autoencoder, tiny.autoencoder)):
            output, expected = network_output(network, images), network_output(exact, images)
            assert output.dtype == np.float32
            assert 0 < np.abs(output - expected).max() < 0.02 * np.abs(expected).max()

    @pytest.mark.parametrize(("fast", "expected"), [(True, "mixed_bfloat16"), (False, "float32")])
    def test_auto_precision_is_what_is_fast(self, monkeypatch, fast, expected):
        monkeypatch.setattr(model_module, "has_fast_bfloat16", lambda: fast)
        assert resolve_precision("auto") == expected

    def test_refuses_other_seeds_and_precisions(self):
        with pytest.raises(ValueError, match="seed must be a whole number of at least 0, not -1"):
            build(TINY, seed=-1)
        with pytest.raises(ValueError, match="precision must be one of auto, float32, mixed_bfloat16"):
            build(TINY, precision="float16")

    def test_layer_table_accounts_for_every_parameter(self, tiny):
        for network in (tiny.encoder, tiny.decoder, tiny.autoencoder):
            assert layer_table(network)["parameters"].sum() == network.count_params()


class TestImagesChecked:
    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_floats_in_the_unit_interval_pass(self, images, dtype):
        check_images(images.astype(dtype), TINY)
        check_images(Images.from_array(images), TINY)

    @pytest.mark.parametrize(
        ("spoil", "error", "message"),
        [
            (lambda x: x[0], ValueError, r"shape \(32, 32, 3\).*image\[None\]"),
            (
                lambda x: x[:, :16, :16],
                ValueError,
                r"shape \(5, 16, 16, 3\), but the model takes \(n, 32, 32, 3\)",
            ),
            (lambda x: x[..., :1], ValueError, r"shape \(5, 32, 32, 1\)"),
            (lambda x: x[:0], ValueError, "hold no image"),
            (lambda x: Images.from_array(x[:, :16, :16]), ValueError, r"shape \(5, 16, 16, 3\)"),
            (lambda x: Images.from_array(x).subset(slice(0, 0)), ValueError, "hold no image"),
            (lambda x: (x * 255).astype(np.uint8), TypeError, r"uint8: divide by 255 .*Images\.from_array"),
            (lambda x: np.ones(x.shape, np.int64), TypeError, "hold int64; expected floats"),
            (lambda x: x * 255, ValueError, r"values from .*expected finite values in \[0, 1\]: divide"),
            (lambda x: x - 0.5, ValueError, "values from -"),
            (lambda x: np.where(x > 0.99, np.nan, x), ValueError, "values from nan to nan"),
            (lambda x: np.where(x > 0.99, np.inf, x), ValueError, "to inf"),
        ],
    )
    def test_anything_else_is_named(self, images, spoil, error, message):
        with pytest.raises(error, match=message):
            check_images(spoil(images), TINY)

    def test_the_description_follows_the_content(self, images):
        assert describe_images(images) == describe_images(images.copy())
        assert describe_images(images) != describe_images(images[::-1])
        assert describe_images(Images.from_array(images)) == Images.from_array(images).description()
        json.dumps(describe_images(images), allow_nan=False)


def rewrite_record(folder, **changes):
    """Change checkpoint.json as someone could who knows the format, checksum included."""
    content = json.loads((folder / "checkpoint.json").read_text())
    content["model_sha256"] = hashlib.sha256((folder / "model.keras").read_bytes()).hexdigest()
    (folder / "checkpoint.json").write_text(json.dumps(content | changes))


def replace_in_archive(path, name, content):
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for member, old in members.items():
            archive.writestr(member, content if member == name else old)


class TestCheckpoint:
    def test_round_trip_keeps_everything(self, tmp_path):
        config = AutoencoderConfig(
            filters=(4, 8), z_dim=3, image_size=32, activation="leaky_relu", batch_norm=True
        )
        model = build(config, seed=4, precision="mixed_bfloat16")
        model = model_module.replace(model, history=HISTORY, data={"n": 5}, training={"epochs": 2})
        save_checkpoint(model, tmp_path / "a" / "b")
        loaded = load_checkpoint(str(tmp_path / "a" / "b"))
        assert (loaded.config, loaded.history, loaded.data, loaded.training) == (
            config,
            HISTORY,
            {"n": 5},
            {"epochs": 2},
        )
        assert loaded.fingerprint() == model.fingerprint()
        for weight, expected in zip(
            loaded.autoencoder.get_weights(), model.autoencoder.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(weight, expected)
        assert {entry.name for entry in (tmp_path / "a" / "b").iterdir()} == {
            "model.keras",
            "checkpoint.json",
        }

    def test_a_loaded_model_computes_the_same_in_either_precision(self, checkpoint, tiny, images):
        exact, mixed = load_checkpoint(checkpoint), load_checkpoint(checkpoint, precision="mixed_bfloat16")
        expected = network_output(tiny.autoencoder, images)
        np.testing.assert_array_equal(network_output(exact.autoencoder, images), expected)
        np.testing.assert_allclose(network_output(mixed.autoencoder, images), expected, atol=0.02)

    def test_the_archive_is_a_float32_keras_model_without_optimizer(self, tmp_path):
        model = build(TINY, seed=1, precision="mixed_bfloat16")
        model.autoencoder.compile(optimizer="adam", loss="mse")
        save_checkpoint(model, tmp_path)
        loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
        assert getattr(loaded, "optimizer", None) is None
        assert {w.dtype for w in loaded.weights} == {"float32"}
        assert "bfloat16" not in json.dumps(loaded.get_config())

    def test_an_existing_checkpoint_is_replaced_only_on_request(self, checkpoint):
        other = build(TINY, seed=9)
        with pytest.raises(ValueError, match=r"holds a checkpoint already.*overwrite=True"):
            save_checkpoint(other, checkpoint)
        save_checkpoint(other, checkpoint, overwrite=True)
        assert load_checkpoint(checkpoint).fingerprint() == other.fingerprint()

    def test_a_save_that_fails_in_between_leaves_no_checkpoint(self, checkpoint, monkeypatch):
        monkeypatch.setattr(
            model_module.files, "write_json", lambda *_: (_ for _ in ()).throw(OSError("disk full"))
        )
        with pytest.raises(OSError, match="disk full"):
            save_checkpoint(build(TINY, seed=9), checkpoint, overwrite=True)
        with pytest.raises(ValueError, match="holds no checkpoint"):
            load_checkpoint(checkpoint)

    def test_no_checkpoint(self, tmp_path):
        with pytest.raises(ValueError, match=r"nowhere holds no checkpoint: there is no checkpoint\.json"):
            load_checkpoint(tmp_path / "nowhere")

    def test_the_shipped_one_is_named_when_it_is_missing(self, tmp_path, monkeypatch):
        monkeypatch.setattr(model_module, "SHIPPED_CHECKPOINT", tmp_path / "none")
        with pytest.raises(ValueError, match=r"shipped checkpoint is not at .*pip install -e"):
            load_checkpoint()

    def test_truncated_model(self, checkpoint):
        content = (checkpoint / "model.keras").read_bytes()
        (checkpoint / "model.keras").write_bytes(content[: len(content) // 2])
        with pytest.raises(ValueError, match="truncated, altered or exchanged"):
            load_checkpoint(checkpoint)
        rewrite_record(checkpoint)
        with pytest.raises(ValueError, match=r"too small|was not written by Keras"):
            load_checkpoint(checkpoint)

    def test_one_flipped_bit(self, checkpoint):
        content = bytearray((checkpoint / "model.keras").read_bytes())
        content[len(content) // 2] ^= 1
        (checkpoint / "model.keras").write_bytes(content)
        with pytest.raises(ValueError, match="truncated, altered or exchanged"):
            load_checkpoint(checkpoint)

    def test_missing_model(self, checkpoint):
        (checkpoint / "model.keras").unlink()
        with pytest.raises(ValueError, match=r"model\.keras is missing"):
            load_checkpoint(checkpoint)

    @pytest.mark.parametrize("content", [b"", b"{", b"\xff\xff", b'{"format": NaN}'])
    def test_damaged_record(self, checkpoint, content):
        (checkpoint / "checkpoint.json").write_bytes(content)
        with pytest.raises(ValueError, match=r"checkpoint\.json is not valid JSON"):
            load_checkpoint(checkpoint)

    @pytest.mark.parametrize("content", ["[]", "{}", '{"format": "another tool"}'])
    def test_foreign_record(self, checkpoint, content):
        (checkpoint / "checkpoint.json").write_text(content)
        with pytest.raises(ValueError, match=r"was not written by aelib\.save_checkpoint"):
            load_checkpoint(checkpoint)

    def test_later_version(self, checkpoint):
        rewrite_record(checkpoint, version=2)
        with pytest.raises(ValueError, match="version 2, and this aelib reads version 1: update aelib"):
            load_checkpoint(checkpoint)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"config": []}, "damaged or was edited"),
            ({"config": {"z_dim": 3}}, "missing settings"),
            ({"config": TINY.to_dict() | {"z_dim": "3"}}, "damaged or was edited"),
            ({"config": TINY.to_dict() | {"filters": 4}}, "damaged or was edited"),
            ({"config": TINY.to_dict() | {"__class__": "os.system"}}, "unknown settings"),
            ({"history": {}}, "history must be a list"),
            ({"history": [{"epoch": 1}]}, "damaged or was edited"),
            ({"history": [7]}, "damaged or was edited"),
            ({"data": None}, "data must be a dict"),
            ({"model_sha256": 3}, "model_sha256 must be a str"),
            ({"config": TINY.to_dict() | {"z_dim": 2}}, "does not hold the weights"),
            ({"config": TINY.to_dict() | {"filters": [8, 4]}}, "does not hold the weights"),
            ({"config": TINY.to_dict() | {"z_dim": 10**9}}, "too small for the 10+[0-9]+ weights|too small"),
        ],
    )
    def test_edited_record(self, checkpoint, changes, message):
        rewrite_record(checkpoint, **changes)
        with pytest.raises(ValueError, match=message):
            load_checkpoint(checkpoint)

    def test_a_configuration_that_is_no_object(self, checkpoint):
        record = json.loads((checkpoint / "checkpoint.json").read_text())
        (checkpoint / "checkpoint.json").write_text(json.dumps({**record, "config": 5}))
        with pytest.raises(ValueError, match="config must be a dict"):
            load_checkpoint(checkpoint)

    def test_record_without_a_part(self, checkpoint):
        content = json.loads((checkpoint / "checkpoint.json").read_text())
        del content["history"]
        (checkpoint / "checkpoint.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match="damaged or was edited: 'history'"):
            load_checkpoint(checkpoint)

    def test_a_file_that_is_no_archive(self, checkpoint):
        (checkpoint / "model.keras").write_bytes(b"x" * 100_000)
        rewrite_record(checkpoint)
        with pytest.raises(ValueError, match="was not written by Keras"):
            load_checkpoint(checkpoint)

    def test_an_archive_with_damaged_weights(self, checkpoint):
        replace_in_archive(
            checkpoint / "model.keras", "model.weights.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 100_000
        )
        rewrite_record(checkpoint)
        with pytest.raises(ValueError, match="was not written by Keras"):
            load_checkpoint(checkpoint)

    def test_weights_that_are_not_finite(self, tmp_path):
        model = build(TINY)
        model.autoencoder.set_weights([np.full_like(w, np.nan) for w in model.autoencoder.get_weights()])
        save_checkpoint(model, tmp_path)
        with pytest.raises(ValueError, match="not finite"):
            load_checkpoint(tmp_path)


class TestMaliciousArchive:
    """An attacker who exchanges the archive and corrects the checksum still gets no code run."""

    @pytest.fixture
    def trap(self, tmp_path):
        """A .keras file whose Lambda layer makes a file, and that file's path."""
        sprung = tmp_path / "sprung"
        code = f"lambda x: (open({str(sprung)!r}, 'w').close(), x)[1]"
        image = keras.Input((32, 32, 3))
        network = keras.Model(image, keras.layers.Lambda(eval(code))(image))
        network.save(tmp_path / "trap.keras")
        sprung.unlink(missing_ok=True)
        return tmp_path / "trap.keras", sprung

    def test_the_trap_works_where_safe_mode_is_off(self, trap):
        archive, sprung = trap
        keras.saving.load_model(archive, safe_mode=False)
        assert sprung.exists()

    def test_exchanged_archive(self, checkpoint, trap):
        archive, sprung = trap
        with archive.open("ab") as file:
            file.write(b"\0" * 100_000)
        shutil.copy(archive, checkpoint / "model.keras")
        rewrite_record(checkpoint)
        with pytest.raises(ValueError, match="was not written by Keras"):
            load_checkpoint(checkpoint)
        assert not sprung.exists()

    @pytest.mark.parametrize(
        ("exchanged", "message"),
        [
            ({"shape": (2**33,), "dtype": "f4"}, "larger than the file"),
            ({"shape": (2**33,), "dtype": "f4", "chunks": (2**20,)}, "packed or lies in another file"),
            ({"data": np.zeros(2**16, "f4"), "compression": "gzip"}, "packed or lies in another file"),
            (
                {"shape": (54,), "dtype": "f4", "external": [("elsewhere", 0, 216)]},
                "packed or lies in another file",
            ),
            (h5py.ExternalLink("elsewhere.h5", "x"), "layers/.*/0 is a link"),
            (h5py.SoftLink("/layers"), "layers/.*/0 is a link"),
        ],
    )
    def test_weights_that_lie_elsewhere_or_nowhere(self, checkpoint, monkeypatch, exchanged, message):
        with zipfile.ZipFile(checkpoint / "model.keras") as archive:
            stored = io.BytesIO(archive.read("model.weights.h5"))
        with h5py.File(stored, "r+") as weights:
            name = "layers/functional/layers/conv2d/vars/0"
            del weights[name]
            if isinstance(exchanged, dict):
                weights.create_dataset(name, **exchanged)
            else:
                weights[name] = exchanged
        replace_in_archive(checkpoint / "model.keras", "model.weights.h5", stored.getvalue())
        rewrite_record(checkpoint)
        monkeypatch.setattr(model_module, "_load_weights", None)  # it is refused before Keras sees it
        with pytest.raises(ValueError, match=message):
            load_checkpoint(checkpoint)

    def test_exchanged_architecture_with_the_right_weights(self, checkpoint, trap, tiny):
        archive, sprung = trap
        with zipfile.ZipFile(archive) as opened:
            architecture = opened.read("config.json")
        replace_in_archive(checkpoint / "model.keras", "config.json", architecture)
        rewrite_record(checkpoint)
        assert load_checkpoint(checkpoint).fingerprint() == tiny.fingerprint()
        assert not sprung.exists()
