"""Loaders of images: folders and zips of photographs, CelebA's lists, the image cache, scikit-learn's files."""

import io
import json
import shutil
import zipfile
import zlib
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from robustness.loader import Loader
from robustness.mutations import as_json, spoiled_bytes, spoiled_content, spoiled_table, spoiled_zip

_MOST_PIXELS = 4_000_000
"""Set in place of Pillow's limit of 89 million, so that what an image takes can be held against what it may take."""
_MEGABYTES = 26 * _MOST_PIXELS / 1e6 + 60
"""26 bytes for each pixel, as `aelib.decoding` states, and what the rest takes."""


def _pictures() -> list[bytes]:
    """Make images of every format and many modes; decode one, so that what decodes is compiled and loaded."""
    from aelib.decoding import decode_square

    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    made = [
        (colour, "JPEG", {"exif": exif}), (colour, "JPEG", {"progressive": True}), (colour.convert("CMYK"), "JPEG", {}),
        (colour, "PNG", {}), (colour.convert("RGBA"), "PNG", {}), (colour.quantize(16), "PNG", {}),
        (Image.fromarray(rng.integers(0, 65536, (40, 48), dtype=np.uint16)), "PNG", {}),
        (colour, "PNG", {"save_all": True, "append_images": [colour.rotate(90)]}),
        (colour, "WEBP", {}), (colour.convert("RGBA"), "WEBP", {"lossless": True}),
        (colour, "WEBP", {"save_all": True, "append_images": [colour.rotate(90)]}),
        (colour, "GIF", {}), (colour, "TIFF", {}),
    ]  # fmt: skip
    Image.MAX_IMAGE_PIXELS = _MOST_PIXELS
    files = []
    for image, kind, options in made:
        file = io.BytesIO()
        image.save(file, kind, **options)
        files.append(file.getvalue())
    decode_square(files[0], size=32)
    return files


