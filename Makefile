# The commands the project keeps. Each works from a bare clone: the first one run builds .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# A file's tests share what it set up, so a file goes to one worker whole; the longest begin (tests/conftest.py).
PARALLEL := -n auto --dist loadfile --no-loadscope-reorder
HOME_DIR ?= twinward-home
# Compiled once, not in each of the hundreds of processes that the tests start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup flower simulation run serve test test-all kills bench quality conformity house sensitivity fmt check mutations slither docs pictures lock sbom clean
help:
	@grep -hE '^## ' $(MAKEFILE_LIST) | sed 's/^## //'

# deploy/install.py installs: with uv, or with pip where uv cannot be had (INSTALLER=auto|uv|pip).
INSTALLER ?= auto
INSTALL   := deploy/install.py --installer $(INSTALLER)
# TORCH=cpu takes the PyTorch project's CPU build (pip must reach it: PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS), pypi the one
# on PyPI, on Linux with 3 GB of CUDA; auto takes the CPU build where pip sees it.
TORCH ?= auto
# HASHES=no is for a platform or a build of torch that the lock files do not know: versions only, and said so.
HASHES ?= yes

$(READY): pyproject.toml constraints.txt $(wildcard requirements*.lock) deploy/install.py deploy/uv-requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Twinward needs Python 3.11, 3.12 or 3.13; {sys.executable} is {v.major}.{v.minor}. Say which: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv $(VENV)
	@echo "Installing the files of requirements.lock, each held to its hash …"
	$(BIN)/python $(INSTALL) requirements.lock --project --torch $(TORCH) --hashes $(HASHES)
	-@$(BIN)/python -m twinward_crypto.kernels
	@touch $(READY)

## make setup     build .venv, each file held to the hash in requirements.lock (HASHES=no: to versions only)
setup: $(READY)

## make run       the main job end to end on the embedded defaults (= twinward demo)
run: $(READY)
	$(BIN)/twinward demo --home $(HOME_DIR) --force

## make serve     the node that `make run` left ready: API and officer's console
serve: $(READY)
	$(BIN)/twinward node serve --home $(HOME_DIR)

## make test      the tests a developer runs (minutes, nothing outside .venv needed)
test: $(READY)
	@$(BIN)/python -m tests.checks.passed begin
	$(BIN)/python -m pytest -m "not slow" $(PARALLEL) --durations=25
	@$(BIN)/python -m tests.checks.passed end

## make test-all  everything, slow suites included (anvil, forge, Chromium, kill -9); what `make test` passed on the
##                very same files is not run again
test-all: $(READY) .venv-flower/.ready .venv-simulation/.ready contracts/node_modules/.ready tests/clients/javascript/node_modules/.ready
	@$(BIN)/python -m tests.checks.passed || $(MAKE) --no-print-directory test
	$(BIN)/python -m pytest -m slow $(PARALLEL)

## make kills     the crash tests alone, each killing as often as is promised (test-all: a few times each)
kills: $(READY)
	TWINWARD_KILLS=all $(BIN)/python -m pytest -m slow $(PARALLEL) --timeout 3600 $$(grep -rl '^from tests.kills' tests)

%/node_modules/.ready: %/package.json %/package-lock.json
	cd $* && npm ci --silent --no-audit --no-fund
	@touch $@

## make conformity   FHIR examples: taken, refused for a reason, wrong (exit 1 if any is)
conformity: $(READY)
	$(BIN)/python -m tests.checks.conformity

## make house      the house in figures: files, rooms, circles, and what five jobs walk through
house: $(READY)
	$(BIN)/python -m tests.checks.house --walks

## make sensitivity  recall and false alarms of recognising sensitive content, on the kept cases
sensitivity: $(READY)
	$(BIN)/python -m tests.checks.sensitivity

## make fmt       put the code in order: what ruff mends of itself, imports, layout
fmt: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

## make check     lint, types, import direction, docs match help, contract artefacts fresh
check: $(READY) contracts/node_modules/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.checks.readme
	$(BIN)/python -m tests.checks.artefacts

# slither-analyzer wants an older web3 than the product: an environment of its own.
.venv-slither/.ready: contracts/tools/slither-requirements.lock
	$(PYTHON) -m venv .venv-slither
	.venv-slither/bin/python $(INSTALL) $<
	@touch $@

