# `make` alone lists what there is to make. ARGS goes to the program: make call ARGS="--barge-in-at 3".
# EXAMPLE names an agent in examples/: make run EXAMPLE=receptionist.
# PYTHON names the interpreter for a new environment, VENV the environment: make test PYTHON=python3.13 VENV=.venv313.

PYTHON ?=
VENV ?= .venv
ARGS ?=
CALL ?=
EXAMPLE ?=
IN_VENV = $(VENV)/bin/python
# An example brings its script for the embedded model, which does not answer where there is a key.
EXAMPLE_SCRIPT = $(if $(OPENAI_API_KEY),,--script examples/scripts/$(EXAMPLE).toml)
EXAMPLE_ARGS = $(if $(EXAMPLE),examples/$(EXAMPLE).py $(EXAMPLE_SCRIPT) --set model.transcription_model=gpt-4o-mini-transcribe)

.PHONY: help run call replay model speech test prove bench lint types audit clean for-run for-dev
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'ARGS="..." goes to the program (make run ARGS=--help); EXAMPLE=receptionist runs an agent of examples/;'
	@echo 'PYTHON=python3.13 VENV=.venv313 choose an interpreter and its environment.'

run: for-run ## answer calls on http://127.0.0.1:8080 (with OPENAI_API_KEY set: with OpenAI's model)
	@$(IN_VENV) -m trio_voice serve $(EXAMPLE_ARGS) $(ARGS)

call: for-run ## place a test call with recorded speech; starts a server if none runs
	@$(IN_VENV) -m trio_voice call $(ARGS)

replay: for-run ## live the newest call again from its journal, or CALL=<its id>
	@$(IN_VENV) -m trio_voice replay $(CALL) $(ARGS)

model: for-run ## run the embedded Realtime server alone
	@$(IN_VENV) -m trio_voice model $(ARGS)

speech: for-run ## fetch recorded telephone speech for the test caller
	@$(IN_VENV) -m trio_voice.phone.speech $(ARGS)

test: for-dev ## run the tests (under three minutes)
	@$(IN_VENV) -m pytest -q -m "not prove" -n 3 --dist loadfile $(ARGS)

prove: for-dev ## run the long proofs
	@$(IN_VENV) -m pytest -q -m prove -n 2 --dist load -o faulthandler_timeout=1500 --durations=5 $(ARGS)

bench: for-dev ## measure everything (under ten minutes; ARGS=--quick: one)
	@$(IN_VENV) -m bench $(ARGS)

lint: for-dev ## check style
	@$(IN_VENV) -m ruff check .
	@$(IN_VENV) -m ruff format --check --quiet . || { echo "not formatted: run $(VENV)/bin/ruff format ." >&2; exit 1; }

types: for-dev ## check types
	@$(IN_VENV) -m mypy

audit: for-dev ## ask a vulnerability service (OSV) about the dependencies
	@scripts/audit $(VENV) $(ARGS)

clean: ## remove the environment and the caches; the calls stay
	@rm -rf $(VENV) $(VENV)-install.log build dist trio_voice.egg-info trio_voice/_speedups.*.so .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

for-run:
	@scripts/prepare-venv $(VENV) voice,pictures $(PYTHON)

for-dev:
	@scripts/prepare-venv $(VENV) dev $(PYTHON)
