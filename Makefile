# `make demo` and `make test` work on a bare checkout that has only Python >= 3.11.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-gpu check-gpu lint bench bench-programs bench-loops bench-gradients bench-jax bench-adbench bench-gpu clean

demo: .venv/examples
	$(BIN)/python examples/train_digits.py

test: .venv/test
	$(BIN)/python -m pytest -n 2

# On a machine with a GPU; g++ is needed there, too.
test-gpu: .venv/gpu
	$(BIN)/python -m pytest --device cuda

# The same under one of compute-sanitizer's tools: memcheck, racecheck, initcheck, synccheck.
TOOL = memcheck
SANITIZER = compute-sanitizer --tool $(TOOL) --report-api-errors no --error-exitcode 9

check-gpu: .venv/gpu
	$(SANITIZER) $(BIN)/python -m pytest --device cuda --memory-apart

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/bench
	$(BIN)/python benchmarks/compare.py

bench-programs: .venv/bench
	$(BIN)/python benchmarks/programs.py

bench-loops: .venv/bench
	$(BIN)/python benchmarks/scalar_loops.py

bench-gradients: .venv/bench
	$(BIN)/python benchmarks/gradients.py

bench-jax: .venv/bench
	$(BIN)/python benchmarks/gradients_beside_jax.py

bench-adbench: .venv/bench
	$(BIN)/python benchmarks/adbench.py

# On a machine with a GPU. `benchmarks/gpu.py --check` does without one.
bench-gpu: .venv/bench-gpu
	$(BIN)/python benchmarks/gpu.py

EXTRAS = $*

.venv/%: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$(EXTRAS)]'
	touch $@

.venv/test: EXTRAS = test,examples,nvrtc
.venv/gpu: EXTRAS = test,examples,cuda
.venv/bench-gpu: EXTRAS = cuda,bench-gpu

clean:
	rm -rf .venv build *.egg-info
