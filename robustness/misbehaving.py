"""Loaders that do what no loader may: `make fuzz ARGS=--self-test` shows that each is found out."""

import marshal
import os
import pickle
import signal
import socket
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from hypothesis import strategies as st

from robustness.loader import Loader

SECONDS = 1
"""How long a file may take here."""


def _loader(load: Callable[[bytes, Path], object]) -> Callable[[], Loader]:
    def act(data: bytes, folder: Path) -> bool:
        if data:  # the whole file, which comes first, is loaded as it should be
            load(data, folder)
        return False

    return lambda: Loader(load.__name__, (b"",), st.binary(min_size=1, max_size=9), act, 50)


def _fails_otherwise(_data: bytes, _folder: Path) -> None:
    raise KeyError("x")


def _says_nothing(_data: bytes, _folder: Path) -> None:
    raise ValueError


def _warns(_data: bytes, _folder: Path) -> None:
    warnings.warn("odd", stacklevel=1)


def _hangs(_data: bytes, _folder: Path) -> None:
    while True:
        pass


def _hangs_for_good(_data: bytes, _folder: Path) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPROF])
    while True:
        pass


def _waits(_data: bytes, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "pipe").read_bytes()


def _crashes(_data: bytes, _folder: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _takes_memory(_data: bytes, _folder: Path) -> None:
    np.ones(10_000_000)


def _evaluates(data: bytes, _folder: Path) -> None:
    eval(repr(data))


def _reads_code(_data: bytes, _folder: Path) -> None:
    marshal.loads(marshal.dumps((lambda: 0).__code__))


def _unpickles(_data: bytes, _folder: Path) -> None:
    pickle.loads(pickle.dumps(np.float64))


def _starts_a_program(_data: bytes, _folder: Path) -> None:
    subprocess.run(["true"], check=True)


def _connects(_data: bytes, _folder: Path) -> None:
    with socket.socket() as connection:
        connection.connect_ex(("127.0.0.1", 9))


def _writes_elsewhere(data: bytes, folder: Path) -> None:
    (folder.parent / "elsewhere").write_bytes(data)


def _writes_through_a_link(data: bytes, folder: Path) -> None:
    (folder / "link").symlink_to(folder.parent)
    (folder / "link" / "elsewhere").write_bytes(data)


def _writes_in_c(_data: bytes, folder: Path) -> None:
    h5py.File(folder.parent / "elsewhere.h5", "w").close()


def _removes_elsewhere(_data: bytes, folder: Path) -> None:
    (folder.parent / "last").unlink()


def _renames_outwards(data: bytes, folder: Path) -> None:
    (folder / "x").write_bytes(data)
    (folder / "x").rename(folder.parent / "x")


EXPECTED: dict[Callable[[bytes, Path], object], str] = {
    _fails_otherwise: "KeyError",
    _says_nothing: "that says nothing",
    _warns: "UserWarning",
    _hangs: "Hang: more than 1 s|status 1",
    _hangs_for_good: "status 1",
    _waits: "status 1",
    _crashes: "status -9",
    _takes_memory: "MB, over 50 MB",
    _evaluates: "exec",
    _reads_code: "marshal.loads",
    _unpickles: "pickle.find_class",
    _starts_a_program: "subprocess.Popen",
    _connects: "socket.connect",
    _writes_elsewhere: "it changed",
    _writes_through_a_link: "it changed",
    _writes_in_c: "it made elsewhere.h5 outside",
    _removes_elsewhere: "it changed",
    _renames_outwards: "it changed",
}
"""Of each, what is to be said of it, as a pattern; on a busy machine the clock may run out before the CPU time."""


def misbehaving(number: int) -> Loader:
    """Make the loader of a number."""
    return _loader(list(EXPECTED)[number])()
