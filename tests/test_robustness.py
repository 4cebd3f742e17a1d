"""The commands that break things: they find out whoever misbehaves, and say so when they were not finished."""

import argparse
import dataclasses
import json
import signal
import subprocess
import sys

import hypothesis
import pytest
from PIL import Image

from robustness import careless, faults, finished, loaders, misbehaving, processes, trials
from robustness.fuzz import Tally
from robustness.watch import Watch


def raising(error):
    def load(data, folder):
        raise error

    return load


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        (lambda data, folder: False, "accepted"),
        (lambda data, folder: True, "skipped"),
        (raising(ValueError("it is damaged")), "error"),
        (raising(OSError("it is gone")), "error"),
        (raising(ValueError()), "FAILURE: a ValueError that says nothing"),
        (raising(KeyError("x")), "FAILURE: KeyError"),
    ],
)
def test_outcomes(tmp_path, load, expected):
    (tmp_path / "work").mkdir()
    assert Watch(tmp_path / "work", 60).attempt(load, b"").startswith(expected)


def test_whoever_misbehaves_is_found_out():
    """In processes of their own: an audit hook cannot be taken away again."""
    words = [sys.executable, "-m", "robustness.fuzz", "--self-test"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    rows = [line.split(" | ") for line in done.stdout.splitlines()[2:]]
    assert {row[0].strip("| ") for row in rows if row[-1] == "yes |"} == {
        load.__name__.strip("_").replace("_", " ") for load in misbehaving.EXPECTED
    }, done.stdout + done.stderr
    assert done.returncode == 0


def test_a_row_adds_up(tmp_path):
    tally = Tally("x (.y)", allowed=100, most=3.4, seconds=90)
    for outcome in (*["error"] * 1200, "skipped", "accepted", "FAILURE: a", "FAILURE: a", "FAILURE: b"):
        tally.note(outcome, outcome.encode(), tmp_path)
    assert tally.row() == "| x (.y) | 1 205 | 1 200 | 1 | 1 | 3 | 100 | 3 | 1.5 |"
    assert {name: (tmp_path / name).read_text() for name in tally.failures.values()} == {
        "x-0": "FAILURE: a",
        "x-1": "FAILURE: b",
    }


@pytest.mark.parametrize("make", loaders.LOADERS)
def test_whole_files_are_taken(make, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)  # loaders of images set it
    (tmp_path / "work").mkdir()
    loader, watch = make(), Watch(tmp_path / "work", 60)
    assert {watch.attempt(loader.load, whole) for whole in loader.whole} == {"accepted"}


CHEAP = (
    *(loaders.parameter_file, loaders.notebook, loaders.run_folder, loaders.explored_run),
    *(loaders.sweep_table, loaders.sampler),
)


@pytest.mark.parametrize("make", CHEAP)
def test_a_few_spoiled_files(make, tmp_path):
    (tmp_path / "work").mkdir()
    loader, watch = make(), Watch(tmp_path / "work", 60)

    @hypothesis.settings(max_examples=25)
    @hypothesis.given(loader.inputs)
    def one(data):
        outcome = watch.attempt(loader.load, data)
        assert not outcome.startswith("FAILURE"), outcome

    one()


@pytest.mark.skipif(sys.platform != "linux", reason="faults are tried on Linux")
def test_careless_jobs_are_found_out():
    words = [sys.executable, "-m", "robustness.faults", "--self-test"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")][1:]
    tried = {tuple(row[:2]): row[2:] for row in rows}
    assert set(careless.EXPECTED) < set(tried), done.stdout + done.stderr
    assert all(
        said == ["yes", "yes"] or "skipped" in said[0] for said in map(tried.get, careless.EXPECTED)
    ), done.stdout
    assert done.returncode == 0, done.stdout


def test_jobs_can_be_interrupted_though_a_shell_s_background_jobs_cannot(tmp_path):
    words = processes.python("-c", "import signal; print(signal.getsignal(signal.SIGINT))")
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        started = processes.start(words, log=tmp_path / "log.txt", variables={})
    finally:
        signal.signal(signal.SIGINT, before)
    assert started.finish(60) == 0
    assert "default_int_handler" in started.output()


def test_what_may_be_replaced_is_marked_so_within_a_sweep_too():
    marked = finished._within("a", {"~x.png": "1", "y": "2"})
    assert marked == {"~a: x.png": "1", "a: y": "2"}


class Row:
    """A row of the table, whose tries take no time, and of which only so many fit into its minutes."""

    def __init__(self, monkeypatch, folder, problems=()):
        monkeypatch.setattr(faults, "PLACE", folder)
        monkeypatch.setattr(careless, "WORK", folder)
        self.job = dataclasses.replace(careless._job(careless.CAREFUL), name="toy")
        monkeypatch.setattr(faults, "measured", lambda job: trials.Reference(job, {}, 0.0, 1.0, 0))
        monkeypatch.setattr(faults, "disturbed", self.disturbed)
        self.problems, self.begun_at, self.most = problems, [], 2

    def disturbed(self, _reference, _disturb, *, times, tally, **_):
        self.begun_at.append(tally.tried)
        for _ in range(min(self.most, times - tally.tried)):
            tally.tried += 1
            tally.counts["of the parent alone"] += 1
        tally.timed("it is gone", 0.25)
        tally.failures += self.problems

    def printed(self, capsys, times):
        options = argparse.Namespace(times=times, seed=0, minutes=1.0, again=False)
        fault = faults.Fault("kill -9", lambda *_: "", share=1)
        survived = faults._row(fault, self.job, options, {})
        return [cell.strip() for cell in capsys.readouterr().out.split("|")[1:-1]], survived


def test_a_row_that_was_cut_short_says_so_and_is_taken_up_again(monkeypatch, tmp_path, capsys):
    row = Row(monkeypatch, tmp_path)
    said = "3 of the parent alone; it is gone after at most 0.2 s"
    assert row.printed(capsys, 3) == (
        [
            "kill -9",
            "toy",
            "2",
            "2",
            "cut short at 2 of 3; 2 of the parent alone; it is gone after at most 0.2 s",
        ],
        False,
    )
    assert row.printed(capsys, 3) == (["kill -9", "toy", "3", "3", said], True)
    assert row.printed(capsys, 3)[1]
    assert row.begun_at == [0, 2]  # what is finished is not tried again
    assert json.loads((tmp_path / "kill--9-toy.json").read_text())["tally"]["tried"] == 3


def test_a_failure_is_not_forgotten(monkeypatch, tmp_path, capsys):
    row = Row(monkeypatch, tmp_path, problems=["it is gone"])
    row.most = 3
    for _ in range(2):
        cells, survived = row.printed(capsys, 3)
        assert (cells[:4], survived) == (["kill -9", "toy", "3", "2"], False)
