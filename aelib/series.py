"""The series as a whole: which notebooks there are, what they may be asked, and runs of them into a folder."""

import ast
import base64
import difflib
import io
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import papermill
import PIL.Image
import PIL.ImageChops
import PIL.ImageStat
import yaml
import zmq
from filelock import FileLock, Timeout
from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from papermill.exceptions import PapermillExecutionError
from tqdm.auto import tqdm
from traitlets import default

from aelib import files
from aelib.images import Images, open_images
from aelib.model import PRESETS, Autoencoder, AutoencoderConfig
from aelib.training import TrainingConfig, train

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
RUNS = ROOT / "runs"

IMAGE_EPOCHS = 170_000
"""Budget of a run's training, in images shown to the network: about ten minutes on two cores at 96x96."""
MOST_EPOCHS = 100
"""Limit for small image sets, where an epoch takes less time than what is written after it."""
N_IMAGES = 20_000
"""Images that a run looks at when it is not told a number: the notebooks' own default."""
SEED = 7
"""Seed of a run when it is not told one: the notebooks' own default."""

_UNSEEN = 0.5
"""Mean difference of a figure, in 255ths, that nobody sees."""
_SOURCES_WITH_A_PATH = ("photos", "celeba", "lfw", "olivetti")
_SCRATCH = ".executing-"
_WIDGET = "application/vnd.jupyter.widget-view+json"
_IN_THE_SERIES = re.compile(r"(\d\d|A\d)_\w+\.ipynb")


@dataclass(frozen=True)
class Outcome:
    """What became of one notebook.

    Parameters
    ----------
    notebook : str
        Its name without the suffix.
    path : pathlib.Path
        The executed copy; `NAME.failed.ipynb` if a cell raised.
    seconds : float
        Duration.
    error : str or None
        What went wrong, or None.
    """

    notebook: str
    path: Path
    seconds: float
    error: str | None


@dataclass(frozen=True)
class Run:
    """A run of the series.

    Parameters
    ----------
    folder : pathlib.Path
        Where its results are.
    outcomes : tuple of Outcome
        One per notebook, in the order of the series.
    """

    folder: Path
    outcomes: tuple[Outcome, ...]

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """The notebooks that went wrong."""
        return tuple(outcome for outcome in self.outcomes if outcome.error is not None)


def find_notebooks(only: Sequence[str] = (), *, folder: Path = NOTEBOOKS) -> tuple[Path, ...]:
    """List the notebooks of the series in their order.

    Parameters
    ----------
    only : sequence of str
        Beginnings of names, such as "01" or "A1"; empty for all notebooks.
    folder : pathlib.Path
        Where they are. Notebooks whose names do not begin with a number such as 01 or A1 do not belong to the series.

    Returns
    -------
    tuple of pathlib.Path
        Numbered notebooks first, then the appendices.

    Raises
    ------
    ValueError
        If there is no notebook, or none for an entry of `only`.
    """
    every = sorted(path for path in folder.glob("*.ipynb") if _IN_THE_SERIES.fullmatch(path.name))
    if not every:
        raise ValueError(f"there is no notebook such as 01_name.ipynb in {folder}.")
    for start in only:
        if not any(path.name.startswith(start) for path in every):
            raise ValueError(
                f"no notebook begins with {start!r}; there are {', '.join(p.stem for p in every)}."
            )
    return tuple(path for path in every if not only or path.name.startswith(tuple(only)))


def declared_parameters(notebook: Path) -> dict[str, Any]:
    """Read which parameters a notebook has.

    Parameters
    ----------
    notebook : pathlib.Path
        A notebook with one cell tagged `parameters`, which holds literals only.

    Returns
    -------
    dict
        Name to default value, in the order of the cell.

    Raises
    ------
    ValueError
        If the file is no notebook, has no such cell, or the cell holds more than literals.
    """
    try:
        cells = nbformat.read(notebook, as_version=4).cells
    except (nbformat.reader.NotJSONError, nbformat.ValidationError) as error:
        raise ValueError(f"{notebook} is not a readable notebook: restore it. ({error})") from error
    tagged = [cell.source for cell in cells if "parameters" in cell.metadata.get("tags", ())]
    if len(tagged) != 1:
        raise ValueError(f"{notebook} has {len(tagged)} cells tagged 'parameters'; it needs exactly one.")
    try:
        return dict(_literal_assignment(node) for node in ast.parse(tagged[0]).body)
    except (ValueError, SyntaxError) as error:
        raise ValueError(
            f"the parameters cell of {notebook} may only hold lines such as n: int = 3."
        ) from error


