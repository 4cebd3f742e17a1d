"""What notebooks may be asked: their parameters cells, with types and ranges, and what a run hands to each of them."""

import ast
import contextlib
import difflib
import io
import math
import re
import tokenize
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import nbformat

from aelib.files import read_yaml

_TYPES: dict[str, type] = {kind.__name__: kind for kind in (bool, int, float, str, tuple, list, dict)}
_CELLS = ("code", "markdown", "raw")
_OUTPUTS = ("display_data", "error", "execute_result", "stream")
_BRACKETS = re.compile(r"\[([^][]*)\]\s*$")
_INTERVAL = re.compile(r"\s*(\S*?)\s*\.\.\s*(\S*?)(?:\s+step\s+(\S+))?\s*")


class Interval(NamedTuple):
    """Numbers from `low` to `high`, both allowed; with a step, only those that lie whole steps above `low`.

    Parameters
    ----------
    low, high : float
        The ends; infinite where there is none.
    step : float
        Distance of allowed numbers; 0 for all numbers.
    """

    low: float
    high: float
    step: float

    def __contains__(self, value: Any) -> bool:
        """Say whether a number is allowed."""
        if not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        try:
            return not self.step or (value - self.low) % self.step == 0
        except OverflowError:  # an integer beyond all floats
            return False

    def __str__(self) -> str:
        """Say it in words."""
        low, high = (f"{end:,.15g}".replace(",", "_") for end in (self.low, self.high))
        if self.high == math.inf:
            words = f"{low} or more"
        else:
            words = f"{high} or less" if self.low == -math.inf else f"from {low} to {high}"
        return f"{words}, in steps of {self.step:g}" if self.step else words


class Choices(NamedTuple):
    """A list of allowed values.

    Parameters
    ----------
    values : tuple
        The values.
    """

    values: tuple[Any, ...]

    def __contains__(self, value: Any) -> bool:
        """Say whether a value is one of them."""
        return any(value == allowed for allowed in self.values)

    def __str__(self) -> str:
        """Say it in words."""
        return f"one of {', '.join(map(repr, self.values))}"


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell, such as ``n_draws: int = 6  # half-samples [2..1_000 step 2]``.

    Parameters
    ----------
    notebook : str
        Name of the notebook, without the suffix.
    name : str
        Name of the parameter.
    default : Any
        The literal.
    kind : type
        The annotation where it names a built-in type, else the type of the default.
    note : str
        The comment without the brackets at its end.
    allowed : Interval, Choices or None
        What the brackets at the end of the comment say: ``[low..high]``, where either end may be left out, the same
        with ``step k``, or a list of literals, ``["mse", "bce"]``. None: anything of the type.
    """

    notebook: str
    name: str
    default: Any
    kind: type
    note: str
    allowed: Interval | Choices | None

    def checked(self, value: Any) -> Any:
        """Return a value as the notebook takes it.

        Parameters
        ----------
        value : Any
            A value, or a text that says it.

        Returns
        -------
        Any
            The value, of the parameter's type.

        Raises
        ------
        ValueError
            If the value has another type or is out of range; the message names the notebook and what is allowed.
        """
        found = literal(value) if isinstance(value, str) and self.kind is not str else value
        if self.kind is float and type(found) is int:
            with contextlib.suppress(OverflowError):  # it stays an integer, which is refused
                found = float(found)
        if self.kind is tuple and type(found) is list:  # YAML and JSON know lists only
            found = tuple(found)
        if type(found) is not self.kind:
            raise self._refusal(f"must be of type {self.kind.__name__}, as {self.default!r} is", value)
        if isinstance(found, float) and not math.isfinite(found):
            raise self._refusal("must be finite", value)
        if self.allowed is not None and found not in self.allowed:
            raise self._refusal(f"must be {self.allowed}", value)
        return found

    def _refusal(self, rule: str, value: Any) -> ValueError:
        return ValueError(
            f"{self.notebook}.ipynb: {self.name} {rule}, not {value!r}. ({self.note or self.name})"
        )


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Read a notebook, and check that it is one.

    Parameters
    ----------
    path : pathlib.Path
        An `.ipynb` file.

    Returns
    -------
    nbformat.NotebookNode
        The notebook, of format 4.

    Raises
    ------
    ValueError
        If the file is no notebook.
    FileNotFoundError
        If there is no such file.
    """
    faults: dict[str, Exception] = {}
    try:
        with warnings.catch_warnings():
            # Of cells without an id, or with one twice: nothing here needs ids.
            warnings.simplefilter("ignore")
            notebook = nbformat.read(path, as_version=4, capture_validation_error=faults)
    except (
        *(nbformat.ValidationError, ValueError, AttributeError, TypeError, KeyError, IndexError),
        *(RecursionError, AssertionError, NameError),
    ) as error:  # nbformat takes much for granted before it validates
        raise ValueError(f"{path} is not a readable notebook: restore it. ({error})") from error
    if faults:
        fault = str(next(iter(faults.values()))).partition("\n")[0]
        raise ValueError(f"{path} is not a valid notebook: restore it. ({fault})")
    if not isinstance(notebook, nbformat.NotebookNode):  # what is made of older formats may lack its code
        raise ValueError(
            f"{path} is not a notebook of format 4: open and save it in JupyterLab, or restore it."
        )
    for what, kind, known in _kinds(notebook):
        if kind not in known:  # nbformat lets pass what a later format may mean, whatever it holds
            raise ValueError(
                f"{path} has {what} of the kind {kind!r}; known are {', '.join(known)}. Restore the notebook."
            )
    return notebook