def _zip_of(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def _open(source: str, cache: Path) -> bool:
    from aelib.images import open_images

    opened = open_images(source, size=32, cache=cache)
    read = opened[:]
    if read.shape[1:] != (32, 32, 3) or not np.isfinite(read).all():
        raise TypeError(f"images of shape {read.shape}")
    return bool(opened.skipped)


def image_folder() -> Loader:
    """Folders of photographs: one spoiled image beside a good one."""
    pictures = _pictures()

    def load(data: bytes, folder: Path) -> bool:
        place = folder / "photos"
        place.mkdir(exist_ok=True)
        (place / "good.png").write_bytes(pictures[3])
        (place / "odd.jpg").write_bytes(data)
        return _open(f"photos:{place}", folder / "cache")

    inputs = st.one_of([spoiled_bytes(picture) for picture in pictures])
    whole = (*pictures[:11],)  # GIF and TIFF are skipped
    return Loader("image folder", whole, inputs, load, _MEGABYTES)


def image_zip() -> Loader:
    """Zips of photographs, and CelebA's with its lists."""
    pictures = _pictures()
    rows = {f"{k}.jpg": pictures[k] for k in range(3)}
    lists = {
        "list_attr_celeba.txt": b"3\nMale Young\n0.jpg 1 -1\n1.jpg -1 -1\n2.jpg 1 1\n",
        "list_eval_partition.txt": b"0.jpg 0\n1.jpg 1\n2.jpg 2\n",
    }

    def load(data: bytes, folder: Path) -> bool:
        path = folder / "photos.zip"
        path.write_bytes(data)
        scheme = "celeba" if b"list_attr" in data else "photos"
        return _open(f"{scheme}:{path}", folder / "cache")

    whole = (_zip_of(rows), _zip_of(rows | lists))
    return Loader("image zip", whole, st.one_of(*map(spoiled_zip, whole)), load, _MEGABYTES)


def celeba_lists() -> Loader:
    """CelebA's lists of attributes and of parts, beside its images."""
    pictures = _pictures()
    attributes = b"3\nMale Young\n0.jpg 1 -1\n1.jpg -1 -1\n2.jpg 1 1\n"
    lists = {
        "list_attr_celeba.txt": attributes,
        "list_attr_celeba.csv": b"image_id,Male,Young\n0.jpg,1,-1\n1.jpg,-1,-1\n2.jpg,1,1\n",
        "list_eval_partition.txt": b"0.jpg 0\n1.jpg 1\n2.jpg 2\n",
    }

    def load(data: bytes, folder: Path) -> bool:
        name, _, content = data.partition(b"\n")
        place = folder / "celeba"
        if place.exists():
            shutil.rmtree(place)
        (place / "img_align_celeba").mkdir(parents=True)
        for k in range(3):
            (place / "img_align_celeba" / f"{k}.jpg").write_bytes(pictures[k])
        (place / name.decode()).write_bytes(content)
        return _open(f"celeba:{place}", folder / "cache")

    inputs = [
        spoil(content).map(lambda data, name=name: name.encode() + b"\n" + data)
        for name, content in lists.items()
        for spoil in (spoiled_bytes, spoiled_table)
    ]
    whole = tuple(name.encode() + b"\n" + content for name, content in lists.items())
    return Loader("CelebA's lists", whole, st.one_of(inputs), load, 100)


def olivetti() -> Loader:
    """Spoil the file of Olivetti faces in scikit-learn's data home, which is a pickle."""
    faces = np.random.default_rng(0).integers(0, 256, (400, 4096), dtype=np.uint8)

    def load(data: bytes, folder: Path) -> bool:
        from aelib.images import open_images

        (folder / "olivetti_py3.pkz").write_bytes(data)
        read = open_images(f"olivetti:{folder}", n=3, size=32, cache=folder / "cache")[:]
        if read.shape != (3, 32, 32, 3) or not np.isfinite(read).all():
            raise TypeError(f"images of shape {read.shape}")
        return False

    pickled = b"\x80\x04" + faces.tobytes() + b"."
    whole = zlib.compress(pickled, 1)
    inside = spoiled_bytes(pickled[:64] + pickled[-64:]).map(
        lambda ends: zlib.compress(ends[:64] + pickled[64:-64] + ends[64:], 1)
    )
    return Loader("Olivetti faces (pickle)", (whole,), st.one_of(spoiled_bytes(whole), inside), load, 100)


def pixel_cache() -> Loader:
    """Spoil the pixels, the record and the marks of an image cache, finished or not: images are to be made anew."""
    from aelib.images import open_images

    picture = _pictures()[3]

    def load(data: bytes, folder: Path) -> bool:
        name, _, content = data.partition(b"\n")
        place = folder / "some"
        place.mkdir(exist_ok=True)
        (place / "a.png").write_bytes(picture)
        expected = open_images(f"photos:{place}", size=32, cache=folder / "fresh")[:]
        (cached,) = {path.parent for path in (folder / "fresh").rglob("cache.json")}
        key = json.loads((cached / "cache.json").read_text())["key"]
        if name.endswith(b".partial"):  # what there is while a cache is being filled
            (cached / "pixels.npy").replace(cached / "pixels.partial")
            (cached / "cache.json").unlink()
            (cached / "done.partial").write_bytes(_MARKS.replace(b"KEY", key.encode()))
        (cached / name.decode()).unlink(missing_ok=True)
        (cached / name.decode()).write_bytes(content.replace(b"KEY", key.encode()))
        again = open_images(f"photos:{place}", size=32, cache=folder / "fresh")[:]
        shutil.rmtree(folder / "fresh")
        if again.shape != expected.shape or (name == b"cache.json" and not np.array_equal(again, expected)):
            raise TypeError("a spoiled cache was taken for whole")
        return False

    array = io.BytesIO()
    np.save(array, np.zeros((1, 32, 32, 3), np.uint8))
    pixels = array.getvalue()
    record = {"key": "KEY", "replaced": [[0, 1]], "skipped": [[0, "x"]]}
    inputs = {
        b"pixels.npy": spoiled_bytes(pixels),
        b"pixels.partial": spoiled_bytes(pixels),
        b"cache.json": spoiled_content(record).map(as_json),
        b"done.partial": st.one_of(
            spoiled_bytes(_MARKS), spoiled_content([0, [[0, "x"]]]).map(lambda mark: _HEADER + as_json(mark))
        ),
    }
    named = [spoilt.map(lambda data, name=name: name + b"\n" + data) for name, spoilt in inputs.items()]
    whole = (b"pixels.npy\n" + pixels, b"done.partial\n" + _MARKS)
    return Loader("image cache (.npy, JSON)", whole, st.one_of(named), load, 100)


_HEADER = b'{"key": "KEY", "block_rows": 64}\n'
_MARKS = _HEADER + b"[0, []]\n"
