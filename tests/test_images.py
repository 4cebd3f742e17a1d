"""Image sources, and views of them."""

import json
import logging
import re
import sys
import urllib.error
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import sklearn.datasets
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage.transform import resize_local_mean

import aelib
from aelib import decoding, faces, images
from aelib.images import Images, check_size, open_images

ATTRIBUTES = ["Bald", "Eyeglasses", "Smiling"]


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def coloured(k, width=48, height=40):
    """Image k of a test: a plain background that encodes k, with a mark in the upper left of its centre square."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:] = (k % 256, (k // 256) * 40, 200)
    pixels[: height // 2, : width // 2, 2] = 10
    return pixels


def save_photos(folder, n, suffix=".png"):
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(n):
        Image.fromarray(coloured(k)).save(folder / f"{k:05d}{suffix}")
    return folder


def save_zip(path, folder):
    """Zip a folder; the list is made first, or an archive inside the folder would swallow itself without end."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.suffix != ".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.write(file, file.relative_to(folder))
    return path


def numbers(opened):
    """Read back which images of `coloured` a view holds."""
    pixels = opened.bytes(slice(None))[:, -1, -1].astype(int)
    return (pixels[:, 0] + 256 * (pixels[:, 1] // 40)).tolist()


@pytest.fixture
def decoded(monkeypatch):
    """Count the images decoded."""
    calls = []
    plain = decoding.decode_square

    def counting(data, **options):
        calls.append(len(data))
        return plain(data, **options)

    monkeypatch.setattr(decoding, "decode_square", counting)
    return calls


@pytest.fixture
def plain_faces(monkeypatch):
    """Stand in for the renderer: image k is grey k / 1000, and fast."""

    def sample_factors(indices, *, seed):
        return pd.DataFrame({"grey": np.asarray(indices) / 1000.0 + seed}, index=np.asarray(indices))

    def render(factors, *, size=96, n_threads=None):
        grey = factors["grey"].to_numpy(np.float32) % 1
        return np.broadcast_to(grey[:, None, None, None], (len(grey), size, size, 3)).copy()

    monkeypatch.setattr(faces, "sample_factors", sample_factors)
    monkeypatch.setattr(faces, "render", render)
    monkeypatch.setattr(faces, "VERSION", "stand-in")


# Sources


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_photos_nested_or_zipped_against_oracle(tmp_path, cache, form):
    rng = np.random.default_rng(1)
    folder = tmp_path / "photos"
    stored = {"b.png": (80, 64), "a/z.webp": (64, 70), "a/b/c.png": (64, 64)}
    for name, shape in stored.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8))
        image.save(folder / name, lossless=True)
    (folder / "notes.txt").write_text("not an image")
    place = folder if form == "folder" else save_zip(tmp_path / "p.zip", folder)
    opened = open_images(f"photos:{place}", size=48, cache=cache)
    assert opened.names == ("a/b/c.png", "a/z.webp", "b.png")
    assert opened.table is None
    for position, name in enumerate(opened.names):
        pixels = np.asarray(Image.open(folder / name))
        top, left = (pixels.shape[0] - 64) // 2, (pixels.shape[1] - 64) // 2
        part = pixels[top : top + 64, left : left + 64].astype(float)
        exact = resize_local_mean(part, (48, 48), channel_axis=2)
        assert np.abs(opened[position] - exact / 255).max() <= 0.51 / 255


def test_result_is_float32_between_0_and_1(tmp_path, cache):
    folder = save_photos(tmp_path / "p", 3)
    opened = aelib.open_images(f"photos:{folder}", size=32, cache=cache)
    assert (opened[:].dtype, opened[:].shape, opened[0].shape) == (np.float32, (3, 32, 32, 3), (32, 32, 3))
    np.testing.assert_array_equal(opened[:], (opened.bytes(slice(None)) / 255).astype(np.float32))
    assert not opened.pixels.flags.writeable
    assert isinstance(opened.pixels, np.memmap)


