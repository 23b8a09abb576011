# Needs Python 3.10 or newer with venv; everything else is installed into $(VENV).

PYTHON ?= python3
VENV := .venv
WORKERS ?= 2
GRAPHS ?= 2000
SEED := $(or $(SEED),$(shell od -An -N3 -tu4 /dev/urandom | tr -d ' '))
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_DOCS := $(VENV)/.ready-docs

# TensorFlow's start-up notes would bury the output.
export TF_CPP_MIN_LOG_LEVEL ?= 3

.DEFAULT_GOAL := help
.PHONY: help demo docs test quick test-all test-oldest fuzz check format dist release clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1 \2/p' $(MAKEFILE_LIST) | while read -r target text; do \
		printf '  make %-12s %s\n' "$$target" "$$text"; \
	done

demo: $(READY) ## analyze the shipped pretrained ResNet into demo_output/
	$(BIN)/keras-erf analyze cifar_resnet14 --layer stage2_block2_out \
		--layer stage3_block2_out --size 64 --samples 64 --out demo_output

docs: $(READY_DOCS) ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

test: $(READY) ## run the tests
	$(BIN)/python -m pytest -n $(WORKERS) --mpl --mpl-baseline-path=$(CURDIR)/tests/baseline $(PYTEST_ARGS)

quick: $(READY) ## run the tests that are not slow, in under two minutes
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow" $(PYTEST_ARGS)

test-all: $(READY) ## run them on each Python that is installed
	$(BIN)/nox --session tests

test-oldest: $(READY) ## run them with the oldest dependencies
	$(BIN)/nox --session oldest

fuzz: $(READY) ## compare GRAPHS random graphs with brute force, from SEED
	@echo "GRAPHS=$(GRAPHS) SEED=$(SEED)"
	FUZZ_GRAPHS=$(GRAPHS) FUZZ_SEED=$(SEED) $(BIN)/python -m pytest -n $(WORKERS) \
		--hypothesis-profile fuzz tests/test_random_graphs.py tests/test_random_cones.py \
		tests/test_random_sums.py tests/test_random_dependence.py \
		$(PYTEST_ARGS)

check: $(READY) ## check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY) ## format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

dist: $(READY) ## build what is released into dist/, and check it
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

release: ## the same, of a commit that has the tag of its version
	@version="v$$(cut -d '"' -f 2 keras_erf/_version.py)"; tags="$$(git tag --points-at HEAD)"; \
	if ! printf '%s\n' "$$tags" | grep -qx "$$version" || [ -n "$$(git status --porcelain)" ]; then \
		echo "release: HEAD must have the tag $$version and no changes beside it. Tags: $${tags:-none}" >&2; \
		exit 1; \
	fi
	$(MAKE) dist

clean: ## remove the environment, builds, caches and default output folders
	rm -rf $(VENV) build dist site keras_erf.egg-info demo_output keras-erf-output
	rm -rf .coverage .hypothesis .nox .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp comes last and the folder goes first: an interrupted install never counts as done.
$(READY): setup.py
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --editable ".[test,browser,dev]"
	touch $@

$(READY_DOCS): $(READY)
	$(BIN)/python -m pip install --editable ".[docs]"
	touch $@
