"""Prepare a training folder: captioned pictures of any source, in the published layout, with their embeddings.

python -m stackgan_keras.prepare PICTURES --out DIR                            a folder of your own
python -m stackgan_keras.prepare drawn --out DIR --count 10000 --classes 2000  birds drawn on the spot
python -m stackgan_keras.prepare cub --out DIR --pictures DIR --captions DIR   CUB-200-2011, unpacked

A text encoder is trained on the captions (settings as for train_text), or a given one is used. Stop it whenever you
like: the same command goes on. What `published` reads comes last, so no unfinished folder is taken for a finished one.
"""

import argparse
import hashlib
import itertools
import json
import math
import re
import shlex
import shutil
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from stackgan_keras import config
from stackgan_keras.command_line import Parser, quietly, run
from stackgan_keras.config import Settings
from stackgan_keras.data import drawn_birds, preparing, published, sources
from stackgan_keras.data.sources import captioned_folder, drawn
from stackgan_keras.data.sources.source import Example, Source, divide
from stackgan_keras.errors import InputError
from stackgan_keras.files import atomic_write, write_lines
from stackgan_keras.models.runs import TEXT_ENCODER

OPTIONS = {  # what only some sources take
    "drawn": ("count", "classes", "seed"),
    **dict.fromkeys(sources.PUBLISHED, ("pictures", "captions", "tfds_dir")),
}
CONFIGS = {"cub": "birds_stage1", "oxford102": "flowers_stage1", "coco": "coco_stage1", "drawn": "drawn_stage1"}
FEW, SEEN = 2000, 40_000  # training pictures that are few, and how many Stage I sees by `few_stage1` in all its epochs
RECORD = "prepared.json"  # what a finished folder was made of, and what is in it
RETRIEVAL = "retrieval"  # folder of image grids that show which pictures sentences find
UNFINISHED = ".unfinished"  # folder of what is only needed until the end
# settings that decide what the text encoder becomes, and those that may change while it is unfinished
DECIDES = {"text": True, "generator": {"text_dim"}, "data": {"image_size"}, "train": {"seed", "precision", "max_steps"}}
MAY_CHANGE = ("text.epochs", "train.max_steps")
NAMED = 3  # skipped files that the summary names


def main(arguments: list[str] | None = None) -> None:
    """What the command does with these arguments, else with its own."""
    given, settings = _arguments(sys.argv[1:] if arguments is None else arguments)
    asked = _asked(given, settings)
    record = _earlier(given.out, asked)
    if record is None:
        record = _prepare(given, settings, asked)
        print(_summary(record, given.out))
    else:
        is_on_disk = given.folder or given.pictures  # what is drawn or comes from a hub never changes
        if is_on_disk and record.get("content") != preparing.digest(_read(given).examples):
            raise InputError(
                f"{given.source} has changed since it became {given.out}: delete that, or name another --out"
            )
        print(f"{given.out} is finished and was prepared with the same settings: left as it is")
    print(f"next: {_next_command(record, given.out)}")


def _prepare(given: argparse.Namespace, settings: Settings, asked: dict) -> dict:
    """Makes the folder and returns its record. Each step leaves out what an earlier, stopped command did."""
    out, unfinished = given.out, given.out / UNFINISHED
    if given.text_encoder:
        with quietly():
            from stackgan_keras.models import weights
        weights.read_config(given.text_encoder, "text_encoder")
    source = _read(given)
    for leftover in out.rglob(".[0-9]*.*"):  # half a file of a command that was killed
        leftover.unlink()
    write_lines(unfinished / RECORD, [json.dumps({"asked": asked}, indent=1)])

    has_boxes = all(example.box for example in source.examples)
    home = out / ("CUB_200_2011/images" if has_boxes else "images")
    examples, notes = divide(preparing.copy_pictures(source, home))
    preparing.write_captions(examples, out / "text_c10")
    if has_boxes:
        preparing.write_tables(examples, home)
    for file in source.others:
        shutil.copyfile(file, out / file.name)
    splits = {split: [e for e in examples if e.split == split] for split in published.SPLITS}
    records = [preparing.to_records(part, home) for part in splits.values()]
    embed, text_dim = _text_encoder(given, settings, records)
    preparing.write_embeddings(embed, _file_digest(out / TEXT_ENCODER), splits, out, unfinished)
    preparing.write_lists(splits, out)
    record = {
        "asked": asked,
        "run": settings.run,
        "text_dim": text_dim,
        "content": preparing.digest(source.examples),
        "splits": {split: _counts(part) for split, part in splits.items()},
        "notes": source.notes + notes,
        "skipped": source.skipped,
    }
    write_lines(out / RECORD, [json.dumps(record, indent=1)])
    shutil.rmtree(unfinished)
    return record


