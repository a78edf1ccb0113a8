# `make demo` and `make test` need Python >= 3.11, make and a package index; all else they
# set up themselves, in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-fast check bench clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## A corpus spoken and a live stream followed; no key, no server
	@exec $(BIN)/python -m speechfleet.demo

test: $(VENV)/.dev ## All tests
	@status=0; for tests in "unit tests/conformance" "integration tests/acceptance"; do \
		$(BIN)/python -m pytest -n 2 --dist loadfile --durations 8 tests/$$tests || status=1; \
	done; exit $$status

test-fast: $(VENV)/.dev ## The tests that take seconds
	@exec $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" tests/unit tests/conformance

check: $(VENV)/.dev ## Style and types
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m mypy

bench: $(VENV)/.dev ## Benchmarks; fails where one is below its floor
	@failed=; for script in tests/benchmarks/bench_*.py; do name=$$(basename $$script .py); \
		echo "== $$name"; $(BIN)/python -m tests.benchmarks.$$name || failed="$$failed $$name"; \
	done; [ -z "$$failed" ] || { echo "below the floor:$$failed" >&2; exit 1; }

clean: ## Remove what was set up or built here
	@rm -rf $(VENV) dist demo-data .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find client worker tests -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up: a stamp is touched on success only, so that a failure is tried again -------------

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "speechfleet needs Python >= 3.11; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
		echo "With another one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1; }
	@[ -n "$(UV)" ] || $(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments: apt install python3-venv" >&2; \
		echo "(or install uv, or use another one: make $(MAKECMDGOALS) PYTHON=...)" >&2; exit 1; }
	@rm -rf $(VENV)
	@if [ -n "$(UV)" ]; then "$(UV)" venv --quiet --python "$(PYTHON)" $(VENV); \
	else $(PYTHON) -m venv $(VENV); fi

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@$(call install,worker$(,)local)

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@$(call install,dev)
	@touch $(VENV)/.demo

, := ,
define install
echo "Installing speechfleet[$(1)] into $(VENV) ..."; \
if [ -n "$(UV)" ]; then set -- "$(UV)" pip install --quiet --python $(BIN)/python; \
else set -- $(BIN)/python -m pip install --quiet --disable-pip-version-check; fi; \
"$$@" --editable '.[$(1)]' >$(VENV)/install.log 2>&1 \
	|| { cat $(VENV)/install.log >&2; echo "The installation failed; see above." >&2; exit 1; }; \
touch $@
endef
