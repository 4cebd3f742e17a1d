"""The series: which notebooks there are, how one is executed, and the outputs that are stored with them."""

import base64
import io
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import papermill
import PIL.Image
import PIL.ImageChops
import PIL.ImageStat
import zmq
from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from papermill.exceptions import PapermillExecutionError
from tqdm.auto import tqdm
from traitlets import default

from aelib import files

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
SCRATCH = ".executing-"
"""How the names of folders begin in which notebooks are being executed."""

_UNSEEN = 0.5
"""Mean difference of a figure, in 255ths, that nobody sees."""
_LOG_EVERY = 15
"""Seconds between two lines of progress where there is no terminal to draw a bar on."""
_WIDGET = "application/vnd.jupyter.widget-view+json"
_IN_THE_SERIES = re.compile(r"(\d\d|A\d)_\w+\.ipynb")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


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


def execute(notebook: Path, copy: Path, values: Mapping[str, Any], *, label: str) -> str | None:
    """Execute a notebook with papermill, in a fresh kernel of this interpreter and in the notebook's own folder.

    Parameters
    ----------
    notebook : pathlib.Path
        The notebook; it stays as it is.
    copy : pathlib.Path
        Where the executed copy goes when it is over. One that failed is `STEM.failed.ipynb` beside it, as far as
        it came, with the traceback in `STEM.failed.txt`. What an earlier execution left there is replaced.
    values : mapping
        Parameter to value.
    label : str
        How the progress names the notebook.

    Returns
    -------
    str or None
        What went wrong in one line, or None.
    """
    failed, story = _named_failed(copy)
    copy.parent.mkdir(parents=True, exist_ok=True)
    with files.naming(copy), tempfile.TemporaryDirectory(prefix=SCRATCH, dir=copy.parent) as scratch:
        unfinished = Path(scratch) / copy.name
        error, traceback = _run_papermill(notebook, unfinished, values, label)
        unfinished.replace(failed if error else copy)
    if error:
        files.write_text(story, traceback)
        copy.unlink(missing_ok=True)
    else:
        failed.unlink(missing_ok=True)
        story.unlink(missing_ok=True)
    return error


def withdraw(copy: Path, error: str) -> None:
    """Turn an executed copy into one that failed, because of what came to light afterwards.

    Parameters
    ----------
    copy : pathlib.Path
        The executed copy.
    error : str
        What was wrong.
    """
    failed, story = _named_failed(copy)
    files.write_text(story, f"{error}\n")
    copy.replace(failed)


def _named_failed(copy: Path) -> tuple[Path, Path]:
    return copy.with_name(f"{copy.stem}.failed.ipynb"), copy.with_name(f"{copy.stem}.failed.txt")


def _run_papermill(
    notebook: Path, copy: Path, values: Mapping[str, Any], label: str
) -> tuple[str | None, str]:
    """Return what went wrong, or None, and the whole traceback."""
    try:
        papermill.execute_notebook(
            # papermill takes braces in a path for a template's.
            *(str(path).replace("{", "{{").replace("}", "}}") for path in (notebook, copy)),
            parameters=dict(values),
            kernel_name="python3",
            kernel_manager_class=_Kernel,
            cwd=str(notebook.parent),
            progress_bar=_progress(label),
        )
    except PapermillExecutionError as error:
        traceback = _ANSI.sub("", "\n".join(error.traceback))
        return f"{error.ename}: {error.evalue}", f"cell {error.exec_count}:\n{error.source}\n\n{traceback}\n"
    except nbclient.exceptions.DeadKernelError as error:
        reason = "its kernel died: perhaps the memory was not enough"
        return reason, f"{reason}\n{error}\n"
    except RuntimeError as error:
        # Jupyter's, of a kernel that dies, or takes a minute, before it has started.
        return str(error), f"{error}\n"
    return None, ""


def _progress(label: str) -> dict[str, Any]:
    """Describe papermill's bar: which notebook, which cell, how long; lines in a log where there is no terminal."""
    shown = "cell {n_fmt} of {total_fmt}, {elapsed}"
    if sys.stderr.isatty():
        return {"desc": label, "leave": False, "bar_format": "{desc}: {bar} " + shown}
    lines = {"file": _Lines(), "mininterval": _LOG_EVERY, "maxinterval": _LOG_EVERY, "miniters": 1}
    return {"desc": label, "leave": False, "bar_format": "{desc}: " + shown, **lines}


class _Lines(io.TextIOBase):
    """Where a bar writes when it is to be lines on the standard output."""

    def write(self, text: str) -> int:
        """Write what a bar shows, unless it is blank."""
        shown = text.strip("\r\n ")
        if shown:
            sys.stdout.write(f"{shown}\n")
            sys.stdout.flush()
        return len(text)


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


# To be shut down, a kernel is interrupted; at times it, or tornado below it, logs that as an error, under level 50.
_QUIET_TORNADO = "--IPKernelApp.exec_lines=__import__('logging').getLogger('tornado').setLevel(50)"


class _ThisPython(KernelSpecManager):
    """Whatever kernels the user has installed: the one of the interpreter that runs this."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:  # noqa: ARG002, their signature
        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict(["--log-level=50", _QUIET_TORNADO]))


class _Kernel(AsyncKernelManager):
    """A kernel of this interpreter. Encrypted where ZeroMQ can: the kernel warns of plain text otherwise."""

    @default("kernel_spec_manager")
    def _this_python(self) -> KernelSpecManager:
        return _ThisPython()

    @default("transport_encryption")
    def _where_possible(self) -> str:
        return "auto" if zmq.has("curve") else "disabled"
