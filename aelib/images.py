"""Image sources: rendered faces, CelebA, folders of photographs; decoded once into a cache, served as arrays.

A source is opened with `open_images`. Its images are decoded (or rendered) once into the memory-mapped file of bytes
that `aelib.cache` keeps, `Images` is a view of rows of that file, and indexing the view gives float32 arrays in [0, 1].
"""

import contextlib
import csv
import functools
import hashlib
import http.client
import io
import itertools
import logging
import math
import operator
import os
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from jaxtyping import Float, Float32, Int8, Int64, UInt8
from PIL import Image

from aelib import decoding
from aelib.cache import Candidates, MakeBlock, Skipped, open_cache, summary
from aelib.decoding import Crop, ImageFiles, UnreadableImageError, list_image_files, open_zip, read_member

DEFAULT_FACES = 20_000
"""How many faces ``open_images("faces")`` renders when no number is given."""

SMALLEST_SIZE = 32
"""The smallest side of an image, in pixels."""

STRIDE_PRODUCT = 16
"""The product of the strides of a network with four layers of stride 2."""

_OLIVETTI = "olivetti_py3.pkz"  # in scikit-learn's data home
_OLIVETTI_SHAPE = (400, 64, 64)  # ten images of each person

_SCHEMES = ("faces", "celeba:PATH", "photos:PATH", "lfw", "olivetti")

_log = logging.getLogger("aelib")

Index: TypeAlias = int | np.integer | slice | Sequence[int] | Sequence[bool] | np.ndarray


class Splits(NamedTuple):
    """Disjoint views of the same images: for fitting, for choosing, for the final figure."""

    train: "Images"
    validation: "Images"
    test: "Images"


