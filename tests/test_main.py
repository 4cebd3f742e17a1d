"""The command line: exit statuses, messages without tracebacks, and what reaches the library."""

import errno
import functools
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from aelib import __main__ as command_line
from aelib import application, editions, model, record, runs, series, site, sweeps


def test_help_is_quick_and_needs_no_keras():
    script = "import sys, aelib.__main__ as m\ntry: m.main(['run', '-h'])\nfinally: assert 'keras' not in sys.modules"
    outcome = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert "photos:PATH" in outcome.stdout


@pytest.mark.parametrize(
    "words",
    [[], ["fly"], ["run", "--no-such"], ["train"], ["run", "-p", "n"], ["train", "--n", "x", "--out", "y"]],
)
def test_wrong_commands(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        command_line.main(words)
    assert "usage: " in capsys.readouterr().err


@pytest.fixture
def in_tmp_path(tmp_path, monkeypatch):
    """Let the command line work on tmp_path/notebooks and write to tmp_path/runs."""
    for name in ("run_series", "resume_series"):
        here = functools.partial(
            getattr(runs, name), notebooks=tmp_path / "notebooks", runs=tmp_path / "runs"
        )
        monkeypatch.setattr(runs, name, here)
    monkeypatch.setattr(record, "RUNS", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_run_ends_with_where_the_results_are(write_notebook, in_tmp_path, capsys):
    write_notebook("01_a.ipynb", "n: int = 1  # x", "print(n)")
    assert command_line.main(["run", "-p", "n", "3", "--name", "mine"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "results: runs/mine"


def test_run_with_a_failing_notebook(write_notebook, in_tmp_path, capsys):
    write_notebook("01_a.ipynb", "n: int = 1  # x", "n / 0")
    assert command_line.main(["run"]) == 1
    out, err = capsys.readouterr()
    assert err == "aelib: 01_a failed: ZeroDivisionError: division by zero\n"
    assert out.splitlines()[-1] == "results: runs/faces"

    write_notebook("01_a.ipynb", "n: int = 1  # x", "n / 1")
    assert command_line.main(["run", "--resume"]) == 0
    assert "resuming faces: 0 of 1 are done" in capsys.readouterr().out


def test_claims_of_a_run(write_notebook, in_tmp_path, capsys):
    cell = "from aelib import claims; claims.claims_table([claims.check('I-held-out', 0.4, 0.1)])"
    write_notebook("01_a.ipynb", "n: int = 1  # x", cell)
    command_line.main(["run"])
    capsys.readouterr()
    assert command_line.main(["claims", "faces"]) == 0
    by_name = capsys.readouterr().out
    assert "I-held-out  shown   ≤ 1            0.4 ± 0.1  reproduced" in by_name
    assert command_line.main(["claims", "runs/faces"]) == 0
    assert capsys.readouterr().out == by_name


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "--images", "fotos:x"], "photos"),
        (["run", "--images", "photos:/no/such/place"], "/no/such/place"),
        (["run", "-p", "m", "3"], "have no parameter 'm'; there are n"),
        (["run", "-f", "no.yaml"], "no.yaml"),
        (["run", "--notebooks", "09"], "no notebook begins with '09'"),
        (["run", "-p", "n", "10"], "01_a.ipynb: n must be from 0 to 9, not '10'"),
        (["run", "--resume", "-p", "n", "3"], "a resumed run keeps its notebooks and parameters"),
        (["run", "--resume"], "there is no unfinished run"),
        (["claims", "nothing"], "holds no run"),
        (["sweep", "--name", "x"], "a sweep needs a grid"),
        (["sweep", "-g", "seed", "1", "2"], "and a name (--name)"),
        (["sweep", "-f", "no.yaml"], "no.yaml"),
        (["train", "--preset", "post9", "--out", "x"], "post3"),
        (["train", "--n", "10", "--validation", "20", "--out", "x"], "validation"),
    ],
)
def test_user_errors_are_one_line_and_status_2(write_notebook, in_tmp_path, capsys, words, expected):
    write_notebook("01_a.ipynb", "n: int = 1  # x [0..9]")
    assert command_line.main(words) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    message = err.splitlines()[-1]  # after a progress bar, perhaps
    assert message.startswith("aelib: ")
    assert expected in message


def test_traceback_on_request(write_notebook, in_tmp_path):
    write_notebook("01_a.ipynb", "n: int = 1  # x")
    with pytest.raises(ValueError, match="no parameter 'm'"):
        command_line.main(["--traceback", "run", "-p", "m", "3"])


def test_an_interrupt_is_no_traceback(monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "run_series", interrupted)
    assert command_line.main(["run"]) == 130
    assert "`run --resume` goes on" in capsys.readouterr().err


def test_an_interrupt_before_anything_was_begun_is_no_traceback(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "parser", interrupted)
    assert command_line.main(["run"]) == 130
    assert capsys.readouterr().err == "\naelib: interrupted; nothing was begun.\n"


