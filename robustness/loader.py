"""A loader under test."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st


@dataclass(frozen=True)
class Loader:
    """A loader under test.

    Parameters
    ----------
    name : str
        What the table calls it.
    whole : tuple of bytes
        Files that are not spoiled, which it must take.
    inputs : hypothesis strategy of bytes
        Spoiled files.
    load : callable
        Loads such a file, with a folder to work in; returns whether something was skipped and reported.
    megabytes : float
        The most memory that one file may take, in MB, beyond what the process held before.
    """

    name: str
    whole: tuple[bytes, ...]
    inputs: st.SearchStrategy[bytes]
    load: Callable[[bytes, Path], bool]
    megabytes: float
