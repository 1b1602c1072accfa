# `make demo` and `make test` are the two commands; `make help` lists the rest.
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# Files of integration tests run side by side: each lane has servers of its own, which take 5 GiB. The demo needs two cores for itself.
LANES := 2
EXTRAS := mongo-init collection cdc processors graphql tracing stack build node

# Hundreds of processes start in a test run: each would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup prerequisites demo test test-unit properties chaos lint format docs lock graphiql browser bench clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

prerequisites: ## Find (or, as root with apt, install) Java 17, Maven and Redis
	@bash scripts/prerequisites

$(STAMP): requirements/dev.txt pyproject.toml
	@bash scripts/venv $(VENV)
	@touch $@

setup: prerequisites $(STAMP) graphiql ## Everything that the demo and the tests need
	@$(VENV)/bin/millrace stack resolve

graphiql: $(STAMP) ## Build GraphiQL's files from its npm package
	@bash scripts/graphiql

demo: setup ## The whole pipeline here, on real baskets; CHECK=1 compares with the truth and stops
	@$(VENV)/bin/millrace demo $(if $(CHECK),--check) $(DEMO_ARGS)

test: setup test-unit ## All tests: unit, integration, e2e (real servers)
	@$(PY) -m pytest tests/integration --numprocesses $(LANES) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)
	@$(PY) -m pytest tests/e2e $(PYTEST_ARGS)

test-unit: $(STAMP) ## The tests that need no server
	@$(PY) -m pytest tests/unit --numprocesses auto --dist worksteal $(PYTEST_ARGS)

properties: $(STAMP) ## The tests that need no server, with forty times the examples
	@MILLRACE_TEST_EXAMPLES=40 $(PY) -m pytest tests/unit --numprocesses auto --dist worksteal $(PYTEST_ARGS)

chaos: setup ## Kill servers and jobs in mid-replay and compare with the truth
	@bash scripts/optional nginx
	@$(PY) -m pytest tests/chaos $(PYTEST_ARGS)

browser: setup ## Use GraphiQL in headless Chromium, which is installed where it is missing
	@bash scripts/optional chromium
	@$(PY) -m pytest tests/browser $(PYTEST_ARGS)

bench: setup ## Measure the whole pipeline on this machine; BENCH_ARGS="--json PATH"
	@$(PY) bench/end_to_end.py $(BENCH_ARGS)

lint: $(STAMP) ## ruff, mypy, import-linter
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-logo

format: $(STAMP) ## Format and sort imports
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

docs: $(STAMP) ## Write the generated parts of docs/ (commands, settings, metrics) from the code
	@$(PY) scripts/reference.py

lock: ## Renew the lock files (needs uv)
	@bash scripts/lock $(EXTRAS)

clean: ## Remove what was built here (not the cache of server artefacts)
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
