"""The folder of a run: what it was asked, how far it is, and the figures and claims of its notebooks.

In the folder are

``run.json``
    What all notebooks share, and for each its parameters, digest, state, duration and error.
``parameters.yaml``
    All parameters with their values, as ``run -f`` takes them.
``versions.json``
    A list: Python, packages, machine and commit at each start of the run that found others than the one before.
``data.json``, ``checkpoint.json``, ``z.npy``, ``z.json``
    The images, the network with its SHA-256, and the z-points, each with its description; a network trained for the
    run is in ``checkpoint/``.
``notebooks/``, ``figures/``, ``claims.json``
    The executed notebooks, their figures as PNG, and a list of the claims that they checked.
"""

import base64
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import yaml
from filelock import FileLock, Timeout

from aelib import files
from aelib.claims import CLAIMS, MIME, Verdict
from aelib.parameters import read_notebook
from aelib.series import ROOT, SCRATCH

RUNS = ROOT / "runs"
RUN_RECORD = "run.json"
CLAIMS_RECORD = "claims.json"
CHECKPOINT_REFERENCE = "checkpoint.json"
"""Of a run: which network it used. A checkpoint's own record has the same name."""

STATES = ("waiting", "running", "done", "failed")
"""What may be the matter with a notebook of a run. A killed run leaves "running"."""

_FORMAT = "aelib run"
_VERSION = 1
_INNER = ("notebooks", "figures", "checkpoint", "points", "networks")  # of a run, and of a sweep
_CAPTION = re.compile(r"\*\*Figure (\w+\.\d+)\.")


@dataclass(frozen=True)
class NotebookRecord:
    """What a run knows of one notebook.

    Parameters
    ----------
    given : dict
        Parameters that were set from outside, name to value; the others have their defaults.
    state : str
        "waiting", "running", "done" or "failed". A killed run leaves "running".
    digest : str
        SHA-256 of the notebook's cells as they were executed; empty before.
    seconds : float
        Duration of the last execution, in seconds.
    finished : str
        When it was over, UTC; empty before.
    error : str or None
        What went wrong, or None.
    """

    given: dict[str, Any]
    state: str = "waiting"
    digest: str = ""
    seconds: float = 0.0
    finished: str = ""
    error: str | None = None


@dataclass(frozen=True)
class RunRecord:
    """What a run was asked and how far it is.

    Parameters
    ----------
    images : str
        Image source.
    checkpoint : str
        Folder of the network that was given; empty for the shipped one, or one trained for the run.
    n_images : int
        Number of images asked for.
    seed : int
        Seed of the images and their split.
    notebooks : dict of str to NotebookRecord
        By name without suffix, in the order of the series.
    """

    images: str
    checkpoint: str
    n_images: int
    seed: int
    notebooks: dict[str, NotebookRecord] = field(default_factory=dict)

    @property
    def unfinished(self) -> tuple[str, ...]:
        """The notebooks that are not done, by name."""
        return tuple(stem for stem, notebook in self.notebooks.items() if notebook.state != "done")

    def shared(self) -> dict[str, Any]:
        """Return what all notebooks of the run share.

        Returns
        -------
        dict
            Parameter to value.
        """
        return {name: getattr(self, name) for name in ("images", "checkpoint", "n_images", "seed")}


