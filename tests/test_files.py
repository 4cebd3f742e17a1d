"""Tests of aelib.files: whole or not at all, and damage named."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aelib import files


def test_replacing_writes_the_whole_file_and_leaves_nothing_else(tmp_path):
    target = tmp_path / "new" / "a.npy"
    with files.replacing(target) as temporary:
        assert temporary.parent == target.parent and temporary.suffix == ".npy"
        temporary.write_bytes(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("interruption", [RuntimeError, KeyboardInterrupt])
def test_replacing_keeps_the_old_file_when_the_block_fails(tmp_path, interruption):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(interruption), files.replacing(target) as temporary:
        temporary.write_text("half of the n")
        raise interruption
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def full_disk():
    """Write to a device that is always full; Python's error does not say where."""
    with Path("/dev/full").open("wb", buffering=0) as file:
        file.write(b"x")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_is_named(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with (
        pytest.raises(OSError, match=f"No space left on device: '{target}'"),
        files.replacing(target) as temporary,
    ):
        temporary.write_text("half of the n")
        full_disk()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "no room", "b.txt"), OSError(errno.EIO, "broken"), OSError("odd")]
)
def test_other_errors_stay_as_they_are(tmp_path, error):
    with pytest.raises(OSError) as caught, files.naming(tmp_path):
        raise error
    assert caught.value is error


def test_replacing_works_for_folders(tmp_path):
    with files.replacing(tmp_path / "folder") as temporary:
        temporary.mkdir()
        (temporary / "a").write_text("a")
    assert (tmp_path / "folder" / "a").read_text() == "a"
    with pytest.raises(RuntimeError), files.replacing(tmp_path / "other") as temporary:
        temporary.mkdir()
        (temporary / "a").write_text("a")
        raise RuntimeError
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_replacing_says_so_when_the_block_wrote_nothing(tmp_path):
    with pytest.raises(FileNotFoundError), files.replacing(tmp_path / "a"):
        pass


def test_a_killed_writer_leaves_the_old_file_and_its_leftover_can_be_removed(tmp_path):
    target = tmp_path / "a.json"
    files.write_json(target, {"old": 1})
    code = (
        "import os, signal, sys; from aelib import files\n"
        "with files.replacing(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    process = subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert process.returncode == -signal.SIGKILL
    assert files.read_json(target) == {"old": 1}
    assert len(list(tmp_path.iterdir())) == 2
    (tmp_path / "b.json").write_text("not ours")
    files.remove_leftovers(target)
    assert {entry.name for entry in tmp_path.iterdir()} == {"a.json", "b.json"}


def test_leftovers_of_odd_names_are_those_of_this_name_alone(tmp_path):
    (tmp_path / ".z[1].part-0123abcd.npy").write_text("ours")
    (tmp_path / ".z1.part-0123abcd.npy").write_text("another's")
    files.remove_leftovers(tmp_path / "z[1].npy")
    assert [entry.name for entry in tmp_path.iterdir()] == [".z1.part-0123abcd.npy"]


def test_new_files_have_the_usual_permissions(tmp_path):
    (tmp_path / "usual").write_text("")
    files.write_text(tmp_path / "ours", "")
    assert os.stat(tmp_path / "ours").st_mode == os.stat(tmp_path / "usual").st_mode


def test_write_json_round_trip_is_sorted_and_ends_the_line(tmp_path):
    content = {"b": [1, 2.5, None, True], "a": {"ü": "ß"}}
    files.write_json(tmp_path / "a.json", content)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert files.read_json(tmp_path / "a.json") == content
    assert text == json.dumps(content, sort_keys=True, indent=2) + "\n"


@pytest.mark.parametrize(
    ("content", "error"), [({"a": float("nan")}, ValueError), ({"a": Path("x")}, TypeError)]
)
def test_write_json_refuses_what_json_cannot_say_and_keeps_the_old_file(tmp_path, content, error):
    files.write_json(tmp_path / "a.json", 1)
    with pytest.raises(error):
        files.write_json(tmp_path / "a.json", content)
    assert files.read_json(tmp_path / "a.json") == 1


@pytest.mark.parametrize(
    "damage",
    [b"", b'{"a": 1', b"\xff\xfe{}", b'{"a": NaN}', b"[" * 100_000],
    ids=["empty", "cut", "bytes", "nan", "deep"],
)
def test_read_json_names_the_damaged_file(tmp_path, damage):
    (tmp_path / "a.json").write_bytes(damage)
    with pytest.raises(ValueError, match=r"a\.json is not valid JSON .*delete it"):
        files.read_json(tmp_path / "a.json")


def test_read_json_of_no_file_is_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        files.read_json(tmp_path / "a.json")
