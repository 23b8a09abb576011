# Needs Python 3.10 or newer with venv; everything else is installed into $(VENV).

PYTHON ?= python3
VENV := .venv
WORKERS ?= 2
GRAPHS ?= 2000
SEED := $(or $(SEED),$(shell od -An -N3 -tu4 /dev/urandom | tr -d ' '))
BIN := $(VENV)/bin
# Stamps: the package alone, and with extras of setup.py, which their names list.
READY := $(VENV)/.ready
READY_TEST := $(READY)-test,browser
READY_DEV := $(READY)-dev
READY_DOCS := $(READY)-docs
# Per cent of lines and branches that the tests must reach. A small part of them reached 73: raise it after a whole run.
COVERAGE := 70

# Each worker has a run of neighbours, which share what they solve; one that is done takes of another's.
XDIST = -n $(WORKERS) --dist worksteal
PYTEST = $(BIN)/python -m pytest $(XDIST) --mpl --mpl-baseline-path=$(CURDIR)/tests/baseline

# TensorFlow's start-up notes would bury the output.
export TF_CPP_MIN_LOG_LEVEL ?= 3

.DEFAULT_GOAL := help
.PHONY: help demo docs test quick coverage test-all test-oldest test-nightly fuzz check phrases format dist release clean
# Two installs into one environment must not run at the same time.
.NOTPARALLEL:

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1 \2/p' $(MAKEFILE_LIST) | while read -r target text; do \
		printf '  make %-12s %s\n' "$$target" "$$text"; \
	done

demo: $(READY) ## analyze the shipped pretrained ResNet into demo_output/
	$(BIN)/keras-erf analyze cifar_resnet14 --layer stage2_block2_out \
		--layer stage3_block2_out --size 64 --samples 64 --out demo_output

docs: $(READY_DOCS) ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

test: $(READY_TEST) ## run the tests
	$(PYTEST) $(PYTEST_ARGS)

coverage: $(READY_TEST) ## run the tests and fail below COVERAGE per cent
	$(PYTEST) --cov --cov-report=term --cov-report=xml --cov-fail-under=$(COVERAGE) $(PYTEST_ARGS)

quick: $(READY_TEST) ## run those that take no more than a moment, in two minutes
	$(BIN)/python -m pytest $(XDIST) -m "not slow" $(PYTEST_ARGS)

test-all: $(READY_DEV) ## run them on each Python that is installed
	$(BIN)/nox --session tests

test-oldest: $(READY_DEV) ## run them with the oldest dependencies
	$(BIN)/nox --session oldest

test-nightly: $(READY_DEV) ## run them with the Keras that is not released yet
	$(BIN)/nox --session nightly

fuzz: $(READY_TEST) ## compare GRAPHS random graphs with brute force, from SEED
	@echo "GRAPHS=$(GRAPHS) SEED=$(SEED)"
	FUZZ_GRAPHS=$(GRAPHS) FUZZ_SEED=$(SEED) $(BIN)/python -m pytest $(XDIST) \
		--hypothesis-profile fuzz tests/test_random_graphs.py tests/test_random_cones.py \
		tests/test_random_sums.py tests/test_random_dependence.py \
		$(PYTEST_ARGS)

check: $(READY_DEV) ## check format, lint, types, spelling and phrases
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(PYTHON) scripts/plain_english.py

phrases: ## list phrases that plain English avoids
	@$(PYTHON) scripts/plain_english.py

format: $(READY_DEV) ## format the code and fix what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

dist: $(READY_DEV) ## build what is released into dist/, and check it
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

release: ## the same, of a commit that has the tag of its version
	@version="v$$(cut -d '"' -f 2 keras_erf/_version.py)"; tags="$$(git tag --points-at HEAD)"; \
	if ! printf '%s\n' "$$tags" | grep -qx "$$version" || [ -n "$$(git status --porcelain)" ]; then \
		echo "release: HEAD must have the tag $$version and no uncommitted changes. Tags: $${tags:-none}" >&2; \
		exit 1; \
	fi
	$(MAKE) dist

clean: ## remove the environment, builds, caches and default output folders
	rm -rf $(VENV) build dist site keras_erf.egg-info demo_output keras-erf-output
	rm -rf .coverage coverage.xml .hypothesis .nox .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp comes last and the folder goes first: an interrupted install never counts as done.
$(READY): setup.py
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --editable .
	touch $@

# While pip adds an extra the environment is not ready: if pip is killed, the next command builds all of it again.
# If pip itself gives up, say without a network, what was there stays usable.
$(READY)-%: $(READY)
	mv $< $(VENV)/.installing
	$(BIN)/python -m pip install --editable ".[$*]" || { mv $(VENV)/.installing $<; exit 1; }
	mv $(VENV)/.installing $<
	touch $@
