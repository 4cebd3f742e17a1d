"""Runs, on notebooks made for them: what is refused, what the folder holds, how failures end, and resuming."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import filelock
import nbformat
import numpy as np
import pytest
import yaml
from PIL import Image

from aelib import images, model, record, runs, steps, training

AGREED = "\n".join(
    [
        'images: str = "faces"  # source',
        'checkpoint: str = ""  # folder',
        "n_images: int = 5  # images [2..1_000]",
        "seed: int = 7  # seed",
    ]
)
SHOW = "import json; print(json.dumps([images, checkpoint, n_images, seed]))"
LITTLE = "n: int = 1  # x [0..9]"
CLAIM = "from aelib import claims; claims.claims_table([claims.check('I-held-out', 0.4, 0.1)])"


@pytest.fixture
def run(tmp_path):
    """Return `run_series` on the notebooks below tmp_path."""

    def run_here(source="faces", **options):
        return runs.run_series(source, notebooks=tmp_path / "notebooks", runs=tmp_path / "runs", **options)

    return run_here


@pytest.fixture
def resume(tmp_path):
    """Return `resume_series` on the notebooks and runs below tmp_path."""

    def resume_here(name="", **options):
        return runs.resume_series(name, notebooks=tmp_path / "notebooks", runs=tmp_path / "runs", **options)

    return resume_here


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


def test_relative_image_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert runs.absolute_source("photos:../a.zip") == f"photos:{tmp_path.parent / 'a.zip'}"
    assert runs.absolute_source("celeba:~/c") == f"celeba:{Path.home() / 'c'}"
    assert runs.absolute_source("lfw") == "lfw"


# what is refused before anything starts


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"parameters": {"n_image": 3}},
            r"have no parameter 'n_image'; there are .*seed. Did you mean 'n_images'\?",
        ),
        ({"parameters": {"only_02": 3}, "only": ["01"]}, "the chosen notebooks have no parameter 'only_02'"),
        ({"parameters": {"02.only_02": 3}, "only": ["01"]}, "'02' begins no name among the chosen notebooks"),
        (
            {"parameters": {"n_images": "many"}},
            r"01_a\.ipynb: n_images must be of type int, as 5 is, not 'many'",
        ),
        ({"parameters": {"01.n_images": 1}}, r"01_a\.ipynb: n_images must be from 2 to 1_000, not 1"),
        ({"parameters": {"images": "photos:x"}}, "--images"),
        ({"parameters": {"01.images": "photos:x"}}, "--images"),
        ({"parameters": {"checkpoint": "no such folder"}}, "holds no checkpoint"),
        ({"name": "../out"}, "a run's name"),
        ({"name": ".hidden"}, "a run's name"),
        ({"only": ["03"]}, "no notebook begins with '03'"),
        ({"source": "photo:x"}, "photos"),
        ({"source": "photos:/no/such/folder"}, "/no/such/folder"),
        ({"source": "photos:"}, "photos:"),
    ],
)
def test_wrong_orders_leave_nothing_behind(write_notebook, run, tmp_path, options, message):
    write_notebook("01_a.ipynb", AGREED, "print(1)")
    write_notebook("02_b.ipynb", "only_02: int = 1  # x")
    with pytest.raises((ValueError, OSError), match=message):
        run(**options)
    assert not (tmp_path / "runs").exists()


def test_a_profile_may_speak_of_notebooks_that_are_not_chosen(write_notebook, run, tmp_path):
    write_notebook("01_a.ipynb", LITTLE, "print(n)")
    write_notebook("02_b.ipynb", "only_02: int = 1  # x")
    profile = tmp_path / "p.yaml"
    profile.write_text("only_02: 5\n01.n: 3\n")
    result = run(profile=profile, only=["01"])
    assert result.folder.name == "faces-p"
    assert printed(result.outcomes[0].path) == "3\n"
    profile.write_text("in_none: 5\n")
    with pytest.raises(ValueError, match="the notebooks have no parameter 'in_none'"):
        run(profile=profile, only=["01"])


def test_one_folder_is_one_set_of_images_and_one_network(write_notebook, run, monkeypatch):
    monkeypatch.setattr(steps, "share_points", lambda *_: None)
    monkeypatch.setattr(runs, "execute", lambda notebook, copy, values, **_: write_executed(copy, notebook))
    write_notebook("01_a.ipynb", AGREED, "print(1)")
    write_notebook("02_b.ipynb", f"{AGREED}\n{LITTLE}", "print(1)")
    assert run(name="mine", only=["01"]).folder == run(name="mine", only=["02"], parameters={"n": 2}).folder
    with pytest.raises(ValueError, match=r"holds a run with seed 7, not 8: give this one a name of its own"):
        run(name="mine", parameters={"seed": 8})
    with pytest.raises(ValueError, match="seed 7, not 8"):
        run(name="mine", only=["01"], parameters={"01.seed": 8})
    names = [
        run(parameters=p).folder.name for p in ({}, {"n": 5}, {"seed": 8}, {"n_images": 4, "01.seed": 9})
    ]
    assert names == ["faces", "faces", "faces-seed8", "faces-n4-seed9"]


def write_executed(copy: Path, notebook: Path) -> None:
    """Stand in for an execution."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(notebook.read_bytes())