def write_celeba(root, form, *, n=12, lists="beside", csv=False):
    """Write a tiny CelebA in the official layout; return what to open."""
    names = [f"{k + 1:06d}.jpg" for k in range(n)]
    values = np.where(np.add.outer(np.arange(n), np.arange(3)) % 3 == 0, 1, -1)
    partition = [0] * (n - 4) + [1, 1, 2, 2]
    if csv:
        rows = [",".join(["image_id", *ATTRIBUTES])]
        rows += [",".join(map(str, [name, *row])) for name, row in zip(names, values, strict=True)]
        parts = ["image_id,partition", *(f"{a},{b}" for a, b in zip(names, partition, strict=True))]
    else:
        rows = [str(n), " ".join(ATTRIBUTES) + " "]
        rows += [
            f"{name} " + " ".join(f"{v:2d}" for v in row) for name, row in zip(names, values, strict=True)
        ]
        parts = [f"{a} {b}" for a, b in zip(names, partition, strict=True)]
    ending = "csv" if csv else "txt"
    attribute_folder, partition_folder = {
        "beside": (root, root),
        "official": (root / "Anno", root / "Eval"),
        "inside": (root / "img_align_celeba",) * 2,
    }[lists]
    pictures = (root / "Img" if lists == "official" else root) / "img_align_celeba"
    for folder in (attribute_folder, partition_folder, pictures):
        folder.mkdir(parents=True, exist_ok=True)
    (attribute_folder / f"list_attr_celeba.{ending}").write_text("\r\n".join(rows) + "\r\n")
    (partition_folder / f"list_eval_partition.{ending}").write_text("\n".join(parts) + "\n")
    rng = np.random.default_rng(0)
    for name in names:
        small = Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8))
        small.resize((178, 218)).save(pictures / name, quality=95)
    if form == "zip":
        target = pictures.with_suffix(".zip")
        save_zip(target, pictures.parent if lists != "inside" else pictures)
        for file in sorted(pictures.rglob("*")):
            file.unlink()
        pictures.rmdir()
    return values == 1


@pytest.mark.parametrize("form", ["folder", "zip"])
@pytest.mark.parametrize("lists", ["beside", "official", "inside"])
@pytest.mark.parametrize("csv", [False, True])
def test_celeba_layouts(tmp_path, cache, form, lists, csv):
    expected = write_celeba(tmp_path / "celeba", form, lists=lists, csv=csv)
    opened = open_images(f"celeba:{tmp_path / 'celeba'}", size=64, cache=cache)
    assert opened.names[0] == "000001.jpg"
    assert opened.names == tuple(sorted(opened.names))
    pd.testing.assert_frame_equal(
        opened.table.reset_index(drop=True), pd.DataFrame(expected, columns=ATTRIBUTES), check_names=False
    )
    parts = opened.official_split()
    assert parts.train.names == opened.names[:8]
    assert parts.validation.names == opened.names[8:10]
    assert parts.test.names == opened.names[10:]


def test_celeba_named_at_any_level_and_its_crop(tmp_path, cache):
    write_celeba(tmp_path / "celeba", "folder")
    folder = tmp_path / "celeba" / "img_align_celeba"
    whole = open_images(f"celeba:{folder.parent}", size=96, cache=cache)
    inner = open_images(f"celeba:{folder}", size=96, cache=cache)
    rows = open_images(f"celeba:{folder}", size=96, crop=(0, 20, 178, 198), cache=cache)
    near = open_images(f"celeba:{folder}", size=96, crop=108, cache=cache)
    assert inner.table is not None
    np.testing.assert_array_equal(whole[:], inner[:])
    np.testing.assert_array_equal(whole[:], rows[:])
    pixels = np.asarray(Image.open(folder / "000003.jpg"))
    for opened, part in ((whole, pixels[20:198]), (near, pixels[55:163, 35:143])):
        exact = resize_local_mean(part.astype(float), (96, 96), channel_axis=2)
        assert np.abs(opened[2] * 255 - exact).max() <= 0.51


