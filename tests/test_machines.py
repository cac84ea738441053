"""Two machines train like one: the same figures and nearly the same weights, through the command itself."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from stackgan_keras.data import drawn_birds
from stackgan_keras.models import weights
from stackgan_keras.models.weights import ModelConfig

SETTINGS = {
    "data.image_size": 16,
    "generator.filters": 2,
    "generator.text_dim": 16,
    "generator.condition_dim": 8,
    "generator.noise_dim": 8,
    "discriminator.filters": 2,
    "train.batch_size": 4,
    "train.max_steps": 6,
    "train.save_every": 1,
}


@pytest.mark.slow
@pytest.mark.parametrize("encoder", [False, True])
def test_two_workers_equal_one(tmp_path, encoder):
    """With the embeddings of the data, or with those of the run's own text encoder, which are computed first."""
    root = drawn_birds.write(tmp_path / "birds", count=24, classes=4, test_classes=1, embedding_dim=16, workers=1)
    if encoder:
        text_encoder = ModelConfig("text_encoder", {"filters": 8, "recurrent_dim": 8, "text_dim": 16})
        encoder_model = text_encoder.build()
        for name in ("one", "two"):
            path = tmp_path / name / "weights/mine/text_encoder.weights.h5"
            weights.save(encoder_model, text_encoder, path)
    one = start(root, tmp_path / "one")
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    cluster = {"worker": workers}
    two = [start(root, tmp_path / "two", cluster, index) for index in range(2)]
    try:
        for process in (one, *two):
            assert process.wait(300) == 0, "\n".join(path.read_text()[-2000:] for path in tmp_path.glob("*.txt"))
    finally:
        for process in (one, *two):
            process.kill()  # a worker waits for the other one for ever

    figures = [
        [json.loads(line) for line in (tmp_path / name / "logs/mine/stage1/metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    assert len(figures[0]) == 2  # epochs of four steps
    for of_one, of_two in zip(*figures, strict=True):
        assert of_one.keys() == of_two.keys()
        for name in of_one.keys() - {"images_per_second"}:
            assert of_one[name] == pytest.approx(of_two[name], rel=5e-2, abs=1e-3), name
    assert figures[0][0]["discriminator"] == pytest.approx(figures[1][0]["discriminator"], rel=1e-2)
    printed = [(tmp_path / f"two_{index}.txt").read_text() for index in range(2)]
    assert ["stage1 of run mine" in text for text in printed] == [True, False]  # the chief speaks for all
    models = [weights.load(tmp_path / name / "weights/mine/stage1_gen.weights.h5") for name in ("one", "two")]
    for path, variable in weights.named_variables(models[0]).items():
        if path.endswith("kernel"):  # six steps of Adam move a weight by 1.2e-3 at most
            other = weights.named_variables(models[1])[path]
            assert np.abs(variable - other).mean() < 3e-4, path


def start(root, output, cluster=None, index=0):
    """The command in a process of its own, alone or as one of a cluster's workers."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if cluster:
        environment["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
    command = [sys.executable, "-m", "stackgan_keras.train_stage1"]
    command += [part for name, value in SETTINGS.items() for part in (f"--{name}", str(value))]
    command += ["--data.root", str(root), "--output_dir", str(output)]
    with output.with_name(f"{output.name}_{index}.txt").open("wb") as printed:
        return subprocess.Popen(command, env=environment, stdout=printed, stderr=printed)


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
