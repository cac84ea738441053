"""A training's figures: lines of JSON, which a resumed run goes on writing, and the same for TensorBoard."""

import json
from pathlib import Path

import numpy as np
import tensorflow as tf

from stackgan_keras.files import atomic_write

UNFINISHED = "unfinished_epoch.json"  # beside the figures: of the epoch within which a training was stopped
NO_LOSSES = {"step", "epoch", "images_per_second"}  # in every line, beside its losses


class Metrics:
    """One line of figures an epoch in `metrics.jsonl`, and TensorBoard's files, in a folder."""

    def __init__(self, folder: Path):
        self.path = folder / "metrics.jsonl"
        self.board = None

    def rewind(self, step: int) -> None:
        """Removes the lines after `step`, which a resumed run will write again, and one that is not whole."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            kept = [line for line in self.path.read_text().splitlines() if _step_of(line) <= step]
            with atomic_write(self.path) as unfinished:
                unfinished.write_text("".join(f"{line}\n" for line in kept))

    def write(self, step: int, scalars: dict[str, float]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **{k: round(v, 6) for k, v in scalars.items()}}) + "\n")
        with self._tensorboard().as_default(step=step):
            for name, value in scalars.items():
                tf.summary.scalar(name, value)

    def keep_unfinished(self, step: int, losses: list[dict[str, float]]) -> None:
        """Keeps the losses of an epoch's steps until `step`, after which the training was stopped."""
        with atomic_write(self.path.with_name(UNFINISHED)) as unfinished:
            unfinished.write_text(json.dumps({"step": step, "losses": losses}))

    def unfinished(self, step: int, count: int) -> list[dict[str, float]]:
        """The losses of the `count` steps of an epoch until `step`; none where they were not kept."""
        try:
            kept = json.loads(self.path.with_name(UNFINISHED).read_text())
            return kept["losses"] if (kept["step"], len(kept["losses"])) == (step, count) else []
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def write_image(self, step: int, image: np.ndarray) -> None:
        with self._tensorboard().as_default(step=step):
            tf.summary.image("images", image[None])

    def _tensorboard(self):
        self.board = self.board or tf.summary.create_file_writer(str(self.path.parent / "tensorboard"))
        return self.board


def read(file: Path) -> list[dict]:
    """The figures of every epoch; none where there is no file, and a line that is not whole is left out."""
    found = []
    for line in file.read_text("utf-8", "replace").splitlines() if file.is_file() else ():
        try:
            values = json.loads(line)
        except ValueError:
            continue
        if isinstance(values, dict) and values.keys() >= NO_LOSSES:
            found.append(values)
    return found


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):  # the run was killed while it wrote this line
        return float("inf")
