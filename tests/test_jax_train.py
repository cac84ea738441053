"""Training with JAX (benchmarks/jax_train.py): our steps without TensorFlow, and a run that goes on and loads here."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from stackgan_keras import StackGAN, config
from stackgan_keras.data import drawn_birds
from stackgan_keras.models import weights
from stackgan_keras.models.weights import ModelConfig
from stackgan_keras.training.augmentation import DRAWS
from stackgan_keras.training.objective import Objective
from stackgan_keras.training.optimizers import make_adam, make_cosine_adam, make_ema
from stackgan_keras.training.train_step import TrainStep, WarmupStep

REPOSITORY = Path(__file__).resolve().parents[1]
BENCHMARKS = REPOSITORY / "benchmarks"
STEPS, BATCH, DECAY = 10, 4, 0.9
TEXT = {"text_dim": 6, "condition_dim": 4}
STAGE1 = ModelConfig("stage1_generator", {"image_size": 16, "filters": 2, "noise_dim": 5, **TEXT})
STAGE2 = {"stage1": STAGE1.keywords, "image_size": 32, "filters": 8, "residual_blocks": 1, **TEXT}
NETWORKS = {  # generator and discriminator
    "stage1": (STAGE1, ModelConfig("discriminator", {"image_size": 16, "filters": 2, **TEXT})),
    "stage2": (
        ModelConfig("stage2_generator", {**STAGE2, "conditional_batch_norm": True}),
        ModelConfig(
            "discriminator",
            {"image_size": 32, "filters": 2, "logits": ["conditional", "unconditional"], "text": "embedding", **TEXT},
        ),
    ),
}
OBJECTIVES = {
    "stage1": {"r1_weight": 0.5, "augmentation": "color,translation,cutout", "interpolation_weight": 0.5},
    "stage2": {"text": "embedding", "pixel_weight": 50.0, "r1_weight": 0.02},
}
COMPARED = """
import json, sys
import numpy as np
folder, case, objective, dtype, benchmarks, (steps, decay) = json.loads(sys.argv[1])
import jax, keras
keras.config.set_floatx(dtype)
keras.config.set_dtype_policy(dtype)
sys.path.insert(0, benchmarks)
import jax_step
from keras.src.backend.common import dtypes
from stackgan_keras.models import weights
from stackgan_keras.training.objective import Objective
from stackgan_keras.training.optimizers import make_adam, make_cosine_adam, make_ema

dtypes.BIT64_TO_BIT32_DTYPE.pop("float64")  # by which Keras computes means in float32 on JAX, whatever is asked for
names = ("generator", "discriminator")
networks = {name: weights.load(f"{folder}/{name}.weights.h5") for name in names}
for layer in (layer for network in networks.values() for layer in network._flatten_layers()):
    if hasattr(layer, "negative_slope"):  # TensorFlow keeps it in float32, whatever it computes with
        layer.negative_slope = float(np.float32(layer.negative_slope))
if case == "warmup":
    adam = make_cosine_adam(1e-3, 2 * steps)
    adam.build(networks["generator"].trainable_variables)
    step = jax_step.WarmupStep(networks["generator"], adam, 2.0)
else:
    adams = {name: make_adam(1e-3, 4) for name in names}
    for name in names:
        adams[name].build(networks[name].trainable_variables)
    networks["ema"] = weights.load(f"{folder}/generator.weights.h5")
    ema = (networks["ema"], make_ema(networks["ema"], networks["generator"], decay))
    step = jax_step.TrainStep({name: networks[name] for name in names}, adams, Objective(**objective), ema)
state, advance, scalars = step.state(), jax.jit(step, donate_argnums=0), []
with np.load(f"{folder}/batches.npz") as file:
    for i in range(steps):
        batch = {name.partition("/")[2]: file[name] for name in file.files if name.startswith(f"{i}/")}
        state, now = advance(state, batch)
        scalars.append({name: float(value) for name, value in now.items()})
step.write_back(state)
made = {f"{n}/{k}": np.asarray(v) for n, each in networks.items() for k, v in weights.named_variables(each).items()}
np.savez(f"{folder}/made.npz", **made)
print(json.dumps([scalars, keras.backend.backend(), "tensorflow" in sys.modules]))
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("jax") is None, reason="needs jax (pip install jax)"),
]


