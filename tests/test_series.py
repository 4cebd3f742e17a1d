"""The runner, on notebooks made for it: what they are handed, how failures end, and the training before them."""

import base64
import dataclasses
import io
import json
import os
import sys
from pathlib import Path

import filelock
import nbformat
import numpy as np
import PIL.Image
import pytest
from PIL import Image

from aelib import images, model, series, training

SHOW = "import json; print(json.dumps([images, checkpoint, n_images, seed]))"
AGREED = "\n".join(
    [
        'images: str = "faces"  # source',
        'checkpoint: str = ""  # folder',
        "n_images: int = 20_000  # images",
        "seed: int = 7  # seed",
    ]
)


@pytest.fixture
def run(tmp_path):
    """Return `run_series` on the notebooks below tmp_path."""

    def run_here(source="faces", **options):
        return series.run_series(source, notebooks=tmp_path / "notebooks", runs=tmp_path / "runs", **options)

    return run_here


def printed(path: Path) -> str:
    """Return what the last cell of an executed notebook printed."""
    return nbformat.read(path, as_version=4).cells[-1].outputs[0].text


@pytest.fixture
def photos(tmp_path):
    """A folder of sixty coloured gradients."""
    folder = tmp_path / "my photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 1, 40)[:, None, None]
    for k, (top, bottom) in enumerate(rng.uniform(0, 255, (60, 2, 3))):
        pixels = np.broadcast_to(top * (1 - ramp) + bottom * ramp, (40, 40, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{k}.png")
    return folder


# which notebooks


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


def test_declared_parameters_are_read_without_running_them(write_notebook):
    path = write_notebook("01_x.ipynb", 'a: int = 20_000  # n\nb = -1.5\nc: str = "x"\nd = ("a", 1)\n')
    assert series.declared_parameters(path) == {"a": 20_000, "b": -1.5, "c": "x", "d": ("a", 1)}


@pytest.mark.parametrize(
    "source", ["n = 3 * 4", "import os", "a = b = 1", "n: int", "n = [x for x in y]", "n = ("]
)
def test_parameters_must_be_literals(write_notebook, source):
    with pytest.raises(ValueError, match=r"the parameters cell of .*01_x\.ipynb"):
        series.declared_parameters(write_notebook("01_x.ipynb", source))


def test_a_file_that_is_no_notebook(tmp_path):
    (tmp_path / "01_x.ipynb").write_text("{")
    with pytest.raises(ValueError, match="not a readable notebook"):
        series.declared_parameters(tmp_path / "01_x.ipynb")
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "01_x.ipynb")
    with pytest.raises(ValueError, match="has 0 cells tagged 'parameters'"):
        series.declared_parameters(tmp_path / "01_x.ipynb")


def test_parameter_files(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("# scale\nn_images: 170_000\n")
    assert series.read_parameters(path) == {"n_images": 170_000}
    path.write_text("# nothing\n")
    assert series.read_parameters(path) == {}


@pytest.mark.parametrize(
    ("text", "message"), [("- 1\n", "name: value"), ("1: 2\n", "name: value"), ("{", "not YAML")]
)
def test_parameter_files_that_are_none(tmp_path, text, message):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        series.read_parameters(path)


def test_relative_image_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert series.absolute_source("photos:../a.zip") == f"photos:{tmp_path.parent / 'a.zip'}"
    assert series.absolute_source("celeba:~/c") == f"celeba:{Path.home() / 'c'}"
    assert series.absolute_source("lfw") == "lfw"


@pytest.mark.parametrize(("n", "epochs"), [(1, 100), (7_295, 16), (60_000, 2), (178_000, 1)])
def test_epochs_follow_from_the_budget(n, epochs):
    assert series.epochs_within(120_000, n_images=n) == epochs


# running them


def test_a_run_hands_each_notebook_what_it_declares(write_notebook, run, tmp_path):
    write_notebook("01_a.ipynb", AGREED, SHOW)
    write_notebook("02_b.ipynb", "seed: int = 7\nrate = 0.5\nlast: bool = False", "print(seed, rate, last)")
    profile = tmp_path / "p.yaml"
    profile.write_text("n_images: 5\nseed: 6\n")
    result = run(profile=profile, parameters={"seed": "8", "rate": "1", "last": "true"})
    assert result.folder == tmp_path / "runs" / "faces"
    assert [outcome.notebook for outcome in result.outcomes] == ["01_a", "02_b"]
    assert result.failed == ()
    assert [o.path for o in result.outcomes] == [
        result.folder / "notebooks" / f"{n}.ipynb" for n in ("01_a", "02_b")
    ]
    assert json.loads(printed(result.outcomes[0].path)) == ["faces", "", 5, 8]
    assert printed(result.outcomes[1].path) == "8 1.0 True\n"


def test_notebooks_run_in_their_folder_with_this_interpreter(
    write_notebook, run, tmp_path, monkeypatch, capfd
):
    foreign = tmp_path / "jupyter" / "kernels" / "python3"
    foreign.mkdir(parents=True)
    (foreign / "kernel.json").write_text(
        '{"argv": ["/nowhere/python"], "display_name": "x", "language": "python"}'
    )
    monkeypatch.setenv("JUPYTER_PATH", str(foreign.parents[1]))
    path = write_notebook(
        "01_{a}b.ipynb".replace("{a}", "a"), AGREED, "import os, sys; print(os.getcwd(), sys.executable)"
    )
    result = run()
    assert printed(result.outcomes[0].path).split() == [str(path.parent), sys.executable]
    written = capfd.readouterr()
    assert written.err == "", "a run writes nothing that a user need not know"
    assert written.out.startswith("01_ab: done (")


def test_braces_in_a_path_are_not_a_template(write_notebook, tmp_path):
    folder = write_notebook("01_a.ipynb", AGREED, "print(1)").parent
    result = series.run_series(notebooks=folder, runs=tmp_path / "runs {of} mine")
    assert result.failed == ()
    assert result.outcomes[0].path.is_file()


def test_a_failed_notebook_is_kept_by_that_name_and_the_others_go_on(write_notebook, run):
    write_notebook("01_a.ipynb", AGREED, "print(1)", "1 / 0", "print(2)")
    write_notebook("02_b.ipynb", AGREED, "print(1)")
    folder = run().folder / "notebooks"
    assert sorted(path.name for path in folder.iterdir()) == ["01_a.failed.ipynb", "02_b.ipynb"]
    sources = [cell.source for cell in nbformat.read(folder / "01_a.failed.ipynb", as_version=4).cells]
    assert "1 / 0" in sources

    write_notebook("01_a.ipynb", AGREED, "print(1)")
    assert run().failed == ()
    assert sorted(path.name for path in folder.iterdir()) == ["01_a.ipynb", "02_b.ipynb"], "no stale failure"

    write_notebook("01_a.ipynb", AGREED, "raise KeyError('x')")
    (failure,) = run(only=["01"]).failed
    assert (failure.notebook, failure.error, failure.path.name) == (
        "01_a",
        "KeyError: 'x'",
        "01_a.failed.ipynb",
    )
    assert sorted(path.name for path in folder.iterdir()) == ["01_a.failed.ipynb", "02_b.ipynb"], (
        "no stale success"
    )


def test_a_kernel_that_dies(write_notebook, run):
    write_notebook("01_a.ipynb", AGREED, "import os; os._exit(1)")
    (failure,) = run().failed
    assert "kernel died" in failure.error


def test_what_a_killed_run_left_is_removed(write_notebook, run, tmp_path):
    write_notebook("01_a.ipynb", AGREED, "print(1)")
    left = tmp_path / "runs" / "faces" / "notebooks" / ".executing-abc"
    left.mkdir(parents=True)
    (left / "01_a.ipynb").write_text("half of it")
    assert [path.name for path in run().outcomes[0].path.parent.iterdir()] == ["01_a.ipynb"]


def test_one_writer_per_run(write_notebook, run, tmp_path):
    write_notebook("01_a.ipynb", AGREED, "print(1)")
    folder = tmp_path / "runs" / "faces"
    folder.mkdir(parents=True)
    with filelock.FileLock(folder / ".lock"), pytest.raises(ValueError, match="another process is writing"):
        run()
    assert run().failed == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"parameters": {"n_image": 3}},
            r"have no parameter 'n_image'; there are .*seed. Did you mean 'n_images'\?",
        ),
        ({"parameters": {"only_02": 3}, "only": ["01"]}, "the chosen notebooks have no parameter 'only_02'"),
        (
            {"parameters": {"n_images": "many"}},
            r"01_a\.ipynb: n_images must be of type int, as 20000 is, not 'many'",
        ),
        ({"parameters": {"n_images": "2.5"}}, "of type int"),
        ({"parameters": {"n_images": "True"}}, "of type int"),
        ({"parameters": {"images": "photos:x"}}, "--images"),
        ({"name": "../out"}, "a run's name"),
        ({"name": ".hidden"}, "a run's name"),
        ({"source": "photo:x"}, "photos"),
        ({"source": "photos:/no/such/folder"}, "/no/such/folder"),
        ({"source": "photos:"}, "photos:"),
    ],
)
def test_wrong_orders_are_refused_before_anything_runs(write_notebook, run, tmp_path, options, message):
    write_notebook("01_a.ipynb", AGREED, "print(1)")
    write_notebook("02_b.ipynb", "only_02: int = 1  # x")
    with pytest.raises((ValueError, OSError), match=message):
        run(**options)
    assert not list(tmp_path.glob("runs/*/notebooks/*"))


