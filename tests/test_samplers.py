import json
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator

import aelib
from aelib.samplers import (
    SAMPLERS,
    CellMixture,
    EllipseLimited,
    GaussianMixture,
    MultivariateNormal,
    NeighbourInterpolation,
    SphereShell,
    TruncatedNormal,
    UniformBox,
    load_sampler,
    save_sampler,
)

RNG = np.random.default_rng(71)
CLOUD = RNG.standard_normal((300, 6)) @ RNG.standard_normal((6, 6)) + np.arange(6)
ALL_AXES = {
    "random ellipses": "n_components",
    "diagonal mixture": "n_axes",
}  # clouds of one component are checked too
ILL_TYPED = "check_do_not_raise_errors_in_init_or_set_params"
CASES = {
    **{cls.__name__: cls() for cls in SAMPLERS},
    "GaussianMixture": GaussianMixture(2),
    "box of the mean": UniformBox(None, centre="mean"),
    "core": MultivariateNormal(core=0.9, shrinkage="oas", temperature=0.8),
    "random ellipses": EllipseLimited(np.float64(2.0), order="random", draw="normal", n_components=3),
    "whole ellipsoid": TruncatedNormal(1.0),
    "diagonal mixture": GaussianMixture(3, covariance_type="diag", n_axes=2, space="principal"),
    "tied mixture": GaussianMixture(2, covariance_type="tied"),
    "kernel": NeighbourInterpolation(3, draw="kernel", scale=0.3),
    "small cells": CellMixture(40.0, prior=5.0, n_leading=3),
}


@pytest.mark.parametrize("name", CASES)
def test_scikit_learns_own_checks(name):
    # What is skipped without a word needs an environment variable of SciPy.
    elsewhere = {ILL_TYPED: "run-time type checks are on here"}
    sampler = clone(CASES[name])
    if name in ALL_AXES:
        sampler.set_params(**{ALL_AXES[name]: None})
    check_estimator(sampler, on_skip=None, expected_failed_checks=elsewhere)


