"""How long the explorer takes from a slider's move to the picture on the screen, as the browser measures it."""

import contextlib
import re
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
from benchmarks.serving import CHROMIUM, FLAGS, KERNEL_IS_IDLE, PATIENCE, free_port, lab_options, serving

POINTS = (20_000, 170_000)
MOVES = 100
PAUSE = 0.12  # seconds between two moves: the hand of somebody who looks

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
    command = [sys.executable, "-m", "jupyterlab", *lab_options(folder, port)]
    url = f"http://127.0.0.1:{port}/lab/tree/explorer.ipynb?reset"
    with serving(command, folder, ready="is running at"), browsing(url) as sheet:
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
    command = [sys.executable, "-c", script]
    with serving(command, folder, ready="explorer: http") as (_, log):
        address = re.search(r"http://\S+", log.read_text())[0]
        with browsing(address) as sheet:
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
