# Each target sets up what it needs: `make run` works on a fresh clone.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# The first Python of a version that TensorFlow has wheels for.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell $(p) -c '$(FITS)' 2>&- && echo $(p))) python3)
IMAGES ?=
CONSTRAINTS ?= constraints.txt
# More words for `python -m aelib run` or `train`: make run ARGS="--notebooks 01 -p seed 8"
ARGS ?=

# How many processes test at a time, at most: one for each core, but each may hold a notebook's kernel.
WORKERS ?= 4

# Without its compiled files Python needs 6 seconds more for each start with Keras, and there are many starts here.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
READY := .venv/.ready
BACKENDS_READY := .venv-backends/.ready
BENCH_READY := .venv-bench/.ready
ATHERIS_READY := .venv-atheris/.ready
BACKEND_TESTS := tests/test_backend.py tests/test_model.py tests/test_training.py tests/test_codec.py

.PHONY: help venv run sweep test test-lowest test-newest audit test-backends chromium lint lab explore site fuzz faults mutants determinism fuzz-atheris bench student solved store checkpoint data-check constraints coverage clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' Makefile | column -t -s '|'

venv: $(READY)  ## set up .venv, no more

# The stamp lies in .venv: nothing is installed again until one of these two files changes.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c '$(FITS)' || { \
	  echo "$(PYTHON) is `$(PYTHON) --version 2>&1`; 3.11, 3.12 or 3.13 is needed: make PYTHON=/path/to/python3.11 ..." >&2; \
	  exit 1; }
	@echo "setting up .venv (some minutes the first time)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv \
	  && VIRTUAL_ENV="$(CURDIR)/.venv" $(BIN)/uv pip install --quiet $(addprefix -c ,$(CONSTRAINTS)) -e '.[dev]' \
	  || { echo "uv did not do it: installing with pip" >&2; \
	       $(BIN)/python -m pip install --quiet --disable-pip-version-check $(addprefix -c ,$(CONSTRAINTS)) -e '.[dev]'; }
	@touch $@

run: $(READY)  ## execute the notebooks into runs/ (IMAGES=photos:PATH trains on photographs first)
	@$(BIN)/python -m aelib run $(if $(IMAGES),--images '$(IMAGES)') $(ARGS)

sweep: $(READY)  ## the series over a grid of networks and parameters: make sweep ARGS="-f notebooks/sweeps/small.yaml"
	@$(BIN)/python -m aelib sweep $(ARGS)

# The notebooks are tested with the solutions of their exercises as further cells.
SOLVED := $(patsubst notebooks/%,build/solved/%,$(sort $(wildcard notebooks/[0-9A-Z]*_*.ipynb)))

# The longest files come first, so that no worker is left alone with one; threads of BLAS would only be in each other's way.
test: $(READY)  ## tests, doctests, notebooks and their solutions, on all cores: make test ARGS="-k name", or "-n0 --pdb" to look inside
	@$(TESTS)

TESTS = $(BIN)/python -m aelib edition solved --out build/solved \
	&& OMP_NUM_THREADS=1 $(BIN)/python -m pytest --quiet -n logical --maxprocesses $(WORKERS) --dist loadfile \
	  --no-loadscope-reorder --nbval-lax $(SOLVED) tests aelib $(ARGS)

test-lowest: BIN = .venv-lowest/bin
test-lowest: .venv-lowest/.ready  ## the same with the lowest versions that pyproject.toml admits, in .venv-lowest
	@$(TESTS)

test-newest: BIN = .venv-newest/bin
test-newest: .venv-newest/.ready  ## the same with the newest versions (and PYTHON=python3.13), in .venv-newest
	@$(TESTS)

