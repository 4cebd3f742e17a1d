"""The cache of images: candidates, and how to make their pixels, become memory-mapped pixels.

`open_cache` chooses among the `Candidates` of a source and has their pixels made on all cores into one memory-mapped
file of bytes: once, by one process, in blocks that survive an interruption.

The cache of a choice is a folder ``images/<scheme>-<key>`` below the cache folder, where the key is a hash of the
names and stamps of the candidates and of all settings that the pixels depend on. In it:

``pixels.npy``
    The finished pixels, uint8 (rows, size, size, 3). Its appearance, by renaming, finishes the cache.
``cache.json``
    Which row holds which candidate, and which candidates could not be read.
``pixels.partial``, ``done.partial``
    An unfinished build: the preallocated pixels, and one line for each finished block of rows.
``lock``
    Held by the one process that builds.

Any of these folders may be deleted when no process uses it.
"""

import contextlib
import errno
import hashlib
import io
import itertools
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import platformdirs
from filelock import FileLock, Timeout
from jaxtyping import Int64, UInt8
from tqdm.auto import tqdm

from aelib.files import map_array, naming, read_json, write_json, write_text
from aelib.threads import n_cores

_FORMAT = 1
_BLOCK_BYTES = 2**21

MakeBlock: TypeAlias = Callable[
    [Int64[np.ndarray, " k"]], tuple[UInt8[np.ndarray, "k h w 3"], dict[int, str]]
]
"""From the numbers of k candidates to their pixels, and to the positions (0 to k - 1) that failed with the reasons."""


