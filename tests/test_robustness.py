"""The fuzzing command itself: it finds out whoever misbehaves; its loaders take whole files, and a few spoiled ones."""

import subprocess
import sys

import hypothesis
import pytest
from PIL import Image

from robustness import loaders, misbehaving
from robustness.fuzz import Tally
from robustness.watch import Watch


def raising(error):
    def load(data, folder):
        raise error

    return load


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        (lambda data, folder: False, "accepted"),
        (lambda data, folder: True, "skipped"),
        (raising(ValueError("it is damaged")), "error"),
        (raising(OSError("it is gone")), "error"),
        (raising(ValueError()), "FAILURE: a ValueError that says nothing"),
        (raising(KeyError("x")), "FAILURE: KeyError"),
    ],
)
def test_outcomes(tmp_path, load, expected):
    (tmp_path / "work").mkdir()
    assert Watch(tmp_path / "work", 60).attempt(load, b"").startswith(expected)


def test_whoever_misbehaves_is_found_out():
    """In processes of their own: an audit hook cannot be taken away again."""
    words = [sys.executable, "-m", "robustness.fuzz", "--self-test"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    rows = [line.split(" | ") for line in done.stdout.splitlines()[2:]]
    assert {row[0].strip("| ") for row in rows if row[-1] == "yes |"} == {
        load.__name__.strip("_").replace("_", " ") for load in misbehaving.EXPECTED
    }, done.stdout + done.stderr
    assert done.returncode == 0


def test_a_row_adds_up(tmp_path):
    tally = Tally("x (.y)", allowed=100, most=3.4, seconds=90)
    for outcome in (*["error"] * 1200, "skipped", "accepted", "FAILURE: a", "FAILURE: a", "FAILURE: b"):
        tally.note(outcome, outcome.encode(), tmp_path)
    assert tally.row() == "| x (.y) | 1 205 | 1 200 | 1 | 1 | 3 | 100 | 3 | 1.5 |"
    assert {name: (tmp_path / name).read_text() for name in tally.failures.values()} == {
        "x-0": "FAILURE: a",
        "x-1": "FAILURE: b",
    }


@pytest.mark.parametrize("make", loaders.LOADERS)
def test_whole_files_are_taken(make, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)  # loaders of images set it
    (tmp_path / "work").mkdir()
    loader, watch = make(), Watch(tmp_path / "work", 60)
    assert {watch.attempt(loader.load, whole) for whole in loader.whole} == {"accepted"}


CHEAP = (
    *(loaders.parameter_file, loaders.notebook, loaders.run_folder, loaders.explored_run),
    *(loaders.sweep_table, loaders.sampler),
)


@pytest.mark.parametrize("make", CHEAP)
def test_a_few_spoiled_files(make, tmp_path):
    (tmp_path / "work").mkdir()
    loader, watch = make(), Watch(tmp_path / "work", 60)

    @hypothesis.settings(max_examples=25)
    @hypothesis.given(loader.inputs)
    def one(data):
        outcome = watch.attempt(loader.load, data)
        assert not outcome.startswith("FAILURE"), outcome

    one()