@dataclass(frozen=True, eq=False, repr=False)
class Images:
    """A view of n images of one source.

    ``len(images)`` is n. ``images[5]`` is a float32 array (h, w, 3) in [0, 1]; ``images[a:b]``, ``images[[3, 1, 3]]``
    and ``images[mask]`` are float32 arrays (m, h, w, 3). Make one with `open_images` or `Images.from_array`.

    Parameters
    ----------
    pixels : UInt8[np.ndarray, "n_cached h w 3"]
        All pixels of the source, usually memory-mapped and always read-only; shared by all views.
    indices : Int64[np.ndarray, "n"]
        The rows of `pixels` that this view holds, in its order.
    source : str
        What the images were opened from.
    seed : int
        The seed of the faces, or of the choice of n files.
    names : tuple of str or None
        The name of each image, by its path inside the source.
    table : pandas.DataFrame or None
        A row of factors or attributes for each image.
    partition : Int8[np.ndarray, "n"] or None
        The source's own split: 0 for training, 1 for validation, 2 for test.
    skipped : tuple of Skipped
        The files of the source (not of this view) that were tried and could not be read.
    provenance : dict
        What `description` says about the source.
    is_mirrored : bool
        Whether left and right are exchanged in every image.

    Examples
    --------
    >>> images = Images.from_array(np.full((10, 32, 32, 3), 255, np.uint8))
    >>> images[2:4].shape, float(images[0].max())
    ((2, 32, 32, 3), 1.0)
    """

    pixels: UInt8[np.ndarray, "n_cached h w 3"]
    indices: Int64[np.ndarray, " n"]
    source: str
    seed: int = 0
    names: tuple[str, ...] | None = None
    table: pd.DataFrame | None = None
    partition: Int8[np.ndarray, " n"] | None = None
    skipped: tuple[Skipped, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    is_mirrored: bool = False

    @classmethod
    def from_array(
        cls,
        array: UInt8[np.ndarray, "n h w 3"] | Float[np.ndarray, "n h w 3"],
        *,
        names: Sequence[str] | None = None,
        table: pd.DataFrame | None = None,
    ) -> "Images":
        """Take images from an array.

        Parameters
        ----------
        array : UInt8[np.ndarray, "n size size 3"] or Float[np.ndarray, "n size size 3"]
            Bytes, which are not copied, or floats in [0, 1], which are rounded to bytes. No smallest size is asked.
        names : sequence of str, optional
            One name per image.
        table : pandas.DataFrame, optional
            One row per image.

        Returns
        -------
        Images
            A view of all n images.

        Raises
        ------
        TypeError
            If the array holds neither uint8 nor floats.
        ValueError
            If its shape is not (n, size, size, 3), a float is outside [0, 1] or not a number, or `names` or `table`
            is not of length n.

        Examples
        --------
        >>> Images.from_array(np.zeros((3, 48, 48, 3)))
        Images('array', n=3, size=48)
        """
        pixels = _as_bytes(np.asarray(array))
        for what, given in (("names", names), ("table", table)):
            if given is not None and len(given) != len(pixels):
                raise ValueError(f"{what} has {len(given)} rows for {len(pixels)} images; give one for each.")
        key = hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()
        return cls(
            pixels=pixels,
            indices=np.arange(len(pixels)),
            source="array",
            names=None if names is None else tuple(names),
            table=table,
            provenance={"source": "array", "size": pixels.shape[1], "key": key},
        )

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        return f"Images({self.source!r}, n={len(self)}, size={self.size})"

    def __iter__(self) -> Iterator[Float32[np.ndarray, "h w 3"]]:
        return (self[position] for position in range(len(self)))

    def __getitem__(self, key: Index) -> Float32[np.ndarray, "*m h w 3"]:
        return np.divide(self.bytes(key), np.float32(255))

    @property
    def size(self) -> int:
        """The side of the images in pixels."""
        return int(self.pixels.shape[1])

    def bytes(self, key: Index) -> UInt8[np.ndarray, "*m h w 3"]:
        """Return images as bytes, a copy.

        Parameters
        ----------
        key : int, slice, sequence of int, or bool mask
            Positions in this view, as in ``images[key]``.

        Returns
        -------
        UInt8[np.ndarray, "m h w 3"] or UInt8[np.ndarray, "h w 3"]
            Values 0 to 255.

        Raises
        ------
        IndexError
            If a position lies outside the view, a mask is of another length, or the key is none of these.
        """
        taken = np.asarray(self.pixels).take(self.indices[self._positions(key)], axis=0)
        return np.ascontiguousarray(taken[..., ::-1, :]) if self.is_mirrored else taken

    def subset(self, key: Index) -> "Images":
        """Return a view of some of the images, with their names and their rows of the table.

        Parameters
        ----------
        key : int, slice, sequence of int, or bool mask
            Positions in this view, as in ``images[key]``.

        Returns
        -------
        Images
            The chosen images in the chosen order.

        Raises
        ------
        IndexError
            As for `bytes`.

        Examples
        --------
        >>> Images.from_array(np.zeros((8, 32, 32, 3), np.uint8)).subset(slice(0, None, 3))
        Images('array', n=3, size=32)
        """
        chosen = np.atleast_1d(np.arange(len(self))[self._positions(key)])
        return replace(
            self,
            indices=self.indices[chosen],
            names=None if self.names is None else tuple(self.names[i] for i in chosen),
            table=None if self.table is None else self.table.iloc[chosen],
            partition=None if self.partition is None else self.partition[chosen],
        )

    def mirrored(self) -> "Images":
        """Return a view of the same images with left and right exchanged.

        Faces are as likely to be seen one way as the other, so the mirrored images are as many more examples of them.

        Returns
        -------
        Images
            The mirrored images in the same order, without the table: factors such as the pose are no longer theirs.

        Examples
        --------
        >>> images = Images.from_array(np.arange(4 * 4 * 3, dtype=np.uint8).reshape(1, 4, 4, 3))
        >>> bool((images.mirrored()[0] == images[0][:, ::-1]).all())
        True
        """
        return replace(self, table=None, is_mirrored=not self.is_mirrored)

    def split(self, *, validation: float = 0.06, test: float = 0.06, seed: int = 0) -> Splits:
        """Split the view at random; the same seed gives the same split.

        Parameters
        ----------
        validation, test : float
            Shares of the images, in [0, 1), or, from 1 on, numbers of images; the rest is for training. 0 gives an
            empty view.
        seed : int
            Seed of the shuffle.

        Returns
        -------
        Splits
            Three disjoint views that together hold every image, each in the order of this view. The description of
            each says how it was split off.

        Raises
        ------
        ValueError
            If a share is negative, is neither below 1 nor a whole number, is less than one image, or if nothing is
            left for training.

        Examples
        --------
        >>> images = Images.from_array(np.zeros((50, 32, 32, 3), np.uint8))
        >>> [len(part) for part in images.split(validation=0.1, test=10)]
        [35, 5, 10]
        """
        n_validation, n_test = self._count("validation", validation), self._count("test", test)
        if n_validation + n_test >= len(self):
            raise ValueError(
                f"validation={validation} and test={test} of {len(self)} images leave none for training; "
                "take smaller shares, or more images."
            )
        order = np.random.default_rng(seed).permutation(len(self))
        held_out, tested, rest = np.split(order, [n_validation, n_validation + n_test])
        settings = {"validation": validation, "test": test, "seed": seed, "n": len(self)}

        def part(name: str, rows: Int64[np.ndarray, " m"]) -> "Images":
            view = self.subset(np.sort(rows))
            return replace(view, provenance={**view.provenance, "split": {**settings, "part": name}})

        return Splits(part("train", rest), part("validation", held_out), part("test", tested))

    def official_split(self) -> Splits:
        """Split the view as the source itself does (CelebA's list_eval_partition.txt).

        Returns
        -------
        Splits
            Three disjoint views; one is empty if this view holds none of its images.

        Raises
        ------
        ValueError
            If the source has no partition of its own.
        """
        if self.partition is None:
            raise ValueError(
                f"{self.source} has no partition of its own: only CelebA with list_eval_partition.txt inside, beside "
                "or above the images has one. Use split() for a random one."
            )
        return Splits(*(self.subset(self.partition == part) for part in range(3)))

    def description(self) -> dict[str, Any]:
        """Describe the images so that a result can say what it was made from.

        Returns
        -------
        dict
            JSON-able: the kind of source (never its path), seed, size, settings, version and content key, with n and
            a hash of the rows of this view.

        Examples
        --------
        >>> Images.from_array(np.zeros((3, 48, 48, 3))).description()["n"]
        3
        """
        view = hashlib.sha256(self.indices.astype("<i8").tobytes()).hexdigest()[:16]
        mirrored = {"mirrored": True} if self.is_mirrored else {}
        return {**self.provenance, "seed": self.seed, "n": len(self), "view": view, **mirrored}

    def _positions(self, key: Index) -> int | slice | Int64[np.ndarray, " m"]:
        """Check a key and return it in a form that indexes arrays of length n."""
        if isinstance(key, slice):
            return key
        array = np.asarray(key)
        if array.dtype == bool and array.shape == (len(self),):
            return np.flatnonzero(array)
        if array.shape == (0,):
            return np.zeros(0, np.int64)
        if isinstance(key, tuple) or array.ndim > 1 or not np.issubdtype(array.dtype, np.integer):
            raise IndexError(
                f"images are indexed by an integer, a slice, a list of integers or a mask of {len(self)} booleans; "
                f"this is {array.dtype} of shape {array.shape}."
            )
        outside = array[(array < -len(self)) | (array >= len(self))]
        if outside.size:
            raise IndexError(f"image {outside.flat[0]} asked of {len(self)}; the last is {len(self) - 1}.")
        return array.astype(np.int64) if array.ndim else int(array)

    def _count(self, name: str, share: float) -> int:
        """Turn a share, or a number, of the images into their number."""
        if not share >= 0 or (share >= 1 and share != int(share)):
            raise ValueError(
                f"{name} is {share}; expected a share of the images in [0, 1), or a number of them."
            )
        count = int(share) if share >= 1 else round(share * len(self))
        if share > 0 and count == 0:
            raise ValueError(
                f"{name}={share} of {len(self)} images is less than one; take a larger share, more images, or 0."
            )
        return count


def open_images(
    source: str,
    *,
    n: int | None = None,
    seed: int = 0,
    size: int = 96,
    crop: Crop = "square",
    on_unreadable: Literal["skip", "error"] = "skip",
    stride_product: int = STRIDE_PRODUCT,
    cache: str | os.PathLike[str] | None = None,
) -> Images:
    """Open a source of images, decoding or rendering it into the cache the first time.

    ``"faces"``
        Faces rendered by `aelib.faces`: images 0 to n - 1 of the seed, with their factors as table.
    ``"celeba:PATH"``
        CelebA's aligned images: the folder or zip ``img_align_celeba``, or the folder that holds it.
        ``list_eval_partition.txt`` and ``list_attr_celeba.txt`` are found inside, beside or above it (also in the
        folders ``Eval`` and ``Anno`` and as .csv); attributes become a boolean table. The default crop is the usual
        one, 178 x 178 of 178 x 218 pixels: ``(0, 20, 178, 198)``.
    ``"photos:PATH"``
        All JPEG, PNG and WebP files of a folder (and its folders) or of a zip, of any size and mode; see
        `aelib.decoding.decode_square`. Hidden files are left out.
    ``"lfw"``, ``"olivetti"``
        Labeled Faces in the Wild and the Olivetti faces, downloaded by scikit-learn into its data home, or into PATH
        for ``"lfw:PATH"``, ``"olivetti:PATH"``; the table has the person.

    Images are in the order of their names. With `n` below the number there is, `seed` chooses which; files that cannot
    be read are replaced by others while there are any.

    Parameters
    ----------
    source : str
        One of the above.
    n : int, optional
        How many images; all there are by default (20 000 faces).
    seed : int
        The seed of the faces, or of the choice of n files.
    size : int
        Side of the images in pixels: at least 32 and a multiple of `stride_product`.
    crop : Crop
        Which part of each file to keep: the largest centred square (``"square"``), a centred square of a given side,
        or a square box (left, top, right, bottom). Not for faces.
    on_unreadable : {"skip", "error"}
        Whether a file that cannot be read is left out (and listed in `Images.skipped`, and counted in one line of
        the log "aelib") or is an error.
    stride_product : int
        The product of the strides of the network that the images are for, which must divide `size`.
    cache : path-like, optional
        The cache folder; by default ``$AELIB_CACHE``, or else the user's cache folder.

    Returns
    -------
    Images
        A view of all images opened.

    Raises
    ------
    ValueError
        For an unknown source, a source without (readable) images or with too few, or a setting out of range.
    FileNotFoundError
        If the path of the source does not exist.
    OSError
        If a download fails, or the cache cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> photos, cache = tempfile.mkdtemp(), tempfile.mkdtemp()
    >>> for name in ("a.png", "b.png"):
    ...     Image.new("RGB", (300, 200), "teal").save(Path(photos, name))
    >>> images = open_images(f"photos:{photos}", size=64, cache=cache)
    >>> images[:].shape, images.names
    ((2, 64, 64, 3), ('a.png', 'b.png'))
    """
    n, seed, size = None if n is None else operator.index(n), operator.index(seed), operator.index(size)
    check_size(size, stride_product=stride_product)
    decoding.check_crop(crop)
    _check_choices(n, seed, on_unreadable)
    found = _find(source, n=n, seed=seed, size=size, crop=crop)
    candidates = found.candidates
    cached = open_cache(candidates, n=n, seed=seed, on_unreadable=on_unreadable, cache=cache)
    _check_readable(source, n, len(cached.rows), cached.skipped)
    chosen = cached.candidates
    return Images(
        pixels=cached.pixels,
        indices=cached.rows,
        source=source,
        seed=seed,
        names=None if candidates.names is None else tuple(candidates.names[c] for c in chosen),
        table=None if found.table is None else found.table.iloc[chosen],
        partition=None if found.partition is None else found.partition[chosen],
        skipped=cached.skipped,
        provenance={**candidates.settings, "source": candidates.scheme, "key": cached.key},
    )


def check_size(size: int, *, stride_product: int = STRIDE_PRODUCT) -> None:
    """Refuse an image size that the layers cannot halve down evenly.

    Parameters
    ----------
    size : int
        Side of the images in pixels.
    stride_product : int
        The product of the strides of the encoder's layers: 16 for four layers of stride 2.

    Raises
    ------
    ValueError
        If `size` is below 32 or not a multiple of `stride_product`.

    Examples
    --------
    >>> check_size(96)
    """
    if stride_product < 1:
        raise ValueError(
            f"stride_product is {stride_product}; expected the product of the strides, at least 1."
        )
    if size < SMALLEST_SIZE:
        raise ValueError(f"size is {size}; expected at least {SMALLEST_SIZE} pixels.")
    if size % stride_product:
        below = size - size % stride_product
        near = [f"{s}" for s in (below, below + stride_product) if s >= SMALLEST_SIZE]
        raise ValueError(
            f"size is {size}; expected a multiple of {stride_product}, the product of the strides, such as "
            f"{' or '.join(near)}: otherwise the decoder cannot return to the size the encoder started from."
        )


# Sources: each is turned into candidates (files, faces) for the cache, and what is known of each of them.


@dataclass(frozen=True, eq=False)
class _Found:
    """A source: all its candidates, in the order of their names, with a row of the table and a part for each."""

    candidates: Candidates
    table: pd.DataFrame | None = None
    partition: Int8[np.ndarray, " n"] | None = None


def _find(source: str, *, n: int | None, seed: int, size: int, crop: Crop) -> _Found:
    scheme, colon, place = source.partition(":")
    if scheme in ("celeba", "photos") and not place:
        raise ValueError(f'"{source}" names no folder or zip; write "{scheme}:PATH".')
    if scheme == "faces" and not colon:
        if crop != "square":
            raise ValueError(f"crop is {crop!r}, but faces are rendered whole; leave it out.")
        return _find_faces(n=DEFAULT_FACES if n is None else n, seed=seed, size=size)
    if scheme == "photos":
        return _from_files("photos", list_image_files(Path(place).expanduser()), size=size, crop=crop)
    if scheme == "celeba":
        return _find_celeba(Path(place).expanduser(), size=size, crop=crop)
    if scheme == "lfw":
        return _find_lfw(place or None, size=size, crop=crop)
    if scheme == "olivetti":
        return _find_olivetti(place or None, size=size, crop=crop)
    raise ValueError(
        f'unknown source "{source}"; expected one of {", ".join(_SCHEMES)} (your own images: "photos:PATH").'
    )


def _find_faces(*, n: int, seed: int, size: int) -> _Found:
    from aelib import faces  # compiled code, slow to import, that no other source needs

    def make_block(
        candidates: Int64[np.ndarray, " k"],
    ) -> tuple[UInt8[np.ndarray, "k h w 3"], dict[int, str]]:
        # The cache has a block in work on each core.
        rendered = faces.render(faces.sample_factors(candidates, seed=seed), size=size, n_threads=1)
        return np.rint(rendered * 255).astype(np.uint8), {}

    candidates = Candidates(
        scheme="faces",
        n_available=n,
        size=size,
        settings={"size": size, "seed": seed, "version": faces.VERSION},
        stamps=None,
        opened=lambda: contextlib.nullcontext(make_block),
    )
    return _Found(candidates, table=faces.sample_factors(np.arange(n), seed=seed))


def _from_files(
    scheme: str,
    files: ImageFiles,
    *,
    size: int,
    crop: Crop,
    table: pd.DataFrame | None = None,
    partition: Int8[np.ndarray, " n"] | None = None,
) -> _Found:
    @contextmanager
    def opened() -> Iterator[MakeBlock]:
        with files.opened() as read, warnings.catch_warnings():
            # Odd files make Pillow warn (of EXIF, of size); what matters becomes a reason to skip.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            yield lambda candidates: _decode_block(candidates, read, size=size, crop=crop)

    shown_crop = list(crop) if isinstance(crop, tuple) else crop
    candidates = Candidates(
        scheme=scheme,
        n_available=len(files.names),
        size=size,
        settings={"size": size, "crop": shown_crop, "version": decoding.VERSION},
        stamps=files.stamps,
        opened=opened,
        names=files.names,
    )
    return _Found(candidates, table=table, partition=partition)


def _decode_block(
    candidates: Int64[np.ndarray, " k"], read: Callable[[int], bytes], *, size: int, crop: Crop
) -> tuple[UInt8[np.ndarray, "k h w 3"], dict[int, str]]:
    pixels = np.zeros((len(candidates), size, size, 3), np.uint8)
    failed = {}
    for position, candidate in enumerate(candidates):
        try:
            pixels[position] = decoding.decode_square(read(int(candidate)), size=size, crop=crop)
        except UnreadableImageError as error:
            failed[position] = str(error)
    return pixels, failed


def _find_celeba(path: Path, *, size: int, crop: Crop) -> _Found:
    place = _celeba_place(path)
    files = list_image_files(place)
    names = tuple(name.rpartition("/")[2] for name in files.names)
    attributes = _celeba_text(place, "list_attr_celeba")
    partition = _celeba_text(place, "list_eval_partition")
    return _from_files(
        "celeba",
        replace(files, names=names),
        size=size,
        crop=crop,
        table=None if attributes is None else _parse_attributes(attributes, names),
        partition=None if partition is None else _parse_partition(partition, names),
    )


def _celeba_place(path: Path) -> Path:
    """Find the images below the folder that was named, which may be any level of the official layout."""
    for inner in ("img_align_celeba", "img_align_celeba.zip"):
        for place in (path / inner, path / "Img" / inner):
            if place.exists():
                return place
    return path


def _celeba_text(place: Path, stem: str) -> str | None:
    """Read one of CelebA's lists from inside the zip, or from inside, beside or above the images."""
    wanted = (f"{stem}.txt", f"{stem}.csv")
    if place.is_file():
        with open_zip(place) as archive:
            for member in archive.infolist():
                if member.filename.rpartition("/")[2] in wanted:
                    return _decoded(stem, functools.partial(read_member, archive, member))
    absolute = place.resolve()
    for level in (absolute, absolute.parent, absolute.parent.parent):
        for folder, name in itertools.product((level, level / "Anno", level / "Eval"), wanted):
            if (folder / name).is_file():
                return _decoded(stem, (folder / name).read_bytes)
    return None


def _decoded(stem: str, read: Callable[[], bytes]) -> str:
    try:
        return read().decode()
    except (UnreadableImageError, UnicodeDecodeError) as error:
        raise ValueError(f"{stem} cannot be read ({error}); get it again, or move it away.") from error


def _parse_partition(text: str, names: Sequence[str]) -> Int8[np.ndarray, " n"]:
    """Parse lines of ``000001.jpg 0`` (a comma will do, and a header is passed over)."""
    lines = (line.replace(",", " ").split() for line in text.splitlines())
    parts = {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1] in ("0", "1", "2")}
    _check_listed("list_eval_partition", parts, names)
    return np.array([parts[name] for name in names], np.int8)


