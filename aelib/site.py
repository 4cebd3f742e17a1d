"""The site: notebooks, claims and cards of a run, or of the repository, as pages that open from the file system."""

import ast
import base64
import contextlib
import hashlib
import importlib.util
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import nbformat
import numpy as np
import PIL.Image
import PIL.ImageOps
import yaml

from aelib import crossrefs, faces, files, plots, sweeps
from aelib.cache import cache_folder
from aelib.claims import CLAIMS, MIME, Verdict
from aelib.decoding import readable
from aelib.parameters import read_notebook
from aelib.record import (
    CLAIMS_RECORD,
    RUNS,
    ClaimRecord,
    RunRecord,
    read_claims,
    read_run,
    shown_claims,
    used_checkpoint,
)
from aelib.series import NOTEBOOKS, ROOT

PACKAGE = ROOT / "aelib"
"""The modules of the API reference."""
PAGES = ROOT / "docs"
"""The pages that are written by hand, as jinja2 templates, with Sphinx's configuration and style."""
BUILT = ROOT / "build" / "site"
"""Where the site of the repository goes."""
THUMBNAILS = PAGES / "thumbnails"
"""A small picture of each notebook, for the README."""
SWEEP = ROOT / "data" / "sweep" / sweeps.TABLE
"""The table of the sweep that comes with the repository."""
FULL = ROOT / "data" / "full"
"""What is kept of a run at the source's scale: its record and claims, and the record of its network."""

LARGEST_NETWORK = 5_700_000
"""Most bytes of the script with the decoder: with it the page to try is to stay below 6 MB."""
N_POINTS = 4_000
"""Number of z-points that the page to try is told of: enough for the moments of 256 components."""

_IN_THE_SERIES = re.compile(r"(\d\d|A\d)_\w+?(\.failed)?\.ipynb")
_ROW = re.compile(r"^\| \[\w+\]\((\w+\.ipynb)\) \| ([^:|]+): ", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]*)\]\((?:notebooks/)?(\w+\.ipynb)\)")
_WIDGET = "application/vnd.jupyter.widget-view+json"
_CHECKPOINT = "checkpoint.json"
_NETWORK_RECORD = "network.json"
_SHIPPED = ROOT / "data" / "checkpoints" / "faces-post3"  # aelib.model knows both, but brings Keras in
_POINTS = "z.npy"
_NETWORK = Path("_static", "try", "network.js")
_SEED = 7  # the notebooks'
_LEFT_BY_SPHINX = "searchindex.js"


@dataclass(frozen=True)
class Lesson:
    """A notebook as the site shows it.

    Parameters
    ----------
    file : str
        Its file name, without the mark of a failed one.
    name : str
        What the list of notebooks calls it, such as "Correlations".
    notebook : nbformat.NotebookNode
        The executed notebook.
    thumbnail : str
        Number of the figure that stands for it, such as "3.4"; the last one does if there is no such figure.
    failed : bool
        Whether it ended with an error.
    """

    file: str
    name: str
    notebook: nbformat.NotebookNode
    thumbnail: str = ""
    failed: bool = False

    @property
    def stem(self) -> str:
        """File name without the suffix."""
        return self.file.removesuffix(".ipynb")

    @property
    def number(self) -> str:
        """Number as prose says it, such as "3" or "A1"."""
        return crossrefs.notebook_number(self.file)

    @property
    def question(self) -> str:
        """Title of the notebook."""
        lines = "\n".join(cell.source for cell in self.notebook.cells[:1]).splitlines()
        return lines[0].lstrip("# ") if lines else self.name

    @property
    def picture(self) -> bytes | None:
        """The figure that stands for it, as PNG; None if it has none."""
        pngs = {k: _figures(cell)[-1] for k, cell in enumerate(self.notebook.cells) if _figures(cell)}
        named = crossrefs.name_figures(self.notebook).items()
        chosen = [pngs[k] for k, caption in named if caption.startswith(f"Figure {self.thumbnail}. ")]
        every = chosen or list(pngs.values())
        try:
            return base64.b64decode(every[-1]) if every else None
        except ValueError as error:
            raise ValueError(
                f"a figure in {self.file} is no PNG in base64 ({error}): run it again."
            ) from error


