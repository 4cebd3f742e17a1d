"""Runs of the series: parameters are checked, heavy steps done once, notebooks executed into a folder, and resumed."""

import contextlib
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from aelib import files
from aelib import record as records
from aelib.parameters import assign, declared_parameters, read_profile
from aelib.record import RUNS, NotebookRecord, RunRecord
from aelib.series import NOTEBOOKS, execute, find_notebooks, withdraw

if TYPE_CHECKING:  # Keras takes seconds: only where there is something to train or encode
    from aelib.images import Images

N_IMAGES = 20_000
"""Images of a run whose notebooks do not say how many: the number in the notebooks of the series."""
SEED = 7
"""Seed of a run whose notebooks do not name one: that of the notebooks of the series."""

_SOURCES_WITH_A_PATH = ("photos", "celeba", "lfw", "olivetti")
_SHARED = ("images", "checkpoint", "n_images", "seed")


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
        One per notebook that was executed, in the order of the series.
    """

    folder: Path
    outcomes: tuple[Outcome, ...]

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """The notebooks that went wrong."""
        return tuple(outcome for outcome in self.outcomes if outcome.error is not None)


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
    return f"{kind}-{_word(Path(path).stem)}".strip("-") if path else kind


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

    Parameters are checked before anything starts. The images are opened, trained on and encoded once, before the
    notebooks. Each notebook runs in a fresh kernel of this interpreter, in its own folder, as it would in JupyterLab.
    One that fails is kept as far as it came; the others, which do not need it, go on.

    Parameters
    ----------
    source : str
        Image source, as for `open_images`.
    name : str
        Name of the run's folder; empty for one made from `source`, the profile, and what else tells this run apart.
    only : sequence of str
        Beginnings of notebook names; empty for all.
    profile : pathlib.Path or None
        File of parameters for the whole series.
    parameters : mapping or None
        `name` or `NN.name` to value; they win over the file's. A text is read as a value of the parameter's type.
    notebooks, runs : pathlib.Path
        Where the notebooks are and where the run's folder goes.

    Returns
    -------
    Run
        The folder and what became of each notebook.

    Raises
    ------
    ValueError
        If the source, a notebook, a parameter or the name is wrong, if another process is writing to the folder, or
        if the folder holds a run on other images, of another seed or with another network.
    """
    every, chosen = find_notebooks(folder=notebooks), find_notebooks(only, folder=notebooks)
    from_file = (
        assign(_without_images(read_profile(profile)), every, where="the notebooks") if profile else {}
    )
    by_hand = assign(_without_images(parameters or {}), chosen)
    in_file = {path.stem: from_file.get(path.stem, {}) for path in chosen}
    given = {stem: values | by_hand[stem] for stem, values in in_file.items()}
    source = absolute_source(source)
    asked, usual = (_asked(source, values, chosen) for values in (given, in_file))
    folder = runs / _checked_name(name or _default_name(asked, usual, profile))
    return _carry_out(asked, chosen, folder)


def resume_series(name: str = "", *, source: str = "", notebooks: Path = NOTEBOOKS, runs: Path = RUNS) -> Run:
    """Go on with a run that was stopped or killed, from its first notebook that is not done.

    Notebooks that failed, or whose code has changed since, are executed again. The parameters are the run's.

    Parameters
    ----------
    name : str
        Name of the run's folder; empty for the latest run that is not finished.
    source : str
        Where no name is given: only runs on these images count; empty for any.
    notebooks, runs : pathlib.Path
        Where the notebooks and the runs are.

    Returns
    -------
    Run
        The folder and what became of the notebooks that were executed now.

    Raises
    ------
    ValueError
        If there is no such run, or another process is writing to its folder.
    """
    folder = runs / _checked_name(name) if name else _latest_unfinished(runs, absolute_source(source))
    found = records.read_run(folder)
    if found is None:
        raise ValueError(f"{folder} holds no run to resume: leave out --resume to begin one.")
    paths = {path.stem: path for path in find_notebooks(folder=notebooks)}
    if gone := [stem for stem in found.notebooks if stem not in paths]:
        raise ValueError(f"{folder} was to execute {', '.join(gone)}, not in {notebooks} any more.")
    todo = [paths[stem] for stem in found.notebooks if not _is_done(found, paths[stem], folder)]
    tqdm.write(
        f"resuming {folder.name}: {len(found.notebooks) - len(todo)} of {len(found.notebooks)} are done"
    )
    if not todo:
        return Run(folder, ())
    # Checked again: a notebook may have changed since.
    given = {path.stem: assign(found.notebooks[path.stem].given, [path])[path.stem] for path in todo}
    waiting = {stem: NotebookRecord(values) for stem, values in given.items()}
    return _carry_out(replace(found, notebooks=waiting), todo, folder)