@dataclass(frozen=True)
class ClaimRecord:
    """A checked claim, with where it was checked.

    Parameters
    ----------
    id : str
        Key of the claim in `aelib.claims.CLAIMS`.
    post : str
        Post of the source.
    text : str
        The claim in our words.
    source_figure : str
        The source's figure.
    measure : str
        What was measured, with its unit.
    criterion : str
        What counts as reproduced.
    measured : float or None
        The measured figure; None where the claim does not apply to the images, or the figure is infinite.
    standard_error : float or None
        Its standard error; 0 for an exact figure.
    verdict : str
        "reproduced", "partly reproduced", "not reproduced" or "not applicable".
    notebook : str
        Name of the notebook that checked it, without suffix.
    images : str
        Image source.
    """

    id: str
    post: str
    text: str
    source_figure: str
    measure: str
    criterion: str
    measured: float | None
    standard_error: float | None
    verdict: str
    notebook: str
    images: str

    @property
    def figure(self) -> str:
        """The measured figure with its standard error, as a reader wants it; a dash where there is none."""
        if self.measured is None:
            return "–"
        if self.standard_error:
            text = f"{self.measured:.3g} ± {self.standard_error:.2g}"
        elif self.measured == round(self.measured) and abs(self.measured) < 1e9:
            text = f"{self.measured:,.0f}".replace(",", " ")
        else:
            text = f"{self.measured:.4g}"
        return text.replace("-", "−")


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold the lock of a run's folder, which is made if need be.

    Parameters
    ----------
    folder : pathlib.Path
        The folder.

    Yields
    ------
    None
        While no other process may write to the folder.

    Raises
    ------
    ValueError
        If another process holds the lock, or there is a link in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _refuse_links(folder)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ValueError(
            f"another process is writing to {folder}: wait for it, or give this run another name (--name)."
        ) from error
    try:
        for place in (folder, *(folder / name for name in _INNER)):
            files.remove_all_leftovers(place)
        for leftover in (folder / "notebooks").glob(f"{SCRATCH}*"):  # of a run that was killed
            shutil.rmtree(leftover)
        yield
    finally:
        lock.release()


def _refuse_links(folder: Path) -> None:
    """Refuse a folder with a link in it, to wherever it leads: what a run writes stays in its folder."""
    for place, inner, found in os.walk(folder):
        for path in (Path(place, name) for name in (*inner, *found)):
            if path.is_symlink():
                raise ValueError(
                    f"{path} is a link, and what a run writes stays in its folder: put what it names in its place, "
                    "or remove it."
                )


def read_run(folder: Path) -> RunRecord | None:
    """Read what a run was asked and how far it is.

    Parameters
    ----------
    folder : pathlib.Path
        The run's folder.

    Returns
    -------
    RunRecord or None
        None if no run was begun there.

    Raises
    ------
    ValueError
        If `run.json` is damaged, or was written by another version.
    """
    path = folder / RUN_RECORD
    try:
        content = files.read_json(path)
    except FileNotFoundError:
        return None
    try:
        if (content.pop("format"), content.pop("version")) != (_FORMAT, _VERSION):
            raise ValueError("it was written by another version")
        entries = content.pop("notebooks").items()
        notebooks = {stem: files.as_record(NotebookRecord, entry) for stem, entry in entries}
        if not {notebook.state for notebook in notebooks.values()} <= set(STATES):
            raise ValueError(f"the state of a notebook is one of {', '.join(STATES)}")
        return files.as_record(RunRecord, {**content, "notebooks": notebooks})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}): remove it, or give this run another name."
        ) from error


def write_run(folder: Path, record: RunRecord) -> None:
    """Write what a run was asked and how far it is, whole or not at all.

    Parameters
    ----------
    folder : pathlib.Path
        The run's folder.
    record : RunRecord
        What to write.
    """
    files.write_json(folder / RUN_RECORD, {"format": _FORMAT, "version": _VERSION, **asdict(record)})


def write_parameters(
    folder: Path, images: str, values: Mapping[str, Mapping[str, Any]], *, shared: Mapping[str, Any]
) -> None:
    """Write all parameters of a run such that `run -f` takes them again.

    Parameters
    ----------
    folder : pathlib.Path
        The run's folder.
    images : str
        Image source.
    values : mapping
        Notebook to its parameters with their values, defaults included.
    shared : mapping
        Parameters that are the same in all notebooks.
    """
    content = {name: value for name, value in shared.items() if name != "images"}
    for stem, parameters in values.items():
        own = {name: value for name, value in parameters.items() if shared.get(name) != value}
        content |= {f"{stem}.{name}": value for name, value in own.items() if name != "images"}
    head = f"# python -m aelib run --images {images} -f parameters.yaml\n"
    files.write_text(folder / "parameters.yaml", head + yaml.safe_dump(content, sort_keys=False))


def digest(notebook: Path) -> str:
    """Hash what of a notebook is executed.

    Parameters
    ----------
    notebook : pathlib.Path
        A notebook.

    Returns
    -------
    str
        SHA-256 of its code cells: outputs and prose do not count.
    """
    cells = read_notebook(notebook).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()


