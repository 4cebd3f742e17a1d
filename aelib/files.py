"""Files written whole or not at all (a temporary name in the same folder, then a rename), and read with suspicion."""

import errno
import glob
import json
import lzma
import os
import secrets
import shutil
import struct
import tokenize
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import yaml

BAD_ARCHIVE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, RuntimeError),
    *(ValueError, IndexError, OverflowError, MemoryError),
)
"""What `zipfile` is known to raise on damaged, encrypted or oddly packed archives."""

BAD_ARRAY = (
    *(ValueError, TypeError, AttributeError, KeyError, EOFError, OverflowError, MemoryError),
    *(SyntaxError, tokenize.TokenError, RecursionError),  # a header is a Python literal
)
"""What NumPy is known to raise on damaged `.npy` files."""

_MARK = ".part-"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_LARGEST_YAML = 2**20  # bytes; parameters are some lines

Record = TypeVar("Record")


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path that takes the place of `path` when the block ends well.

    The temporary path lies in the folder of `path` (which is made if need be), keeps its suffix, and does not
    exist yet: the block creates it, as a file or as a folder. If the block raises, it is removed and `path`
    stays what it was. A folder can only take the place of nothing or of an empty folder.

    Parameters
    ----------
    path : path-like
        The file or folder to write.

    Yields
    ------
    pathlib.Path
        Where the block writes.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "note.txt"
    >>> with replacing(target) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> target.read_text()
    'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}{_MARK}{secrets.token_hex(4)}{path.suffix}")
    try:
        with naming(path):
            yield temporary
            _flush(temporary)
        os.replace(temporary, path)
    except BaseException:
        _remove(temporary)
        raise


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Have the error of a full disk say where: Python names a file that it cannot open, but none that it cannot write.

    Parameters
    ----------
    path : path-like
        The file or folder that the block writes.

    Yields
    ------
    None
        Once.

    Raises
    ------
    OSError
        The block's own, with the path as its file name if it has none.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL or error.filename or os.fspath(path) in str(error):
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove the temporary files that killed writers of `path` left beside it.

    Call it only where no other process can be writing `path`, that is, under a lock.

    Parameters
    ----------
    path : path-like
        The file or folder that `replacing` was to write.
    """
    path = Path(path)
    for leftover in path.parent.glob(f".{glob.escape(path.stem)}{_MARK}????????{glob.escape(path.suffix)}"):
        _remove(leftover)


def remove_all_leftovers(folder: str | os.PathLike[str]) -> None:
    """Remove the temporary files that killed writers of any file left in a folder.

    Call it only where no other process can be writing to the folder, that is, under a lock.

    Parameters
    ----------
    folder : path-like
        The folder; what lies in its inner folders stays.
    """
    for leftover in Path(folder).glob(f".*{_MARK}????????*"):
        _remove(leftover)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file (UTF-8) whole or not at all.

    Parameters
    ----------
    path : path-like
        The file to write or replace.
    text : str
        Its content.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write a JSON file (sorted keys, two spaces, no NaN) whole or not at all.

    Parameters
    ----------
    path : path-like
        The file to write or replace.
    content : JSON-able
        Dicts, lists, strings, numbers, booleans and None.

    Raises
    ------
    ValueError
        If `content` holds NaN or an infinity, for which JSON has no word.
    TypeError
        If `content` holds something else that JSON cannot say.
    """
    write_text(path, json.dumps(content, allow_nan=False, sort_keys=True, indent=2) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Parameters
    ----------
    path : path-like
        The file to read.

    Returns
    -------
    dict, list, str, int, float, bool or None
        Its content.

    Raises
    ------
    ValueError
        If the file is damaged: not UTF-8, not JSON, with NaN or an infinity in it, or with an entry twice.
    FileNotFoundError
        If there is no such file.
    """
    try:
        return json.loads(
            Path(path).read_text(encoding="utf-8"),
            parse_constant=_refuse_constant,
            object_pairs_hook=_without_doubles,
        )
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is not valid JSON ({error}): it is damaged or was edited by hand. "
            "Restore it, or delete it and run again what wrote it."
        ) from error


def read_yaml(path: str | os.PathLike[str]) -> Any:
    """Read a YAML file of plain values.

    Parameters
    ----------
    path : path-like
        The file to read, of 1 MiB at most.

    Returns
    -------
    Any
        Its content: dicts, lists, strings, numbers, booleans, dates and None; None if it is empty.

    Raises
    ------
    ValueError
        If the file is too large or not YAML, names an entry twice, or has an alias (``*name``): some lines of them
        say gigabytes.
    OSError
        If it cannot be read.
    """
    with Path(path).open("rb") as file:
        content = file.read(_LARGEST_YAML + 1)
    if len(content) > _LARGEST_YAML:
        raise ValueError(f"{path} has more than {_LARGEST_YAML >> 20} MiB; expected some lines of YAML.")
    try:
        return yaml.load(content.decode(), _PlainLoader)
    except (
        *(yaml.YAMLError, ValueError, TypeError, AttributeError, KeyError, IndexError),
        *(OverflowError, RecursionError),
    ) as error:  # PyYAML checks little of what a tag such as !!int is given
        raise ValueError(f"{path} is not YAML that can be read: {error}") from error


class _PlainLoader(yaml.SafeLoader):
    """PyYAML's safe loader, without aliases, and without entries of which the last would win silently."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse an alias; compose anything else."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"*{self.peek_event().anchor} is an alias: write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Refuse a mapping that has an entry twice; construct any other."""
        content = super().construct_mapping(node, deep=deep)
        if len(content) < len(node.value):
            keys = [self.construct_object(key) for key, _ in node.value]
            raise yaml.YAMLError(f"{_doubled(keys)!r} is there twice: leave one of them")
        return content


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read the arrays of an `.npz` file as `numpy.savez` writes it: not packed, no pickled objects.

    What is read takes no more memory than the file has bytes.

    Parameters
    ----------
    path : path-like
        The file to read.

    Returns
    -------
    dict of str to np.ndarray
        The arrays by name.

    Raises
    ------
    ValueError
        If the file is damaged, or was not written by `numpy.savez`.
    FileNotFoundError
        If there is no such file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive)
            return {
                member.filename.removesuffix(".npy"): _read_array(archive, member)
                for member in archive.infolist()
            }
    except FileNotFoundError:
        raise
    except (*BAD_ARCHIVE, *BAD_ARRAY) as error:
        raise ValueError(f"{path} is damaged or was not written by numpy.savez ({error}).") from error