def _without_images(given: Mapping[str, Any]) -> Mapping[str, Any]:
    for key in given:
        if key.rpartition(".")[2] == "images":
            raise ValueError("the images of a run are its source (--images), not a parameter.")
    return given


def _asked(source: str, given: Mapping[str, Mapping[str, Any]], chosen: Sequence[Path]) -> RunRecord:
    """Describe a run that has not begun. What most notebooks use is what they share."""
    used = Counter(_shared_values(path, given[path.stem]) for path in chosen if _shares(path))
    if len(used) > 1 and source != "faces":
        raise ValueError(
            "checkpoint, n_images and seed decide which images are held out from the training: give them for all "
            "notebooks (-p n_images 5000), not for one."
        )
    checkpoint, n_images, seed = used.most_common(1)[0][0] if used else ("", N_IMAGES, SEED)
    given = {stem: _with_absolute_checkpoint(values) for stem, values in given.items()}
    waiting = {stem: NotebookRecord(dict(values)) for stem, values in given.items()}
    return RunRecord(source, checkpoint, n_images, seed, waiting)


def _shares(notebook: Path) -> bool:
    """Whether a notebook takes images and a network as those of the series do."""
    return set(_SHARED) <= set(declared_parameters(notebook))


def _shared_values(notebook: Path, given: Mapping[str, Any]) -> tuple[str, int, int]:
    declared = declared_parameters(notebook)
    values = _with_absolute_checkpoint({name: given.get(name, declared[name].default) for name in _SHARED})
    return values["checkpoint"], values["n_images"], values["seed"]


def _with_absolute_checkpoint(values: Mapping[str, Any]) -> dict[str, Any]:
    checkpoint = values.get("checkpoint")
    return (
        {**values, "checkpoint": str(Path(checkpoint).expanduser().resolve())} if checkpoint else dict(values)
    )


def _default_name(asked: RunRecord, usual: RunRecord, profile: Path | None) -> str:
    """Name a run after its images, its profile, and what it shares that is not as usual with these."""
    parts = [run_name(asked.images), profile.stem if profile else ""]
    parts += [f"n{asked.n_images}"] if asked.n_images != usual.n_images else []
    parts += [f"seed{asked.seed}"] if asked.seed != usual.seed else []
    parts += [Path(asked.checkpoint).name] if asked.checkpoint != usual.checkpoint else []
    return "-".join(word for part in parts if (word := _word(part)))


def _word(text: str) -> str:
    return re.sub(r"[^\w.]+", "-", text).strip("-.")


def _checked_name(name: str) -> str:
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(f"a run's name consists of letters, digits, '.', '_' and '-', unlike {name!r}.")
    return name