def run(*words, **environment) -> str:
    """What a Python program prints, in a process of its own."""
    paths = os.pathsep.join([str(REPOSITORY), *sys.path])
    environment = {**os.environ, "PYTHONPATH": paths, **environment}
    ended = subprocess.run([sys.executable, *map(str, words)], env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stdout


def batches(generator, size: int, dtype: str) -> list[dict]:
    """Of four pictures, two of which are neighbours of one class."""
    random, made = np.random.default_rng(0), []
    for _ in range(STEPS):
        batch = {name: random.normal(size=(BATCH, *x.shape[1:])) for name, x in generator.input.items()}
        batch["image"] = random.uniform(-1, 1, (BATCH, size, size, 3))
        batch["direction"] = random.normal(size=batch["image"].shape)
        batch["stage1_image"] = random.uniform(-1, 1, (BATCH, 16, 16, 3))
        batch["augmentation"] = random.uniform(size=(BATCH, 3 * DRAWS))
        made.append({name: value.astype(dtype) for name, value in batch.items()} | {"class_id": np.array([1, 2, 2, 3])})
    return made


def trained(case: str, networks: dict, steps: list[dict]) -> list[dict]:
    """The scalars of our own steps, which change the networks; `ema` is added to them."""
    generator, discriminator = networks.values()
    move = None
    if case == "warmup":
        adam = make_cosine_adam(1e-3, 2 * STEPS)
        adam.build(generator.trainable_variables)
        step = WarmupStep(generator, adam, 2.0)
    else:
        adams = [make_adam(1e-3, 4) for _ in range(2)]  # rates halve twice on the way
        for adam, network in zip(adams, networks.values(), strict=True):
            adam.build(network.trainable_variables)
        networks["ema"] = NETWORKS[case][0].build()
        networks["ema"].set_weights(generator.get_weights())
        move = tf.function(make_ema(networks["ema"], generator, DECAY))
        step = TrainStep(generator, discriminator, *adams, Objective(**OBJECTIVES[case]))
    step, scalars = tf.function(step), []
    for done, batch in enumerate(steps, start=1):
        made = step({name: tf.constant(value) for name, value in batch.items()})
        scalars.append({name: float(value) for name, value in made.items()})
        if move:
            move(tf.constant(done, tf.int64))
    return scalars


def both(case: str, dtype: str, folder: Path) -> tuple[list, list, dict, dict]:
    """Scalars and variables after ten steps: ours, then JAX's."""
    configs = NETWORKS["stage2" if case == "warmup" else case]
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        keras.utils.set_random_seed(0)
        networks = dict(zip(("generator", "discriminator"), (each.build() for each in configs), strict=True))
        for (name, network), each in zip(networks.items(), configs, strict=True):
            weights.save(network, each, folder / f"{name}.weights.h5")
        steps = batches(networks["generator"], configs[0].keywords["image_size"], dtype)
        scalars = trained(case, networks, steps)
        ours = {f"{n}/{k}": v.numpy() for n, each in networks.items() for k, v in weights.named_variables(each).items()}
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
    np.savez(folder / "batches.npz", **{f"{i}/{k}": v for i, batch in enumerate(steps) for k, v in batch.items()})
    given = [str(folder), case, OBJECTIVES.get(case), dtype, str(BENCHMARKS), [STEPS, DECAY]]
    x64 = "1" if dtype == "float64" else "0"
    printed = run("-c", COMPARED, json.dumps(given), KERAS_BACKEND="jax", JAX_ENABLE_X64=x64)
    theirs, *about = json.loads(printed.splitlines()[-1])
    assert about == ["jax", False]  # no TensorFlow
    with np.load(folder / "made.npz") as made:
        return scalars, theirs, ours, {name: made[name] for name in made.files}


@pytest.mark.parametrize("case", ["stage1", "stage2", "warmup"])
def test_ten_steps_are_ours(case, tmp_path):
    """In float64, where rounding cannot hide a difference."""
    scalars, theirs, ours, made = both(case, "float64", tmp_path)
    print(case, "losses", max(abs(a[n] / b[n] - 1) for a, b in zip(scalars, theirs, strict=True) for n in a))
    print(case, "variables", max(np.abs(ours[name] - made[name]).max() for name in ours))
    for one, other in zip(scalars, theirs, strict=True):
        assert one == pytest.approx(other, rel=1e-8)
    assert ours.keys() == made.keys()
    for name, value in ours.items():
        np.testing.assert_allclose(made[name], value, rtol=1e-6, atol=1e-9, err_msg=name)
