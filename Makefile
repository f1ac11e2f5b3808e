# make demo, make test: everything else is optional. The environment lives in .venv and is built on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= 2
BENCHMARKS := clustering evaluation memory negatives hdc buc_merge loader communication scale startup
GPU_BENCHMARKS := train_step cuda_graphs extraction cuda_clustering negatives end_to_end

.DEFAULT_GOAL := help
.PHONY: help install demo test lint docs package-check release-check site weights torture faults bench bench-gpu bench-against bench-methods bench-real screenshots clean

help:
	@echo "make demo           render the embedded data set, train on it, evaluate"
	@echo "make test           lint and test suite"
	@echo "make lint           ruff and mypy only"
	@echo "make package-check  build the package, install it into an empty environment, run it there"
	@echo "make release-check  that, and what a release needs: changelog, citation, archives and their description"
	@echo "make site           the documentation as pages, in build/site"
	@echo "make docs           docs/config.md and the list of registered names, from their declarations"
	@echo "make torture        damaged files, sudden ends, hostile inputs, in numbers (minutes)"
	@echo "make faults         put faults into the code, one at a time: does a test notice? (minutes)"
	@echo "make bench          speed and memory of the parts"
	@echo "make bench-against  the published ways beside ours, part by part, in one table"
	@echo "make bench-gpu      the parts that have a CUDA path, on the GPU"
	@echo "make bench-methods  every method on the rendered data set"
	@echo "make bench-real     the methods on photographs: ROOT=folder, see benchmarks/real.py"
	@echo "make weights        train the networks of unreid/weights again and measure what their cards say (a quarter of an hour)"
	@echo "make screenshots    pictures of the documentation, from the rendered world (needs Chromium)"
	@echo "make clean          remove caches and build files (keeps .venv, logs and datasets)"

install: $(STAMP)

# The stamp is newer than pyproject.toml exactly when the installed dependencies are up to date.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	    { echo "unreid needs Python 3.11 or newer, but '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo missing);" \
	           "name another one: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "$(VENV) was made with an older Python: remove the folder and run make again"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python -e '.[dev]'
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/python tools/demo.py

lint: $(STAMP)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

docs: $(STAMP)
	$(BIN)/python -m unreid.config.table docs/config.md
	$(BIN)/python -m unreid.engine.kinds

# One thread a worker: two processes that each use all cores are slower than either alone.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

# Strict: a warning is an error. To read it: .venv/bin/python -m mkdocs serve
site: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

# Slow tests of their own: they need the package index.
package-check: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow tests/package

release-check: lint package-check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/package/check_release.py

torture: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.torture $(PARTS)

faults: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults $(FAULTS)

bench: $(STAMP)
	@for name in $(BENCHMARKS); do \
	    echo "== $$name"; $(BIN)/python benchmarks/$$name.py || exit 1; \
	done

bench-against: $(STAMP)
	$(BIN)/python benchmarks/against.py

bench-gpu: $(STAMP)
	@$(BIN)/python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || \
	    { echo "bench-gpu needs a CUDA device that torch can use"; exit 1; }
	@for name in $(GPU_BENCHMARKS); do \
	    echo "== $$name"; $(BIN)/python benchmarks/$$name.py --device cuda --json || exit 1; \
	done

bench-methods: $(STAMP)
	$(BIN)/python benchmarks/methods.py

# Photographs are not part of this repository: ROOT says where they are. Goes on where it was stopped.
bench-real: $(STAMP)
	@test -n "$(ROOT)" || { echo "bench-real needs ROOT=folder with cuhk01/ and cuhk03p1/: see benchmarks/real.py"; exit 1; }
	$(BIN)/python benchmarks/real.py "$(ROOT)" $(MORE)

# PHOTOGRAPHS=folder as ROOT of bench-real, for the rows of photographs.
weights: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/weights.py $(if $(PHOTOGRAPHS),--photographs "$(PHOTOGRAPHS)")

screenshots: $(STAMP)
	$(BIN)/python benchmarks/screenshots.py

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find unreid tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