def _parse_attributes(text: str, names: Sequence[str]) -> pd.DataFrame:
    """Parse a count (optional), a line of attribute names, and lines of ``000001.jpg -1 1 ...``."""
    lines = text.replace(",", " ").splitlines()
    if lines and len(lines[0].split()) == 1:
        lines = lines[1:]
    header = [name for name in (lines[0].split() if lines else []) if name != "image_id"]
    try:
        values = pd.read_csv(
            io.StringIO("\n".join(lines[1:]) + "\n"),
            sep=r"\s+",
            names=["image", *header],
            index_col="image",
            dtype={"image": str},
            quoting=csv.QUOTE_NONE,
        )
    except (ValueError, IndexError, KeyError) as error:  # KeyError: lines longer than the header
        raise ValueError(f"list_attr_celeba is damaged ({error}); get it again.") from error
    _check_listed("list_attr_celeba", values.index, names)
    values = values[~values.index.duplicated()].loc[list(names)]
    if not values.isin([-1, 1]).to_numpy().all():
        raise ValueError("list_attr_celeba has values other than -1 and 1; it is damaged, get it again.")
    return values == 1


def _check_listed(what: str, listed: Iterable[str], names: Sequence[str]) -> None:
    known = set(listed)
    missing = [name for name in names if name not in known]
    if missing:
        raise ValueError(
            f"{what} has no line for {len(missing)} of {len(names)} images, {missing[0]} the first; "
            "get the whole list, or move it away to do without."
        )