class Skipped(NamedTuple):
    """A candidate that could not be read, and why."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Candidates:
    """What a cache may be made of: the images of a source, numbered, and how to make their pixels.

    Parameters
    ----------
    scheme : str
        The kind of source, the first part of the name of the cache's folder.
    n_available : int
        How many candidates there are.
    size : int
        Side of the images in pixels.
    settings : dict
        JSON-able: what the pixels depend on besides the candidates.
    stamps : sequence of str or None
        For each candidate a line that changes with its content; None if its number and `settings` determine it.
    opened : callable
        Gives a context manager that yields, while a build lasts, the function that makes blocks of pixels. That
        function is called by several threads at once.
    names : tuple of str or None
        The name of each candidate; its number by default.
    """

    scheme: str
    n_available: int
    size: int
    settings: dict[str, Any]
    stamps: Sequence[str] | None
    opened: Callable[[], AbstractContextManager[MakeBlock]]
    names: tuple[str, ...] | None = None

    def name(self, candidate: int) -> str:
        """Return the name of a candidate.

        Parameters
        ----------
        candidate : int
            Its number.

        Returns
        -------
        str
            Its name, or the number if candidates have no names.
        """
        return str(candidate) if self.names is None else self.names[candidate]


@dataclass(frozen=True, eq=False)
class Cached:
    """The finished cache of a choice of candidates.

    Parameters
    ----------
    key : str
        The hash that names the content of the cache.
    pixels : UInt8[np.ndarray, "n_rows size size 3"]
        The pixels, memory-mapped and read-only. A row without an image is black.
    rows : Int64[np.ndarray, "n"]
        The rows of `pixels` that hold an image, in the order of their candidates.
    candidates : Int64[np.ndarray, "n"]
        The number of the candidate in each of these rows.
    skipped : tuple of Skipped
        The candidates that were tried and could not be read.
    """

    key: str
    pixels: UInt8[np.ndarray, "n_rows size size 3"]
    rows: Int64[np.ndarray, " n"]
    candidates: Int64[np.ndarray, " n"]
    skipped: tuple[Skipped, ...]


def open_cache(
    candidates: Candidates,
    *,
    n: int | None = None,
    seed: int = 0,
    on_unreadable: Literal["skip", "error"] = "skip",
    cache: str | os.PathLike[str] | None = None,
) -> Cached:
    """Open the cache of some or all candidates; make it, or go on making it, if it is not whole.

    Candidates that cannot be read are replaced by others while there are any. If another process is making the same
    cache, wait for it.

    Parameters
    ----------
    candidates : Candidates
        What to choose from.
    n : int, optional
        How many to choose; all by default.
    seed : int
        Seed of the choice.
    on_unreadable : {"skip", "error"}
        Whether a candidate that cannot be read is left out or is an error.
    cache : path-like, optional
        The cache folder; by default ``$AELIB_CACHE``, or else the user's cache folder.

    Returns
    -------
    Cached
        With fewer than n rows if too few candidates could be read.

    Raises
    ------
    ValueError
        If n is below 1, if there are fewer than n candidates, or if some could not be read and that is to be an error.
    OSError
        If the cache cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> def make_block(numbers):
    ...     return np.full((len(numbers), 32, 32, 3), 128, np.uint8), {}
    >>> grey = Candidates(
    ...     scheme="grey", n_available=9, size=32, settings={"size": 32, "grey": 128}, stamps=None,
    ...     opened=lambda: contextlib.nullcontext(make_block),
    ... )
    >>> cached = open_cache(grey, n=4, cache=tempfile.mkdtemp())
    >>> cached.pixels.shape, cached.skipped
    ((4, 32, 32, 3), ())
    """
    recipe, strict = _choose(candidates, n=n, seed=seed), on_unreadable == "error"
    place = _Place(cache_folder(cache) / "images" / f"{candidates.scheme}-{recipe.key[:20]}")
    cached = _load(recipe, place)
    if cached is None:
        _make_folder(place)
        with _only_writer(recipe, place):
            cached = _load(recipe, place) or _build(recipe, place, strict=strict)
    if strict and cached.skipped:
        _refuse(cached.skipped)
    return cached


def summary(skipped: Sequence[Skipped]) -> str:
    """Say how many candidates could not be read, and why the first could not.

    Parameters
    ----------
    skipped : sequence of Skipped
        At least one.

    Returns
    -------
    str
        For a message.

    Examples
    --------
    >>> summary([Skipped("a.png", "the file is empty")])
    '1 files are unreadable, a.png (the file is empty) the first'
    """
    name, reason = map(_printable, skipped[0])
    return f"{len(skipped)} files are unreadable, {name} ({reason}) the first"


def _printable(text: str) -> str:
    """Escape what a terminal would take for orders, and bytes that are no text; letters of any script stay."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


# The choice of candidates, and the key that names it.


