# Every target sets up what it needs on a machine with Python 3.11, a C++17 compiler, cmake and make:
# a virtual environment in .venv with the pinned packages, and tidegate in it, editable.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PACKAGES := $(VENV)/.packages-ready
BUILD := $(VENV)/.build-ready
PEERS := $(VENV)/.peers-ready
SOURCES := CMakeLists.txt $(shell find csrc -name '*.h' -o -name '*.cpp')
FORMATTED := $(filter %.h %.cpp,$(SOURCES))

.PHONY: demo test check bench generate ready

demo: ready
	$(BIN)/python examples/demo.py

test: ready
	$(BIN)/python -m pytest -q

bench: $(PEERS)
	$(BIN)/tidegate bench --output benchmarks/results/layers.json
	$(BIN)/python -m tidegate.bench.report

check: ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/clang-format --dry-run -Werror $(FORMATTED)
	$(BIN)/python -m tidegate.export.latex --check
	$(BIN)/python -m tidegate.export.cpp --check
	$(BIN)/python -m tidegate.bench.report --check
	$(BIN)/python -m pytest -q

# What is written from the cells' definitions; the compiled module follows at the next `make`.
generate: ready
	$(BIN)/python -m tidegate.export.latex
	$(BIN)/python -m tidegate.export.cpp
	$(BIN)/clang-format -i csrc/generated/cells.h

ready: $(BUILD)

$(PACKAGES): constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the pinned packages into $(VENV) (once; some minutes)"
	$(PIP) install --constraint constraints.txt scikit-build-core nanobind ninja
	touch $@

$(BUILD): $(PACKAGES) pyproject.toml $(SOURCES)
	$(PIP) install --constraint constraints.txt --no-build-isolation --editable '.[train,dev]'
	touch $@

# The libraries that only `make bench` needs.
$(PEERS): $(BUILD)
	$(PIP) install --constraint constraints.txt --no-build-isolation --editable '.[train,dev,bench]'
	touch $@
