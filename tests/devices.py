"""What the tests of several devices and of several machines share: tiny trainings in processes of their own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np

PROGRAM = Path(__file__).with_name("on_devices.py")
SETTINGS = {
    "data.image_size": 16,
    "generator.filters": 2,
    "generator.text_dim": 16,
    "generator.condition_dim": 8,
    "generator.noise_dim": 8,
    "discriminator.filters": 2,
    "train.batch_size": 4,
    "train.max_steps": 3,
    "train.save_every": 1,
}
STAGE2 = {"data.image_size": 32, "generator.filters": 4, "generator.residual_blocks": 1}
REGULARIZED = {"train.r1_weight": 0.1, "train.ema_decay": 0.9, "train.augmentation": "translation,cutout"}


def start(output, command, settings, *, devices=1, cluster=None, index=0, **variables):
    """The command in a process of its own, alone or as one of a cluster's workers; what it prints is in `log_of`.

    `variables` come to its environment.
    """
    environment = {**os.environ, **variables, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["PYTHONPATH"] = os.pathsep.join([str(PROGRAM.parents[1]), environment.get("PYTHONPATH", "")])
    if cluster:
        environment["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
    words = [sys.executable, str(PROGRAM), str(devices), command, "--output_dir", str(output)]
    words += [word for name, value in {**SETTINGS, **settings}.items() for word in (f"--{name}", str(value))]
    with log_of(output, index).open("wb") as printed:
        return subprocess.Popen(words, env=environment, stdout=printed, stderr=subprocess.STDOUT)


def log_of(output, index=0):
    return output.with_name(f"{output.name}_{index}.txt")


def finish(processes, logs, codes=None):
    """Waits for the processes, which end well or with these codes."""
    codes = codes or [0] * len(processes)
    try:
        for process, log, code in zip(processes, logs, codes, strict=True):
            assert process.wait(900) == code, log.read_text()[-3000:]
    finally:
        for process in processes:
            process.kill()  # a worker would wait for the other one
            process.wait()


def train_each(folders, command, settings, **each):
    """Trains in every folder at once, by what `each` says of it."""
    processes = [
        start(folder, command, settings, **{k: v[i] for k, v in each.items()}) for i, folder in enumerate(folders)
    ]
    finish(processes, [log_of(folder) for folder in folders])


def copies(folder, names):
    """Copies of a run, each to be trained on in its own way."""
    return [Path(shutil.copytree(folder, folder.with_name(name))) for name in names]


def assert_same_training(one, other, network, *, rtol=1e-5, atol=1e-6):
    """The same figures in every epoch, and the same weights of generator and discriminators in the end."""
    for mine, theirs in zip(figures(one, network), figures(other, network), strict=True):
        assert mine.keys() == theirs.keys()
        for name in mine.keys() - {"images_per_second"}:
            np.testing.assert_allclose(mine[name], theirs[name], rtol=rtol, atol=1e-5, err_msg=name)
    files = sorted((one / "weights/mine").glob(f"{network}_*.weights.h5"))
    assert len(files) > 1
    for file in files:
        mine, theirs = (arrays(folder / "weights/mine" / file.name) for folder in (one, other))
        assert len(mine) > 5 and mine.keys() == theirs.keys()
        for path, values in mine.items():
            np.testing.assert_allclose(values, theirs[path], rtol=1e-5, atol=atol, err_msg=f"{file.name}: {path}")


def arrays(file):
    """The weights in a file, which may be in float64."""
    found = {}

    def keep(name, entry):
        if isinstance(entry, h5py.Dataset):
            found[name] = entry[()]

    with h5py.File(file) as opened:
        opened.visititems(keep)
    return found


def figures(folder, network):
    file = folder / f"logs/mine/{network}/metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]
