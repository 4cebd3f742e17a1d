"""What goes with the notebooks: glossary, notation, the page on teaching. They must agree with what they are about."""

import re
from pathlib import Path

import nbformat
import pytest

from aelib import editions, series

README, GLOSSARY, NOTATION = (series.NOTEBOOKS / name for name in ("README.md", "GLOSSARY.md", "NOTATION.md"))
TEACHING = series.ROOT / "docs" / "teaching.md"
PAGES = (README, GLOSSARY, NOTATION, TEACHING, series.ROOT / "README.md", series.ROOT / "CONTRIBUTING.md")
NOTEBOOKS = {path.name: nbformat.read(path, as_version=4) for path in series.find_notebooks()}
_TERM = re.compile(r"^- \*\*(.+?)\*\*(?: \((.+?)\))?: (.+) \[(\w\d)\]\((\w+\.ipynb)\)$")
_SYMBOL = re.compile(r"^\| (.+?) \| (.+) \| \[(\w\d)\]\((\w+\.ipynb)\) \|$")


def lines(path: Path, start: str) -> list[str]:
    """Return the lines of a page that begin in one way."""
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith(start)]


def told_in(name: str) -> str:
    """Return what a notebook says and shows, in small letters."""
    outputs = [
        output.get("data", {}).get("text/html", "")
        for cell in NOTEBOOKS[name].cells
        for output in cell.get("outputs", ())
    ]
    prose = [cell.source for cell in NOTEBOOKS[name].cells]
    return re.sub(r"[\s*]+", " ", " ".join([*prose, *outputs])).lower()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_link_is_dead(path):
    links = re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (path.parent / link).exists()] == []
    assert links or path.name == "CONTRIBUTING.md"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_notebook_links_to_glossary_and_notation(name):
    prose = "\n".join(cell.source for cell in NOTEBOOKS[name].cells[:3] if cell.cell_type == "markdown")
    assert "(GLOSSARY.md)" in prose
    assert "(NOTATION.md)" in prose
    linked = re.findall(
        r"\]\((\w+\.(?:md|ipynb))\)", "\n".join(cell.source for cell in NOTEBOOKS[name].cells)
    )
    assert [link for link in linked if not (series.NOTEBOOKS / link).exists()] == []


def test_terms_are_alphabetical_and_name_their_notebook():
    entries = lines(GLOSSARY, "- ")
    terms = [found for line in entries if (found := _TERM.match(line))]
    assert [line for line in entries if not _TERM.match(line)] == []
    assert len(terms) >= 80
    names = [re.sub(r"\$.*?\$", "", term[1]).casefold() for term in terms]
    assert names == sorted(names)
    assert len(set(names)) == len(names)
    assert [term[5] for term in terms if not term[5].startswith(f"{term[4]}_")] == []


def test_terms_occur_where_they_are_said_to_be_introduced():
    terms = [found for line in lines(GLOSSARY, "- ") if (found := _TERM.match(line))]
    lost = []
    for term in terms:
        words = re.findall(r"[\w']{3,}", re.sub(r"\(.*?\)|\$.*?\$|'s\b", " ", term[1]).lower())
        if not all(word.rstrip("s")[:9] in told_in(term[5]) for word in words):
            lost.append(term[0])
    assert lost == []


def test_symbols_name_their_notebook_and_occur_in_it():
    rows = [line for line in lines(NOTATION, "| ") if not line.startswith("| symbol")]
    symbols = [found for line in rows if (found := _SYMBOL.match(line))]
    assert [line for line in rows if not _SYMBOL.match(line)] == []
    assert len(symbols) >= 40
    lost = []
    for symbol in symbols:
        assert symbol[4].startswith(f"{symbol[3]}_")
        told = told_in(symbol[4])
        signs = re.findall(r"\\[a-z]+|[a-z]", re.sub(r"\\(?:mathrm|hat|bar)\b", "", symbol[1].lower()))
        lost += [symbol[0] for sign in signs if sign not in told]
    assert lost == []


def test_symbols_of_the_glossary_are_on_the_page_of_notation():
    notation = NOTATION.read_text(encoding="utf-8")
    terms = [found for line in lines(GLOSSARY, "- ") if (found := _TERM.match(line))]
    signs = {
        sign for term in terms for sign in re.findall(r"\$([^$]+)\$", term[2] or "") if "mathbb" not in sign
    }
    assert len(signs) >= 20
    assert sorted(sign for sign in signs if sign.split("_")[0].strip("()") not in notation) == []


def test_teaching_page_has_the_times_of_the_list_of_notebooks():
    times = {row[0]: row[-1] for row in (line.strip("| ").split(" | ") for line in lines(README, "| ["))}
    rows = [line.strip("| ").split(" | ") for line in lines(TEACHING, "| [")]
    told = {re.sub(r"\(\.\./notebooks/", "(", row[0]): row[1] for row in rows}
    assert told == times
    assert len(told) == len(NOTEBOOKS)


def test_course_plans_have_as_many_sessions_as_they_say_and_every_notebook():
    plans = re.split(
        r"^### (Five|Eight|Eleven) sessions", TEACHING.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    for word, plan in zip(plans[1::2], plans[2::2], strict=True):
        table = plan.partition("\n## ")[0]
        sessions = re.findall(r"^\| (\d+) \|", table, re.MULTILINE)
        assert sessions == [str(k + 1) for k in range({"Five": 5, "Eight": 8, "Eleven": 11}[word])]
        assert set(re.findall(r"\((?:\.\./notebooks/)(\w+\.ipynb)\)", table)) == set(NOTEBOOKS)
    assert len(plans) == 7


def test_exercises_sections_and_figures_that_the_teaching_page_names_exist():
    for line in lines(TEACHING, "| "):
        for name, told in re.findall(r"\(\.\./notebooks/(\w+\.ipynb)\)([^\[|]*)", line):
            known = len(editions.read_exercises(NOTEBOOKS[name]))
            for number in re.findall(r"exercises? (\d+)", told):
                assert int(number) <= known, line
            prose = "\n".join(cell.source for cell in NOTEBOOKS[name].cells if cell.cell_type == "markdown")
            for number in re.findall(r"sections? (\d+)", told):
                assert re.search(rf"^## {number}\. ", prose, re.MULTILINE), line
            for number in re.findall(r"Figure (\w+\.\d+)", told):
                assert f"**Figure {number}.**" in prose, line
