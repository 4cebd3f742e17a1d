"""Loaders of arrays: samplers, z-points, the state of a training, checkpoints."""

import hashlib
import io
import json
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from robustness.loader import Loader
from robustness.mutations import as_json, spoiled_bytes, spoiled_content, spoiled_hdf5, spoiled_zip


def sampler() -> Loader:
    """Fitted samplers in `.npz` files."""
    from aelib.samplers import MultivariateNormal, load_sampler, save_sampler

    def load(data: bytes, folder: Path) -> bool:
        path = folder / "sampler.npz"
        path.write_bytes(data)
        load_sampler(path)
        return False

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "x.npz")
        save_sampler(MultivariateNormal().fit(np.random.default_rng(0).normal(size=(40, 3))), path)
        whole = path.read_bytes()
    return Loader("sampler (.npz)", (whole,), st.one_of(spoiled_zip(whole), spoiled_bytes(whole)), load, 100)


def checkpoint() -> Loader:
    """Checkpoints: the `.keras` file, with a checksum that was corrected, or the record beside it."""
    from aelib.model import AutoencoderConfig, build, load_checkpoint, save_checkpoint

    with tempfile.TemporaryDirectory() as scratch:
        save_checkpoint(build(AutoencoderConfig(filters=(2, 2), z_dim=2, image_size=32)), scratch)
        whole, record = (
            Path(scratch, "model.keras").read_bytes(),
            json.loads(Path(scratch, "checkpoint.json").read_text()),
        )

    def load(data: bytes, folder: Path) -> bool:
        place = folder / "checkpoint"
        place.mkdir(exist_ok=True)
        if data.startswith((b"{", b"[")):
            (place / "model.keras").write_bytes(whole)
            (place / "checkpoint.json").write_bytes(data)
        else:
            (place / "model.keras").write_bytes(data)
            forged = {**record, "model_sha256": hashlib.sha256(data).hexdigest()}
            (place / "checkpoint.json").write_bytes(as_json(forged))
        load_checkpoint(place)
        return False

    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}

    def packed(weights: bytes) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for member, content in members.items():
                archive.writestr(member, weights if member == _WEIGHTS else content)
        return file.getvalue()

    weights = st.one_of(spoiled_hdf5(members[_WEIGHTS]), spoiled_bytes(members[_WEIGHTS]))
    inputs = st.one_of(
        spoiled_bytes(whole), spoiled_zip(whole), weights.map(packed), spoiled_content(record).map(as_json)
    )
    return Loader("checkpoint (.keras, JSON)", (whole, as_json(record)), inputs, load, 200)


_WEIGHTS = "model.weights.h5"


def z_points() -> Loader:
    """Spoil a run's z-points and their description: the images are to be encoded anew."""
    from aelib.codec import encode
    from aelib.model import AutoencoderConfig, build

    model = build(AutoencoderConfig(filters=(2, 2), z_dim=2, image_size=32))
    images = np.random.default_rng(0).random((8, 32, 32, 3), dtype=np.float32)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "z.npy")
        expected = np.array(encode(model, images, path=path))
        points, description = path.read_bytes(), path.with_suffix(".json").read_bytes()

    def load(data: bytes, folder: Path) -> bool:
        is_description = data.startswith((b"{", b"["))
        path = folder / "z.npy"
        path.write_bytes(points if is_description else data)
        path.with_suffix(".json").write_bytes(data if is_description else description)
        if not np.array_equal(encode(model, images, path=path), expected):
            raise TypeError("spoiled z-points were taken for whole")
        return False

    inputs = st.one_of(spoiled_bytes(points), spoiled_content(json.loads(description)).map(as_json))
    return Loader("z-points (.npy, JSON)", (points, description), inputs, load, 100)


def training_state() -> Loader:
    """Spoil the state with which a killed training goes on."""
    from aelib import training
    from aelib.model import AutoencoderConfig

    run = training._Run(
        np.random.default_rng(0).random((8, 32, 32, 3), dtype=np.float32),
        None,
        config=AutoencoderConfig(filters=(2, 2), z_dim=2, image_size=32),
        training=training.TrainingConfig(epochs=2, batch_size=4),
    )
    start = run.start()
    run.start = lambda: start  # type: ignore[method-assign]  # it compiles a network each time
    with tempfile.TemporaryDirectory() as scratch:
        training._write_state(Path(scratch), start, run.settings(start.precision))
        whole = Path(scratch, training.RESUME_FILE).read_bytes()
    with np.load(io.BytesIO(whole)) as stored:
        arrays = dict(stored)

    def with_record(record: bytes) -> bytes:
        file = io.BytesIO()
        np.savez(file, **{**arrays, "record": np.array(record.decode("utf-8", "replace"))})
        return file.getvalue()

    def load(data: bytes, folder: Path) -> bool:
        (folder / training.RESUME_FILE).write_bytes(data)
        training._read_state(folder, run)
        return False

    record = spoiled_content(json.loads(str(arrays["record"]))).map(as_json).map(with_record)
    inputs = st.one_of(spoiled_zip(whole), spoiled_bytes(whole), record)
    return Loader("state of a training (.npz)", (whole,), inputs, load, 100)
