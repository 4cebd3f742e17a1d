"""Small mistakes, made one at a time: the mutants of a module.

The kinds of mistake are those of mutmut (https://mutmut.readthedocs.io): numbers, strings, operators, comparisons,
arguments left out or None, values not assigned. Two things differ. Methods with a decorator are changed too, so that
properties count, and so are bare conditions (`if x` to `if not x`). What stands in a `raise` is left alone, since the
text of an error is no mistake of this kind, and so is `strict=True`, which checks lengths like an assertion.
"""

import ast
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.MatMult: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Div,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.UAdd: ast.USub,
    ast.USub: ast.UAdd,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_LEFT_ALONE = {"len", "isinstance", "warnings.warn"}  # the first two as mutmut has it


@dataclass(frozen=True, eq=False)
class Mutant:
    """One mistake in one function.

    Parameters
    ----------
    name : str
        Module, function and what is changed: it stays the same when lines move.
    path : Path
        The module's file.
    function : str
        Qualified name of the function.
    lines : range
        The lines of the statement that is changed, up to the change; a test that runs none of them sees no difference.
    definition : ast.FunctionDef or ast.ClassDef
        The statement of the module that holds the function.
    holder : ast.AST
        The node whose `field` (at `index`, if it is a list) is replaced.
    field : str
        Which of its fields.
    index : int or None
        Which item of the field.
    replacement : ast.AST
        What comes in.
    """

    name: str
    path: Path
    function: str
    lines: range
    definition: ast.stmt
    holder: ast.AST
    field: str
    index: int | None
    replacement: ast.AST

    def mutated(self) -> ast.Module:
        """Make the mistake in the tree (which stays so) and return the statement as a module to compile."""
        if self.index is None:
            setattr(self.holder, self.field, self.replacement)
        else:
            getattr(self.holder, self.field)[self.index] = self.replacement
        return ast.fix_missing_locations(ast.Module([self.definition], type_ignores=[]))


def mutants_of(path: Path) -> list[Mutant]:
    """Return all mutants of a module, in the order of its lines."""
    found: list[Mutant] = []
    times: dict[str, int] = {}
    for definition in ast.parse(path.read_text(encoding="utf-8")).body:
        for function, node in _functions(definition):
            for site in _sites(node):
                for change, replacement in _changes(site.node).items():
                    name = f"{path.stem}.{function}: {change}"
                    times[name] = times.get(name, 0) + 1
                    if times[name] > 1:
                        name += f" [{times[name]}]"
                    ast.copy_location(replacement, site.node)
                    place = (site.holder, site.field, site.index)
                    found.append(Mutant(name, path, function, site.lines, definition, *place, replacement))
    return found


@dataclass(frozen=True)
class _Site:
    """A node that may be replaced, and where it hangs."""

    node: ast.AST
    holder: ast.AST
    field: str
    index: int | None
    lines: range


def _changes(node: ast.AST) -> dict[str, ast.AST]:
    """Return what may come in the place of a node, each once, by what is changed."""
    return {f"{_text(node)} -> {_text(other)}": other for other in _alternatives(node)}


def _text(node: ast.AST) -> str:
    text = " ".join(ast.unparse(ast.fix_missing_locations(deepcopy(node))).split())
    return text if len(text) <= 160 else f"{text[:100]} ... {text[-55:]}"


