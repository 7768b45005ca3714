# fedgestalt: every target sets itself up in .venv. `make help` lists them.
# TORCH picks the torch requirement (for example TORCH='torch==2.13.0+cpu' where an index or a folder
# in PIP_FIND_LINKS holds that build); without it uv chooses the build that fits this machine.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EXTRAS ?= train,serve,operator,dev

.PHONY: help setup demo evaluate-demo test test-slow cluster-test lint format clean chaos schedules bench-operator

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(VENV)/.installed ## Make the virtual environment with everything in it

$(VENV)/.installed: pyproject.toml scripts/setup-venv
	PYTHON="$(PYTHON)" EXTRAS="$(EXTRAS)" scripts/setup-venv "$(VENV)"
	touch $@

demo: setup ## Train a federation of four hospitals on synthetic faces (six to ten minutes on 2 cores)
	$(BIN)/fedgestalt demo $(ARGS)

evaluate-demo: setup ## Reproduce the accuracy table of the README (three seeds, two splits)
	$(BIN)/fedgestalt evaluate $(ARGS)

test: setup ## Tests that need neither root nor servers
	$(BIN)/pytest -m "not slow and not cluster" $(ARGS)

test-slow: setup ## Real Ray workers, kills, whole federations
	$(BIN)/pytest -m slow $(ARGS)

cluster-test: setup ## Against a real Kubernetes API server; builds one with Go first, unless KUBEBUILDER_ASSETS has it
	assets=$$(scripts/kube-assets) && KUBEBUILDER_ASSETS="$$assets" $(BIN)/pytest tests/cluster $(ARGS)

bench-operator: setup ## The hub's operator with 1,000 rounds of 10 silos on a real API server; prints JSON
	$(BIN)/python -m tests.bench.bench_operator $(ARGS)

chaos: setup ## 100 random kills over several rounds (about 8 minutes); the seed is printed
	$(BIN)/python tests/chaos/run_chaos.py $(or $(KILLS),100) $(ARGS)

schedules: setup ## 10,000 random schedules of faults around the hub's reconciler; again: ARGS="--seed N --verbose"
	$(BIN)/python -m tests.schedules.run $(or $(COUNT),10000) $(ARGS)

lint: setup ## ruff, mypy --strict, import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## Let ruff format and mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