def test_celeba_choice_keeps_table_and_partition_aligned(tmp_path, cache):
    expected = write_celeba(tmp_path, "zip")
    opened = open_images(f"celeba:{tmp_path}", n=7, seed=3, size=32, cache=cache)
    rows = [int(name[:6]) - 1 for name in opened.names]
    np.testing.assert_array_equal(opened.table.to_numpy(), expected[rows])
    assert opened.table.index.tolist() == list(opened.names)
    assert opened.partition.tolist() == [0 if row < 8 else 1 if row < 10 else 2 for row in rows]


def test_celeba_without_lists(tmp_path, cache):
    write_celeba(tmp_path, "folder")
    for name in ("list_attr_celeba.txt", "list_eval_partition.txt"):
        (tmp_path / name).unlink()
    opened = open_images(f"celeba:{tmp_path}", size=32, cache=cache)
    assert opened.table is None
    with pytest.raises(ValueError, match="has no partition of its own: only CelebA"):
        opened.official_split()


def test_celeba_damaged_lists(tmp_path, cache):
    write_celeba(tmp_path, "folder")
    path = tmp_path / "list_eval_partition.txt"
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"list_eval_partition has no line for 6 of 12 images, 000007.jpg"):
        open_images(f"celeba:{tmp_path}", size=32, cache=cache)
    path.write_text(whole)
    path = tmp_path / "list_attr_celeba.txt"
    path.write_text(path.read_text().replace("-1", "-7", 1))
    with pytest.raises(ValueError, match="list_attr_celeba has values other than -1 and 1"):
        open_images(f"celeba:{tmp_path}", size=32, cache=cache)
    path.write_text("")
    with pytest.raises(ValueError, match="list_attr_celeba has no line for 12 of 12"):
        open_images(f"celeba:{tmp_path}", size=32, cache=cache)


def test_faces_are_the_rendered_ones(cache):
    opened = open_images("faces", n=70, seed=5, size=32, cache=cache)
    factors = faces.sample_factors(np.arange(70), seed=5)
    assert np.abs(opened[:] - faces.render(factors, size=32)).max() <= 0.501 / 255
    pd.testing.assert_frame_equal(opened.table, factors)
    assert opened.names is None


def test_faces_do_not_depend_on_how_many_are_asked(plain_faces, cache):
    few = open_images("faces", n=3, seed=1, size=32, cache=cache)
    more = open_images("faces", n=200, seed=1, size=32, cache=cache)
    np.testing.assert_array_equal(few[:], more[:3])
    assert more.table["grey"].tolist() == (np.arange(200) / 1000 + 1).tolist()


def test_default_number_of_faces(plain_faces, cache):
    assert len(open_images("faces", size=32, cache=cache)) == images.DEFAULT_FACES == 20_000


def test_lfw_through_the_fetcher(tmp_path, cache, monkeypatch):
    def fetch(*, data_home, min_faces_per_person):
        for person in ("Ann_Bee", "Cy_Dee"):
            save_photos(Path(data_home) / "lfw_home" / "lfw_funneled" / person, 2, ".jpg")

    monkeypatch.setattr(sklearn.datasets, "fetch_lfw_people", fetch)
    opened = open_images(f"lfw:{tmp_path}", size=32, cache=cache)
    assert opened.table["person"].tolist() == ["Ann Bee", "Ann Bee", "Cy Dee", "Cy Dee"]
    monkeypatch.setattr(sklearn.datasets, "fetch_lfw_people", None)  # what is there is not fetched again
    assert len(open_images(f"lfw:{tmp_path}", size=32, cache=cache)) == 4
    (tmp_path / "lfw_home" / "lfw-funneled.tgz").touch()
    with pytest.raises(ValueError, match="lfw_funneled was not unpacked to the end; delete it"):
        open_images(f"lfw:{tmp_path}", size=32, cache=cache)


