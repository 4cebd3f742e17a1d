"""The folder of a run, without running anything."""

import base64
import dataclasses
import io
import json

import nbformat
import PIL.Image
import pytest
from filelock import Timeout

from aelib import record
from aelib.claims import CLAIMS, MIME, check, claims_table
from aelib.record import NotebookRecord, RunRecord


def png(shade: int) -> str:
    """Return a grey pixel as a PNG in base64."""
    written = io.BytesIO()
    PIL.Image.new("L", (1, 1), shade).save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode()


def code(*outputs: dict) -> nbformat.NotebookNode:
    """Return a code cell that displayed the given data."""
    return nbformat.v4.new_code_cell(
        "x", outputs=[nbformat.v4.new_output("display_data", data=data) for data in outputs]
    )


def written(path, *cells):
    """Write a notebook of the given cells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=list(cells)), path)
    return path


RUN = RunRecord(
    "faces", "", 20_000, 7, {"01_a": NotebookRecord({"n": 3}, "done"), "02_b": NotebookRecord({})}
)


def test_what_is_written_is_read(tmp_path):
    assert record.read_run(tmp_path) is None
    record.write_run(tmp_path, RUN)
    assert record.read_run(tmp_path) == RUN
    assert RUN.unfinished == ("02_b",)


@pytest.mark.parametrize(
    "change", [{"version": 99}, {"seed": None, "more": 1}, {"notebooks": {"01_a": {"x": 1}}}]
)
def test_records_of_another_kind_are_refused(tmp_path, change):
    record.write_run(tmp_path, RUN)
    path = tmp_path / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=r"run\.json cannot be read"):
        record.read_run(tmp_path)


def test_only_code_counts_for_the_digest(tmp_path):
    path = written(tmp_path / "a.ipynb", nbformat.v4.new_markdown_cell("one"), code())
    before = record.digest(path)
    assert (
        record.digest(written(path, nbformat.v4.new_markdown_cell("two"), code({"text/plain": "3"})))
        == before
    )
    assert record.digest(written(path, nbformat.v4.new_code_cell("y"))) != before


def test_versions_are_noted_where_they_change(tmp_path, monkeypatch):
    record.note_versions(tmp_path)
    record.note_versions(tmp_path)
    (first,) = json.loads((tmp_path / "versions.json").read_text())
    assert {"python", "packages", "commit", "cores"} <= set(first)
    assert {"aelib", "numpy", "keras"} <= set(first["packages"])
    monkeypatch.setattr(record, "versions", lambda: {"python": "2.7"})
    record.note_versions(tmp_path)
    assert json.loads((tmp_path / "versions.json").read_text()) == [first, {"python": "2.7"}]


def test_versions_that_were_edited_are_not_lost(tmp_path):
    (tmp_path / "versions.json").write_text('{"python": "3.11"}')
    with pytest.raises(ValueError, match=r"versions\.json is no list of versions: restore it"):
        record.note_versions(tmp_path)
    assert (tmp_path / "versions.json").read_text() == '{"python": "3.11"}'


def test_versions_without_git(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError("git")

    monkeypatch.setattr(record.subprocess, "run", missing)
    assert record.versions()["commit"] is None


def test_figures_are_named_after_their_captions(tmp_path):
    cells = [
        code({"image/png": png(0)}),
        nbformat.v4.new_markdown_cell("no caption"),
        code({"image/png": png(1)}, {"text/plain": "x"}),
        code({"image/png": png(2)}),
        nbformat.v4.new_markdown_cell("**Figure 3.1.** *One.*\n\n**Figure 3.2.** *Two.*"),
        code({"image/png": png(3)}, {"image/png": png(4)}),
    ]
    path = written(tmp_path / "x.ipynb", *cells)
    folder = tmp_path / "figures"
    names = ["03_cell_0.png", "03_figure_3.1.png", "03_figure_3.2.png", "03_cell_5.png", "03_cell_5_1.png"]
    found = record.write_figures(path, folder, stem="03_x")
    assert [p.name for p in found] == names
    assert [PIL.Image.open(p).getpixel((0, 0)) for p in found] == [0, 1, 2, 3, 4]
    (folder / "04_cell_1.png").touch()
    record.write_figures(written(path, code({"image/png": png(0)})), folder, stem="03_x")
    assert sorted(p.name for p in folder.iterdir()) == ["03_cell_0.png", "04_cell_1.png"], "no stale figures"


def shown(*checked):
    """Return what a table of claims displays in a notebook."""
    table = claims_table(checked)
    return code({"text/plain": str(table), **table._repr_mimebundle_()})


def test_claims_are_gathered_from_the_notebooks(tmp_path):
    record.write_run(tmp_path, RUN)
    first, last = check("I-held-out", 3.0, 0.1), check("I-held-out", 0.4, 0.1)
    written(tmp_path / "notebooks" / "01_a.ipynb", shown(first), shown(last, check("I-mse", float("nan"))))
    written(
        tmp_path / "notebooks" / "02_b.failed.ipynb",
        shown(check("II-b", 1.5)),
        code({"text/plain": "x"}, {MIME: "no list"}, {MIME: ["no record"]}),
    )
    found = record.gather_claims(tmp_path)
    assert [(c.id, c.measured, c.standard_error, c.verdict, c.notebook) for c in found] == [
        ("I-held-out", 0.4, 0.1, "reproduced", "01_a"),
        ("I-mse", None, None, "not applicable", "01_a"),
        ("II-b", 1.5, 0.0, "reproduced", "02_b"),
    ]
    record.write_claims(tmp_path, found)
    assert record.read_claims(tmp_path) == found
    stored = json.loads((tmp_path / "claims.json").read_text(encoding="utf-8"))
    assert stored[0] == {
        "id": "I-held-out", "post": "I", "text": last.claim.statement, "source_figure": "shown",
        "measure": last.claim.measure, "criterion": "≤ 1", "measured": 0.4, "standard_error": 0.1,
        "verdict": "reproduced", "notebook": "01_a", "images": "faces",
    }  # fmt: skip
    frame = record.claims_frame(found)
    assert list(frame["id"]) == ["I-held-out", "I-mse", "II-b"]
    assert list(frame.columns) == [field.name for field in dataclasses.fields(record.ClaimRecord)]

    text = record.claims_text(found).splitlines()
    assert text[1].split() == ["I-held-out", "shown", "≤", "1", "0.4", "±", "0.1", "reproduced"]
    assert text[-2] == "3 claims: 2 reproduced, 0 partly reproduced, 0 not reproduced, 1 not applicable"
    assert text[-1].startswith("not checked in this run: I-ivs, I-parameters")
    assert text[-1].count(",") == len(CLAIMS) - 3 - 1


@pytest.mark.parametrize(
    ("measured", "standard_error", "figure"),
    [
        (None, None, "–"),
        (2_884_355.0, 0.0, "2 884 355"),
        (0.94531, 0.0, "0.9453"),
        (-0.9941, 9.4e-5, "−0.994 ± 9.4e−05"),
        (3.6e-13, 0.0, "3.6e−13"),
    ],
)
def test_figures_are_written_for_a_reader(measured, standard_error, figure):
    asked = ("I-mse", "I", "a claim", "shown", "a figure", "≤ 1", measured, standard_error, "reproduced")
    assert record.ClaimRecord(*asked, notebook="01_a", images="faces").figure == figure


def test_no_claims(tmp_path):
    with pytest.raises(ValueError, match="holds no run"):
        record.gather_claims(tmp_path)
    with pytest.raises(ValueError, match=r"holds no claims\.json"):
        record.read_claims(tmp_path)
    record.write_run(tmp_path, RUN)
    assert record.gather_claims(tmp_path) == ()
    assert record.claims_frame(()).empty
    (tmp_path / "claims.json").write_text('[{"x": 1}]')
    with pytest.raises(ValueError, match="damaged"):
        record.read_claims(tmp_path)


def test_a_table_of_claims_is_a_table_to_the_reader():
    table = claims_table([check("I-ivs", 27_648)])
    assert [entry["id"] for entry in table._repr_mimebundle_()[MIME]] == ["I-ivs"]
    assert not hasattr(table.loc[:, ["source"]], "_repr_mimebundle_"), "a part of it is not"


def test_the_network_of_a_run_is_the_one_that_it_used(tmp_path):
    assert record.used_checkpoint(tmp_path) is None
    for name in ("mine", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "checkpoint.json").write_text(json.dumps({"model_sha256": name}))
    reference = tmp_path / "checkpoint.json"
    reference.write_text(json.dumps({"folder": "mine", "model_sha256": "mine"}))
    assert record.used_checkpoint(tmp_path) == tmp_path / "mine"
    for edited in (
        {"folder": "other", "model_sha256": "mine"},
        {"folder": "none", "model_sha256": "mine"},
        {},
        [],
    ):
        reference.write_text(json.dumps(edited))
        with pytest.raises(ValueError, match="does not lead to the network of its run"):
            record.used_checkpoint(tmp_path)


def test_a_wait_in_vain_for_another_lock_is_not_taken_for_another_writer(tmp_path):
    with pytest.raises(Timeout), record.only_writer(tmp_path):
        raise Timeout("elsewhere.lock")
    with record.only_writer(tmp_path):  # the lock is free again
        pass
