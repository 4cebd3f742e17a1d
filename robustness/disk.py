"""A disk of its own for a job: as large as one says, and read-only when one says so. Needs Linux."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from robustness.jobs import Job

_ROOM = 2**30
_PATIENCE = 30.0
_INSIDE = "AELIB_FAULTS_MOUNTS"
_UNSHARE = ("unshare", "--map-root-user", "--mount")


def can_mount() -> bool:
    """Say whether this process has been started such that it may mount what nobody else sees."""
    return _INSIDE in os.environ


def start_again_to_mount() -> None:
    """Start this program again as root of a namespace of its own, unless it is there or that is not possible.

    Mounts are then seen by it and its children alone, and are gone with the last of them.
    """
    if can_mount() or shutil.which(_UNSHARE[0]) is None:
        return
    with tempfile.TemporaryDirectory() as place:
        trial = [*_UNSHARE, "mount", "-t", "tmpfs", "aelib", place]
        if subprocess.run(trial, capture_output=True, check=False).returncode:
            return
    words = [*_UNSHARE, sys.executable, *sys.orig_argv[1:]]
    os.execvpe(words[0], words, {**os.environ, _INSIDE: "1"})


def bytes_below(places: Iterable[Path]) -> int:
    """Add up what the files in some folders take on a disk."""
    paths = {path for place in places for path in place.rglob("*")}
    return sum(512 * path.lstat().st_blocks for path in paths if path.is_file())


class Disk:
    """A file system in memory below the folders that a job writes to.

    Parameters
    ----------
    job : Job
        The job.
    """

    def __init__(self, job: Job) -> None:
        self._home, self._places = job.log.with_name("disk"), job.places

    @classmethod
    @contextlib.contextmanager
    def below(cls, job: Job) -> Iterator["Disk"]:
        """Put a disk below the folders of a job, for as long as a block lasts."""
        disk = cls(job)
        job.clear()
        disk._home.mkdir(parents=True, exist_ok=True)
        _mount("-t", "tmpfs", "-o", f"size={_ROOM}", "aelib", str(disk._home))
        try:
            for k, place in enumerate(disk._places):
                (disk._home / str(k)).mkdir()
                place.mkdir(parents=True, exist_ok=True)
                _mount("--bind", str(disk._home / str(k)), str(place))
            yield disk
        finally:
            for place in (*disk._places, disk._home):
                subprocess.run(["umount", "--lazy", str(place)], capture_output=True, check=False)

    def used(self) -> int:
        """Return how many bytes are taken."""
        status = os.statvfs(self._home)
        return (status.f_blocks - status.f_bfree) * status.f_frsize

    @contextlib.contextmanager
    def full_after(self, room: int) -> Iterator[None]:
        """Leave room for so many bytes more."""
        self._remount(lambda: f"size={self.used() + max(room, os.sysconf('SC_PAGE_SIZE'))}")
        try:
            yield
        finally:
            self._remount(lambda: f"size={_ROOM}")

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        """Let nobody write."""
        self._remount(lambda: "ro")
        try:
            yield
        finally:
            self._remount(lambda: "rw")

    def _remount(self, option: Callable[[], str]) -> None:
        """Change the disk; in a moment in which files are open, or more is written, that is refused."""
        begun = time.monotonic()
        while True:
            try:
                # As it was mounted: options read from the system name users that a namespace does not know.
                return _mount("-i", "-t", "tmpfs", "-o", f"remount,{option()}", "aelib", str(self._home))
            except OSError:
                if time.monotonic() - begun > _PATIENCE:
                    raise
                time.sleep(0.02)


def _mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"mount {' '.join(words)}: {done.stderr.strip()}")