def _kinds(notebook: nbformat.NotebookNode) -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    for cell in notebook.cells:
        yield "a cell", cell.cell_type, _CELLS
        for output in cell.outputs if cell.cell_type == "code" else ():
            yield "an output", output.output_type, _OUTPUTS


def declared_parameters(notebook: Path) -> dict[str, Parameter]:
    """Read which parameters a notebook has, without running it.

    Parameters
    ----------
    notebook : pathlib.Path
        A notebook with one cell tagged `parameters`, which holds lines such as ``n: int = 3  # points [1..]`` only.

    Returns
    -------
    dict
        Name to parameter, in the order of the cell.

    Raises
    ------
    ValueError
        If the file is no notebook, has no such cell, the cell holds more than literals, or a default is not allowed.
    """
    cells = read_notebook(notebook).cells
    tagged = [cell.source for cell in cells if "parameters" in cell.metadata.get("tags", ())]
    if len(tagged) != 1:
        raise ValueError(f"{notebook} has {len(tagged)} cells tagged 'parameters'; it needs exactly one.")
    try:
        declared = {parameter.name: parameter for parameter in _declarations(tagged[0], notebook.stem)}
    except (
        *(ValueError, SyntaxError, tokenize.TokenError, TypeError, OverflowError),
        *(RecursionError, MemoryError),  # of the parser, where brackets lie too deep
    ) as error:
        raise ValueError(
            f"the parameters cell of {notebook} may only hold lines such as n: int = 3  # points [1..]. ({error})"
        ) from error
    for parameter in declared.values():
        parameter.checked(parameter.default)
    return declared


def _declarations(source: str, notebook: str) -> Iterator[Parameter]:
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    for node in ast.parse(source).body:
        target, value, annotation = _assignment(node)
        default = ast.literal_eval(value)
        note, allowed = _split_note(comments.get(node.end_lineno or 0, ""))
        kind = _TYPES.get(annotation, type(default))
        yield Parameter(notebook, target, kind(default) if kind is float else default, kind, note, allowed)


