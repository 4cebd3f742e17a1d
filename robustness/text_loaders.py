"""Loaders of text: records of runs and sweeps, parameters, notebooks."""

import base64
import functools
import io
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nbformat
from hypothesis import strategies as st
from PIL import Image

from robustness.loader import Loader
from robustness.mutations import as_json, spoiled_bytes, spoiled_content, spoiled_table


def run_folder() -> Loader:
    """Run folders edited by hand: run.json, claims.json, versions.json, sweep.json, an executed notebook."""
    from aelib import record, sweeps

    claim = asdict(
        record.ClaimRecord("X-mean", "X", "t", "s", "m", "c", 1.0, 0.1, "reproduced", "01_a", "faces")
    )
    given = {
        "given": {"n": 1},
        "state": "done",
        "digest": "0",
        "seconds": 1.5,
        "finished": "x",
        "error": None,
    }
    run = {"format": "aelib run", "version": 1, "images": "faces", "checkpoint": "", "n_images": 5, "seed": 7,
           "notebooks": {"01_a": given}}  # fmt: skip
    output = nbformat.v4.new_output("display_data", {record.MIME: [{k: claim[k] for k in list(claim)[:9]}]})
    notebook = json.loads(
        nbformat.writes(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=[output])]))
    )
    sweep = {
        "format": "aelib sweep",
        "version": 1,
        "axes": ["seed"],
        "notebooks": [],
        "points": [["seed-1", [1]]],
    }
    whole = {
        "run": run,
        "claims": [claim],
        "versions": [{"python": "3"}],
        "sweep": sweep,
        "notebook": notebook,
    }

    def load(data: bytes, folder: Path) -> bool:
        place = folder / "run"
        (place / "notebooks").mkdir(parents=True, exist_ok=True)
        parts = _parts(data)
        if not parts:
            for name in ("run", "claims", "sweep"):
                (place / f"{name}.json").write_bytes(data)
        else:
            for name in ("run", "claims", "versions", "sweep"):
                (place / f"{name}.json").write_bytes(as_json(parts.get(name)))
            (place / "notebooks" / "01_a.ipynb").write_bytes(as_json(parts.get("notebook")))
        errors = []
        for read in (
            lambda: record.claims_text(record.gather_claims(place)),
            lambda: record.claims_text(record.read_claims(place)),
            lambda: record.note_versions(place),
            lambda: sweeps.survival(sweeps.sweep_table(place)),
        ):
            try:
                read()
            except (ValueError, OSError) as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return False

    inputs = st.one_of(spoiled_content(whole).map(as_json), spoiled_bytes(as_json(run)))
    return Loader("run folder (JSON, notebook)", (as_json(whole),), inputs, load, 100)


def run_site() -> Loader:
    """Make the site of a run: its records, and notebooks with claims, captions and figures."""
    from aelib import record, site

    site.SWEEP = Path(
        "none"
    )  # what is the repository's, and takes a second each time, is left out or made once
    site._names, site._modules = functools.cache(site._names), functools.cache(site._modules)
    claim = {
        "id": "X-mean", "post": "X", "text": "t", "source_figure": "s", "measure": "m", "criterion": "c",
        "measured": 1.0, "standard_error": 0.1, "verdict": "reproduced",
    }  # fmt: skip
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    figure = {"image/png": base64.b64encode(file.getvalue()).decode()}
    outputs = [
        nbformat.v4.new_output("display_data", data)
        for data in (figure, {record.MIME: [claim]}, {"text/plain": "x"})
    ]
    cells = [
        nbformat.v4.new_markdown_cell("# Is it so?", id="a"),
        nbformat.v4.new_code_cell("1", outputs=outputs, id="b"),
        nbformat.v4.new_markdown_cell("**Figure 1.1. It is.** See notebook 1 and `aelib.encode`.", id="c"),
    ]
    whole = {
        "run": {"format": "aelib run", "version": 1, "images": "faces", "checkpoint": "", "n_images": 5, "seed": 7,
                "notebooks": {"01_a": {"given": {}}}},
        "data": {"source": "faces"},
        "notebook": json.loads(nbformat.writes(nbformat.v4.new_notebook(cells=cells))),
    }  # fmt: skip

    def load(data: bytes, folder: Path) -> bool:
        place = folder / "run"
        (place / "notebooks").mkdir(parents=True, exist_ok=True)
        parts = _parts(data)
        for name in ("run", "data"):
            (place / f"{name}.json").write_bytes(as_json(parts.get(name)))
        (place / "notebooks" / "01_a.ipynb").write_bytes(as_json(parts.get("notebook")))
        if (folder / "site").exists():
            shutil.rmtree(folder / "site")
        site.write_sources(site.read_material(place), folder / "site")
        return False

    return Loader("site of a run", (as_json(whole),), spoiled_content(whole).map(as_json), load, 100)


