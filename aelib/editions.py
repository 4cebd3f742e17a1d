"""Editions of the notebooks: without the exercises' solutions for students, or with them as cells that run.

A notebook keeps its exercises in markdown, each with a grade and a solution that is folded away:

    **1. (easy)** How many …?

    <details><summary>Solution</summary>

    Prose, and code between ```python and ```.

    </details>

Solutions run after the notebook's last cell, with its names.
"""

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat

from aelib import files
from aelib.series import NOTEBOOKS, ROOT, find_notebooks

GRADES = ("easy", "medium", "hard")
"""What the exercises of a notebook are graded as."""
STUDENT = ROOT / "build" / "student"
"""Where the student edition goes."""
SOLVED = ROOT / "build" / "solved"
"""Where the solved edition goes."""

_TAG = "solution"
_CARRIED = ("aelib", "data", "Makefile", "pyproject.toml", "constraints.txt", "environment.yml", "LICENSE")
_README = ROOT / "docs" / "student" / "README.md"
_HEADING = re.compile(rf"^\*\*(\d+)\. \(({'|'.join(GRADES)})\)\*\* ", re.MULTILINE)
_SOLUTION = re.compile(
    r"\n\n<details><summary>Solution</summary>\n\n(.+?)\n\n</details>(?:\n\n|\Z)", re.DOTALL
)
_CODE = re.compile(r"(?:(?<=\n\n)|\A)```python\n(.+?)\n```(?=\n\n|\Z)", re.DOTALL)

_Filling = Callable[[str, int], list[nbformat.NotebookNode]]


@dataclass(frozen=True)
class Exercise:
    """An exercise with its solution.

    Parameters
    ----------
    number : int
        Its number in the notebook.
    grade : str
        One of `GRADES`.
    question : str
        What is asked, in markdown.
    solution : str
        Prose and code, in markdown.
    """

    number: int
    grade: str
    question: str
    solution: str

    @property
    def code(self) -> tuple[str, ...]:
        """The solution's pieces of code, in their order."""
        return tuple(_CODE.split(self.solution)[1::2])


def read_exercises(notebook: nbformat.NotebookNode) -> tuple[Exercise, ...]:
    r"""List the exercises of a notebook.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        A notebook of the series.

    Returns
    -------
    tuple of Exercise
        In their order.

    Raises
    ------
    ValueError
        If something begins like an exercise or a solution and is not whole.

    Examples
    --------
    >>> text = "**1. (easy)** Why?\n\n<details><summary>Solution</summary>\n\nSo.\n\n</details>"
    >>> read_exercises(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)]))
    (Exercise(number=1, grade='easy', question='Why?', solution='So.'),)
    """
    return tuple(
        _read_exercise(question, solution)
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for question, solution in zip(*_alternating(cell.source), strict=True)
    )


def _alternating(source: str) -> tuple[list[str], list[str]]:
    """Split a cell into what comes before each solution, and the solutions; what follows the last one is left out."""
    pieces = _SOLUTION.split(source)
    if "<summary>Solution" in "".join(pieces[::2]) or any(_HEADING.search(part) for part in pieces[1::2]):
        raise ValueError(f"a solution is not as aelib.editions describes it, in this cell:\n{source}")
    if _HEADING.search(pieces[-1]):
        raise ValueError(f"an exercise has no solution, in this cell:\n{source}")
    return pieces[:-1:2], pieces[1::2]


def _read_exercise(before: str, solution: str) -> Exercise:
    headings = list(_HEADING.finditer(before))
    if len(headings) != 1:
        raise ValueError(
            f"a solution needs one exercise before it, such as **1. (easy)** and a question, not {len(headings)}: "
            f"{before!r}"
        )
    if "```" in "".join(_CODE.split(solution)[::2]):
        raise ValueError(
            f"code in a solution stands between ```python and ```, with empty lines around it: {solution!r}"
        )
    number, grade = headings[0].groups()
    return Exercise(int(number), grade, before[headings[0].end() :].strip(), solution)


def student_edition(notebook: nbformat.NotebookNode, *, outputs: bool = False) -> nbformat.NotebookNode:
    """Leave out the solutions: an empty cell stands in the place of each.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        A notebook of the series; it stays as it is.
    outputs : bool
        Whether the outputs stay. If not, students make the figures themselves.

    Returns
    -------
    nbformat.NotebookNode
        The notebook for students.

    Raises
    ------
    ValueError
        If an exercise or a solution is not whole.
    """
    edition = _fill(notebook, lambda _, n: [nbformat.v4.new_code_cell(f"# Exercise {n}: your answer\n")])
    if not outputs:
        for cell in edition.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
    return edition


