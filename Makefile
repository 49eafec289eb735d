# `make demo` and `make test` set up all they need in .venv and run; nothing else is needed first.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
export PYTHON VENV

.NOTPARALLEL:
.PHONY: help demo test lint unit dev clean

help:
	@echo "make demo    set up, then route and answer the sample tasks on this machine"
	@echo "make test    set up, then check style and types and run all tests on the built wheel"
	@echo "make lint    the style and type checks alone"
	@echo "make unit    the tests alone; ARGS='-k name' goes to pytest"
	@echo "make dev     an editable install, for work on the package itself"
	@echo "make clean   remove what was built; $(VENV) stays"
	@echo "PYTHON=python3.12 chooses another Python, VENV=path another environment."

demo:
	@scripts/setup
	$(BIN)/modelrouter demo

test:
	@scripts/setup lint test
	scripts/lint
	scripts/unit

lint:
	@scripts/setup lint test
	scripts/lint

unit:
	@scripts/setup test
	scripts/unit $(ARGS)

dev:
	@scripts/setup --editable lint test

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
