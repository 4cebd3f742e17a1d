"""Hostile and broken input: a clear error or a reported skip, nothing run or written elsewhere, bounded memory."""

import base64
import io
import json
import os
import stat
import struct
import threading
import zipfile
import zlib

import joblib
import nbformat
import numpy as np
import pytest
from PIL import Image
from sklearn import datasets

from aelib import application, decoding, files, images, parameters, record, site, sweeps
from aelib.decoding import UnreadableImageError, decode_square, list_image_files


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def png(width=64, height=64):
    file = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(file, "PNG")
    return file.getvalue()


def packed(path, members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def reasons(opened):
    return {skipped.name: skipped.reason for skipped in opened.skipped}


# Images


def test_members_of_a_zip_are_names_not_paths(tmp_path, cache):
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    names = ["/etc/absolute.png", "../../above.png", "C:\\drive.png", "日本語.png", "a\x1b[31m\n.png"]
    path = packed(tmp_path / "x.zip", dict.fromkeys(names, png()) | {link: b"/etc/hostname"})
    before = sorted(tmp_path.iterdir())
    opened = images.open_images(f"photos:{path}", size=32, cache=cache)
    assert len(opened) == len(names)
    assert reasons(opened) == {"link.png": "not a JPEG, PNG or WebP image"}
    assert sorted(tmp_path.iterdir()) == sorted([*before, cache])


def test_names_that_are_no_text_are_reported_as_text(tmp_path, cache, caplog):
    for name in (b"\xff.png", b"\x1b[2J.png"):
        (tmp_path / os.fsdecode(name)).write_bytes(b"")
    (tmp_path / "good.png").write_bytes(png())
    opened = images.open_images(f"photos:{tmp_path}", size=32, cache=cache)
    assert len(opened.skipped) == 2
    assert r"\x1b[2J.png" in caplog.text
    assert caplog.text.isascii()


def test_pipes_and_closed_folders_are_skipped(tmp_path, cache, monkeypatch):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "good.png").write_bytes(png())
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    opened = images.open_images(f"photos:{tmp_path}", size=32, cache=cache)
    assert reasons(opened) == {"closed/": "Is a directory", "pipe.png": "it is no regular file"}
    with pytest.raises(ValueError, match="neither a folder nor a zip"):
        list_image_files(tmp_path / "pipe.png")


def test_bombs_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    path = packed(tmp_path / "x.zip", {"a.png": b"\0" * 10_000}, zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(decoding, "_LARGEST_FILE", 9_999)
    monkeypatch.setattr(zipfile.ZipFile, "open", None)  # to unpack would be a TypeError
    with list_image_files(path).opened() as read, pytest.raises(UnreadableImageError, match="more than"):
        read(0)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"\x00\x00\x00\x00", b"\x01\x00\x00\x00", "encrypted"),  # flags and method, after the version
        (b"\x00\x00\x00\x00", b"\x00\x00\x0e\x00", "LZMA"),
        (b"\x00\x00\x00\x00", b"\x00\x00\x63\x00", "compression"),
    ],
)
def test_encrypted_and_oddly_packed_members(tmp_path, old, new, reason):
    path = packed(tmp_path / "x.zip", {"a.png": png()})
    data = path.read_bytes()
    for mark, distance in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        start = data.index(mark) + distance
        data = data[:start] + data[start:].replace(old, new, 1)
    path.write_bytes(data)
    with list_image_files(path).opened() as read, pytest.raises(UnreadableImageError, match=reason):
        read(0)


def test_a_damaged_list_of_members(tmp_path):
    path = packed(tmp_path / "x.zip", {"a.png": png()})
    data = bytearray(path.read_bytes())
    start = data.rindex(b"PK\x01\x02")
    data[start + 9] |= 0x08  # the name is UTF-8
    data[start + 46] = 0xFF
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"x\.zip is a damaged zip file"):
        list_image_files(path)


def test_a_zip_that_says_it_lies_on_several_disks(tmp_path):
    path = packed(tmp_path / "x.zip", {"a.png": png()})
    data = path.read_bytes()
    # Of ZIP64's end: its disk, its place, how many disks there are.
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 2)
    path.write_bytes(data[:-22] + locator + data[-22:])
    with pytest.raises(ValueError, match=r"x\.zip is .*zip file"):
        list_image_files(path)