def _literal_assignment(node: ast.stmt) -> tuple[str, Any]:
    targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
    value = getattr(node, "value", None)
    if len(targets) != 1 or not isinstance(targets[0], ast.Name) or value is None:
        raise ValueError("not an assignment to one name")
    return targets[0].id, ast.literal_eval(value)


def read_parameters(path: Path) -> dict[str, Any]:
    """Read a file of parameters, such as notebooks/params/full.yaml.

    Parameters
    ----------
    path : pathlib.Path
        A YAML file: one `name: value` per line.

    Returns
    -------
    dict
        Name to value.

    Raises
    ------
    ValueError
        If the file is not such a file.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise ValueError(f"{path} must hold one 'name: value' per line.")
    return content


def absolute_source(source: str) -> str:
    """Make the path in an image source absolute, so that it holds in any working directory.

    Parameters
    ----------
    source : str
        What `open_images` takes, for example "faces" or "photos:holiday/pictures.zip".

    Returns
    -------
    str
        The same source.

    Examples
    --------
    >>> absolute_source("faces")
    'faces'
    >>> absolute_source("photos:/data/pictures.zip")
    'photos:/data/pictures.zip'
    """
    kind, colon, path = source.partition(":")
    if kind not in _SOURCES_WITH_A_PATH or not path:
        return source
    return f"{kind}{colon}{Path(path).expanduser().resolve()}"


def run_name(source: str) -> str:
    """Name the run of an image source.

    Parameters
    ----------
    source : str
        What `open_images` takes.

    Returns
    -------
    str
        The kind of the source and the last part of its path.

    Examples
    --------
    >>> run_name("faces"), run_name("photos:/data/my pictures.zip")
    ('faces', 'photos-my-pictures')
    """
    kind, _, path = source.partition(":")
    stem = re.sub(r"[^\w.]+", "-", Path(path).stem).strip("-.") if path else ""
    return f"{kind}-{stem}" if stem else kind


def preset(name: str, *, z_dim: int = 256, loss: str = "mse") -> AutoencoderConfig:
    """Look up a preset and set what is chosen most often.

    Parameters
    ----------
    name : str
        A key of `aelib.PRESETS`.
    z_dim : int
        Dimension of the latent space.
    loss : {"mse", "bce"}
        Loss per pixel and colour.

    Returns
    -------
    AutoencoderConfig
        The architecture.

    Raises
    ------
    ValueError
        If there is no such preset or a setting is out of range.

    Examples
    --------
    >>> preset("post1", z_dim=64).filters
    (32, 64, 128, 256)
    """
    if name not in PRESETS:
        raise ValueError(f"there is no preset {name!r}; choose one of {', '.join(PRESETS)}.")
    return replace(PRESETS[name], z_dim=z_dim, loss=loss)


def epochs_within(budget: int, *, n_images: int) -> int:
    """Count the epochs that a budget of shown images pays for.

    Parameters
    ----------
    budget : int
        Number of images that the network is to see, repetitions included.
    n_images : int
        Number of training images.

    Returns
    -------
    int
        At least 1, at most 100.

    Examples
    --------
    >>> epochs_within(120_000, n_images=7_296), epochs_within(120_000, n_images=10**6)
    (16, 1)
    """
    return min(max(1, round(budget / n_images)), MOST_EPOCHS)


def train_for_run(images: Images, folder: Path, *, seed: int) -> Autoencoder:
    """Train post III's network on the training part of a run's images, within the run's budget.

    Parameters
    ----------
    images : Images
        All images of the run.
    folder : pathlib.Path
        Where the checkpoint goes. A training that was stopped goes on from there; a finished one is only read.
    seed : int
        Seed of the split, the initial weights and the order of the images.

    Returns
    -------
    Autoencoder
        The trained network.
    """
    parts = images.split(seed=seed)
    settings = TrainingConfig(
        epochs=epochs_within(IMAGE_EPOCHS, n_images=len(parts.train)),
        batch_size=64,
        learning_rate=1e-3,
        schedule="cosine",
        flips=True,
        seed=seed,
    )
    config = replace(PRESETS["post3"], image_size=images.size)
    return train(parts.train, config, training=settings, validation=parts.validation, folder=folder)


def run_series(
    source: str = "faces",
    *,
    name: str = "",
    only: Sequence[str] = (),
    profile: Path | None = None,
    parameters: Mapping[str, Any] | None = None,
    notebooks: Path = NOTEBOOKS,
    runs: Path = RUNS,
) -> Run:
    """Execute notebooks into a folder; on images other than the embedded faces, train on them first.

    Each notebook runs in a fresh kernel of this interpreter, in its own folder, as it would in JupyterLab. It is
    handed those parameters that it has. One that fails is kept as far as it came; the others go on.

    Parameters
    ----------
    source : str
        Image source, as for `open_images`.
    name : str
        Name of the run's folder; empty for one made from `source`.
    only : sequence of str
        Beginnings of notebook names; empty for all.
    profile : pathlib.Path or None
        File of parameters for the whole series.
    parameters : mapping or None
        Name to value; they win over the file's. A text is read as a value of the type that the notebook's default has.
    notebooks, runs : pathlib.Path
        Where the notebooks are and where the run's folder goes.

    Returns
    -------
    Run
        The folder and what became of each notebook.

    Raises
    ------
    ValueError
        If the source, a notebook, a parameter or the name is wrong, or if another process is writing to the folder.
    """
    declared = {path: declared_parameters(path) for path in find_notebooks(only, folder=notebooks)}
    given = _given(profile, parameters or {}, chosen=declared, folder=notebooks)
    source = absolute_source(source)
    folder = runs / _checked_name(name or run_name(source))
    images = None if source == "faces" else _open_for_run(source, given)
    with _only_writer(folder):
        shared = _shared_parameters(source, images, folder / "checkpoint", given)
        outcomes = [
            _execute(path, folder / "notebooks", _typed(shared, known, path.name))
            for path, known in declared.items()
        ]
    return Run(folder, tuple(outcomes))


def store_outputs(only: Sequence[str] = (), *, folder: Path = NOTEBOOKS) -> tuple[Path, ...]:
    """Execute notebooks with their own parameters and store them, outputs included, in their place.

    Progress bars are not stored: without a kernel they are dead. A notebook that fails stays as it was.

    Parameters
    ----------
    only : sequence of str
        Beginnings of notebook names; empty for all.
    folder : pathlib.Path
        Where the notebooks are.

    Returns
    -------
    tuple of pathlib.Path
        What was stored.

    Raises
    ------
    ValueError
        If a cell raises or writes to the standard error; the message names the notebook.
    """
    chosen = find_notebooks(only, folder=folder)
    for path in tqdm(chosen, desc="storing", unit="notebook", disable=None):
        notebook = nbformat.read(path, as_version=4)
        client = nbclient.NotebookClient(
            notebook,
            timeout=None,
            kernel_manager_class=_Kernel,
            resources={"metadata": {"path": str(folder)}},
        )
        try:
            client.execute()
        except (nbclient.exceptions.CellExecutionError, nbclient.exceptions.DeadKernelError) as error:
            raise ValueError(f"{path.name} failed and stays as it was: {error}") from error
        files.write_text(path, nbformat.writes(_tidied(notebook, path.name)) + "\n")
    return chosen


def _given(
    profile: Path | None,
    parameters: Mapping[str, Any],
    *,
    chosen: Mapping[Path, Mapping[str, Any]],
    folder: Path,
) -> dict[str, Any]:
    """Merge the parameters of a run, after a look at their names.

    A file is written for the whole series; a parameter given by hand must mean something to a chosen notebook.
    """
    from_file = read_parameters(profile) if profile else {}
    every = [declared_parameters(path) for path in find_notebooks(folder=folder)] if from_file else []
    _check_names(from_file, every, f"the notebooks in {folder}")
    _check_names(parameters, chosen.values(), "the chosen notebooks")
    given = from_file | dict(parameters)
    if "images" in given:
        raise ValueError("the images of a run are its source (--images), not a parameter.")
    return given


def _check_names(given: Iterable[str], declared: Iterable[Mapping[str, Any]], where: str) -> None:
    known = {name for parameters in declared for name in parameters}
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"{where} have no parameter {name!r}; there are {', '.join(sorted(known))}.{hint}"
            )


def _typed(given: Mapping[str, Any], declared: Mapping[str, Any], notebook: str) -> dict[str, Any]:
    """Pick what a notebook declares, each value with the type of the notebook's default."""
    return {
        name: _as_type_of(declared[name], given[name], f"{notebook}: {name}")
        for name in declared
        if name in given
    }


