"""Files on disk: atomic writes, and the text in files that other programs wrote."""

import os
import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from stackgan_keras.errors import InputError

LONG_TEXT = 2**30  # bytes of a table or a list of a million captions


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, which replaces it if the block ends well and is removed if it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{socket.gethostname()}.{os.getpid()}.{path.name}")  # of its own on a shared disk
    try:
        yield unfinished
        unfinished.replace(path)
    except OSError as problem:
        if problem.errno is None:
            raise
        raise OSError(problem.errno, problem.strerror, str(path)) from None  # a full disk names no file itself
    finally:
        unfinished.unlink(missing_ok=True)


def leftovers(folder: Path) -> list[Path]:
    """What commands that were killed had not finished writing by `atomic_write`, below a folder."""
    return [path for path in folder.rglob(".*") if re.fullmatch(r"\.(.*\.)?\d+\..+", path.name) and path.is_file()]


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """One line each, in UTF-8, ended by LF on every system."""
    with atomic_write(path) as unfinished:
        unfinished.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def read_text(path: Path, most: int = 2**20) -> str:
    """A text file as `decode` reads it. Raises `InputError` for one of more than `most` bytes, and for no file."""
    if path.exists() and not path.is_file() and not path.is_dir():
        # a pipe, for whose writer one would wait, or a device without end
        raise InputError(f"{path} is no file: put one of text there, or remove it")
    with path.open("rb") as file:
        return decode(read_bytes(file, str(path), most))


def read_bytes(file: BinaryIO, name: str, most: int) -> bytes:
    """The content of an open file. Raises `InputError` for one of more than `most` bytes."""
    content = file.read(most + 1)
    if len(content) > most:
        raise InputError(f"{name} holds more than {most:,} bytes of text: make it shorter, or remove it")
    return content


def decode(content: bytes) -> str:
    """Text in UTF-8, or UTF-16 with its mark, else as Windows and old systems write it. Lines end in LF."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = content.decode("utf-16", "replace")
    else:
        for encoding in ("utf-8-sig", "cp1252", "latin-1"):
            try:
                text = content.decode(encoding)
                break
            except UnicodeDecodeError:
                continue
    return text.replace("\r\n", "\n").replace("\r", "\n")