@dataclass(frozen=True, eq=False)
class _Recipe:
    """What a cache is to hold: the candidate of each of its rows, and reserves for those that cannot be read."""

    candidates: Candidates
    key: str
    rows: Int64[np.ndarray, " n"]
    reserves: Int64[np.ndarray, " m"]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self.rows), self.candidates.size, self.candidates.size, 3)

    @property
    def block_rows(self) -> int:
        return max(1, min(64, _BLOCK_BYTES // (3 * self.candidates.size**2)))

    def named(self, failed: dict[int, str]) -> tuple[Skipped, ...]:
        """Turn candidates that failed, with the reasons, into names, in the order of the candidates."""
        return tuple(
            Skipped(self.candidates.name(number), reason) for number, reason in sorted(failed.items())
        )


def _choose(candidates: Candidates, *, n: int | None, seed: int) -> _Recipe:
    available = candidates.n_available
    if n is not None and n < 1:
        raise ValueError(f"n must be at least 1, not {n}; leave it out for all images.")
    if n is not None and n > available:
        raise ValueError(
            f"n is {n}, but the source has only {available} images; ask for fewer, or leave n out for all."
        )
    if n is None or n == available:
        rows, reserves = np.arange(available), np.zeros(0, np.int64)
    else:
        order = np.random.default_rng(seed).permutation(available)
        rows, reserves = np.sort(order[:n]), order[n:]
    return _Recipe(candidates=candidates, key=_key(candidates, rows, reserves), rows=rows, reserves=reserves)


def _key(candidates: Candidates, rows: Int64[np.ndarray, " n"], reserves: Int64[np.ndarray, " m"]) -> str:
    """Hash all that the rows depend on; the order itself is hashed too, as generators may change with NumPy."""
    digest = hashlib.sha256()
    head = {"format": _FORMAT, "scheme": candidates.scheme, "settings": candidates.settings, "n": len(rows)}
    digest.update(json.dumps(head, sort_keys=True).encode())
    if candidates.stamps is not None or len(reserves):
        for number in itertools.chain(rows.tolist(), reserves.tolist()):
            stamp = "" if candidates.stamps is None else candidates.stamps[number]
            digest.update(f"\n{candidates.name(number)}\0{stamp}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def cache_folder(cache: str | os.PathLike[str] | None = None) -> Path:
    """Find the folder of all that is kept to save time.

    Parameters
    ----------
    cache : path-like or None
        The folder, if it was chosen.

    Returns
    -------
    pathlib.Path
        What was chosen, else the environment variable AELIB_CACHE, else the user's cache folder.

    Examples
    --------
    >>> cache_folder("kept").name
    'kept'
    """
    chosen = cache or os.environ.get("AELIB_CACHE") or platformdirs.user_cache_dir("aelib")
    return Path(chosen).expanduser()


# The files: made once by one process, in blocks that survive an interruption.


@dataclass(frozen=True, eq=False)
class _Place:
    """The files of one cache."""

    folder: Path

    @property
    def finished(self) -> Path:
        return self.folder / "pixels.npy"

    @property
    def record(self) -> Path:
        return self.folder / "cache.json"

    @property
    def partial(self) -> Path:
        return self.folder / "pixels.partial"

    @property
    def done(self) -> Path:
        return self.folder / "done.partial"


def _make_folder(place: _Place) -> None:
    try:
        place.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"the cache folder {place.folder} cannot be made ({error.strerror}); name another with cache=... or in "
            "the environment variable AELIB_CACHE."
        ) from error


def _load(recipe: _Recipe, place: _Place) -> Cached | None:
    """Load a finished cache; anything damaged or foreign counts as absent."""
    pixels = _map(place.finished, recipe.shape)
    try:
        record = read_json(place.record)
        if pixels is None or record["key"] != recipe.key:
            return None
        held = recipe.rows.copy()
        for row, candidate in record["replaced"]:
            held[row] = candidate
        if not ((held >= -1) & (held < recipe.candidates.n_available)).all():
            return None
        skipped = recipe.named({int(candidate): str(reason) for candidate, reason in record["skipped"]})
    except (OSError, ValueError, TypeError, KeyError, IndexError, OverflowError):
        return None
    rows = np.flatnonzero(held >= 0)
    rows = rows[np.argsort(held[rows])]
    return Cached(key=recipe.key, pixels=pixels, rows=rows, candidates=held[rows], skipped=skipped)


def _map(path: Path, shape: tuple[int, ...]) -> np.memmap | None:
    """Map a file of pixels if it is whole."""
    try:
        return map_array(path, shape, np.uint8)
    except (OSError, ValueError):
        return None


@contextmanager
def _only_writer(recipe: _Recipe, place: _Place) -> Iterator[None]:
    """Hold the lock of a cache; while another process has it, show that one's progress."""
    lock = FileLock(place.folder / "lock")
    bar = tqdm(total=len(recipe.rows), desc="waiting for another process", unit="img", delay=2, leave=False)
    with bar:
        while not lock.is_locked:
            try:
                lock.acquire(timeout=0.5)
            except Timeout:
                done = recipe.block_rows * len(_read_marks(recipe, place))
                bar.update(min(done, len(recipe.rows)) - bar.n)
    try:
        yield
    finally:
        lock.release()


def _build(recipe: _Recipe, place: _Place, *, strict: bool) -> Cached:
    """Make all rows; then, in further rounds, fill those that failed from the reserves."""
    held, reserves = recipe.rows.copy(), recipe.reserves
    rows, failed = np.arange(len(held)), dict[int, str]()
    with naming(place.folder), _Writer.opened(recipe, place, strict=strict) as writer:
        while len(rows):
            failed_rows = writer.write(rows, held[rows])
            failed.update({int(held[row]): reason for row, reason in failed_rows.items()})
            rows = np.array(sorted(failed_rows), np.int64)
            filled = min(len(rows), len(reserves))
            held[rows[:filled]], held[rows[filled:]] = reserves[:filled], -1
            rows, reserves = rows[:filled], reserves[filled:]
    _finish(recipe, place, held, failed)
    cached = _load(recipe, place)
    if cached is None:
        raise OSError(f"the cache {place.folder} was changed while it was built; try again.")
    return cached


def _finish(recipe: _Recipe, place: _Place, held: Int64[np.ndarray, " n"], failed: dict[int, str]) -> None:
    replaced = [[int(row), int(held[row])] for row in np.flatnonzero(held != recipe.rows)]
    record = {"key": recipe.key, "replaced": replaced, "skipped": [list(item) for item in failed.items()]}
    write_json(place.record, record)
    os.replace(place.partial, place.finished)
    place.done.unlink(missing_ok=True)


@dataclass(frozen=True, eq=False)
class _Writer:
    """Fills the rows of an unfinished cache block by block, passing over blocks already done."""

    recipe: _Recipe
    strict: bool
    offset: int
    pixels: io.BufferedRandom
    done: io.TextIOWrapper
    marks: dict[int, dict[int, str]]
    make_block: MakeBlock
    bar: Any
    block_numbers: Iterator[int]

    @classmethod
    @contextmanager
    def opened(cls, recipe: _Recipe, place: _Place, *, strict: bool) -> Iterator["_Writer"]:
        offset = _prepare(recipe, place)
        marks = _read_marks(recipe, place)
        desc = f"{recipe.candidates.scheme} to cache"
        bar = tqdm(total=len(recipe.rows), desc=desc, unit="img", delay=2, leave=False)
        with (
            bar,
            place.partial.open("rb+") as pixels,
            place.done.open("a", encoding="utf-8", newline="\n") as done,
            recipe.candidates.opened() as make_block,
        ):
            yield cls(recipe, strict, offset, pixels, done, marks, make_block, bar, itertools.count())

    def write(self, rows: Int64[np.ndarray, " k"], candidates: Int64[np.ndarray, " k"]) -> dict[int, str]:
        """Write candidates to rows; return the rows that failed, with the reasons."""
        starts = range(0, len(rows), self.recipe.block_rows)
        blocks = [slice(start, start + self.recipe.block_rows) for start in starts]
        numbered = {number: block for block, number in zip(blocks, self.block_numbers, strict=False)}
        for number in numbered.keys() & self.marks.keys():
            self._count(number, numbered[number], rows, candidates)
        todo = [(number, block) for number, block in numbered.items() if number not in self.marks]
        made = _in_parallel(lambda item: self.make_block(candidates[item[1]]), todo)
        with contextlib.closing(made):
            for (number, block), (pixels, failed) in made:
                self._store(number, rows[block], pixels, failed)
                self._count(number, block, rows, candidates)
        return {row: reason for number in numbered for row, reason in self.marks[number].items()}

    def _store(
        self,
        number: int,
        rows: Int64[np.ndarray, " k"],
        pixels: UInt8[np.ndarray, "k h w 3"],
        failed: dict[int, str],
    ) -> None:
        """Write a block, and only when it is on the disk the mark that it is done."""
        for row, image in zip(rows, pixels, strict=True):
            self.pixels.seek(self.offset + int(row) * image.nbytes)
            self.pixels.write(image.tobytes())
        _flush(self.pixels)
        reasons = {int(rows[position]): reason for position, reason in failed.items()}
        self.done.write(json.dumps([number, list(reasons.items())]) + "\n")
        _flush(self.done)
        self.marks[number] = reasons

    def _count(
        self, number: int, block: slice, rows: Int64[np.ndarray, " k"], candidates: Int64[np.ndarray, " k"]
    ) -> None:
        self.bar.update(len(rows[block]) - len(self.marks[number]))
        if self.strict and self.marks[number]:
            candidate_of = dict(zip(rows[block].tolist(), candidates[block].tolist(), strict=True))
            failed = {candidate_of[row]: reason for row, reason in self.marks[number].items()}
            _refuse(self.recipe.named(failed))


def _refuse(skipped: Sequence[Skipped]) -> None:
    raise ValueError(
        f'{summary(skipped)}. Repair or remove them, or leave them out with on_unreadable="skip".'
    )


def _prepare(recipe: _Recipe, place: _Place) -> int:
    """Make the unfinished cache ready, a new one unless there is one to go on with; return where its rows start."""
    partial = _map(place.partial, recipe.shape)
    if partial is None or not _is_ours(recipe, place):
        # The marks go first: without them nothing of what is left would be trusted.
        for path in (place.done, place.finished, place.record, place.partial):
            _delete(path)
        partial = _preallocate(recipe, place)
        write_text(place.done, _header(recipe))
    else:
        # Written anew, so that a line torn by the interruption does not spoil the one after it.
        marks = _read_marks(recipe, place)
        lines = [json.dumps([number, list(failed.items())]) + "\n" for number, failed in marks.items()]
        write_text(place.done, _header(recipe) + "".join(lines))
    return int(partial.offset)


def _preallocate(recipe: _Recipe, place: _Place) -> np.memmap:
    need, free = int(np.prod(recipe.shape)), shutil.disk_usage(place.folder).free
    if need > free:
        raise OSError(
            errno.ENOSPC,
            f"the cache needs {_size(need)}, but {place.folder} has {_size(free)} free; make room, ask for fewer "
            "images, or name another folder with cache=... or AELIB_CACHE",
        )
    return np.lib.format.open_memmap(place.partial, mode="w+", dtype=np.uint8, shape=recipe.shape)


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _header(recipe: _Recipe) -> str:
    return json.dumps({"key": recipe.key, "block_rows": recipe.block_rows}) + "\n"


def _is_ours(recipe: _Recipe, place: _Place) -> bool:
    try:
        with place.done.open(encoding="utf-8") as file:
            return file.readline() == _header(recipe)
    except (OSError, ValueError):
        return False


def _read_marks(recipe: _Recipe, place: _Place) -> dict[int, dict[int, str]]:
    """Read the finished blocks, each with its failed rows; a line that is not whole counts as not done."""
    marks = {}
    if _is_ours(recipe, place):
        for line in place.done.read_text(encoding="utf-8", errors="replace").splitlines()[1:]:
            with contextlib.suppress(ValueError, TypeError, OverflowError, RecursionError):
                number, failed = json.loads(line)
                reasons = {int(row): str(reason) for row, reason in failed}
                if all(0 <= row < len(recipe.rows) for row in reasons):
                    marks[int(number)] = reasons
    return marks


def _flush(file: io.IOBase) -> None:
    file.flush()
    os.fsync(file.fileno())


def _in_parallel(
    function: Callable[[Any], Any], items: Iterable[Any]
) -> Generator[tuple[Any, Any], None, None]:
    """Yield (item, function(item)) in order, on all cores, with few results waiting at a time."""
    workers = n_cores()
    waiting = deque[tuple[Any, Future[Any]]]()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(function, item)))
                if len(waiting) > 2 * workers:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()
