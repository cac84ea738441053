"""What a source tells `prepare` of itself: its name, its options, which folders are of its kind, and how it is read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stackgan_keras.data.sources.source import Source

UNFINISHED = ".unfinished"  # folder in the one that is made, of what is only needed until the end


@dataclass(frozen=True)
class Option:
    """An option of the command that only some sources take."""

    name: str
    metavar: str
    help: str
    type: Callable[[str], Any] = Path
    default: Any = None
    must_exist: bool = False  # whether it is a path that must be there
    with_folder: bool = False  # whether it goes with a folder of this kind, not only with the source's name


@dataclass(frozen=True)
class Reader:
    """A source of `prepare`; a module of this folder that has one, named `READER`, adds it to the command."""

    name: str  # on the command line, and in the record of a prepared folder
    order: int  # among the sources: in --help, and in being asked whether they recognise a folder
    recognises: Callable[[Path], bool]  # whether a folder is of this kind
    read: Callable[..., Source]  # of the folder (None: by name), the folder to make, and the options by their names
    options: tuple[Option, ...] = ()
    by_name: bool = True  # whether its name stands for it on the command line
    begins: str = "reading {name} …"  # printed when it is read by its name
    config: str | None = None  # what Stage I is trained with
    text_config: str | None = None  # what its text encoder is trained with; None: the release's settings
    few: int = 2000  # training images, below which the published networks are too wide