# what a run leaves


def test_a_folder_holds_all_of_its_run(write_notebook, run, tmp_path, capfd):
    figure = "import base64, io; from IPython.display import Image, display; import PIL.Image as P\n"
    figure += "b = io.BytesIO(); P.new('L', (9, 9)).save(b, 'PNG'); display(Image(b.getvalue()))"
    write_notebook("01_a.ipynb", AGREED, CLAIM, figure, SHOW)
    write_notebook("02_b.ipynb", "seed: int = 7\nrate = 0.5\nlast: bool = False", "print(seed, rate, last)")
    (tmp_path / "notebooks" / "GLOSSARY.md").write_text("# Words, linked from the notebooks")
    profile = tmp_path / "p.yaml"
    profile.write_text("n_images: 4\nseed: 6\n")
    result = run(
        profile=profile, parameters={"seed": "8", "rate": "1", "last": "true", "02.seed": 9}, name="mine"
    )
    assert result.folder == tmp_path / "runs" / "mine"
    assert result.failed == ()
    assert [o.path for o in result.outcomes] == [
        result.folder / "notebooks" / f"{n}.ipynb" for n in ("01_a", "02_b")
    ]
    assert json.loads(printed(result.outcomes[0].path)) == ["faces", "", 4, 8]
    assert printed(result.outcomes[1].path) == "9 1.0 True\n"
    assert {path.name for path in (result.folder / "notebooks").iterdir()} == {
        "01_a.ipynb", "02_b.ipynb", "GLOSSARY.md",
    }  # fmt: skip
    assert {path.name for path in result.folder.iterdir()} == {
        ".lock", ".z.lock", "run.json", "parameters.yaml", "versions.json", "data.json", "checkpoint.json", "z.npy",
        "z.json", "notebooks", "figures", "claims.json",
    }  # fmt: skip
    assert np.load(result.folder / "z.npy").shape == (4, 256)
    assert os.listdir(result.folder / "figures") == ["01_cell_3.png"]  # papermill adds a cell of parameters
    (claim,) = record.read_claims(result.folder)
    assert (claim.id, claim.measured, claim.notebook, claim.images) == ("I-held-out", 0.4, "01_a", "faces")
    told = record.read_run(result.folder)
    assert told.shared() == {"images": "faces", "checkpoint": "", "n_images": 4, "seed": 8}
    assert told.unfinished == ()
    lines = [line for line in capfd.readouterr().out.splitlines() if ": done (" in line]
    assert [line.partition(":")[0] for line in lines] == ["1/2 01_a", "2/2 02_b"]

    stored = yaml.safe_load((result.folder / "parameters.yaml").read_text(encoding="utf-8"))
    assert stored == {
        "checkpoint": "", "n_images": 4, "seed": 8, "02_b.seed": 9, "02_b.rate": 1.0, "02_b.last": True,
    }  # fmt: skip
    again = run(profile=result.folder / "parameters.yaml", only=["02"], name="again")
    assert printed(again.outcomes[0].path) == "9 1.0 True\n"


def test_a_failed_notebook_leaves_its_traceback_and_the_others_go_on(write_notebook, run, resume):
    write_notebook("01_a.ipynb", LITTLE, CLAIM, "1 / 0")
    write_notebook("02_b.ipynb", LITTLE, "print(1)")
    result = run()
    folder = result.folder / "notebooks"
    assert sorted(os.listdir(folder)) == ["01_a.failed.ipynb", "01_a.failed.txt", "02_b.ipynb"]
    assert [o.error for o in result.outcomes] == ["ZeroDivisionError: division by zero", None]
    told = record.read_run(result.folder)
    assert (told.unfinished, told.notebooks["01_a"].error) == (
        ("01_a",),
        "ZeroDivisionError: division by zero",
    )
    assert [claim.id for claim in record.read_claims(result.folder)] == ["I-held-out"], (
        "found before it failed"
    )

    write_notebook("01_a.ipynb", LITTLE, "print(1)")
    assert [o.notebook for o in resume().outcomes] == ["01_a"]
    assert sorted(os.listdir(folder)) == ["01_a.ipynb", "02_b.ipynb"], "no stale failure"
    assert record.read_claims(result.folder) == ()