@dataclass(frozen=True)
class Material:
    """What a site is made of.

    Parameters
    ----------
    run : pathlib.Path or None
        Folder of the run; None for the notebooks of the repository.
    record : RunRecord or None
        What the run was asked, if it is known.
    lessons : tuple of Lesson
        The notebooks, in the order of the series.
    claims : tuple of ClaimRecord
        What they checked.
    """

    run: Path | None
    record: RunRecord | None
    lessons: tuple[Lesson, ...]
    claims: tuple[ClaimRecord, ...]

    @property
    def verdicts(self) -> dict[str, int]:
        """How many claims earned each verdict, in the order of the verdicts; those that none earned are left out."""
        counts = Counter(claim.verdict for claim in self.claims)
        return {verdict.value: counts[verdict] for verdict in Verdict if counts[verdict]}

    @property
    def data(self) -> dict[str, Any] | None:
        """Description of the run's images; None for the embedded faces, which have a card of their own."""
        described = _read_if_there(self.run, "data.json", dict)
        return None if described is None or described.get("source") == "faces" else described

    @property
    def checkpoint(self) -> Path:
        """Folder of the network."""
        if self.run and (used := used_checkpoint(self.run)):
            return used
        trained = self.run / "checkpoint" if self.run else _SHIPPED
        return trained if trained.exists() else _SHIPPED


def build_site(run: Path | str | None = None, *, out: Path | None = None) -> tuple[Path, str]:
    """Build the site of a run, or of the notebooks as they are stored in the repository.

    Parameters
    ----------
    run : pathlib.Path, str or None
        Folder of a run, or its name below `runs`; None for the repository's notebooks.
    out : pathlib.Path or None
        Where the site goes, in place of an older one; None for `site` in the run's folder, or `build/site`.

    Returns
    -------
    pathlib.Path
        The home page.
    str
        What was left out and why, and Sphinx's warnings; empty if all is well.

    Raises
    ------
    ValueError
        If there is no such run, it has no notebook yet, `out` holds something else, or Sphinx is not installed.
    RuntimeError
        If Sphinx fails.
    """
    material = read_material(run)
    out = out or (material.run / "site" if material.run else BUILT)
    if out.exists() and any(out.iterdir()) and not (out / _LEFT_BY_SPHINX).exists():
        raise ValueError(f"{out} holds something else than a site: choose another folder (--out).")
    with tempfile.TemporaryDirectory(prefix="aelib-site-") as scratch, files.replacing(out) as fresh:
        sources = Path(scratch) / "sources"
        left_out = write_sources(material, sources)
        warnings = _call_sphinx(sources, fresh)
        shutil.rmtree(out, ignore_errors=True)
    return out / "index.html", "\n".join(filter(None, (left_out, warnings)))


def read_material(run: Path | str | None = None) -> Material:
    """Collect what a site is made of.

    Parameters
    ----------
    run : pathlib.Path, str or None
        Folder of a run, or its name below `runs`; None for the repository's notebooks.

    Returns
    -------
    Material
        Its notebooks and claims. What a run has not written yet is left out.

    Raises
    ------
    ValueError
        If there is no such run, or it has no notebook yet.
    """
    if run is None:
        lessons = _read_lessons(NOTEBOOKS)
        return Material(None, None, lessons, _shown_claims(lessons))
    folder = next((f for f in (Path(run), RUNS / run) if (f / "notebooks").is_dir()), None)
    if folder is None:
        raise ValueError(f"there is no run {str(run)!r}, neither as a folder nor below {RUNS}.")
    lessons = _read_lessons(folder / "notebooks")
    claims = read_claims(folder) if (folder / CLAIMS_RECORD).exists() else _shown_claims(lessons)
    return Material(folder.resolve(), read_run(folder), lessons, claims)


