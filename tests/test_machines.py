"""Do two machines train like one?"""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from stackgan_keras.data import drawn_birds
from stackgan_keras.models import weights

SETTINGS = {
    "data.image_size": 16,
    "generator.filters": 4,
    "generator.text_dim": 16,
    "generator.condition_dim": 8,
    "generator.noise_dim": 8,
    "discriminator.filters": 2,
    "train.batch_size": 4,
    "train.max_steps": 6,
    "train.save_every": 1,
}


@pytest.mark.slow
def test_two_workers_equal_one(tmp_path):
    root = drawn_birds.write(tmp_path / "birds", count=24, classes=4, test_classes=1, embedding_dim=16, workers=1)
    alone = start(root, tmp_path / "one")
    assert alone.wait(300) == 0
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    both = [
        start(root, tmp_path / "two", {"cluster": {"worker": workers}, "task": {"type": "worker", "index": i}})
        for i in range(2)
    ]
    assert [process.wait(300) for process in both] == [0, 0]

    figures = [
        [json.loads(line) for line in (tmp_path / name / "logs/mine/stage1/metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    for one, two in zip(*figures, strict=True):
        for name in one.keys() - {"pictures_per_second"}:
            assert one[name] == pytest.approx(two[name], rel=5e-2, abs=1e-3), name
    assert figures[0][0]["discriminator"] == pytest.approx(figures[1][0]["discriminator"], rel=1e-2)
    models = [weights.load(tmp_path / name / "weights/mine/stage1_gen.weights.h5") for name in ("one", "two")]
    for path, variable in weights.named_variables(models[0]).items():
        if path.endswith("kernel"):  # six steps of Adam move a weight by 1.2e-3 at most
            other = weights.named_variables(models[1])[path]
            assert np.abs(variable - other).mean() < 3e-4, path


def start(root, output, cluster=None):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if cluster:
        environment["TF_CONFIG"] = json.dumps(cluster)
    command = [sys.executable, "-m", "stackgan_keras.train_stage1"]
    command += [part for name, value in SETTINGS.items() for part in (f"--{name}", str(value))]
    command += ["--data.root", str(root), "--output_dir", str(output)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
