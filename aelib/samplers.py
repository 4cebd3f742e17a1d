"""All samplers by name, and the files that fitted ones are kept in."""

import hashlib
import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from aelib.empirical import GaussianCopula, GaussianMixture, NeighbourInterpolation, PCAMarginals
from aelib.files import read_arrays, replacing
from aelib.laws import MultivariateNormal, SphereShell, StandardNormal, UniformBox
from aelib.limits import ComponentRanges, EllipseLimited, TruncatedNormal
from aelib.mixtures import CellMixture
from aelib.sampler import Sampler

__all__ = [
    "SAMPLERS",
    "CellMixture",
    "ComponentRanges",
    "EllipseLimited",
    "GaussianCopula",
    "GaussianMixture",
    "MultivariateNormal",
    "NeighbourInterpolation",
    "PCAMarginals",
    "SphereShell",
    "StandardNormal",
    "TruncatedNormal",
    "UniformBox",
    "load_sampler",
    "save_sampler",
]

SAMPLERS: tuple[type[Sampler], ...] = (
    UniformBox,
    SphereShell,
    ComponentRanges,
    StandardNormal,
    MultivariateNormal,
    EllipseLimited,
    TruncatedNormal,
    PCAMarginals,
    GaussianCopula,
    GaussianMixture,
    NeighbourInterpolation,
    CellMixture,
)  # those that a file may name

_FORMAT = "aelib sampler 1"
_HEADER = "header"
# What NumPy, zipfile and json raise at files that are not theirs.
_DAMAGE = (
    *(ValueError, TypeError, KeyError, AttributeError, EOFError, OSError, zlib.error),
    *(zipfile.BadZipFile, NotImplementedError, RuntimeError, RecursionError),
)
_PLAIN = (bool, int, float, str, type(None))


def save_sampler(sampler: Sampler, path: str | os.PathLike[str]) -> None:
    """Save a fitted sampler to one file, whole or not at all.

    The file is an .npz archive without pickled objects: a header in JSON with the class's name, the parameters and a
    checksum, and the fitted arrays.

    Parameters
    ----------
    sampler : Sampler
        A fitted sampler, one of `SAMPLERS`.
    path : path-like
        The file to write or replace.

    Raises
    ------
    ValueError
        If the sampler is of another class, or has a parameter that is no plain number, word or None.
    sklearn.exceptions.NotFittedError
        If it is not fitted.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "box.npz"
    >>> save_sampler(UniformBox(b=2.0).fit(np.zeros((5, 3))), path)
    >>> load_sampler(path)
    UniformBox(b=2.0)
    """
    if type(sampler) not in SAMPLERS:
        raise ValueError(f"a {type(sampler).__name__} is not one of aelib's samplers and cannot be saved.")
    check_is_fitted(sampler)
    fitted = {name: value for name, value in vars(sampler).items() if name.endswith("_")}
    arrays = {name: _stored(value) for name, value in fitted.items() if isinstance(value, np.ndarray)}
    header: dict[str, Any] = {
        "format": _FORMAT,
        "class": type(sampler).__name__,
        "parameters": {name: _plain(name, value) for name, value in sampler.get_params().items()},
        "numbers": {name: _plain(name, value) for name, value in fitted.items() if name not in arrays},
    }
    header["sha256"] = _digest(header, arrays)
    entries: dict[str, Any] = {_HEADER: np.array(json.dumps(header)), **arrays}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **entries)


def load_sampler(path: str | os.PathLike[str]) -> Any:
    """Load a sampler that `save_sampler` wrote; it draws the same points as the saved one, bit for bit.

    Nothing in the file is run. Bit for bit holds on one machine with one version of NumPy and SciPy.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    Sampler
        The fitted sampler, of the class that the file names.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, was changed, or is no file of `save_sampler`.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "normal.npz"
    >>> normal = MultivariateNormal().fit(np.random.default_rng(0).normal(size=(50, 3)))
    >>> save_sampler(normal, path)
    >>> bool((load_sampler(path).sample(4, random_state=7) == normal.sample(4, random_state=7)).all())
    True
    """
    header, arrays = _read(Path(path))
    classes = {cls.__name__: cls for cls in SAMPLERS}
    try:
        found = header.pop("sha256")
        if found != _digest(header, arrays):
            raise ValueError("its content does not have the checksum that it names")
        if header["class"] not in classes:
            raise ValueError(f"it names the class {header['class']!r}, which is none of {', '.join(classes)}")
        sampler = classes[header["class"]](**header["parameters"])
        for name, value in {**header["numbers"], **arrays}.items():
            _check_name(name)
            setattr(sampler, name, value)
        _check_draw(sampler)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, NotFittedError) as error:
        raise ValueError(
            f"{path} holds no sampler that can be used: {error}. Fit and save it again."
        ) from error
    return sampler


def _check_name(name: str) -> None:
    if not name.isidentifier() or name.startswith("_") or not name.endswith("_"):
        raise ValueError(f"{name!r} is no name of a fitted attribute")


def _check_draw(sampler: Sampler) -> None:
    """Refuse a sampler whose attributes do not fit each other."""
    point = sampler.sample(1, random_state=0)
    if point.shape != (1, sampler.n_features_in_) or not np.isfinite(point).all():
        raise ValueError("what it draws are no finite points with its number of components")


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    try:
        arrays = read_arrays(path)
        header = json.loads(str(arrays.pop(_HEADER)))
        if header["format"] != _FORMAT:
            raise ValueError(f"its format is {header['format']!r}, not {_FORMAT!r}")
    except _DAMAGE as error:
        raise ValueError(
            f"{path} is damaged or was not written by save_sampler ({error}). Fit and save the sampler again."
        ) from error
    return header, arrays


def _stored(array: np.ndarray) -> np.ndarray:
    """Return an array as it is stored: names of components as text, not as objects."""
    return array.astype(np.str_) if array.dtype == object else array


def _plain(name: str, value: object) -> object:
    plain = value.item() if isinstance(value, np.generic) else value
    if not isinstance(plain, _PLAIN):
        raise ValueError(
            f"{name} must be a number, a word or None to be saved, not {value!r}; give a plain value."
        )
    return plain


def _digest(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    total = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(arrays):
        total.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}".encode())
        total.update(np.ascontiguousarray(arrays[name]).data)
    return total.hexdigest()
