"""Commands in processes of their own, and all that they have started, to be killed or interrupted at a given moment."""

import contextlib
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_MARK = "AELIB_FAULTS"
_PAUSE = 0.02  # seconds between two looks


@dataclass
class Started:
    """A command that was started, in a session of its own.

    Parameters
    ----------
    process : subprocess.Popen
        The command itself.
    mark : str
        What the environment of the command, and of all that it starts, says.
    log : pathlib.Path
        Where its output goes.
    begun : float
        When it was started, on the monotonic clock.
    terminal : int or None
        The other end of its terminal, if it has one.
    """

    process: subprocess.Popen[bytes]
    mark: str
    log: Path
    begun: float = field(default_factory=time.monotonic)
    terminal: int | None = None

    def wait_until(self, moment: float) -> bool:
        """Wait for so many seconds after its start; say whether it is still running then."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(max(0.0, moment - (time.monotonic() - self.begun)))
        return self.process.poll() is None

    def finish(self, limit: float) -> int:
        """Wait for its end; return its status, or kill it after so many seconds and return -9."""
        if self.wait_until(limit):
            kill_all(self)
        return self.process.wait()

    def output(self) -> str:
        """Return what it has printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")


def start(
    words: Sequence[str], *, log: Path, variables: Mapping[str, str], terminal: bool = False
) -> Started:
    """Start a command in a session of its own.

    Parameters
    ----------
    words : sequence of str
        The command.
    log : pathlib.Path
        Where its output goes.
    variables : mapping of str to str
        Environment variables, in addition to ours.
    terminal : bool
        Whether it gets a terminal of its own, in which a Ctrl-C can be typed.
    """
    mark = uuid.uuid4().hex
    environment = {**os.environ, **variables, _MARK: mark}
    log.parent.mkdir(parents=True, exist_ok=True)
    ours, theirs = pty.openpty() if terminal else (None, None)

    def prepare() -> None:
        # A shell's background jobs ignore it, and so would this one, which inherits that.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if terminal:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    with log.open("wb") as file:
        process = subprocess.Popen(
            words,
            stdin=theirs if terminal else subprocess.DEVNULL,
            stdout=theirs if terminal else file,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            preexec_fn=prepare,
        )
    if theirs is not None:
        os.close(theirs)
        threading.Thread(target=_copy, args=(ours, log), daemon=True).start()
    return Started(process, mark, log, terminal=ours)


def _copy(terminal: int, log: Path) -> None:
    """Copy what a terminal shows to a file, until the last process on it is gone."""
    with log.open("ab") as file, contextlib.suppress(OSError):
        while data := os.read(terminal, 65536):
            file.write(data)
            file.flush()


def family(started: Started) -> list[psutil.Process]:
    """List the command and all that it has started, orphans and other sessions included, as far as they run."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(_MARK) == started.mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def workers(started: Started) -> list[psutil.Process]:
    """List what the command has started, without itself."""
    return [process for process in family(started) if process.pid != started.process.pid]


def bytes_of_data(process: psutil.Process) -> int:
    """Return how much memory of its own a process has asked for: what RLIMIT_DATA limits. Linux only."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmData"))


def has_mapped(process: psutil.Process, library: str) -> bool:
    """Say whether a running process has a library in memory. Raises OSError if it has ended. Linux only."""
    maps = Path(f"/proc/{process.pid}/maps").read_text()
    if not maps:
        raise ProcessLookupError(f"process {process.pid} has ended")
    return library in maps


def kill_all(started: Started) -> None:
    """Kill a command and all that it has started, at once."""
    started.process.kill()
    while processes := family(started):
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.kill()
        time.sleep(_PAUSE)
    started.process.wait()


def kill_parent(started: Started) -> None:
    """Kill a command alone; what it has started is left behind."""
    started.process.kill()
    started.process.wait()


def interrupt(started: Started) -> None:
    """Type Ctrl-C in the command's terminal."""
    if started.terminal is None:
        raise ValueError("the command was started without a terminal.")
    os.write(started.terminal, b"\x03")


def terminate(started: Started) -> None:
    """Ask a command to end, as a batch system does."""
    started.process.send_signal(signal.SIGTERM)


def seconds_until_gone(started: Started, limit: float) -> float:
    """Wait until nothing is left of a command; return how long that took, infinity if there is still something."""
    begun = time.monotonic()
    while family(started):
        if time.monotonic() - begun > limit:
            return float("inf")
        time.sleep(0.1)
    return time.monotonic() - begun


def python(*words: str) -> list[str]:
    """Return the words of a command for this interpreter."""
    return [sys.executable, *words]
