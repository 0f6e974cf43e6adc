# Every target sets itself up: `make quickstart` and `make test` work on a fresh clone with Python 3.11+.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Remade only when the dependencies change.
STAMP  := $(VENV)/.installed

# Two test files at a time: many tests wait for processes of their own.
TWO    := -n 2 --dist loadfile
# Two workers with a thread per core each would only take turns: one thread each is twice as fast.
ALONE  := OMP_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test test-all lint bench gpu clean

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## the virtual environment .venv (made once, reused)
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "mammut-clip needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (PyTorch and friends, about 6 GB, once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

quickstart: setup  ## the whole pipeline in miniature on a CPU: data, sweep, evaluation, laws, report
	@$(BIN)/mammut-clip quickstart

test: setup lint  ## lint, and all tests but the slow ones
	@$(ALONE) $(BIN)/python -m pytest $(TWO) -m "not slow"

test-all: setup lint  ## everything, with soaks and the whole quickstart
	@$(ALONE) $(BIN)/python -m pytest $(TWO) -m "not slow"
	@$(BIN)/python -m pytest -m slow

lint: setup  ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

gpu:  ## GPU tests and benchmarks by $(PYTHON) of a GPU machine; WHEELS=folder brings what it lacks
	@test -n "$(WHEELS)" || { echo "make gpu WHEELS=folder: name a folder of wheels (it may be empty)"; exit 2; }
	@mkdir -p build/gpu-site
	@for wheel in $(WHEELS)/*.whl; do test -e "$$wheel" || continue; \
	  $(PYTHON) -m pip install --quiet --no-index --no-deps --upgrade --target build/gpu-site "$$wheel" || exit 1; done
	PYTHONPATH=src:build/gpu-site $(PYTHON) -m pytest -p no:cacheprovider tests/gpu
	PYTHONPATH=src:build/gpu-site $(PYTHON) -m benchmarks.run --only train --only models --device cuda --peers-python $(PYTHON)

bench: setup  ## benchmarks against open_clip_train and others, in an environment of their own
	@$(BIN)/python -m benchmarks.run

clean:  ## remove the environments and caches (never runs/)
	rm -rf $(VENV) .venv-peers .pytest_cache .mypy_cache .ruff_cache .hypothesis