def explored_run() -> Loader:
    """Spoil what the explorer reads of a run."""
    from aelib import application

    parameters = b"images: faces\ncheckpoint: ''\nn_images: 300\nseed: 7\n01.n: 2\n"
    parts = {"data": {"source": "faces"}, "checkpoint": {"folder": "checkpoint", "model_sha256": "0"}}

    def load(data: bytes, folder: Path) -> bool:
        is_json = data.startswith((b"{", b"["))
        (folder / "parameters.yaml").write_bytes(parameters if is_json else data)
        (folder / "checkpoint").mkdir(exist_ok=True)
        (folder / "checkpoint" / "checkpoint.json").write_bytes(as_json({"model_sha256": "0"}))
        given = _parts(data) if is_json else {}
        for name in ("data", "checkpoint"):
            (folder / f"{name}.json").unlink(missing_ok=True)
            if name in given:
                (folder / f"{name}.json").write_bytes(as_json(given[name]))
        application.chosen_parameters(folder)
        return False

    inputs = st.one_of(spoiled_content(parts).map(as_json), spoiled_bytes(parameters))
    return Loader("explored run (YAML, JSON)", (as_json(parts), parameters), inputs, load, 100)


def sweep_table() -> Loader:
    """Spoil the table of a sweep."""
    from aelib import sweeps

    lines = [
        b"point,seed,z_dim,claim,measured,standard error,verdict,notebook",
        b"a,1,8,X-mean,1.5,0.1,reproduced,01_a",
        b"b,2,8,X-mean,0.5,,not reproduced,01_a",
        b"c,2,16,III-cube,,,not applicable,02_b",
    ]
    whole = b"\n".join(lines) + b"\n"

    def load(data: bytes, folder: Path) -> bool:
        (folder / "claims.csv").write_bytes(data)
        sweeps.survival(sweeps.read_table(folder / "claims.csv"))
        return False

    return Loader("sweep (CSV)", (whole,), st.one_of(spoiled_bytes(whole), spoiled_table(whole)), load, 100)


def _parts(data: bytes) -> dict[str, Any]:
    """Return what a spoiled file says of several; nothing if that cannot be read."""
    try:
        parts = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return parts if isinstance(parts, dict) else {}


_CELL = """images: str = "faces"  # source
n: int = 3  # number [1..9]
x: float = 0.5  # share [0..1 step 0.25]
t: tuple = (1, 2)  # two
"""


def parameter_file() -> Loader:
    """YAML files of parameters, and grids of sweeps."""
    from aelib import parameters, sweeps

    def load(data: bytes, folder: Path) -> bool:
        notebooks = folder / "notebooks"
        notebooks.mkdir(exist_ok=True)
        cell = nbformat.v4.new_code_cell(_CELL, metadata={"tags": ["parameters"]})
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), notebooks / "01_a.ipynb")
        path = folder / "p.yaml"
        path.write_bytes(data)
        if b"grid" in data:
            sweeps.plan(sweeps.read_grid(path)["grid"], notebooks=notebooks)
        else:
            parameters.assign(parameters.read_profile(path), [notebooks / "01_a.ipynb"])
        return False

    profile, grid = (
        {"n": 3, "x": 0.5, "t": [3, 4], "01.n": 2},
        {"grid": {"n": [1, 2], "seed": 3, "filters": [8, 8]}},
    )
    texts = (
        b"# scale\nn: 3\nx: 0.5\nt: [3, 4]\n01.n: 2\n",
        b"grid:\n  n: [1, 2]\n  z_dim: [8, 16]\nnotebooks: ['01']\n",
    )
    inputs = st.one_of(
        *(spoiled_content(content).map(as_json) for content in (profile, grid)), *map(spoiled_bytes, texts)
    )
    return Loader("parameter file (YAML)", texts, inputs, load, 100)


def notebook() -> Loader:
    """Spoil the parameters cell of a notebook, and the notebook around it."""
    from aelib import parameters

    def load(data: bytes, folder: Path) -> bool:
        path = folder / "01_a.ipynb"
        path.write_bytes(data)
        parameters.declared_parameters(path)
        return False

    def around(source: Any) -> bytes:
        cell = nbformat.v4.new_code_cell("", metadata={"tags": ["parameters"]}, id="a")
        whole = json.loads(nbformat.writes(nbformat.v4.new_notebook(cells=[cell])))
        whole["cells"][0]["source"] = source
        return as_json(whole)

    inputs = st.one_of(
        spoiled_bytes(_CELL.encode()).map(lambda data: around(data.decode("utf-8", "surrogateescape"))),
        spoiled_content(json.loads(around(_CELL))).map(as_json),
        spoiled_bytes(around(_CELL)),
    )
    return Loader("notebook", (around(_CELL),), inputs, load, 100)