def _assignment(node: ast.stmt) -> tuple[str, ast.expr, str]:
    targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
    value = getattr(node, "value", None)
    if len(targets) != 1 or not isinstance(targets[0], ast.Name) or value is None:
        raise ValueError(f"not an assignment to one name: {ast.unparse(node)}")
    annotation = getattr(node, "annotation", None)
    return targets[0].id, value, ast.unparse(annotation) if annotation is not None else ""


def _split_note(comment: str) -> tuple[str, Interval | Choices | None]:
    """Part the words of a comment from the brackets at its end."""
    brackets = _BRACKETS.search(comment)
    if not brackets:
        return comment, None
    note, inside = comment[: brackets.start()].strip(), brackets[1]
    interval = _INTERVAL.fullmatch(inside)
    if interval is None:
        return note, Choices(tuple(ast.literal_eval(f"[{inside}]")))
    ends = zip(interval.groups(), (-math.inf, math.inf, 0), strict=True)
    return note, Interval(*(float(text) if text else missing for text, missing in ends))


def read_profile(path: Path) -> dict[str, Any]:
    """Read a file of parameters, such as notebooks/params/full.yaml.

    Parameters
    ----------
    path : pathlib.Path
        A YAML file: one `name: value` or `NN.name: value` per line.

    Returns
    -------
    dict
        Name to value.

    Raises
    ------
    ValueError
        If the file is not such a file.
    """
    content = read_yaml(path)
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise ValueError(f"{path} must hold one 'name: value' per line.")
    return content


def assign(
    given: Mapping[str, Any], notebooks: Sequence[Path], *, where: str = "the chosen notebooks"
) -> dict[str, dict[str, Any]]:
    """Give notebooks the values that are meant for them, after a look at names, types and ranges.

    Parameters
    ----------
    given : mapping
        `name`, for every notebook that has such a parameter, or `NN.name`, for those whose names begin with NN, to
        value. What names a notebook wins.
    notebooks : sequence of pathlib.Path
        The notebooks.
    where : str
        How a message calls the notebooks.

    Returns
    -------
    dict
        Name of the notebook, without the suffix, to the values given to it.

    Raises
    ------
    ValueError
        If a name means nothing to the notebooks, or a value has the wrong type or is out of range.
    """
    declared = {path.stem: declared_parameters(path) for path in notebooks}
    values: dict[str, dict[str, Any]] = {stem: {} for stem in declared}
    for key in sorted(given, key=lambda key: "." in key):
        start, _, name = key.rpartition(".")
        for stem, parameters in _addressed(start, name, declared, where).items():
            values[stem][name] = parameters[name].checked(given[key])
    return values


def _addressed(
    start: str, name: str, declared: Mapping[str, Mapping[str, Parameter]], where: str
) -> dict[str, Mapping[str, Parameter]]:
    """Return the notebooks that begin with `start` and have a parameter `name`; refuse if there is none."""
    meant = {stem: parameters for stem, parameters in declared.items() if stem.startswith(start)}
    if not meant:
        raise ValueError(
            f"{start}.{name}: {start!r} begins no name among {where}; there are {', '.join(declared)}."
        )
    if start:
        where = " and ".join(f"{stem}.ipynb" for stem in meant)
    found = {stem: parameters for stem, parameters in meant.items() if name in parameters}
    if not found:
        known = sorted({known for parameters in meant.values() for known in parameters})
        near = difflib.get_close_matches(name, known, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        have = "has" if start and len(meant) == 1 else "have"
        raise ValueError(f"{where} {have} no parameter {name!r}; there are {', '.join(known)}.{hint}")
    return found


def literal(text: str) -> Any:
    """Read a text as a Python literal where it is one.

    Parameters
    ----------
    text : str
        For instance "3", "true", "(64, 128)" or "relu".

    Returns
    -------
    Any
        The value; the text itself where it is no literal.

    Examples
    --------
    >>> literal("64, 128"), literal("TRUE"), literal("relu")
    ((64, 128), True, 'relu')
    """
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return text
