# The two commands of the README. Both do all the set-up that they need, in .venv beside this file.

# The system's own Python if it will do, else the first on the path: distributions build theirs with profile-guided
# optimisation, version managers seldom do, and a run takes 7 % longer with what they build. `make PYTHON=…` decides.
ifndef PYTHON
able = $(shell $(1) -c 'import ensurepip, sys; sys.version_info < (3, 11) or print("$(1)")' 2>/dev/null)
PYTHON := $(firstword $(call able,/usr/bin/python3) python3)
endif
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=
PACKAGES := absence assertions campaigns closure contest_platform defects evidence fault_injectors located operations reports scenarios seams simulator staging

.DEFAULT_GOAL := run
.PHONY: run test lint bench mutants proof snapshots lock clean

run: $(READY)  ## the main job: fourteen simulated days, judged and reported
	@$(BIN)/absence run $(ARGS)

test: lint  ## lint, types, import contract, then every test
	@$(BIN)/python -m pytest -n auto -q $(ARGS)

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(READY)  ## the default run against its floor, cost per entry, memory, start-up; writes bench.json
	@$(BIN)/python -m absence.bench $(ARGS)

mutants: $(READY)  ## every defect of the catalogue planted: which assertions kill it, and how soon
	@$(BIN)/absence mutants $(ARGS)

proof: $(READY)  ## what takes too long for every change: many seeds, many kills
	@$(BIN)/python -m pytest -n auto -q tests/proof $(ARGS)

snapshots: $(READY)  ## renew schema.sql, postgresql.sql and .json (from the SQLAlchemy schema), openapi.json (from the routes) and names.txt (from Faker)
	@$(BIN)/python -m tests.support.postgresql
	@$(BIN)/python -m contest_platform.openapi
	@$(BIN)/python -m scenarios.compile_names

lock:  ## renew requirements.lock: names, versions and hashes only
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
	  --no-annotate --no-header --no-emit-index-url -o requirements.lock --upgrade

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed; $(PYTHON) is $$($(PYTHON) -V). Try: make PYTHON=python3.12"; exit 1; }
	@echo "Setting up $(VENV) (once) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q $(PACKAGES)
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
