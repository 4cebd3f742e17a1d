"""The jobs of aelib that take long and write much, at a size that takes seconds, and what is finished of each."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aelib import files, record
from robustness.processes import python

PLACE = record.RUNS / "faults"
WORK = PLACE / "work"

_SIZE = 32
_N_FACES = 6_000
_N_PHOTOGRAPHS = 1_200
_NOTEBOOK = "04"
_RUN = ("-p", "n_images", "300", "-p", "n_points", "60", "-p", "n_draws", "3")
_SWEEP = (
    *("-g", "n_draws", "2", "3", "-g", "filters", "[4, 4, 4, 4]", "-g", "z_dim", "8", "-g", "n_train", "600"),
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

Found = dict[str, str]
"""What is finished, by name, each with a digest of its content. A name that begins with ~ is that of a file which is
whole, but of a step that is not finished: it may be replaced."""


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
    """

    name: str
    folder: Path
    words: list[str]
    again: list[str]
    found: Callable[[Path], Found]

    def clear(self) -> None:
        """Remove all that it has written."""
        for folder in (self.folder, self.cache):
            shutil.rmtree(folder, ignore_errors=True)

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


def _rendering() -> Job:
    words = python("-c", _RENDER, str(_N_FACES), str(_SIZE))
    folder = WORK / "rendering" / "cache"
    return Job("rendering", folder, words, words, found_in_images)


def _decoding() -> Job:
    source = WORK / "photographs"
    words = python("-c", _DECODE, str(source), str(_SIZE))
    return Job("decoding", WORK / "decoding" / "cache", words, words, found_in_images)


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
    folder = record.RUNS / "faults-run"
    begin = python("-m", "aelib", "run", "--notebooks", _NOTEBOOK, "--name", folder.name, *_RUN)
    resume = python("-m", "aelib", "run", "--resume", "--name", folder.name)
    return Job("a run", folder, begin, resume, found_in_run)


def _sweeping() -> Job:
    folder = record.RUNS / "sweeps" / "faults-sweep"
    words = python("-m", "aelib", "sweep", "--notebooks", _NOTEBOOK, "--name", folder.name, *_SWEEP)
    return Job("a sweep", folder, words, words, found_in_sweep)