def _latest_unfinished(runs: Path, source: str) -> Path:
    paths = sorted(runs.glob(f"*/{records.RUN_RECORD}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in paths:
        with contextlib.suppress(ValueError):  # of another version
            found = records.read_run(path.parent)
            if found and found.unfinished and source in ("", found.images):
                return path.parent
    what = f"run on {source}" if source else "run"
    raise ValueError(f"there is no unfinished {what} in {runs}: name the one that is meant (--name).")


def _is_done(run: RunRecord, notebook: Path, folder: Path) -> bool:
    known = run.notebooks[notebook.stem]
    there = (folder / "notebooks" / notebook.name).is_file()
    return known.state == "done" and there and known.digest == records.digest(notebook)


def _carry_out(asked: RunRecord, notebooks: Sequence[Path], folder: Path) -> Run:
    # Before the lock and before anything is written: a wrong source or network leaves nothing behind.
    images = None if asked.images == "faces" else _open(asked)
    if images is not None:
        _check_number(len(images), notebooks)
    if asked.checkpoint:
        from aelib import steps

        steps.load_checkpoint(asked.checkpoint)
    with records.only_writer(folder):
        run = _joined(asked, folder)
        records.write_run(folder, run)
        records.note_versions(folder)
        shared = _share(run, notebooks, folder, images)
        _write_parameters(run, notebooks, folder, shared)
        _copy_pages(notebooks[0].parent, folder / "notebooks")
        outcomes = tuple(_execute_all(run, notebooks, folder, shared))
        records.write_claims(folder, records.gather_claims(folder))
    return Run(folder, outcomes)


def _open(asked: RunRecord) -> "Images":
    from aelib import steps

    named = any("n_images" in notebook.given for notebook in asked.notebooks.values())
    return steps.open_for_run(asked.images, n_images=asked.n_images, seed=asked.seed, at_most=not named)


def _check_number(n: int, notebooks: Sequence[Path]) -> None:
    """Refuse a number of images that was found, not given, if it is too small for a notebook."""
    for declared in map(declared_parameters, notebooks):
        if "n_images" in declared:
            declared["n_images"].checked(n)


def _joined(asked: RunRecord, folder: Path) -> RunRecord:
    """Join a run with what its folder holds of it already; refuse if that is another run."""
    found = records.read_run(folder)
    if found is None:
        return asked
    there, here = found.shared(), asked.shared()
    if other := [name for name in there if there[name] != here[name]]:
        differences = ", ".join(f"{name} {there[name]!r}, not {here[name]!r}" for name in other)
        raise ValueError(
            f"{folder} holds a run with {differences}: give this one a name of its own (--name), or remove that folder."
        )
    return replace(found, notebooks=dict(sorted({**found.notebooks, **asked.notebooks}.items())))


def _share(
    run: RunRecord, notebooks: Sequence[Path], folder: Path, images: "Images | None"
) -> dict[str, Any]:
    """Do the heavy steps; return what the notebooks get from them."""
    sharing = any(_shares(path) for path in notebooks)
    if images is None and not sharing:
        return {"images": run.images}
    from aelib import steps

    shared = run.shared()
    opened = _open(run) if images is None else images
    if any(notebook.state == "done" for notebook in run.notebooks.values()):  # and is not executed again
        steps.check_data(opened, folder, source=run.images)
    steps.write_data(opened, folder, source=run.images)
    if images is not None:
        # The notebooks must open the very images that are split for the training, or "held out" would mean nothing.
        shared |= {"n_images": len(images), "seed": images.seed}
        if not run.checkpoint:
            steps.train_for_run(images, folder / "checkpoint", seed=images.seed)
            shared["checkpoint"] = str((folder / "checkpoint").resolve())
    if sharing:
        steps.share_points(opened, shared["checkpoint"], folder)
    return shared


def _values(run: RunRecord, notebook: Path, shared: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a notebook is handed. On embedded faces it may differ from the others in what they share."""
    own = run.notebooks[notebook.stem].given
    values = {**shared, **own} if run.images == "faces" else {**own, **shared}
    return {name: values[name] for name in declared_parameters(notebook) if name in values}


def _write_parameters(
    run: RunRecord, notebooks: Sequence[Path], folder: Path, shared: Mapping[str, Any]
) -> None:
    """Write down the parameters of all notebooks of the run that are at hand, defaults included."""
    paths = {path.stem: path for path in find_notebooks(folder=notebooks[0].parent)}
    values = {}
    for stem in run.notebooks.keys() & paths.keys():
        defaults = {name: p.default for name, p in declared_parameters(paths[stem]).items()}
        values[stem] = defaults | _values(run, paths[stem], shared)
    records.write_parameters(folder, run.images, dict(sorted(values.items())), shared=shared)


def _copy_pages(source: Path, folder: Path) -> None:
    """Put the list of the notebooks, glossary and notation where the executed notebooks link to them."""
    folder.mkdir(exist_ok=True)
    for page in source.glob("*.md"):
        files.write_text(folder / page.name, page.read_text(encoding="utf-8"))


def _execute_all(
    run: RunRecord, notebooks: Sequence[Path], folder: Path, shared: Mapping[str, Any]
) -> Iterator[Outcome]:
    for k, path in enumerate(notebooks, 1):
        label = f"{k}/{len(notebooks)} {path.stem}"
        digest, started = records.digest(path), time.perf_counter()
        begun = replace(run.notebooks[path.stem], state="running", digest=digest, error=None)
        run = _noted(run, path.stem, begun, folder)
        error = execute(path, folder / "notebooks" / path.name, _values(run, path, shared), label=label)
        if not error and (error := _changed(run, folder)):
            withdraw(folder / "notebooks" / path.name, error)
        seconds = round(time.perf_counter() - started, 1)
        tqdm.write(f"{label}: {f'FAILED, {error}' if error else 'done'} ({seconds:.0f} s)")
        executed = folder / "notebooks" / f"{path.stem}{'.failed' if error else ''}.ipynb"
        records.write_figures(executed, folder / "figures", stem=path.stem)
        ended = replace(
            begun,
            state="failed" if error else "done",
            seconds=seconds,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            error=error,
        )
        # First the claims: a run that is killed here must not be done without them.
        records.write_claims(folder, records.gather_claims(folder))
        run = _noted(run, path.stem, ended, folder)
        yield Outcome(path.stem, executed, seconds, error)


def _changed(run: RunRecord, folder: Path) -> str | None:
    """Say why a notebook may just have opened other images than the run was begun on, or None."""
    if run.images == "faces":
        return None
    from aelib import steps

    try:
        steps.check_data(_open(run), folder, source=run.images)
    except (ValueError, OSError) as error:
        return str(error)
    return None


def _noted(run: RunRecord, stem: str, notebook: NotebookRecord, folder: Path) -> RunRecord:
    run = replace(run, notebooks={**run.notebooks, stem: notebook})
    records.write_run(folder, run)
    return run