def test_olivetti_through_the_fetcher(tmp_path, cache, monkeypatch, capsys):
    grey = np.random.default_rng(0).integers(0, 256, (6, 64, 64)).astype(np.float32) / 255

    def fetch(*, data_home):
        sys.stdout.write("downloading")  # as scikit-learn does
        return SimpleNamespace(images=grey, target=np.array([0, 0, 1, 1, 2, 2]))

    monkeypatch.setattr(sklearn.datasets, "fetch_olivetti_faces", fetch)
    opened = open_images(f"olivetti:{tmp_path}", size=64, cache=cache)
    np.testing.assert_array_equal(opened[:], np.repeat(grey[..., None], 3, axis=3))
    assert opened.table["person"].tolist() == [0, 0, 1, 1, 2, 2]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("source", "fetcher"), [("lfw", "fetch_lfw_people"), ("olivetti", "fetch_olivetti_faces")]
)
def test_failed_download_names_the_data_home(tmp_path, cache, monkeypatch, source, fetcher):
    def fail(**options):
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(sklearn.datasets, fetcher, fail)
    with pytest.raises(
        OSError, match=re.escape(f"data_home {tmp_path} and could not be downloaded")
    ) as caught:
        open_images(f"{source}:{tmp_path}", cache=cache)
    assert f'"{source}:PATH"' in str(caught.value)


# Choice and unreadable files


def test_choice_is_reproducible_and_follows_the_seed(tmp_path, cache):
    folder = save_photos(tmp_path / "p", 40)
    source = f"photos:{folder}"
    chosen = [open_images(source, n=10, seed=seed, size=32, cache=cache) for seed in (0, 0, 1)]
    assert chosen[0].names == chosen[1].names != chosen[2].names
    assert numbers(chosen[0]) == [int(name[:5]) for name in chosen[0].names] == sorted(numbers(chosen[0]))
    everything = open_images(source, size=32, cache=cache)
    assert numbers(everything) == list(range(40))
    assert numbers(open_images(source, n=40, size=32, cache=cache)) == list(range(40))


BAD = {"00003.png": b"", "00007.png": b"some text", "00019.png": None}


def save_with_bad(folder, n=30):
    save_photos(folder, n)
    for name, content in BAD.items():
        path = folder / name
        path.write_bytes(path.read_bytes()[:60] if content is None else content)
    return folder


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_unreadable_files_are_skipped_counted_and_listed(tmp_path, cache, caplog, form):
    place = save_with_bad(tmp_path / "p")
    if form == "zip":
        place = save_zip(tmp_path / "p.zip", place)
    for _ in range(2):  # built, then from the cache
        caplog.clear()
        with caplog.at_level(logging.WARNING, "aelib"):
            opened = open_images(f"photos:{place}", size=32, cache=cache)
        assert numbers(opened) == [k for k in range(30) if k not in (3, 7, 19)]
        assert [name for name, _ in opened.skipped] == list(BAD)
        assert opened.skipped[0].reason == "the file is empty"
        assert opened.skipped[1].reason == "not a JPEG, PNG or WebP image"
        assert len(caplog.messages) == 1
        assert "3 files are unreadable, 00003.png (the file is empty) the first" in caplog.messages[0]


def test_unreadable_files_can_be_an_error(tmp_path, cache):
    folder = save_with_bad(tmp_path / "p")
    expected = r"3 files are unreadable, 00003.png \(the file is empty\) the first.*on_unreadable=\"skip\""
    for _ in range(2):  # before the cache is whole, and after
        with pytest.raises(ValueError, match=expected):
            open_images(f"photos:{folder}", size=32, cache=cache, on_unreadable="error")
        assert len(open_images(f"photos:{folder}", size=32, cache=cache)) == 27


