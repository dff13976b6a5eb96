PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)

help: ## this list
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

setup: .venv/ready ## the environment in .venv, from requirements.lock
demo: .venv/ready ## every stage on handwritten digits, results in build/demo (minutes, no download)
	python -m resode demo
repro: .venv/ready ## every stage on CIFAR-10 with params.yaml
	@python -m resode check
	@dvc repro || { echo "The pipeline stopped; the message above says where. No network? make data ARCHIVE=path" >&2; exit 1; }
data: .venv/ready ## ARCHIVE=path: the CIFAR-10 archive (or its unpacked folder) from a file
	python -m resode data "$(or $(ARCHIVE),$(error give the archive: make data ARCHIVE=path))"
test: .venv/ready ## the whole suite, on TensorFlow and on JAX
	KERAS_BACKEND=tensorflow python -m pytest
	KERAS_BACKEND=jax python -m pytest -m "not pipeline"
lint: .venv/ready ## ruff
	ruff check .

# Made anew only when the lock or the package's metadata changed; a broken install leaves no mark.
.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "resode needs Python 3.11 or newer: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv --clear .venv
	.venv/bin/pip install --quiet --require-hashes -r requirements.lock
	.venv/bin/pip install --quiet --no-deps --no-build-isolation --editable .
	touch .venv/ready

.PHONY: help setup demo repro data test lint
