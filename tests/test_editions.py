"""Editions: what students and CI get of a notebook, and whether each notebook's exercises are whole."""

import ast
import re
import shutil
import subprocess
import sys

import nbformat
import pytest

from aelib import __main__ as command_line
from aelib import editions, series

NOTEBOOKS = {path.name: nbformat.read(path, as_version=4) for path in series.find_notebooks()}
EXERCISES = """## Exercises

**1. (easy)** What is $1 + 1$?

<details><summary>Solution</summary>

Two, as one sees:

```python
two = 1 + 1
```

and

```python
print(two)
```

</details>

**2. (hard)** Why?

<details><summary>Hint</summary>

Ask Peano.

</details>

<details><summary>Solution</summary>

```python
reason = "because"
```

```python
reason
```

</details>

## Next

Go on."""

every_notebook = pytest.mark.parametrize("name", NOTEBOOKS)


def small() -> nbformat.NotebookNode:
    """Return a notebook with two exercises."""
    make_markdown, make_code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    cells = [make_markdown("# Why?", id="a"), make_code("x = 1", id="b"), make_markdown(EXERCISES, id="c")]
    cells[1].execution_count = 1
    cells[1].outputs = [nbformat.v4.new_output("stream", text="seen\n")]
    return nbformat.v4.new_notebook(cells=cells)


def without_solutions(text: str) -> str:
    """Return markdown without its solutions, the slow obvious way: line by line."""
    kept, inside = [], False
    for line in text.split("\n"):
        inside = inside or line == "<details><summary>Solution</summary>"
        if not inside:
            kept.append(line)
        inside = inside and line != "</details>"
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip("\n")


def prose(cells) -> str:
    """Return what the markdown cells say."""
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def tagged(notebook) -> list[nbformat.NotebookNode]:
    """Return the cells that solve exercises."""
    return [cell for cell in notebook.cells if "solution" in cell.metadata.get("tags", ())]


# A small notebook, in full


def test_exercises_are_read():
    first, second = editions.read_exercises(small())
    assert (first.number, first.grade, first.question) == (1, "easy", "What is $1 + 1$?")
    assert first.code == ("two = 1 + 1", "print(two)")
    assert (second.number, second.grade, second.code) == (2, "hard", ('reason = "because"', "reason"))
    assert "Hint" in second.question


def test_students_get_an_empty_cell_for_each_solution():
    cells = editions.student_edition(small(), outputs=True).cells
    assert [cell.source for cell in cells[:2]] == ["# Why?", "x = 1"]
    assert cells[2].source == "## Exercises\n\n**1. (easy)** What is $1 + 1$?"
    assert cells[3].source == "# Exercise 1: your answer\n"
    assert cells[4].source.startswith("**2. (hard)** Why?\n\n<details><summary>Hint</summary>")
    assert cells[5].source == "# Exercise 2: your answer\n"
    assert cells[6].source == "## Next\n\nGo on."
    assert [cell.id for cell in cells] == ["a", "b", "c", "c-1", "c-2", "c-3", "c-4"]
    assert len(cells) == 7


def test_a_cell_that_ends_with_a_solution_leaves_no_empty_cell():
    notebook = small()
    notebook.cells[2].source = EXERCISES.removesuffix("\n\n## Next\n\nGo on.")
    assert editions.student_edition(notebook).cells[-1].source == "# Exercise 2: your answer\n"


def test_outputs_are_left_out_on_request():
    kept, left_out = (
        editions.student_edition(small(), outputs=outputs).cells[1] for outputs in (True, False)
    )
    assert kept == small().cells[1]
    assert (left_out.source, left_out.outputs, left_out.execution_count) == ("x = 1", [], None)


def test_solutions_become_cells():
    cells = editions.solved_edition(small()).cells
    kinds = "markdown code markdown markdown code markdown code markdown code code markdown"
    assert [cell.cell_type for cell in cells] == kinds.split()
    sources = ["Two, as one sees:", "two = 1 + 1", "and", "print(two)", 'reason = "because"', "reason"]
    assert [cell.source for cell in tagged(nbformat.v4.new_notebook(cells=cells))] == sources


