"""A watch over a call: its time, its memory, and whether it runs, writes or asks for what it must not."""

import os
import resource
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CLEAR = (ValueError, OSError)
"""Errors that say what is wrong with the input; the command line shows their message alone."""

_FORBIDDEN = (
    *("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen"),
    *("pickle.find_class", "socket.connect", "ctypes.dlopen"),
)
_ASKED_ANYWAY = "git"
"""A run notes the commit of this repository, whatever its files say."""


class Hang(BaseException):
    """A call took too long."""


@dataclass
class Watch:
    """What is allowed, and what was seen of anything else.

    Parameters
    ----------
    folder : pathlib.Path
        Where a loader may write.
    seconds : int
        How long one call may take.
    """

    folder: Path
    seconds: int
    seen: list[str] = field(default_factory=list)
    active: bool = False

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note a forbidden event, for `sys.addaudithook`."""
        if not self.active:
            return
        if event in _FORBIDDEN and arguments[0] != _ASKED_ANYWAY:
            self.seen.append(f"{event} {arguments!r:.80}")
        elif event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path, flags = os.fsdecode(arguments[0]), arguments[2]
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            inside = Path(os.path.abspath(path)).is_relative_to(self.folder)
            if writes and not inside and path != os.devnull:
                self.seen.append(f"it wrote {path}")

    def attempt(self, call: Callable[[bytes, Path], bool], data: bytes) -> str:
        """Return what became of a call: "accepted", "skipped", "error", or "FAILURE: why"."""
        self.seen.clear()
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
        return f"FAILURE: {self.seen[0]}" if self.seen else outcome


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise Hang(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def peak_megabytes() -> float:
    """Return the most memory that this process has held so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)