def used_checkpoint(folder: Path) -> Path | None:
    """Find the network of a run, which its `checkpoint.json` names.

    Parameters
    ----------
    folder : pathlib.Path
        The run's folder.

    Returns
    -------
    pathlib.Path or None
        Folder of the checkpoint; None if the run has not got so far.

    Raises
    ------
    ValueError
        If there is another network in that place than the run used, or none.
    """
    path = folder / CHECKPOINT_REFERENCE
    if not path.exists():
        return None
    reference = files.read_json(path)
    try:
        place = (folder / reference["folder"]).resolve()
        there = files.read_json(place / CHECKPOINT_REFERENCE)["model_sha256"]
        if there != reference["model_sha256"]:
            raise ValueError(f"{place} holds another network")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} does not lead to the network of its run ({error}): it was edited, or the network was moved or "
            "trained anew. --resume writes it again."
        ) from error
    return place


def note_versions(folder: Path) -> None:
    """Add the versions in use to `versions.json`, unless they are those of the run's last start.

    Parameters
    ----------
    folder : pathlib.Path
        The run's folder.

    Raises
    ------
    ValueError
        If `versions.json` is damaged or was edited.
    """
    path = folder / "versions.json"
    starts = files.read_json(path) if path.exists() else []
    if not isinstance(starts, list):
        raise ValueError(f"{path} is no list of versions: restore it, or remove it.")
    now = versions()
    if not starts or starts[-1] != now:
        files.write_json(path, [*starts, now])


def versions() -> dict[str, Any]:
    """Collect the versions of all that a figure may depend on.

    Returns
    -------
    dict
        JSON-able: Python, machine, number of cores, Keras backend, the project's packages and its commit.
    """
    names = [
        re.split(r"[^\w.-]", line)[0]
        for line in importlib.metadata.requires("aelib") or ()
        if "extra" not in line
    ]
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "keras_backend": os.environ.get("KERAS_BACKEND", "tensorflow"),
        "packages": {name: importlib.metadata.version(name) for name in ("aelib", *sorted(names))},
        "commit": _git("rev-parse", "HEAD"),
        "changed_files": (_git("status", "--porcelain", "--untracked-files=no") or "").splitlines(),
    }


def _git(*words: str) -> str | None:
    """Return what git says of the repository, or None where there is no git or no repository."""
    try:
        said = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return said.stdout.rstrip()


def write_figures(notebook: Path, folder: Path, *, stem: str) -> tuple[Path, ...]:
    """Write the figures of an executed notebook as PNG files, in place of those that it left before.

    A figure is named after its caption, which is the next that follows it: `03_figure_3.2.png`; one without a caption
    after its cell: `03_cell_34.png`.

    Parameters
    ----------
    notebook : pathlib.Path
        The executed notebook.
    folder : pathlib.Path
        Where the figures go.
    stem : str
        Name of the notebook without suffix; what stands before its first underscore begins the files' names.

    Returns
    -------
    tuple of pathlib.Path
        The files, in their order.
    """
    number = stem.partition("_")[0]
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{number}_*.png"):
        old.unlink()
    paths = []
    for name, png in _named_figures(notebook):
        path = folder / f"{number}_{name}.png"
        with files.replacing(path) as temporary:
            temporary.write_bytes(base64.b64decode(png))
        paths.append(path)
    return tuple(paths)


def _named_figures(notebook: Path) -> list[tuple[str, str]]:
    """Pair the PNG outputs, in base64, with their names: captions follow the figures in the same order."""
    named: list[tuple[str, str]] = []
    waiting: list[tuple[str, str]] = []
    for k, cell in enumerate(read_notebook(notebook).cells):
        if cell.cell_type == "code":
            pngs = [out.data["image/png"] for out in cell.outputs if "image/png" in out.get("data", {})]
            waiting += [(f"cell_{k}" + (f"_{j}" if j else ""), png) for j, png in enumerate(pngs)]
        elif numbers := _CAPTION.findall(cell.source)[: len(waiting)]:
            captioned = waiting[len(waiting) - len(numbers) :]
            named += waiting[: -len(numbers)]
            named += [(f"figure_{n}", png) for n, (_, png) in zip(numbers, captioned, strict=True)]
            waiting = []
    return named + waiting


