"""Decoding against a slow, separate version: Pillow's own orientation, NumPy's crop, scikit-image's area resize."""

import contextlib
import io
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from skimage.transform import resize_local_mean

from aelib import decoding
from aelib.decoding import UnreadableImageError, check_crop, decode_square, list_image_files

ORIENTATION = 0x0112


def picture(width, height, seed=0):
    """A smooth colour picture without any symmetry, plus a little noise."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    channels = [0.2 + 0.6 * x**2, 0.9 - 0.7 * y, 0.5 + 0.4 * np.sin(5 * x + 3 * y)]
    values = np.stack(channels, axis=2) + rng.normal(0, 0.03, (height, width, 3))
    return (values.clip(0, 1) * 255).astype(np.uint8)


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def slow_square(image, size, box):
    """The obvious version: crop an RGB image with NumPy, average areas with scikit-image."""
    left, top, right, bottom = box
    part = np.asarray(image.convert("RGB"))[top:bottom, left:right]
    return np.rint(resize_local_mean(part.astype(float), (size, size), channel_axis=2))


def difference(a, b):
    return np.abs(a.astype(int) - b.astype(int)).max()


# Crop and resize


@pytest.mark.parametrize(("width", "height"), [(178, 218), (96, 96), (301, 97), (100, 577), (640, 480)])
def test_centre_square_against_oracle(width, height):
    image = Image.fromarray(picture(width, height))
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    expected = slow_square(image, 96, (left, top, left + side, top + side))
    assert difference(decode_square(encoded(image), size=96), expected) <= 1


@given(
    side=st.integers(32, 90), left=st.integers(0, 30), top=st.integers(0, 20), size=st.sampled_from([32, 48])
)
def test_any_reducing_box_against_oracle(side, left, top, size):
    image = Image.fromarray(picture(120, 110))
    box = (left, top, left + max(side, size), top + max(side, size))
    decoded = decode_square(encoded(image), size=size, crop=(box[0], box[1], box[2], box[3]))
    assert difference(decoded, slow_square(image, size, box)) <= 1


def test_celeba_rows_20_to_198_are_the_centre_square():
    data = encoded(Image.fromarray(picture(178, 218)))
    whole = decode_square(data, size=96)
    np.testing.assert_array_equal(whole, decode_square(data, size=96, crop=(0, 20, 178, 198)))
    np.testing.assert_array_equal(whole, decode_square(data, size=96, crop=178))


def test_a_crop_of_the_final_size_keeps_the_pixels():
    pixels = picture(50, 60)
    decoded = decode_square(encoded(Image.fromarray(pixels)), size=32, crop=32)
    np.testing.assert_array_equal(decoded, pixels[14:46, 9:41])


def test_enlarging_is_bicubic():
    image = Image.fromarray(picture(40, 40))
    expected = np.asarray(image.resize((96, 96), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(decode_square(encoded(image), size=96), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("crop", ["square", (10, 30, 150, 170)])
def test_exif_orientation(orientation, kind, crop):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "PNG": {}, "WEBP": {"lossless": True}}[kind]
    data = encoded(Image.fromarray(picture(300, 200)), kind, exif=exif, **options)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    side = min(upright.size)
    left, top = (upright.width - side) // 2, (upright.height - side) // 2
    box = (left, top, left + side, top + side) if crop == "square" else crop
    assert difference(decode_square(data, size=96, crop=crop), slow_square(upright, 96, box)) <= 1


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_big_jpeg_is_drafted_yet_the_same(orientation, monkeypatch):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(Image.fromarray(picture(1999, 1501)), "JPEG", quality=92, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    side = min(upright.size)
    left, top = (upright.width - side) // 2, (upright.height - side) // 2
    drafts = []
    plain = Image.Image.crop
    monkeypatch.setattr(Image.Image, "crop", lambda i, box: (drafts.append(i.size), plain(i, box))[1])
    decoded = decode_square(data, size=96)
    assert drafts[0] == (500, 376)  # a quarter, the smallest that is at least twice 96
    expected = slow_square(upright, 96, (left, top, left + side, top + side))
    assert difference(decoded, expected) <= 4
    assert np.abs(decoded - expected).mean() < 0.6


def test_damaged_exif_leaves_the_image_as_stored():
    pixels = picture(64, 64)
    data = encoded(Image.fromarray(pixels), "PNG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xffgarbage")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of the damaged block
        np.testing.assert_array_equal(decode_square(data, size=64), pixels)


# Modes


def test_grey_bilevel_and_16_bit():
    grey = picture(64, 64)[:, :, 0]
    expected = np.repeat(grey[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(decode_square(encoded(Image.fromarray(grey)), size=64), expected)
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    assert deep.mode.startswith("I;16")
    np.testing.assert_array_equal(decode_square(encoded(deep), size=64), expected)
    two = Image.fromarray(grey).convert("1")
    decoded = decode_square(encoded(two), size=64)
    np.testing.assert_array_equal(decoded[:, :, 0] > 127, np.asarray(two))


def test_16_bit_values_are_rounded_not_cut():
    values = np.array([0, 128, 129, 32896, 65406, 65407, 65535], np.uint16)
    deep = np.zeros((32, 32), np.uint16)
    deep[0, :7] = values
    decoded = decode_square(encoded(Image.fromarray(deep)), size=32)
    np.testing.assert_array_equal(decoded[0, :7, 1], np.rint(values / 257))


def test_palette_with_and_without_transparency():
    image = Image.fromarray(picture(64, 64)).quantize(64)
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(decode_square(encoded(image), size=64), expected)
    first = np.asarray(image) == 0
    for transparency in (0, bytes([0])):
        decoded = decode_square(encoded(image, transparency=transparency), size=64)
        np.testing.assert_array_equal(decoded, np.where(first[:, :, None], 255, expected))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparent_images_are_laid_on_white(kind):
    pixels = picture(64, 64).astype(float)
    alpha = np.linspace(0, 255, 64).astype(np.uint8)[None, :].repeat(64, axis=0)
    rgba = np.dstack([pixels.astype(np.uint8), alpha])
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    share = alpha[:, :, None] / 255
    decoded = decode_square(encoded(Image.fromarray(rgba), kind, **options), size=64)
    assert difference(decoded, pixels * share + 255 * (1 - share)) <= 1


def test_grey_with_alpha():
    la = np.zeros((40, 40, 2), np.uint8)
    la[:, :, 0], la[:20, :, 1] = 100, 255
    decoded = decode_square(encoded(Image.fromarray(la, "LA")), size=40)
    assert (decoded[:20] == 100).all()
    assert (decoded[20:] == 255).all()


@pytest.mark.parametrize("side", [64, 800])
def test_cmyk_jpeg(side):
    image = Image.fromarray(picture(side, side)).convert("CMYK")
    data = encoded(image, "JPEG", quality=97, subsampling=0)
    expected = slow_square(Image.open(io.BytesIO(data)), 64, (0, 0, side, side))
    decoded = decode_square(data, size=64)
    assert difference(decoded, expected) <= 6
    assert np.abs(decoded - expected).mean() < 1


def test_webp_and_progressive_jpeg():
    image = Image.fromarray(picture(64, 64))
    np.testing.assert_array_equal(
        decode_square(encoded(image, "WEBP", lossless=True), size=64), np.asarray(image)
    )
    data = encoded(image, "JPEG", progressive=True)
    np.testing.assert_array_equal(decode_square(data, size=64), np.asarray(Image.open(io.BytesIO(data))))


# What cannot be read


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"just a text", "not a JPEG, PNG or WebP"),
        (encoded(Image.fromarray(picture(64, 64)), "BMP"), "not a JPEG, PNG or WebP"),
        (encoded(Image.fromarray(picture(64, 64)), "JPEG")[:700], "truncated"),
        (encoded(Image.fromarray(picture(64, 64)))[:3000], "truncated"),
        (encoded(Image.fromarray(picture(64, 64)))[:20], None),
        (encoded(Image.fromarray(picture(64, 64)), "WEBP")[:200], None),
    ],
)
def test_damaged_files(data, reason):
    with pytest.raises(UnreadableImageError, match=reason) as caught:
        decode_square(data, size=32)
    assert str(caught.value)
    assert "0x" not in str(caught.value)  # the same message every time


@given(cut=st.integers(1, 2000), flips=st.lists(st.integers(0, 10_000), max_size=5))
def test_any_damage_is_a_reason_or_an_image(cut, flips):
    data = bytearray(encoded(Image.fromarray(picture(48, 40)), "JPEG"))
    for place in flips:
        data[place % len(data)] ^= 0x5A
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of odd EXIF and MPO blocks
        with contextlib.suppress(UnreadableImageError):
            assert decode_square(bytes(data[:-cut]), size=32).shape == (32, 32, 3)


@pytest.mark.parametrize("limit", [3000, 1000])  # where Pillow warns, and where it raises
@pytest.mark.parametrize("action", ["error", "ignore"])
def test_decompression_bombs_are_refused(monkeypatch, limit, action):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        with pytest.raises(UnreadableImageError, match=f"Pillow's limit of {limit}"):
            decode_square(encoded(Image.fromarray(picture(64, 64))), size=32)


def test_crop_larger_than_the_image():
    data = encoded(Image.fromarray(picture(64, 50)))
    with pytest.raises(UnreadableImageError, match="crop 51 does not fit into 64 x 50"):
        decode_square(data, size=32, crop=51)
    with pytest.raises(UnreadableImageError, match="does not fit"):
        decode_square(data, size=32, crop=(20, 0, 70, 50))


@pytest.mark.parametrize(
    "crop",
    [
        "centre",
        0,
        -5,
        True,
        3.5,
        (0, 0, 10),
        (0, 0, 10, 11),
        (5, 5, 5, 5),
        (-1, 0, 9, 10),
        (0.0, 0, 9, 9),
        None,
    ],
)
def test_bad_crops(crop):
    with pytest.raises(ValueError, match='expected "square", a side of at least 1'):
        getattr(check_crop, "__wrapped__", check_crop)(crop)  # past the run-time type checks


# Listing


def test_folder_and_zip_list_the_same_names(tmp_path):
    wanted = ["B.JPG", "a.png", "sub/deep/x.webp", "sub/y.jpeg", "ä.jpg"]
    others = [".hidden.jpg", "sub/.thumbs/t.jpg", "__MACOSX/a.png", "notes.txt", "sub/._y.jpeg", "jpg"]
    for name in wanted + others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.mkdir("folder.jpg")
        for name in reversed(wanted + others):
            archive.write(tmp_path / name, name)
    for path in (tmp_path, tmp_path / "all.zip"):
        files = list_image_files(path)
        assert files.names == tuple(wanted)
        with files.opened() as read:
            assert [read(k).decode() for k in range(5)] == wanted


def test_stamps_follow_the_content(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.jpg").write_bytes(b"one")
    before = list_image_files(tmp_path).stamps
    (tmp_path / "b.jpg").write_bytes(b"other")
    after = list_image_files(tmp_path).stamps
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_wrong_places(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.zip").write_text("no zip")
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as archive:
        archive.writestr("notes.txt", "no image")
    with pytest.raises(FileNotFoundError, match="missing does not exist; expected a folder or a zip"):
        list_image_files(tmp_path / "missing")
    with pytest.raises(ValueError, match=r"text\.zip is neither a folder nor a zip"):
        list_image_files(tmp_path / "text.zip")
    for name in ("empty", "none.zip"):
        with pytest.raises(ValueError, match=rf"{name} has no images: no file ends in .jpg"):
            list_image_files(tmp_path / name)


def test_unreadable_places_are_reasons(tmp_path, monkeypatch):
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nowhere.jpg")
    with (
        list_image_files(tmp_path).opened() as read,
        pytest.raises(UnreadableImageError, match="No such file"),
    ):
        read(0)
    path = tmp_path / "damaged.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"A" * 1000)
        archive.writestr("b.png", b"B" * 1000)
    path.write_bytes(path.read_bytes().replace(b"A" * 1000, b"A" * 999 + b"?"))
    with list_image_files(path).opened() as read:
        with pytest.raises(UnreadableImageError, match="Bad CRC-32"):
            read(0)
        monkeypatch.setattr(decoding, "_LARGEST_FILE", 999)
        with pytest.raises(UnreadableImageError, match="more than"):
            read(1)


@pytest.mark.parametrize("change", ["removed", "replaced", "folder moved"])
def test_a_photograph_that_vanishes_while_it_is_read_is_no_unreadable_one(tmp_path, change):
    folder = tmp_path / "photos"
    folder.mkdir()
    path = folder / "a.png"
    Image.new("RGB", (40, 40)).save(path)
    listed = list_image_files(folder)
    if change == "removed":
        path.unlink()
    elif change == "replaced":
        Image.new("RGB", (50, 40)).save(path)
    else:
        folder.rename(tmp_path / "elsewhere")
    with listed.opened() as read, pytest.raises(OSError, match="changed, moved or removed"):
        read(0)


def test_a_file_that_vanishes_while_its_folder_is_listed_is_no_unreadable_one(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding.os, "walk", lambda *_, **__: [(str(tmp_path), [], ["a.png"])])
    with pytest.raises(OSError, match=r"a\.png was changed, moved or removed"):
        list_image_files(tmp_path)


def test_a_zip_that_is_overwritten_while_it_is_read_is_no_unreadable_one(tmp_path):
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", bytes(1000))
    listed = list_image_files(path)
    with listed.opened() as read:
        path.write_bytes(bytes(10))
        with pytest.raises(OSError, match="changed, moved or removed"):
            read(0)