# stopping and resuming


def test_a_run_killed_in_mid_notebook_goes_on_and_is_alone_in_its_folder(
    write_notebook, run, resume, tmp_path
):
    begun = f"open({str(tmp_path / 'begun')!r}, 'a').write('{{}} ')"
    hang = f"import os, time\nwhile not os.path.exists({str(tmp_path / 'free')!r}): time.sleep(0.05)"
    for k in (1, 2, 3):
        write_notebook(f"0{k}_x.ipynb", LITTLE, begun.format(k), hang if k == 2 else "", "print(n)")
    script = (
        "import sys; from pathlib import Path; from aelib.runs import run_series; here = Path(sys.argv[1])\n"
    )
    script += "run_series(notebooks=here / 'notebooks', runs=here / 'runs', parameters={'n': 4})"
    with subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.DEVNULL) as process:
        while "2" not in begun_so_far(tmp_path):
            assert process.poll() is None
            time.sleep(0.05)
        with pytest.raises(
            ValueError, match=r"another process is writing to .*faces: wait for it, or give this run"
        ):
            run()
        with pytest.raises(ValueError, match="another process is writing"):
            resume()
        os.kill(process.pid, signal.SIGKILL)
    folder = tmp_path / "runs" / "faces"
    assert record.read_run(folder).unfinished == ("02_x", "03_x")
    assert record.read_run(folder).notebooks["02_x"].state == "running"

    (tmp_path / "free").touch()
    result = resume()
    assert [(o.notebook, o.error) for o in result.outcomes] == [("02_x", None), ("03_x", None)]
    assert [printed(o.path) for o in result.outcomes] == ["4\n", "4\n"], "the parameters are the run's"
    assert begun_so_far(tmp_path) == ["1", "2", "2", "3"]
    assert sorted(os.listdir(folder / "notebooks")) == [f"0{k}_x.ipynb" for k in (1, 2, 3)], "no leftovers"
    with pytest.raises(ValueError, match="there is no unfinished run"):
        resume()
    assert resume("faces").outcomes == ()


def test_a_notebook_is_not_done_before_its_claims_are_written(write_notebook, run, resume, monkeypatch):
    write_notebook("01_a.ipynb", LITTLE, CLAIM)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(record, "write_claims", killed)
        with pytest.raises(KeyboardInterrupt):
            run()
    (outcome,) = resume().outcomes
    assert [claim.id for claim in record.read_claims(outcome.path.parent.parent)] == ["I-held-out"]


def begun_so_far(folder: Path) -> list[str]:
    """Return the numbers that the notebooks have written."""
    path = folder / "begun"
    return path.read_text().split() if path.exists() else []


def test_resuming_executes_what_has_changed_since(write_notebook, run, resume):
    for name in ("01_a.ipynb", "02_b.ipynb"):
        write_notebook(name, LITTLE, "print(n)")
    folder = run(parameters={"02.n": 3}).folder
    write_notebook("02_b.ipynb", LITTLE, "print(-n)")
    (outcome,) = resume("faces").outcomes
    assert printed(outcome.path) == "-3\n"
    (folder / "notebooks" / "01_a.ipynb").unlink()
    write_notebook("02_b.ipynb", "n: int = 5  # x [5..]", "print(n)")
    with pytest.raises(ValueError, match=r"02_b\.ipynb: n must be 5 or more, not 3"):
        resume("faces")


def test_the_run_to_resume(write_notebook, run, resume, tmp_path):
    with pytest.raises(ValueError, match="there is no unfinished run in"):
        resume()
    with pytest.raises(ValueError, match="holds no run to resume"):
        resume("faces")
    write_notebook("01_a.ipynb", LITTLE, "1 / 0")
    run(name="older")
    (tmp_path / "runs" / "other").mkdir()
    (tmp_path / "runs" / "other" / "run.json").write_text("{}")
    assert resume().folder.name == "older"
    with pytest.raises(ValueError, match="no unfinished run on lfw"):
        resume(source="lfw")
    (tmp_path / "notebooks" / "01_a.ipynb").rename(tmp_path / "notebooks" / "01_b.ipynb")
    with pytest.raises(ValueError, match="was to execute 01_a, not in"):
        resume()


