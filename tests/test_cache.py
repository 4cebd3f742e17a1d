"""The cache of images: the choice, the key, and builds that are interrupted, doubled or damaged.

Run as a script, this file is the other process of some of its tests: see `build_slowly`.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from aelib import cache as cache_module
from aelib.cache import Candidates, Skipped, open_cache

BAD = (3, 7, 19)

STAMPED = "bc4e0bc76cbe14a7b49065f9d4fdb1819659339e59244fed70b7336532d67b05"
UNSTAMPED = "8eb675e16ab2728cd86bcec0811eb8ead689cce7c00ab49297d23ebf7dde8b54"


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def candidates_of(n, *, bad=(), size=32, made=None):
    """Candidate k of n is a plain image that encodes k; those in `bad` fail; `made` hears of every one that is made."""

    def make_block(numbers):
        pixels, failed = np.zeros((len(numbers), size, size, 3), np.uint8), {}
        for position, k in enumerate(numbers.tolist()):
            if made is not None:
                made.append(k)
            if k in bad:
                failed[position] = f"{k} is bad"
            else:
                pixels[position] = (k % 256, k // 256, 200)
        return pixels, failed

    return Candidates(
        scheme="plain",
        n_available=n,
        size=size,
        settings={"size": size},
        stamps=[f"stamp {k}" for k in range(n)],
        opened=lambda: contextlib.nullcontext(make_block),
        names=tuple(f"{k:05d}" for k in range(n)),
    )


def numbers(cached):
    """Read back from the pixels which candidates a cache holds."""
    pixels = cached.pixels[cached.rows][:, -1, -1].astype(int)
    return (pixels[:, 0] + 256 * pixels[:, 1]).tolist()


def only_folder(cache):
    (folder,) = (cache / "images").iterdir()
    return folder


# Choice and key


def test_choice_is_reproducible_and_follows_the_seed(cache):
    plain = candidates_of(40)
    chosen = [open_cache(plain, n=10, seed=seed, cache=cache) for seed in (0, 0, 1)]
    assert numbers(chosen[0]) == numbers(chosen[1]) != numbers(chosen[2])
    assert numbers(chosen[0]) == chosen[0].candidates.tolist() == sorted(numbers(chosen[0]))
    assert numbers(open_cache(plain, cache=cache)) == list(range(40))
    assert numbers(open_cache(plain, n=40, seed=1, cache=cache)) == list(range(40))
    with pytest.raises(ValueError, match="n is 41, but the source has only 40 images; ask for fewer"):
        open_cache(plain, n=41, cache=cache)
    for n in (0, -3):
        with pytest.raises(ValueError, match=f"n must be at least 1, not {n}; leave it out"):
            open_cache(plain, n=n, cache=cache)


def test_unreadable_candidates_are_replaced_while_there_are_others(cache, monkeypatch):
    bad = set(range(0, 40, 2))
    plain = candidates_of(40, bad=bad)
    monkeypatch.setattr(cache_module, "_BLOCK_BYTES", 4 * 32 * 32 * 3)  # several blocks in each round
    cached = open_cache(plain, n=15, seed=2, cache=cache)
    order = np.random.default_rng(2).permutation(40).tolist()
    # The choice is the first fifteen readable ones in the shuffled order.
    assert numbers(cached) == cached.candidates.tolist() == sorted([k for k in order if k not in bad][:15])
    again = open_cache(plain, n=15, seed=2, cache=cache)
    np.testing.assert_array_equal(again.pixels, cached.pixels)
    assert again.skipped == cached.skipped
    assert {int(name) for name, _ in cached.skipped} <= bad


def test_unreadable_candidates_can_be_an_error(cache):
    expected = r"3 files are unreadable, 00003 \(3 is bad\) the first.*on_unreadable=\"skip\""
    for _ in range(2):  # before the cache is whole, and after
        with pytest.raises(ValueError, match=expected):
            open_cache(candidates_of(30, bad=BAD), on_unreadable="error", cache=cache)
        cached = open_cache(candidates_of(30, bad=BAD), cache=cache)
        assert numbers(cached) == [k for k in range(30) if k not in BAD]
        assert cached.skipped == tuple(Skipped(f"{k:05d}", f"{k} is bad") for k in BAD)


def test_key_tells_everything_apart_that_the_pixels_depend_on(cache):
    plain = candidates_of(4)
    unstamped = replace(plain, stamps=None, names=None, scheme="unstamped")
    opened = [
        open_cache(plain, cache=cache),
        open_cache(plain, n=3, seed=0, cache=cache),
        open_cache(replace(plain, scheme="other"), cache=cache),
        open_cache(replace(plain, settings={"size": 32, "more": 1}), cache=cache),
        open_cache(replace(plain, stamps=["stamp 0", "stamp 1", "changed", "stamp 3"]), cache=cache),
        open_cache(replace(plain, names=("00000", "00001", "00002", "renamed")), cache=cache),
        *(
            open_cache(candidates, n=1, seed=seed, cache=cache)
            for candidates in (plain, unstamped)
            for seed in (0, 3)
        ),
    ]
    assert numbers(opened[-1]) != numbers(opened[-2])
    assert len({cached.key for cached in opened}) == len(opened)


def test_keys_are_those_of_earlier_versions(cache):
    # What makes these keys other makes every user's cache worthless: images are decoded or rendered anew.
    assert open_cache(candidates_of(3), cache=cache).key == STAMPED
    plain = replace(candidates_of(3), stamps=None, names=None)
    assert open_cache(plain, cache=cache).key == UNSTAMPED
    assert {folder.name for folder in (cache / "images").iterdir()} == {
        f"plain-{key[:20]}" for key in (STAMPED, UNSTAMPED)
    }


# Places


def test_cache_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"cannot be made.*AELIB_CACHE"):
        open_cache(candidates_of(2), cache=tmp_path / "file")


@pytest.mark.parametrize(("n", "need", "free"), [(40, "0.1 MB", "0.0 MB"), (400_000, "1.2 GB", "1.1 GB")])
def test_full_disk_is_told_before_the_work(cache, monkeypatch, n, need, free):
    room = 1_100_000_000 if n > 40 else 1_000
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=room))
    made = []
    with pytest.raises(OSError, match=f"the cache needs {need}, but .* has {free} free; make room"):
        open_cache(candidates_of(n, made=made), cache=cache)
    assert made == []


def test_default_cache_is_named_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("AELIB_CACHE", str(tmp_path / "there"))
    open_cache(candidates_of(2))
    assert list((tmp_path / "there" / "images").iterdir())
    monkeypatch.delenv("AELIB_CACHE")
    monkeypatch.setattr(cache_module.platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))
    open_cache(candidates_of(2))
    assert list((tmp_path / "aelib" / "images").iterdir())


# Builds


def test_made_once(cache):
    made = []
    first = open_cache(candidates_of(10, made=made), cache=cache)
    assert sorted(made) == list(range(10))
    second = open_cache(candidates_of(10, made=made), cache=cache)
    assert len(made) == 10
    assert numbers(first) == list(range(10))
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert sorted(p.name for p in only_folder(cache).iterdir()) == ["cache.json", "lock", "pixels.npy"]
    np.testing.assert_array_equal(
        np.load(only_folder(cache) / "pixels.npy", allow_pickle=False), first.pixels
    )
    assert isinstance(first.pixels, np.memmap)
    assert not first.pixels.flags.writeable


def damage_truncate(folder):
    with (folder / "pixels.npy").open("rb+") as file:
        file.truncate(file.seek(0, os.SEEK_END) - 1)


def damage_append(folder):
    with (folder / "pixels.npy").open("ab") as file:
        file.write(b"more")


def damage_shape(folder):
    np.save(folder / "pixels.npy", np.zeros((10, 32, 32, 4), np.uint8))


def damage_pickle(folder):
    np.save(folder / "pixels.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)


def damage_record(folder):
    (folder / "cache.json").write_text('{"key": ')


def damage_other_record(folder):
    (folder / "cache.json").write_text('{"key": "of something else", "replaced": [], "skipped": []}')


def damage_record_rows(folder):
    record = json.loads((folder / "cache.json").read_text())
    (folder / "cache.json").write_text(json.dumps({**record, "replaced": [[99, 0]]}))


def damage_record_names(folder):
    record = json.loads((folder / "cache.json").read_text())
    (folder / "cache.json").write_text(json.dumps({**record, "skipped": [[99, "no such candidate"]]}))


def damage_missing_record(folder):
    (folder / "cache.json").unlink()


def damage_marks_left_over(folder):
    """A finished cache gone bad beside the marks of the build that made it: they must not be believed."""
    (folder / "pixels.npy").unlink()
    key = json.loads((folder / "cache.json").read_text())["key"]
    lines = [json.dumps({"key": key, "block_rows": 64}), "[0, []]"]
    (folder / "done.partial").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("damage", [f for name, f in list(globals().items()) if name.startswith("damage_")])
def test_damaged_or_foreign_cache_is_rebuilt(cache, damage):
    made = []
    plain = candidates_of(10, made=made)
    first = np.array(open_cache(plain, cache=cache).pixels)  # a copy: its file is about to change
    damage(only_folder(cache))
    for _ in range(2):
        again = open_cache(plain, cache=cache)
        np.testing.assert_array_equal(again.pixels, first)
        assert numbers(again) == list(range(10))
        assert len(made) == 20


class Crash(BaseException):
    """Ends a build at a chosen point, as a signal would."""


@pytest.mark.parametrize("step", ["write_json", "replace", "unlink"])
def test_crash_while_finishing(cache, monkeypatch, step):
    made = []
    plain = candidates_of(10, made=made)

    def crash(*arguments, **options):
        raise Crash

    with monkeypatch.context() as patch, pytest.raises(Crash):
        if step == "write_json":
            patch.setattr(cache_module, "write_json", crash)
        elif step == "replace":
            move = os.replace
            patch.setattr(os, "replace", lambda a, b: crash() if Path(b).name == "pixels.npy" else move(a, b))
        else:
            plain_unlink = Path.unlink

            def unlink(path, **options):
                if path.name == "done.partial" and (path.parent / "pixels.npy").exists():
                    crash()
                plain_unlink(path, **options)

            patch.setattr(Path, "unlink", unlink)
        open_cache(plain, cache=cache)
    assert len(made) == 10
    assert numbers(open_cache(plain, cache=cache)) == list(range(10))
    assert len(made) == 10


def test_torn_or_foreign_marks_count_as_not_done(cache, monkeypatch):
    monkeypatch.setattr(cache_module, "_BLOCK_BYTES", 4 * 32 * 32 * 3)
    made = []
    store = cache_module._Writer._store

    def crashing(writer, number, *rest):
        if number == 3:
            raise Crash
        store(writer, number, *rest)

    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(cache_module._Writer, "_store", crashing)
        open_cache(candidates_of(20), cache=cache)
    marks = only_folder(cache) / "done.partial"
    assert len(marks.read_text().splitlines()) == 4
    with marks.open("a") as file:
        file.write('7\nnull\n{"no": 1}\n[3, [')
    assert numbers(open_cache(candidates_of(20, made=made), cache=cache)) == list(range(20))
    assert sorted(made) == list(range(12, 20))


def test_unfinished_cache_of_another_size_is_not_gone_on_with(cache):
    made = []
    plain = candidates_of(10, made=made)
    open_cache(plain, cache=cache)
    folder = only_folder(cache)
    np.save(folder / "wrong.npy", np.zeros((3, 32, 32, 3), np.uint8))
    (folder / "wrong.npy").rename(folder / "pixels.partial")
    (folder / "pixels.npy").unlink()
    key = json.loads((folder / "cache.json").read_text())["key"]
    (folder / "done.partial").write_text(json.dumps({"key": key, "block_rows": 64}) + "\n[0, []]\n")
    assert numbers(open_cache(plain, cache=cache)) == list(range(10))
    assert len(made) == 20


class SlowLog:
    """Writes a letter for each candidate made, and takes its time."""

    def __init__(self, path, pause):
        self.path, self.pause = path, pause

    def append(self, number):
        with open(self.path, "a") as log:
            log.write("x")
        time.sleep(self.pause)


def build_slowly(n, bad, cache, log, pause):
    """Build a cache in this process, on one core, so that blocks are finished one after the other on any machine."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    cached = open_cache(
        candidates_of(int(n), bad=json.loads(bad), made=SlowLog(log, float(pause))), cache=cache
    )
    sys.stdout.write(f"{len(cached.rows)} {int(cached.pixels.sum())}")