def check_members(archive: zipfile.ZipFile) -> None:
    """Refuse an archive whose members could take more memory than it has bytes.

    Parameters
    ----------
    archive : zipfile.ZipFile
        An archive that is to be read whole.

    Raises
    ------
    ValueError
        If a member is packed, or members overlap, so that together they are larger than the archive.
    """
    members = archive.infolist()
    if packed := [member.filename for member in members if member.compress_type != zipfile.ZIP_STORED]:
        raise ValueError(f"{packed[0]} is packed")
    end = archive.start_dir  # where the list of members begins
    if sum(member.file_size for member in members) > end:
        raise ValueError(f"its members say that they are larger than its {end} bytes")


def map_array(path: str | os.PathLike[str], shape: tuple[int, ...], dtype: type) -> np.memmap:
    """Map an `.npy` file into memory, read-only, if it is whole and holds what is expected.

    Parameters
    ----------
    path : path-like
        The file.
    shape : tuple of int
        The shape that its array must have.
    dtype : type
        The type that its values must have, such as `numpy.float32`.

    Returns
    -------
    np.memmap
        The array.

    Raises
    ------
    ValueError
        If the file is damaged, cut, or holds another array.
    OSError
        If it cannot be read.
    """
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except BAD_ARRAY as error:
        raise ValueError(f"{path} is no array that can be read ({error}).") from error
    whole = Path(path).stat().st_size == array.offset + array.nbytes
    if not whole or array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{path} is not a whole array of shape {shape} and type {np.dtype(dtype)}.")
    return array


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as stream:
        array = np.lib.format.read_array(stream, allow_pickle=False)
        if stream.read(1):  # at the end zipfile compares the checksum
            raise ValueError(f"{member.filename} has bytes beyond its array")
    return array


def as_record(cls: type[Record], content: Any) -> Record:
    """Make a record of what a JSON file says, if every entry has the type that the record's field names.

    Parameters
    ----------
    cls : type
        A dataclass or named tuple with fields of plain types, dicts of them, and unions.
    content : Any
        Expected is a dict with an entry for each field; those with a default may be missing.

    Returns
    -------
    instance of cls
        The record.

    Raises
    ------
    ValueError
        If it is no dict, an entry is missing or unknown, or of another type.

    Examples
    --------
    >>> from typing import NamedTuple
    >>> class Note(NamedTuple):
    ...     text: str
    ...     pages: int = 1
    >>> as_record(Note, {"text": "whole"})
    Note(text='whole', pages=1)
    """
    if not isinstance(content, dict):
        raise ValueError(f"expected an object with the entries of a {cls.__name__}, not {content!r:.60}")
    kinds = get_type_hints(cls)
    for name, value in content.items():
        if name in kinds and not _fits(value, kinds[name]):
            raise ValueError(f"{name} must be of type {_named(kinds[name])}, not {value!r:.60}")
    try:
        return cls(**content)
    except TypeError as error:  # it names what is missing or unknown
        raise ValueError(str(error)) from error


def _fits(value: Any, kind: Any) -> bool:
    origin = get_origin(kind) or kind
    if kind is Any:
        return True
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in get_args(kind))
    if isinstance(value, bool):
        return kind is bool
    if origin is dict:
        return isinstance(value, dict) and all(_fits(entry, get_args(kind)[1]) for entry in value.values())
    return isinstance(value, int | float if origin is float else origin)


def _named(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError(f"{_doubled([name for name, _ in pairs])!r} is there twice")
    return content


def _doubled(names: list[Any]) -> Any:
    return next(name for name, times in Counter(names).items() if times > 1)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _flush(path: Path) -> None:
    """Bring a file to the disk before its rename, so that a power cut cannot leave an empty one."""
    if path.is_file():
        with path.open("rb+") as file:
            os.fsync(file.fileno())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