def test_unreadable_files_are_replaced_while_there_are_others(tmp_path, cache, monkeypatch):
    folder = save_photos(tmp_path / "p", 40)
    bad = set(range(0, 40, 2))
    for k in bad:
        (folder / f"{k:05d}.png").write_bytes(b"text")
    monkeypatch.setattr("aelib.cache._BLOCK_BYTES", 4 * 32 * 32 * 3)  # several blocks in each round
    opened = open_images(f"photos:{folder}", n=15, seed=2, size=32, cache=cache)
    order = np.random.default_rng(2).permutation(40).tolist()
    # The choice is the first fifteen readable files in the shuffled order.
    assert numbers(opened) == sorted([k for k in order if k not in bad][:15])
    assert [int(name[:5]) for name in opened.names] == numbers(opened)
    again = open_images(f"photos:{folder}", n=15, seed=2, size=32, cache=cache)
    np.testing.assert_array_equal(again[:], opened[:])
    assert again.skipped == opened.skipped
    assert {int(name[:5]) for name, _ in opened.skipped} <= bad


def test_too_few_readable(tmp_path, cache):
    folder = save_with_bad(tmp_path / "p")
    with pytest.raises(ValueError, match=r"only 27 images of the 29 asked for could be read; 3 files are"):
        open_images(f"photos:{folder}", n=29, size=32, cache=cache)
    for k in range(30):
        (folder / f"{k:05d}.png").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"only 0 images could be read; 30 files are unreadable, 00000.png"):
        open_images(f"photos:{folder}", size=32, cache=cache)


def test_a_crop_that_fits_no_image(tmp_path, cache):
    folder = save_photos(tmp_path / "p", 3)
    with pytest.raises(ValueError, match="crop 64 does not fit into 48 x 40 pixels"):
        open_images(f"photos:{folder}", size=32, crop=64, cache=cache)


def test_decompression_bombs_are_skipped_without_a_warning(tmp_path, cache, monkeypatch):
    folder = save_photos(tmp_path / "p", 2)
    Image.new("RGB", (100, 100)).save(folder / "bomb.png")
    for limit in (6000, 3000):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        opened = open_images(f"photos:{folder}", size=32, cache=cache / str(limit))
        assert [name for name, _ in opened.skipped] == ["bomb.png"]
        assert f"Pillow's limit of {limit}" in opened.skipped[0].reason


def test_pillows_warnings_of_odd_files_stay_inside(tmp_path, cache):
    folder = save_photos(tmp_path / "p", 2)
    block = (
        b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\x00" + b"\x12\x01\x03\x00\xff\x00\x00\x00\xff\xff\xff\x7f"
    )
    Image.fromarray(coloured(2)).save(folder / "00002.png", exif=block)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        decoding.decode_square((folder / "00002.png").read_bytes(), size=32)
    assert heard
    opened = open_images(f"photos:{folder}", size=32, cache=cache)
    assert numbers(opened) == [0, 1, 2]


# Wrong requests


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (
            "picasa:/x",
            {},
            r'unknown source "picasa:/x"; expected one of faces, celeba:PATH, photos:PATH, lfw',
        ),
        ("", {}, "unknown source"),
        ("/data/photos", {}, r'your own images: "photos:PATH"'),
        ("faces:/x", {}, "unknown source"),
        ("photos", {}, r'"photos" names no folder or zip; write "photos:PATH"'),
        ("celeba:", {}, r'write "celeba:PATH"'),
        ("faces", {"n": 0}, "n is 0; expected at least 1"),
        ("faces", {"n": -3}, "n is -3"),
        ("faces", {"seed": -1}, "seed is -1; expected an integer of at least 0"),
        ("faces", {"size": 16}, "size is 16; expected at least 32 pixels"),
        ("faces", {"size": 100}, "size is 100; expected a multiple of 16.*such as 96 or 112"),
        ("faces", {"size": 40}, "such as 32 or 48"),
        ("faces", {"size": 96, "stride_product": 64}, "such as 64 or 128"),
        ("faces", {"stride_product": 0}, "stride_product is 0"),
        ("faces", {"crop": 50}, "faces are rendered whole"),
        ("photos:.", {"crop": (0, 0, 9, 5)}, 'expected "square", a side'),
    ],
)
def test_wrong_requests(cache, source, options, message):
    with pytest.raises(ValueError, match=message):
        open_images(source, cache=cache, **options)
    assert not cache.exists()