def test_scans_without_number(monkeypatch):
    file = io.BytesIO()
    Image.fromarray(np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)).save(
        file, "JPEG", progressive=True
    )
    whole = file.getvalue()
    last, end = whole.rindex(b"\xff\xda"), whole.rindex(b"\xff\xd9")
    bomb = whole[:end] + whole[last:end] * 500 + whole[end:]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 64)
    assert decode_square(whole, size=32).shape == (32, 32, 3)
    with pytest.raises(UnreadableImageError, match=r"64 x 64 pixels in 5\d\d scans"):
        decode_square(bomb, size=32)


def test_scans_of_several_pictures_in_one_file_count(monkeypatch):
    picture = Image.fromarray(np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3))
    several, progressive = io.BytesIO(), io.BytesIO()
    picture.save(several, "MPO", save_all=True, append_images=[picture])
    picture.save(progressive, "JPEG", progressive=True)
    index = several.getvalue().index(b"\xff\xe2")  # the segment that names the pictures
    index = several.getvalue()[index : index + 2 + int.from_bytes(several.getvalue()[index + 2 : index + 4])]
    whole = progressive.getvalue()
    last, end = whole.rindex(b"\xff\xda"), whole.rindex(b"\xff\xd9")
    bomb = whole[:2] + index + whole[2:end] + whole[last:end] * 500 + whole[end:]
    assert Image.open(io.BytesIO(bomb)).format == "MPO"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 64)
    with pytest.raises(UnreadableImageError, match=r"in 5\d\d scans"):
        decode_square(bomb, size=32)


def test_a_hundred_thousand_members(tmp_path, cache):
    path = packed(tmp_path / "x.zip", dict.fromkeys((f"{k}.png" for k in range(100_000)), b""))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a.png", png())
    found = list_image_files(path)
    assert len(found.names) == 100_001
    with found.opened() as read:
        assert decode_square(read(found.names.index("a.png")), size=32).shape == (32, 32, 3)


def test_large_images_are_decoded_one_at_a_time(monkeypatch):
    budget = decoding._Budget()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    inside, order = threading.Event(), []

    def second():
        with budget.taken(50):
            inside.set()
            order.append("second")

    with budget.taken(60):
        thread = threading.Thread(target=second)
        thread.start()
        assert not inside.wait(0.2)
        with budget.taken(40):
            order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_an_apng_counts_by_its_first_frame(tmp_path):
    file = io.BytesIO()
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:])
    assert decode_square(file.getvalue(), size=32)[0, 0].tolist() == [255, 0, 0]


def test_a_text_chunk_that_unpacks_to_megabytes():
    text = zlib.compress(b"x" * (64 << 20))
    chunk = b"zTXt" + b"a\0\0" + text
    whole = png()
    bomb = whole[:33] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    with pytest.raises(UnreadableImageError):
        decode_square(bomb + whole[33:], size=32)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\xff", "cannot be read"),
        (b"1\nM M\n000001.jpg 1 1\n", "is damaged"),
        (b"1\nM\n000001.jpg 1 1\n", "is damaged"),
        (b"1\nM\n000001.jpg 1 1 1\n000002.jpg 1\n", "is damaged"),
        (b'1\nM\n"000001.jpg 1\n', "has no line for"),
    ],
)
def test_damaged_lists_of_celeba(tmp_path, cache, text, message):
    path = packed(tmp_path / "c.zip", {"000001.jpg": png(178, 218), "list_attr_celeba.txt": text})
    with pytest.raises(ValueError, match=f"list_attr_celeba {message}"):
        images.open_images(f"celeba:{path}", size=32, cache=cache)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_olivettis_file_is_read_as_its_fetcher_reads_it(tmp_path, cache, dtype):
    values = np.random.default_rng(0).integers(3, 250, (400, 4096)).astype(dtype)
    joblib.dump(values if dtype == np.uint8 else values / 256, tmp_path / "olivetti_py3.pkz", compress=6)
    expected = datasets.fetch_olivetti_faces(data_home=str(tmp_path))
    opened = images.open_images(f"olivetti:{tmp_path}", size=64, cache=cache)
    assert np.abs(opened[:][..., 0] - expected.images).max() <= 0.5 / 255 + 1e-6
    assert opened.table["person"].tolist() == expected.target.tolist()


