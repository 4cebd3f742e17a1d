"""The jobs of aelib that take long and write much, at a size that takes seconds."""

import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aelib import files, record
from robustness.finished import (
    Found,
    found_in_encoding,
    found_in_images,
    found_in_run,
    found_in_sweep,
    found_in_training,
)
from robustness.processes import python

PLACE = record.RUNS / "faults"
WORK = PLACE / "work"
PHOTOGRAPHS = WORK / "photographs"

_CHECKPOINT = record.ROOT / "data" / "checkpoints" / "faces-post3"
_ZIP = WORK / "photographs.zip"

_SIZE = 32
_N_FACES = 6_000
_N_PHOTOGRAPHS = 1_200
_NOTEBOOK = "04"
_RUN = ("-p", "n_images", "300", "-p", "n_points", "60", "-p", "n_draws", "3")
_SWEEP = (
    *("-g", "n_draws", "2", "3", "-g", "filters", "[4, 4, 4, 4]", "-g", "z_dim", "8", "-g", "n_train", "200"),
    *("-g", "epochs", "3", "-g", "n_images", "300", "-g", "n_points", "60"),
)
_RENDER = """
import sys, aelib
aelib.open_images("faces", n=int(sys.argv[1]), seed=3, size=int(sys.argv[2]))
"""
_DECODE = """
import sys, aelib
images = aelib.open_images("photos:" + sys.argv[1], size=int(sys.argv[2]))
print(len(images), "images,", len(images.skipped), "skipped")
"""
_ENCODE = """
import sys
import numpy as np
import aelib
from aelib.model import build

pixels = np.random.default_rng(0).integers(0, 256, (30_000, 32, 32, 3), np.uint8)
images = aelib.Images.from_array(pixels)
model = build(aelib.AutoencoderConfig(filters=(4, 8), z_dim=64, image_size=32), seed=1)
aelib.encode(model, images, path=sys.argv[1])
aelib.encode(model, images)
"""


@dataclass(frozen=True)
class Job:
    """A job that is disturbed.

    Parameters
    ----------
    name : str
        What the table calls it.
    folder : pathlib.Path
        Where its results go.
    words : list of str
        The command that begins it.
    again : list of str
        The command that goes on with it.
    found : callable
        Lists what of it is finished: all that the library would take for whole, and whatever has a final name. Raises
        if something that has a final name cannot be read.
    source : pathlib.Path or None
        The photographs that it reads, if any.
    loads : str
        Part of the name of a library; its memory is not taken away before that is loaded.
    """

    name: str
    folder: Path
    words: list[str]
    again: list[str]
    found: Callable[[Path], Found]
    source: Path | None = None
    loads: str = "libscipy_openblas-"

    def clear(self) -> None:
        """Remove all that it has written."""
        for folder in self.places:
            shutil.rmtree(folder, ignore_errors=True)

    def is_listed(self) -> bool:
        """Say whether its photographs are listed: its cache is named by the list."""
        return any((self.cache / "images").glob("*"))

    @property
    def places(self) -> tuple[Path, ...]:
        """The folders that it writes to."""
        return tuple(dict.fromkeys((self.folder, self.cache)))

    @property
    def is_command(self) -> bool:
        """Whether it is one of aelib's own commands, which say in one line what is wrong."""
        return "aelib" in self.words

    @property
    def cache(self) -> Path:
        """Its cache folder."""
        return WORK / self.name / "cache"

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return WORK / self.name / "log.txt"


def jobs() -> tuple[Job, ...]:
    """List the six jobs."""
    return (_rendering(), _decoding(), _training(), _encoding(), _running(), _sweeping())


def jobs_with_workers() -> tuple[Job, ...]:
    """List the jobs that start processes which do their work."""
    return (_running(), _sweeping())


def jobs_on_photographs() -> tuple[Job, ...]:
    """List the jobs that read photographs."""
    return (_decoding(), _decoding_zip(), _running_on_photographs())


def _rendering() -> Job:
    words = python("-c", _RENDER, str(_N_FACES), str(_SIZE))
    folder = WORK / "rendering" / "cache"
    return Job("rendering", folder, words, words, found_in_images)


def _decoding() -> Job:
    words = python("-c", _DECODE, str(PHOTOGRAPHS), str(_SIZE))
    return Job("decoding", WORK / "decoding" / "cache", words, words, found_in_images, PHOTOGRAPHS)


def _decoding_zip() -> Job:
    words = python("-c", _DECODE, str(_ZIP), str(_SIZE))
    folder = WORK / "decoding a zip" / "cache"
    return Job("decoding a zip", folder, words, words, found_in_images, _ZIP)


def _training() -> Job:
    folder = WORK / "training" / "checkpoint"
    words = python(
        *("-m", "aelib", "train", "--n", "160", "--preset", "post1", "--z-dim", "4", "--epochs", "8"),
        *("--batch-size", "32", "--validation", "16", "--test", "16", "--out", str(folder)),
    )
    return Job("training", folder, words, words, found_in_training)


def _encoding() -> Job:
    folder = WORK / "encoding" / "points"
    words = python("-c", _ENCODE, str(folder / "z.npy"))
    return Job("encoding", folder, words, words, found_in_encoding)


def _running() -> Job:
    return _run("a run", "faults-run")


def _running_on_photographs() -> Job:
    options = ("--images", f"photos:{PHOTOGRAPHS}", "-p", "checkpoint", str(_CHECKPOINT))
    return _run("a run on photographs", "faults-photographs", *options, source=PHOTOGRAPHS)


def _run(name: str, folder: str, *options: str, source: Path | None = None) -> Job:
    begin = python("-m", "aelib", "run", "--notebooks", _NOTEBOOK, "--name", folder, *_RUN, *options)
    resume = python("-m", "aelib", "run", "--resume", "--name", folder)
    return Job(name, record.RUNS / folder, begin, resume, found_in_run, source)


def _sweeping() -> Job:
    folder = record.RUNS / "sweeps" / "faults-sweep"
    words = python("-m", "aelib", "sweep", "--notebooks", _NOTEBOOK, "--name", folder.name, *_SWEEP)
    return Job("a sweep", folder, words, words, found_in_sweep)


def make_photographs() -> None:
    """Make JPEG files of rendered faces, the photographs of the jobs that decode, and a zip of them."""
    from PIL import Image

    from aelib import faces

    if _ZIP.exists():
        return
    PHOTOGRAPHS.mkdir(parents=True, exist_ok=True)
    pixels = faces.render(faces.sample_factors(np.arange(40), seed=5), size=192)
    for k in range(_N_PHOTOGRAPHS):  # each is another one: shifted by some pixels
        shifted = np.roll(pixels[k % 40], k // 40, axis=1)
        Image.fromarray(np.rint(shifted * 255).astype(np.uint8)).save(
            PHOTOGRAPHS / f"{k:04d}.jpg", quality=90
        )
    with files.replacing(_ZIP) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for path in sorted(PHOTOGRAPHS.iterdir()):
            archive.write(path, path.name)


def leftovers(job: Job) -> list[Path]:
    """List what killed writers left: temporary files, unfinished caches, folders of notebooks being executed."""
    marks = (".part-", ".executing-", ".partial")
    paths = [path for folder in job.places for path in folder.rglob("*")]
    return [path for path in paths if any(mark in path.name for mark in marks)]
