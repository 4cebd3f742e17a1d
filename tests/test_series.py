"""The series, on notebooks made for it: which there are, how one is executed, and how outputs are stored."""

import base64
import io
import json
import os
import sys
from pathlib import Path

import nbformat
import PIL.Image
import pytest

from aelib import series

AGREED = "n_images: int = 20_000  # images"


def printed(path: Path) -> str:
    """Return what the last cell of an executed notebook printed."""
    return nbformat.read(path, as_version=4).cells[-1].outputs[0].text


def test_notebooks_come_in_order_and_others_do_not_belong(write_notebook):
    for name in ("A1_x.ipynb", "10_x.ipynb", "02_x.ipynb", "_template.ipynb", "Untitled.ipynb", "2_x.ipynb"):
        folder = write_notebook(name, AGREED).parent
    assert [path.name for path in series.find_notebooks(folder=folder)] == [
        "02_x.ipynb",
        "10_x.ipynb",
        "A1_x.ipynb",
    ]
    assert [path.name for path in series.find_notebooks(["A1", "02"], folder=folder)] == [
        "02_x.ipynb",
        "A1_x.ipynb",
    ]
    with pytest.raises(ValueError, match="no notebook begins with '03'; there are 02_x, 10_x, A1_x"):
        series.find_notebooks(["03"], folder=folder)


def test_no_notebooks_at_all(tmp_path):
    with pytest.raises(ValueError, match="there is no notebook"):
        series.find_notebooks(folder=tmp_path)


# executing one


def test_notebooks_run_in_their_folder_with_this_interpreter(write_notebook, tmp_path, monkeypatch, capfd):
    foreign = tmp_path / "jupyter" / "kernels" / "python3"
    foreign.mkdir(parents=True)
    (foreign / "kernel.json").write_text(
        '{"argv": ["/nowhere/python"], "display_name": "x", "language": "python"}'
    )
    monkeypatch.setenv("JUPYTER_PATH", str(foreign.parents[1]))
    path = write_notebook(
        "01_a.ipynb",
        AGREED,
        "import json, logging, os, sys; loud = logging.getLogger('tornado.general').isEnabledFor(logging.ERROR)",
        "print(json.dumps([os.getcwd(), sys.executable, loud]))",
    )
    copy = tmp_path / "out {of} mine" / "01_a.ipynb"  # braces are not a template
    assert series.execute(path, copy, {}, label="1/1 01_a") is None
    assert json.loads(printed(copy)) == [str(path.parent), sys.executable, False]
    written = capfd.readouterr()
    assert written.err == "", "nothing that a user need not know"
    assert written.out.startswith("1/1 01_a: cell 0 of 3, 00:00\n"), "lines where there is no terminal"


def test_in_a_terminal_there_is_a_bar(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    settings = series._progress("1/2 01_a")
    assert (settings["desc"], settings["leave"]) == ("1/2 01_a", False)
    assert "{bar}" in settings["bar_format"]
    assert "file" not in settings, "lines are for logs"


def test_a_failure_is_kept_by_that_name_with_its_traceback(write_notebook, tmp_path):
    path, copy = (
        write_notebook("01_a.ipynb", AGREED, "print(1)", "1 / 0", "print(2)"),
        tmp_path / "o" / "01_a.ipynb",
    )
    assert series.execute(path, copy, {}, label="x") == "ZeroDivisionError: division by zero"
    assert sorted(os.listdir(copy.parent)) == ["01_a.failed.ipynb", "01_a.failed.txt"]
    sources = [cell.source for cell in nbformat.read(copy.with_name("01_a.failed.ipynb"), as_version=4).cells]
    assert "1 / 0" in sources
    story = copy.with_name("01_a.failed.txt").read_text(encoding="utf-8")
    assert "----> 1 1 / 0" in story
    assert "\x1b" not in story

    path = write_notebook("01_a.ipynb", AGREED, "print(1)")
    assert series.execute(path, copy, {}, label="x") is None
    assert os.listdir(copy.parent) == ["01_a.ipynb"], "no stale failure"

    path = write_notebook("01_a.ipynb", AGREED, "import os; os._exit(1)")
    assert "kernel died" in (series.execute(path, copy, {}, label="x") or "")
    assert sorted(os.listdir(copy.parent)) == ["01_a.failed.ipynb", "01_a.failed.txt"], "no stale success"


def test_a_kernel_that_does_not_start_is_a_failure_of_its_notebook_alone(
    write_notebook, tmp_path, monkeypatch
):
    def dies(_, copy, **__):
        Path(copy).write_text("{}")
        raise RuntimeError("Kernel died before replying to kernel_info")

    monkeypatch.setattr(series.papermill, "execute_notebook", dies)
    copy = tmp_path / "o" / "01_a.ipynb"
    said = series.execute(write_notebook("01_a.ipynb", AGREED), copy, {}, label="x")
    assert said == "Kernel died before replying to kernel_info"
    assert sorted(os.listdir(copy.parent)) == ["01_a.failed.ipynb", "01_a.failed.txt"]


# storing outputs


def test_outputs_are_stored_without_bars_and_times(write_notebook):
    bar = "from tqdm.auto import tqdm\nfor _ in tqdm(range(3)): pass\nprint('shown')"
    path = write_notebook("01_a.ipynb", AGREED, bar)
    assert series.store_outputs(folder=path.parent) == (path,)
    stored = nbformat.read(path, as_version=4)
    assert [output.text for output in stored.cells[1].outputs] == ["shown\n"]
    assert [cell.execution_count for cell in stored.cells] == [1, 2]
    assert set(stored.metadata) == {"kernelspec"}
    assert all("execution" not in cell.metadata for cell in stored.cells)


def test_stored_figures_get_a_palette_where_nobody_sees_it(write_notebook):
    show = "from IPython.display import Image, display; import io, numpy, PIL.Image as P; b = io.BytesIO()\n"
    send = "P.fromarray(x).save(b, 'PNG'); display(Image(b.getvalue()))"
    chart = show + "x = numpy.full((60, 60, 3), 255, 'u1'); x[:, :9] = 7, 90, 200\n" + send
    noise = show + "x = numpy.random.default_rng(0).integers(0, 256, (60, 60, 3), 'u1')\n" + send
    path = write_notebook("01_a.ipynb", AGREED, chart, noise)
    series.store_outputs(folder=path.parent)
    pngs = [c.outputs[0].data["image/png"] for c in nbformat.read(path, as_version=4).cells[1:]]
    figure, photograph = (PIL.Image.open(io.BytesIO(base64.b64decode(png))) for png in pngs)
    assert (figure.mode, photograph.mode) == ("P", "RGB")
    assert figure.convert("RGB").getcolors() == [(60 * 51, (255, 255, 255)), (60 * 9, (7, 90, 200))]


@pytest.mark.parametrize("cell", ["1 / 0", "import sys; print(1, file=sys.stderr)", "import os; os._exit(1)"])
def test_a_notebook_that_fails_stays_as_it_was(write_notebook, cell):
    path = write_notebook("01_a.ipynb", AGREED, cell)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"01_a\.ipynb"):
        series.store_outputs(folder=path.parent)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]
