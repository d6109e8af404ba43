# Everything a developer or CI runs. A machine with Python 3.11+ and make is enough: .venv is set up on the way.
SHELL := bash
PORT ?= 8000
PYTHON ?= python3
ARGS ?=
SECONDS ?= 60
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help run check format test bench chaos screenshot dashboards images chart publish e2e kube-tools checkov lock clean

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/run.stamp ## Start it all on this machine: API on PORT (8000), worker, embedded Valkey; Ctrl-C ends it
	@exec .venv/bin/iris up --port $(PORT)

check: .venv/dev.stamp ## Lint, formatting, types, import contracts; changes nothing
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/python -m pip check

format: .venv/dev.stamp ## Format the code and mend what ruff can
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

# python -m pytest, not pytest: it puts the root on the path, as a user's shell does (tests/unit/test_layout.py).
test: ## Run every test; ARGS="-k readyz" narrows it
	@$(MAKE) --no-print-directory -j2 .venv/dev.stamp .venv-clients/clients.stamp
	@requirements/programs.sh
	.venv/bin/python -m pytest -n 5 --dist loadgroup $(ARGS)

bench: .venv/dev.stamp ## Measure it side by side with the article's service
	.venv/bin/python benchmarks/run.py $(ARGS)

chaos: .venv/dev.stamp ## Kill, freeze and cut off its parts for SECONDS (60) and count what was lost
	.venv/bin/python tests/faults/chaos.py --seconds $(SECONDS) $(ARGS)

screenshot: .venv/dev.stamp ## Take the README's picture of the page anew
	.venv/bin/python tests/browser/screenshot.py

dashboards: .venv/dev.stamp ## Write the dashboards and docs/metrics.md, and draw them from a real run (2 min)
	@requirements/programs.sh
	.venv/bin/python monitoring/write.py
	.venv/bin/python monitoring/pictures.py

images: .venv/dev.stamp ## Build the images iris-api, -api-inline, -worker and -operator, tagged TAG (dev); what each holds into dist/
	@.ci/images
	@.venv/bin/python requirements/sbom.py dist
	@.ci/checksums

chart: .venv/dev.stamp ## Package charts/iris into dist/, with the version of pyproject.toml
	@.ci/chart
	@.ci/checksums

publish: .venv/dev.stamp ## Push images, and the chart with their digests, to REGISTRY (host/path); both into dist/
	@.ci/publish

e2e: .venv/dev.stamp kube-tools ## Install, predict, roll out, scale and uninstall on a kind cluster made for it
	@.ci/e2e $(ARGS)

kube-tools: .venv/dev.stamp ## Obtain etcd, kube-apiserver, ... for tests/cluster: cached, downloaded or built (once)
	@.venv/bin/python k8s/tools/kube_tools.py $(ARGS)

checkov: .venv/dev.stamp ## Read what the chart renders for what is unsafe; needs make kube-tools
	@.ci/checkov

lock: .venv/dev.stamp ## Resolve pyproject.toml into requirements/*.txt anew
	@requirements/lock.sh

clean: ## Remove .venv, caches and build results; the queue's data in .iris stays
	rm -rf .venv .venv-clients dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/run.stamp: requirements/run.txt requirements/install.sh pyproject.toml
	@requirements/install.sh run
	@touch $@

# What clients of other servers need is no business of ours, and would be at odds with it.
.venv-clients/clients.stamp: requirements/clients.txt requirements/clients.sh requirements/install.sh
	@requirements/clients.sh

# The developer's lock holds everything of the smaller one.
.venv/dev.stamp: requirements/dev.txt requirements/install.sh pyproject.toml
	@requirements/install.sh dev
	@touch .venv/run.stamp $@
