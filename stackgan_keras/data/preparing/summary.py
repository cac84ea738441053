"""What `prepare` tells of a finished folder: its content, what was left out, and the command that trains on it."""

import math
import shlex
from pathlib import Path

import pandas as pd

from stackgan_keras import config
from stackgan_keras.data import sources
from stackgan_keras.data.preparing.record import RECORD
from stackgan_keras.models.runs import TEXT_ENCODER

SHARDS = "shards"  # folder of TFRecord shards
RETRIEVAL = "retrieval"  # folder of image grids that show which images sentences find
SEEN = 40_000  # images that Stage I sees by `few_stage1` in all its epochs
NAMED = 3  # skipped files that are named


def summary(record: dict, out: Path) -> str:
    """What was made of the source."""
    lines = [pd.DataFrame(record["splits"]).to_string(), *(f"note: {note}" for note in record["notes"])]
    for reason, items in record["skipped"].items():
        more = f", …; all in {out / RECORD}" if len(items) > NAMED else ""
        lines.append(f"skipped {reason}: {len(items):,} ({', '.join(items[:NAMED])}{more})")
    lines += [f"written: {out}", f"text encoder: {out / TEXT_ENCODER}, {record['text_dim']} numbers a sentence"]
    if (out / RETRIEVAL).is_dir():
        lines.append(f"what its sentences find: {out / RETRIEVAL}")
    if _are_few(record):
        lines.append(
            f"note: {record['splits']['train']['images']} training images are few: the next command's networks are "
            f"narrower than published, and its epochs show {SEEN:,} images, as was measured with 500; Stage II has "
            "few_stage2. Their discriminators read a pretrained network: pip install 'stackgan_keras[efficientnet]'"
        )
    return "\n".join(lines)


def next_command(record: dict, out: Path) -> str:
    """The training of Stage I, by the source's config, or by that for few images."""
    known = sources.readers()[record["asked"]["source"]].config
    settings = ["--config", known] if known else []
    if _are_few(record):
        images = record["splits"]["train"]["images"]
        few = config.make(config.read("few_stage1")).train
        epochs = math.ceil(SEEN / images)
        decay = math.ceil(epochs * few.lr_decay_epochs / few.epochs)  # by images, as it was measured
        settings = ["--config", "few_stage1", "--train.epochs", str(epochs), "--train.lr_decay_epochs", str(decay)]
        if images < few.batch_size:
            settings += ["--train.batch_size", str(images)]
    data = ["--data.shards", str(out / SHARDS)] if record["asked"].get("shards") else ["--data.root", str(out)]
    command = ["python", "-m", "stackgan_keras.train_stage1", *settings, *data]
    return shlex.join([*command, "--generator.text_dim", str(record["text_dim"]), "--run", record["run"]])


def _are_few(record: dict) -> bool:
    """Whether the published networks are too wide for the training images."""
    return record["splits"]["train"]["images"] < sources.readers()[record["asked"]["source"]].few
