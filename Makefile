# MosaicBench: `make demo` runs the demo benchmark to its report, `make test` passes the tests; both set up first.
# STUDY names a study file, CONFIG overrides keys of it or of the demo (CONFIG="data_dir=DIR device=cpu"), ARGS goes to Snakemake or pytest.
SHELL := /bin/bash
PYTHON ?= python3
CORES ?= $(shell nproc)
STUDY ?= config/config.yaml
CONFIG ?=
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
RUN := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake --cores $(CORES) --workflow-profile workflow/profiles/default
OVERRIDES = $(if $(CONFIG),--config $(CONFIG))
# Snakemake reads the study file before the workflow can: of a file that it cannot read it prints a traceback.
VALIDATE = $(BIN)/python -m workflow validate --configfile $(STUDY) $(OVERRIDES)
LOCK_HASH = $(shell sha256sum envs/main.lock | cut -c1-16)

.DEFAULT_GOAL := help
.PHONY: help setup env envs env-files demo test test-slurm test-faults study dry-run figures retry-failed lint format docs clean

help:  ## Say what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup:  ## Create .venv with the pinned dependencies (nothing is done if it is up to date)
	@if [ "$$(cat $(VENV)/.lock-hash 2>/dev/null)" != "$(LOCK_HASH)" ]; then \
	  set -e; \
	  $(PYTHON) -c 'import sys; assert sys.version_info[:2] == (3, 11), "MosaicBench is pinned for Python 3.11, this is %d.%d: make PYTHON=python3.11" % sys.version_info[:2]'; \
	  echo "Set-up: creating $(VENV) (one time, a few minutes)"; \
	  test -x $(BIN)/python || $(PYTHON) -m venv $(VENV); \
	  echo "Set-up: installing torch"; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0; \
	  echo "Set-up: installing envs/main.lock ($$(grep -c == envs/main.lock) packages)"; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -r envs/main.lock; \
	  echo "$(LOCK_HASH)" > $(VENV)/.lock-hash; \
	  echo "Set-up: done"; \
	fi

env:  ## Build the environment of some models in .venvs: make env NAME=torch-packages
	@$(PYTHON) -m models.environments build "$(NAME)"

envs:  ## Build all environments of models
	@$(PYTHON) -m models.environments build --all

env-files:  ## Copy the locks in envs/ into the conda files beside them
	@$(PYTHON) -m models.environments conda-files

demo: setup  ## Run the demo benchmark to results/demo/report.html
	@echo "Demo: config/config.yaml on $(CORES) cores"
	@$(RUN) $(OVERRIDES) $(ARGS)
	@echo "Demo: the report is results/demo/report.html"

study: setup  ## Run a study: make study STUDY=config/studies/real_smoke.yaml CONFIG="data_dir=DIR"
	@$(VALIDATE)
	@$(RUN) --configfile $(STUDY) $(OVERRIDES) $(ARGS)

dry-run: setup  ## Say what a study would do: make dry-run STUDY=...
	@$(VALIDATE)
	@$(RUN) --configfile $(STUDY) $(OVERRIDES) --dry-run --quiet $(ARGS)

figures: setup  ## Draw the papers' figures of a study that ran: make figures STUDY=config/studies/NAME.yaml (or its name)
	@test "$(STUDY)" != config/config.yaml || { echo "make figures: name the study of a paper, such as STUDY=config/studies/scmvp_scaling_small.yaml" >&2; exit 2; }
	@$(BIN)/python -m benchmarks figures --study-folder results/$(basename $(notdir $(STUDY))) --output results/$(basename $(notdir $(STUDY)))/figures $(ARGS)

retry-failed: setup  ## Train the failed runs of a study again: make retry-failed STUDY=...
	@$(BIN)/python -m workflow retry-failed --configfile $(STUDY) $(OVERRIDES)
	@$(RUN) --configfile $(STUDY) $(OVERRIDES) $(ARGS)

test: setup  ## Run the tests
	@echo "Tests: running (browser, R and data tests run where these are there; those on SLURM by make test-slurm)"
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 PATH="$(CURDIR)/$(BIN):$$PATH" \
	  $(BIN)/python -m pytest -n $(CORES) --dist loadfile $(ARGS)

test-slurm: setup  ## Test on a SLURM of one node, started for it (root, slurm-wlm, munge; docs/cluster.md)
	@MOSAICBENCH_TEST_SLURM=1 OMP_NUM_THREADS=1 PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest tests/slurm -s $(ARGS)

test-faults: setup  ## Test what survives kills, full disks, clocks, bad models (10 to 14 minutes; root for the disks; docs/reliability.md)
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 PATH="$(CURDIR)/$(BIN):$$PATH" \
	  MOSAICBENCH_FAULTS_TABLE="$(CURDIR)/results/fault_kills.tsv" $(BIN)/python -m pytest -m "faults or not faults" tests/faults $(ARGS)

lint: setup  ## Check the form of the code and the workflow
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/snakefmt --check Snakefile workflow/rules
	@$(BIN)/snakemake --lint

format: setup  ## Format the code and the workflow
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format . && $(BIN)/snakefmt Snakefile workflow/rules

docs: setup  ## Write the generated documents anew
	@$(BIN)/python -m benchmarks document-metrics --output docs/metrics.md
	@$(BIN)/python -m models document --output docs/models.md

clean:  ## Remove caches (results and .venv stay)
	@rm -rf .pytest_cache .ruff_cache .hypothesis; find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
