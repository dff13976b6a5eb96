PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Of this repository, wherever the environment was made.
export PYTHONPATH := $(CURDIR)/src$(if $(PYTHONPATH),:$(PYTHONPATH))

help: ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

setup: .venv/requirements.lock ## the environment in .venv, from requirements.lock
	@# The scripts of an environment name its folder: a clone that was copied or moved needs one of its own.
	@grep -qsF "$(CURDIR)/.venv" .venv/bin/activate || { sh scripts/setup.sh $(PYTHON) && cp requirements.lock .venv; }
demo: .venv/requirements.lock ## every stage on handwritten digits, results in build/demo (minutes, no download)
	python -m resode demo
repro: .venv/requirements.lock ## every stage on CIFAR-10 with params.yaml
	@python -m resode check
	@python -m resode.pipeline.dvc repro || { python -m resode check; exit 1; }
data: .venv/requirements.lock ## ARCHIVE=path: CIFAR-10 from its archive (or the unpacked folder), without a network
	python -m resode cifar10 "$(or $(ARCHIVE),$(error give the archive: make data ARCHIVE=path))"
	@# For DVC as if it had run the stage.
	@python -m dvc commit --force --quiet cifar10
sweep: .venv/requirements.lock ## h and the unroll length on digits, to results/sweep (six minutes)
	python -m resode digits
	python -m resode sweep
site: .venv/requirements.lock ## a site of the pages in docs/ and results/, in build/site
	@python -m resode site
experiments: .venv/requirements.lock ## `dvc exp show` with what matters, in 120 columns, and the runs of runs.yaml
	@test -t 1 || export COLUMNS=200; python -m dvc exp show --no-pager --drop '.*' --keep '^(Experiment|model\.(h|unroll_length|block|integrator)|(test|validation)_accuracy|epochs|hours)$$'
	@python -c "import pandas; print(pandas.read_json('results/readme/runs.json', orient='index').to_string())"
PYTEST = python -m pytest --numprocesses logical --maxprocesses 4 --dist loadscope --max-worker-restart 0
test: .venv/requirements.lock ## whether this copy works, on TensorFlow and on JAX (three minutes)
	KERAS_BACKEND=tensorflow $(PYTEST) -m "not slow"
	KERAS_BACKEND=jax $(PYTEST) -m "jax and not slow"
test-all: test ## and everything that takes longer (a quarter of an hour)
	KERAS_BACKEND=tensorflow $(PYTEST) -m slow
	KERAS_BACKEND=jax $(PYTEST) -m "jax and slow"
lint: .venv/requirements.lock ## ruff
	ruff check .
	ruff format --check .

# Made anew only when the lock's content changed; an install that fails leaves the last one.
.venv/requirements.lock: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "resode needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@cmp -s $< $@ || sh scripts/setup.sh $(PYTHON)
	@cp $< $@

.PHONY: help setup demo repro data sweep site experiments test test-all lint
