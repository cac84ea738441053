"""What the tests of disturbed trainings share: a run that is left alone, files half written, and digests of the end."""

import hashlib
import json
import os
import subprocess
from pathlib import Path

import h5py
import numpy as np
import tensorflow as tf
from helpers import REPOSITORY
from PIL import Image

from stackgan_keras.config import Folders

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"  # names of layers, which count all that a process has built


def finish(words: list, folder: Path) -> None:
    done = subprocess.run([*words, "--output_dir", folder], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr[-2000:]


def unfinished(folder: Path) -> set[Path]:
    """Files that are being written, in a folder: those of `atomic_write`, and those of TensorFlow's checkpoints."""
    found = set()
    for below, _, names in os.walk(folder):
        found |= {Path(below, name) for name in names if name.startswith(".") or "temp" in name or "tmp" in name}
    return found


def state(folders: Folders) -> dict[str, str]:
    """Digests of all that a run left."""
    found = {}
    for path in folders.weights.glob("[!.]*.h5"):  # not what a kill left unfinished
        with h5py.File(path) as file:
            arrays = {}
            file.visititems(
                lambda name, item, arrays=arrays: arrays.update({name: item[()]}) if hasattr(item, "dtype") else None
            )
        found[path.name] = digest(arrays)
    for folder in (*folders.logs.iterdir(), *folders.logs.glob("*/warmup")):
        if newest := tf.train.latest_checkpoint(str(folder / "checkpoints")):
            reader = tf.train.load_checkpoint(newest)
            names = reader.get_variable_to_shape_map()
            names = [name for name in names if "save_counter" not in name and name != OBJECT_GRAPH]
            found[f"{folder.name}: checkpoint"] = digest({name: reader.get_tensor(name) for name in names})
        if (metrics := folder / "metrics.jsonl").is_file():
            lines = [json.loads(line) for line in metrics.read_text().splitlines()]
            found[f"{folder.name}: figures"] = str([line | {"images_per_second": 0} for line in lines])
    for path in folders.results.rglob("[!.]*_[0-9]*.png"):
        found[str(path.relative_to(folders.results))] = digest({"pixels": np.asarray(Image.open(path))})
    return found


def digest(arrays: dict) -> str:
    made = hashlib.sha256()
    for name in sorted(arrays):
        value = arrays[name]
        made.update(name.encode() + (value if isinstance(value, bytes) else np.asarray(value).tobytes()))
    return made.hexdigest()
