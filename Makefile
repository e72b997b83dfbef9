# Needs Python 3.11 to 3.13 and make. Everything else is installed from uv.lock into a folder of this checkout.
# `make test PYTHON=python3.12` uses another Python, in an environment of its own: .venv-python3.12.

PYTHON ?= python3
VENV ?= .venv$(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))
ARGS ?=

bin := $(VENV)/bin
ready := $(VENV)/.ready
export UV_PROJECT_ENVIRONMENT := $(VENV)
export UV_PYTHON_DOWNLOADS := never
# Where it is set, every process compiles all that it imports: some seconds for each, and the tests start dozens.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: test-cluster help setup demo dev peers test bench check audit docs down clean

help: ## List these commands.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(ready) ## Create or update the environment. The commands below do it themselves.

demo: $(ready) ## Load sample creators, run the lineage, search. ARGS="--data FOLDER" loads your own.
	$(bin)/cippus demo $(ARGS)

dev: $(ready) ## Serve the Dagster UI on the embedded stack, at http://127.0.0.1:3000.
	$(bin)/cippus dev $(ARGS)

peers: $(ready) ## Install what `make bench NAME=extract` and others compare Cippus with.
	$(bin)/uv sync --quiet --locked --all-extras --group bench --python $(bin)/python

# Three processes share few cores: pools of threads in each only wake each other. Children that tests start have them.
test: export POLARS_MAX_THREADS := 1
test: export TOKIO_WORKER_THREADS := 1
test: $(ready) ## Run the tests. ARGS="-k words" selects some.
	$(bin)/pytest -n 3 --dist loadfile $(ARGS)

test-cluster: $(ready) ## Run the scenarios on three Qdrant nodes of QDRANT_BINARY=/path/to/qdrant.
	QDRANT_BINARY=$(QDRANT_BINARY) $(bin)/pytest tests/cluster $(ARGS)

bench: $(ready) ## Run the benchmark that NAME=throttle names. ARGS=--json prints JSON.
	$(bin)/python -m tests.benchmarks $(NAME) $(ARGS)

check: $(ready) ## Check formatting, lint, types, layers, lock file, CI workflows and documentation.
	$(bin)/uv lock --check --quiet
	$(bin)/ruff format --check .
	$(bin)/ruff check .
	$(bin)/mypy
	$(bin)/lint-imports
	$(bin)/zizmor --offline --quiet --persona pedantic .github
	$(bin)/check-jsonschema --builtin-schema vendor.github-workflows $(wildcard .github/workflows/*.yml)
	$(MAKE) --no-print-directory docs

# uv exits with 1 for a vulnerability, and with 2 where it cannot reach the advisories: GitHub can, so there it fails.
audit: $(ready) ## Look up known vulnerabilities of every locked package, if their list can be reached.
	$(bin)/uv audit --locked || { code=$$?; test $$code = 2 && echo "Not audited: the advisories of api.osv.dev cannot be reached." && test -z "$$GITHUB_ACTIONS"; }

docs: $(ready) ## Build the documentation into docs/_build/html; fail on any warning.
	$(bin)/sphinx-build --fail-on-warning --keep-going --nitpicky --quiet docs docs/_build/html

down: $(ready) ## Stop the embedded stack. Its data stays.
	$(bin)/cippus down

clean: ## Stop the embedded stack. Delete the environment, caches and built documentation, but no data.
	if [ -x $(bin)/cippus ]; then $(bin)/cippus down; fi
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis docs/_build docs/reference

$(ready): pyproject.toml uv.lock .uv-requirements.txt
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info[:2] <= (3, 13); sys.exit(not ok and "Cippus needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is " + sys.version.split()[0] + ": make PYTHON=python3.12 ...")'
	test -x $(bin)/pip || $(PYTHON) -m venv $(VENV)
	$(bin)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .uv-requirements.txt
	$(bin)/uv sync --quiet --locked --all-extras --python $(bin)/python
	@touch $@
