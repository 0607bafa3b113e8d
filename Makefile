# `make demo` and `make test` set up .venv by themselves. PYTHON chooses the interpreter that makes it.
PYTHON ?= python3
BIN := .venv/bin
# pip install takes what constraints.txt pins; `make CONSTRAINTS= test` takes the newest that pyproject.toml admits.
CONSTRAINTS ?= -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "PYTHON=python3.12 chooses the interpreter, CONSTRAINTS= the newest versions of all packages."

demo: .venv/installed  ## train with and without blocks on synthetic videos: runs/demo_sweep/report.html (2.5 minutes)
	$(BIN)/gcvideo synth runs/demo-data
	$(BIN)/gcvideo synth runs/demo-directions --task direction --val 60 --test 60
	rm -rf runs/demo_trunk runs/demo_sweep
	$(BIN)/gcvideo fit --config configs/demo.yaml --config configs/demo_trunk.yaml
	$(BIN)/gcvideo sweep configs/sweeps/demo.yaml --jobs 2
	@echo "With and without blocks: runs/demo_sweep/report.html   Curves: $(BIN)/tensorboard --logdir runs/demo_sweep"

test: .venv/installed-dev  ## quick tests
	$(BIN)/python -m pytest -m "not slow" -n auto --dist loadfile

test-all: .venv/installed-dev  ## all tests
	$(BIN)/python -m pytest

lint: .venv/installed-dev  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(CONSTRAINTS) -e .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet $(CONSTRAINTS) -e ".[dev]"
	touch $@

clean:  ## remove .venv, runs and builds
	rm -rf .venv runs build *.egg-info
