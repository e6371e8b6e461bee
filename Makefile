# What a person types. Each target says what it does, and can be repeated at will.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60
PYTHON := build/venv/bin/python
COMMAND := build/release/bin/ullage

# $(call say,text): one line on what happens next.
say = @printf '== %s\n' '$(1)'
configure = cmake --preset $(1) $(CMAKE_FLAGS) >build/$(1)-configure.log 2>&1 || { cat build/$(1)-configure.log; exit 1; }
compile = cmake --build --preset $(1) -j $(JOBS) $(if $(2),--target $(2))
ctest = ctest --preset $(1) -j $(JOBS) --timeout $(2) --no-tests=error --output-on-failure

.PHONY: help
help: ## this list
	@echo 'ullage: the numerical headroom of every attention layer. Targets:'
	@sed -n 's/^\([a-z-]*\):.*## /\1 /p' Makefile | \
	  while read -r target text; do printf '  make %-9s %s\n' "$$target" "$$text"; done
	@echo 'Variables: JOBS=$(JOBS) PREFIX=$(PREFIX) FUZZ_SECONDS=$(FUZZ_SECONDS) CMAKE_FLAGS='

.PHONY: setup
setup: ## install what is missing on Debian 12 (root or sudo): packages, Python tools in build/venv
	$(call say,setup: what the build and the tests need)
	@tools/setup.sh

.PHONY: build
build: ## build the command: build/release/bin/ullage
	$(call say,build: the command)
	@tools/setup.sh build
	@mkdir -p build && $(call configure,release)
	@$(call compile,release,ullage)
	@echo 'built $(COMMAND)'

.PHONY: demo
demo: build ## build, fetch a small published BERT, scan it, write report.html
	$(call say,demo: scan a published checkpoint)
	@tools/setup.sh demo
	@checkpoint=$$($(PYTHON) tools/fetch_demo.py) && \
	  echo "\$$ ullage scan $$checkpoint --html report.html" && \
	  $(COMMAND) scan "$$checkpoint" --html report.html
	@echo "wrote $(CURDIR)/report.html"

.PHONY: release
release:
	$(call say,build: everything, optimised)
	@mkdir -p build && $(call configure,release)
	@$(call compile,release)

.PHONY: test
test: setup release ## set up, build everything, run all tests but the long ones
	$(call say,test: C++)
	@$(call ctest,release,300) -LE long
	$(call say,test: Python)
	@ULLAGE=$(COMMAND) $(PYTHON) -m pytest -c tests/pytest.ini -m 'not long' tests

.PHONY: test-all
test-all: setup release ## as test, and the long tests (exhaustive sweeps, large checkpoints)
	$(call say,test: C++, long ones too)
	@$(call ctest,release,3600)
	$(call say,test: Python, long ones too)
	@ULLAGE=$(COMMAND) $(PYTHON) -m pytest -c tests/pytest.ini tests

.PHONY: asan
asan: ## build and test under the address and undefined-behaviour sanitizers
	$(call say,asan: address and undefined-behaviour sanitizers)
	@tools/setup.sh build test
	@mkdir -p build && $(call configure,asan)
	@$(call compile,asan)
	@$(call ctest,asan,600) -LE 'long|release'
	@ULLAGE=build/asan/bin/ullage $(PYTHON) -m pytest -c tests/pytest.ini -m 'sanitizer and not long' tests

.PHONY: tsan
tsan: ## build and test under the thread sanitizer
	$(call say,tsan: thread sanitizer)
	@tools/setup.sh build test
	@mkdir -p build && $(call configure,tsan)
	@$(call compile,tsan)
	@$(call ctest,tsan,600) -LE 'long|release'

.PHONY: cuda
cuda: ## build the command, the binding and the benchmarks with the CUDA component, run its tests (no GPU: skipped)
	$(call say,cuda: the component for the GPU)
	@tools/setup.sh build test cuda
	@mkdir -p build && $(call configure,cuda)
	@$(call compile,cuda,ullage cuda_test ullage_core cuda_cast_bench cuda_spectra_bench)
	@$(call ctest,cuda,600) -R '^cuda\.|^house\.consumer$$' -LE long
	@build/cuda/bin/ullage doctor

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZ_SECONDS
	$(call say,fuzz: every target for $(FUZZ_SECONDS) s)
	@tools/setup.sh build lint
	@mkdir -p build && $(call configure,fuzz)
	@$(call compile,fuzz)
	@tools/fuzz.sh $(FUZZ_SECONDS)

.PHONY: bench
bench: ## run the benchmarks of bench/
	$(call say,bench)
	@tools/setup.sh
	@mkdir -p build && $(call configure,release)
	@$(call compile,release)
	@tools/bench.sh

.PHONY: tidy
tidy: ## clang-tidy over every C++ file (TIDY=PATTERN for some)
	$(call say,tidy: clang-tidy)
	@tools/setup.sh build lint
	@mkdir -p build && $(call configure,tidy)
	@tools/tidy.sh '$(TIDY)'

.PHONY: format
format: ## rewrite every C++ file as .clang-format says, every Python file as pyproject.toml does
	$(call say,format)
	@tools/setup.sh lint
	@tools/lint.sh format

.PHONY: lint
lint: ## check formatting, the rooms, scripts; changes nothing
	$(call say,lint: formatting, rooms, scripts)
	@tools/setup.sh build lint
	@tools/lint.sh

.PHONY: install
install: build ## install the command, the library and its CMake package under PREFIX
	$(call say,install: into $(PREFIX))
	@cmake --install build/release --prefix '$(PREFIX)'

.PHONY: clean
clean: ## remove what was built, keep build/venv and the checkpoints in the cache folder
	@rm -rf build/release build/dev build/asan build/tsan build/tidy build/fuzz build/cuda build/*.log report.html