def _read_lessons(folder: Path) -> tuple[Lesson, ...]:
    names = dict(_ROW.findall((NOTEBOOKS / "README.md").read_text(encoding="utf-8")))
    paths = sorted(path for path in folder.glob("*.ipynb") if _IN_THE_SERIES.fullmatch(path.name))
    if not paths:
        raise ValueError(f"there is no executed notebook in {folder} yet.")
    thumbnails = yaml.safe_load((PAGES / "thumbnails.yaml").read_text(encoding="utf-8"))
    lessons = []
    for path in paths:
        file = path.name.replace(".failed.", ".")
        name = names.get(file) or file.partition("_")[2].removesuffix(".ipynb").replace("_", " ").capitalize()
        lessons.append(
            Lesson(file, name, read_notebook(path), thumbnails.get(file[:2], ""), file != path.name)
        )
    return tuple(lessons)


def _shown_claims(lessons: tuple[Lesson, ...]) -> tuple[ClaimRecord, ...]:
    shown = (
        claim
        for lesson in lessons
        for claim in shown_claims(lesson.notebook, name=lesson.stem, images="faces")
    )
    return tuple({claim.id: claim for claim in shown}.values())


def _figures(cell: nbformat.NotebookNode) -> list[str]:
    shown = [output.get("data", {}) for output in cell.get("outputs", ())]
    return [data["image/png"] for data in shown if "image/png" in data]


def _read_if_there(folder: Path | None, name: str, kind: type) -> Any:
    if folder is None or not (folder / name).exists():
        return None
    content = files.read_json(folder / name)
    if type(content) is not kind:
        raise ValueError(f"{folder / name} is damaged or was edited: it holds no {kind.__name__}.")
    return content


def write_sources(material: Material, folder: Path) -> str:
    """Write what Sphinx makes the site of.

    Parameters
    ----------
    material : Material
        What the site shows.
    folder : pathlib.Path
        An empty folder, or one that is not there yet.

    Returns
    -------
    str
        What was left out and why; empty if nothing was.
    """
    shutil.copytree(
        PAGES,
        folder,
        ignore=shutil.ignore_patterns("*.md", "*.yaml", THUMBNAILS.name, "student", "__pycache__"),
        dirs_exist_ok=True,
    )
    targets = crossrefs.find_targets({lesson.file: lesson.notebook for lesson in material.lessons})
    (folder / "notebooks").mkdir()
    (folder / "pictures").mkdir()
    for lesson in material.lessons:
        nbformat.write(_for_the_site(lesson, targets), folder / "notebooks" / lesson.file)
        if lesson.picture:
            _write_thumbnail(lesson.picture, folder / "pictures" / f"{lesson.stem}.png", width=640)
    for page in NOTEBOOKS.glob("*.md"):
        kept = _link_what_is_there(page.read_text(encoding="utf-8"), targets.pages.values())
        files.write_text(folder / "notebooks" / page.name, kept)
    shutil.copy(ROOT / "data" / "gallery.png", folder / "pictures")
    script, left_out = _network_script(material)
    if script:
        files.write_text(folder / _NETWORK, script)
    _write_pages(material, folder, script)
    return left_out


def _link_what_is_there(text: str, there: Collection[str]) -> str:
    """Keep the words of a link to a notebook that the site does not have, and not the link."""
    return _LINK.sub(lambda m: m[0] if m[2] in there else m[1], text)


def _for_the_site(lesson: Lesson, targets: crossrefs.Targets) -> nbformat.NotebookNode:
    """Link the references, name the figures, and leave out what is dead without a kernel."""
    notebook = nbformat.from_dict(lesson.notebook)
    notebook.metadata.pop("widgets", None)
    captions = crossrefs.name_figures(notebook)
    for k, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            cell.source = crossrefs.link(cell.source, targets, here=lesson.number)
        elif cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _WIDGET not in output.get("data", {})]
            for output in cell.outputs:
                output.get("data", {}).pop(MIME, None)  # they have a page of their own
            cell.metadata["mystnb"] = {"image": {"alt": captions.get(k, "Figure")}}
    return notebook


