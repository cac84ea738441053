"""What several tests share: small real data, refusals, how a command ends, benchmarks, and the page of `app`."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from stackgan_keras import command_line
from stackgan_keras.data.published import Dataset
from stackgan_keras.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[1]


def benchmark(name: str) -> ModuleType:
    """A program of `benchmarks/`, which is no package."""
    specification = importlib.util.spec_from_file_location(name, REPOSITORY / f"benchmarks/{name}.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # where dataclasses look for it
    specification.loader.exec_module(module)
    return module


def make_dataset(folder: Path, count: int = 10, text_dim: int = 6, captions=(1, 3, 2), size: int = 120) -> Dataset:
    """Images whose colour, class and embeddings all tell their number: red is 10 i, embedding 100 i + caption."""
    counts = [captions[i % len(captions)] for i in range(count)]
    paths = []
    for i in range(count):
        pixels = np.zeros((size, size, 3), np.uint8)
        pixels[..., 0] = 10 * i
        pixels[:, : size // 2, 1] = 200  # green on the left: a mirror image shows
        paths.append(folder / f"image_{i}.png")
        Image.fromarray(pixels).save(paths[-1])
    rows = [100.0 * i + j for i, n in enumerate(counts) for j in range(n)]
    return Dataset(
        names=tuple(path.stem for path in paths),
        paths=tuple(paths),
        boxes=None,
        class_ids=np.arange(count, dtype=np.int64) % 4,
        captions=tuple(tuple(f"image {i} caption {j}" for j in range(n)) for i, n in enumerate(counts)),
        embeddings=np.repeat(np.array(rows, np.float32)[:, None], text_dim, axis=1),
        first_embedding=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        packed={},
    )


def refusal(function, *arguments) -> str:
    """The one line that `function` refuses its arguments with."""
    with pytest.raises(InputError) as problem:
        function(*arguments)
    sentence = str(problem.value)
    assert "\n" not in sentence
    return sentence


def ended(main, arguments, monkeypatch, captured) -> tuple[int, str, str]:
    """Runs a command's `main` as a shell would: its exit code, its output and its errors, as `captured` sees them."""
    monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
    captured.readouterr()
    try:
        command_line.run(main)
        code = 0
    except SystemExit as end:
        code = end.code
    return code, *captured.readouterr()


def awake(config):
    """The network with weights that make every input show in the image."""
    from stackgan_keras.models import weights  # only here, as it takes seconds

    model, rng = config.build(), np.random.default_rng(0)
    for path, variable in weights.named_variables(model).items():
        if path.endswith("kernel"):
            scale = 4 if config.network == "text_encoder" else 1.5
            variable.assign(rng.normal(0, scale / np.sqrt(np.prod(variable.shape[:-1])), variable.shape))
    return model


@contextmanager
def eager() -> Iterator[None]:
    """Until the block ends, nothing is compiled before it is computed."""
    import tensorflow as tf  # only here, as it takes seconds

    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


def train_encoders(folder, chosen, dataset, start=None):
    """The text encoder that a training in a folder gives; the folder then holds `weights`, `logs` and `results`."""
    from stackgan_keras.training import text  # only here, as it takes seconds

    folders = text.TextFolders(folder / "weights", folder / "logs", folder / "results")
    return text.train_encoders((dataset, dataset), chosen, folders, start)


def random_features():
    """What heads on pretrained features read, of a network with random weights."""
    import keras  # only here, as it takes seconds

    from stackgan_keras.models import efficientnet_lite0, projected

    keras.utils.set_random_seed(1)
    network = efficientnet_lite0.efficientnet_lite0()
    return projected.projections(efficientnet_lite0.feature_maps(network, projected.SIZE))


@contextmanager
def serving(output_dir: Path, log: Path) -> Iterator[str]:
    """The address of the page of `app`, which another process serves in a folder until the block ends; no faults."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "stackgan_keras.app", "--port", str(port)]
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    with log.open("w") as file:
        environment = os.environ | {"PYTHONPATH": paths}
        process = subprocess.Popen(words, stdout=file, stderr=file, cwd=output_dir, env=environment)
    try:
        until(lambda: "Running on" in log.read_text() or process.poll() is not None, 400)
        assert process.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{port}"
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        process.terminate()
        process.wait(200)


def until(condition, seconds: float = 60):
    """What the condition gives as soon as it is true; until then it may fail."""
    end = time.monotonic() + seconds
    while True:
        try:
            if found := condition():
                return found
        except Exception:
            if time.monotonic() > end:
                raise
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.03)


def fetch(address) -> bytes:
    with urllib.request.urlopen(address, timeout=30) as answer:
        return answer.read()


def pixels(file) -> np.ndarray:
    """An image file as (height, width, 3) uint8."""
    return np.asarray(Image.open(file).convert("RGB"))