class ResourceExhaustedError(Exception):
    """TensorFlow has one of this name, for main memory and that of GPUs."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "z.npy"),
            "'z.npy'; make room, and `run --resume` goes on",
        ),
        (
            MemoryError("32 GB"),
            "the memory is not enough (32 GB); close other programs, and `run --resume` goes on",
        ),
        (
            ResourceExhaustedError("OOM\nfar away"),
            "the memory is not enough (OOM); close other programs, and",
        ),
        (
            Exception(
                "Graph execution error:\nStatus: 1, message: could not create a primitive, in file x.cc"
            ),
            "the memory is not enough (Graph execution error:); close other programs, and",
        ),
    ],
)
def test_what_to_do_when_a_disk_or_the_memory_is_full(monkeypatch, capsys, error, expected):
    def starved(*_, **__):
        raise error

    monkeypatch.setattr(runs, "run_series", starved)
    assert command_line.main(["run"]) == 2
    assert expected in capsys.readouterr().err


def test_a_sweep_takes_its_grid_from_a_file_and_from_words(tmp_path, monkeypatch, capsys):
    def run_sweep(grid, **options):
        asked.update(options, grid=grid)
        row = {"point": "z_dim-8", "z_dim": 8, "claim": "X-mean", "verdict": "reproduced"}
        return sweeps.Sweep(tmp_path / "here", pd.DataFrame([row]), asked.pop("failed"))

    monkeypatch.setattr(sweeps, "run_sweep", run_sweep)
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text("grid: {z_dim: [8, 16], seed: 1}\nnotebooks: ['02']\nkeep: claims")
    asked = {"failed": {}}
    assert command_line.main(["sweep", "-f", "small.yaml", "-g", "seed", "3", "4"]) == 0
    assert asked["grid"] == {"z_dim": [8, 16], "seed": ["3", "4"]}, "words win over the file"
    assert (asked["name"], asked["only"], asked["keep"]) == ("small", ["02"], "claims")
    out = capsys.readouterr().out.splitlines()
    assert (out[2].split(), out[-1]) == (["X-mean", "1/1", "yes"], "results: here")

    asked = {"failed": {"z_dim-16": "02_x: no memory"}}
    words = ["--name", "mine", "--keep", "notebooks", "--notebooks", "05", "--workers", "1"]
    assert command_line.main(["sweep", "-f", "small.yaml", *words]) == 1
    assert (asked["name"], asked["only"], asked["keep"], asked["workers"]) == ("mine", ["05"], "notebooks", 1)
    assert capsys.readouterr().err == "aelib: z_dim-16 failed: 02_x: no memory\n"


def test_thumbnails_are_made_of_what_was_stored(monkeypatch, capsys):
    done = []
    monkeypatch.setattr(series, "store_outputs", lambda only: done.append(only) or (Path("01_a.ipynb"),))
    monkeypatch.setattr(site, "write_thumbnails", lambda: done.append("thumbnails"))
    assert command_line.main(["store", "--notebooks", "01"]) == 0
    assert done == [["01"], "thumbnails"]
    assert capsys.readouterr().out == "stored: 01_a\n"


def test_a_site_with_warnings_is_built_and_they_are_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(site, "build_site", lambda run, *, out: (out / run, "x.md: WARNING: dead link"))
    assert command_line.main(["site", "mine", "--out", str(tmp_path)]) == 0
    assert tuple(capsys.readouterr()) == ("site: mine\n", "x.md: WARNING: dead link\n")


def test_the_explorer_is_served_as_asked(monkeypatch):
    served = []
    monkeypatch.setattr(application, "serve", lambda values, **how: served.append((values, how)))
    assert command_line.main(["explore", "--n-images", "300", "--port", "9000", "--no-browser"]) == 0
    assert command_line.main(["explore"]) == 0
    assert served == [
        ({"n_images": 300}, {"port": 9000, "open_browser": False}),
        ({}, {"port": 8866, "open_browser": True}),
    ]


def test_the_student_edition_goes_where_it_is_asked_to(tmp_path, monkeypatch, capsys):
    written = []
    monkeypatch.setattr(editions, "write_student", lambda out, *, outputs: written.append((out, outputs)))
    monkeypatch.chdir(tmp_path)
    assert command_line.main(["edition", "student", "--out", str(tmp_path / "course"), "--outputs"]) == 0
    assert command_line.main(["edition", "student"]) == 0
    assert written == [(tmp_path / "course", True), (editions.STUDENT, False)]
    assert capsys.readouterr().out.startswith("student edition: course\n")


def test_what_nobody_expects_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(runs, "run_series", lambda *_, **__: {}["x"])
    with pytest.raises(KeyError):
        command_line.main(["run"])


def test_train_writes_a_checkpoint_with_its_settings(tmp_path, capsys):
    words = ["train", "--n", "50", "--z-dim", "4", "--epochs", "1", "--batch-size", "16", "--seed", "5"]
    words += [
        "--loss",
        "bce",
        "--schedule",
        "cosine",
        "--learning-rate",
        "1e-3",
        "--flips",
        "--precision",
        "float32",
    ]
    assert command_line.main([*words, "--validation", "10", "--out", str(tmp_path / "c")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"checkpoint: {tmp_path / 'c'}"
    trained = model.load_checkpoint(tmp_path / "c")
    assert (trained.config.z_dim, trained.config.loss, trained.config.filters) == (
        4,
        "bce",
        (64, 64, 128, 128),
    )
    assert len(trained.history) == 1
    assert trained.training["schedule"] == "cosine"
    assert trained.training["flips"] is True
