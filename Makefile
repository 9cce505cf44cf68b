# Each target does its own set-up: a virtual environment in .venv, filled from a lock file whose every hash is checked.
#
#   make demo SOURCE=/usr/share   the whole story on real files, in a temporary home (KEEP=DIR keeps it)
#   make test                     linters, types, import rules and tests
#   make check                    the same without the tests
#   make bench                    Wain and its peers side by side; python -m benchmarks SCENARIO... for single ones
#   make lock                     resolve the dependencies again (needs uv)
#   make clean                    remove what the targets above have made

SHELL := /bin/bash
BIN := .venv/bin
SOURCE ?=
KEEP ?=
PYTEST_ARGS ?= -n auto

.PHONY: demo test check bench lock clean

demo: .venv/.ready-run
	@test -n "$(SOURCE)" || { echo "Name a directory: make demo SOURCE=/usr/share" >&2; exit 1; }
	@$(BIN)/wain demo "$(SOURCE)" $(if $(KEEP),--keep "$(KEEP)")

test: check
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: .venv/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.ready-run
	$(BIN)/python -m benchmarks

lock:
	scripts/lock

.venv/.ready-run: requirements.lock pyproject.toml scripts/venv
	scripts/venv requirements.lock
	touch $@

.venv/.ready-dev: requirements-dev.lock pyproject.toml scripts/venv
	scripts/venv requirements-dev.lock
	touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
