"""Live processes that take turns: each keeps a network of its own, and measures when it is asked to.

Two frameworks in one process share, and spoil, each other's pools of threads. So each has a process, which sleeps while
another one works. `python -m benchmarks.peers MODULE FOLDER` is such a process: it makes `MODULE.Trainer(FOLDER)` and
answers, for each line of JSON `{"do": method, ...arguments}`, with a line that holds the result or the error.
"""

import importlib
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any, TextIO

from aelib.record import ROOT


class Peer:
    """The near end: start a process, ask it, close it.

    Parameters
    ----------
    module : str
        Module of this package with a class `Trainer`.
    folder : pathlib.Path
        The task, as `benchmarks.task` writes it.
    settings : str
        Further arguments of `Trainer`, such as a precision.
    """

    def __init__(self, module: str, folder: Path, **settings: str) -> None:
        command = [sys.executable, "-m", "benchmarks.peers", module, str(folder), json.dumps(settings)]
        self.name = " ".join([module, *settings.values()])
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        self._read("ready")

    def ask(self, method: str, **arguments: Any) -> Any:
        """Have a method of the `Trainer` called; return what it returns."""
        self._process.stdin.write(json.dumps({"do": method, **arguments}) + "\n")
        self._process.stdin.flush()
        return self._read(method)

    def _read(self, method: str) -> Any:
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": "the process ended"}
        if "error" in answer:
            raise RuntimeError(f"{self.name}, asked for {method}: {answer['error']}")
        return answer["result"]

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def main(module: str, folder: str, settings: str) -> None:
    """Be the far end."""
    # What libraries print must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    trainer = importlib.import_module(f"benchmarks.{module}").Trainer(Path(folder), **json.loads(settings))
    print(json.dumps({"result": "ready"}), file=answers, flush=True)
    for line in sys.stdin:
        _answer(trainer, json.loads(line), answers)


def _answer(trainer: Any, asked: dict[str, Any], answers: TextIO) -> None:
    try:
        said = {"result": getattr(trainer, asked.pop("do"))(**asked)}
    except Exception as error:  # noqa: BLE001 (it is told to the process that asked)
        traceback.print_exc()
        said = {"error": repr(error)}
    print(json.dumps(said), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
