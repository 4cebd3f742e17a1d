"""Cross-references of the series: "Figure 3.2", "section 4" and "notebook 9" in its prose become links.

In Jupyter the notebooks say where to look, in words. On the site the same words lead there. What is said of a notebook
that the site does not have stays as it is.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import nbformat

_CAPTION = re.compile(r"^\*\*Figure (\w+\.\d+)\.", re.MULTILINE)
_FIRST_SENTENCE = re.compile(
    r"^\*\*(Figure \w+\.\d+\.)\*\*\s+\*?(.+?[.:?])(?=[\s*]|\Z)", re.MULTILINE | re.DOTALL
)
_MARKUP = re.compile(r"[*`$\\{}]")
_HEADING = re.compile(r"^## (\d+)\. ", re.MULTILINE)
# Code, formulas, links, tags, headings and captions' numbers are no prose.
_NOT_PROSE = re.compile(
    r"""(^```.*?^```|`[^`\n]+`|\$\$.*?\$\$|\$[^$]+\$|!?\[[^\]]*\]\([^)]*\)"""
    r"""|</?[a-z][^>]*>|^\#.*?$|^\*\*Figure\ \w+\.\d+\.)""",
    re.MULTILINE | re.DOTALL,
)


def _several(word: str, number: str) -> str:
    return rf"\b({word})\s({number}(?:(?:,\s|,?\sand\s|\sto\s|\sor\s|–){number})*)\b"


_FIGURES = re.compile(_several("[Ff]igures?", r"(?:A\d|\d+)\.\d+"))
_NOTEBOOKS = re.compile(_several("[Nn]otebooks?", r"(?:A\d|\d+)") + r"(?!\sof\s\d)")
_SECTIONS = re.compile(_several("[Ss]ections?", r"\d+") + r"(?:(\sof\snotebook\s)(A\d|\d+)\b)?")
_ONE = re.compile(r"A?\d+(?:\.\d+)?")
_API = re.compile(r"`(aelib(?:\.\w+)+)(\(\))?`")


@dataclass(frozen=True)
class Targets:
    """What a reference can lead to.

    Parameters
    ----------
    pages : mapping of str to str
        Number of a notebook, as prose says it ("3", "A1"), to its file name.
    figures : frozenset of str
        Numbers of the captioned figures, such as "3.2".
    sections : frozenset of str
        Numbers of the sections with that of their notebook in front, such as "3.2".
    """

    pages: Mapping[str, str]
    figures: frozenset[str]
    sections: frozenset[str]


def notebook_number(name: str) -> str:
    """Return the number of a notebook as prose says it.

    Parameters
    ----------
    name : str
        Its file name.

    Returns
    -------
    str
        Without a leading zero.

    Examples
    --------
    >>> notebook_number("03_correlations.ipynb"), notebook_number("A1_filaments_and_voids.ipynb")
    ('3', 'A1')
    """
    return name.partition("_")[0].lstrip("0")


def find_targets(notebooks: Mapping[str, nbformat.NotebookNode]) -> Targets:
    """List what the references of some notebooks can lead to.

    Parameters
    ----------
    notebooks : mapping of str to nbformat.NotebookNode
        File name to notebook.

    Returns
    -------
    Targets
        Their pages, figures and sections.
    """
    pages = {notebook_number(name): name for name in notebooks}
    prose = {notebook_number(name): "\n\n".join(_prose(notebook)) for name, notebook in notebooks.items()}
    return Targets(
        pages,
        frozenset(number for text in prose.values() for number in _CAPTION.findall(text)),
        frozenset(f"{here}.{number}" for here, text in prose.items() for number in _HEADING.findall(text)),
    )


def name_figures(notebook: nbformat.NotebookNode) -> dict[int, str]:
    """Say in a few words what the figures of a notebook show: captions follow figures in the same order.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        An executed notebook.

    Returns
    -------
    dict of int to str
        Index of a code cell with a figure to its number and the first sentence of its caption. Figures without a
        caption are left out.
    """
    named: dict[int, str] = {}
    waiting: list[int] = []
    for k, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            waiting += [k for output in cell.outputs if "image/png" in output.get("data", {})]
        elif found := _FIRST_SENTENCE.findall(cell.source):
            captions = [f"{number} {' '.join(_MARKUP.sub('', claim).split())}" for number, claim in found]
            named |= dict(zip(reversed(waiting), reversed(captions), strict=False))
            waiting = []
    return named


def _prose(notebook: nbformat.NotebookNode) -> Iterable[str]:
    return (cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def link(prose: str, targets: Targets, *, here: str) -> str:
    """Turn the references in a markdown cell into links, and make its captions and headings targets.

    Parameters
    ----------
    prose : str
        MyST markdown.
    targets : Targets
        What there is to lead to.
    here : str
        Number of the cell's notebook, as prose says it; it is not linked to itself.

    Returns
    -------
    str
        MyST markdown.

    Examples
    --------
    >>> targets = Targets({"2": "02_x.ipynb", "3": "03_y.ipynb"}, frozenset({"3.1"}), frozenset())
    >>> link("See Figure 3.1 and notebooks 2 and 4.", targets, here="3")
    'See [Figure 3.1](#figure-3-1) and notebooks [2](02_x.ipynb) and 4.'
    """
    pieces = _NOT_PROSE.split(prose)
    pieces[::2] = [_link_piece(piece, targets, here) for piece in pieces[::2]]
    pieces[1::2] = [_API.sub(r"{py:obj}`\1`", piece) for piece in pieces[1::2]]
    linked = _CAPTION.sub(
        lambda m: f"{{#{_anchor('figure', m[1])} .figure-caption}}\n{m[0]}", "".join(pieces)
    )
    return _HEADING.sub(lambda m: f"({_anchor('section', f'{here}.{m[1]}')})=\n{m[0]}", linked)


def _anchor(kind: str, number: str) -> str:
    return f"{kind}-{number.lower().replace('.', '-')}"


def _link_piece(piece: str, targets: Targets, here: str) -> str:
    def figure(number: str) -> str | None:
        return f"#{_anchor('figure', number)}" if number in targets.figures else None

    def page(number: str) -> str | None:
        return targets.pages.get(number) if number != here else None

    def sections(found: re.Match[str]) -> str:
        where = found[4] or here

        def section(number: str) -> str | None:
            known = f"{where}.{number}" in targets.sections
            return f"#{_anchor('section', f'{where}.{number}')}" if known else None

        return _link_list(found[1], found[2], section) + (f"{found[3]}{found[4]}" if found[3] else "")

    piece = _SECTIONS.sub(sections, piece)
    piece = _NOTEBOOKS.sub(lambda m: _link_list(m[1], m[2], page), piece)
    return _FIGURES.sub(lambda m: _link_list(m[1], m[2], figure), piece)


def _link_list(word: str, numbers: str, address: Callable[[str], str | None]) -> str:
    """Link one number together with the word before it, several each on its own."""
    every = _ONE.findall(numbers)
    if len(every) == 1:
        target = address(every[0])
        return f"[{word} {numbers}]({target})" if target else f"{word} {numbers}"
    linked = _ONE.sub(lambda m: f"[{m[0]}]({target})" if (target := address(m[0])) else m[0], numbers)
    return f"{word} {linked}"
