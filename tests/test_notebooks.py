"""The notebooks as they are stored: short cells, one cell of parameters, outputs that a reader wants to see."""

import statistics
from pathlib import Path

import nbformat
import pytest

from aelib import series
from aelib.claims import CLAIMS, MIME
from aelib.parameters import assign, declared_parameters, read_profile

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
EVERY = sorted(FOLDER.glob("*.ipynb"))
# The explorer is alive or nothing: it is stored without outputs, and no part of the series.
STORED = [path for path in EVERY if not path.name.startswith("_") and path.name != "explorer.ipynb"]

every_notebook = pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
every_stored_notebook = pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    """Return the code cells of a notebook."""
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_every_other_notebook_is_in_the_series():
    assert not STORED or list(series.find_notebooks(folder=FOLDER)) == STORED


@pytest.mark.parametrize("path", sorted((FOLDER / "params").glob("*.yaml")), ids=lambda path: path.stem)
def test_profiles_hold_parameters_of_the_series(path):
    assert assign(read_profile(path), EVERY)


def test_every_claim_is_checked_by_a_notebook():
    sources = "\n".join(cell.source for path in STORED for cell in code_cells(path))
    written = {path.name.partition("_")[0] for path in STORED}
    awaited = [claim.key for claim in CLAIMS if not claim.key.startswith("A1-") or "A1" in written]
    assert len(awaited) >= 40
    assert [key for key in awaited if f'"{key}"' not in sources] == []


@every_notebook
def test_is_valid_and_for_this_kernel(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"


@every_notebook
def test_parameters_are_literals_with_a_type_and_a_comment(path):
    parameters = declared_parameters(path)
    assert {"images", "checkpoint", "n_images", "seed"} <= set(parameters)
    assert (parameters["images"].default, parameters["checkpoint"].default) == ("faces", "")
    cell = next(cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", ()))
    assert all(": " in line and "  # " in line for line in cell.source.splitlines())


@every_notebook
def test_numbers_have_a_range(path):
    numbers = [p for p in declared_parameters(path).values() if p.kind in (int, float)]
    assert [p.name for p in numbers if p.allowed is None] == [], (
        "at the end of the comment: [1..], [0..1], [2..100 step 2]"
    )


@every_notebook
def test_cells_are_short(path):
    lengths = [len(cell.source.splitlines()) for cell in code_cells(path)]
    assert max(lengths) <= 15
    assert statistics.median(lengths) <= 6


@every_notebook
def test_begins_with_a_question_and_defines_no_class(path):
    first = nbformat.read(path, as_version=4).cells[0]
    title = first.source.splitlines()[0]
    assert first.cell_type == "markdown"
    assert title.startswith("# ")
    assert "?" in title
    assert not any(
        line.startswith(("class ", "!", "%pip")) for c in code_cells(path) for line in c.source.splitlines()
    )


@every_stored_notebook
def test_is_stored_with_outputs_and_without_noise(path):
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), (
        "executed from top to bottom"
    )
    outputs = [output for cell in cells for output in cell.outputs]
    assert outputs
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert kinds <= {"text/plain", "text/html", "text/markdown", "text/latex", "image/png", MIME}


@every_stored_notebook
def test_is_small(path):
    assert path.stat().st_size < 1.5e6