def start_build(n, cache, log, pause, bad=()):
    arguments = [str(n), json.dumps(list(bad)), str(cache), str(log), str(pause)]
    command = [sys.executable, "-W", "error", __file__, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_blocks(cache, blocks, process, limit=300):
    end = time.monotonic() + limit
    while time.monotonic() < end and process.poll() is None:
        found = list(cache.glob("images/*/done.partial"))
        if found and len(found[0].read_text().splitlines()) > blocks:
            return
        time.sleep(0.01)
    raise AssertionError("the build did not get that far")


def test_killed_build_goes_on_where_it_stopped(tmp_path, cache):
    n, made = 700, []  # eleven blocks of 64
    undisturbed = open_cache(candidates_of(n, bad=BAD), cache=tmp_path / "other")
    for blocks in (2, 5):
        process = start_build(n, cache, tmp_path / "log", 0.005, bad=BAD)
        wait_for_blocks(cache, blocks, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert not list(cache.glob("images/*/pixels.npy"))
    finished = len(next(cache.glob("images/*/done.partial")).read_text().splitlines()) - 1
    assert 5 <= finished < 11
    rebuilt = open_cache(candidates_of(n, bad=BAD, made=made), cache=cache)
    assert len(made) == n - 64 * finished
    np.testing.assert_array_equal(rebuilt.pixels, undisturbed.pixels)
    np.testing.assert_array_equal(rebuilt.candidates, undisturbed.candidates)
    assert rebuilt.skipped == undisturbed.skipped


def test_two_processes_build_one_cache(tmp_path, cache):
    logs = [tmp_path / "log0", tmp_path / "log1"]
    builds = [start_build(200, cache, log, 0.01) for log in logs]
    outcomes = [build.communicate(timeout=300) for build in builds]
    assert [build.returncode for build in builds] == [0, 0], outcomes
    assert outcomes[0][0] == outcomes[1][0]
    assert outcomes[0][0].startswith("200 ")
    assert sum(len(log.read_text()) for log in logs if log.exists()) == 200


def test_waiting_process_shows_progress(tmp_path, cache, monkeypatch):
    shown = []
    plain = cache_module.tqdm

    def watching(*arguments, desc="", **options):
        bar = plain(
            *arguments, desc=desc, disable=True, **{k: v for k, v in options.items() if k != "disable"}
        )
        bar.update = lambda n=1: shown.append((desc, n))
        return bar

    monkeypatch.setattr(cache_module, "tqdm", watching)
    process = start_build(500, cache, tmp_path / "log", 0.01)
    wait_for_blocks(cache, 1, process)
    cached = open_cache(candidates_of(500), cache=cache)
    assert process.wait(timeout=300) == 0
    process.communicate()
    assert numbers(cached) == list(range(500))
    assert shown
    assert {desc for desc, _ in shown} == {"waiting for another process"}


def test_memory_is_bounded(cache, monkeypatch):
    monkeypatch.setattr(cache_module, "n_cores", lambda: 2)
    open_cache(candidates_of(70, size=96), cache=cache)
    tracemalloc.start()
    cached = open_cache(candidates_of(6_000, size=96), cache=cache)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert cached.pixels.nbytes > 160e6
    assert peak < 40e6


if __name__ == "__main__":
    build_slowly(*sys.argv[1:])
