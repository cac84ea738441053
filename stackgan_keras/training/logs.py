"""A run's figures: `metrics.jsonl`, the same for TensorBoard, and loss curves."""

from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
from matplotlib.figure import Figure

from stackgan_keras.training.metrics_file import MetricsFile

PANELS = {
    "discriminator's losses": ["real", "real_unconditional", "mismatched", "fake", "fake_unconditional"],
    "generator's loss": ["generator", "interpolated"],
    "discriminator's loss on real pictures that it learned from, and not": ["real_train", "real_test"],
    "KL of the conditioning augmentation": ["kl"],
}


class Metrics(MetricsFile):
    """One line of figures an epoch in `metrics.jsonl`, and TensorBoard's files, in a folder."""

    def __init__(self, folder: Path):
        super().__init__(folder / "metrics.jsonl")
        self.board = None

    def write(self, step: int, scalars: dict) -> None:
        super().write(step, scalars)
        with self._tensorboard().as_default(step=step):
            for name, value in scalars.items():
                tf.summary.scalar(name, value)

    def write_image(self, step: int, image: np.ndarray) -> None:
        with self._tensorboard().as_default(step=step):
            tf.summary.image("images", image[None])

    def _tensorboard(self):
        self.board = self.board or tf.summary.create_file_writer(str(self.path.parent / "tensorboard"))
        return self.board


def plot_curves(metrics: Path, path: Path) -> None:
    """Draws the losses of a `metrics.jsonl` into a PNG."""
    table = pd.read_json(metrics, lines=True)
    figure = Figure(figsize=(17, 3.6), layout="constrained")
    for axes, (title, names) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        for name in names:
            if name in table:
                axes.plot(table["epoch"], table[name], label=name.replace("_", " "), linewidth=1)
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
        if len(names) > 1:
            axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
