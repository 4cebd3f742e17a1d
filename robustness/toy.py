"""A job of a few steps with a habit, good or bad: `make faults ARGS=--self-test` must find out the bad ones.

Each step reads a file of the source, writes one, and then a line in a book, by which the next start goes on. It knows
nothing of aelib: it is a program of its own, `python toy.py HABIT FOLDER SOURCE`.
"""

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

STEPS = 6
_PAUSE = 0.06
_SIZE = 1 << 16
_HELD = 30 << 20  # bytes that a step holds on to


def main(habit: str, folder: Path, source: Path) -> None:
    """Do what is still to be done."""
    folder.mkdir(parents=True, exist_ok=True)
    book = folder / "book.txt"
    lock = (folder / "lock").open("a")
    if habit != "lets two in":
        _hold(lock.fileno())
    begun = book.exists()
    if begun and habit == "forgets what was finished":
        book.unlink()
    if begun and habit == "cannot go on":
        raise SystemExit("there is something already")
    if begun and habit == "hangs the second time":
        time.sleep(1e6)
    if habit == "stays when it is interrupted":
        signal.signal(signal.SIGINT, lambda *_: time.sleep(1e6))
    if habit == "leaves a child behind":
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
    book.touch()
    held: list[bytearray] = []
    for k in range(len(book.read_text().splitlines()), STEPS):
        _step(k, habit, folder, source, held)
        with book.open("a") as file:
            file.write(f"{k}\n")


def _hold(lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SystemExit("another process is at work here") from None


def _step(k: int, habit: str, folder: Path, source: Path, held: list[bytearray]) -> None:
    text = _read(source / f"{k}.txt", habit) * _SIZE
    path, part = folder / f"{k}.txt", folder / f".part-{k}.txt"
    if "memory" in habit:
        _hold_on_to_more(held, habit)
    if "worker" in habit:
        _wait_for_worker(habit)
    if habit == "writes under the final name":
        path.write_text(text[: _SIZE // 2])
        time.sleep(_PAUSE)
        path.write_text(text)
        return
    if habit == "leaves temporary files":
        part = folder / f".part-{os.getpid()}-{k}.txt"
        part.write_text(text[: _SIZE // 2])
    time.sleep(_PAUSE)
    try:
        part.write_text(text)
    except OSError as error:
        if habit != "takes half for whole":
            raise SystemExit(f"{part}: {error.strerror}") from error
    part.replace(path)


def _read(path: Path, habit: str) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        if habit == "takes a missing file for empty":
            return ""
        raise


def _hold_on_to_more(held: list[bytearray], habit: str) -> None:
    try:
        held.append(bytearray(_HELD))
    except MemoryError:
        if habit == "waits for memory for good":
            time.sleep(1e6)
        raise


def _wait_for_worker(habit: str) -> None:
    status = subprocess.run(["sleep", str(_PAUSE)], check=False).returncode
    if status and habit == "waits for its worker for good":
        time.sleep(1e6)
    if status:
        raise SystemExit("its worker was killed")


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    except (OSError, SystemExit):
        if sys.argv[1] != "says nothing":
            raise
        sys.exit(1)
