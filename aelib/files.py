"""Files written whole or not at all: a temporary name in the same folder, then a rename."""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_MARK = ".part-"


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
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
    except BaseException:
        _remove(temporary)
        raise


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove the temporary files that killed writers of `path` left beside it.

    Call it only where no other process can be writing `path`, that is, under a lock.

    Parameters
    ----------
    path : path-like
        The file or folder that `replacing` was to write.
    """
    path = Path(path)
    for leftover in path.parent.glob(f".{path.stem}{_MARK}????????{path.suffix}"):
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
        If the file is damaged: not UTF-8, not JSON, or with NaN or an infinity in it.
    FileNotFoundError
        If there is no such file.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is not valid JSON ({error}): it is damaged or was edited by hand. "
            "Restore it, or delete it and run again what wrote it."
        ) from error


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
