"""How long the explorer takes from a slider's move to the picture on the screen, as the browser measures it."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np

from aelib import application
from benchmarks.measure import Row

POINTS = (20_000, 170_000)
MOVES = 100
PAUSE = 0.12  # seconds between two moves: the hand of somebody who looks
PATIENCE = 300
TOKEN = secrets.token_hex(16)
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
KERNEL_IS_IDLE = (
    "() => window.jupyterapp?.shell.currentWidget?.context?.sessionContext?"
    ".session?.kernel?.status === 'idle'"
)

# As many points as asked for, without rendering as many faces: draws from the law of 2 000.
CELL = """import numpy as np
import aelib
few = aelib.open_images("faces", n=2_000, seed=7)
model = aelib.load_checkpoint()
law = aelib.MultivariateNormal().fit(aelib.encode(model, few))
z = law.sample({n}, random_state=0).astype("float32")
images = few.subset(np.arange({n}) % len(few))"""


def rows() -> Iterator[Row]:
    """Measure in JupyterLab and on the page of `make explore`, with a Chromium if there is one."""
    if CHROMIUM is None:
        yield Row("explorer", "slider to picture", "", (), "ms", 60, at_most=True, missing="Chromium")
        return
    for n in POINTS:
        for place, opened in (("JupyterLab", lab), ("Voilà", page)):
            with tempfile.TemporaryDirectory() as folder, opened(Path(folder), n) as sheet:
                times = slider_times(sheet)
            for name, share, goal in (("median", 50, 60), ("95 % within", 95, 100)):
                figure = float(np.percentile(times, share))
                yield Row(
                    "explorer",
                    f"slider to picture, {place}",
                    f"{name}, {n // 1000} 000 points",
                    (figure,),
                    "ms",
                    goal,
                    at_most=True,
                )


def slider_times(sheet: Any) -> list[float]:
    """Move a slider again and again; return the milliseconds from each move to its picture."""
    slider = sheet.locator(".aelib-explorer").get_by_role("slider", name="axis 0", exact=True)
    slider.focus()
    for k in range(MOVES + 10):
        slider.press("ArrowRight" if k % 40 < 20 else "ArrowLeft")
        time.sleep(PAUSE)
    entries = sheet.evaluate("performance.getEntriesByName('aelib-picture').map(entry => entry.duration)")
    return list(entries)[10:]


@contextlib.contextmanager
def lab(folder: Path, n: int) -> Iterator[Any]:
    """Open a notebook with an explorer in JupyterLab."""
    write(folder, n)
    port = free_port()
    options = [
        *("--no-browser", "--expose-app-in-browser", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"),
        *(f"--ServerApp.root_dir={folder}", "--IdentityProvider.token=", "--ServerApp.allow_root=True"),
        *("--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.news_url=None"),
        "--MappingKernelManager.transport_encryption=auto",
    ]
    url = f"http://127.0.0.1:{port}/"
    command = [sys.executable, "-m", "jupyterlab", *options]
    with serving(command, folder, port), browsing(f"{url}lab/tree/explorer.ipynb?reset") as sheet:
        sheet.wait_for_function(KERNEL_IS_IDLE)
        sheet.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
        sheet.locator(".aelib-explorer[data-answered]").wait_for(state="attached")
        sheet.locator(".aelib-explorer").evaluate("root => root.scrollIntoView({block: 'end'})")
        yield sheet


@contextlib.contextmanager
def page(folder: Path, n: int) -> Iterator[Any]:
    """Open the page that `make explore` serves."""
    notebook, port = write(folder, n), free_port()
    script = f"from aelib import application as a; a.serve_notebook(a.Path({str(notebook)!r}), port={port})"
    url = f"http://127.0.0.1:{port}/?token={TOKEN}"
    command = [sys.executable, "-c", script]
    with serving(command, folder, port), browsing(url) as sheet:
        sheet.locator(".aelib-explorer[data-answered]").wait_for()
        yield sheet


def write(folder: Path, n: int) -> Path:
    """Write a notebook with an explorer of n points."""
    cells = [CELL.format(n=n), "aelib.explore(model, z, images)"]
    notebook = nbformat.v4.new_notebook(
        cells=list(map(nbformat.v4.new_code_cell, cells)),
        metadata={"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}},
    )
    path = folder / application.NOTEBOOK.name
    nbformat.write(notebook, path)
    return path


def free_port() -> int:
    """Find a port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(command: list[str], folder: Path, port: int) -> Iterator[None]:
    """Run a server until the block ends."""
    private = {
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_TOKEN": TOKEN,
    }
    lab_dirs = {f"JUPYTERLAB_{name}_DIR": str(folder / name) for name in ("SETTINGS", "WORKSPACES")}
    silent = subprocess.DEVNULL
    process = subprocess.Popen(
        command,
        env={**os.environ, **private, **lab_dirs},
        stdout=silent,
        stderr=silent,
        start_new_session=True,
    )
    try:
        end = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
                break
            time.sleep(0.3)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def browsing(url: str) -> Iterator[Any]:
    """Open a page in the system's Chromium, at the size of a small laptop."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        sheet = browser.new_page(viewport={"width": 1280, "height": 800})
        sheet.set_default_timeout(PATIENCE * 1000)
        sheet.goto(url, wait_until="commit")
        yield sheet
        browser.close()
