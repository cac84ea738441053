"""Files on disk: atomic writes, and the text in files that other programs wrote."""

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


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


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """One line each, in UTF-8, ended by LF on every system."""
    with atomic_write(path) as unfinished:
        unfinished.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def read_text(path: Path) -> str:
    """A text file as `decode` reads it."""
    return decode(path.read_bytes())


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