def _find_lfw(place: str | None, *, size: int, crop: Crop) -> _Found:
    """Find the files that scikit-learn's fetcher unpacks; the fetcher itself would hold all of them as floats."""
    from sklearn import datasets  # slow to import, and no other source needs it

    home = Path(datasets.get_data_home(place))
    folder = home / "lfw_home" / "lfw_funneled"
    if (home / "lfw_home" / "lfw-funneled.tgz").exists() and folder.exists():
        raise ValueError(f"{folder} was not unpacked to the end; delete it and try again.")
    if not folder.exists():
        if (home / "lfw_home" / "joblib").exists():  # pickles, which the fetcher would load
            raise ValueError(f"{home / 'lfw_home'} has results but no images; delete it and try again.")
        with _download("LFW", home):
            # The fetcher loads what it fetched; few people have 500 pictures.
            datasets.fetch_lfw_people(data_home=str(home), min_faces_per_person=500)
    files = list_image_files(folder)
    person = [name.partition("/")[0].replace("_", " ") for name in files.names]
    return _from_files("lfw", files, size=size, crop=crop, table=pd.DataFrame({"person": person}))


def _find_olivetti(place: str | None, *, size: int, crop: Crop) -> _Found:
    from sklearn import datasets  # slow to import, and no other source needs it

    home = Path(datasets.get_data_home(place))
    if (home / _OLIVETTI).exists():
        grey = _read_olivetti(home / _OLIVETTI)
        person = np.arange(len(grey)) // 10
    else:
        with _download("Olivetti", home):
            faces = datasets.fetch_olivetti_faces(data_home=str(home))
        grey, person = np.rint(faces.images * 255).astype(np.uint8), faces.target
    files = ImageFiles(
        names=tuple(f"{k:03d}" for k in range(len(grey))),
        stamps=tuple(hashlib.sha256(image.tobytes()).hexdigest() for image in grey),
        opened=lambda: contextlib.nullcontext(lambda candidate: _encode_png(grey[candidate])),
    )
    return _from_files("olivetti", files, size=size, crop=crop, table=pd.DataFrame({"person": person}))


