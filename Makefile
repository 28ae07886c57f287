# The commands the project keeps. Each works from a bare clone: the first one run builds .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
HOME_DIR ?= twinward-home

.PHONY: help setup run serve test test-all bench check slither clean
help:
	@grep -hE '^## ' $(MAKEFILE_LIST) | sed 's/^## //'

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Twinward needs Python 3.11, 3.12 or 3.13; {sys.executable} is {v.major}.{v.minor}. Say which: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv $(VENV)
	@echo "Installing torch 2.13.0 first (the largest part), then everything else, at the versions of constraints.txt …"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 -c constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[all,dev]' -c constraints.txt
	@touch $(READY)

## make setup     build .venv with every pinned dependency
setup: $(READY)

## make run       the main job end to end on the embedded defaults (= twinward demo)
run: $(READY)
	$(BIN)/twinward demo --home $(HOME_DIR) --force

## make serve     the node that `make run` left ready: API and officer's console
serve: $(READY)
	$(BIN)/twinward node serve --home $(HOME_DIR)

## make test      the tests a developer runs (minutes, nothing outside .venv needed)
test: $(READY)
	$(BIN)/python -m pytest -m "not slow"

## make test-all  everything, slow suites included (anvil, forge, Chromium, kill -9)
test-all: $(READY) contracts/node_modules/.ready
	$(BIN)/python -m pytest

contracts/node_modules/.ready: contracts/package.json contracts/package-lock.json
	cd contracts && npm ci --silent --no-audit --no-fund
	@touch $@

## make check     lint, types, import direction, docs match help, contract artefacts fresh
check: $(READY) contracts/node_modules/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.checks.readme
	$(BIN)/python -m tests.checks.artefacts

# slither-analyzer wants an older web3 than the product: an environment of its own.
.venv-slither/.ready: contracts/tools/slither-requirements.txt
	$(PYTHON) -m venv .venv-slither
	.venv-slither/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

## make slither   static analysis of the contracts, in an environment of its own
slither: .venv-slither/.ready contracts/node_modules/.ready
	cd contracts && FOUNDRY_DISABLE_NIGHTLY_WARNING=1 node_modules/.bin/forge build src --force --quiet --build-info \
	  --out out/slither --build-info-path out/slither/build-info --cache-path cache/slither
	cd contracts && PATH="$$PWD/node_modules/.bin:$$PATH" ../.venv-slither/bin/slither .

## make bench     ratios against baselines measured in the same run -> bench-results.json
bench: $(READY)
	$(BIN)/python -m tests.benchmarks

clean:
	rm -rf $(VENV) .venv-slither contracts/node_modules contracts/out contracts/cache