def write_thumbnails(folder: Path = THUMBNAILS) -> tuple[Path, ...]:
    """Write a small picture of each notebook of the repository, all of one format.

    Parameters
    ----------
    folder : pathlib.Path
        Where they go, named after the notebooks' numbers.

    Returns
    -------
    tuple of pathlib.Path
        The files, in the order of the series.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for lesson in read_material().lessons:
        if lesson.picture:
            written.append(folder / f"{lesson.stem.partition('_')[0]}.png")
            with files.replacing(written[-1]) as whole:
                _write_thumbnail(lesson.picture, whole, width=300, height=200)
    return tuple(written)


def _write_thumbnail(png: bytes, path: Path, *, width: int, height: int | None = None) -> None:
    with readable(png) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((width, height or width), PIL.Image.Resampling.LANCZOS)
    if height:
        picture = PIL.ImageOps.pad(picture, (width, height), color="white").quantize(128)
    picture.save(path, "PNG", optimize=True)


def _network_script(material: Material) -> tuple[str, str]:
    """Return the script of the page to try, or why there is none; it is written once for each network and cloud."""
    if material.run and not (material.run / _POINTS).exists():
        return "", "the page to try is left out: the run has no z-points yet."
    cloud = (material.run / _POINTS).with_suffix(".json").read_bytes() if material.run else b"faces"
    parts = [cloud, *((PACKAGE / f"{name}.py").read_bytes() for name in ("webexport", "site", "faces"))]
    parts.append((material.checkpoint / _CHECKPOINT).read_bytes())
    place = cache_folder() / "try" / f"{hashlib.sha256(b' '.join(parts)).hexdigest()[:20]}.js"
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(place, _export(material))
    size = place.stat().st_size
    if size > LARGEST_NETWORK:
        most = f"{size / 1e6:.1f} MB, more than {LARGEST_NETWORK / 1e6:.1f} MB"
        return "", f"the page to try is left out: the decoder takes {most}. A smaller z_dim makes it smaller."
    return place.read_text(encoding="utf-8"), ""


def _export(material: Material) -> str:
    from aelib import codec, images, model, webexport  # Keras, which takes seconds: only if it is needed

    network = model.load_checkpoint(material.checkpoint)
    if material.run:
        points = np.load(material.run / _POINTS, mmap_mode="r")
        chosen = np.random.default_rng(_SEED).permutation(len(points))[:N_POINTS]
        return webexport.web_script(network, points[chosen])
    with contextlib.redirect_stderr(io.StringIO()):  # bars: the site is built without a word
        shown = images.open_images("faces", n=N_POINTS, seed=_SEED)
        return webexport.web_script(network, codec.encode(network, shown))


def _write_pages(material: Material, folder: Path, script: str) -> None:
    """Fill the templates in; a page that has nothing to say is left out."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGES),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # markdown
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = _as_plain_text
    card = material.checkpoint / "README.md"
    context = {
        "material": material,
        "tryit": json.loads(script[script.index("{") : script.rindex("}") + 1]) if script else None,
        "size": len(script),
        "sweep": _describe_sweep(SWEEP, folder / "pictures" / "sweep") if SWEEP.exists() else None,
        "full": _describe_full(FULL, material) if FULL.exists() and not material.run else None,
        "benchmarks": (PAGES / "_static" / "bench.md").exists(),
        "factors": faces.factor_table(),
        "card": card.read_text(encoding="utf-8") if card.exists() else "",
        "network": files.read_json(material.checkpoint / _CHECKPOINT),
        "versions": (_read_if_there(material.run, "versions.json", list) or [{}])[-1],
        "modules": _modules(),
        "names": _names(),
    }
    there = {lesson.file for lesson in material.lessons}
    for page in PAGES.glob("*.md"):
        if text := _filled_in(environment.get_template(page.name), context):
            # In the repository, pages and notebooks lie side by side.
            linked = _link_what_is_there(text.replace("](../notebooks/", "](notebooks/"), there)
            files.write_text(folder / page.name, linked + "\n")


