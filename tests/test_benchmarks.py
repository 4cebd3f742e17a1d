"""The benchmarks: ratios, the table, missing peers, and peers that compute what we compute."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from aelib.model import AutoencoderConfig, build
from benchmarks import measure, report, serving, task
from benchmarks.measure import Row
from benchmarks.work import layers_of

SMALL = {"filters": (4, 6), "z_dim": 5, "image_size": 32}


def test_by_turns_in_both_directions() -> None:
    """Every other round goes backwards, and each figure lands in its own column."""
    order: list[int] = []
    calls = [lambda k=k: float(order.append(k) or 10 * k) for k in range(3)]
    figures = measure.alternately(calls, rounds=2)
    assert order == [0, 1, 2, 2, 1, 0]
    np.testing.assert_array_equal(figures, [[0, 10, 20], [0, 10, 20]])


def test_ratio_is_theirs_over_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that takes three times as long gives 3."""
    clock = [0.0]
    monkeypatch.setattr(measure.time, "perf_counter", lambda: clock[0])

    def lasting(seconds: float) -> None:
        clock[0] += seconds

    ratios = measure.times_as_fast(lambda: lasting(0.5), lambda: lasting(1.5), rounds=3)
    assert ratios == (3.0, 3.0, 3.0)


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (Row("g", "w", "b", (1.0, 3.0, 2.0), "×", 2), "met"),
        (Row("g", "w", "b", (1.0, 3.0, 1.9), "×", 2), "NOT MET"),
        (Row("g", "w", "b", (3.0,), "MB", 2, at_most=True), "NOT MET"),
        (Row("g", "w", "b", (3.0,), "×", 1, apart=0.2, within=0.1), "NOT MET"),
        (Row("g", "w", "b", (3.0,), "×", 1, apart=math.nan, within=0.1), "NOT MET"),
        (Row("g", "w", "b", (math.nan,), "×", 1), "NOT MET"),
        (Row("g", "w", "b", (3.0,), "ms"), ""),
        (Row("g", "w", "b", (), "×", 1, missing="prdc"), "prdc: not installed"),
    ],
)
def test_verdict(row: Row, verdict: str) -> None:
    """The median is held against the goal, and results that differ are no success."""
    assert row.verdict == verdict
    assert row.met == (verdict != "NOT MET")


@pytest.mark.parametrize(
    ("figure", "text"),
    [(0.01234, "0.0123"), (1 / 1.5, "0.667"), (1499.6, "1 500"), (2.0, "2"), (9.996, "10"), (0, "0")],
)
def test_three_digits(figure: float, text: str) -> None:
    assert measure.said(figure) == text


def test_report_is_written_and_published(tmp_path: Path) -> None:
    """JSON, table and figure hold every row; a missing peer is named; README gets what is missed."""
    rows = [
        Row("training", "w", "torch", (), "×", 1, missing="torch"),
        Row("training", "w", "Keras", (1.2, 1.3, 1.3), "×", 1.4),
        Row("maps", "m", "peer", (2.0,), "×", 1),
    ]
    found = report.Report(rows=rows, minutes={"training": 2.0}, load=[0.5, 2.5])
    found.training.losses = {"aelib": [0.05, 0.04]}
    report.write(found, tmp_path)
    kept = json.loads((tmp_path / report.DATA).read_text(encoding="utf-8"))
    assert [row["verdict"] for row in kept["rows"]] == ["torch: not installed", "NOT MET", "met"]
    assert "| w | Keras | 1.3 × | 1.25–1.3 | ≥ 1.4 |  | NOT MET |" in (tmp_path / report.TABLE).read_text(
        "utf-8"
    )
    readme, published = tmp_path / "README.md", tmp_path / "published"
    published.mkdir()
    readme.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n", encoding="utf-8")
    report.publish(tmp_path, readme=readme, published=published)
    text = readme.read_text(encoding="utf-8")
    assert "1 of 2 goals are met" in text and "NOT MET: w, Keras: 1.3 ×" in text and "torch" in text
    assert text.startswith("before") and text.endswith("after\n") and "old" not in text
    assert (published / report.FIGURE).read_bytes().startswith(b"\x89PNG")


def test_figures_that_are_none_are_reported_as_none(tmp_path: Path) -> None:
    """A trainer that diverges, or a page that gave no picture, does not cost what else was measured."""
    found = report.Report(rows=[Row("g", "w", "b", (math.nan, 2.0), "×", 1)], minutes={"g": 1.0}, load=[0.5])
    found.training.losses = {"aelib": [0.05, math.inf]}
    report.write(found, tmp_path)
    kept = json.loads((tmp_path / report.DATA).read_text(encoding="utf-8"))
    assert (kept["rows"][0]["values"], kept["rows"][0]["median"]) == ([None, 2.0], None)
    assert kept["rows"][0]["verdict"] == "NOT MET"
    assert kept["training"]["losses"] == {"aelib": [0.05, None]}
    assert "- NOT MET: w, b: no figure" in report.summarised(kept)


