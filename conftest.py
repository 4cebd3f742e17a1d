"""What holds for all tests: types and shapes are checked as functions run, and notebooks run without a warning."""

import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# Not in modules whose names begin with an underscore: numba refuses to compile wrapped functions.
_CHECKED = [f"aelib.{path.stem}" for path in sorted((Path(__file__).parent / "aelib").glob("[a-z]*"))]

# An int is welcome where a float is asked for, as type checkers have it.
install_import_hook(
    [*_CHECKED, "aelib.__main__"], "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Let a notebook's cell fail that writes to the standard error, such as a warning: nbval looks for errors only."""
    result = yield
    noise = [
        output.text for output in getattr(item, "test_outputs", None) or () if output.get("name") == "stderr"
    ]
    if noise:
        pytest.fail(f"{item.nodeid} wrote to the standard error:\n{''.join(noise)}", pytrace=False)
    return result


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let a worker save what coverage has seen before it says that it is done: one that then ends slowly is killed."""
    coverage = sys.modules.get("coverage")
    measured = coverage.Coverage.current() if coverage and hasattr(session.config, "workerinput") else None
    if measured is not None:
        measured.save()
