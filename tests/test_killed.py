"""Trainings that are killed by SIGKILL at random moments and started again end as one that nobody disturbs.

`make kill-test` kills each command's training four times, `make test-all` once. Half of the kills hit a file that is
being written: a checkpoint, a weight file, a grid. Equal are all weights, the checkpoint with its optimizers and
averages, the figures of every epoch, and the pixels of every grid.
"""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from disturbed import digest, finish, state, unfinished
from helpers import REPOSITORY

from stackgan_keras.config import Folders
from stackgan_keras.data import drawn_birds

KILLS = int(os.environ.get("KILLS", 1))  # of each command
EPOCHS = 20
SMALL = {"text_dim": 16, "filters": 4, "condition_dim": 8, "noise_dim": 8, "residual_blocks": 1}
EACH = {"batch_size": 4, "epochs": EPOCHS, "lr_decay_epochs": 3, "sample_every": 1, "save_every": 1, "ema_decay": 0.9}
DISCRIMINATOR = {"filters": 4, "text": "embedding", "batch_norm": False}
TEXT = {"filters": 3, "recurrent_dim": 4, "image_filters": 4, "batch_size": 4, "epochs": EPOCHS, "captions": 2}
HELP = {"r1_weight": 0.1, "augmentation": "translation,cutout", "precision": "mixed_bfloat16"}
OF_STACKGAN = {"conditional_batch_norm": True, "condition_noise_scale": 0.5, "min_filters": 2}
COMMANDS = {  # of two runs each: sections of settings in which they differ, in the order in which they are trained
    "train_text": {"data": {"image_size": 32}, "text": {"loss": "cross_entropy", "whiten": True}},
    "train_stage1": {
        "data": {"image_size": 32, "captions_per_embedding": 4},
        "generator": OF_STACKGAN,
        "discriminator": {"features": "FEATURES"},
        "train": {**HELP, "interpolation_weight": 0.5},
    },
    "train_stage2": {
        "data": {"image_size": 64},
        "generator": {**OF_STACKGAN, "skip_connections": True},
        "train": {"warmup_epochs": 3, "pixel_weight": 20.0, "consistency_weight": 5.0, "adversarial_loss": "hinge"},
    },
    "train": {
        "run": "together",
        "data": {"image_size": 32},
        "generator": {"family": "stackgan_v2", "first_size": 16},
        "train": {**HELP, "colour_weight": 50.0, "restart_every": 5},
    },
    "train_text of words": {
        "run": "words",
        "data": {"image_size": 32},
        "text": {"loss": "damsm", "words": 8},
    },
    "train with words": {
        "run": "words",
        "data": {"image_size": 32},
        "generator": {"family": "attngan", "first_size": 16},
        "train": {"damsm_weight": 5.0},
    },
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Birds in the published layout with embeddings of 16 dimensions; not to be changed."""
    folder = tmp_path_factory.mktemp("drawn") / "birds"
    return drawn_birds.write(folder, count=24, classes=6, test_classes=2, embedding_dim=16, workers=1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two output folders: one for trainings that are left alone, one for those that are killed."""
    return tmp_path_factory.mktemp("quiet"), tmp_path_factory.mktemp("killed")


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_killed_training_ends_as_an_undisturbed_one(command, root, network, folders, tmp_path):
    settings = {"run": "tiny", "data": {}, "generator": SMALL, "discriminator": DISCRIMINATOR, "train": EACH}
    for section, values in {**COMMANDS[command], "text": TEXT | COMMANDS[command].get("text", {})}.items():
        settings[section] = settings.get(section, {}) | values if isinstance(values, dict) else values
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(settings).replace("FEATURES", str(network)))
    words = [sys.executable, "-m", f"stackgan_keras.{command.split()[0]}", "--config", file, "--data.root", root]
    quiet, killed = folders
    finish(words, quiet)
    chance, count = random.Random(command), 0
    for number in range(KILLS):
        count += kill(words, killed, chance, writing=number % 2 == 0)
    finish(words, killed)
    assert count == KILLS, "the training was over before it could be killed so often"
    expected, found = (state(Folders(folder, settings["run"])) for folder in folders)
    assert found == expected and len(found) > 5


def kill(words: list, folder: Path, chance: random.Random, writing: bool) -> bool:
    """Starts a training and kills it, within a write or after it. Returns False if it ended by itself."""
    before, seen, after = unfinished(folder), set(), chance.randint(1, 5)
    with subprocess.Popen(
        [*words, "--output_dir", folder], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=REPOSITORY
    ) as process:
        while process.poll() is None:
            seen |= unfinished(folder) - before
            if len(seen) >= after:
                if not writing:
                    time.sleep(chance.random())
                process.kill()
            time.sleep(0.0005)
    return process.returncode == -9


def test_digests_tell_trainings_apart():
    assert digest({"a": np.zeros(2)}) == digest({"a": np.zeros(2)})
    assert digest({"a": np.zeros(2)}) != digest({"a": np.array([0, 1e-300])}) != digest({"b": np.array([0, 1e-300])})