## make slither   static analysis of the contracts, in an environment of its own
slither: .venv-slither/.ready contracts/node_modules/.ready
	cd contracts && FOUNDRY_DISABLE_NIGHTLY_WARNING=1 node_modules/.bin/forge build src --force --quiet --build-info \
	  --out out/slither --build-info-path out/slither/build-info --cache-path cache/slither
	cd contracts && PATH="$$PWD/node_modules/.bin:$$PATH" ../.venv-slither/bin/slither .

# flwr wants protobuf < 7 and brings uvloop and httptools, which the node's server would take: an environment of its own,
# with the project on its path and nothing of the node's.
.venv-flower/.ready: deploy/flower-requirements.lock
	$(PYTHON) -m venv .venv-flower
	.venv-flower/bin/python $(INSTALL) $<
	.venv-flower/bin/python -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "twinward.pth").write_text("\n".join(str(pathlib.Path(one).resolve()) for one in ("platform", "ledger", "contracts", "crypto")))'
	@touch $@

## make flower    studies over Flower: an environment of its own, .venv-flower/bin/python -m twinward site flower
flower: .venv-flower/.ready

.venv-simulation/.ready: deploy/simulation-requirements.lock
	$(PYTHON) -m venv .venv-simulation
	.venv-simulation/bin/python $(INSTALL) $<
	.venv-simulation/bin/python -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "twinward.pth").write_text("\n".join(str(pathlib.Path(one).resolve()) for one in ("platform", "ledger", "contracts", "crypto")))'
	@touch $@

## make simulation  many simulated hospitals on Flower's engine: .venv-simulation/bin/python -m twinward study run --simulate
simulation: .venv-simulation/.ready

.venv-tools/.ready: deploy/tools-requirements.lock
	$(PYTHON) -m venv .venv-tools
	.venv-tools/bin/python $(INSTALL) $<
	@touch $@

.venv-docs/.ready: deploy/docs-requirements.lock
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python $(INSTALL) $<
	@touch $@

## make docs      every page as a site that can be searched -> build/docs/platform/docs/index.html
docs: .venv-docs/.ready
	.venv-docs/bin/sphinx-build -q -W --keep-going -b html -c platform/docs . build/docs
	@echo "open build/docs/platform/docs/index.html"

# Without the installer's last check, which misses yattag (deploy/lock.py says why it is left out).
# Cosmic Ray brings a click and an SQLAlchemy newer than the product's: an environment of its own.
.venv-mutations/.ready: deploy/mutations-requirements.lock
	$(PYTHON) -m venv .venv-mutations
	.venv-mutations/bin/python $(INSTALL) --no-check $<
	@.venv-mutations/bin/python -c 'import cosmic_ray.mutating, cosmic_ray.plugins'
	@touch $@

## make mutations  change the security lines one by one: do the tests notice? -> build/mutations.json
SECONDS ?= 240
mutations: $(READY) .venv-mutations/.ready
	.venv-mutations/bin/python -m tests.checks.mutations --seconds $(SECONDS) --json build/mutations.json

## make pictures  draw pictures of text and take those of the console's pages (needs Graphviz and Chromium)
pictures: $(READY)
	@command -v dot >/dev/null || { echo "make pictures needs Graphviz: apt-get install graphviz, or brew install graphviz" >&2; exit 2; }
	for source in platform/docs/pictures/*.dot; do dot -Tsvg "$$source" -o "$${source%.dot}.svg"; done
	$(VENV)/bin/python -m tests.checks.pictures

## make lock      resolve again after a change of pyproject.toml or constraints.txt; writes the lock files
lock: .venv-tools/.ready
	.venv-tools/bin/python deploy/lock.py

## make sbom      what the environment and the contracts are made of, as CycloneDX -> sbom.json, sbom-contracts.json
sbom: $(READY) .venv-tools/.ready
	.venv-tools/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type application --output-reproducible \
	  --output-file sbom.json $(BIN)/python
	cd contracts && npm sbom --package-lock-only --sbom-format cyclonedx --sbom-type application > ../sbom-contracts.json

## make bench     ratios against baselines measured in the same run -> bench-results.json
bench: $(READY)
	$(BIN)/python -m tests.benchmarks

## make quality   private detectors beside the best plain one, and what the rule refuses -> build/quality.json; goes on where it was
quality: $(READY)
	@mkdir -p build
	$(BIN)/python -m tests.benchmarks --only "studies.[qo]*" --output build/quality.json

clean:
	rm -rf $(VENV) .venv-flower .venv-simulation .venv-slither .venv-tools .venv-docs .venv-mutations build contracts/node_modules tests/clients/javascript/node_modules contracts/out contracts/cache