def make_photographs(folder: Path) -> None:
    """Make JPEG files of rendered faces, the photographs of the jobs that decode."""
    from PIL import Image

    from aelib import faces

    if folder.is_dir() and len(list(folder.iterdir())) == _N_PHOTOGRAPHS:
        return
    folder.mkdir(parents=True, exist_ok=True)
    pixels = faces.render(faces.sample_factors(np.arange(40), seed=5), size=192)
    for k in range(_N_PHOTOGRAPHS):  # each is another one: shifted by some pixels
        shifted = np.roll(pixels[k % 40], k // 40, axis=1)
        Image.fromarray(np.rint(shifted * 255).astype(np.uint8)).save(folder / f"{k:04d}.jpg", quality=90)


def found_in_images(cache: Path) -> Found:
    """List the finished blocks of the image caches below a cache folder."""
    found: Found = {}
    for folder in sorted((cache / "images").glob("*")):
        finished, partial, marks = (
            folder / name for name in ("pixels.npy", "pixels.partial", "done.partial")
        )
        if finished.exists():
            key = files.read_json(folder / "cache.json")["key"]
            found[f"{folder.name}, whole"] = key
        lines = marks.read_text().splitlines() if marks.exists() and partial.exists() else []
        pixels = finished if finished.exists() else partial
        if not finished.exists() and not lines:
            continue
        array = np.lib.format.open_memmap(pixels, mode="r")
        rows = 64
        done = range(-(-len(array) // rows)) if finished.exists() else _whole_marks(lines)
        for number in done:
            found[f"{folder.name}, block {number}"] = _hash(
                array[number * rows : (number + 1) * rows].tobytes()
            )
    return found


def _whole_marks(lines: list[str]) -> list[int]:
    """Return the numbers of the blocks that are marked as done; the last line may be torn."""
    head = json.loads(lines[0])
    if head["block_rows"] != 64:
        raise ValueError(f"a block has {head['block_rows']} rows, not 64")
    numbers = [_number(line) for line in lines[1:]]
    if None in numbers[:-1]:
        raise ValueError("a line of done.partial is torn, and not the last")
    return [number for number in numbers if number is not None]


def _number(line: str) -> int | None:
    try:
        return int(json.loads(line)[0])
    except ValueError:
        return None


def found_in_training(folder: Path) -> Found:
    """List the finished epochs of a training, and its checkpoint."""
    found: Found = {}
    if (state := folder / "resume.npz").exists():
        kept = files.read_arrays(state)  # compares the checksum of each array
        found |= _epochs(json.loads(str(kept["record"]))["history"])
    if (path := folder / "history.csv").exists():
        lines = path.read_text().splitlines()
        if not lines[0].startswith("epoch,loss"):
            raise ValueError(f"{path} begins with {lines[0]}")
        found |= {f"line {line.split(',')[0]}": ",".join(line.split(",")[:4]) for line in lines[1:]}
    if (path := folder / "checkpoint.json").exists():
        content = files.read_json(path)
        if content["model_sha256"] != _hash((folder / "model.keras").read_bytes()):
            raise ValueError(f"{path} is of another model.keras")
        found |= _epochs(content["history"])
    if (path := folder / "model.keras").exists():
        with zipfile.ZipFile(path) as archive:
            if archive.testzip():
                raise ValueError(f"{path} is damaged")
            described = "" if (folder / "checkpoint.json").exists() else "~"
            found[f"{described}weights"] = _hash(archive.read("model.weights.h5"))
    return found


def _epochs(history: list[dict[str, Any]]) -> Found:
    return {
        f"epoch {entry['epoch']}": f"{entry['loss']!r} {entry['val_loss']!r} {entry['learning_rate']!r}"
        for entry in history
    }


def found_in_encoding(folder: Path) -> Found:
    """List the z-points in a folder, and those in the cache folder beside it."""
    found: Found = {}
    for path in (folder / "z.npy", *(folder.parent / "cache" / "z").glob("[!.]*.npy")):
        described = path.with_suffix(".json").exists()
        if described:
            files.read_json(path.with_suffix(".json"))
        if path.exists() or described:
            found[f"{'' if described else '~'}{path.name}"] = _hash(path.read_bytes())
    return found


def found_in_run(folder: Path) -> Found:
    """List the finished files of a run, without the times in them."""
    found: Found = {}
    if (run := record.read_run(folder)) is None:
        return found
    done = {stem: one.digest for stem, one in run.notebooks.items() if one.state == "done"}
    found |= {f"{stem} is done": digest for stem, digest in done.items()}
    numbers = {stem.partition("_")[0] for stem in done}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        own = path.suffix in (".ipynb", ".png") and path.name.partition("_")[0] not in numbers
        if path.suffix == ".ipynb":
            found[f"{'~' if own else ''}{name}"] = _outputs(path)
        elif name == "versions.json":  # they name the files that were changed since the commit
            files.read_json(path)
        elif name == record.CLAIMS_RECORD and run.unfinished:
            record.read_claims(folder)
        elif name != record.RUN_RECORD:
            found[f"{'~' if own else ''}{name}"] = _hash(path.read_bytes())
    return found


def _outputs(notebook: Path) -> str:
    """Digest what the cells of a notebook show; progress bars and times of execution are left out."""
    shown: list[Any] = []
    for cell in record.read_notebook(notebook).cells:
        shown.append(cell.source)
        outputs = [output for output in cell.get("outputs", ()) if output.get("name") != "stderr"]
        shown += [[output.get(name) for name in ("text", "data", "ename", "evalue")] for output in outputs]
    return _hash(json.dumps(shown).encode())


def found_in_sweep(folder: Path) -> Found:
    """List the finished files of a sweep: its networks, its points, its table and figures."""
    found: Found = {}
    for network in sorted((folder / "networks").glob("*")):
        found |= {f"{network.name}: {name}": value for name, value in found_in_training(network).items()}
    places = [place for place in sorted((folder / "points").glob("*")) if place.is_dir()]
    for place in places:
        found |= {f"{place.name}: {name}": value for name, value in found_in_run(place).items()}
    for path in (folder / "sweep.json", folder / "claims.csv", *sorted((folder / "figures").glob("[!.]*"))):
        if path.exists():
            found[path.name] = _hash(path.read_bytes())
    return found


def leftovers(job: Job) -> list[Path]:
    """List what killed writers left: temporary files, unfinished caches, folders of notebooks being executed."""
    marks = (".part-", ".executing-", ".partial")
    places = [path for folder in {job.folder, job.cache} for path in folder.rglob("*")]
    return [path for path in places if any(mark in path.name for mark in marks)]


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
