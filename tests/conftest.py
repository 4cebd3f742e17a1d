"""What all tests share: a cache of their own, reproducible hypothesis runs, and small notebooks."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import nbformat
import pytest

hypothesis.settings.register_profile("aelib", deadline=None, derandomize=True)
hypothesis.settings.register_profile(  # what `make mutants` runs very often; a failure needs no shorter example
    "mutants",
    deadline=None,
    derandomize=True,
    max_examples=20,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
)
hypothesis.settings.load_profile("aelib")


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the tests, and the notebooks tested with them, out of the user's image cache; workers share one."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AELIB_CACHE", str(folder))
        yield folder


@pytest.fixture
def write_notebook(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a notebook: one parameters cell, then the given cells."""

    def write(name: str, parameters: str, *cells: str) -> Path:
        head = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
        notebook = nbformat.v4.new_notebook(
            cells=[head, *map(nbformat.v4.new_code_cell, cells)],
            metadata={"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}},
        )
        path = tmp_path / "notebooks" / name
        path.parent.mkdir(exist_ok=True)
        nbformat.write(notebook, path)
        return path

    return write


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Return a function that finds a port that nobody uses."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find


@pytest.fixture(scope="session")
def run_server() -> Callable[..., contextlib.AbstractContextManager[tuple[subprocess.Popen[bytes], Path]]]:
    """Return a function that runs a server until the block ends; it is ready when its log says so."""
    return _server


PATIENCE = 180  # seconds that a busy machine may take to import TensorFlow


@contextlib.contextmanager
def _server(command: list[str], folder: Path, ready: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    names = ("_CONFIG_DIR", "_DATA_DIR", "_RUNTIME_DIR")
    private = {f"JUPYTER{name}": str(folder / name.lower()) for name in names}
    lab = {f"JUPYTERLAB_{name}_DIR": str(folder / name.lower()) for name in ("SETTINGS", "WORKSPACES")}
    env = {name: value for name, value in os.environ.items() if name != "JUPYTER_TOKEN"} | private | lab
    log = folder / "log.txt"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=folder, env=env, stdout=out, stderr=out, start_new_session=True
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


def _wait_for(ready: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        if ready in log.read_text(errors="replace"):
            return
        time.sleep(0.2)
    pytest.fail(f"the server did not answer: {log.read_text(errors='replace')[-2000:]}")
