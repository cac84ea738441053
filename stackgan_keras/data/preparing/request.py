"""What a command line asks `prepare` for: a source and its options, the folder to make, and its text encoder."""

import argparse
import itertools
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stackgan_keras.command_line import Parser, settings_from
from stackgan_keras.config import Settings
from stackgan_keras.data import sources
from stackgan_keras.data.sources.reader import Option, Reader
from stackgan_keras.data.sources.source import Source
from stackgan_keras.errors import InputError, whole_number
from stackgan_keras.models.runs import TEXT_ENCODER, places_of


@dataclass(frozen=True)
class Request:
    """What `prepare` is asked for."""

    source: str  # as it was given
    reader: Reader
    folder: Path | None  # the source, where it is a folder
    options: dict[str, Any]  # the reader's
    out: Path
    text_encoder: Path | None
    settings: Settings  # of the training of a text encoder, where none is given
    shards: int | None = None  # files of TFRecords for a split of each size; None: the published layout alone
    shard_sizes: tuple[int, ...] = ()  # pixels
    beam: str | None = None  # options of Apache Beam, which makes them; None: processes of this machine

    def read(self) -> Source:
        """What the source holds."""
        begins = "reading {name} …" if self.folder else self.reader.begins
        print(begins.format(name=self.source), flush=True)
        return self.reader.read(self.folder, self.out, **self.options)

    def deciding_options(self) -> dict[str, Any]:
        """The options that decide what the folder will hold."""
        names = [option.name for option in _allowed(self.reader, self.folder)]
        return {name: self.options[name] for name in names}


def add_options(parser: Parser) -> None:
    """Gives the parser the options of all sources, those of several sources first."""
    takers: dict[Option, list[str]] = {}
    for reader in sources.readers().values():
        for option in reader.options:
            takers.setdefault(option, []).append(reader.name)
    groups: dict[str, Any] = {}
    for option, names in sorted(takers.items(), key=lambda item: -len(item[1])):
        title = ", ".join(names)
        group = groups[title] = groups.get(title) or parser.add_argument_group(title)
        given = {"metavar": option.metavar, "type": option.type, "default": option.default, "help": option.help}
        group.add_argument(f"--{option.name}", **given)


def parse(parser: Parser, arguments: list[str]) -> Request:
    """The request in the arguments of a parser that has `add_options`. Raises `InputError` for one that cannot be."""
    own, for_encoder = _split(arguments)
    given = parser.parse_args(own)
    reader, folder = _find_source(given)
    if given.text_encoder:
        run = next((place for place in places_of(given.text_encoder) if place.is_dir()), None)
        given.text_encoder = run / TEXT_ENCODER if run else given.text_encoder
    _check_options(given, parser, _allowed(reader, folder))
    if given.text_encoder and for_encoder:
        raise InputError(
            f"{for_encoder[0]} is for training a text encoder, but --text_encoder brings one: leave one out"
        )
    name = re.sub(r"[^\w.-]+", "_", given.out.resolve().name).lstrip(".") or "prepared"
    preset = None if given.text_encoder else reader.text_config
    settings = settings_from(
        ["--run", name, *([] if preset else ["--data.root", str(given.out)]), *for_encoder],
        prog=parser.prog,
        description="",
        preset=preset or "",  # not looked at where there is a data.root
        defaults={},
    ).settings
    options = {option.name: getattr(given, option.name) for option in reader.options}
    request = Request(given.source, reader, folder, options, given.out, given.text_encoder, settings)
    return request if given.shards is None else replace(request, **_shards(given))


def _shards(given: argparse.Namespace) -> dict[str, Any]:
    """The options of shards. Raises `InputError` for impossible ones."""
    sizes = [whole_number("--shard_sizes", size, 8, 1024) for size in given.shard_sizes.split(",")]
    if wrong := [size for size in sizes if size & (size - 1)]:
        raise InputError(f"--shard_sizes has {wrong[0]}: give powers of two, such as 64,256")
    return {
        "shards": whole_number("--shards", given.shards, 1, 99_999),
        "shard_sizes": tuple(sorted({*sizes})),
        "beam": given.beam,
    }


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The command's own arguments, and those that name settings (`--config FILE`, `--section.key VALUE`)."""
    own, for_encoder = [], []
    rest = iter(arguments)
    for argument in rest:
        if re.match(r"--(config|run|\w+\.\w+)(=|$)", argument):
            for_encoder += [argument, *([] if "=" in argument else itertools.islice(rest, 1))]
        else:
            own.append(argument)
    return own, for_encoder


def _find_source(given: argparse.Namespace) -> tuple[Reader, Path | None]:
    """The reader of the source, and its folder if it is one."""
    by_name = {name: reader for name, reader in sources.readers().items() if reader.by_name}
    if given.source in by_name:
        return by_name[given.source], None
    folder = Path(given.source).expanduser()
    if not folder.is_dir():
        raise InputError(f"there is no folder {given.source}: name another one, or one of {', '.join(by_name)}")
    if folder.resolve().is_relative_to(given.out.resolve()):
        raise InputError(f"--out {given.out} is or holds the source {given.source}: name another folder")
    return sources.recognise(folder), folder


def _allowed(reader: Reader, folder: Path | None) -> list[Option]:
    """The options that go with the source, given by its name or as a folder."""
    return [option for option in reader.options if folder is None or option.with_folder]


def _check_options(given: argparse.Namespace, parser: Parser, allowed: list[Option]) -> None:
    """Raises `InputError` for options of other sources, and for paths that are not there."""
    for option in itertools.chain(*(reader.options for reader in sources.readers().values())):
        if option not in allowed and getattr(given, option.name) != parser.get_default(option.name):
            raise InputError(f"--{option.name} does not belong to the source {given.source}: leave it out")
    for name in (*(option.name for option in allowed if option.must_exist), "text_encoder"):
        path = getattr(given, name)
        if path and not path.exists():
            raise InputError(f"there is no {path}: check --{name}")
