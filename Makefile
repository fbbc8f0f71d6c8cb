# Needs Python 3.11 or newer and make; everything else is fetched into .venv by the locked versions and hashes.

# The interpreter that .venv is made with, for instance: make test PYTHON=/opt/python3.12/bin/python3
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
BIN := .venv/bin
INSTALLED := .venv/installed
UV := $(BIN)/uv
export UV_NO_CONFIG := 1

.DEFAULT_GOAL := help
.PHONY: help venv demo test lint typecheck check docs bench study soak fuzz lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

venv: $(INSTALLED) ## Make .venv with the locked dependencies and the project itself

$(INSTALLED): requirements.lock requirements-uv.lock pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'Tocsin needs Python 3.11 or newer, and $(PYTHON) is' "$$("$(PYTHON)" --version 2>&1):" \
	    'name another one with make PYTHON=...' >&2; exit 2; }
	"$(PYTHON)" -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --offline --editable .
	@touch $@

demo: $(INSTALLED) ## Watch the outage of X of 24 May 2025 being detected (KAFKA_BOOTSTRAP_SERVERS=... for a cluster of yours)
	$(BIN)/tocsin demo

# Tests against the broker measure and kill processes: they get the machine to themselves.
test: check ## Check everything and run all tests
	$(BIN)/pytest --numprocesses 2 --ignore tests/broker
	$(BIN)/pytest tests/broker

lint: $(INSTALLED) ## Check style and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

typecheck: $(INSTALLED) ## Check types
	$(BIN)/mypy

check: lint typecheck ## Check style, types and the layers of imports
	$(BIN)/lint-imports

docs: $(INSTALLED) ## Write docs/reference and schemas/ anew from the code
	$(BIN)/python docs/generate.py

bench: $(INSTALLED) ## Measure the count stage beside stock Faust on the embedded Kafka
	$(BIN)/python benchmarks/count.py

study: $(INSTALLED) ## Run the simulation study of the detectors (SEED=... for another one) and write build/study/study.html
	$(BIN)/python -m benchmarks.study --out build/study $(if $(SEED),--seed $(SEED))

soak: $(INSTALLED) ## Run the pipeline for an hour at 2,000 reports a second on the embedded Kafka
	$(BIN)/python benchmarks/soak.py

fuzz: $(INSTALLED) ## Try 10 million inputs, good and broken, on everything that reads bytes
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements-fuzz.lock
	$(BIN)/python -m tests.fuzz

lock: $(INSTALLED) ## Bring the lock files up to date with pyproject.toml and the newest releases
	$(UV) pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-header \
	  --extra embedded --group dev --output-file requirements.lock pyproject.toml
	grep --only-matching '^uv==[^ ]*' requirements.lock | $(UV) pip compile --quiet --universal --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate --output-file requirements-uv.lock -
	$(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --constraint requirements.lock --output-file requirements-run.lock pyproject.toml
	$(UV) pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --group fuzz --output-file requirements-fuzz.lock

clean: ## Remove .venv and everything that the tools have cached here
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
