# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
TORCH ?= torch# what `make test-all` installs for the tests of `convert`; a CPU build is enough
BIN = .venv/bin
RUN = $(BIN)/python -m

.PHONY: demo test test-all lint format clean

# trains both stages for a few minutes on birds drawn on the spot and prints where the pictures are
demo: .venv/installed
	$(RUN) stackgan_keras.train_stage1 --config demo_stage1
	$(RUN) stackgan_keras.train_stage2 --config demo_stage2
	@echo "look at results/demo/stage2/: real birds on top, sketches and pictures below"

test: .venv/installed
	$(RUN) pytest -q -m "not slow"

test-all: .venv/installed
	$(BIN)/pip install --quiet "$(TORCH)"
	$(RUN) pytest -q

lint: .venv/installed
	$(RUN) ruff check .
	$(RUN) ruff format --check .

format: .venv/installed
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

.venv/installed: setup.py pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable ".[test]"
	touch $@

clean:
	rm -rf .venv build *.egg-info
