"""The explorer as a page of its own, for people who never open JupyterLab: a notebook served by Voilà."""

import contextlib
import os
import tempfile
import webbrowser
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from aelib import files
from aelib.parameters import declared_parameters, read_profile
from aelib.record import RUNS, used_checkpoint
from aelib.runs import absolute_source
from aelib.series import NOTEBOOKS

NOTEBOOK = NOTEBOOKS / "explorer.ipynb"
"""What is served."""
TEMPLATES = Path(__file__).resolve().parent / "explorer" / "jupyter"
"""Where Voilà finds our template, which asks no other host for anything."""

_REFILL = 3  # seconds until the next kernel is prepared, for the next page: first, this one is to be seen


def chosen_parameters(
    run: Path | str | None = None, *, images: str = "", checkpoint: str = "", n_images: int = 0
) -> dict[str, Any]:
    """Say what the explorer is to show.

    Parameters
    ----------
    run : pathlib.Path, str or None
        Folder of a run, or its name below `runs`: its images and its network.
    images : str
        Image source, as for `aelib.open_images`; empty for those of the run, or the embedded faces.
    checkpoint : str
        Folder of a trained network; empty for that of the run, or the shipped one.
    n_images : int
        Number of images; 0 for that of the run, or the notebook's.

    Returns
    -------
    dict
        Parameters of the notebook, those that were chosen.

    Raises
    ------
    ValueError
        If there is no such run, or a parameter is out of range.
    """
    values = {} if run is None else _of_run(run)
    given = {"images": images and absolute_source(images), "checkpoint": checkpoint, "n_images": n_images}
    if checkpoint:
        given["checkpoint"] = str(Path(checkpoint).expanduser().resolve())
    values |= {name: value for name, value in given.items() if value}
    declared = declared_parameters(NOTEBOOK)
    return {name: declared[name].checked(value) for name, value in values.items()}


def _of_run(run: Path | str) -> dict[str, Any]:
    folder = next((f for f in (Path(run), RUNS / run) if (f / "parameters.yaml").is_file()), None)
    if folder is None:
        raise ValueError(f"there is no run {str(run)!r}, neither as a folder nor below {RUNS}.")
    asked = read_profile(folder / "parameters.yaml")
    values: dict[str, Any] = {
        name: asked[name] for name in ("images", "checkpoint", "n_images", "seed") if name in asked
    }
    if (folder / "data.json").is_file():
        values["images"] = _entry(folder / "data.json", "source")
    if used := used_checkpoint(folder):
        values["checkpoint"] = str(used)
    return values


def _entry(path: Path, name: str) -> str:
    content = files.read_json(path)
    found = content.get(name) if isinstance(content, dict) else None
    if not isinstance(found, str):
        raise ValueError(f"{path} is damaged or was edited: it has no text called {name!r}.")
    return found


def write_notebook(folder: Path, values: Mapping[str, Any]) -> Path:
    """Write the explorer's notebook with other parameters.

    Parameters
    ----------
    folder : pathlib.Path
        Where it goes.
    values : mapping
        Parameter to value.

    Returns
    -------
    pathlib.Path
        The notebook.
    """
    notebook = parameterize_notebook(load_notebook_node(str(NOTEBOOK)), dict(values))
    # papermill's own notes are not of the format.
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
    path = folder / NOTEBOOK.name
    nbformat.write(notebook, path)
    return path


def serve(values: Mapping[str, Any], *, port: int = 8866, open_browser: bool = True) -> None:
    """Serve the explorer on this machine, to whoever has the token in the printed address, until it is interrupted.

    Parameters
    ----------
    values : mapping
        Parameters of the notebook, as `chosen_parameters` gives them.
    port : int
        Port on the loopback interface; if it is taken, the next one that is free.
    open_browser : bool
        Whether to open the page in a browser.
    """
    with tempfile.TemporaryDirectory(prefix="aelib-explorer-") as folder:
        serve_notebook(write_notebook(Path(folder), values), port=port, open_browser=open_browser)


def serve_notebook(notebook: Path, *, port: int, open_browser: bool = False) -> None:
    """Serve a notebook as `serve` does: its outputs on a page without anything else.

    Parameters
    ----------
    notebook : pathlib.Path
        The notebook.
    port : int
        Port on the loopback interface; if it is taken, the next one that is free.
    open_browser : bool
        Whether to open the page in a browser.
    """
    with _environment():
        from tornado.ioloop import IOLoop, PeriodicCallback

        from aelib._guard import GuardedVoila  # Voilà reads Jupyter's paths as it is imported

        app = GuardedVoila()
        app.initialize(_options(notebook, port=port))

        def tell() -> None:
            # Before its kernel is known, a page would start one of its own beside it.
            if app.kernel_manager.notebook_data:
                waiting.stop()
                print(f"explorer: {app.page_url} (Ctrl+C ends it)", flush=True)  # noqa: T201, it speaks to its user
                if open_browser:
                    webbrowser.open(app.door_url)

        waiting = PeriodicCallback(tell, 100)
        IOLoop.current().add_callback(waiting.start)
        app.start()


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Let Voilà find our template, and kernels draw no bars: the page would look in vain for one that has gone."""
    paths = os.pathsep.join(filter(None, [str(TEMPLATES), os.environ.get("JUPYTER_PATH")]))
    ours = {"JUPYTER_PATH": paths, "TQDM_DISABLE": "1"}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _options(notebook: Path, *, port: int) -> list[str]:
    return [
        str(notebook),
        "--Voila.ip=127.0.0.1",
        f"--Voila.port={port}",
        "--Voila.open_browser=False",
        "--VoilaConfiguration.file_denylist=.*",  # the page is all there is to see
        "--IdentityProvider.cookie_options=SameSite=Lax",  # not sent where another site's page embeds ours
        "--MappingKernelManager.transport_encryption=auto",
        "--Voila.kernel_websocket_connection_class=aelib._websocket.PromptConnection",
        "--VoilaConfiguration.template=aelib",
        "--VoilaConfiguration.show_tracebacks=True",
        # TensorFlow is imported, and the cloud measured, before anybody asks for the page.
        "--VoilaConfiguration.preheat_kernel=True",
        "--VoilaConfiguration.default_pool_size=1",
        f"--VoilaKernelManager.fill_delay={_REFILL}",
        "--Application.log_level=WARN",
    ]