def _read(given: argparse.Namespace) -> Source:
    """What the source holds, drawn first where there is nothing yet."""
    print("drawing birds …" if given.source == "drawn" else f"reading {given.source} …", flush=True)
    if given.kind in sources.PUBLISHED:
        return sources.PUBLISHED[given.kind](given.pictures, given.captions, given.tfds_dir)
    if given.kind == "folder":
        return captioned_folder.read(given.folder, leave_out=given.out)
    folder = given.folder or given.out / UNFINISHED / "drawn"  # where they wait until they have found their place
    if given.source == "drawn":
        drawn_birds.write(folder, **_drawn_settings(given), embedding_dim=1, progress=True)
    return drawn.read(folder)


def _drawn_settings(given: argparse.Namespace) -> dict[str, int]:
    test_classes = max(1, min(40, given.classes // 5))
    return {"count": given.count, "classes": given.classes, "test_classes": test_classes, "seed": given.seed}


def _text_encoder(given: argparse.Namespace, settings: Settings, datasets: list) -> tuple[Callable, int]:
    """Puts the given text encoder, or one trained on the datasets, into place; what embeds by it, and its text_dim."""
    with quietly():  # only now, as it takes seconds: wrong arguments and folders are answered at once
        from stackgan_keras.models import text_encoder, weights
        from stackgan_keras.training import text

    path = given.out / TEXT_ENCODER
    if given.text_encoder is None:
        folders = text.TextFolders(given.out, given.out / UNFINISHED / "text", given.out / RETRIEVAL)
        text.train_encoders(tuple(datasets), settings, folders)
    else:
        with atomic_write(path) as unfinished:
            shutil.copyfile(given.text_encoder, unfinished)
    model = weights.load(path, "text_encoder")
    return partial(text_encoder.embed, model), model.output_shape[-1]


def _parser() -> Parser:
    parser = Parser(
        prog="python -m stackgan_keras.prepare",
        usage="python -m stackgan_keras.prepare SOURCE --out DIR [...] [--config FILE] [--text.key VALUE ...]",
        description="Makes a training folder, embeddings included, out of captioned pictures.",
        epilog="A folder of your own holds NAME.txt beside NAME.jpg (a caption in each line), or metadata.jsonl or "
        "metadata.csv with file_name and text. Folders in it are classes, train/ and test/ are splits; both may be "
        "missing. The text encoder is trained with the settings of train_text, such as --text.epochs 50 or "
        "--generator.text_dim 256; `train_text --help` lists them.",
    )
    add = parser.add_argument
    add("source", metavar="SOURCE", help="drawn, cub, oxford102, coco, or a folder of captioned pictures")
    add("--out", metavar="DIR", type=Path, required=True, help="folder to make")
    add("--text_encoder", metavar="FILE", type=Path, help=f"{TEXT_ENCODER}, or a run's weights folder")
    add = parser.add_argument_group("cub, oxford102, coco").add_argument
    add("--pictures", metavar="DIR", type=Path, help="unpacked archive; without it: tensorflow-datasets")
    add("--captions", metavar="PATH", type=Path, help="Reed's text_c10/, or COCO's JSON (default: in --pictures)")
    add("--tfds_dir", metavar="DIR", type=Path, help="where tensorflow-datasets keeps its data")
    add = parser.add_argument_group("drawn").add_argument
    add("--count", metavar="N", type=int, default=2000, help="pictures (default 2000)")
    add("--classes", metavar="N", type=int, default=50, help="species, a fifth, at most 40, to test (default 50)")
    add("--seed", metavar="N", type=int, default=0, help="another number draws other birds (default 0)")
    return parser


def _arguments(arguments: list[str]) -> tuple[argparse.Namespace, Settings]:
    """What the command line asks for, with the `kind` and `folder` of its source, and the text encoder's settings."""
    parser = _parser()
    own, for_encoder = _parted(arguments)
    given = parser.parse_args(own)
    given.kind, given.folder, allowed = given.source, None, OPTIONS.get(given.source, ())
    if given.source not in OPTIONS:
        given.folder = Path(given.source).expanduser()
        if not given.folder.is_dir():
            raise InputError(f"there is no folder {given.source}: name another one, or one of {', '.join(OPTIONS)}")
        if given.folder.resolve().is_relative_to(given.out.resolve()):
            raise InputError(f"--out {given.out} is or holds the source {given.source}: name another folder")
        given.kind = sources.recognise(given.folder)
        allowed = ("captions",) if given.kind in sources.PUBLISHED else ()
    for option in itertools.chain(*OPTIONS.values()):
        if option not in allowed and getattr(given, option) != parser.get_default(option):
            raise InputError(f"--{option} does not belong to the source {given.source}: leave it out")
    if given.kind in sources.PUBLISHED:
        given.pictures = given.folder or given.pictures
    if given.text_encoder and given.text_encoder.is_dir():
        given.text_encoder /= TEXT_ENCODER
    for option in ("pictures", "captions", "text_encoder"):
        path = getattr(given, option)
        if path and not path.exists():
            raise InputError(f"there is no {path}: check --{option}")
    if given.text_encoder and for_encoder:
        raise InputError(
            f"{for_encoder[0]} is for training a text encoder, but --text_encoder brings one: leave one out"
        )
    name = re.sub(r"[^\w.-]+", "_", given.out.resolve().name).lstrip(".") or "prepared"
    is_own = given.kind != "drawn" or given.text_encoder  # else the settings for drawn birds are the preset
    settings, _ = config.from_command_line(
        ["--run", name, *(["--data.root", str(given.out)] if is_own else []), *for_encoder],
        prog=parser.prog,
        description="",
        preset="drawn_text",
        defaults={},
    )
    return given, settings


def _parted(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The command's own arguments, and those that name settings (`--config FILE`, `--section.key VALUE`)."""
    own, for_encoder = [], []
    rest = iter(arguments)
    for argument in rest:
        if re.match(r"--(config|run|\w+\.\w+)(=|$)", argument):
            for_encoder += [argument, *([] if "=" in argument else itertools.islice(rest, 1))]
        else:
            own.append(argument)
    return own, for_encoder


def _asked(given: argparse.Namespace, settings: Settings) -> dict:
    """Everything that decides what the folder will hold, by name."""
    paths = {option: getattr(given, option) for option in ("folder", "pictures", "captions", "tfds_dir")}
    asked = {"source": given.kind} | {option: path and str(path.resolve()) for option, path in paths.items()}
    if given.source == "drawn":
        asked |= _drawn_settings(given)
    if given.text_encoder:
        return asked | {"text_encoder": _file_digest(given.text_encoder)}
    sections = settings.model_dump(mode="json", include=DECIDES).items()
    return asked | {f"{section}.{key}": value for section, values in sections for key, value in values.items()}


def _earlier(out: Path, asked: dict) -> dict | None:
    """The record of `out` if it is finished, with the same settings; refuses one that holds anything else."""
    if out.is_file():
        raise InputError(f"{out} is a file: give --out the name of a folder")
    is_finished = (out / RECORD).is_file()
    file, free = (out / RECORD, ()) if is_finished else (out / UNFINISHED / RECORD, MAY_CHANGE)
    if not file.is_file():
        if strange := {entry.name for entry in out.glob("*")} - {UNFINISHED}:
            raise InputError(f"{out} already holds {min(strange)}: give --out a new or an empty folder")
        return None
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        earlier = record["asked"]
        changed = [key for key in earlier | asked if earlier.get(key) != asked.get(key) and key not in free]
    except (ValueError, KeyError, AttributeError, TypeError):
        raise InputError(f"{file} is damaged: delete {out} to prepare it anew, or name another --out") from None
    if changed:
        listed = ", ".join(f"{key} {earlier.get(key)} (now {asked.get(key)})" for key in changed)
        raise InputError(f"{out} was begun with {listed}: ask for the same, name another --out, or delete {out}")
    return record if is_finished else None


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _counts(examples: Sequence[Example]) -> dict:
    captions = [len(example.captions) for example in examples]
    return {
        "pictures": len(examples),
        "captions": sum(captions),
        "classes": len({example.class_id for example in examples}),
        "captions per picture (least, median, most)": [min(captions), int(statistics.median(captions)), max(captions)],
    }


def _summary(record: dict, out: Path) -> str:
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
            f"note: {record['splits']['train']['pictures']} training pictures are few: the next command's networks are "
            f"narrower than published, and its epochs show {SEEN:,} images, as was measured with 500; Stage II has "
            "few_stage2. Their discriminators read a pretrained network: pip install 'stackgan_keras[efficientnet]'"
        )
    return "\n".join(lines)


def _next_command(record: dict, out: Path) -> str:
    """The training of Stage I, by the source's config, or by that for few pictures."""
    pictures = record["splits"]["train"]["pictures"]
    settings = ["--config", known] if (known := CONFIGS.get(record["asked"]["source"])) else []
    if _are_few(record):
        settings = ["--config", "few_stage1", "--train.epochs", str(math.ceil(SEEN / pictures))]
    command = ["python", "-m", "stackgan_keras.train_stage1", *settings, "--data.root", str(out)]
    return shlex.join([*command, "--generator.text_dim", str(record["text_dim"]), "--run", record["run"]])


def _are_few(record: dict) -> bool:
    """Whether the published widths are too wide for the training pictures. Drawn ones are easier than photographs."""
    return record["asked"]["source"] != "drawn" and record["splits"]["train"]["pictures"] < FEW


if __name__ == "__main__":
    run(main)