def test_readme_without_marks_stays_as_it_is(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match="lacks the marks"):
        report.publish(tmp_path, readme=readme, published=tmp_path)
    assert readme.read_text(encoding="utf-8") == "nothing"


def test_work_of_a_network_counted_by_hand() -> None:
    """16² outputs of 3 · 3 · 3 products for each of 4 filters, and so on; the first needs no gradient of its input."""
    layers = {layer.name: layer for layer in layers_of(AutoencoderConfig(**SMALL))}
    assert layers["conv_1"].forward == layers["deconv_1"].forward == 16 * 16 * 27 * 4
    assert layers["conv_2"].forward == 8 * 8 * 36 * 6
    assert layers["z_points"].forward == 8 * 8 * 6 * 5
    assert layers["conv_1"].training == 2 * 16 * 16 * 27 * 4
    assert layers["deconv_1"].training == 3 * 16 * 16 * 27 * 4
    assert layers["deconv_2"].shape_in == (8, 8, 6)


def test_pytorch_peer_is_the_same_network(tmp_path: Path) -> None:
    """As many parameters, and with our weights the same copies."""
    pytest.importorskip("torch")
    from benchmarks.pytorch import Trainer

    task.write(tmp_path, n=4, n_held_out=2, **SMALL)
    ours = build(AutoencoderConfig(**SMALL), seed=1).autoencoder
    np.savez(tmp_path / task.WEIGHTS, *ours.get_weights())
    theirs = Trainer(tmp_path, "float32")
    assert theirs.describe()["parameters"] == ours.count_params()
    image = task.as_floats(task.read(tmp_path).held_out[:1])
    np.testing.assert_allclose(theirs.copies(), ours.predict_on_batch(image).ravel(), atol=1e-6)


def test_plain_keras_peer_is_the_same_network(tmp_path: Path) -> None:
    from benchmarks.plain_keras import Trainer

    task.write(tmp_path, n=4, n_held_out=2, **SMALL)
    ours = build(AutoencoderConfig(**SMALL), seed=1).autoencoder
    np.savez(tmp_path / task.WEIGHTS, *ours.get_weights())
    image = task.as_floats(task.read(tmp_path).held_out[:1])
    np.testing.assert_allclose(Trainer(tmp_path).copies(), ours.predict_on_batch(image).ravel(), atol=1e-6)


def test_our_trainer_starts_from_the_weights_that_it_hands_on_and_is_not_trained_by_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it is asked for in a benchmark; measuring the parts of a step leaves the network as it was."""
    from benchmarks import ours
    from benchmarks.training import PARTS

    monkeypatch.setattr(ours, "SIDE", 64)
    task.write(tmp_path, n=6, n_held_out=2, **SMALL)
    trainer, network = ours.Trainer(tmp_path), build(AutoencoderConfig(**SMALL), seed=9).autoencoder
    network.set_weights(task.read_weights(tmp_path))
    held_out = task.as_floats(task.read(tmp_path).held_out)
    copies = network.predict_on_batch(held_out)
    np.testing.assert_allclose(trainer.copies(), copies[0].ravel(), atol=1e-6)
    start = trainer.held_out_loss()
    assert start == pytest.approx(np.square(copies - held_out).mean(), rel=0.02)  # in mixed precision
    assert set(trainer.parts()) == set(PARTS)
    assert set(trainer.layers()) == {layer.name for layer in layers_of(AutoencoderConfig(**SMALL))}
    assert trainer.held_out_loss() == start
    assert trainer.epoch(1) > 0
    assert trainer.held_out_loss() < start
    for dtype in ("float32", "bfloat16"):
        assert trainer.product(dtype) > 0
    assert trainer.encode("float32") > 0
    assert trainer.decode("float32") > 0


def test_a_server_and_its_children_end_with_the_block(tmp_path: Path) -> None:
    """Children of the server are in its group."""
    child = "import time; print('up', flush=True); time.sleep(600)"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with serving.serving([sys.executable, "-c", script], tmp_path, ready="up") as (process, _):
        members = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
        assert len(members) == 2
    assert psutil.wait_procs(members, timeout=10)[1] == []


def test_a_server_that_does_not_start_is_quoted(tmp_path: Path) -> None:
    """What it said last is what one needs to know."""
    script = "import sys; sys.exit('the port is taken')"
    with (
        pytest.raises(RuntimeError, match="did not answer: the port is taken"),
        serving.serving([sys.executable, "-c", script], tmp_path, ready="up"),
    ):
        pass