def _read_olivetti(path: Path) -> UInt8[np.ndarray, "n h w"]:
    """Read the file that scikit-learn's fetcher left, without unpickling, which would run what a pickle says.

    It is a pickle of one array, packed by zlib; at its end are the array's bytes and the pickle's stop.
    """
    n_values = math.prod(_OLIVETTI_SHAPE)
    most = 8 * n_values + 4096
    with path.open("rb") as file:
        packed = file.read(most)
    unpacker = zlib.decompressobj()
    try:
        pickled = unpacker.decompress(packed, most)
        n_bytes = len(pickled) // n_values
        array = np.frombuffer(pickled[-1 - n_bytes * n_values : -1], {1: "u1", 4: "<f4", 8: "<f8"}[n_bytes])
        low, high = float(array.min()), float(array.max())
    except (zlib.error, KeyError, ValueError) as error:
        raise ValueError(_no_olivetti(path)) from error
    if not unpacker.eof or not -1e6 < low < high < 1e6:  # NaN is not either
        raise ValueError(_no_olivetti(path))
    share = (array.astype(np.float32) - np.float32(low)) / np.float32(high - low)  # as the fetcher scales it
    return np.rint(share * 255).astype(np.uint8).reshape(_OLIVETTI_SHAPE).transpose(0, 2, 1)