def test_olivettis_file_is_not_unpickled(tmp_path, cache):
    path = tmp_path / "olivetti_py3.pkz"
    joblib.dump({"a": print}, path, compress=6)
    whole = zlib.compress(bytes(400 * 4096) + b".")
    for content in (path.read_bytes(), b"", b"x" * 10_000, whole, whole[:-9], zlib.compress(bytes(2**25))):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"olivetti_py3\.pkz is damaged"):
            images.open_images(f"olivetti:{tmp_path}", size=32, cache=cache)


def test_results_of_an_lfw_that_has_no_images_are_not_loaded(tmp_path, cache):
    (tmp_path / "lfw_home" / "joblib").mkdir(parents=True)
    with pytest.raises(ValueError, match="lfw_home has results but no images; delete it"):
        images.open_images(f"lfw:{tmp_path}", size=32, cache=cache)


# Arrays


def test_arrays_are_read_as_numpy_does(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"a": rng.normal(size=(3, 4)), "b": np.array("text"), "c": np.asfortranarray(rng.random((2, 3)))}
    np.savez(tmp_path / "x.npz", **arrays)
    found = files.read_arrays(tmp_path / "x.npz")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def header(shape, descr="<f8"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def test_arrays_that_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, a=np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        files.read_arrays(path)
    np.savez_compressed(path, a=np.zeros(10_000))
    with pytest.raises(ValueError, match=r"a\.npy is packed"):
        files.read_arrays(path)
    for content in (header((2**40,)), header((2**62, 4)), header((-1,)), header((2,)) + bytes(17), b"text"):
        packed(path, {"a.npy": content})
        with pytest.raises(ValueError, match=r"x\.npz is damaged or was not written"):
            files.read_arrays(path)
    with pytest.raises(FileNotFoundError):
        files.read_arrays(tmp_path / "none.npz")


def test_members_that_lie_in_each_other(tmp_path):
    inner, path = packed(tmp_path / "y.npz", {"b.npy": header((100,)) + bytes(800)}), tmp_path / "x.npz"
    with zipfile.ZipFile(inner) as archive:
        (member,), local = archive.infolist(), inner.read_bytes()[: archive.start_dir]
    values = local + bytes(-len(local) % 8)
    start = header((len(values) // 8,))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", start + values)
        member.header_offset = archive.start_dir - len(values)
        archive.filelist.append(member)
    with zipfile.ZipFile(path) as archive:
        assert len(archive.read("b.npy")) == len(header((100,))) + 800
    with pytest.raises(ValueError, match="its members say that they are larger"):
        files.read_arrays(path)


# Records


@pytest.mark.parametrize("text", ['{"a": 1, "a": 1}', '[{"b": {"c": 1, "d": 2, "c": 3}}]'])
def test_entries_that_are_there_twice(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match="'(a|c)' is there twice"):
        files.read_json(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("name", "value"),
    [("images", 5), ("n_images", "x"), ("n_images", True), ("seed", None), ("notebooks", {"01_a": {"given": 3}}),
     ("notebooks", {"01_a": {"given": {}, "state": "asleep"}}), ("notebooks", []), ("more", 1)],
)  # fmt: skip
def test_edited_runs(tmp_path, name, value):
    asked = record.RunRecord("faces", "", 5, 7, {"01_a": record.NotebookRecord({})})
    record.write_run(tmp_path, asked)
    assert record.read_run(tmp_path) == asked
    content = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**content, name: value}))
    with pytest.raises(ValueError, match=r"run\.json cannot be read"):
        record.read_run(tmp_path)


CLAIM = record.ClaimRecord("X-mean", "X", "t", "s", "m", "c", 1.0, None, "reproduced", "01_a", "faces")


@pytest.mark.parametrize("change", [{"measured": "a"}, {"id": [1]}, {"verdict": "true"}, {"post": None}])
def test_edited_claims(tmp_path, change):
    record.write_claims(tmp_path, [CLAIM])
    assert record.read_claims(tmp_path) == (CLAIM,)
    (tmp_path / "claims.json").write_text(json.dumps([{**record.asdict(CLAIM), **change}]))
    with pytest.raises(ValueError, match=r"claims\.json is damaged"):
        record.read_claims(tmp_path)
    (tmp_path / "claims.json").write_text("{}")
    with pytest.raises(ValueError, match=r"claims\.json is damaged"):
        record.read_claims(tmp_path)