def _functions(statement: ast.stmt, prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield the functions and methods that a statement of the module defines."""
    if isinstance(statement, ast.FunctionDef):
        yield prefix + statement.name, statement
    elif isinstance(statement, ast.ClassDef):
        for inner in statement.body:
            yield from _functions(inner, f"{prefix}{statement.name}.")


def _sites(function: ast.FunctionDef) -> Iterator[_Site]:
    """Yield what can be replaced in a function: literal defaults, and all in its body."""
    whole = range(function.lineno, (function.end_lineno or function.lineno) + 1)
    for field in ("defaults", "kw_defaults"):
        for index, default in enumerate(getattr(function.args, field)):
            if isinstance(default, ast.Constant):
                yield _Site(default, function.args, field, index, whole)
    for index, statement in enumerate(function.body):
        yield from _below(statement, function, "body", index, whole)


def _below(node: ast.AST, holder: ast.AST, field: str, index: int | None, lines: range) -> Iterator[_Site]:
    """Yield a node and what hangs below it, but for what is left alone."""
    if _left_alone(node):
        return
    if isinstance(node, ast.stmt):
        lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
    if isinstance(node, ast.expr):
        lines = range(lines.start, (node.end_lineno or node.lineno) + 1)
    yield _Site(node, holder, field, index, lines)
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "ctx", "format_spec"):
            continue
        for number, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST):
                yield from _below(child, node, name, number, lines)


def _left_alone(node: ast.AST) -> bool:
    docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    called = isinstance(node, ast.Call) and ast.unparse(node.func) in _LEFT_ALONE
    return docstring or called or _is_strict(node) or isinstance(node, ast.Raise | ast.JoinedStr)


def _is_strict(node: ast.AST) -> bool:
    return isinstance(node, ast.keyword) and node.arg == "strict"


def _alternatives(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the mistakes that can be made of one node."""
    match node:
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(value=str(value)):
            yield ast.Constant(f"XX{value}XX")
        case ast.BinOp() | ast.BoolOp() | ast.UnaryOp() | ast.Compare():
            yield from _operators(node)
        case ast.Call():
            yield from _arguments(node)
        case ast.Lambda():
            yield ast.Lambda(node.args, ast.Constant(None))
        case ast.IfExp():
            yield ast.IfExp(ast.Constant(True), node.body, node.orelse)
            yield ast.IfExp(ast.Constant(False), node.body, node.orelse)
        case ast.stmt():
            yield from _statements(node)


def _operators(node: ast.BinOp | ast.BoolOp | ast.UnaryOp | ast.Compare) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            others = [*node.ops]
            others[place] = _SWAPS[type(operator)]()  # type: ignore[call-overload]
            yield ast.Compare(node.left, others, node.comparators)
    elif type(node.op) in (ast.Not, ast.Invert):
        yield node.operand
    else:
        other = deepcopy(node)
        other.op = _SWAPS[type(node.op)]()
        yield other


def _arguments(node: ast.Call) -> Iterator[ast.AST]:
    """Put None in the place of each argument, and leave each out."""
    values = [*node.args, *(keyword.value for keyword in node.keywords)]
    places = range(len(values) - any(map(_is_strict, node.keywords)))  # strict comes last
    for place, value in zip(places, values, strict=False):
        if not isinstance(value, ast.Starred) and not (
            isinstance(value, ast.Constant) and value.value is None
        ):
            yield _call(node, place, [ast.Constant(None)])
    if len(values) > 1:
        for place in places:
            yield _call(node, place, [])


def _call(node: ast.Call, place: int, instead: list[ast.expr]) -> ast.Call:
    """Return the call with another argument, or none, in one place."""
    number = len(node.args)
    if place < number:
        return ast.Call(node.func, [*node.args[:place], *instead, *node.args[place + 1 :]], node.keywords)
    keywords = [*node.keywords]
    replaced = keywords.pop(place - number)
    keywords[place - number : place - number] = [ast.keyword(replaced.arg, value) for value in instead]
    return ast.Call(node.func, node.args, keywords)


def _statements(node: ast.stmt) -> Iterator[ast.AST]:
    match node:
        case ast.Assign():
            yield ast.Assign(node.targets, _nothing(node.value))
        case ast.AnnAssign(value=ast.expr()):
            yield ast.AnnAssign(node.target, node.annotation, _nothing(node.value), node.simple)
        case ast.AugAssign():
            yield ast.AugAssign(node.target, _SWAPS[type(node.op)](), node.value)
            yield ast.Assign([node.target], node.value)
        case ast.If(test=ast.Name() | ast.Attribute() | ast.Call()):
            yield ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
        case ast.Break():
            yield ast.Return()
        case ast.Continue():
            yield ast.Break()


def _nothing(value: ast.expr) -> ast.Constant:
    """Return None, or something else if that is None already."""
    return ast.Constant("" if isinstance(value, ast.Constant) and value.value is None else None)