def test_on_unreadable_is_checked(cache):
    with pytest.raises(ValueError, match=r"on_unreadable is 'ignore'; expected \"skip\" or \"error\""):
        open_images.__wrapped__("faces", on_unreadable="ignore", cache=cache)


def test_wrong_places(tmp_path, cache):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.jpg").write_bytes(b"x")
    for scheme in ("photos", "celeba"):
        with pytest.raises(FileNotFoundError, match="missing does not exist"):
            open_images(f"{scheme}:{tmp_path / 'missing'}", cache=cache)
        with pytest.raises(ValueError, match="has no images"):
            open_images(f"{scheme}:{tmp_path / 'empty'}", cache=cache)
        with pytest.raises(ValueError, match="neither a folder nor a zip"):
            open_images(f"{scheme}:{tmp_path / 'file.jpg'}", cache=cache)


def test_too_few_images(tmp_path, cache):
    folder = save_photos(tmp_path / "p", 5)
    with pytest.raises(ValueError, match="n is 6, but the source has only 5 images; ask for fewer"):
        open_images(f"photos:{folder}", n=6, size=32, cache=cache)


def test_check_size_accepts_what_halves_evenly():
    for size, product in ((32, 16), (96, 16), (128, 16), (40, 8), (97, 1)):
        check_size(size, stride_product=product)


# What the cache is asked for


def test_key_follows_content_and_settings(tmp_path, cache, decoded):
    folder = save_photos(tmp_path / "p", 4)
    source = f"photos:{folder}"
    keys = [open_images(source, size=32, cache=cache).description()["key"]]
    keys.append(open_images(source, size=48, cache=cache).description()["key"])
    keys.append(open_images(source, size=32, crop=36, cache=cache).description()["key"])
    keys.append(open_images(source, size=32, n=3, cache=cache).description()["key"])
    Image.fromarray(coloured(9)).save(folder / "00002.png", compress_level=0)
    changed = open_images(source, size=32, cache=cache)
    assert numbers(changed) == [0, 1, 9, 3]
    keys.append(changed.description()["key"])
    (folder / "00001.png").rename(folder / "00009.png")
    keys.append(open_images(source, size=32, cache=cache).description()["key"])
    assert len(set(keys)) == 6
    moved = folder.rename(tmp_path / "elsewhere")
    count = len(decoded)
    assert open_images(f"photos:{moved}", size=32, cache=cache).description()["key"] == keys[-1]
    assert len(decoded) == count


def test_decoder_version_is_part_of_the_key(tmp_path, cache, monkeypatch):
    source = f"photos:{save_photos(tmp_path / 'p', 2)}"
    before = open_images(source, size=32, cache=cache).description()["key"]
    monkeypatch.setattr(decoding, "VERSION", "next")
    assert open_images(source, size=32, cache=cache).description()["key"] != before


def test_quiet_when_fast(tmp_path, cache, capfd):
    open_images(f"photos:{save_photos(tmp_path / 'p', 3)}", size=32, cache=cache)
    assert capfd.readouterr() == ("", "")


# Views


@pytest.fixture(scope="module")
def ten():
    array = np.random.default_rng(0).integers(0, 256, (10, 32, 32, 3), dtype=np.uint8)
    table = pd.DataFrame({"k": range(10)})
    return Images.from_array(array, names=[f"i{k}" for k in range(10)], table=table)


@given(
    start=st.none() | st.integers(-12, 12),
    stop=st.none() | st.integers(-12, 12),
    step=st.none() | st.integers(-4, 4).filter(bool),
)
def test_slices_are_numpys(ten, start, stop, step):
    key = slice(start, stop, step)
    np.testing.assert_array_equal(ten[key], (ten.pixels[key] / 255).astype(np.float32))
    np.testing.assert_array_equal(ten.subset(key)[:], ten[key])
    assert ten.subset(key).names == ten.names[key]
    assert ten.subset(key).table["k"].tolist() == list(range(10))[key]


