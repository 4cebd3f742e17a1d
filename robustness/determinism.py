"""Determinism: what comes out the same, bit for bit, and what to rounding, as measured on this machine.

Small results of every kind are computed in processes of their own: twice alike, by another way (other batches, saved
and loaded, stopped and resumed), on one core, and as on processors that lack newer instructions, for each of the
libraries that choose their kernels by the processor. The table says "same" where all bits are, else the largest
difference over the standard deviation of the values. Variables of the environment that limit a library to older
instructions stand for other machines.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from robustness.probes import probes

ROOT = Path(__file__).resolve().parent.parent
_CODE = (
    "import sys; from robustness.probes import write; write(sys.argv[1], keras={}, one_core={}, bfloat16={})"
)


class Setting(NamedTuple):
    """Under what the results are computed again.

    Parameters
    ----------
    name : str
        Heading of its column.
    environment : dict
        Environment variables.
    one_core : bool
        Whether the process has one core.
    bfloat16 : bool
        Whether convolutions in bfloat16 are possible; oneDNN has none for processors without AVX-512.
    """

    name: str
    environment: dict[str, str]
    one_core: bool = False
    bfloat16: bool = True


SETTINGS = (
    Setting("new process", {}),
    Setting("one core", {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}, one_core=True),
    Setting("BLAS, AVX", {"OPENBLAS_CORETYPE": "Sandybridge"}),
    Setting("BLAS, SSE", {"OPENBLAS_CORETYPE": "Nehalem"}),
    Setting("oneDNN, AVX2", {"ONEDNN_MAX_CPU_ISA": "AVX2"}, bfloat16=False),
    Setting("oneDNN, SSE", {"ONEDNN_MAX_CPU_ISA": "SSE41"}, bfloat16=False),
    Setting("Numba, any CPU", {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}),
)


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference over the standard deviation of what is expected; 0 only if all bits are the same.

    Zeros that differ in their sign count as the smallest number there is.
    """
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return np.inf
    if found.tobytes() == expected.tobytes():
        return 0.0
    if found.dtype.kind not in "fiu":
        return np.inf
    truth, tiny = expected.astype(np.float64), float(np.finfo(np.float64).tiny)
    apart = np.abs(found.astype(np.float64) - truth).max()
    return max(float(apart / max(truth.std(), tiny)), tiny)


def compute(
    folder: Path, setting: Setting, *, keras: bool = True, python: str = sys.executable
) -> dict[str, np.ndarray]:
    """Compute all results in a process of its own.

    Parameters
    ----------
    folder : pathlib.Path
        A folder for files.
    setting : Setting
        Under what.
    keras : bool
        Whether to run networks as well.
    python : str
        The interpreter, of this or of another environment.

    Returns
    -------
    dict
        Name to array, and "name|again" to the one by the other way.
    """
    path = folder / f"{len(list(folder.glob('*.npz')))}.npz"
    own = {"AELIB_CACHE": str(folder / "cache"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    if "NUMBA_CPU_NAME" in setting.environment:
        own["NUMBA_CACHE_DIR"] = str(folder / "numba")
    command = [python, "-c", _CODE.format(keras, setting.one_core, setting.bfloat16), str(path)]
    subprocess.run(command, cwd=ROOT, env=os.environ | own | setting.environment, check=True)
    with np.load(path) as file:
        return dict(file)


def _cell(found: np.ndarray | None, expected: np.ndarray) -> str:
    if found is None:
        return "–"
    apart = difference(found, expected)
    return "same" if apart == 0.0 else f"{apart:.0e}".replace("e-0", "e-")


def _versions(python: str) -> str:
    code = "import platform, numpy, scipy; print(platform.python_version(), numpy.__version__, scipy.__version__)"
    said = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    return "Python {}, NumPy {}, SciPy {}".format(*said)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m robustness.determinism", description=__doc__)
    parser.add_argument(
        "--python", nargs="+", default=[], metavar="PATH", help="interpreters of other environments"
    )
    parser.add_argument("--without-keras", action="store_true", help="leave networks out")
    options = parser.parse_args()
    keras = not options.without_keras
    with tempfile.TemporaryDirectory(prefix="aelib-determinism-") as scratch:
        folder = Path(scratch)
        expected = compute(folder, Setting("", {}), keras=keras)
        columns = {s.name: compute(folder, s, keras=keras) for s in SETTINGS}
        others = {
            _versions(path): compute(folder, Setting("", {}), keras=keras, python=path)
            for path in options.python
        }
    _print(expected, columns | others)


def _print(expected: dict[str, np.ndarray], columns: dict[str, dict[str, np.ndarray]]) -> None:
    headings = ["result", "in another way", *columns]
    print(f"| {' | '.join(headings)} |\n|---|---|{'---|' * len(columns)}")
    for probe in probes():
        if probe.name in expected:
            truth = expected[probe.name]
            way = _cell(expected.get(f"{probe.name}|again"), truth) + (f" ({probe.way})" if probe.way else "")
            cells = [_cell(found.get(probe.name), truth) for found in columns.values()]
            print(f"| {' | '.join([probe.name, way, *cells])} |")


if __name__ == "__main__":
    main()