def test_the_notebook_itself_stays_as_it_is():
    notebook = small()
    editions.student_edition(notebook)
    editions.solved_edition(notebook)
    assert notebook == small()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("**2. (hard)** Why?", "Why?", "one exercise before it"),
        ("(easy)", "(simple)", "one exercise before it"),
        ("## Next", "**3. (easy)** And?", "no solution"),
        ("Solution</summary>\n\nTwo", "Solution</summary>\nTwo", "not as aelib.editions describes"),
        ("\nreason\n```\n\n</details>", "\nreason\n```", "not as aelib.editions describes"),
        ("and\n\n```python\nprint", "and\n```python\nprint", "empty lines around"),
        ("and\n\n```python\nprint(two)\n```\n\n</details>", "and", "not as aelib.editions describes"),
    ],
)
def test_what_is_not_whole_is_refused(old, new, message):
    notebook = small()
    assert EXERCISES.count(old) == 1
    notebook.cells[2].source = EXERCISES.replace(old, new)
    for make in (editions.read_exercises, editions.student_edition, editions.solved_edition):
        with pytest.raises(ValueError, match=message):
            make(notebook)


# The notebooks of the series


@every_notebook
def test_has_exercises_of_three_grades_with_code(name):
    exercises = editions.read_exercises(NOTEBOOKS[name])
    assert [exercise.number for exercise in exercises] == list(range(1, len(exercises) + 1))
    grades = [exercise.grade for exercise in exercises]
    assert set(grades) == set(editions.GRADES)
    assert grades == sorted(grades, key=editions.GRADES.index)
    assert [exercise.number for exercise in exercises if not exercise.code] == []


@every_notebook
def test_students_get_all_but_the_solutions(name):
    notebook = NOTEBOOKS[name]
    edition = editions.student_edition(notebook, outputs=True)
    nbformat.validate(edition)
    answers = [cell for cell in edition.cells if cell.source.endswith(": your answer\n")]
    assert len(answers) == len(editions.read_exercises(notebook))
    kept = [cell for cell in edition.cells if cell not in answers]
    assert [c for c in kept if c.cell_type == "code"] == [c for c in notebook.cells if c.cell_type == "code"]
    assert prose(kept) == without_solutions(prose(notebook.cells))
    for exercise in editions.read_exercises(notebook):
        assert not any(code in nbformat.writes(edition) for code in exercise.code)


@every_notebook
def test_solved_edition_holds_all_cells_and_the_solutions(name):
    notebook = NOTEBOOKS[name]
    edition = editions.solved_edition(notebook)
    nbformat.validate(edition)
    solutions = tagged(edition)
    plain = [cell for cell in edition.cells if cell not in solutions]
    assert [c for c in plain if c.cell_type == "code"] == [c for c in notebook.cells if c.cell_type == "code"]
    assert prose(plain) == without_solutions(prose(notebook.cells))
    exercises = editions.read_exercises(notebook)
    code = [cell.source for cell in solutions if cell.cell_type == "code"]
    assert code == [piece for exercise in exercises for piece in exercise.code]
    last = max(
        k for k, cell in enumerate(edition.cells) if cell.cell_type == "code" and cell not in solutions
    )
    assert all(cell not in solutions for cell in edition.cells[: last + 1]), "after the notebook's last cell"


