"""Sweeps: the series over a grid of networks, images and parameters, in parallel, and all its claims in one table.

In the folder of a sweep are

``sweep.json``
    What it was asked.
``networks/NAME/``
    A checkpoint for each network that the grid names, trained once, with its log.
``points/NAME/``
    A run for each point of the grid, with its log.
``claims.csv``, ``figures/``
    The claims of all points, one row each, and a figure for each claim.
"""

import contextlib
import dataclasses
import itertools
import logging
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from tqdm.auto import tqdm

from aelib import claims, files, parameters, plots, record, runs, series
from aelib.cache import n_cores

if TYPE_CHECKING:  # Keras takes seconds, and so does Dask: only where a sweep is carried out
    from distributed import Client, Future

    from aelib.model import AutoencoderConfig
    from aelib.training import TrainingConfig

SWEEP_RECORD = "sweep.json"
TABLE = "claims.csv"
KEEP = ("notebooks", "claims")
"""What a point may keep: all of its run, or the claims and the description of the run only."""

_FORMAT = "aelib sweep"
_VERSION = 1
_IN_A_NETWORK = ("filters", "kernel_size", "strides", "activation", "z_dim", "loss", "batch_norm")
_IN_A_TRAINING = ("epochs", "batch_size", "learning_rate", "schedule", "flips", "early_stopping", "precision")
_OF_ITS_OWN = ("images", "seed", "n_train")
_TUPLES = ("filters", "kernel_size", "strides")
_OTHER_FACES = 2**31  # from the seed of the faces that are analysed to that of those a network is trained on
_MOST_SEEDS = 2**32
_NOT_KEPT = ("notebooks", "figures", "z.npy", "z.json")


@dataclass(frozen=True)
class Point:
    """One point of a grid.

    Parameters
    ----------
    name : str
        Its folder below `points`, made from what varies over the grid.
    values : dict
        Axis of the grid to value.
    network : str or None
        Folder below `networks`; None for the shipped checkpoint.
    """

    name: str
    values: dict[str, Any]
    network: str | None

    @property
    def images(self) -> str:
        """Image source."""
        return str(self.values.get("images", "faces"))

    @property
    def seed(self) -> int:
        """Seed of the images, the training and all that is random."""
        return int(self.values.get("seed", runs.SEED))

    @property
    def parameters(self) -> dict[str, Any]:
        """What the notebooks are given, by name."""
        known = (*_IN_A_NETWORK, *_IN_A_TRAINING, *_OF_ITS_OWN)
        return {name: value for name, value in self.values.items() if name not in known}

    def config(self) -> "AutoencoderConfig":
        """Return the architecture: post III's, but for what the grid says."""
        from aelib.model import PRESETS

        return dataclasses.replace(PRESETS["post3"], **self._chosen(_IN_A_NETWORK))

    def training(self, n_images: int) -> "TrainingConfig":
        """Return how the network is trained: as for a run on photographs, but for what the grid says.

        Parameters
        ----------
        n_images : int
            Number of training images.

        Returns
        -------
        TrainingConfig
            The settings.
        """
        from aelib import steps

        usual = steps.usual_training(n_images, seed=self.seed)
        return dataclasses.replace(usual, **self._chosen(_IN_A_TRAINING))

    def _chosen(self, names: Sequence[str]) -> dict[str, Any]:
        return {name: self.values[name] for name in names if name in self.values}


@dataclass(frozen=True)
class Sweep:
    """What became of a sweep.

    Parameters
    ----------
    folder : pathlib.Path
        Where its results are.
    table : pandas.DataFrame
        The claims of all points, as `sweep_table` returns them.
    failed : dict of str to str
        Point to what went wrong with it.
    """

    folder: Path
    table: pd.DataFrame
    failed: dict[str, str]