# Versions that an installed package would keep are no matter: each starts empty. make -B takes what is new today.
.venv-lowest/.ready: RESOLUTION = lowest-direct
.venv-newest/.ready: RESOLUTION = highest
.venv-lowest/.ready .venv-newest/.ready: pyproject.toml
	@$(PYTHON) -c '$(FITS)' || { echo "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@echo "setting up $(@D) (some minutes the first time)"
	@rm -rf $(@D)
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check uv
	@VIRTUAL_ENV="$(CURDIR)/$(@D)" $(@D)/bin/uv pip install --quiet --resolution $(RESOLUTION) -e '.[dev]'
	@touch $@

# Strict: a package that the service does not know, or cannot be asked about, is no package without weaknesses.
audit: $(READY)  ## known weaknesses of the versions in constraints.txt and of the lowest admitted (ARGS="-s osv": ask OSV)
	@mkdir -p build
	@$(BIN)/uv pip compile --quiet --resolution lowest-direct --extra dev --python-version 3.11 --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links --output-file build/lowest.txt pyproject.toml
	@for list in constraints.txt build/lowest.txt; do \
	  echo "$$list"; \
	  $(BIN)/uv tool run --quiet 'pip-audit>=2.9' --strict --no-deps --disable-pip --progress-spinner off -r $$list $(ARGS) \
	    || { echo "audit: a weakness is named above, or the advisories could not be asked" >&2; exit 1; }; \
	done

test-backends: $(BACKENDS_READY)  ## model, training and codec on TensorFlow, JAX and PyTorch, in an environment of their own
	@for backend in tensorflow jax torch; do \
	  echo "$$backend"; \
	  KERAS_BACKEND=$$backend .venv-backends/bin/python -m pytest --quiet $(BACKEND_TESTS) $(ARGS) || exit 1; \
	done
	@.venv-backends/bin/python -m pytest --quiet tests/test_distribution.py tests/test_benchmarks.py $(ARGS)

# With pip, which takes the build of PyTorch that a machine has been given, where uv would download one for GPUs.
$(BACKENDS_READY): pyproject.toml constraints.txt
	@echo "setting up .venv-backends (some minutes the first time)"
	@$(PYTHON) -m venv .venv-backends
	@.venv-backends/bin/python -m pip install --quiet --disable-pip-version-check $(addprefix -c ,$(CONSTRAINTS)) -e '.[dev,backends]'
	@touch $@

chromium:  ## install Chromium, which tests open pages with, if there is none (Debian, as root); without it they are skipped
	@if command -v chromium chromium-browser google-chrome >/dev/null; then exit 0; fi; \
	if [ $$EUID != 0 ] || ! type -P apt-get >/dev/null; then \
	  echo "no Chromium here, and only root on Debian can install it this way: its package is called chromium" >&2; exit 1; \
	fi; \
	echo "installing Chromium"; export DEBIAN_FRONTEND=noninteractive; \
	said=`{ apt-get -qq update && apt-get -qq -y install --no-install-recommends chromium fonts-dejavu-core; } 2>&1` \
	  || { echo "$$said" >&2; exit 1; }

lint: $(READY)  ## style, types, layers, dependencies and docstrings
	@mkdir -p build
	@$(BIN)/ruff check --quiet --output-format=concise .
	@$(BIN)/ruff format --check --quiet . || { echo "not formatted: $(BIN)/ruff format ." >&2; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-cache --no-logo
	@$(BIN)/deptry --no-ansi . 2>build/deptry.txt || { cat build/deptry.txt >&2; exit 1; }
	@$(BIN)/numpydoc lint aelib/*.py aelib/explorer/*.py aelib/plots/*.py
	@echo "lint: no complaints"

lab: $(READY)  ## open JupyterLab on the notebooks
	@$(BIN)/jupyter lab --ServerApp.ip=127.0.0.1 --ServerApp.root_dir=notebooks --MappingKernelManager.transport_encryption=auto $(ARGS)

explore: $(READY)  ## the explorer as a page of its own (RUN=NAME; or IMAGES=photos:PATH CHECKPOINT=FOLDER)
	@$(BIN)/python -m aelib explore $(RUN) $(if $(IMAGES),--images '$(IMAGES)') $(if $(CHECKPOINT),--checkpoint '$(CHECKPOINT)') $(ARGS)

site: $(READY)  ## pages to read, in build/site (RUN=NAME: in that run's folder)
	@$(BIN)/python -m aelib site $(RUN) $(ARGS)

fuzz: $(READY)  ## spoil thousands of files for every loader and see what comes of it (many minutes: ARGS="--tries 200")
	@$(BIN)/python -m robustness.fuzz $(ARGS)

faults: $(READY)  ## kill, starve and double every long job, at random moments (an hour or two: ARGS="--times 6 --only training")
	@$(BIN)/python -m robustness.faults $(ARGS)

mutants: $(READY)  ## make small mistakes in the library and see whether the tests notice (ARGS="moments --sample 100": some of them)
	@OMP_NUM_THREADS=1 $(BIN)/python -m robustness.mutants $(ARGS)

determinism: $(READY)  ## what comes out the same, bit for bit, in other processes and as on other processors (some minutes)
	@$(BIN)/python -m robustness.determinism $(ARGS)

fuzz-atheris: $(ATHERIS_READY)  ## the same for what Python reads, guided by coverage (35 minutes: ARGS="--seconds 60")
	@.venv-atheris/bin/python -m robustness.guided $(ARGS)

# An environment with atheris alone, which looks into .venv for the rest. It has wheels for Linux and Python 3.11 to 3.13.
$(ATHERIS_READY): $(READY)
	@echo "setting up .venv-atheris"
	@$(PYTHON) -m venv .venv-atheris
	@.venv-atheris/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: 'atheris>=3,<4' \
	  || { echo "atheris has no wheel for this system: make fuzz does without it" >&2; exit 1; }
	@.venv-atheris/bin/python -c 'import sys, sysconfig; from pathlib import Path; \
	  Path(sysconfig.get_path("purelib"), "project.pth").write_text(f"import site; site.addsitedir({sys.argv[1]!r})\n")' \
	  "`$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'`"
	@touch $@

# An OpenBLAS that is told which kernels to take would not show what this processor can do.
bench: $(BENCH_READY)  ## speed beside the tools that one would pick instead, in their own environment (some minutes; ARGS=--publish)
	@env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE .venv-bench/bin/python -m benchmarks $(ARGS)

# With pip, as .venv-backends. A peer that cannot be installed is missing from the comparison, which says so.
$(BENCH_READY): pyproject.toml constraints.txt
	@echo "setting up .venv-bench (some minutes the first time)"
	@$(PYTHON) -m venv .venv-bench
	@pip() { .venv-bench/bin/python -m pip install --quiet --disable-pip-version-check $(addprefix -c ,$(CONSTRAINTS)) "$$@"; }; \
	  pip -e '.[dev,bench]' || { echo "not all peers can be installed: going on without them" >&2; pip -e '.[dev]'; }
	@touch $@

student: $(READY)  ## the notebooks without the solutions, in a folder that works on its own: build/student
	@$(BIN)/python -m aelib edition student $(ARGS)

solved: $(READY)  ## the notebooks with the solutions as cells: build/solved (ARGS=--execute: with their outputs)
	@$(BIN)/python -m aelib edition solved $(ARGS)

store: $(READY)  ## execute the notebooks in place: the outputs that are stored with them
	@$(BIN)/python -m aelib store $(ARGS)

checkpoint: $(READY)  ## train the shipped checkpoint anew (over an hour; a killed run goes on)
	@$(BIN)/python -m aelib train --images faces --n 76000 --seed 1 --preset post3 --z-dim 256 --loss mse \
	  --epochs 16 --batch-size 64 --learning-rate 1e-3 --schedule cosine --flips --validation 2000 --test 2000 \
	  --out data/checkpoints/faces-post3 $(ARGS)

data-check: $(READY)  ## compare the files under data/ with the checksums in data/README.md
	@$(BIN)/python -m pytest --quiet tests/test_package.py -k data

# For 3.11.5, as soupsieve without known weaknesses wants it; Debian's older 3.11 takes the newest that it can.
constraints: $(READY)  ## resolve constraints.txt anew, to the newest versions that pyproject.toml admits
	@{ sed -n '/^#/p' constraints.txt; \
	   { $(BIN)/uv pip compile --quiet --upgrade --extra dev --python-version 3.11.5 --python-platform linux \
	       --no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml \
	       | sed "s/^soupsieve==.*/& ; python_full_version >= '3.11.5'/"; \
	     grep -E '^(jax|jaxlib|mpmath|sympy|torch|annotated-types|prdc|pydantic|pydantic-core|pythae|typing-inspection)==' constraints.txt; \
	   } | LC_ALL=C sort; \
	} > .constraints.new  # the last are pip's, for test-backends and bench
	@mv .constraints.new constraints.txt

coverage: $(READY)  ## which lines and branches of aelib the tests run, in all their processes (many minutes)
	@$(BIN)/coverage erase
	@OMP_NUM_THREADS=1 $(BIN)/coverage run -m pytest --quiet -n logical --maxprocesses $(WORKERS) --dist loadfile \
	  --no-loadscope-reorder tests aelib $(ARGS); status=$$?; \
	$(BIN)/coverage combine --quiet && $(BIN)/coverage report || exit; exit $$status

clean:  ## remove the virtual environment and the tools' caches (runs/ stays)
	@rm -rf .venv .venv-backends .venv-lowest .venv-newest .venv-bench .venv-atheris .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage build dist
	@find aelib tests notebooks -name __pycache__ -type d -prune -exec rm -rf {} +
	@find notebooks -name .ipynb_checkpoints -type d -prune -exec rm -rf {} +
