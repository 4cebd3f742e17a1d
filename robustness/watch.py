"""A watch over a call: its time, its memory, and whether it runs, writes or asks for what it must not."""

import collections
import dataclasses
import faulthandler
import os
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastjsonschema

CLEAR = (ValueError, OSError)
"""Errors that say what is wrong with the input; the command line shows their message alone."""

_FORBIDDEN = frozenset((
    *("os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "subprocess.Popen", "pty.spawn"),
    *("pickle.find_class", "ctypes.dlopen", "ctypes.dlsym", "sys.setprofile", "sys.settrace"),
    *("socket.connect", "socket.bind", "socket.getaddrinfo", "urllib.Request", "webbrowser.open"),
))  # fmt: skip
_CHANGES: dict[str, tuple[tuple[int, int], ...]] = {
    "os.mkdir": ((0, 2),), "os.rmdir": ((0, 1),), "os.remove": ((0, 1),), "os.rename": ((0, 2), (1, 3)),
    "os.link": ((1, 3),), "os.symlink": ((1, 2),), "os.truncate": ((0, 1),), "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),), "os.utime": ((0, 3),),
}  # fmt: skip
"""Events of the file system; in each, which arguments are a path and the open folder that it starts from, if any."""
_ASKED_ANYWAY = "git"
"""A run notes the commit of this repository, whatever its files say."""
_CODE = ("exec", "marshal.loads", "code.__new__")
_WRITE_CODE = {collections.__file__, dataclasses.__file__, fastjsonschema.__file__}
"""They write functions as text, from what a module defines or from the schema of notebooks, and run that."""
_PATIENCE = 10
"""Seconds by the clock for each second of CPU time that a call gets."""
_SEAT_BELT = 4 << 30
"""Bytes beyond those of the moment that a process gets, so that a bomb ends it and not the machine."""


class Hang(BaseException):
    """A call took too long."""


@dataclass
class Watch:
    """What is allowed, and what was seen of anything else.

    Parameters
    ----------
    folder : pathlib.Path
        Where a loader may write. Nothing may appear in the folder around it.
    seconds : int
        How long one call may take, in CPU time, which other work does not prolong; by the clock ten times that.
    megabytes : float
        How much memory one call may take beyond what the process held before.
    """

    folder: Path
    seconds: int
    megabytes: float = float("inf")
    seen: list[str] = field(default_factory=list)
    active: bool = False
    most: float = 0.0

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note a forbidden event, for `sys.addaudithook`."""
        if not self.active:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self._note_change(event, path, -1)
        elif event in _CHANGES:
            for path, where in _CHANGES[event]:
                self._note_change(event, arguments[path], arguments[where])
        elif event in _FORBIDDEN and arguments[:1] != (_ASKED_ANYWAY,):
            self.seen.append(f"{event} {arguments!r:.80}")
        elif event in _CODE:
            self._note_code(event, arguments, sys._getframe(1).f_code.co_filename)

    def _note_code(self, event: str, arguments: tuple[Any, ...], caller: str) -> None:
        """Note code that a function in the file `caller` runs, or reads to be run, if it is of no installed module."""
        if caller.startswith("<frozen importlib") and event == "marshal.loads":
            return
        named = arguments[1] if event == "code.__new__" else getattr(arguments[0], "co_filename", "")
        place = os.path.realpath(named) if isinstance(named, str) and named else ""
        installed = os.path.isfile(place) and not Path(place).is_relative_to(self.folder)
        if not installed and caller not in _WRITE_CODE:
            self.seen.append(f"{event} {arguments!r:.80}")

    def _note_change(self, event: str, path: Any, where: Any) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return  # an open file: how it was opened was seen
        name = os.fsdecode(path)
        if isinstance(where, int) and where >= 0 and not os.path.isabs(name):
            try:
                name = os.path.join(os.readlink(f"/proc/self/fd/{where}"), name)
            except OSError:
                return  # no such system
        # What is made or removed is not followed if it is a link; the folder it lies in is.
        place = os.path.join(os.path.realpath(os.path.dirname(name)), os.path.basename(name))
        real = os.path.realpath(name) if event == "open" else place
        if real != os.devnull and not Path(real).is_relative_to(self.folder):
            self.seen.append(f"it changed {real} ({event})")

    def attempt(self, call: Callable[[bytes, Path], bool], data: bytes) -> str:
        """Return what became of a call: "accepted", "skipped", "error", or "FAILURE: why"."""
        self.seen.clear()
        around = set(os.listdir(self.folder.parent))
        before = _begin_peak()
        try:
            with _limited(self.seconds), warnings.catch_warnings():
                warnings.simplefilter("error")
                self.active = True
                outcome = "skipped" if call(data, self.folder) else "accepted"
        except CLEAR as error:
            outcome = "error" if str(error) else f"FAILURE: a {type(error).__name__} that says nothing"
        except (Exception, Hang) as error:  # noqa: BLE001, whatever else comes is what we look for
            outcome = f"FAILURE: {type(error).__name__}: {error!s:.160}"
        finally:
            self.active = False
        grown = _peak() - before
        self.most = max(self.most, grown)
        if grown > self.megabytes:
            self.seen.append(f"{grown:.0f} MB, over {self.megabytes:.0f} MB")
        self.seen += [f"it made {name} outside" for name in set(os.listdir(self.folder.parent)) - around]
        return f"FAILURE: {self.seen[0]}" if self.seen else outcome


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    """Interrupt a block that computes for too long; end the process if it waits, or cannot be interrupted."""

    def ring(*_: object) -> None:
        raise Hang(f"more than {seconds} s")

    before, start = signal.signal(signal.SIGPROF, ring), time.process_time()
    signal.setitimer(signal.ITIMER_PROF, seconds)
    faulthandler.dump_traceback_later(_PATIENCE * seconds, exit=True)
    try:
        yield
        if time.process_time() - start > seconds:
            ring()  # where the bell rang, such as in a callback of the garbage collector, nobody heard it
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def fasten() -> None:
    """Limit the memory of this process, so that a loader that takes too much harms nothing else."""
    if sys.platform == "linux":
        held = _status("VmData") * 1000
        resource.setrlimit(resource.RLIMIT_DATA, (int(held) + _SEAT_BELT, resource.RLIM_INFINITY))


def _begin_peak() -> float:
    """Let the peak of this process's memory begin anew where the system can; return the memory held, in MB."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return _peak()
    return _status("VmRSS") / 1e3


def _peak() -> float:
    """Return the most memory that this process has held, in MB."""
    if sys.platform == "linux":
        return _status("VmHWM") / 1e3
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def _status(name: str) -> float:
    """Return an entry of this process's status, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