def _as_type_of(default_value: Any, value: Any, what: str) -> Any:
    wanted = type(default_value)
    if isinstance(value, str) and wanted is not str:
        value = _literal(value)
    if wanted is float and type(value) is int:
        value = float(value)
    if wanted is not type(None) and type(value) is not wanted:
        raise ValueError(f"{what} must be of type {wanted.__name__}, as {default_value!r} is, not {value!r}.")
    return value


def _literal(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _checked_name(name: str) -> str:
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(f"a run's name consists of letters, digits, '.', '_' and '-', unlike {name!r}.")
    return name


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            for leftover in (folder / "notebooks").glob(f"{_SCRATCH}*"):  # of a run that was killed
                shutil.rmtree(leftover)
            yield
    except Timeout as error:
        raise ValueError(
            f"another process is writing to {folder}: wait for it, or give this run a name."
        ) from error


def _open_for_run(source: str, given: Mapping[str, Any]) -> Images:
    """Open as many images as were asked for; if no number was, the notebooks' number, or all where there are fewer."""
    seed = _as_type_of(SEED, given.get("seed", SEED), "seed")
    if "n_images" in given:
        return open_images(source, n=_as_type_of(N_IMAGES, given["n_images"], "n_images"), seed=seed)
    try:
        return open_images(source, n=N_IMAGES, seed=seed)
    except ValueError:  # too few, or what the next line says again
        return open_images(source, seed=seed)


def _shared_parameters(
    source: str, images: Images | None, checkpoint: Path, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Fix what all notebooks of a run share; train on the images, unless a checkpoint for them was given."""
    shared = dict(given, images=source)
    if given.get("checkpoint"):
        shared["checkpoint"] = str(Path(given["checkpoint"]).expanduser().resolve())
    if images is None:
        return shared
    # The notebooks must open the very images that are split for the training, or "held out" would mean nothing.
    shared |= {"n_images": len(images), "seed": images.seed}
    if not given.get("checkpoint"):
        train_for_run(images, checkpoint, seed=images.seed)
        shared["checkpoint"] = str(checkpoint.resolve())
    return shared


def _execute(notebook: Path, folder: Path, values: Mapping[str, Any]) -> Outcome:
    """Execute one notebook; its copy appears in the folder when it is whole, under a name that tells how it ended."""
    started = time.perf_counter()
    done, failed = folder / notebook.name, folder / f"{notebook.stem}.failed.ipynb"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=folder) as scratch:
        copy = Path(scratch) / notebook.name
        error = _run_papermill(notebook, copy, values)
        target, stale = (failed, done) if error else (done, failed)
        copy.replace(target)
    stale.unlink(missing_ok=True)
    seconds = time.perf_counter() - started
    tqdm.write(f"{notebook.stem}: {f'FAILED, {error}' if error else 'done'} ({seconds:.0f} s)")
    return Outcome(notebook.stem, target, seconds, error)


def _run_papermill(notebook: Path, copy: Path, values: Mapping[str, Any]) -> str | None:
    """Return what went wrong, or None."""
    try:
        papermill.execute_notebook(
            # papermill takes braces in a path for a template's.
            *(str(path).replace("{", "{{").replace("}", "}}") for path in (notebook, copy)),
            parameters=dict(values),
            kernel_name="python3",
            kernel_manager_class=_Kernel,
            cwd=str(notebook.parent),
            progress_bar={"desc": notebook.stem, "leave": False, "disable": None},
        )
    except PapermillExecutionError as error:
        return f"{error.ename}: {error.evalue}"
    except nbclient.exceptions.DeadKernelError:
        return "its kernel died: perhaps the memory was not enough"
    return None


def _tidied(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """Leave out what would differ at every execution or is dead without a kernel."""
    notebook.metadata = nbformat.from_dict({key: notebook.metadata[key] for key in ("kernelspec",)})
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _WIDGET not in output.get("data", {})]
            if any(output.get("name") == "stderr" for output in cell.outputs):
                raise ValueError(
                    f"{name} wrote to the standard error and stays as it was, in this cell:\n{cell.source}"
                )
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    output.data["image/png"] = _leaner(output.data["image/png"])
    return notebook


def _leaner(figure: str) -> str:
    """Return a base64 PNG with a palette of 256 colours, a third of the size, unless that shows: photographs stay."""
    picture = PIL.Image.open(io.BytesIO(base64.b64decode(figure))).convert("RGB")
    reduced = picture.quantize(256, dither=PIL.Image.Dither.NONE)
    off = PIL.ImageChops.difference(picture, reduced.convert("RGB"))
    if sum(PIL.ImageStat.Stat(off).mean) > 3 * _UNSEEN:
        return figure
    written = io.BytesIO()
    reduced.save(written, "PNG", optimize=True)
    return base64.b64encode(written.getvalue()).decode()


class _ThisPython(KernelSpecManager):
    """Whatever kernels the user has installed: the one of the interpreter that runs this."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:  # noqa: ARG002, their signature
        # To be shut down, a kernel is interrupted; at times it logs that as an error, below level 50.
        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict(["--log-level=50"]))


class _Kernel(AsyncKernelManager):
    """A kernel of this interpreter. Encrypted where ZeroMQ can: the kernel warns of plain text otherwise."""

    @default("kernel_spec_manager")
    def _this_python(self) -> KernelSpecManager:
        return _ThisPython()

    @default("transport_encryption")
    def _where_possible(self) -> str:
        return "auto" if zmq.has("curve") else "disabled"
