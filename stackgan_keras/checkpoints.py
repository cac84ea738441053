"""Which tensors are in this checkpoint of another program? Read without running anything that stands in it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stackgan_keras.errors import InputError


def read(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint by name, read without executing anything that stands in the file.

    Those of a dict in a dict are called `outer/inner`. Raises `InputError` for a missing or broken file, one that
    asks for code, and one that holds no tensors.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}: give the path of a netG or netD checkpoint")
    tensors = _read_npz(path) if path.suffix == ".npz" else _read_torch(path)
    if not tensors:
        raise InputError(f"{path} holds no tensors under names: give a state dict, as the release saves them")
    return tensors


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in file.files}
    except Exception as problem:  # numpy and zipfile raise a dozen kinds for files that are broken or foreign
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise InputError(f"{path} cannot be read as an .npz of arrays ({reason}): make it again") from problem
    return {name: array for name, array in arrays.items() if array.dtype.kind in "fiu"}


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError as problem:
        raise InputError(
            f"{path.name} is a PyTorch file and torch is not installed: pip install 'stackgan_keras[torch]'"
        ) from problem
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as problem:  # torch raises a dozen kinds for files that are broken, foreign or hostile
        reason = str(problem).split("Please file an issue")[0].strip().splitlines() or [type(problem).__name__]
        blamed = next((line.strip() for line in reason if "GLOBAL" in line or "global" in line), reason[0])
        raise InputError(
            f"{path} cannot be read safely as a PyTorch checkpoint ({blamed}): give a whole file that holds "
            "nothing but a state dict, as the release saves it"
        ) from problem

    def tensors(values, prefix: str) -> Iterator[tuple[str, np.ndarray]]:
        for name, value in values.items():
            if isinstance(value, dict):
                yield from tensors(value, f"{prefix}{name}/")
            elif isinstance(value, torch.Tensor) and not value.is_complex():
                yield f"{prefix}{name}", value.detach().to_dense().float().numpy()

    return dict(tensors(content, "")) if isinstance(content, dict) else {}
