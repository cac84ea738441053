"""How far a training is: its newest image grid, its losses and the time left, read while it writes them."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from stackgan_keras import config
from stackgan_keras.config import Folders
from stackgan_keras.errors import InputError
from stackgan_keras.training import curves, logs

GRIDS = "*_[0-9]*.png"  # of an epoch, or of one of Stage II's warm-up
FINISHED = "It is finished."
SLOW = 3  # times as long as an epoch took without a new line: it may have been stopped


@dataclass(frozen=True)
class Progress:
    """What a training has left so far, `newest` of it at this time in seconds."""

    sentence: str
    newest: float
    lines: list[dict]
    results: Path

    def grid(self) -> np.ndarray | None:
        """Its newest grid that is whole, (height, width, 3) uint8."""
        for file in sorted(self.results.glob(GRIDS), key=lambda file: file.stat().st_mtime, reverse=True):
            try:
                with Image.open(file) as image:
                    return np.asarray(image.convert("RGB"))
            except (OSError, SyntaxError):  # Pillow's words for a file that is only half written
                continue
        return None

    def curves(self) -> np.ndarray | None:
        """Its losses over the epochs, drawn to be read on a phone, too: (height, width, 3) uint8."""
        figure = curves.draw(self.lines, columns=1)
        if figure is None:
            return None
        figure.set_dpi(130)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def trainings(output_dir: Path) -> list[str]:
    """The trainings below a folder as `<run>/<stage>`, the one that wrote last first."""
    last: dict[str, float] = {}
    for pattern in ("*/*/config.yaml", "*/*/metrics.jsonl", "*/*/warmup/metrics.jsonl"):
        for file in (output_dir / "logs").glob(pattern):
            name = "/".join(file.relative_to(output_dir / "logs").parts[:2])
            last[name] = max(last.get(name, 0.0), file.stat().st_mtime)
    return sorted(last, key=last.__getitem__, reverse=True)


def to_show(output_dir: Path, shown: str | None, known: Sequence[str]) -> str | None:
    """The training that a page is to show, which `shown` now and when it last looked `known` ones; None: there is none.

    It is another one if the one shown is gone, or finished and another has begun since.
    """
    names = trainings(output_dir)
    if shown not in names:
        return next(iter(names), None)
    begun = [name for name in names if name not in known]
    return begun[0] if begun and read(output_dir, shown).sentence.endswith(FINISHED) else shown


def read(output_dir: Path, training: str) -> Progress:
    """How far one of the `trainings` is. Raises `InputError` if there is none of this name."""
    if training not in trainings(output_dir):
        raise InputError(f"there is no training {training!r} below {output_dir / 'logs'}: choose one that is there")
    run, stage = training.split("/")
    folders = Folders(output_dir, run)
    metrics, results = folders.logs / stage / "metrics.jsonl", folders.results / stage
    if not metrics.is_file() and (metrics.parent / "warmup").is_dir():
        metrics = metrics.parent / "warmup" / metrics.name
    written = [file.stat().st_mtime for file in (metrics, *results.glob(GRIDS)) if file.is_file()]
    lines = logs.read(metrics)
    return Progress(_sentence(folders.logs / stage, metrics, lines), max(written, default=0.0), lines, results)


def _sentence(folder: Path, metrics: Path, lines: list[dict]) -> str:
    if not lines:
        return "Its first epoch is not over: figures come after it."
    last, warmup = lines[-1], metrics.parent != folder
    text = f"{'Warm-up, epoch' if warmup else 'Epoch'} {last['epoch']}"
    pace = f"{last['images_per_second']:.1f} images per second"
    try:
        settings = config.make(config.read(folder / "config.yaml"))
    except InputError:  # of another version
        return f"{text}, {pace}."
    section = settings.text if folder.name == "text" else settings.train
    epochs = settings.train.warmup_epochs if warmup else section.epochs
    per_epoch = last["step"] / last["epoch"]  # steps
    steps = min(epochs * per_epoch, settings.train.max_steps or np.inf)
    seconds_a_step = section.batch_size / max(last["images_per_second"], 1e-9)
    silent = time.time() - metrics.stat().st_mtime
    text = f"{text} of {min(epochs, math.ceil(steps / per_epoch))}, {pace}"
    if last["step"] >= steps:
        return f"{text}. {'The first epoch after it is not over.' if warmup else FINISHED}"
    if silent > SLOW * per_epoch * seconds_a_step + 60:
        return f"{text}. Nothing new for {_span(silent)}: it may have been stopped."
    return f"{text}, {_span(max(0, (steps - last['step']) * seconds_a_step - silent))} left."


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
