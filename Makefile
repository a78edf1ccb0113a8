# `make demo` and `make test` need Python >= 3.11, make and a package index; all else they
# set up themselves, in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEV_UV := $(BIN)/python -m uv
TEST_TOOLS := pytest pytest-asyncio pytest-timeout pytest-xdist hypothesis 'fakeredis[lua]'
UV := $(shell command -v uv 2>/dev/null)
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --config-file docs/site/mkdocs.yml
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-fast test-floor test-latest test-pythons check sync docs bench soak soak-short lock sbom clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## A corpus spoken and a live stream followed; no key, no server
	@exec $(BIN)/python -m speechfleet.demo

test: $(VENV)/.dev $(VENV)/agentscope1/.ready $(VENV)/agentscope-oldest/.ready ## All tests
	@status=0; for tests in "2 tests/unit tests/conformance" "4 tests/integration tests/acceptance"; do \
		$(BIN)/python -m pytest --dist loadfile --durations 8 -n $$tests || status=1; \
	done; \
	$(VENV)/agentscope1/bin/python -m pytest -q -n 2 --dist loadfile tests/frameworks/agentscope1 || status=1; \
	$(VENV)/agentscope-oldest/bin/python -m pytest -q -n 2 $(AGENTSCOPE_TESTS) || status=1; exit $$status

# Versions of AgentScope that exclude each other: each in an environment of its own. Their
# warnings about what they import are shown, and are no errors.
AGENTSCOPE_TESTS := tests/unit/client/integrations/test_agentscope.py \
	tests/acceptance/test_agentscope_agent.py
$(VENV)/agentscope1/.ready: pyproject.toml | $(VENV)/.dev
	@$(call install_beside,$(VENV)/agentscope1,'.[local$(,)dashscope$(,)agentscope1]')
$(VENV)/agentscope-oldest/.ready: pyproject.toml | $(VENV)/.dev
	@$(call install_beside,$(VENV)/agentscope-oldest,'.[local]' agentscope==2.0.2)

test-latest: $(VENV)/.dev ## The tests of frameworks with the newest release of each
	@rm -rf $(VENV)/latest
	@$(call install_beside,$(VENV)/latest,'.[dev]',--upgrade --refresh)
	@exec $(VENV)/latest/bin/python -m pytest -q -W default::DeprecationWarning \
		tests/unit/client/integrations $(wildcard tests/acceptance/test_agentscope*.py \
		tests/acceptance/test_livekit*.py tests/acceptance/test_pipecat*.py \
		tests/acceptance/test_spoken_chains.py)

test-fast: $(VENV)/.dev ## The tests that take seconds
	@exec $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" tests/unit tests/conformance

FLOOR := $(VENV)/floor
FLOOR_TESTS := $(addprefix tests/unit/client/,batch cli corpus embedded ledger observability store) \
	tests/integration/test_job_life.py tests/integration/test_batches.py \
	tests/integration/test_pipeline.py tests/integration/test_client_local.py
# Warnings of old versions about each other are shown, and are no errors.
test-floor: $(VENV)/.dev ## The client's tests at the lowest versions of its dependencies
	@rm -rf $(FLOOR) && $(DEV_UV) venv --quiet --python $(BIN)/python $(FLOOR)
	@$(DEV_UV) pip install --quiet --python $(FLOOR)/bin/python --resolution lowest-direct \
		--editable '.[local,flower]'
	@$(DEV_UV) pip install --quiet --python $(FLOOR)/bin/python $(TEST_TOOLS)
	@exec $(FLOOR)/bin/python -m pytest -q -n 2 --dist loadfile -W default::DeprecationWarning -k "not s3 and not bucket" \
		$(FLOOR_TESTS)

