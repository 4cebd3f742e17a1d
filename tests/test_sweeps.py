"""Sweeps, on notebooks made for them: what is refused, four points on a local cluster, failures, kills, the table."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from distributed import LocalCluster
from matplotlib.figure import Figure
from PIL import Image

from aelib import claims, files, plots, record, runs, steps, sweeps, training
from aelib.images import Images

AGREED = 'images: str = "faces"  # x\ncheckpoint: str = ""  # x\nn_images: int = 60  # x [2..1_000]\nseed: int = 7  # x'
LITTLE = "f: float = 2.5  # limit [0..9]\nseed: int = 7  # seed\nfact: float = 1.0  # factor"
CHECK = "from aelib import claims; claims.claims_table([claims.check('X-mean', f * seed, 0.5)])"


@pytest.fixture
def sweep(tmp_path):
    """Return `run_sweep` on the notebooks below tmp_path."""

    def sweep_here(grid, **options):
        options = {"name": "s", "workers": 2} | options
        return sweeps.run_sweep(grid, notebooks=tmp_path / "notebooks", folder=tmp_path / "sweeps", **options)

    return sweep_here


@pytest.fixture
def no_training(monkeypatch):
    """Let `seed` be a parameter of notebooks that need no network."""
    monkeypatch.setattr(sweeps, "_OF_ITS_OWN", ("images", "n_train"))


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"z_dims": [8, 16]}, r"have no parameter 'z_dims'"),
        ({"z_dim": [8, 8]}, "all different"),
        ({"z_dim": []}, "one value or more"),
        ({"z_dim": [0, 8]}, "z_dim"),
        ({"z_dim": ["eight"]}, "z_dim"),
        ({"activation": ["relu", "step"]}, "activation"),
        ({"epochs": 0}, "epochs"),
        ({"seed": [-1]}, "seed must be a whole number"),
        ({"seed": [1.5]}, "seed must be a whole number"),
        ({"n_train": 99}, "n_train must be"),
        ({"n_train": 200, "images": "photos:x"}, "n_train is for the embedded faces"),
        ({"f": [1.0, 99.0]}, r"01_x.ipynb: f must be from 0 to 9"),
        ({"f": ["much"]}, "f must be of type float"),
        ({"02.f": 1.0}, "begins no name"),
        ({"checkpoint": "there"}, "checkpoint cannot be an axis"),
        ({"images": ["photos:a/x.zip", "photos:b/x.zip"]}, "same name"),
    ],
)
def test_wrong_grids_leave_nothing_behind(write_notebook, sweep, tmp_path, grid, message):
    write_notebook("01_x.ipynb", f"{AGREED}\nf: float = 2.5  # limit [0..9]", "f")
    with pytest.raises(ValueError, match=message):
        sweep(grid)
    assert not (tmp_path / "sweeps").exists()


@pytest.mark.parametrize("options", [{"keep": "all"}, {"workers": -1}, {"name": "../x"}])
def test_wrong_options(write_notebook, sweep, options):
    write_notebook("01_x.ipynb", LITTLE, "f")
    with pytest.raises(ValueError, match="keep must be one of"):
        sweep({"f": [1, 2]}, **options)


def test_points_are_all_combinations_with_names_of_what_varies(write_notebook):
    here = write_notebook("01_x.ipynb", LITTLE).parent
    grid = {"filters": [[8, 16], [4, 8]], "strides": [2, 2], "batch_norm": ["true", "false"], "fact": 1.2}
    points = sweeps.plan(grid, notebooks=here)
    assert [point.name for point in points] == [
        "filters-8-16_batch_norm-True",
        "filters-8-16_batch_norm-False",
        "filters-4-8_batch_norm-True",
        "filters-4-8_batch_norm-False",
    ]
    assert points[1].config().filters == (8, 16) and not points[1].config().batch_norm
    assert points[0].parameters == {"fact": 1.2}
    assert sweeps.plan({"fact": [1.2, 1.3]}, notebooks=here)[0].network is None, "the shipped checkpoint"
    points = sweeps.plan({"fact": [1.2, 1.3], "seed": [1, 2]}, notebooks=here)
    assert [point.network for point in points] == ["seed-1", "seed-2"] * 2, (
        "parameters need no network of their own"
    )


def test_four_points_on_a_local_cluster(write_notebook, sweep, no_training, tmp_path, capfd):
    ran = tmp_path / "ran"
    write_notebook("01_x.ipynb", LITTLE, CHECK, f"open({str(ran)!r}, 'a').write('x')")
    done = sweep({"f": [1.0, 0.25], "seed": [1, 8], "fact": 2.0}, keep="claims")
    assert done.failed == {}
    assert done.table["point"].tolist() == ["f-1.0_seed-1", "f-1.0_seed-8", "f-0.25_seed-1", "f-0.25_seed-8"]
    assert done.table["measured"].tolist() == [1.0, 8.0, 0.25, 2.0]
    assert done.table["verdict"].tolist() == [
        "partly reproduced",
        "reproduced",
        "not reproduced",
        "partly reproduced",
    ]
    assert set(done.table["fact"]) == {2.0}
    assert sweeps.read_table(done.folder / sweeps.TABLE).equals(done.table)
    assert [path.name for path in (done.folder / "figures").iterdir()] == ["X-mean.png"]
    point = done.folder / "points" / "f-1.0_seed-1"
    assert not (point / "notebooks").exists() and (point / record.CLAIMS_RECORD).exists()
    assert "done" in (done.folder / "points" / "f-1.0_seed-1.log.txt").read_text()
    capfd.readouterr()

    again = sweep({"f": [1.0, 0.25], "seed": [1, 8], "fact": 2.0}, keep="claims")
    assert again.table.equals(done.table) and ran.read_text() == "xxxx", "nothing is done twice"
    assert capfd.readouterr().out.startswith("s: 4 of 4 points are done")
    with pytest.raises(ValueError, match="holds another sweep"):
        sweep({"f": [1.0, 0.5], "seed": [1, 8]})


def test_a_point_that_fails_is_reported_and_done_again(write_notebook, sweep, no_training, tmp_path):
    free = tmp_path / "free"
    write_notebook("01_x.ipynb", LITTLE, f"import os; assert f < 2 or os.path.exists({str(free)!r})", CHECK)
    done = sweep({"f": [1.0, 3.0]}, workers=1)
    assert list(done.failed) == ["f-3.0"] and done.failed["f-3.0"].startswith("01_x: AssertionError")
    assert done.table["point"].tolist() == ["f-1.0"]
    assert (done.folder / "points" / "f-1.0" / "notebooks" / "01_x.ipynb").exists(), "all is kept"
    free.touch()
    assert sweep({"f": [1.0, 3.0]}, workers=1).table["measured"].tolist() == [7.0, 21.0]


def test_an_exception_without_a_text_is_a_failure(monkeypatch, tmp_path):
    from distributed import Client

    @contextlib.contextmanager
    def client_of_this_process(scheduler, workers):
        with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
            yield client

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(sweeps, "_client", client_of_this_process)
    monkeypatch.setattr(sweeps, "_run", fail)
    point = sweeps.Point("a", {}, None)
    assert sweeps._carry_out(tmp_path, [point], [], "claims", tmp_path, "", 1) == {"a": "MemoryError"}


def test_a_sweep_killed_in_mid_point_goes_on(write_notebook, sweep, tmp_path):
    begun, free = tmp_path / "begun", tmp_path / "free"
    note = f"open({str(begun)!r}, 'a').write(f'{{f:g}} ')"
    hang = f"import os, time\nwhile f == 2 and not os.path.exists({str(free)!r}): time.sleep(0.05)"
    write_notebook("01_x.ipynb", LITTLE, note, hang, CHECK)
    script = (
        "import sys; from pathlib import Path; from aelib.sweeps import run_sweep\n"
        "if __name__ == '__main__':\n    here = Path(sys.argv[1])\n"
        "    run_sweep({'f': [1.0, 2.0]}, name='s', workers=1, notebooks=here / 'notebooks', folder=here / 'sweeps')"
    )
    (tmp_path / "go.py").write_text(script)
    with subprocess.Popen(
        [sys.executable, tmp_path / "go.py", tmp_path], stdout=subprocess.DEVNULL
    ) as process:
        while not begun.exists() or "2" not in begun.read_text():
            assert process.poll() is None
            time.sleep(0.05)
        with pytest.raises(ValueError, match="another process is writing to"):
            sweep({"f": [1.0, 2.0]})
        os.kill(process.pid, signal.SIGKILL)
    free.touch()
    done = _once_its_workers_are_gone(lambda: sweep({"f": [1.0, 2.0]}, workers=1))
    assert done.failed == {} and done.table["measured"].tolist() == [7.0, 14.0]
    assert begun.read_text().split().count("1") == 1, "a finished point is not run again"


def _once_its_workers_are_gone(call):
    """Call until no worker of the killed sweep holds a folder: they end when they miss it."""
    for _ in range(60):
        done = call()
        if not any("another process is writing" in error for error in done.failed.values()):
            return done
        time.sleep(1)
    return done


def test_a_network_is_trained_on_faces_that_are_not_analysed(tmp_path, monkeypatch):
    grid = {"z_dim": 8, "filters": [[4, 8]], "n_train": 100, "epochs": 1, "seed": 3}
    (point,) = sweeps.plan(grid, only=["02"])
    opened = []
    real = steps.open_images
    monkeypatch.setattr(steps, "open_images", lambda source, **o: opened.append(o) or real(source, **o))
    folder = sweeps._train(tmp_path, point)
    assert opened == [{"n": 100, "seed": 3 + 2**31}]
    found = files.read_json(Path(folder) / "checkpoint.json")
    assert (found["config"]["z_dim"], found["config"]["filters"]) == (8, [4, 8])
    assert found["training"]["epochs"] == 1 and found["training"]["seed"] == 3
    assert sweeps._train(tmp_path, point) == folder, "a finished training is only read"


def test_a_network_for_photographs_is_trained_on_those_that_a_run_would_take(tmp_path, monkeypatch):
    grid = {"images": "photos:x", "seed": 3, "n_images": 300, "filters": [[4, 8]], "epochs": 1}
    (point,) = sweeps.plan(grid, only=["02"])
    opened, trained = [], []
    pixels = np.random.default_rng(5).integers(0, 256, (60, 32, 32, 3), np.uint8)
    faces = Images.from_array(pixels)

    def open_for_run(source, **options):
        opened.append((source, options))
        return faces

    monkeypatch.setattr(steps, "open_for_run", open_for_run)
    monkeypatch.setattr(training, "train", lambda *given, **options: trained.append((given, options)))
    assert sweeps._train(tmp_path, point) == str(tmp_path / "networks" / "network")
    assert opened == [("photos:x", {"n_images": 300, "seed": 3, "at_most": True})]
    (((parts, config), options),) = trained
    expected = faces.split(seed=faces.seed)
    np.testing.assert_array_equal(parts[:3], expected.train[:3])
    np.testing.assert_array_equal(options["validation"][:], expected.validation[:])
    assert (config.image_size, config.filters, options["training"].seed) == (faces.size, (4, 8), 3)


def test_a_sweep_can_use_workers_that_are_there():
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        with sweeps._client(cluster.scheduler_address, 0) as client:
            assert client.submit(sum, [1, 2]).result() == 3
        assert len(cluster.workers) == 1, "they do not end with the sweep"


def test_a_sweep_without_dask_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(ValueError, match=r"a sweep needs dask\.distributed: .*'\.\[scale\]'"),
        sweeps._client("", 1),
    ):
        pass


def test_a_point_runs_with_its_network_and_seed(monkeypatch, tmp_path):
    asked = {}

    def run_series(source, **options):
        asked.update(options, source=source)
        return runs.Run(tmp_path, ())

    monkeypatch.setattr(runs, "run_series", run_series)
    (point,) = sweeps.plan({"z_dim": 8, "seed": 3, "n_images": 300}, only=["02"])
    assert sweeps._run(tmp_path, point, "there", ["02"], "notebooks", Path("notebooks")) == ""
    assert asked["parameters"] == {"n_images": 300, "seed": 3, "checkpoint": "there"}
    assert asked["source"] == "faces" and asked["only"] == ["02"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grid: [1]", "must have an entry `grid`"),
        ("z_dim: 8", "must have an entry `grid`"),
        ("grid: {z_dim: 8}\nnotebook: ['01']", "notebook is not one of"),
        ("grid: {z_dim: 8}\nnotebooks: '01'", "notebooks is not one of"),
        ("grid: {z_dim: [8", "not YAML"),
    ],
)
def test_wrong_files(tmp_path, text, message):
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        sweeps.read_grid(path)
    with pytest.raises(ValueError, match="cannot be read"):
        sweeps.read_grid(tmp_path / "none.yaml")


def table_of(verdicts):
    """Make the table of a sweep with two sizes and two seeds."""
    rows = [
        {"point": str(k), "z_dim": 8 * (1 + k // 2), "seed": k % 2, "claim": claim, "verdict": verdict}
        for claim, said in verdicts.items()
        for k, verdict in enumerate(said)
    ]
    table = pd.DataFrame(rows).assign(measured=1.0, notebook="01_x")
    table["standard error"] = 0.1
    return table


def test_survival_counts_repetitions_of_each_variant():
    good, bad, none = "reproduced", "not reproduced", "not applicable"
    table = table_of(
        {"X-mean": [good, bad, good, good], "I-mse": [bad] * 4, "V-any-b": [good, none, none, none]}
    )
    found = sweeps.survival(table)
    assert found.index.tolist() == ["I-mse", "V-any-b", "X-mean"], "as in the registry"
    assert found.columns.tolist() == ["z_dim 8", "z_dim 16", "variants agree"]
    assert found.loc["X-mean"].tolist() == ["1/2", "2/2", "no"]
    assert found.loc["I-mse"].tolist() == ["0/2", "0/2", "yes"]
    assert found.loc["V-any-b"].tolist() == ["1/1", "–", "yes"]
    assert sweeps.survival(table[table["verdict"] == none]).empty, "as when every point has failed"


def test_tables_that_are_none(tmp_path):
    with pytest.raises(ValueError, match="holds no sweep"):
        sweeps.sweep_table(tmp_path)
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="no table of a sweep: it has no column claim"):
        sweeps.read_table(tmp_path / "x.csv")
    with pytest.raises(ValueError, match="cannot be read"):
        sweeps.read_table(tmp_path / "y.csv")


def test_a_sweep_that_came_to_no_claim_has_an_empty_table(tmp_path):
    files.write_json(tmp_path / "sweep.json", {"axes": ["seed"], "points": [["seed-1", [1]]]})
    table = sweeps.sweep_table(tmp_path)
    table.to_csv(tmp_path / sweeps.TABLE, index=False)
    read = sweeps.read_table(tmp_path / sweeps.TABLE)
    assert read.empty and read.columns.tolist() == table.columns.tolist()
    assert sweeps.survival(read).empty and sweeps.varying_axes(read) == []


def test_a_claim_is_drawn_with_a_column_for_each_variant():
    table = table_of({"X-mean": ["reproduced"] * 4})
    table["measured"] = [1.0, 2.0, 3.0, 4.0]
    claim = next(claim for claim in claims.CLAIMS if claim.key == "X-mean")
    ax = plots.claim_dots(table, claim, axes=["z_dim", "seed"], ax=Figure().subplots())
    x, y = ax.containers[0].lines[0].get_data()
    assert y.tolist() == [1, 2, 3, 4] and np.round(x).tolist() == [0, 0, 1, 1]
    assert x[0] < x[1], "repetitions stand beside each other"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["8", "16"]
    segments = ax.containers[0].lines[2][0].get_segments()
    assert np.diff(segments[0][:, 1])[0] == pytest.approx(0.4), "two standard errors to either side"
    assert ax.get_yscale() == "linear"
    (band,) = ax.patches
    assert band.get_y() == claim.low == 2.0, "the band begins at the criterion, and ends with the axes"
    assert band.get_y() + band.get_height() == pytest.approx(ax.get_ylim()[1])
    none = plots.claim_dots(table.assign(measured=0.5), claim, axes=["z_dim", "seed"], ax=Figure().subplots())
    assert none.patches[0].get_y() == 2.0 and none.get_ylim()[0] < 0.5, "no band where nothing is reproduced"
    wide = table.assign(measured=[0.01, 0.1, 1.0, 10.0])
    assert plots.claim_dots(wide, claim, axes=["z_dim", "seed"], ax=Figure().subplots()).get_yscale() == "log"
    with pytest.raises(ValueError, match="one row or more"):
        plots.claim_dots(table[:0], claim, axes=["seed"])


def test_only_claims_with_figures_are_drawn(tmp_path):
    table = table_of({"X-mean": ["reproduced"] * 4, "I-mse": ["not applicable"] * 4})
    table.loc[table["claim"] == "I-mse", "measured"] = np.nan
    drawn = plots.draw_claims(table, tmp_path, axes=["z_dim", "seed"])
    assert [path.name for path in drawn] == ["X-mean.png"]
    with Image.open(drawn[0]) as picture:
        assert picture.size[0] > 300


@pytest.mark.parametrize(
    "path", sorted((record.ROOT / "notebooks" / "sweeps").glob("*.yaml")), ids=lambda p: p.stem
)
def test_committed_grids_are_right(path):
    asked = sweeps.read_grid(path)
    assert len(sweeps.plan(asked["grid"], only=asked["notebooks"])) >= 12 and asked["keep"] in sweeps.KEEP
