# Every target makes .venv from the lock by itself: make demo · test · test-all · bench · lint · docs
PYTHON ?= python3
CORES ?= all
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
READY := $(VENV)/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)

SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help env demo test test-all test-runs test-rest bench lint format docs lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

env: $(READY)  ## the locked environment in .venv

$(READY): envs/requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' || \
		{ echo "artneuro needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Installing the locked environment into $(VENV) (a few minutes, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# The lock is complete, so nothing is resolved, but for what torch needs for this machine's GPU.
	@$(PIP) --no-deps -r envs/requirements.lock
	@$(PIP) $$(grep '^torch==' envs/requirements.lock)
	@$(PIP) --no-deps --no-build-isolation -e .
	@$(BIN)/artneuro compile
	@touch $@

demo: $(READY)  ## the whole pipeline on a small language model; prints where the report is
	snakemake --cores $(CORES)
	@echo
	@echo "The report is at $(CURDIR)/results/report/index.html"

test: $(READY)  ## the unit tests (under 3 minutes)
	OMP_NUM_THREADS=1 python -m pytest -n auto --dist worksteal -m "not slow and not integration"

test-all: $(READY)  ## every test, the slow ones and the whole workflow too
	@# Side by side: those of reruns and of a cluster wait for much.
	$(MAKE) --jobs 2 --keep-going test-runs test-rest

RUNS := tests/workflow tests/integration/slurm

test-runs: $(READY)
	set -o pipefail; python -m pytest -v $(RUNS) | sed -u 's/^/runs: /'

test-rest: $(READY)
	set -o pipefail; python -m pytest $(addprefix --ignore=,$(RUNS)) | sed -u 's/^/rest: /'

bench: $(READY)  ## the benchmarks, as ratios against named peers; results in benchmarks/results.json
	python -m benchmarks

lint: $(READY)  ## ruff, mypy, snakefmt, snakemake --lint
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check Snakefile workflow
	snakemake --lint

format: $(READY)  ## reformat all code
	ruff check --fix .
	ruff format .
	snakefmt Snakefile workflow

docs: $(READY)  ## config/README.md and the config's JSON schema, from the config models
	artneuro config docs

lock: $(READY)  ## resolve pyproject.toml anew into envs/
	python envs/lock.py

clean:  ## remove results and fetched inputs, keep downloads and .venv
	rm -rf results logs resources/fetched .snakemake