@given(st.lists(st.integers(-10, 9), max_size=20))
def test_integer_arrays_are_numpys(ten, key):
    expected = ten.pixels[np.array(key, int)]
    for form in (key, np.array(key, int), np.array(key, np.int16)):
        np.testing.assert_array_equal(ten.bytes(form), expected)
    assert ten.subset(key).table["k"].tolist() == [k % 10 for k in key]


@given(st.lists(st.booleans(), min_size=10, max_size=10))
def test_masks_are_numpys(ten, key):
    for form in (key, np.array(key)):
        np.testing.assert_array_equal(ten.bytes(form), ten.pixels[np.array(key)])
    assert len(ten.subset(np.array(key))) == sum(key)


def test_single_images(ten):
    for key in (3, -7, np.int64(3), np.uint8(3), np.array(3)):
        np.testing.assert_array_equal(ten[key], (ten.pixels[3] / 255).astype(np.float32))
    assert ten[3].shape == (32, 32, 3)
    assert len(ten.subset(3)) == 1
    assert len(list(ten)) == 10


def test_views_of_views(ten):
    view = ten.subset([9, 4, 4, 0]).subset(slice(None, None, -1))
    assert view.names == ("i0", "i4", "i4", "i9")
    np.testing.assert_array_equal(view[1:], ten[[4, 4, 9]])
    assert view.pixels is ten.pixels


def test_mirrored_images_are_the_same_ones_seen_in_a_mirror(ten):
    mirrored = ten.mirrored()
    np.testing.assert_array_equal(mirrored[:], ten[:][:, :, ::-1])
    np.testing.assert_array_equal(mirrored[3], ten[3][:, ::-1])
    np.testing.assert_array_equal(mirrored.subset([7, 2])[:], ten[[7, 2]][:, :, ::-1])
    np.testing.assert_array_equal(mirrored.mirrored()[:], ten[:])
    assert mirrored.table is None
    assert mirrored.description() == {**ten.description(), "mirrored": True}
    assert mirrored.mirrored().description() == ten.description()


def test_results_are_copies(ten):
    before = ten[3]
    for key in (3, slice(2, 5), [3]):
        ten.bytes(key)[...] = 0
        ten[key][...] = 0
    np.testing.assert_array_equal(ten[3], before)
    with pytest.raises(ValueError, match="read-only"):
        ten.pixels[0] = 0


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (10, "image 10 asked of 10; the last is 9"),
        (-11, "image -11 asked of 10"),
        ([0, 12], "image 12 asked of 10"),
        (np.zeros(9, bool), "mask of 10 booleans; this is bool of shape"),
        (True, "this is bool"),
        ([0.5], "this is float64"),
        ("a", "indexed by an integer"),
        (None, "indexed by an integer"),
        ((0, 1), "indexed by an integer"),
        (np.zeros((2, 2), int), r"of shape \(2, 2\)"),
    ],
)
def test_wrong_positions(ten, key, message):
    with pytest.raises(IndexError, match=message):
        Images._positions.__wrapped__(ten, key)  # past the run-time type checks