def test_a_profile_may_speak_of_notebooks_that_are_not_chosen(write_notebook, run, tmp_path):
    write_notebook("01_a.ipynb", AGREED, "print(1)")
    write_notebook("02_b.ipynb", "only_02: int = 1  # x")
    profile = tmp_path / "p.yaml"
    profile.write_text("only_02: 5\n")
    assert run(profile=profile, only=["01"]).failed == ()
    profile.write_text("in_none: 5\n")
    with pytest.raises(ValueError, match="in_none"):
        run(profile=profile, only=["01"])


# training first


def test_photographs_are_trained_on_once_and_held_out_ones_are_held_out(
    write_notebook, run, photos, monkeypatch
):
    write_notebook("01_a.ipynb", AGREED, SHOW)
    monkeypatch.setattr(series, "IMAGE_EPOCHS", 100)
    monkeypatch.chdir(photos.parent)
    result = run(f"photos:{photos.name}", parameters={"seed": 3})
    assert result.folder.name == "photos-my-photos"
    source, checkpoint, n, seed = json.loads(printed(result.outcomes[0].path))
    assert (source, n, seed) == (f"photos:{photos}", 60, 3)
    assert Path(checkpoint) == result.folder / "checkpoint"

    trained = model.load_checkpoint(checkpoint)
    parts = images.open_images(source, n=n, seed=seed).split(seed=seed)
    assert trained.data == {"images": parts.train.description(), "validation": parts.validation.description()}
    assert trained.data["images"]["split"] == {
        "part": "train",
        "validation": 0.06,
        "test": 0.06,
        "seed": 3,
        "n": 60,
    }
    assert len(trained.history) == 2
    assert {len(parts.validation), len(parts.test)} <= {3, 4}
    everyone = np.concatenate([parts.train.indices, parts.validation.indices, parts.test.indices])
    assert sorted(everyone) == list(range(60))

    opened = images.open_images(source, n=n, seed=seed)
    np.testing.assert_array_equal(training.training_images(trained, opened, n=5)[:], parts.train[:5])
    assert len(training.training_images(trained, opened, n=1000)) == len(parts.train)
    with pytest.raises(ValueError, match="other images"):
        training.training_images(trained, opened.subset(slice(0, 30)), n=5)

    before = trained.history
    again = run(f"photos:{photos.name}", parameters={"seed": 3})
    assert model.load_checkpoint(again.folder / "checkpoint").history == before, (
        "seconds included: not trained again"
    )


def test_a_checkpoint_of_ones_own_is_not_trained_again(write_notebook, run, photos, monkeypatch):
    write_notebook("01_a.ipynb", AGREED, SHOW)
    monkeypatch.setattr(series, "train", lambda *_, **__: pytest.fail("trained"))
    monkeypatch.chdir(photos)
    result = run(f"photos:{photos}", parameters={"checkpoint": "mine", "n_images": 20}, name="mine")
    assert json.loads(printed(result.outcomes[0].path)) == [f"photos:{photos}", str(photos / "mine"), 20, 7]
    assert result.folder.name == "mine"


def test_rendered_training_images_are_rendered_again():
    parts = images.open_images("faces", n=40, seed=1).split(validation=3, test=4, seed=1)
    record = {"images": parts.train.description(), "validation": parts.validation.description()}
    trained = dataclasses.replace(model.build(model.PRESETS["post3"]), data=json.loads(json.dumps(record)))
    other = images.Images.from_array(np.zeros((2, 96, 96, 3), np.uint8))
    np.testing.assert_array_equal(training.training_images(trained, other, n=6)[:], parts.train[:6])
    with pytest.raises(ValueError, match="does not say"):
        training.training_images(model.build(model.PRESETS["post3"]), other, n=6)


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
