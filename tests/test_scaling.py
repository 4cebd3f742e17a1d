"""Tests of benchmarks.scaling: stages in processes of their own, stopped and continued, and what they say they cost."""

import json

import numpy as np
import pytest

from benchmarks import scaling, stages


def write_lines(path, *lines):
    common = {"seconds": 1.0, "resident_mb": 90.0}
    path.write_text("".join(json.dumps(common | line) + "\n" for line in lines))


def test_what_was_cut_short_is_encoded_again(tmp_path):
    path, block = tmp_path / "z.f32", stages.IMAGES_AT_ONCE
    assert stages.n_encoded(path, 3 * block) == 0
    path.write_bytes(b"\0" * (4 * stages.Z_DIM * (block + 7) + 3))
    assert stages.n_encoded(path, 7) == 7  # a smaller size is there already, and nothing is cut off
    assert stages.n_encoded(path, 3 * block) == block
    assert path.stat().st_size == 4 * stages.Z_DIM * block


def test_images_cost_what_their_own_blocks_cost_the_last_time(tmp_path):
    write_lines(
        tmp_path / "encode.jsonl",
        {"part": 0, "cpu": 1.0, "private_mb": 10.0},
        {"part": 500, "cpu": 2.0, "private_mb": 30.0},
        {"part": 500, "cpu": 4.0, "private_mb": 20.0},
        {"part": 1000, "cpu": 8.0, "private_mb": 40.0},
    )
    cost = scaling.read_cost("encode", tmp_path, 1000)
    assert (cost.cpu, cost.seconds, cost.private_mb, cost.resident_mb) == (5.0, 2.0, 20.0, 90.0)


def test_a_stage_measures_itself_and_leaves_nothing_behind(tmp_path):
    found = list(scaling.on_disk(tmp_path, 2_000, stages=("statistics",)))
    assert [(cost.stage, cost.n, cost.points) for cost in found] == [("statistics", 2_000, "normal cloud")]
    assert 10 < found[0].private_mb < 1_000
    assert found[0].cpu == pytest.approx(sum(part.cpu for part in found[0].parts.values()))
    assert list(tmp_path.iterdir()) == []
    scaling.draw(found, tmp_path / "growth.png")
    assert scaling._known(tmp_path / "growth.json") == {("statistics", 2_000): found[0]}


def test_a_process_that_wants_more_than_its_limit_is_refused_it(tmp_path, capfd):
    np.zeros((2_000, stages.Z_DIM), np.float32).tofile(tmp_path / "z.f32")
    with pytest.raises(scaling.subprocess.CalledProcessError):
        scaling.run_stage("statistics", tmp_path, 2_000, limit_mb=10)
    assert not (tmp_path / "statistics-2000.done").exists()
    capfd.readouterr()


def test_more_points_than_the_disk_holds_are_refused(tmp_path):
    with pytest.raises(ValueError, match="points need"):
        list(scaling.on_disk(tmp_path, 10**15))