def test_links_do_not_lead_out_of_a_run(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "figures").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="figures is a link"), record.only_writer(tmp_path / "run"):
        pass


@pytest.mark.parametrize("place", ["run.json", "points/a", "points/a.log.txt", "figures/x.png", ".lock"])
def test_no_link_in_a_run_is_written_through(tmp_path, place):
    (tmp_path / "elsewhere").write_text("kept")
    link = tmp_path / "run" / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="is a link"), record.only_writer(tmp_path / "run"):
        pass
    assert (tmp_path / "elsewhere").read_text() == "kept"


@pytest.mark.parametrize(
    ("name", "content"),
    [("parameters.yaml", "5"), ("parameters.yaml", "[images]"), ("parameters.yaml", "images: 5"),
     ("data.json", "5"), ("data.json", "{}"), ("data.json", '{"source": 5}'), ("checkpoint.json", "[]"),
     ("checkpoint.json", '{"folder": null}'), ("checkpoint.json", '{"folder": "\\u0000"}')],
)  # fmt: skip
def test_an_edited_run_in_the_explorer(tmp_path, name, content):
    (tmp_path / "parameters.yaml").write_text("")
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError):
        application.chosen_parameters(tmp_path)


def edited_notebook(folder, *cells):
    (folder / "notebooks").mkdir(parents=True)
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbformat.write(notebook, folder / "notebooks" / "01_a.ipynb")
    return folder


def with_output(kind, content):
    return nbformat.v4.new_code_cell("", outputs=[nbformat.v4.new_output("display_data", {kind: content})])


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (with_output(record.MIME, [{"id": "X-mean"}]), r"01_a\.ipynb is damaged"),
        (with_output("image/png", "aaaaa"), r"01_a\.ipynb is no PNG in base64"),
        (with_output("image/png", "aaaa"), "not a JPEG, PNG or WebP image"),
        (with_output("image/png", base64.b64encode(png()).decode()), "Pillow's limit of 100"),
    ],
)
def test_an_edited_run_as_a_site(tmp_path, monkeypatch, cell, message):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    run = edited_notebook(tmp_path / "run", cell)
    with pytest.raises(ValueError, match=message):
        site.write_sources(site.read_material(run), tmp_path / "site")


def test_an_edited_description_of_images_as_a_site(tmp_path):
    run = edited_notebook(tmp_path / "run")
    (run / "data.json").write_text('{"source": "photos:x"}')
    with pytest.raises(ValueError, match=r"images\.md cannot be filled in .*such as data\.json"):
        site.write_sources(site.read_material(run), tmp_path / "site")


def test_a_notebook_without_cells_has_its_name_for_a_question(tmp_path):
    (lesson,) = site.read_material(edited_notebook(tmp_path)).lessons
    assert (lesson.question, lesson.picture) == (lesson.name, None)


def test_an_edited_sweep_leads_nowhere_else(tmp_path):
    record.write_claims(tmp_path / "outside", [CLAIM])
    place = tmp_path / "sweep"
    files.write_json(place / "sweep.json", {"axes": ["seed"], "points": [["../../outside", [1]]]})
    assert sweeps.sweep_table(place).empty
    for damaged in (5, {"axes": []}, {"axes": ["a"], "points": [["b", [1, 2]]]}, {"axes": [], "points": [5]}):
        files.write_json(place / "sweep.json", damaged)
        with pytest.raises(ValueError, match=r"sweep\.json is damaged or was edited"):
            sweeps.sweep_table(place)


SWEEP = "point,seed,claim,measured,standard error,verdict,notebook\na,1,X-mean,1.5,,reproduced,01_a\n"


@pytest.mark.parametrize(
    ("old", "new"), [("a,1,", "1,"), ("reproduced", "true"), ("1.5", "x"), ("X-mean", ""), (",01_a", "")]
)
def test_an_edited_table_of_a_sweep(tmp_path, old, new):
    (tmp_path / "claims.csv").write_text(SWEEP)
    assert len(sweeps.read_table(tmp_path / "claims.csv")) == 1
    (tmp_path / "claims.csv").write_text(SWEEP.replace(old, new))
    with pytest.raises(ValueError, match=r"claims\.csv is damaged"):
        sweeps.read_table(tmp_path / "claims.csv")