def solved_edition(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Unfold the solutions: their code becomes cells, which are tagged "solution" like the prose around them.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        A notebook of the series; it stays as it is.

    Returns
    -------
    nbformat.NotebookNode
        The notebook with solutions that run. What was there before keeps its outputs.

    Raises
    ------
    ValueError
        If an exercise or a solution is not whole.
    """
    return _fill(notebook, lambda solution, _: _as_cells(solution))


def _as_cells(solution: str) -> list[nbformat.NotebookNode]:
    makers = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    pieces = enumerate(piece.strip("\n") for piece in _CODE.split(solution))
    return [makers[k % 2](piece, metadata={"tags": [_TAG]}) for k, piece in pieces if piece]


def _fill(notebook: nbformat.NotebookNode, filling: _Filling) -> nbformat.NotebookNode:
    """Put cells in the place of each solution; the cell around it is split there."""
    read_exercises(notebook)  # complains of what is not whole
    edition = nbformat.from_dict(notebook)
    edition.cells = [part for cell in edition.cells for part in _split(cell, filling)]
    return edition


def _split(cell: nbformat.NotebookNode, filling: _Filling) -> list[nbformat.NotebookNode]:
    pieces = _SOLUTION.split(cell.source) if cell.cell_type == "markdown" else [cell.source]
    if len(pieces) == 1:
        return [cell]
    parts = []
    for k, piece in enumerate(pieces):
        if k % 2:
            parts += filling(piece, int(_HEADING.findall(pieces[k - 1])[0][0]))
        elif piece:
            parts.append(nbformat.v4.new_markdown_cell(piece))
    for k, part in enumerate(parts):  # not random, as they come: the same notebook gives the same file
        part.id = f"{cell.id}-{k}" if k else cell.id
    return parts


def write_solved(out: Path = SOLVED, *, only: Sequence[str] = ()) -> tuple[Path, ...]:
    """Write the solved edition: notebooks that are ready to be executed or tested.

    Parameters
    ----------
    out : pathlib.Path
        A folder. Notebooks that are there already are replaced.
    only : sequence of str
        Beginnings of notebook names; empty for all.

    Returns
    -------
    tuple of pathlib.Path
        The notebooks, in the order of the series.

    Raises
    ------
    ValueError
        If `out` is the folder of the series itself, or an exercise or a solution is not whole.
    """
    return _write(solved_edition, out, only)


def write_student(out: Path = STUDENT, *, outputs: bool = False) -> tuple[Path, ...]:
    """Write the student edition: a folder of its own with notebooks, library and data, where `make lab` works.

    Parameters
    ----------
    out : pathlib.Path
        A folder. What is there of an earlier edition is replaced, and what else is there stays.
    outputs : bool
        Whether the notebooks keep their outputs.

    Returns
    -------
    tuple of pathlib.Path
        The notebooks, in the order of the series.

    Raises
    ------
    ValueError
        If `out` is the project's own folder, or an exercise or a solution is not whole.
    """
    written = _write(lambda notebook: student_edition(notebook, outputs=outputs), out / NOTEBOOKS.name)
    _copy(NOTEBOOKS, out / NOTEBOOKS.name, "*.ipynb")
    for name in _CARRIED:
        _copy(ROOT / name, out / name)
    _copy(_README, out / _README.name)
    return written


def _write(
    edition: Callable[[nbformat.NotebookNode], nbformat.NotebookNode], out: Path, only: Sequence[str] = ()
) -> tuple[Path, ...]:
    if out.resolve() == NOTEBOOKS:
        raise ValueError(f"{out} holds the notebooks themselves: choose another folder (--out).")
    written = []
    for path in find_notebooks(only):
        try:
            notebook = edition(nbformat.read(path, as_version=4))
        except ValueError as error:
            raise ValueError(f"{path.name}: {error}") from error
        files.write_text(out / path.name, nbformat.writes(notebook) + "\n")
        written.append(out / path.name)
    return tuple(written)


def _copy(source: Path, target: Path, *ignored: str) -> None:
    if source.is_dir():
        ignore = shutil.ignore_patterns("__pycache__", ".*", *ignored)
        shutil.copytree(source, target, ignore=ignore, dirs_exist_ok=True)
    else:
        shutil.copy(source, target)
