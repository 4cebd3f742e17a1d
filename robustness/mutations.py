"""Ways to spoil a file: bytes of any file, entries of a JSON or YAML text, members of a zip archive."""

import copy
import io
import json
import re
import warnings
import zipfile
from typing import Any

import h5py
import numpy as np
from hypothesis import strategies as st

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**31, 2**63, 10**400, 0.5, 1e308, float("nan"), float("inf")),
    *("", "x", "../../x", "\0", "\ud800"),
    *([], {}, [[]], [None], {"": 0}, "*a", "9" * 5000, "日本語", "\x1b[2J"),
)  # fmt: skip
"""What nobody expects in an entry."""
ODD_BYTES = (
    b"",
    b"\0" * 16,
    b"\xff" * 16,
    b"[" * 5000,
    b"%s%n",
    b"\x80",
    b"NaN",
    b"1e999",
    b"*a",
    b"&a ",
    b"!!int ''",
)
"""What nobody expects in a file."""

_ODD_FIELDS = (
    b"",
    b"nan",
    b"2",
    b"1e999",
    b"-1",
    b"x",
    b'"',
    b"\xff",
    b"\0",
    b"9" * 400,
    "日本.jpg".encode(),
    b"image",
    b"..",
)
"""What nobody expects in a field of a table."""

_DEEP = "nested:"  # stands for so many lists in each other
_ODD_NAMES = (
    "/etc/x.png",
    "../../x.png",
    "a/" * 200 + "x.png",
    "日本.png",
    "\x1b[2J.png",
    "x.png",
    "\\\\h\\x.png",
)


@st.composite
def spoiled_bytes(draw: st.DrawFn, whole: bytes) -> bytes:
    """Flip, cut, insert, repeat or overwrite bytes of a file, up to four times."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at, length = draw(st.integers(0, len(data))), draw(st.integers(1, 64))
        change = draw(st.sampled_from(("flip", "cut", "end", "insert", "repeat", "overwrite")))
        if change == "flip" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif change == "cut":
            del data[at : at + length]
        elif change == "end":
            del data[at:]
        elif change == "insert":
            data[at:at] = draw(st.sampled_from(ODD_BYTES))
        elif change == "repeat":
            data[at:at] = data[at : at + length] * draw(st.sampled_from((1, 2, 500)))
        elif change == "overwrite":
            data[at : at + length] = draw(st.binary(min_size=length, max_size=length))
    return bytes(data)


@st.composite
def spoiled_table(draw: st.DrawFn, whole: bytes) -> bytes:
    """Replace, remove, double or exchange fields or lines of a table, up to three times."""
    separator = b"," if b"," in whole else b" "
    table = [line.split(separator) for line in whole.splitlines()]
    for _ in range(draw(st.integers(1, 3))):
        rows: list = draw(st.sampled_from((table, *table))) if table else table
        at = draw(st.integers(0, max(0, len(rows) - 1)))
        change = draw(st.sampled_from(("replace", "remove", "double", "exchange")))
        if change == "remove":
            del rows[at : at + 1]
        elif change == "double":
            rows[at:at] = rows[at : at + 1] * draw(st.sampled_from((1, 500)))
        elif change == "exchange":
            rows.reverse()
        elif rows is table:
            rows[at : at + 1] = [[draw(st.sampled_from(_ODD_FIELDS))]]
        else:
            rows[at : at + 1] = [draw(st.sampled_from(_ODD_FIELDS))]
    return b"\n".join(separator.join(line) for line in table) + draw(st.sampled_from((b"\n", b"", b"\r\n")))


@st.composite
def spoiled_content(draw: st.DrawFn, whole: Any) -> Any:
    """Replace, remove, rename or nest an entry somewhere in dicts and lists, up to three times."""
    content = json.loads(json.dumps(whole))
    for _ in range(draw(st.integers(1, 3))):
        content = _spoiled(draw, content, draw(st.integers(0, 6)))
    return content


def _spoiled(draw: st.DrawFn, content: Any, depth: int) -> Any:
    """Go down into a branch; at the end, or at random above it, spoil what is there."""
    if depth and isinstance(content, dict | list) and content:
        keys = list(content) if isinstance(content, dict) else range(len(content))
        key = draw(st.sampled_from(keys))
        change = draw(st.sampled_from(("deeper", "deeper", "deeper", "remove", "double")))
        if change == "deeper":
            content[key] = _spoiled(draw, content[key], depth - 1)
        elif change == "remove":
            del content[key]
        elif isinstance(content, list):
            content.append(content[key])
        else:
            content[draw(st.sampled_from(("x", "", "id", "../x", "n.n")))] = content[key]
        return content
    if draw(st.integers(0, 19)) == 0:
        return f"{_DEEP}{draw(st.sampled_from((10, 500, 20_000)))}"
    return copy.deepcopy(draw(st.sampled_from(ODD_VALUES)))


def as_json(content: Any) -> bytes:
    """Write JSON, with NaN where there is one, and with what is nested deeper than Python's writer goes."""
    text = json.dumps(content).encode()
    return re.sub(rb'"%s(\d+)"' % _DEEP.encode(), lambda m: b"[" * int(m[1]) + b"]" * int(m[1]), text)


