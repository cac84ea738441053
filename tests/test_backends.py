"""Every network on the other backends of Keras: the same outputs, and no TensorFlow."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from stackgan_keras.models import weights
from stackgan_keras.models.weights import ModelConfig

TEXT = {"text_dim": 6, "condition_dim": 3}
STAGE1 = {"image_size": 16, "filters": 8, "noise_dim": 4, **TEXT}
BATCH_NORM = {"conditional_batch_norm": True}
BRANCHES = {"image_size": 32, "first_size": 8, "noise_dim": 4, "residual_blocks": 1, **TEXT}
CONFIGS = {  # everything that a generator can be made of, of either release, and all other networks
    "stage1": ModelConfig("stage1_generator", {**STAGE1, **BATCH_NORM}),
    "stage2": ModelConfig(
        "stage2_generator",
        {"stage1": STAGE1, "image_size": 32, "filters": 4, **TEXT, **BATCH_NORM, "residual_blocks": 1},
    ),
    "stage2_with_skips": ModelConfig(
        "stage2_generator",
        {"stage1": STAGE1, "image_size": 32, "filters": 4, **TEXT, "min_filters": 2, "skip_connections": True},
    ),
    "stage1_of_tensorflow": ModelConfig("stage1_generator", {**STAGE1, "architecture": "tensorflow"}),
    "discriminator": ModelConfig(
        "discriminator", {"image_size": 128, "filters": 2, "logits": ["conditional", "unconditional"], **TEXT}
    ),
    "stackgan_v2": ModelConfig("stackgan_v2_generator", {**BRANCHES, "filters": 4}),
    "stackgan_v2_without_text": ModelConfig("stackgan_v2_generator", {**BRANCHES, "filters": 4, "conditional": False}),
    "attngan": ModelConfig("attngan_generator", {**BRANCHES, "filters": 4}),
    "attngan_as_released": ModelConfig("attngan_generator", {**BRANCHES, "filters": 4, "mask_order": "as_released"}),
    "stackgan_v2_discriminator": ModelConfig(
        "discriminator", {"image_size": 64, "filters": 2, "logits": ["unconditional"], "family": "stackgan_v2"}
    ),
    "attngan_discriminator": ModelConfig(
        "discriminator", {"image_size": 64, "filters": 2, "text": "embedding", "text_dim": 6, "family": "attngan"}
    ),
    "word_encoder": ModelConfig("word_encoder", {"vocabulary": 71, "word_dim": 5, "text_dim": 6}),
    "region_encoder": ModelConfig("region_encoder", {"text_dim": 6}),
    "text_encoder": ModelConfig("text_encoder", {"filters": 6, "recurrent_dim": 5, "text_dim": 6}),
    "image_encoder": ModelConfig("image_encoder", {"image_size": 32, "filters": 4, "text_dim": 6}),
    "attribute_classifier": ModelConfig(
        "attribute_classifier",
        {"attributes": {"wing": ["red", "blue"], "beak": ["red", "black"]}, "image_size": 32, "filters": 2},
    ),
}
PROGRAM = """
import json, sys
import numpy as np
from pathlib import Path
import keras
from stackgan_keras.models import weights

folder = Path(sys.argv[1])
for file in sorted(folder.glob("*.weights.h5")):
    name = file.name.removesuffix(".weights.h5")
    network = weights.load(file)
    with np.load(folder / f"{name}_inputs.npz") as inputs:
        given = {key: inputs[key] for key in inputs.files}
    made = network(given["only"] if "only" in given else given, training=False)
    made = made if isinstance(made, dict) else {"only": made}
    np.savez(folder / f"{name}_made.npz", **{key: keras.ops.convert_to_numpy(value) for key, value in made.items()})
print(json.dumps([keras.backend.backend(), "tensorflow" in sys.modules]))
"""


def inputs_of(network):
    rng = np.random.default_rng(0)
    inputs = network.input if isinstance(network.input, dict) else {"only": network.input}
    return {name: _random(rng, x.dtype, (2, *(side or 5 for side in x.shape[1:]))) for name, x in inputs.items()}


def _random(rng, dtype, shape):
    if dtype == "int32":
        return rng.integers(0, 70, shape).astype(np.int32)
    if dtype == "bool":
        return np.arange(shape[-1]) < np.array([[2], [4]])
    return rng.normal(size=shape).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_networks_make_the_same_without_tensorflow(backend, tmp_path):
    if find_spec(backend) is None:
        pytest.skip(f"needs {backend}")
    expected = {}
    for name, config in CONFIGS.items():
        network, rng = config.build(), np.random.default_rng(1)
        for path, variable in weights.named_variables(network).items():
            if path.endswith("kernel"):
                variable.assign(rng.normal(0, 1.5 / np.sqrt(np.prod(variable.shape[:-1])), variable.shape))
        weights.save(network, config, tmp_path / f"{name}.weights.h5")
        given = inputs_of(network)
        np.savez(tmp_path / f"{name}_inputs.npz", **given)
        made = network(given.get("only", given), training=False)
        expected[name] = made if isinstance(made, dict) else {"only": made}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1]) == [backend, False]
    for name, outputs in expected.items():
        with np.load(tmp_path / f"{name}_made.npz") as made:
            assert set(made.files) == set(outputs)
            for key, value in outputs.items():
                np.testing.assert_allclose(made[key], value, atol=1e-4, err_msg=f"{name} {key}")