# Parameters


@pytest.mark.parametrize(
    "text",
    ["n: " + "[" * 50_000, "a: &a [x, x]\nb: [*a, *a]", "n: !!int ''", "n: !!bool x", "n: !!timestamp x",
     "n: 2001-99-99", "n: 1\nm: 2\nn: 3", "n: {a: 1, 'a': 1}",
     "n: 0x_", "n: " + "9" * 5_000, "n: !!python/object/apply:os.getcwd []", "n: " + "x" * 2**20, "\0"],
)  # fmt: skip
def test_yaml_that_is_refused(tmp_path, text):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"p\.yaml"):
        parameters.read_profile(path)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "5", "{}", "[" * 20_000, '{"nbformat": 99}', '{"nbformat": 4, "nbformat_minor": 5, "cells": 5}',
     '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code", "source": 5}]}',
     '{"nbformat": 4, "nbformat_minor": [], "metadata": {}, "cells": []}', "\ud800",
     '{"cells": [{"cell_type": "markdown", "source": ""}]}',
     '{"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": {}}, "cells": []}',
     '{"obformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}'],
)  # fmt: skip
def test_notebooks_that_are_none(tmp_path, text):
    path = tmp_path / "01_a.ipynb"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    for read in (parameters.declared_parameters, record.digest):
        with pytest.raises(ValueError, match=r"01_a\.ipynb is not a"):
            read(path)


@pytest.mark.parametrize(
    ("cell", "what"),
    [({"cell_type": "coje", "metadata": {}, "outputs": 5}, "cell of the kind 'coje'"),
     ({"cell_type": ["code"], "metadata": {}}, r"cell of the kind \['code'\]"),
     ({"cell_type": "code", "metadata": {}, "source": "", "id": "a", "execution_count": None,
       "outputs": [{"output_type": "film", "data": 5}]}, "output of the kind 'film'")],
)  # fmt: skip
def test_kinds_of_cells_and_outputs_that_only_a_later_format_may_know(tmp_path, cell, what):
    path = tmp_path / "01_a.ipynb"
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 6, "metadata": {}, "cells": [cell]}))
    for read in (parameters.declared_parameters, record.digest):
        with pytest.raises(ValueError, match=rf"01_a\.ipynb has a.? {what}; known are"):
            read(path)


def test_cells_with_one_id_twice_are_no_matter(write_notebook):
    path = write_notebook("01_a.ipynb", "n: int = 1  # x", "print(n)")
    content = json.loads(path.read_text())
    content["cells"][1]["id"] = content["cells"][0]["id"]
    path.write_text(json.dumps(content))
    assert list(parameters.declared_parameters(path)) == ["n"]


@pytest.mark.parametrize(
    "source", ["n = " + "-" * 5_000 + "1", "n: float = [1]", "n: float = " + "9" * 400, "n: dict = {[1]: 2}"]
)
def test_cells_that_are_refused(write_notebook, source):
    with pytest.raises(ValueError, match="may only hold lines such as"):
        parameters.declared_parameters(write_notebook("01_a.ipynb", source))


@pytest.mark.parametrize("value", [10**400, "9" * 400, "-" * 9_999 + "1", "[" * 300])
def test_values_beyond_floats_and_parsers(write_notebook, value):
    path = write_notebook(
        "01_a.ipynb",
        "x: float = 1.0  # x [0.. step 0.5]\nn: int = 3  # n [0..9 step 3]\nm: int = 4  # m [2.. step 2]",
    )
    for name in "xnm":
        with pytest.raises(ValueError, match=f"{name} must be"):
            parameters.assign({name: value}, [path])


def test_a_notebook_with_claims_that_are_none(tmp_path):
    record.write_run(tmp_path, record.RunRecord("faces", "", 5, 7))
    output = nbformat.v4.new_output("display_data", {record.MIME: [{"id": "X-mean"}]})
    cell = nbformat.v4.new_code_cell("", outputs=[output])
    (tmp_path / "notebooks").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "notebooks" / "01_a.ipynb")
    with pytest.raises(ValueError, match=r"01_a\.ipynb is damaged"):
        record.gather_claims(tmp_path)
