"""The sentences that `generate` is given: as words, in a file, on standard input, or embedded by another program."""

import sys
import unicodedata
from pathlib import Path

import numpy as np

from stackgan_keras.errors import InputError
from stackgan_keras.files import LONG_TEXT, decode, read_bytes
from stackgan_keras.porting import embedded_sentences


def read(words: list[str], file: str | None, embedded: str | None) -> tuple[list[str], list[str] | np.ndarray]:
    """The sentences, and what a run reads of them: themselves, or their embeddings (N, text_dim)."""
    if embedded is None:
        sentences = _sentences(words, file)
        return sentences, sentences
    if file is not None or words:
        raise InputError("--embedded brings sentences of its own: leave out the others")
    return embedded_sentences.read(Path(embedded))


def _sentences(words: list[str], file: str | None) -> list[str]:
    if file is not None:
        return words + read_lines(file)
    if words:
        return words
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError('there is no sentence: give one, such as "this bird is red with black wings", or --file FILE')
    return read_lines("-")


def read_lines(file: str) -> list[str]:
    """The sentences of a file or of standard input (`-`), one a line. Raises `InputError` if there is none."""
    name = "standard input" if file == "-" else file
    try:
        if file == "-":
            text = decode(b"" if sys.stdin is None else read_bytes(sys.stdin.buffer, name, LONG_TEXT))
        else:
            with Path(file).expanduser().open("rb") as opened:  # which may be a pipe
                text = decode(read_bytes(opened, name, LONG_TEXT))
    except (FileNotFoundError, IsADirectoryError) as problem:
        found = f"there is no file {file}" if isinstance(problem, FileNotFoundError) else f"{file} is a folder"
        raise InputError(f"{found}: give a text file of one sentence a line") from None
    control = sum(unicodedata.category(character) == "Cc" and not character.isspace() for character in text)
    if control > len(text) // 10:
        raise InputError(f"{name} is no text: give a text file of one sentence a line")
    sentences = [line.strip() for line in text.split("\n") if line.strip()]
    if not sentences:
        raise InputError(f"{name} holds no sentence: write one a line")
    return sentences