def test_one_writer_per_run(write_notebook, run, tmp_path):
    write_notebook("01_a.ipynb", LITTLE, "print(1)")
    left = tmp_path / "runs" / "faces" / "notebooks" / ".executing-abc"
    left.mkdir(parents=True)
    (left / "01_a.ipynb").write_text("half of it")
    with (
        filelock.FileLock(tmp_path / "runs" / "faces" / ".lock"),
        pytest.raises(ValueError, match="another process is writing"),
    ):
        run()
    assert left.exists()
    assert run().failed == ()
    assert os.listdir(left.parent) == ["01_a.ipynb"], "what a killed run left is removed"


# training first


def test_photographs_are_trained_on_once_and_held_out_ones_are_held_out(
    write_notebook, run, photos, monkeypatch
):
    write_notebook("01_a.ipynb", AGREED.replace("= 5 ", "= 100 "), SHOW)
    monkeypatch.setattr(steps, "IMAGE_EPOCHS", 100)
    monkeypatch.chdir(photos.parent)
    result = run(f"photos:{photos.name}", parameters={"seed": 3}, name="mine")
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

    reference = json.loads((result.folder / "checkpoint.json").read_text())
    assert reference["folder"] == "checkpoint"
    assert json.loads((result.folder / "data.json").read_text())["images"]["n"] == 60
    before = trained.history
    again = run(f"photos:{photos.name}", parameters={"seed": 3}, name="mine")
    assert model.load_checkpoint(again.folder / "checkpoint").history == before, (
        "seconds included: not trained again"
    )


def test_what_is_held_out_is_the_same_for_all_notebooks(write_notebook, run, photos):
    for name in ("01_a.ipynb", "02_b.ipynb"):
        write_notebook(name, AGREED, SHOW)
    with pytest.raises(ValueError, match="decide which images are held out"):
        run(f"photos:{photos}", parameters={"01.seed": 3})


def test_too_few_photographs(write_notebook, run, photos, tmp_path):
    write_notebook("01_a.ipynb", AGREED.replace("= 5 ", "= 100 ").replace("[2..", "[61.."), SHOW)
    with pytest.raises(ValueError, match=r"01_a\.ipynb: n_images must be from 61 to 1_000, not 60"):
        run(f"photos:{photos}")
    assert not (tmp_path / "runs").exists()


def test_a_checkpoint_of_ones_own_is_not_trained_again(write_notebook, run, photos, monkeypatch):
    write_notebook("01_a.ipynb", AGREED, SHOW)
    monkeypatch.setattr(steps, "train", lambda *_, **__: pytest.fail("trained"))
    monkeypatch.chdir(photos)
    own = model.build(model.AutoencoderConfig(filters=(4, 8), z_dim=3, image_size=96))
    model.save_checkpoint(own, "mine")
    result = run(f"photos:{photos}", parameters={"checkpoint": "mine", "n_images": 20})
    assert json.loads(printed(result.outcomes[0].path)) == [f"photos:{photos}", str(photos / "mine"), 20, 7]
    assert result.folder.name == "photos-my-photos-n20-mine"
    assert np.load(result.folder / "z.npy").shape == (20, 3)


def test_a_run_is_on_the_same_photographs_throughout(write_notebook, run, resume, photos, tmp_path):
    one, away = photos / "0.png", tmp_path / "0.png"
    moved_once = (
        f"if not os.path.exists('moved'):\n    os.rename({str(one)!r}, {str(away)!r}); open('moved', 'w')"
    )
    write_notebook("01_a.ipynb", AGREED, "print(1)")
    write_notebook("02_b.ipynb", AGREED, f"import os\n{moved_once}")
    own = model.build(model.AutoencoderConfig(filters=(4, 8), z_dim=3, image_size=96))
    model.save_checkpoint(own, tmp_path / "own")
    asked = {"parameters": {"checkpoint": str(tmp_path / "own"), "n_images": 20}, "name": "mine"}
    assert run(f"photos:{photos}", only=["01"], **asked).failed == ()

    one.rename(away)
    with pytest.raises(ValueError, match=r"does not give the images any more that .*data\.json describes"):
        run(f"photos:{photos}", only=["02"], **asked)
    away.rename(one)
    (changed,) = run(f"photos:{photos}", only=["02"], **asked).failed  # while 02 is running
    assert "bring them back as they were" in changed.error
    assert changed.path.name == "02_b.failed.ipynb" and changed.path.is_file()
    assert not (changed.path.parent / "02_b.ipynb").exists()
    assert record.read_run(tmp_path / "runs" / "mine").unfinished == ("02_b",)
    away.rename(one)
    assert [outcome.notebook for outcome in resume("mine").outcomes] == ["02_b"]
    assert record.read_run(tmp_path / "runs" / "mine").unfinished == ()
