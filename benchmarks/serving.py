"""A server for as long as somebody looks at it, and the browser to look with: for the benchmarks and for the tests."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)
"""The system's Chromium; None if there is none."""
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
"""What a Chromium is started with that is to talk to nobody."""
KERNEL_IS_IDLE = (
    "() => window.jupyterapp?.shell.currentWidget?.context?.sessionContext?"
    ".session?.kernel?.status === 'idle'"
)
"""Whether JupyterLab's kernel waits, in JavaScript."""
PATIENCE = 300  # seconds that a busy machine may take to import TensorFlow


def free_port() -> int:
    """Find a port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def lab_options(folder: Path, port: int) -> tuple[str, ...]:
    """Return what a JupyterLab is started with that asks for no token, and nothing of other hosts."""
    return (
        *("--no-browser", "--expose-app-in-browser", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"),
        *(f"--ServerApp.root_dir={folder}", "--IdentityProvider.token=", "--ServerApp.allow_root=True"),
        *("--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.news_url=None"),
        "--MappingKernelManager.transport_encryption=auto",
    )


@contextlib.contextmanager
def serving(
    command: list[str], folder: Path, *, ready: str
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Run a server until the block ends, with Jupyter's settings of its own.

    Parameters
    ----------
    command : list of str
        The program and its arguments.
    folder : Path
        Where it is started, and where its settings and its log go.
    ready : str
        What its log says once it can be asked.

    Yields
    ------
    subprocess.Popen and Path
        The process, and its log.

    Raises
    ------
    RuntimeError
        If it ends, or does not say in `PATIENCE` seconds that it is ready.
    """
    log = folder / "log.txt"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=folder, env=_environment(folder), stdout=out, stderr=out, start_new_session=True
        )
    try:
        _wait_for(ready, process, log)
        yield process, log
    finally:
        # The kernels are in its group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _environment(folder: Path) -> dict[str, str]:
    names = ("_CONFIG_DIR", "_DATA_DIR", "_RUNTIME_DIR")
    private = {f"JUPYTER{name}": str(folder / name.lower()) for name in names}
    lab = {f"JUPYTERLAB_{name}_DIR": str(folder / name.lower()) for name in ("SETTINGS", "WORKSPACES")}
    return {name: value for name, value in os.environ.items() if name != "JUPYTER_TOKEN"} | private | lab


def _wait_for(ready: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        if ready in log.read_text(errors="replace"):
            return
        time.sleep(0.2)
    raise RuntimeError(f"the server did not answer: {log.read_text(errors='replace')[-2000:]}")
