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
import re
import shlex
import shutil
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

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
RECORD = "prepared.json"  # what a finished folder was made of, and what is in it
RETRIEVAL = "retrieval"  # folder of image grids that show which pictures sentences find
UNFINISHED = ".unfinished"  # folder of what is only needed until the end
MAY_CHANGE = ("text.epochs", "train.max_steps")  # settings with which an unfinished encoder can go on
DECIDING = {  # settings that decide what the text encoder becomes
    "text": True,
    "generator": {"text_dim"},
    "data": {"image_size"},
    "train": {"seed", "precision", "max_steps"},
}
CONFIGS = {"cub": "birds_stage1", "oxford102": "flowers_stage1", "coco": "coco_stage1", "drawn": "drawn_stage1"}
NAMED = 3  # skipped files that the summary names


def main() -> None:
    given, settings = _arguments(sys.argv[1:])
    asked = _asked(given, settings)
    record = _earlier(given.out, asked)
    if record is None:
        record = _prepare(given, settings, asked)
        print(_summary(record, given.out))
    else:
        _check_same_content(given, record)
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
    write_lines(unfinished / RECORD, [json.dumps(asked, indent=1)])

    has_boxes = all(example.box for example in source.examples)
    home = out / ("CUB_200_2011/images" if has_boxes else "images")
    examples, notes = divide(preparing.copy_pictures(source, home))
    preparing.write_captions(examples, out / "text_c10")
    if has_boxes:
        preparing.write_tables(examples, home)
    if source.kind == "drawn":
        shutil.copyfile(_drawn_folder(given) / "truth.jsonl", out / "truth.jsonl")
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
        "captioned pictures": len(source.examples),
        "splits": {split: _counts(part) for split, part in splits.items()},
        "notes": source.notes + notes,
        "skipped": source.skipped,
    }
    write_lines(out / RECORD, [json.dumps(record, indent=1)])
    shutil.rmtree(unfinished)
    return record


def _read(given: argparse.Namespace) -> Source:
    """What the source holds, drawn first where there is nothing yet."""
    print(f"reading {given.source} …" if given.source != "drawn" else "drawing birds …", flush=True)
    if given.kind in sources.PUBLISHED:
        return sources.PUBLISHED[given.kind](given.pictures, given.captions, given.tfds_dir)
    if given.kind == "folder":
        return captioned_folder.read(given.folder, leave_out=given.out)
    if given.folder is None:
        drawn_birds.write(_drawn_folder(given), **_drawn_settings(given), embedding_dim=1, progress=True)
    return drawn.read(_drawn_folder(given))


def _drawn_folder(given: argparse.Namespace) -> Path:
    """Where the drawn birds are: the source, or where they wait until their pictures have found their place."""
    name = "_".join(["drawn", *map(str, _drawn_settings(given).values())])
    return given.folder or given.out / UNFINISHED / name


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
    text_dim = weights.read_config(path, "text_encoder").keywords["text_dim"]
    return partial(text_encoder.embed, weights.load(path)), text_dim


# what is asked for


