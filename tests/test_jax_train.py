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
from helpers import ended, pixels, refusal

from stackgan_keras import StackGAN
from stackgan_keras.data import drawn_birds, published
from stackgan_keras.data.pipeline import decode
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
from keras.src import ops
from keras.src.backend.common import dtypes
from stackgan_keras.models import weights
from stackgan_keras.training.objective import Objective
from stackgan_keras.training.optimizers import make_adam, make_cosine_adam, make_ema

dtypes.BIT64_TO_BIT32_DTYPE.pop("float64")  # by which Keras computes means in float32 on JAX, whatever is asked for
rounded = lambda function: lambda x, *more, **keywords: (
    function(np.float32(x) if isinstance(x, float) else x, *more, **keywords)
)
for name in ("cast", "convert_to_tensor"):  # TensorFlow rounds so the learning rates and betas of Adam
    setattr(ops, name, rounded(getattr(ops, name)))
names = ("generator", "discriminator")
networks = {name: weights.load(f"{folder}/{name}.weights.h5") for name in names}
for layer in (layer for network in networks.values() for layer in network._flatten_layers()):
    if hasattr(layer, "negative_slope"):  # and so the slopes
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

BATCHES = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import jax
from jax_batches import Batches

count, side, size = 10, 19, 16
captions = np.arange(count) % 3 + 1
numbers = np.arange(count)[:, None, None]
places = np.broadcast_arrays(numbers, np.arange(side)[:, None], np.arange(side))
data = {
    "pictures": np.stack(places, -1).astype(np.uint8),
    "class_ids": np.arange(count) + 50,
    "embeddings": np.array([[10 * i + j] * 2 for i in range(count) for j in range(captions[i])], np.float16),
    "first_embedding": np.concatenate([[0], np.cumsum(captions)]).astype(np.int32),
}
widths = {"noise": 3, "epsilon": 400, "stage1_epsilon": 4}
batches = Batches(
    count, 3, size, 3, widths, captions_per_embedding=2, truncated=True, directions=True, stage1_size=8,
    augmentations=7, framings=6, seed=2**32 - 1,
)
data = jax.tree.map(jax.numpy.array, data)
steps = [jax.tree.map(np.asarray, jax.jit(batches)(data, step)) for step in range(30)]
seen = {"top": set(), "left": set(), "mirrored": set(), "means": set()}
for batch in steps:
    image = np.rint((batch["image"] + 1) * 127.5).astype(int)
    assert np.abs(batch["epsilon"]).max() <= 2 and batch["direction"].shape == image.shape
    assert batch["augmentation"].shape == (3, 7) and 0 <= batch["augmentation"].min() <= batch["augmentation"].max() < 1
    assert batch["framing"].shape == (3, 6) and 0 <= batch["framing"].min() <= batch["framing"].max() < 1
    whole = batch["image"].reshape(3, 8, 2, 8, 2, 3).mean((2, 4))
    np.testing.assert_allclose(batch["stage1_image"], whole, atol=1e-6)
    for pixels, class_id, embedding in zip(image, batch["class_id"], batch["embedding"]):
        i, top, columns = pixels[0, 0, 0], pixels[0, 0, 1], pixels[0, :, 2]
        assert (pixels[..., 0] == i).all() and class_id == i + 50
        assert (pixels[..., 1] == top + np.arange(size)[:, None]).all()
        left, mirrored = columns.min(), columns[0] > columns[-1]
        assert (pixels[..., 2] == (left + np.arange(size))[:: -1 if mirrored else 1]).all()
        possible = {1: {0}, 2: {0.5}, 3: {0.5, 1, 1.5}}[captions[i]]
        assert embedding[0] - 10 * i in possible
        for name, value in {"top": top, "left": left, "mirrored": mirrored}.items():
            seen[name].add(int(value))
        seen["means"].add(float(embedding[0] - 10 * i))