PYTHONS_TIMEOUT_S ?= 1200
# Without the tests of the sources themselves, which no Python reads otherwise.
test-pythons: $(VENV)/.dev ## The fast tests on each other Python that is installed
	@status=0; for python in $$($(BIN)/python .ci/pythons.py); do \
		echo "== $$($$python --version)"; side=$(VENV)/$$(basename $$python); \
		rm -rf $$side && $(DEV_UV) venv --quiet --python $$python $$side \
		&& $(DEV_UV) pip install --quiet --python $$side/bin/python --editable '.[dev]' \
		&& timeout $(PYTHONS_TIMEOUT_S) $$side/bin/python -m pytest -q -n 2 --dist loadfile \
			-m "not slow" tests/unit/client tests/unit/worker tests/conformance || status=1; \
	done; exit $$status

check: $(VENV)/.dev ## Style, types and documentation
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m mypy
	@$(BIN)/python .ci/generate_sync.py --check
	@$(BIN)/python -m docs.site.generate --check
	@$(MKDOCS)

docs: $(VENV)/.dev ## The documentation site, written anew into .site/
	@$(BIN)/python -m docs.site.generate
	@$(MKDOCS)
	@echo "Open .site/index.html"

sync: $(VENV)/.dev ## The synchronous client, made anew from the asynchronous one
	@$(BIN)/python .ci/generate_sync.py

BENCH ?=
bench: $(VENV)/.dev ## Benchmarks; fails where one is below its floor: make bench BENCH=speed
	@exec $(BIN)/python -m tests.benchmarks $(BENCH)

MINUTES ?= 10
SEED ?= 1
LEG ?= all
soak: $(VENV)/.dev ## Random load against random faults: make soak MINUTES=10 SEED=1 LEG=s3
	@exec $(BIN)/python -m tests.soak --minutes $(MINUTES) --seed $(SEED) --leg $(LEG)

# By this seed workers are killed, connections cut, and disks full, as far as 20 seconds go.
soak-short: $(VENV)/.dev ## The same for a minute, as CI runs it
	@exec $(BIN)/python -m tests.soak --minutes 0.33 --seed 92 --leg folder

# What the image needs (worker/Dockerfile has the same extras), and what builds our own package.
IMAGE := worker,s3,openai,gemini,dashscope,elevenlabs,polly,local,gateway,otel,flower
lock: ## Resolve anew what the image holds, with hashes (needs uv)
	@[ -n "$(UV)" ] || { echo "make lock needs uv: https://docs.astral.sh/uv" >&2; exit 1; }
	@echo hatchling | "$(UV)" pip compile --quiet --universal --python-version 3.12 \
		--generate-hashes --no-header --no-annotate --upgrade \
		$(foreach extra,$(subst $(,), ,$(IMAGE)),--extra $(extra)) \
		--output-file deploy/requirements.lock pyproject.toml -

sbom: $(BIN)/python ## dist/sbom.json: what the image holds, as CycloneDX has it
	@mkdir -p dist; $(BIN)/python deploy/sbom.py >dist/sbom.json; echo dist/sbom.json

clean: ## Remove what was set up or built here
	@rm -rf $(VENV) dist .site demo-data .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find client worker tests docs -name __pycache__ -type d -prune -exec rm -rf {} +

define install_beside
$(DEV_UV) venv --quiet --clear --python $(BIN)/python $(1) \
&& $(DEV_UV) pip install --quiet $(3) --python $(1)/bin/python --editable $(2) $(TEST_TOOLS) \
&& touch $(1)/.ready
endef

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
echo "Installing speechfleet[$(1)] into $(VENV), which takes a minute or two ..."; \
if [ -n "$(UV)" ]; then set -- "$(UV)" pip install --quiet --python $(BIN)/python; \
else set -- $(BIN)/python -m pip install --quiet --disable-pip-version-check; \
	if [ "$(1)" = dev ] && "$$@" uv && $(DEV_UV) pip install --quiet --python $(BIN)/python \
		--editable '.[$(1)]' >$(VENV)/install.log 2>&1; then touch $@; exit 0; fi; fi; \
"$$@" --editable '.[$(1)]' >$(VENV)/install.log 2>&1 \
	|| { cat $(VENV)/install.log >&2; echo "The installation failed; see above." >&2; exit 1; }; \
touch $@
endef
