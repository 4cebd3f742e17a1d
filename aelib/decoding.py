"""Photographs on disk to squares of RGB bytes: finding files, then crop, orientation, colour and resize of each."""

import io
import math
import os
import stat
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError
from tqdm.auto import tqdm

from aelib._averages import average_areas
from aelib.files import BAD_ARCHIVE

VERSION = "1"
"""Part of every cache key: raise it when the same file would decode to other pixels."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
"""Endings (in lower case) of the files that are taken for images."""

Crop: TypeAlias = Literal["square"] | int | tuple[int, int, int, int]
"""``"square"``: the largest centred square; ``side``: a centred square of that side; or a square box
``(left, top, right, bottom)``. All in pixels of the upright image."""

_FORMATS = ("JPEG", "PNG", "WEBP")
_EXIF_ORIENTATION = 0x0112
_LARGEST_FILE = 2**28  # bytes; a single image beyond it is damage or an attack
_MOST_PASSES = 20  # over an image at Pillow's limit; a progressive JPEG of a camera has about ten scans
# What Pillow and its codecs are known to raise on damaged input; anything else is a defect and must show.
_DAMAGE = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, MemoryError,
    struct.error, zlib.error,
)  # fmt: skip


class UnreadableImageError(ValueError):
    """An image file that cannot be decoded, or that the crop does not fit; the message says why."""


class Orientation(NamedTuple):
    """How the stored pixels are turned: mirror x, then y, then swap the axes to get the upright image."""

    swapped: bool
    mirrored_x: bool
    mirrored_y: bool


class Box(NamedTuple):
    """A rectangle in pixels; edges may be fractions."""

    left: float
    top: float
    right: float
    bottom: float


_ORIENTATIONS = {
    1: Orientation(swapped=False, mirrored_x=False, mirrored_y=False),
    2: Orientation(swapped=False, mirrored_x=True, mirrored_y=False),
    3: Orientation(swapped=False, mirrored_x=True, mirrored_y=True),
    4: Orientation(swapped=False, mirrored_x=False, mirrored_y=True),
    5: Orientation(swapped=True, mirrored_x=False, mirrored_y=False),
    6: Orientation(swapped=True, mirrored_x=False, mirrored_y=True),
    7: Orientation(swapped=True, mirrored_x=True, mirrored_y=True),
    8: Orientation(swapped=True, mirrored_x=True, mirrored_y=False),
}


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """The image files of a folder or a zip archive, sorted by name.

    Parameters
    ----------
    names : tuple of str
        Paths inside the folder or archive, with ``/`` between the parts.
    stamps : tuple of str
        For each file a text that changes when its content does, found without reading it: the size, with the time of
        modification (folder) or the CRC (zip).
    opened : callable
        ``with files.opened() as read``: ``read(k)`` gives the bytes of file k, in any thread, and raises
        `UnreadableImageError` if it cannot.
    """

    names: tuple[str, ...]
    stamps: tuple[str, ...]
    opened: Callable[[], AbstractContextManager[Callable[[int], bytes]]]


def list_image_files(path: str | os.PathLike[str]) -> ImageFiles:
    """List the image files of a folder, its inner folders included, or of a zip archive.

    Hidden files (and the ``__MACOSX`` of a Mac's zip) are left out. An inner folder that may not be opened counts as a
    file that cannot be read, so that it is reported. Links are followed to files, not to folders. The order is that
    of the names' code points, the same on every platform.

    Parameters
    ----------
    path : path-like
        The folder or the zip archive.

    Returns
    -------
    ImageFiles
        At least one file.

    Raises
    ------
    FileNotFoundError
        If there is no such path.
    ValueError
        If it is neither a folder nor a zip archive, is a damaged one, or holds no image files.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("b.PNG", "a.jpg", "notes.txt"):
    ...     _ = (folder / name).write_bytes(b"")
    >>> list_image_files(folder).names
    ('a.jpg', 'b.PNG')
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; expected a folder or a zip file with images.")
    if path.is_dir():
        files = _list_folder(path)
    elif path.is_file() and _ends_as_zip(path):  # not a pipe, which would wait for a writer
        files = _list_zip(path)
    else:
        raise ValueError(f"{path} is neither a folder nor a zip file (or the zip file is damaged).")
    if not files.names:
        raise ValueError(f"{path} has no images: no file ends in {', '.join(SUFFIXES)}.")
    return files


def decode_square(data: bytes, *, size: int, crop: Crop = "square") -> UInt8[np.ndarray, "size size 3"]:
    """Decode a JPEG, PNG or WebP file to an upright RGB square.

    The image is turned as its EXIF orientation says, cropped, converted to RGB and resized. Grey, palette, 16-bit
    and CMYK images become RGB (embedded colour profiles are not applied); transparent ones are laid on white. Of
    an animation the first frame counts. Reducing averages over areas, with the exact share of every pixel;
    enlarging is bicubic. Big JPEGs are decoded at 1/2, 1/4 or 1/8 as long as at least twice `size` is left.

    Images that several threads decode at the same time have together no more pixels than Pillow's limit for one, at
    about 26 bytes of memory each: 2.4 GB at most.

    Parameters
    ----------
    data : bytes
        The whole file.
    size : int
        Side of the result in pixels.
    crop : Crop
        Which part of the upright image to keep; see `Crop`.

    Returns
    -------
    UInt8[np.ndarray, "size size 3"]
        Red, green and blue, 0 to 255.

    Raises
    ------
    UnreadableImageError
        If the file is damaged, of another format, over Pillow's limit for decompression bombs
        (``PIL.Image.MAX_IMAGE_PIXELS``), a JPEG of so many scans that it would take minutes, or smaller than the crop.

    Examples
    --------
    >>> file = io.BytesIO()
    >>> Image.new("L", (300, 200), 128).save(file, "JPEG")
    >>> decode_square(file.getvalue(), size=32)[0, 0]
    array([128, 128, 128], dtype=uint8)
    """
    with readable(data) as image:
        return _square(image, size, crop)


@contextmanager
def readable(data: bytes) -> Iterator[Image.Image]:
    """Open a JPEG, PNG or WebP file whatever it may be, for a block that decodes it.

    Parameters
    ----------
    data : bytes
        The whole file.

    Yields
    ------
    PIL.Image.Image
        The image, not yet decoded, in any mode.

    Raises
    ------
    UnreadableImageError
        If the file cannot be opened, or the block fails to decode it; see `decode_square`.
    """
    if not data:
        raise UnreadableImageError("the file is empty")
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            _check_pixels(image, data)
            yield image
    except UnreadableImageError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImageError("not a JPEG, PNG or WebP image") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImageError(
            f"too many pixels for Pillow's limit of {Image.MAX_IMAGE_PIXELS}"
        ) from error
    except _DAMAGE as error:
        raise UnreadableImageError(str(error) or type(error).__name__) from error


def check_crop(crop: Crop) -> None:
    """Refuse a crop that fits no image at all.

    Parameters
    ----------
    crop : Crop
        See `Crop`.

    Raises
    ------
    ValueError
        If `crop` is not "square", a positive side, or a square box with corners in order.

    Examples
    --------
    >>> check_crop((0, 20, 178, 198))
    """
    if crop == "square":
        return
    if isinstance(crop, int) and not isinstance(crop, bool) and crop >= 1:
        return
    if isinstance(crop, tuple) and len(crop) == 4 and all(isinstance(edge, int) for edge in crop):
        left, top, right, bottom = crop
        if 0 <= left < right and 0 <= top < bottom and right - left == bottom - top:
            return
    raise ValueError(
        f'crop is {crop!r}; expected "square", a side of at least 1 pixel, or a tuple of four integers (left, '
        "top, right, bottom) that is a square with 0 <= left < right and 0 <= top < bottom."
    )


def resize_square(image: Image.Image, box: Box, *, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Resize a square part of an RGB image: area averages to reduce, bicubic to enlarge.

    Parameters
    ----------
    image : PIL.Image.Image
        An image in mode RGB.
    box : Box
        The part to keep, inside the image.
    size : int
        Side of the result in pixels.

    Returns
    -------
    UInt8[np.ndarray, "size size 3"]
        The resized part.
    """
    side = box.right - box.left
    if side < size:
        return np.array(image.resize((size, size), Image.Resampling.BICUBIC, box=box))
    return average_areas(np.asarray(image), *box, size)


def _is_image(name: str) -> bool:
    parts = [part for part in name.split("/") if part not in (".", "..")]  # of a zip: names, not paths
    hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
    return name.lower().endswith(SUFFIXES) and not hidden


def _list_folder(folder: Path) -> ImageFiles:
    listed: list[str] = []
    closed: list[OSError] = []
    for place, _, found in os.walk(folder, onerror=closed.append):
        inner = "" if Path(place) == folder else os.path.relpath(place, folder).replace(os.sep, "/") + "/"
        listed += [inner + name for name in found if _is_image(inner + name)]
    listed += [os.path.relpath(error.filename, folder).replace(os.sep, "/") + "/" for error in closed]
    names = tuple(sorted(listed))
    bar = tqdm(names, desc="listing files", unit="file", delay=2, leave=False)
    stamps = tuple(_stamp(folder / name) for name in bar)

    def read(k: int) -> bytes:
        try:
            return _read_file(folder / names[k])
        finally:
            _check_unchanged(folder / names[k], stamps[k])

    @contextmanager
    def opened() -> Iterator[Callable[[int], bytes]]:
        yield read

    return ImageFiles(names=names, stamps=stamps, opened=opened)


def _check_unchanged(path: Path, stamp: str) -> None:
    """Refuse what was read of a file that is gone, or another one, since it was listed.

    A cache is named by the stamps: it must not hold other pixels, nor miss a file because a disk was away for a moment.
    """
    if _stamp(path) != stamp:
        raise _changed(path)


def _changed(path: Path) -> OSError:
    return OSError(f"{path} was changed, moved or removed while it was being read: try again.")


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except FileNotFoundError:
        if path.is_symlink():  # a broken link: it is found unreadable when its turn comes
            return "missing"
        raise _changed(path) from None  # it was there when its folder was listed
    except OSError:  # as with a broken link
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


def _read_file(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            raise UnreadableImageError("it is no regular file")  # a pipe would wait for a writer
        with path.open("rb") as file:
            return _limited(file.read(_LARGEST_FILE + 1))
    except OSError as error:
        raise UnreadableImageError(error.strerror or str(error)) from error


def _ends_as_zip(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except BAD_ARCHIVE:  # it is one, and damaged: opening it tells how
        return True


def _list_zip(path: Path) -> ImageFiles:
    with open_zip(path) as archive:
        members = [member for member in archive.infolist() if _is_image(member.filename)]
    members.sort(key=lambda member: member.filename)
    stamp = _stamp(path)

    @contextmanager
    def opened() -> Iterator[Callable[[int], bytes]]:
        with open_zip(path) as archive:

            def read(k: int) -> bytes:
                try:
                    return read_member(archive, members[k])
                except UnreadableImageError:
                    _check_unchanged(path, stamp)
                    raise

            yield read

    return ImageFiles(
        names=tuple(member.filename for member in members),
        stamps=tuple(f"{member.file_size} {member.CRC:08x}" for member in members),
        opened=opened,
    )


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive that may be damaged.

    Parameters
    ----------
    path : pathlib.Path
        The archive.

    Yields
    ------
    zipfile.ZipFile
        The archive, open for reading.

    Raises
    ------
    ValueError
        If its list of members cannot be read.
    FileNotFoundError
        If it is gone.
    """
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise
    except BAD_ARCHIVE as error:
        raise ValueError(f"{path} is a damaged zip file ({error}); pack it again.") from error
    with archive:
        yield archive


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Read a member of a zip archive, whatever it may be.

    Parameters
    ----------
    archive : zipfile.ZipFile
        The archive.
    member : zipfile.ZipInfo
        The member.

    Returns
    -------
    bytes
        Its content, no more than 256 MiB.

    Raises
    ------
    UnreadableImageError
        If it is too large, damaged, encrypted, or packed by a method that is not known or takes memory at will (LZMA).
    """
    if member.file_size > _LARGEST_FILE:
        raise UnreadableImageError(f"the file has more than {_LARGEST_FILE >> 20} MiB")
    if member.compress_type == zipfile.ZIP_LZMA:
        raise UnreadableImageError("it is packed by LZMA; pack it in the usual way")
    try:
        with archive.open(member) as file:
            return _limited(file.read(_LARGEST_FILE + 1))
    except BAD_ARCHIVE as error:
        raise UnreadableImageError(str(error) or type(error).__name__) from error


def _limited(data: bytes) -> bytes:
    if len(data) > _LARGEST_FILE:
        raise UnreadableImageError(f"the file has more than {_LARGEST_FILE >> 20} MiB")
    return data


class _Budget:
    """How many pixels may be decoded at the same time, so that many cores do not take memory at will."""

    def __init__(self) -> None:
        self._taken, self._changed = 0, threading.Condition()

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Wait until there is room for so many pixels; hold it for a while."""
        with self._changed:
            self._changed.wait_for(lambda: self._taken == 0 or self._taken + pixels <= _pixel_limit())
            self._taken += pixels
        try:
            yield
        finally:
            with self._changed:
                self._taken -= pixels
                self._changed.notify_all()


_BUDGET = _Budget()


def _pixel_limit() -> float:
    return math.inf if Image.MAX_IMAGE_PIXELS is None else Image.MAX_IMAGE_PIXELS


def _check_pixels(image: Image.Image, data: bytes) -> None:
    """Refuse what takes gigabytes or minutes to decode."""
    width, height = image.size
    if width * height > _pixel_limit():
        raise UnreadableImageError(
            f"{width} x {height} pixels, over Pillow's limit of {Image.MAX_IMAGE_PIXELS}"
        )
    # Each scan of a progressive JPEG goes over all pixels again, and may take few bytes. Its marker stands in a JPEG's
    # pixels nowhere else. (Of a JPEG with several pictures Pillow says that its format is MPO.)
    scans = data.count(b"\xff\xda") if data.startswith(b"\xff\xd8") else 1
    if scans * width * height > _MOST_PASSES * _pixel_limit():
        raise UnreadableImageError(f"{width} x {height} pixels in {scans} scans would take minutes to decode")


def _square(image: Image.Image, size: int, crop: Crop) -> UInt8[np.ndarray, "size size 3"]:
    stored = image.size
    turned = _orientation(image)
    upright = stored[::-1] if turned.swapped else stored
    box = _as_stored(_crop_box(crop, upright), turned, stored)
    shrink = _draft(image, side=box.right - box.left, size=size)
    box = Box(*(edge / shrink for edge in box))
    corner = (math.floor(box.left), math.floor(box.top), math.ceil(box.right), math.ceil(box.bottom))
    inner = Box(box.left - corner[0], box.top - corner[1], box.right - corner[0], box.bottom - corner[1])
    with _BUDGET.taken(math.prod(image.size)):
        part = _to_rgb(image.crop(corner))
        return _as_upright(resize_square(part, inner, size=size), turned)


def _orientation(image: Image.Image) -> Orientation:
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except _DAMAGE:  # a damaged EXIF block says nothing about the orientation; the pixels may be fine
        value = 1
    return _ORIENTATIONS.get(value, _ORIENTATIONS[1])


def _crop_box(crop: Crop, upright: tuple[int, int]) -> Box:
    """Return the crop in pixels of the upright image of that (width, height)."""
    width, height = upright
    if isinstance(crop, tuple):
        box = Box(*map(float, crop))
    else:
        side = min(upright) if crop == "square" else crop
        left, top = (width - side) // 2, (height - side) // 2
        box = Box(*map(float, (left, top, left + side, top + side)))
    if box.left < 0 or box.top < 0 or box.right > width or box.bottom > height:
        raise UnreadableImageError(f"crop {crop} does not fit into {width} x {height} pixels")
    return box


def _as_stored(box: Box, turned: Orientation, stored: tuple[int, int]) -> Box:
    """Carry a box from the upright image to the pixels as stored."""
    left, top, right, bottom = box
    if turned.swapped:
        left, top, right, bottom = top, left, bottom, right
    if turned.mirrored_x:
        left, right = stored[0] - right, stored[0] - left
    if turned.mirrored_y:
        top, bottom = stored[1] - bottom, stored[1] - top
    return Box(left, top, right, bottom)


def _as_upright(
    pixels: UInt8[np.ndarray, "size size 3"], turned: Orientation
) -> UInt8[np.ndarray, "size size 3"]:
    if turned.mirrored_x:
        pixels = pixels[:, ::-1]
    if turned.mirrored_y:
        pixels = pixels[::-1]
    return pixels.swapaxes(0, 1) if turned.swapped else pixels


def _draft(image: Image.Image, *, side: float, size: int) -> float:
    """Let the JPEG decoder shrink the image, to no less than twice the result; return the factor."""
    wanted = int(side // (2 * size))
    if wanted < 2:
        return 1.0
    width, height = image.size
    drafted = image.draft(None, (width // wanted, height // wanted))
    return 1.0 if drafted is None else width / drafted[1][2]


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return _from_16_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey to 8 bits; Pillow's own conversion would clip at 255."""
    grey = np.asarray(image).astype(np.int64).clip(0, 65535)
    return Image.fromarray(((grey * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