assert seen == {"top": {0, 1, 2, 3}, "left": {0, 1, 2, 3}, "mirrored": {0, 1}, "means": {0, 0.5, 1, 1.5}}
epoch = [int(i) for batch in steps[:3] for i in batch["class_id"]]
assert len(set(epoch)) == 9 and epoch != [int(i) for batch in steps[3:6] for i in batch["class_id"]]
assert not np.array_equal(steps[0]["noise"], steps[1]["noise"])
assert not np.array_equal(steps[0]["epsilon"][:, :3], steps[0]["noise"])
print("checked")
"""
ALONE = """
import runpy, sys
from pathlib import Path
sys.modules.update(dict.fromkeys(["tensorflow", "torch", "pandas", "tqdm", "matplotlib"]))
sys.argv = sys.argv[1:]
sys.path.insert(0, str(Path(sys.argv[0]).parent))
runpy.run_path(sys.argv[0], run_name="__main__")
"""
SIZES = [
    *("--data.image_size", "16", "--generator.filters", "2", "--generator.text_dim", "16"),
    *("--generator.condition_dim", "4", "--generator.noise_dim", "5", "--discriminator.filters", "2"),
    *("--train.batch_size", "4", "--run", "mine"),
]

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
        batch["augmentation"] = random.uniform(size=(BATCH, 2 * DRAWS))
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
    """In float64, where rounding cannot hide a difference; what TensorFlow rounds even then, JAX is made to round."""
    scalars, theirs, ours, made = both(case, "float64", tmp_path)
    for one, other in zip(scalars, theirs, strict=True):
        assert one == pytest.approx(other, rel=1e-10)
    assert ours.keys() == made.keys()
    for name, value in ours.items():
        np.testing.assert_allclose(made[name], value, rtol=1e-9, atol=1e-12, err_msg=name)


def test_batches():
    """Of pictures whose pixels tell their number, row and column, and embeddings that tell picture and caption."""
    printed = run("-c", BATCHES, BENCHMARKS, KERAS_BACKEND="jax")
    assert printed.split()[-1] == "checked"


@pytest.fixture
def birds(tmp_path):
    return drawn_birds.write(tmp_path / "birds", count=24, classes=4, test_classes=1, embedding_dim=16, workers=1)


def pack(birds, home, monkeypatch, capsys, *words):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import pack

    given = ["--out", home / "packed", "--output_dir", home, "--data.root", birds, *SIZES, *words]
    code, _, problem = ended(pack.main, given, monkeypatch, capsys)
    assert code == 0, problem
    return home / "packed"


def train(packed, stage, *words, output_dir=None) -> str:
    """As on a machine that has none of the libraries that the other commands need."""
    given = ["--stage", stage, "--config", packed / f"stage{stage}.yaml", "--output_dir", output_dir or packed]
    return run("-c", ALONE, BENCHMARKS / "jax_train.py", *given, *words)


def test_stage1_packed_trained_and_gone_on_with(birds, tmp_path, monkeypatch, capsys):
    parts = ["--part_size", "0.02", "--data.captions_per_embedding", "2", "--train.ema_decay", "0.9"]
    folder = pack(birds, tmp_path, monkeypatch, capsys, *parts, "--train.r1_weight", "0.1")
    import packed

    files = sorted((folder / "stage1").iterdir())
    assert len(files) > 2 and max(file.stat().st_size for file in files) <= 0.02 * 2**20
    found, dataset = packed.read(folder / "stage1"), published.read(birds, "train", text_dim=16)
    np.testing.assert_array_equal(found.embeddings, dataset.embeddings.astype(np.float16))
    np.testing.assert_array_equal(found.first_embedding, dataset.first_embedding)
    np.testing.assert_array_equal(found.class_ids, dataset.class_ids)
    assert np.abs(found.pictures.astype(int) - decode(dataset, 16, cache="memory")).mean() < 8  # JPEG
    files[1].rename(tmp_path / "lost")
    assert "copy the missing parts there" in refusal(packed.read, folder / "stage1")
    (tmp_path / "lost").rename(files[1])

    train(folder, 1, "--train.max_steps", "3")
    assert "6 steps" in train(folder, 1, "--train.max_steps", "6")
    train(folder, 1, "--train.max_steps", "6", output_dir=tmp_path / "unbroken")
    one, two = (weights.load(home / "weights/mine/stage1_gen.weights.h5") for home in (folder, tmp_path / "unbroken"))
    for name, value in weights.named_variables(one).items():
        np.testing.assert_array_equal(value, weights.named_variables(two)[name], err_msg=name)
    lines = (folder / "logs/mine/stage1/metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 6 and {"real", "r1", "generator"} <= json.loads(lines[-1]).keys()
    assert pixels(folder / "results/mine/stage1/epoch_00002.png").shape[1] > 128
    model = StackGAN.load(folder / "weights/mine", embedded=True)
    assert model.generate(found.grid["embeddings"][:2], 1)["image"].shape == (2, 1, 16, 16, 3)


def test_stage2_with_a_warm_up_in_bfloat16(birds, tmp_path, monkeypatch, capsys):
    generator = ModelConfig("stage1_generator", {**STAGE1.keywords, "text_dim": 16})
    weights.save(generator.build(), generator, tmp_path / "weights/mine/stage1_gen.weights.h5")
    words = "--generator.filters 8 --generator.residual_blocks 1 --train.warmup_epochs 1 --train.pixel_weight 10"
    words += " --train.augmentation translation,cutout --train.precision mixed_bfloat16 --train.max_steps 2"
    packing = ["--stage", "2", "--data.image_size", "32"]
    folder = pack(birds, tmp_path, monkeypatch, capsys, *packing, *words.split())
    assert "0 of 2 steps" in train(folder, 2, "--minutes", "0")
    assert not (folder / "logs/mine/stage2/metrics.jsonl").exists()  # still in its warm-up
    assert train(folder, 2).count("2 steps") == 2
    model = StackGAN.load(folder / "weights/mine", embedded=True)
    assert model.generate(np.zeros((1, 16), np.float32), 1)["image"].shape == (1, 1, 32, 32, 3)
    grids = {file.name for file in (folder / "results/mine/stage2").iterdir()}
    assert grids == {"warmup_00000.png", "warmup_00001.png", "epoch_00001.png"}
