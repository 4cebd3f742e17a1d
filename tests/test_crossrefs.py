"""Cross-references: what of the prose becomes a link, and what must not."""

import nbformat
import pytest

from aelib import crossrefs

PAGES = {"1": "01_a.ipynb", "2": "02_b.ipynb", "10": "10_c.ipynb", "A1": "A1_d.ipynb"}
TARGETS = crossrefs.Targets(PAGES, frozenset({"2.1", "2.10", "A1.1"}), frozenset({"1.3", "2.3"}))


@pytest.mark.parametrize(
    ("prose", "linked"),
    [
        ("Figure 2.1 shows", "[Figure 2.1](#figure-2-1) shows"),
        ("(Figure 2.10).", "([Figure 2.10](#figure-2-10))."),
        ("Figures 2.1 and A1.1", "Figures [2.1](#figure-2-1) and [A1.1](#figure-a1-1)"),
        ("*Notebook 10: ellipses*", "*[Notebook 10](10_c.ipynb): ellipses*"),
        ("notebook\n2's idea", "[notebook 2](02_b.ipynb)'s idea"),
        ("notebooks 2, 10 and A1", "notebooks [2](02_b.ipynb), [10](10_c.ipynb) and [A1](A1_d.ipynb)"),
        ("as section 3 says", "as [section 3](#section-1-3) says"),
        ("section 3 of notebook 2", "[section 3](#section-2-3) of [notebook 2](02_b.ipynb)"),
        ("`aelib.claims` and `aelib.pca.f()`", "{py:obj}`aelib.claims` and {py:obj}`aelib.pca.f`"),
    ],
)
def test_references_become_links(prose, linked):
    assert crossrefs.link(prose, TARGETS, here="1") == linked


@pytest.mark.parametrize(
    "prose",
    [
        "*Notebook 1 of 10, on post I*",  # itself
        "Figure 9.9, notebook 7 and section 8 are not there",
        "`Figure 2.1` and $Figure 2.1$ and $$\nnotebook 2\n$$",
        "```python\n# Figure 2.1, notebook 2\n```",
        "[see notebook 2](02_b.ipynb)",
        "## What notebook 2 left open",
        '<span title="notebook 2">x</span>',
        "small, $|z| < t$, and $t > 2$",
        "a notebook of 2 pages",
        "sections of 3",
    ],
)
def test_what_is_no_reference_stays(prose):
    assert crossrefs.link(prose, TARGETS, here="1") == prose


def test_captions_and_headings_become_targets():
    prose = "## 3. Why?\n\nText.\n\n**Figure 2.1.** *A claim, as in Figure 2.10.*"
    assert crossrefs.link(prose, TARGETS, here="2") == (
        "(section-2-3)=\n## 3. Why?\n\nText.\n\n"
        "{#figure-2-1 .figure-caption}\n**Figure 2.1.** *A claim, as in [Figure 2.10](#figure-2-10).*"
    )


def test_targets_are_what_the_notebooks_have():
    cell = nbformat.v4.new_markdown_cell("## 3. Why?\n\n**Figure 2.1.** *A claim.*")
    notebook = nbformat.v4.new_notebook(cells=[cell, nbformat.v4.new_code_cell("'**Figure 2.7.**'")])
    found = crossrefs.find_targets({"02_b.ipynb": notebook})
    assert found == crossrefs.Targets({"2": "02_b.ipynb"}, frozenset({"2.1"}), frozenset({"2.3"}))


def figure() -> nbformat.NotebookNode:
    output = nbformat.v4.new_output("display_data", {"image/png": ""})
    return nbformat.v4.new_code_cell(outputs=[output])


def test_captions_name_the_figures_before_them():
    text = nbformat.v4.new_markdown_cell
    cells = [
        figure(),
        figure(),
        figure(),
        text("What we see is explained before it is claimed."),
        text("**Figure 2.1.** *The law\nof $R$: thin.*\n\n**Figure 2.2.** *Ends?*"),
        figure(),
    ]
    named = crossrefs.name_figures(nbformat.v4.new_notebook(cells=cells))
    assert named == {1: "Figure 2.1. The law of R:", 2: "Figure 2.2. Ends?"}