def gather_claims(folder: Path) -> tuple[ClaimRecord, ...]:
    """Gather the claims that the executed notebooks of a run show.

    Parameters
    ----------
    folder : pathlib.Path
        The run's folder.

    Returns
    -------
    tuple of ClaimRecord
        In the order of the notebooks; a claim that a notebook shows more than once as it shows it last.

    Raises
    ------
    ValueError
        If no run was begun in the folder.
    """
    run = read_run(folder)
    if run is None:
        raise ValueError(f"{folder} holds no run: there is no {RUN_RECORD}. python -m aelib run begins one.")
    found = {}
    for path in sorted((folder / "notebooks").glob("*.ipynb")):
        stem = path.name.removesuffix(".ipynb").removesuffix(".failed")
        for claim in shown_claims(read_notebook(path), name=stem, images=run.images):
            found[stem, claim.id] = claim
    return tuple(found.values())


def shown_claims(notebook: nbformat.NotebookNode, *, name: str, images: str) -> Iterator[ClaimRecord]:
    """Read the claims that an executed notebook shows.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        The notebook.
    name : str
        Its name, without suffix.
    images : str
        Image source.

    Yields
    ------
    ClaimRecord
        Each claim, as often as it is shown.

    Raises
    ------
    ValueError
        If what it shows are no claims.
    """
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            table = output.get("data", {}).get(MIME, [])
            for entry in table if isinstance(table, list) else ():
                if isinstance(entry, dict):
                    yield _claim({**entry, "notebook": name, "images": images}, f"{name}.ipynb")


def _claim(entry: Any, where: Path | str) -> ClaimRecord:
    try:
        claim = files.as_record(ClaimRecord, entry)
        Verdict(claim.verdict)
    except ValueError as error:
        raise ValueError(f"{where} is damaged: run again what wrote it. ({error})") from error
    return claim


def write_claims(folder: Path, records: Iterable[ClaimRecord]) -> None:
    """Write the claims of a run to its `claims.json`, a list of records.

    Parameters
    ----------
    folder : pathlib.Path
        The run's folder.
    records : iterable of ClaimRecord
        The claims.
    """
    files.write_json(folder / CLAIMS_RECORD, [asdict(record) for record in records])


def read_claims(folder: Path) -> tuple[ClaimRecord, ...]:
    """Read the claims of a run.

    Parameters
    ----------
    folder : pathlib.Path
        The run's folder.

    Returns
    -------
    tuple of ClaimRecord
        In the order of the notebooks.

    Raises
    ------
    ValueError
        If the folder holds no claims, or they are damaged.
    """
    path = folder / CLAIMS_RECORD
    try:
        entries = files.read_json(path)
    except FileNotFoundError:
        raise ValueError(f"{folder} holds no {CLAIMS_RECORD}: python -m aelib run writes it.") from None
    if not isinstance(entries, list):
        raise ValueError(f"{path} is damaged: run again what wrote it. (It holds no list.)")
    return tuple(_claim(entry, path) for entry in entries)


def claims_frame(records: Iterable[ClaimRecord]) -> pd.DataFrame:
    """Lay out the claims of a run as a table.

    Parameters
    ----------
    records : iterable of ClaimRecord
        The claims.

    Returns
    -------
    pandas.DataFrame
        One row per claim, one column per field of `ClaimRecord`.
    """
    return pd.DataFrame([asdict(record) for record in records], columns=list(ClaimRecord.__annotations__))


def claims_text(records: Iterable[ClaimRecord]) -> str:
    """Write the claims of a run as lines of text, a table and a count of verdicts.

    Parameters
    ----------
    records : iterable of ClaimRecord
        The claims.

    Returns
    -------
    str
        The text. It ends with the claims of the registry that are not among the records.
    """
    records = tuple(records)
    rows = [("claim", "source", "reproduced if", "measured", "verdict"), *map(_row, records)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    counts = Counter(record.verdict for record in records)
    total = ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict)
    checked = {record.id for record in records}
    missing = [claim.key for claim in CLAIMS if claim.key not in checked]
    rest = f"not checked in this run: {', '.join(missing)}" if missing else "all claims were checked"
    return "\n".join([*(line.rstrip() for line in lines), "", f"{len(checked)} claims: {total}", rest])


def _row(record: ClaimRecord) -> tuple[str, ...]:
    return record.id, record.source_figure, record.criterion, record.figure, record.verdict
