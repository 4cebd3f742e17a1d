"""The fuzzing command itself: it tells clear errors from failures, and its cheap loaders pass a few files."""

import subprocess
from pathlib import Path

import hypothesis
import pytest

from robustness import loaders
from robustness.watch import Watch


def raising(error):
    def load(data, folder):
        raise error

    return load


def starting(data, folder):
    subprocess.run(["true"], check=True)
    return False


def writing(data, folder):
    (folder.parent / "elsewhere").write_bytes(data)
    return False


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        (lambda data, folder: False, "accepted"),
        (lambda data, folder: True, "skipped"),
        (raising(ValueError("it is damaged")), "error"),
        (raising(ValueError()), "FAILURE: a ValueError that says nothing"),
        (raising(KeyError("x")), "FAILURE: KeyError"),
        (starting, "FAILURE: subprocess.Popen"),
        (writing, "FAILURE: it wrote"),
    ],
)
def test_a_watch_sees(tmp_path, load, expected):
    # Called as the interpreter would: a real audit hook could not be taken away again.
    watch = Watch(tmp_path / "work", 60)
    watch.folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "run", lambda words, **_: watch.hook("subprocess.Popen", (words[0], words)))
        patch.setattr(Path, "write_bytes", lambda path, _: watch.hook("open", (str(path), "w", 0o101)))
        assert watch.attempt(load, b"").startswith(expected)


@pytest.mark.parametrize("make", [loaders.parameter_file, loaders.notebook, loaders.run_folder])
def test_a_few_spoiled_files(make, tmp_path):
    loader, watch = make(), Watch(tmp_path, 60)

    @hypothesis.settings(max_examples=25)
    @hypothesis.given(loader.inputs)
    def one(data):
        assert not watch.attempt(loader.load, data).startswith("FAILURE")

    one()
