"""Sentences that another program has embedded, and their embeddings: `.t7`, `.npy` and `.npz` files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stackgan_keras.errors import InputError, first_line
from stackgan_keras.porting import torch7
from stackgan_keras.porting.checkpoints import read_numpy

KINDS = ".t7 with raw_txt and fea_txt, .npy of shape (N, numbers), or .npz with embeddings (N, numbers) and sentences"


def read(path: Path) -> tuple[list[str], np.ndarray]:
    """The sentences, or in their place "embedding 1" and so on, and their embeddings (N, text_dim) float32.

    Reads `.t7` files of the old tools, `.npy`, and `.npz` with `embeddings` and, if they are known, `sentences`.
    Nothing in the file is executed. Raises `InputError` for a file that is missing, broken, or holds none.
    """
    path = Path(path).expanduser()
    if path.suffix not in (".t7", ".npy", ".npz"):
        raise InputError(f"{path} does not end in .t7, .npy or .npz: give a {KINDS}")
    if not path.is_file():
        raise InputError(f"there is no file {path}: give a {KINDS}")
    sentences: Sequence[str] | np.ndarray | None
    embeddings: np.ndarray | None
    if path.suffix == ".t7":
        try:
            sentences, embeddings = torch7.embedded(torch7.read(path), path.stat().st_size) or (None, None)
        except torch7.UNEXPECTED as problem:
            raise InputError(f"{path} cannot be read ({first_line(problem)}): give a {KINDS}") from None
    else:
        arrays = read_numpy(path)
        sentences, embeddings = arrays.get("sentences"), arrays.get("embeddings", arrays.get(""))
    if embeddings is None:
        raise InputError(f"{path} holds no embedded sentences: give a {KINDS}")
    embeddings = np.atleast_2d(embeddings)
    if embeddings.ndim != 2 or not embeddings.size or embeddings.dtype.kind not in "fiu":
        raise InputError(f"{path} holds an array {embeddings.shape} of {embeddings.dtype}: give a {KINDS}")
    if not np.isfinite(embeddings).all():
        raise InputError(f"{path} holds embeddings with numbers that are infinite or none: make it again")
    if sentences is None:
        sentences = [f"embedding {row}" for row in range(1, len(embeddings) + 1)]
    sentences = [str(sentence) for sentence in np.ravel(sentences)]
    if len(sentences) != len(embeddings):
        raise InputError(f"{path} holds {len(sentences)} sentences and {len(embeddings)} embeddings: give one for each")
    return sentences, embeddings.astype(np.float32)
