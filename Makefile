# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
TORCH ?= torch# what `make test-all` installs for `convert` and the backends, beside jax; a CPU build is enough
BIN = .venv/bin
RUN = $(BIN)/python -m
DRAWN ?= drawn_again# the run that `make train-drawn` makes
PRECISION ?= float32
SENTENCES = "this bird is red with black wings" "a small yellow bird with a black crown" \
  "a blue bird with a white belly and an orange beak" "the wings are green and the tail is purple"

.PHONY: demo train-drawn test test-all lint format clean

# from nothing to pictures of typed sentences, on birds drawn on the spot
demo: .venv/installed
	$(RUN) stackgan_keras.train_text --config demo_text
	$(RUN) stackgan_keras.train_stage1 --config demo_stage1
	$(RUN) stackgan_keras.train_stage2 --config demo_stage2
	$(RUN) stackgan_keras.generate --run demo $(SENTENCES)
	$(RUN) stackgan_keras.evaluate --run demo --run drawn --captions 50 --count 2
	@echo
	@echo "Look at results/demo/generated/: the grid shows what this short training makes of four sentences."
	@echo "The run drawn, made by the same commands with more time (make train-drawn), does better:"
	@echo '  .venv/bin/python -m stackgan_keras.generate "a small yellow bird with a black crown"'
	@echo "Your own pictures: .venv/bin/python -m stackgan_keras.prepare FOLDER --out data/mine"

# makes weights/$(DRAWN) as the shipped weights/drawn were made; mixed_bfloat16 is faster where the machine has it
train-drawn: .venv/installed
	$(RUN) stackgan_keras.train_text --config drawn_text --run $(DRAWN)_text --train.precision $(PRECISION)
	$(RUN) stackgan_keras.train_text --config drawn_pictures_text --run $(DRAWN)_text --train.precision $(PRECISION)
	$(RUN) stackgan_keras.train_text --config drawn_finer_text --run $(DRAWN) --train.start_from $(DRAWN)_text \
	  --train.precision $(PRECISION)
	$(RUN) stackgan_keras.train_stage1 --config drawn_stage1 --run $(DRAWN) --train.precision $(PRECISION)
	$(RUN) stackgan_keras.train_stage2 --config drawn_stage2 --run $(DRAWN) --train.precision $(PRECISION)
	$(RUN) stackgan_keras.train_judge --run $(DRAWN)
	$(RUN) stackgan_keras.evaluate --run $(DRAWN) --run drawn

test: .venv/installed
	$(RUN) pytest -q -m "not slow"

test-all: .venv/installed
	$(BIN)/pip install --quiet --editable ".[test,onnx,litert]" "$(TORCH)" jax
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
