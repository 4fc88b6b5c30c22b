# Everything a newcomer types. Each target does its own set-up from nothing and may be run again at any time.
#
#   make demo      serve the demo's models, ask them real questions, print what they say (STOP=1 stops the server)
#   make test      unit, simulator, conformance, server and client tests
#   make build     build/release/sluice
#   make bench     benchmarks of kernels and loop
#   make compare   list the comparisons with peers; NAME=encoder runs one
#   make sanitize  ASan+UBSan and TSan runs of the unit and server tests
#   make fuzz      every fuzz target, SECONDS=600 each
#   make soak      random kills under load, KILLS=2000; language models under mixed load, SOAK_SECONDS=1200
#   make wheel     the Python package as a wheel in build/dist, tested in a fresh environment
#   make format    clang-format over src, tests, bench and python

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
BUILD := build/release
PYTHON := build/venv/bin/python
SECONDS ?= 600
KILLS ?= 2000
SOAK_SECONDS ?= 1200

.PHONY: help setup build test demo bench compare sanitize fuzz soak wheel format

help:
	@sed -n 's/^#   //p' Makefile

setup:
	@tools/setup.sh build

build: setup
	@tools/build.sh release

test: build
	@tools/test.sh

demo:
	@if [ -n "$(STOP)" ]; then demo/run.sh stop; else $(MAKE) --no-print-directory build && demo/run.sh start; fi

bench: build
	@tools/bench.sh

compare:
	@if [ -z "$(NAME)" ]; then bench/compare/list.sh; else tools/setup.sh build compare && tools/build.sh release && bench/compare/$(NAME) $(ARGS); fi

sanitize: setup
	@tools/sanitize.sh

fuzz: setup
	@tools/setup.sh sanitize && tools/build.sh fuzz && tools/fuzz.sh $(SECONDS)

soak: build
	@$(PYTHON) tests/e2e/soak.py --binary $(BUILD)/sluice --kills $(KILLS)
	@$(PYTHON) tests/e2e/soak_language.py --binary $(BUILD)/sluice --seconds $(SOAK_SECONDS)

wheel: setup
	@tools/wheel.sh

format:
	@tools/setup.sh format && find src tests bench python -name '*.h' -o -name '*.cc' | xargs clang-format-14 -i