def read_grid(path: Path) -> dict[str, Any]:
    """Read what a sweep is to do from a YAML file.

    Parameters
    ----------
    path : pathlib.Path
        A file with the entries `grid`, a mapping of axis to a value or a list of values, and, if need be, `notebooks`
        and `keep`, as for `run_sweep`.

    Returns
    -------
    dict
        Arguments of `run_sweep`.

    Raises
    ------
    ValueError
        If the file is not such a mapping.
    """
    try:
        content = files.read_yaml(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    known = {"grid": dict, "notebooks": list, "keep": str}
    grid = content.get("grid") if isinstance(content, dict) else None
    if not isinstance(grid, dict) or not all(isinstance(axis, str) for axis in grid):
        raise ValueError(
            f"{path} must have an entry `grid`, with a line `axis: [value, value]` for each axis."
        )
    for name, value in content.items():
        if name not in known or not isinstance(value, known[name]):
            kinds = ", ".join(f"{key} (a {kind.__name__})" for key, kind in known.items())
            raise ValueError(f"{path}: {name} is not one of {kinds}.")
    return content


def plan(
    grid: Mapping[str, Any], *, only: Sequence[str] = (), notebooks: Path = series.NOTEBOOKS
) -> tuple[Point, ...]:
    """Check a grid and list its points, before anything starts.

    Parameters
    ----------
    grid : mapping
        Axis to value, or to a list of values. An axis is `images`, `seed`, `n_train` (embedded faces to train on), a
        field of `AutoencoderConfig` or of `TrainingConfig`, or a parameter of the notebooks, `name` or `NN.name`. For
        filters, kernel_size and strides, a list of numbers is one value.
    only : sequence of str
        Beginnings of notebook names; empty for all.
    notebooks : pathlib.Path
        Where the notebooks are.

    Returns
    -------
    tuple of Point
        All combinations; the last axis varies fastest.

    Raises
    ------
    ValueError
        If an axis is unknown, has no value or one twice, or a value is of the wrong type or out of range.

    Examples
    --------
    >>> [point.name for point in plan({"z_dim": [64, 256], "seed": 1})]
    ['z_dim-64', 'z_dim-256']
    """
    axes = {name: _values(name, given) for name, given in grid.items()}
    varying = [name for name, values in axes.items() if len(values) > 1]
    chosen = series.find_notebooks(only, folder=notebooks)
    points = tuple(
        _point(dict(zip(axes, combination, strict=True)), varying)
        for combination in itertools.product(*axes.values())
    )
    for point in points:
        _check(point, chosen)
    if len({point.name for point in points}) < len(points):
        raise ValueError(
            "two points have the same name: values of one axis must differ in letters or digits."
        )
    return points


def _values(name: str, given: Any) -> list[Any]:
    whole = name in _TUPLES and isinstance(given, list) and all(isinstance(entry, int) for entry in given)
    values = given if isinstance(given, list) and not whole else [given]
    read = [parameters.literal(value) if isinstance(value, str) else value for value in values]
    read = [tuple(value) if isinstance(value, list) else value for value in read]
    if not read or len(set(map(repr, read))) < len(read):
        raise ValueError(f"{name} needs one value or more, all different, not {given!r}.")
    return read


def _point(values: dict[str, Any], varying: Sequence[str]) -> Point:
    of_networks = {*_IN_A_NETWORK, *_IN_A_TRAINING, *_OF_ITS_OWN}
    trained = values.get("images", "faces") != "faces" or not of_networks.isdisjoint(values)
    network = _name({name: values[name] for name in varying if name in of_networks}) or "network"
    return Point(
        _name({name: values[name] for name in varying}) or "point", values, network if trained else None
    )


def _name(values: Mapping[str, Any]) -> str:
    said = {name: runs.run_name(value) if name == "images" else value for name, value in values.items()}
    return "_".join(re.sub(r"[^\w.]+", "-", f"{axis}-{value}").strip("-.") for axis, value in said.items())


def _check(point: Point, notebooks: Sequence[Path]) -> None:
    seed = point.values.get("seed", 0)
    if type(seed) is not int or not 0 <= seed < _MOST_SEEDS:
        raise ValueError(f"seed must be a whole number from 0 to {_MOST_SEEDS - 1}, not {seed!r}.")
    n_train = point.values.get("n_train", 100)
    if type(n_train) is not int or n_train < 100:
        raise ValueError(f"n_train must be a whole number, 100 or more, not {n_train!r}.")
    if "n_train" in point.values and point.images != "faces":
        raise ValueError(
            "n_train is for the embedded faces; photographs are trained on as many as n_images leaves."
        )
    if "checkpoint" in point.parameters:
        raise ValueError("a sweep trains its networks: checkpoint cannot be an axis.")
    try:
        if point.network is not None:
            point.config()
            point.training(n_train)
        parameters.assign(point.parameters, notebooks)
    except TypeError as error:
        raise ValueError(f"{point.name}: {error}") from error


def run_sweep(
    grid: Mapping[str, Any],
    *,
    name: str,
    only: Sequence[str] = (),
    keep: str = "notebooks",
    scheduler: str = "",
    workers: int = 0,
    notebooks: Path = series.NOTEBOOKS,
    folder: Path = record.RUNS / "sweeps",
) -> Sweep:
    """Run the series at every point of a grid, in parallel, and gather its claims.

    Each network is trained once, each point is a run of its own in a folder of its own. What was stopped or killed goes
    on with the same call: finished networks and points stay as they are. A point that fails is reported, and the
    others go on.

    Parameters
    ----------
    grid : mapping
        As for `plan`. A `seed` draws everything anew: the faces, the weights, and all that is random in the
        notebooks. Embedded faces to train on are others than those that are analysed.
    name : str
        Name of the sweep's folder.
    only : sequence of str
        Beginnings of notebook names; empty for all.
    keep : str
        "notebooks" keeps all of a point's run, "claims" removes its executed notebooks, figures and z-points.
    scheduler : str
        Address of a Dask scheduler, such as "tcp://127.0.0.1:8786", whose workers have this package and see this
        folder under the same path; empty starts workers on this machine.
    workers : int
        Points at a time on this machine; 0 takes one for every two cores.
    notebooks, folder : pathlib.Path
        Where the notebooks are, and where the sweep's folder goes.

    Returns
    -------
    Sweep
        Folder, claims, and what failed.

    Raises
    ------
    ValueError
        If the grid or an option is wrong, `name` belongs to another sweep, or another process is writing to it.
    """
    points = plan(grid, only=only, notebooks=notebooks)
    if keep not in KEEP or workers < 0 or not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(
            f"keep must be one of {KEEP}, workers at least 0, and the name of letters, digits, '.', '_' and '-', "
            f"not {keep!r}, {workers} and {name!r}."
        )
    place = (folder / name).resolve()
    with record.only_writer(place):
        _join(place, only, points)
        todo = [point for point in points if not _is_done(place, point)]
        tqdm.write(f"{name}: {len(points) - len(todo)} of {len(points)} points are done")
        failed = _carry_out(place, todo, only, keep, notebooks, scheduler, workers) if todo else {}
        table = sweep_table(place)
        files.write_text(place / TABLE, table.to_csv(index=False))
        plots.draw_claims(table, place / "figures", axes=varying_axes(table))
    return Sweep(place, table, failed)


def _join(folder: Path, only: Sequence[str], points: Sequence[Point]) -> None:
    """Write down what the sweep was asked; refuse if the folder holds another one."""
    asked = {
        "format": _FORMAT,
        "version": _VERSION,
        # Lists, because the order counts: it is that of the table.
        "axes": list(points[0].values),
        "notebooks": list(only),
        "points": [[point.name, [_plain(value) for value in point.values.values()]] for point in points],
    }
    path = folder / SWEEP_RECORD
    if path.exists() and files.read_json(path) != asked:
        raise ValueError(
            f"{folder} holds another sweep: give this one a name of its own (--name), or remove it."
        )
    files.write_json(path, asked)


def _plain(value: Any) -> Any:
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def _is_done(folder: Path, point: Point) -> bool:
    place = folder / "points" / point.name
    found = record.read_run(place)
    return found is not None and not found.unfinished and (place / record.CLAIMS_RECORD).exists()


def _carry_out(
    folder: Path,
    points: Sequence[Point],
    only: Sequence[str],
    keep: str,
    notebooks: Path,
    scheduler: str,
    workers: int,
) -> dict[str, str]:
    """Train the networks and run the points on a cluster; return what failed."""
    from distributed import as_completed

    failed = {}
    with _client(scheduler, workers) as client:
        networks: dict[str, Future] = {}
        waiting: dict[Future, Point] = {}
        for point in points:
            if point.network is not None and point.network not in networks:
                networks[point.network] = client.submit(_train, folder, point, pure=False)
            trained = networks[point.network] if point.network is not None else None
            future = client.submit(_run, folder, point, trained, only, keep, notebooks, pure=False)
            waiting[future] = point
        progress = tqdm(
            as_completed(waiting), total=len(waiting), desc=folder.name, unit="point", disable=None
        )
        for future in progress:
            point = waiting[future]
            error = future.result() if future.status == "finished" else _said(future.exception())
            if error:
                failed[point.name] = error
            tqdm.write(f"{point.name}: {f'FAILED, {error}' if error else 'done'}")
    return failed


def _said(error: BaseException) -> str:
    """Say what went wrong, also where an exception has no text."""
    return str(error) or type(error).__name__


@contextlib.contextmanager
def _client(scheduler: str, workers: int) -> Iterator["Client"]:
    """Give a client of the scheduler, or of workers that are started here and end with it."""
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ValueError(
            "a sweep needs dask.distributed: make venv installs it, or pip install -e '.[scale]'."
        ) from error
    if scheduler:
        with Client(scheduler) as client:
            yield client
        return
    with (
        LocalCluster(
            n_workers=workers or max(1, n_cores() // 2),
            threads_per_worker=1,
            host="127.0.0.1",
            # Certificates for this sweep alone: whoever reaches a scheduler without any can run code on it.
            security=True,
            dashboard_address="127.0.0.1:0",  # any free port, seen from this machine only
            memory_limit=0,  # TensorFlow's memory is not Dask's to judge
            env={"TQDM_MININTERVAL": "15"},  # their bars go to files
            silence_logs=logging.CRITICAL,  # a worker that ends may report that it lost its scheduler
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def _train(folder: Path, point: Point) -> str:
    """Train the network of a point on a worker; return its folder. A training that was stopped goes on."""
    from aelib import steps
    from aelib.training import train

    place = folder / "networks" / str(point.network)
    with _log(place / "log.txt"):
        faces = point.images == "faces"
        if faces:
            n = int(point.values.get("n_train", runs.N_IMAGES))
            images = steps.open_images("faces", n=n, seed=(point.seed + _OTHER_FACES) % _MOST_SEEDS)
        else:
            n = int(point.values.get("n_images", runs.N_IMAGES))
            images = steps.open_for_run(point.images, n_images=n, seed=point.seed, at_most=True)
        parts = images.split(seed=point.seed if faces else images.seed)
        config = dataclasses.replace(point.config(), image_size=images.size)
        train(
            parts.train,
            config,
            training=point.training(len(parts.train)),
            validation=parts.validation,
            folder=place,
        )
    return str(place)


def _run(
    folder: Path, point: Point, network: str | None, only: Sequence[str], keep: str, notebooks: Path
) -> str:
    """Run a point on a worker; return what went wrong, or nothing."""
    place = folder / "points"
    with _log(place / f"{point.name}.log.txt"):
        given = point.parameters | ({"seed": point.seed} if "seed" in point.values else {})
        given |= {"checkpoint": network} if network else {}
        if record.read_run(place / point.name) is None:
            done = runs.run_series(
                point.images, name=point.name, only=only, parameters=given, notebooks=notebooks, runs=place
            )
        else:
            done = runs.resume_series(point.name, notebooks=notebooks, runs=place)
    if not done.failed and keep == "claims":
        for name in _NOT_KEPT:
            unwanted = place / point.name / name
            shutil.rmtree(unwanted) if unwanted.is_dir() else unwanted.unlink(missing_ok=True)
    return "; ".join(f"{outcome.notebook}: {outcome.error}" for outcome in done.failed)


@contextlib.contextmanager
def _log(path: Path) -> Iterator[None]:
    """Send what is printed to a file: several points print at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        files.naming(path),
        path.open("a", encoding="utf-8") as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
    ):
        yield


def sweep_table(folder: Path) -> pd.DataFrame:
    """Gather the claims of all points of a sweep that have any.

    Parameters
    ----------
    folder : pathlib.Path
        The sweep's folder.

    Returns
    -------
    pandas.DataFrame
        One row per point and claim: "point", a column for each axis of the grid, then "claim", "measured",
        "standard error", "verdict" and "notebook".

    Raises
    ------
    ValueError
        If no sweep was begun in the folder, or its record is damaged.
    """
    try:
        asked = files.read_json(folder / SWEEP_RECORD)
    except FileNotFoundError:
        raise ValueError(f"{folder} holds no sweep: python -m aelib sweep begins one.") from None
    rows = []
    try:
        axes = list(map(str, asked["axes"]))
        points = {str(name): dict(zip(axes, values, strict=True)) for name, values in asked["points"]}
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(
            f"{folder / SWEEP_RECORD} is damaged or was edited ({error}): restore it, or begin another sweep."
        ) from error
    for name, values in points.items():
        place = folder / "points" / Path(name).name  # an edited record must not lead elsewhere
        said = {axis: str(value) if isinstance(value, list) else value for axis, value in values.items()}
        for one in record.read_claims(place) if (place / record.CLAIMS_RECORD).exists() else ():
            figures = {"measured": one.measured, "standard error": one.standard_error, "verdict": one.verdict}
            rows.append({"point": name, **said, "claim": one.id, **figures, "notebook": one.notebook})
    columns = ["point", *axes, *_CLAIM_COLUMNS]
    return pd.DataFrame(rows, columns=columns)


_CLAIM_COLUMNS = ("claim", "measured", "standard error", "verdict", "notebook")


def read_table(path: Path) -> pd.DataFrame:
    """Read the table that a sweep has written.

    Parameters
    ----------
    path : pathlib.Path
        A `claims.csv`.

    Returns
    -------
    pandas.DataFrame
        As `sweep_table` returns it.

    Raises
    ------
    ValueError
        If the file is no such table.
    """
    try:
        table = pd.read_csv(path, keep_default_na=True)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if lacking := {"point", *_CLAIM_COLUMNS} - set(table.columns):
        raise ValueError(f"{path} is no table of a sweep: it has no column {', '.join(sorted(lacking))}.")
    if table.empty:  # no point came to a claim, and columns without numbers have no type
        return table
    numeric = all(pd.api.types.is_numeric_dtype(table[name]) for name in ("measured", "standard error"))
    named = table[["point", "claim", "notebook"]].notna().to_numpy().all()
    if (
        not numeric
        or not named
        or not table["verdict"].isin([verdict.value for verdict in claims.Verdict]).all()
    ):
        raise ValueError(
            f"{path} is damaged: a line lacks its point, claim or notebook, a verdict is none, or a figure no number."
        )
    return table


def varying_axes(table: pd.DataFrame) -> list[str]:
    """List the axes that take more than one value.

    Parameters
    ----------
    table : pandas.DataFrame
        As `sweep_table` returns it.

    Returns
    -------
    list of str
        Their names, in the order of the grid.
    """
    return [name for name in axes_of(table) if table[name].nunique() > 1]


def axes_of(table: pd.DataFrame) -> list[str]:
    """List the axes of a sweep.

    Parameters
    ----------
    table : pandas.DataFrame
        As `sweep_table` returns it.

    Returns
    -------
    list of str
        Their names, in the order of the grid.
    """
    return [name for name in table.columns if name not in ("point", *_CLAIM_COLUMNS)]


def survival(table: pd.DataFrame, *, over: str = "seed") -> pd.DataFrame:
    """Count in how many repetitions each claim is reproduced, for each variant of the other axes.

    Parameters
    ----------
    table : pandas.DataFrame
        As `sweep_table` returns it.
    over : str
        The axis of repetitions.

    Returns
    -------
    pandas.DataFrame
        A row for each claim, in the order of the registry; a column for each variant, such as "z_dim 64, activation
        relu", with texts such as "2/3"; "–" where the claim was not checked or does not apply. The last column,
        "variants agree", says whether all repetitions of all variants come to one verdict.

    Examples
    --------
    >>> verdicts = ["reproduced", "not reproduced"]
    >>> table = pd.DataFrame({"point": ["a", "b"], "seed": [1, 2], "claim": "X-mean", "verdict": verdicts})
    >>> survival(table).iloc[0].tolist()
    ['1/2', 'no']
    """
    axes = [name for name in varying_axes(table) if name != over]
    judged = table[table["verdict"] != claims.Verdict.NOT_APPLICABLE.value]
    if not len(judged):
        return pd.DataFrame(columns=["variants agree"])
    variant = judged.apply(lambda row: ", ".join(f"{axis} {row[axis]}" for axis in axes) or "all", axis=1)
    order = list(dict.fromkeys(variant))
    good = judged["verdict"] == claims.Verdict.REPRODUCED.value
    counts = good.groupby([judged["claim"], variant]).agg(["sum", "count"])
    cells = counts.apply(lambda row: f"{row['sum']}/{row['count']}", axis=1).unstack(fill_value="–")[order]
    agree = judged.groupby("claim")["verdict"].nunique() == 1
    cells["variants agree"] = ["yes" if agree[claim] else "no" for claim in cells.index]
    known = [claim.key for claim in claims.CLAIMS if claim.key in cells.index]
    return cells.loc[known].rename_axis(None, axis=1)