def _arguments(arguments: list[str]) -> tuple[argparse.Namespace, Settings]:
    """What the command line asks for: its own arguments, and the settings of the text encoder's training."""
    own, for_encoder = _parted(arguments)
    parser = Parser(
        prog="python -m stackgan_keras.prepare",
        usage="python -m stackgan_keras.prepare SOURCE --out DIR [...]\n           [--config FILE] "
        "[--text.key VALUE ...]",
        description="Makes a training folder, embeddings included, out of captioned pictures.",
        epilog="A folder of your own holds NAME.txt beside NAME.jpg (a caption in each line), or metadata.jsonl or "
        "metadata.csv with file_name and text. Folders in it are classes, train/ and test/ are splits; both may be "
        "missing. The text encoder is trained with the settings of train_text, such as --text.epochs 50 or "
        "--generator.text_dim 256; `train_text --help` lists them.",
    )
    parser.add_argument(
        "source", metavar="SOURCE", help="drawn, cub, oxford102, coco, or a folder of captioned pictures"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder to make")
    parser.add_argument("--text_encoder", metavar="FILE", type=Path, help=f"{TEXT_ENCODER}, or a run's weights folder")
    known = parser.add_argument_group("cub, oxford102, coco")
    known.add_argument("--pictures", metavar="DIR", type=Path, help="unpacked archive; without it: tensorflow-datasets")
    known.add_argument(
        "--captions", metavar="PATH", type=Path, help="folder of Reed's text_c10/ (default: --pictures), or COCO's JSON"
    )
    known.add_argument("--tfds_dir", metavar="DIR", type=Path, help="where tensorflow-datasets keeps its data")
    birds = parser.add_argument_group("drawn")
    birds.add_argument("--count", metavar="N", type=int, help="pictures (default 2000)")
    birds.add_argument(
        "--classes", metavar="N", type=int, help="species, a fifth of them (at most 40) for the test (default 50)"
    )
    birds.add_argument("--seed", metavar="N", type=int, help="another number draws other birds (default 0)")
    given = parser.parse_args(own)
    _resolve_source(given)
    if given.text_encoder:
        if for_encoder:
            raise InputError(
                f"{for_encoder[0]} decides how a text encoder is trained, but --text_encoder brings one: leave one out"
            )
        if given.text_encoder.is_dir():
            given.text_encoder /= TEXT_ENCODER
        file = given.text_encoder
        if not file.is_file():
            raise InputError(
                f"there is no file {file}: give --text_encoder a {TEXT_ENCODER} or the folder that holds one"
            )
    return given, _encoder_settings(given, for_encoder)


def _encoder_settings(given: argparse.Namespace, for_encoder: list[str]) -> Settings:
    """The settings of the text encoder's training."""
    name = re.sub(r"[^\w.-]+", "_", given.out.resolve().name).lstrip(".") or "prepared"
    own_settings = given.kind != "drawn" or given.text_encoder  # else those for drawn birds are the preset
    data = ["--data.root", str(given.out)] if own_settings else []
    settings, _ = config.from_command_line(
        ["--run", name, *data, *for_encoder],
        prog="python -m stackgan_keras.prepare",
        description="",
        preset="drawn_text",
        defaults={},
    )
    return settings


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


def _resolve_source(given: argparse.Namespace) -> None:
    """Sets `kind` and, for a folder, what its kind needs; refuses options that the source does not take."""
    given.folder, given.kind, allowed = None, given.source, OPTIONS.get(given.source, ())
    if given.source not in OPTIONS:
        given.folder = Path(given.source).expanduser()
        if not given.folder.is_dir():
            raise InputError(
                f"there is no folder {given.source}: name a folder of captioned pictures, or one of "
                f"{', '.join(OPTIONS)}"
            )
        given.kind = sources.recognise(given.folder)
        allowed = ("captions",) if given.kind in sources.PUBLISHED else ()
    for option in sorted({option for names in OPTIONS.values() for option in names}.difference(allowed)):
        if getattr(given, option) is not None:
            users = ", ".join(kind for kind, names in OPTIONS.items() if option in names)
            raise InputError(f"--{option} belongs to {users}, and the source is {given.source}: leave it out")
    if given.kind in sources.PUBLISHED:
        given.pictures = given.folder or given.pictures
    for option in ("pictures", "captions"):
        path = getattr(given, option)
        if path is not None and not path.exists():
            raise InputError(f"there is no folder {path}: check --{option}")
    if given.folder is not None and given.folder.resolve().is_relative_to(given.out.resolve()):
        raise InputError(f"--out {given.out} is or holds the source {given.source}: name another folder")


def _asked(given: argparse.Namespace, settings: Settings) -> dict:
    """Everything that decides what the folder will hold, by name."""
    asked: dict = {"source": given.kind}
    for option in ("folder", "pictures", "captions", "tfds_dir"):
        path = getattr(given, option)
        asked[option] = None if path is None else str(path.resolve())
    if given.kind == "drawn" and given.folder is None:
        asked |= _drawn_settings(given)
    if given.text_encoder:
        return asked | {"text_encoder": _file_digest(given.text_encoder)}
    sections = settings.model_dump(mode="json", include=DECIDING).items()
    return asked | {f"{section}.{key}": value for section, values in sections for key, value in values.items()}


def _drawn_settings(given: argparse.Namespace) -> dict[str, int]:
    classes = 50 if given.classes is None else given.classes
    return {
        "count": 2000 if given.count is None else given.count,
        "classes": classes,
        "test_classes": max(1, min(40, classes // 5)),
        "seed": given.seed or 0,
    }


def _earlier(out: Path, asked: dict) -> dict | None:
    """The record of `out` if it is finished, with the same settings; refuses one that holds anything else."""
    if not out.exists():
        return None
    if not out.is_dir():
        raise InputError(f"{out} is a file: give --out the name of a folder")
    finished, begun = out / RECORD, out / UNFINISHED / RECORD
    file = finished if finished.is_file() else begun
    if not file.is_file():
        strange = next((entry.name for entry in sorted(out.iterdir()) if entry.name != UNFINISHED), None)
        if strange:
            raise InputError(f"{out} already holds {strange}: give --out a new or an empty folder")
        return None
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        earlier = record["asked"] if file == finished else record
        keys = sorted(earlier.keys() | asked.keys())
    except (ValueError, KeyError, AttributeError, TypeError):
        raise InputError(f"{file} is damaged: delete {out} to prepare it anew, or name another --out") from None
    free = () if file == finished else MAY_CHANGE
    changed = [key for key in keys if earlier.get(key) != asked.get(key) and key not in free]
    if changed:
        listed = ", ".join(f"{key} {earlier.get(key)} (now {asked.get(key)})" for key in changed)
        state = "was prepared" if file == finished else "is being prepared"
        raise InputError(f"{out} {state} with {listed}: ask for the same, name another --out, or delete {out}")
    return record if file == finished else None


def _check_same_content(given: argparse.Namespace, record: dict) -> None:
    """Refuses a source that has changed since; one that is drawn or comes from a hub never does."""
    if given.folder is None and given.pictures is None:
        return
    source = _read(given)
    if record.get("content") != preparing.digest(source.examples):
        raise InputError(
            f"{given.source} has changed since {given.out} was prepared from it ({record.get('captioned pictures')} "
            f"captioned pictures then, {len(source.examples)} now): name another --out, or delete {given.out} to "
            "prepare it anew"
        )


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _counts(examples: Sequence[Example]) -> dict:
    captions = [len(example.captions) for example in examples]
    return {
        "pictures": len(examples),
        "captions": sum(captions),
        "classes": len({example.class_id for example in examples}),
        "captions per picture": [min(captions), int(statistics.median(captions)), max(captions)],
    }


def _summary(record: dict, out: Path) -> str:
    """What was made of the source, as a table, with the command that comes next."""
    splits = record["splits"].values()
    lines = ["", f"{'':38}" + "".join(f"{split:>10}" for split in record["splits"])]
    for name in ("pictures", "captions", "classes"):
        lines.append(f"{name:38}" + "".join(f"{counts[name]:>10,}" for counts in splits))
    per_picture = ("/".join(map(str, counts["captions per picture"])) for counts in splits)
    lines.append(f"{'captions per picture (min/median/max)':38}" + "".join(f"{each:>10}" for each in per_picture))
    lines += [f"note: {note}" for note in record["notes"]]
    for reason, items in record["skipped"].items():
        named = ", ".join(items[:NAMED]) + (f", …; all in {out / RECORD}" if len(items) > NAMED else "")
        lines.append(f"skipped {reason}: {len(items):,} ({named})")
    lines += [f"written: {out}", f"text encoder: {out / TEXT_ENCODER}, {record['text_dim']} numbers a sentence"]
    if (out / RETRIEVAL).is_dir():
        lines.append(f"what its sentences find: {out / RETRIEVAL}")
    return "\n".join(lines)


def _next_command(record: dict, out: Path) -> str:
    known = CONFIGS.get(record["asked"]["source"])
    command = ["python", "-m", "stackgan_keras.train_stage1", *(["--config", known] if known else [])]
    command += ["--data.root", str(out), "--generator.text_dim", str(record["text_dim"]), "--run", record["run"]]
    return shlex.join(command)


if __name__ == "__main__":
    run(main)