@st.composite
def spoiled_zip(draw: st.DrawFn, whole: bytes) -> bytes:
    """Rename, double, pack, spoil or empty members; then, at times, spoil bytes of the archive itself."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = [(member.filename, archive.read(member)) for member in archive.infolist()]
    written = io.BytesIO()
    method = draw(
        st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    )
    with zipfile.ZipFile(written, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in members:
            change = draw(
                st.sampled_from(("keep", "keep", "keep", "spoil", "rename", "empty", "grow", "leave out"))
            )
            if change == "leave out":
                continue
            content = {"empty": b"", "grow": content + b"\0" * 200_000}.get(change, content)
            if change == "spoil":
                content = draw(spoiled_bytes(content))
            name = draw(st.sampled_from(_ODD_NAMES)) if change == "rename" else name
            archive.writestr(name, content, method if change != "keep" else zipfile.ZIP_STORED)
    return draw(spoiled_bytes(written.getvalue())) if draw(st.booleans()) else written.getvalue()


@st.composite
def spoiled_hdf5(draw: st.DrawFn, whole: bytes) -> bytes:
    """Exchange or remove an array of an HDF5 file, up to three times."""
    file = io.BytesIO(whole)
    with h5py.File(file, "r+") as opened:
        for _ in range(draw(st.integers(1, 3))):
            names: list[str] = []
            opened.visit(names.append)
            name = draw(st.sampled_from(names))
            del opened[name]
            exchange = draw(st.sampled_from(_HDF5_ENTRIES))
            if callable(exchange):
                opened[name] = exchange()
            elif exchange is not None:
                opened.create_dataset(name, **exchange)
            if name == "layers" or not list(opened):
                break
    return file.getvalue()


_HDF5_ENTRIES: tuple[Any, ...] = (
    *(
        None,
        {"shape": (0,), "dtype": "f4"},
        {"shape": (2**33,), "dtype": "f4"},
        {"shape": (3, 3), "dtype": "i8"},
    ),
    *({"shape": (2**33,), "dtype": "f4", "chunks": (2**16,)}, {"data": "text"}, {"data": float("nan")}),
    {"data": np.zeros(2**18, "f4"), "compression": "gzip"},
    {"shape": (54,), "dtype": "f4", "external": [("/etc/hostname", 0, 216)]},
    *(
        lambda: h5py.ExternalLink("../x.h5", "x"),
        lambda: h5py.SoftLink("/layers"),
        lambda: h5py.SoftLink("/none"),
    ),
)
"""What may stand where an array or a group was expected: nothing, one that unpacks to gigabytes, links."""
