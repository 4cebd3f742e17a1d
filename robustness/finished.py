"""What is finished of a job that writes much: all that the library would take for whole, with a digest of each."""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from aelib import files, record, sweeps

_WIDGET = "application/vnd.jupyter.widget-view+json"

Found = dict[str, str]
"""What is finished, by name, each with a digest of its content. A name that begins with ~ is that of a file which is
whole, but of a step that is not finished: it may be replaced."""


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
            found[f"{folder.name}, block {number}"] = digest(
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
        if content["model_sha256"] != digest((folder / "model.keras").read_bytes()):
            raise ValueError(f"{path} is of another model.keras")
        found |= _epochs(content["history"])
    if (path := folder / "model.keras").exists():
        with zipfile.ZipFile(path) as archive:
            if archive.testzip():
                raise ValueError(f"{path} is damaged")
            described = "" if (folder / "checkpoint.json").exists() else "~"
            found[f"{described}weights"] = digest(archive.read("model.weights.h5"))
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
            found[f"{'' if described else '~'}{path.name}"] = digest(path.read_bytes())
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
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not path.is_file() or hidden or ".failed." in name:
            continue
        own = path.suffix in (".ipynb", ".png") and path.name.partition("_")[0] not in numbers
        if path.suffix == ".ipynb":
            found[f"{'~' if own else ''}{name}"] = _outputs(path)
        elif name == "versions.json":  # they name the files that were changed since the commit
            files.read_json(path)
        elif name == record.CHECKPOINT_REFERENCE:
            # A network's file has the time in it; its weights are compared.
            record.used_checkpoint(folder)
            found[name] = digest(json.dumps({**files.read_json(path), "model_sha256": ""}).encode())
        elif name == record.CLAIMS_RECORD and run.unfinished:
            record.read_claims(folder)
        elif name != record.RUN_RECORD:
            found[f"{'~' if own else ''}{name}"] = digest(path.read_bytes())
    return found


def _outputs(notebook: Path) -> str:
    """Digest what the cells of a notebook show; progress bars and times of execution are left out."""
    shown: list[Any] = []
    for cell in record.read_notebook(notebook).cells:
        shown.append(cell.source)
        outputs = [output for output in cell.get("outputs", ()) if not _is_progress(output)]
        shown += [[output.get(name) for name in ("text", "data", "ename", "evalue")] for output in outputs]
    return digest(json.dumps(shown).encode())


def _is_progress(output: dict[str, Any]) -> bool:
    """Whether an output is a bar, which is there if a machine is slow."""
    return output.get("name") == "stderr" or _WIDGET in output.get("data", {})


def found_in_sweep(folder: Path) -> Found:
    """List the finished files of a sweep: its networks, its points, its table and figures."""
    found: Found = {}
    for network in sorted((folder / "networks").glob("*")):
        found |= _within(network.name, found_in_training(network))
    places = [place for place in sorted((folder / "points").glob("*")) if place.is_dir()]
    for place in places:
        found |= _within(place.name, found_in_run(place))
    for path in (folder / "sweep.json", *_outcome(folder)):
        if path.exists():
            found[path.name] = digest(path.read_bytes())
    return found


def _within(place: str, found: Found) -> Found:
    """Put a place before the names; that a file may be replaced is still said first."""
    return {
        f"{'~' * name.startswith('~')}{place}: {name.lstrip('~')}": value for name, value in found.items()
    }


def _outcome(folder: Path) -> list[Path]:
    """List a sweep's table and what was drawn of it; not before it has all points, for then others come."""
    table = folder / "claims.csv"
    if not table.exists():
        return []
    points = files.read_json(folder / "sweep.json")["points"]
    if sweeps.read_table(table)["point"].nunique() < len(points):
        return []
    drawn = sorted((folder / "figures").glob("[!.]*"))
    return [table, *(path for path in drawn if path.stat().st_mtime_ns > table.stat().st_mtime_ns)]


def digest(data: bytes) -> str:
    """Return a digest of bytes."""
    return hashlib.sha256(data).hexdigest()