def _no_olivetti(path: Path) -> str:
    return f"{path} is damaged or not what scikit-learn's fetcher left; remove it, and the images are fetched again."


def _encode_png(grey: UInt8[np.ndarray, "h w"]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    return file.getvalue()


@contextmanager
def _download(what: str, home: Path) -> Iterator[None]:
    """Name the data home in the error of a fetcher that fails, and keep its prints and retry warnings off."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    except (OSError, http.client.HTTPException) as error:
        raise OSError(
            f"the {what} faces are not in data_home {home} and could not be downloaded there ({error}). Try again "
            "with a network connection, or name the folder of scikit-learn's data that holds them: "
            f'"{what.lower()}:PATH".'
        ) from error


def _check_choices(n: int | None, seed: int, on_unreadable: str) -> None:
    if n is not None and n < 1:
        raise ValueError(f"n is {n}; expected at least 1, or None for all images there are.")
    if seed < 0:
        raise ValueError(f"seed is {seed}; expected an integer of at least 0.")
    if on_unreadable not in ("skip", "error"):
        raise ValueError(f'on_unreadable is {on_unreadable!r}; expected "skip" or "error".')


def _check_readable(source: str, n: int | None, n_read: int, skipped: tuple[Skipped, ...]) -> None:
    if n_read == 0 or (n is not None and n_read < n):
        asked = "" if n is None else f" of the {n} asked for"
        raise ValueError(
            f"{source}: only {n_read} images{asked} could be read; {summary(skipped)}. Ask for fewer, or repair them."
        )
    if skipped:
        _log.warning("%s: %s; they were skipped, see .skipped", source, summary(skipped))


def _as_bytes(array: np.ndarray) -> UInt8[np.ndarray, "n h w 3"]:
    if array.ndim != 4 or array.shape[1] != array.shape[2] or array.shape[3] != 3 or 0 in array.shape:
        raise ValueError(
            f"the array has shape {array.shape}; expected (n, size, size, 3) with n of at least 1."
        )
    if np.issubdtype(array.dtype, np.floating):
        low, high = array.min(), array.max()
        if not (low >= 0 and high <= 1):
            raise ValueError(
                f"the array has values from {low} to {high}; expected floats in [0, 1] (divide bytes by 255, replace "
                "what is not a number)."
            )
        array = np.rint(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise TypeError(f"the array holds {array.dtype}; expected uint8, or floats in [0, 1].")
    view = array.view()
    view.flags.writeable = False
    return view