def test_split_is_reproducible_disjoint_and_whole():
    everything = Images.from_array(np.zeros((103, 32, 32, 3), np.uint8), names=[str(k) for k in range(103)])
    parts = everything.split(validation=0.2, test=0.1, seed=4)
    assert [len(part) for part in parts] == [72, 21, 10]
    held = [int(name) for part in parts for name in part.names]
    assert sorted(held) == list(range(103))
    assert all(list(part.indices) == sorted(part.indices) for part in parts)
    same, other = everything.split(validation=0.2, test=0.1, seed=4), everything.split(validation=0.2, seed=5)
    assert [part.names for part in same] == [part.names for part in parts]
    assert other.test.names != parts.test.names
    counted = everything.split(validation=21, test=10, seed=4)
    assert [part.names for part in counted] == [part.names for part in parts]
    assert parts.test.description()["split"] == {
        "validation": 0.2, "test": 0.1, "seed": 4, "n": 103, "part": "test",
    }  # fmt: skip
    train, validation, test = everything.split(validation=0, test=0)
    assert (len(train), len(validation), len(test)) == (103, 0, 0)
    assert validation[:].shape == (0, 32, 32, 3)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"validation": -0.1}, r"validation is -0.1; expected a share of the images in \[0, 1\), or"),
        ({"test": 1.5}, "test is 1.5; expected a share"),
        ({"test": 10}, "of 10 images leave none for training"),
        ({"test": float("nan")}, "test is nan"),
        ({"validation": 0.5, "test": 0.5}, "of 10 images leave none for training"),
        ({"validation": 0.04}, "validation=0.04 of 10 images is less than one"),
    ],
)
def test_wrong_shares(ten, shares, message):
    with pytest.raises(ValueError, match=message):
        ten.split(**shares)


def test_from_array_takes_bytes_and_floats(ten):
    again = Images.from_array(ten[:])
    np.testing.assert_array_equal(again.pixels, ten.pixels)
    assert Images.from_array(ten[:].astype(np.float64)).description() == again.description()
    values = np.full((1, 16, 16, 3), 0.3)
    assert abs(Images.from_array(values)[0] - 0.3).max() <= 0.5 / 255
    array = np.zeros((2, 32, 32, 3), np.uint8)
    assert np.shares_memory(Images.from_array(array).pixels, array)
    assert array.flags.writeable


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (np.zeros((2, 32, 32)), ValueError, r"shape \(2, 32, 32\); expected \(n, size, size, 3\)"),
        (np.zeros((2, 32, 48, 3)), ValueError, "expected"),
        (np.zeros((2, 32, 32, 4)), ValueError, "expected"),
        (np.zeros((0, 32, 32, 3)), ValueError, "n of at least 1"),
        (np.full((2, 32, 32, 3), 1.01), ValueError, r"to 1.01; expected floats in \[0, 1\]"),
        (np.full((2, 32, 32, 3), -0.1), ValueError, "values from -0.1"),
        (np.full((2, 32, 32, 3), np.nan), ValueError, "nan"),
        (np.zeros((2, 32, 32, 3), np.int64), TypeError, "holds int64; expected uint8, or floats"),
    ],
)
def test_from_array_refuses(array, error, message):
    with pytest.raises(error, match=message):
        Images.from_array.__func__.__wrapped__(Images, array)  # past the run-time type checks


def test_from_array_wants_names_and_table_of_length_n():
    array = np.zeros((3, 32, 32, 3), np.uint8)
    with pytest.raises(ValueError, match="names has 2 rows for 3 images"):
        Images.from_array(array, names=["a", "b"])
    with pytest.raises(ValueError, match="table has 1 rows for 3 images"):
        Images.from_array(array, table=pd.DataFrame({"a": [1]}))


def test_description_is_json_and_tells_views_apart(tmp_path, cache):
    folder = save_photos(tmp_path / "p", 20)
    opened = open_images(f"photos:{folder}", size=32, seed=3, crop=(0, 0, 40, 40), cache=cache)
    told = opened.description()
    assert json.loads(json.dumps(told)) == told
    assert str(tmp_path) not in json.dumps(told)
    expected = {"source": "photos", "n": 20, "seed": 3, "size": 32, "crop": [0, 0, 40, 40]}
    assert expected.items() <= told.items()
    parts = opened.split()
    views = {part.description()["view"] for part in (opened, *parts)}
    assert len(views) == 4
    assert opened.split().train.description() == parts.train.description()
    assert repr(opened) == f"Images('photos:{folder}', n=20, size=32)"