def names_used(code: str) -> tuple[set[str], set[str]]:
    """Return the names that code reads before it sets them, and those that it sets, in the order of its lines."""
    found = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)]
    imported = {
        (alias.asname or alias.name).partition(".")[0]
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    made = imported | {node.id for node in found if isinstance(node.ctx, ast.Store)}
    first = {
        name: min(node.lineno for node in found if node.id == name and isinstance(node.ctx, ast.Store))
        for name in made - imported
    }
    read = {
        node.id
        for node in found
        if isinstance(node.ctx, ast.Load) and node.lineno <= first.get(node.id, float("inf"))
    }
    return read - imported, made


@every_notebook
def test_solutions_do_not_disturb_each_other(name):
    """A solution must not read what another one has set: students solve them in any order."""
    used = [names_used("\n".join(e.code)) for e in editions.read_exercises(NOTEBOOKS[name])]
    for k, (read, _) in enumerate(used):
        set_by_others = set().union(*(made for other, (_, made) in enumerate(used) if other != k))
        assert read & set_by_others == set(), f"exercise {k + 1}"


def test_names_that_a_piece_of_code_uses():
    read, made = names_used("import os.path\nx = y\nfor k in range(x):\n    z = [u for u in v]\nw = w + z")
    assert read >= {"y", "range", "v", "w"}
    assert made == {"os", "x", "k", "z", "u", "w"}
    assert not {"x", "z", "os"} & read


def test_solutions_are_in_our_style(tmp_path):
    editions.write_solved(tmp_path / "notebooks")
    settings = "--no-cache", "--config", str(series.ROOT / "pyproject.toml")
    ours = "--config", 'lint.isort.known-first-party=["aelib"]'
    for words in (["check", "--quiet"], ["format", "--check", "--quiet", "--diff"]):
        command = [sys.executable, "-m", "ruff", *words, *settings, *ours, "."]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# Folders


def test_the_student_folder_works_on_its_own(tmp_path):
    out = tmp_path / "course"
    (out / "notebooks").mkdir(parents=True)
    (out / "notebooks" / "mine.txt").write_text("stays")
    written = editions.write_student(out)
    assert [path.name for path in written] == list(NOTEBOOKS)
    assert (out / "notebooks" / "mine.txt").read_text() == "stays"
    links = [
        (path.parent / link.partition("#")[0]).exists()
        for path in (*out.glob("*.md"), *out.glob("notebooks/*.md"))
        for link in re.findall(r"\]\(([^):]+)\)", path.read_text(encoding="utf-8"))
    ]
    assert links
    assert all(links)
    script = "import aelib; print(aelib.__file__, aelib.load_checkpoint().config.z_dim)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=out, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == [str(out / "aelib" / "__init__.py"), "256"], done.stderr
    assert not any("solution" in path.read_text(encoding="utf-8").lower() for path in out.glob("*.md"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["student", "--execute"], "--execute are for the solved one"),
        (["student", "--notebooks", "01"], "--execute are for the solved one"),
        (["solved", "--outputs"], "--outputs is for the student edition"),
        (["solved", "--out", str(series.NOTEBOOKS)], "holds the notebooks themselves"),
        (["student", "--out", str(series.ROOT)], "holds the notebooks themselves"),
        (["solved", "--notebooks", "77"], "no notebook begins with '77'"),
    ],
)
def test_wrong_wishes_change_nothing(words, message, capsys):
    before = {path: path.stat().st_mtime_ns for path in series.NOTEBOOKS.iterdir()}
    assert command_line.main(["edition", *words]) == 2
    assert message in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in series.NOTEBOOKS.iterdir()} == before


def test_a_notebook_whose_exercises_are_not_whole_is_named(tmp_path, write_notebook, monkeypatch, capsys):
    path = write_notebook("01_a.ipynb", "n: int = 1  # x [0..9]")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_markdown_cell("**1. (easy)** Why?"))
    nbformat.write(notebook, path)
    monkeypatch.setattr(editions, "find_notebooks", lambda only: (path,))
    assert command_line.main(["edition", "solved", "--out", str(tmp_path / "solved")]) == 2
    assert (
        "01_a.ipynb: an exercise has no solution, in this cell:\n**1. (easy)** Why?"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "solved").exists()


def test_command_line_writes_and_executes(tmp_path, write_notebook, monkeypatch, capsys):
    path = write_notebook("01_a.ipynb", "n: int = 1  # x [0..9]")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_markdown_cell(EXERCISES))
    nbformat.write(notebook, path)
    monkeypatch.setattr(
        editions, "find_notebooks", lambda only: series.find_notebooks(only, folder=path.parent)
    )
    assert command_line.main(["edition", "solved", "--out", str(tmp_path / "solved"), "--execute"]) == 0
    assert capsys.readouterr().out.startswith("solved edition: ")
    solved = nbformat.read(tmp_path / "solved" / path.name, as_version=4)
    shown = [output.get("text") for cell in tagged(solved) for output in cell.get("outputs", ())]
    assert shown == ["2\n", None]


# The tests of notebooks


def test_a_solution_that_fails_or_warns_fails_the_test(tmp_path):
    notebook = small()
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    text = EXERCISES.replace("two = 1 + 1", "import warnings\n\ntwo = 2\nwarnings.warn('beware')")
    notebook.cells[2].source = text.replace("\nreason\n", "\n1 / 0\n")
    nbformat.write(editions.solved_edition(notebook), tmp_path / "01_a.ipynb")
    shutil.copy(series.ROOT / "conftest.py", tmp_path)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--quiet",
        "--nbval-lax",
        "-p",
        "no:cacheprovider",
        "01_a.ipynb",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "UserWarning: beware" in done.stdout
    assert "ZeroDivisionError" in done.stdout
    assert "2 failed, 3 passed" in done.stdout
