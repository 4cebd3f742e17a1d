"""The heavy steps of a run."""

import dataclasses
import json

import numpy as np
import PIL.Image
import pytest

from aelib import codec, files, images, model, steps, training


@pytest.mark.parametrize(("n", "epochs"), [(1, 100), (7_295, 16), (60_000, 2), (178_000, 1)])
def test_epochs_follow_from_the_budget(n, epochs):
    assert steps.epochs_within(120_000, n_images=n) == epochs


def test_z_points_are_encoded_once_and_described(tmp_path, monkeypatch):
    opened = images.open_images("faces", n=5, seed=3)
    steps.share_points(opened, "", tmp_path)
    z = np.load(tmp_path / "z.npy")
    assert z.shape == (5, 256)
    assert files.read_json(tmp_path / "z.json")["images"] == opened.description()
    reference = files.read_json(tmp_path / "checkpoint.json")
    assert (tmp_path / reference["folder"]).resolve() == model.SHIPPED_CHECKPOINT
    assert (
        reference["model_sha256"]
        == files.read_json(model.SHIPPED_CHECKPOINT / "checkpoint.json")["model_sha256"]
    )

    monkeypatch.setattr(codec, "_applied", lambda *_, **__: iter(()))  # nothing is computed again
    np.testing.assert_array_equal(codec.encode(model.load_checkpoint(), opened), z)
    (tmp_path / "z.npy").unlink()
    steps.share_points(opened, "", tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), z)


def test_all_images_where_there_are_fewer_unless_a_number_was_asked_for(tmp_path):
    for k in range(3):
        PIL.Image.new("RGB", (40, 40), (80 * k, 0, 0)).save(tmp_path / f"{k}.png")
    source = f"photos:{tmp_path}"
    assert len(steps.open_for_run(source, n_images=50, seed=1, at_most=True)) == 3
    assert len(steps.open_for_run(source, n_images=2, seed=1, at_most=True)) == 2
    with pytest.raises(ValueError, match="50"):
        steps.open_for_run(source, n_images=50, seed=1, at_most=False)


def test_rendered_training_images_are_rendered_again():
    parts = images.open_images("faces", n=40, seed=1).split(validation=3, test=4, seed=1)
    record = {"images": parts.train.description(), "validation": parts.validation.description()}
    trained = dataclasses.replace(model.build(model.PRESETS["post3"]), data=json.loads(json.dumps(record)))
    other = images.Images.from_array(np.zeros((2, 96, 96, 3), np.uint8))
    np.testing.assert_array_equal(training.training_images(trained, other, n=6)[:], parts.train[:6])
    with pytest.raises(ValueError, match="does not say"):
        training.training_images(model.build(model.PRESETS["post3"]), other, n=6)
