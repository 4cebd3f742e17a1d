"""What all tests share: a cache of their own, reproducible hypothesis runs, and small notebooks."""

import os
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
