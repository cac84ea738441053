"""The record of a prepared folder, `prepared.json`: what it was made of and holds, so that one command goes on."""

import hashlib
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stackgan_keras.data.preparing.request import Request
from stackgan_keras.data.sources.reader import UNFINISHED
from stackgan_keras.data.sources.source import Example
from stackgan_keras.errors import InputError
from stackgan_keras.files import LONG_TEXT, read_text, write_lines

RECORD = "prepared.json"
# settings that decide what the text encoder becomes, and those that may change while it is unfinished
DECIDES: dict[str, bool | set[str]] = {
    "text": True,
    "generator": {"text_dim"},
    "data": {"image_size"},
    "train": {"seed", "precision", "max_steps"},
}
MAY_CHANGE = ("text.epochs", "train.max_steps")


def asked(request: Request) -> dict:
    """Everything that decides what the folder will hold, by name."""
    paths_and_numbers = {"folder": request.folder} | request.deciding_options()
    encoder = request.text_encoder and digest_of(request.text_encoder)
    found: dict[str, Any] = {"source": request.reader.name, "text_encoder": encoder}
    found |= {name: str(v.resolve()) if isinstance(v, Path) else v for name, v in paths_and_numbers.items()}
    if request.shards is not None:
        found |= {"shards": request.shards, "shard_sizes": [*request.shard_sizes]}
    if request.text_encoder:
        return found
    sections = request.settings.model_dump(mode="json", include=DECIDES).items()
    return found | {f"{section}.{key}": value for section, values in sections for key, value in values.items()}


def find(out: Path, asked: dict) -> dict | None:
    """The record of `out` if it is finished and was asked for alike; refuses a folder that holds anything else."""
    if out.is_file():
        raise InputError(f"{out} is a file: give --out the name of a folder")
    is_finished = (out / RECORD).is_file()
    file, free = (out / RECORD, ()) if is_finished else (out / UNFINISHED / RECORD, MAY_CHANGE)
    if not file.is_file():
        if strange := {entry.name for entry in out.glob("*")} - {UNFINISHED}:
            raise InputError(f"{out} already holds {min(strange)}: give --out a new or an empty folder")
        return None
    try:
        record = json.loads(read_text(file, LONG_TEXT))
        earlier = record["asked"]
        changed = [key for key in asked if earlier.get(key) != asked[key] and key not in free]
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise InputError(f"{file} is damaged: delete {out} to prepare it anew, or name another --out") from None
    if changed:
        listed = ", ".join(f"{key} {earlier.get(key)} (now {asked[key]})" for key in changed)
        raise InputError(f"{out} was begun with {listed}: ask for the same, name another --out, or delete {out}")
    return record if is_finished else None


def write(folder: Path, record: dict) -> None:
    write_lines(folder / RECORD, [json.dumps(record, indent=1)])


def counts(examples: Sequence[Example]) -> dict:
    """How much a split holds."""
    captions = [len(example.captions) for example in examples]
    return {
        "images": len(examples),
        "captions": sum(captions),
        "classes": len({example.class_id for example in examples}),
        "captions per image (least, median, most)": [min(captions), int(statistics.median(captions)), max(captions)],
    }


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