def test_ill_typed_parameters_wait_for_fit():
    script = f"""
from sklearn.utils.estimator_checks import {ILL_TYPED} as check
from aelib.samplers import SAMPLERS
for cls in SAMPLERS:
    check(cls.__name__, cls())
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_loaded_sampler_is_the_saved_one(name, dtype, tmp_path):
    sampler, path = clone(CASES[name]).fit(CLOUD.astype(dtype)), tmp_path / "new" / "sampler.npz"
    save_sampler(sampler, path)
    loaded = load_sampler(path)
    assert type(loaded) is type(sampler)
    assert loaded.get_params() == sampler.get_params()
    np.testing.assert_array_equal(loaded.sample(50, random_state=1), sampler.sample(50, random_state=1))
    if hasattr(sampler, "score_samples"):
        np.testing.assert_array_equal(loaded.score_samples(CLOUD), sampler.score_samples(CLOUD))
    assert [file.name for file in path.parent.iterdir()] == ["sampler.npz"]


def test_names_of_components_are_kept(tmp_path):
    frame = pd.DataFrame(CLOUD, columns=list("abcdef"))
    save_sampler(MultivariateNormal().fit(frame), tmp_path / "normal.npz")
    loaded = load_sampler(tmp_path / "normal.npz")
    assert list(loaded.feature_names_in_) == list("abcdef")
    assert np.isfinite(loaded.score_samples(frame)).all()


def test_only_fitted_samplers_of_ours_with_plain_parameters_are_saved(tmp_path):
    with pytest.raises(NotFittedError):
        save_sampler(MultivariateNormal(), tmp_path / "a.npz")
    own = type("Own", (SphereShell,), {})().fit(CLOUD)
    with pytest.raises(ValueError, match="a Own is not one of aelib's samplers"):
        save_sampler(own, tmp_path / "a.npz")
    mixture = GaussianMixture(2).fit(CLOUD).set_params(random_state=np.random.RandomState(1))
    with pytest.raises(ValueError, match="random_state must be a number, a word or None to be saved"):
        save_sampler(mixture, tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "normal.npz"
    save_sampler(MultivariateNormal().fit(CLOUD), path)
    return path


def rewritten(path, change):
    """Write the file again after `change` has worked on its entries."""
    with np.load(path) as file:
        entries = dict(file)
    change(entries)
    np.savez(path, **entries)
    return path


def test_truncated_and_damaged_files_are_refused(saved):
    whole = saved.read_bytes()
    for damaged in (b"", whole[:10], whole[: len(whole) // 2], whole[:-5], b"not a sampler" * 50):
        saved.write_bytes(damaged)
        with pytest.raises(ValueError, match="damaged or was not written by save_sampler"):
            load_sampler(saved)
    middle = len(whole) // 2
    saved.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    with pytest.raises(ValueError, match=r"normal\.npz"):
        load_sampler(saved)


def test_missing_and_foreign_files_are_refused(saved, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_sampler(tmp_path / "other.npz")
    np.savez(saved, z=CLOUD)
    with pytest.raises(ValueError, match="was not written by save_sampler"):
        load_sampler(saved)
    with saved.open("wb") as file:
        np.save(file, CLOUD)
    with pytest.raises(ValueError, match="was not written by save_sampler"):
        load_sampler(saved)
    with zipfile.ZipFile(saved, "w") as archive:
        archive.writestr("header.npy", "no array")
    with pytest.raises(ValueError, match="was not written by save_sampler"):
        load_sampler(saved)
    np.savez(saved, header=np.array([{"format": "aelib sampler 1"}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        load_sampler(saved)


def test_changed_files_are_refused(saved):
    original = saved.read_bytes()

    def header(**changes):
        def change(entries):
            entries["header"] = np.array(json.dumps({**json.loads(str(entries["header"])), **changes}))

        return change

    def move(entries):
        entries["mean_"] = entries["mean_"] + 1e-9

    changes = {
        "its format is 'aelib sampler 2'": header(format="aelib sampler 2"),
        "checksum": move,
        "the checksum": header(parameters={"temperature": 2.0}),
        "does not have the checksum": lambda entries: entries.pop("axes_"),
        "no sampler that can be used": lambda entries: entries.update(sample=np.zeros(3)),
    }
    for message, change in changes.items():
        saved.write_bytes(original)
        with pytest.raises(ValueError, match=message):
            load_sampler(rewritten(saved, change))


def test_a_forged_checksum_leads_to_nothing_but_an_error(saved, monkeypatch):
    original = saved.read_bytes()
    monkeypatch.setattr("aelib.samplers._digest", lambda header, arrays: "forged")

    def forge(entries, **changes):
        entries["header"] = np.array(
            json.dumps({**json.loads(str(entries["header"])), "sha256": "forged", **changes})
        )

    forgeries = {
        "names the class 'Popen'": lambda e: forge(e, **{"class": "Popen"}),
        "unexpected keyword argument 'shell'": lambda e: forge(e, parameters={"shell": True}),
        "'sample' is no name of a fitted attribute": lambda e: (forge(e), e.update(sample=np.zeros(3))),
        "'__class__' is no name": lambda e: forge(e, numbers={"__class__": 1}),
        "no sampler that can be used": lambda e: (forge(e), e.update(axes_=np.zeros((2, 9)))),
        "no finite points": lambda e: (forge(e), e.update(mean_=np.full(6, np.nan))),
    }
    for message, change in forgeries.items():
        saved.write_bytes(original)
        with pytest.raises(ValueError, match=message):
            load_sampler(rewritten(saved, change))


def test_all_samplers_are_there_from_the_package_and_the_module():
    for cls in SAMPLERS:
        assert getattr(aelib, cls.__name__) is cls
        assert getattr(aelib.samplers, cls.__name__) is cls
    assert aelib.save_sampler is save_sampler
