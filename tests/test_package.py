"""The project as a whole: what an import brings, what is tracked, and lists that must agree with each other."""

import hashlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import yaml

import aelib

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def tracked_files() -> list[Path]:
    """List what git tracks; without git (a source archive) what is there, but for what runs and tools leave."""
    git = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if git.returncode == 0:
        return [path for name in git.stdout.split("\0") if name and (path := ROOT / name).is_file()]
    skipped = {".venv", ".venv-backends", "runs", ".git"}
    return [p for p in ROOT.rglob("*") if p.is_file() and not skipped & set(p.relative_to(ROOT).parts)]


def test_import_is_light():
    heavy = "{'tensorflow', 'keras', 'jax', 'torch', 'matplotlib', 'pandas', 'sklearn', 'numba', 'dask'}"
    script = f"import sys, aelib; print(*sorted({heavy} & set(sys.modules)))"
    outcome = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True
    )
    assert (outcome.stdout.strip(), outcome.stderr) == ("", "")


def test_every_exported_name_is_there():
    assert sorted(aelib.__all__) == sorted(set(aelib.__all__))
    for name in aelib.__all__:
        assert getattr(aelib, name) is not None
    assert {"open_images", "load_checkpoint", "train", "encode", "decode", "plots"} <= set(dir(aelib))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = aelib.no_such_name


def test_quiet_start_of_keras():
    outcome = subprocess.run(
        [sys.executable, "-c", "import aelib; print(aelib.PRESETS['post3'].z_dim)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (outcome.stdout, outcome.stderr) == ("256\n", "")


def test_run_time_type_checks_are_on():
    with pytest.raises(jaxtyping.TypeCheckError):
        aelib.steps.epochs_within("many", n_images=1)
    with pytest.raises(jaxtyping.TypeCheckError):
        aelib.psnr(np.zeros((4, 4, 3)), np.zeros((4, 4, 3)))


def test_constraints_are_names_and_versions_and_hold_every_dependency():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    marker = r"( ; python_full_version >= '3\.11\.\d+')?"
    assert all(re.fullmatch(rf"[a-z0-9][a-z0-9.-]*==[0-9][\w.]*{marker}", pin) for pin in pins)
    names = {pin.partition("==")[0] for pin in pins}
    extras = PROJECT["project"]["optional-dependencies"].values()
    required = [*PROJECT["project"]["dependencies"], *(line for extra in extras for line in extra)]
    assert {re.split(r"[<>=\[ ;]", line)[0].lower() for line in required} <= names | {"aelib"}


def test_conda_environment_has_no_list_of_its_own():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python = f"python{PROJECT['project']['requires-python']}"
    assert environment["dependencies"] == [python, "pip", {"pip": ["-e ."]}]


def test_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["license"]) == (
        PROJECT["project"]["version"],
        PROJECT["project"]["license"],
    )


def test_make_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()
    command = ["make", "--no-print-directory"]  # make test is itself a make
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [line.split()[1] for line in shown.splitlines()] == targets


def test_no_tracked_file_names_a_machine_or_a_package_index():
    # Written in pieces, so that this file does not name them either.
    patterns = ["/" + "work/", "/" + "root/", "/home" + "/[a-z]", "file:" + "//", r"https?://\S+/" + "simple"]
    forbidden = re.compile("|".join(patterns).encode())
    found = [str(path.relative_to(ROOT)) for path in tracked_files() if forbidden.search(path.read_bytes())]
    assert found == []


def test_the_repository_stays_small():
    sizes = {path: path.stat().st_size for path in tracked_files()}
    assert {str(path): size for path, size in sizes.items() if size >= 15e6} == {}
    assert sum(sizes.values()) < 80e6


def test_data_files_have_the_listed_checksums():
    table = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|$", table, re.MULTILINE))
    stored = [p for p in tracked_files() if p.is_relative_to(ROOT / "data") and p.suffix != ".md"]
    actual = {
        path.relative_to(ROOT / "data").as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in stored
    }
    assert actual == listed