def _filled_in(page: jinja2.Template, context: dict[str, Any]) -> str:
    try:
        return page.render(context).strip()
    except (jinja2.TemplateError, TypeError) as error:
        raise ValueError(
            f"{page.name} cannot be filled in ({error}): a record of the run, such as data.json, is damaged."
        ) from error


def _describe_sweep(path: Path, pictures: Path) -> dict[str, Any]:
    """Draw the figures of a sweep; return what its page says."""
    table = sweeps.read_table(path)
    axes = sweeps.varying_axes(table)
    drawn = {picture.stem for picture in plots.draw_claims(table, pictures, axes=axes)}
    counted = sweeps.survival(table)
    judged = table[table["verdict"] != Verdict.NOT_APPLICABLE.value]
    share = judged["verdict"].eq(Verdict.REPRODUCED.value).groupby(judged["claim"]).mean()
    return {
        "points": table["point"].nunique(),
        "lessons": sorted({name.partition("_")[0] for name in table["notebook"]}),
        "varying": {axis: list(dict.fromkeys(table[axis])) for axis in axes},
        "fixed": {axis: table[axis].iloc[0] for axis in sweeps.axes_of(table) if axis not in axes},
        "variants": list(counted.columns[:-1]),
        "rows": [
            {
                "claim": claim,
                "cells": [str(cell) for cell in counted.loc[[claim.key]].iloc[0, :-1]],
                "picture": claim.key in drawn,
            }
            for claim in CLAIMS
            if claim.key in counted.index
        ],
        "always": int((share == 1).sum()),
        "never": int((share == 0).sum()),
    }


def _describe_full(folder: Path, material: Material) -> dict[str, Any]:
    """Hold a run at the source's scale beside the notebooks as they are stored; return what its page says."""
    claims = {claim.id: claim for claim in read_claims(folder)}
    rows = [(claim, claims[claim.id]) for claim in material.claims if claim.id in claims]
    return {
        "record": read_run(folder),
        "network": files.read_json(folder / _NETWORK_RECORD),
        "rows": rows,
        "verdicts": Counter(claim.verdict for claim in claims.values()),
        "changed": [(usual, full) for usual, full in rows if usual.verdict != full.verdict],
    }


def _as_plain_text(text: Any) -> str:
    """Escape what markdown would take for its own."""
    return re.sub(r"([\\`*_{}\[\]<>#$|~])", r"\\\1", str(text))


def _modules() -> list[str]:
    """List the public modules from the lowest layer up: a module builds on those before it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    names = [name for layer in reversed(layers) for name in re.findall(r"\w+", layer)]
    there = {path.stem for path in PACKAGE.glob("[a-z]*")}
    return [f"aelib.{name}" for name in names if name in there]


def _names() -> dict[str, str]:
    """List what `import aelib` offers beside its modules: name to where it is documented."""
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    offered = [node for node in stub.body if isinstance(node, ast.ImportFrom) and node.module]
    return {alias.name: _origin(str(node.module), alias.name) for node in offered for alias in node.names}


def _origin(module: str, name: str) -> str:
    """Follow a name through re-exports; to import it would be simpler, but bring Keras in."""
    path = PACKAGE / f"{module}.py"
    tree = ast.parse(path.read_text(encoding="utf-8")) if path.exists() else ast.Module([], [])
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module]
    for node in imports:
        if str(node.module).startswith("aelib.") and name in {alias.name for alias in node.names}:
            return _origin(str(node.module).removeprefix("aelib."), name)
    return f"aelib.{module}.{name}"


def _call_sphinx(sources: Path, out: Path) -> str:
    """Return Sphinx's warnings. It runs on its own: it imports the modules without Keras."""
    if importlib.util.find_spec("sphinx") is None:
        raise ValueError("the site needs Sphinx: make venv installs it, or pip install -e '.[site]'.")
    warnings = sources.parent / "warnings.txt"
    options = ["-q", "--no-color", "-j", "auto", "-w", str(warnings), "-d", str(sources.parent / "doctrees")]
    command = [sys.executable, "-m", "sphinx", *options, str(sources), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"Sphinx failed: {done.stderr}")
    return warnings.read_text(encoding="utf-8").strip()
