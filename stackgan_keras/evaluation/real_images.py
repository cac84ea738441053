"""What do networks compute from a data set's real images, framed as in training? What extractors give is kept."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stackgan_keras.data import photographs
from stackgan_keras.data.decoding import fingerprint
from stackgan_keras.data.published import Dataset
from stackgan_keras.evaluation.features import Networks
from stackgan_keras.files import atomic_write
from stackgan_keras.training.encoders import Encoders

KEPT = {"extractor": ("features", "probabilities"), "independent": ("independent_features",)}  # outputs in files


def framed(dataset: Dataset, size: int, seed: int, chosen: Iterable[int]) -> Iterator[np.ndarray]:
    """The `chosen` real images (size, size, 3) uint8 as training takes them: random crops, not mirrored."""
    places = photographs.load_size(size) - size + 1
    for i in chosen:
        image = dataset.image(i, photographs.load_size(size))
        y, x = np.random.default_rng([seed, i]).integers(places, size=2)
        yield image[y : y + size, x : x + size]


def real_outputs(networks: Networks, dataset: Dataset, size: int, seed: int, folder: Path) -> dict[str, np.ndarray]:
    """The outputs of networks on all real images of a data set, `framed`. Those of extractors are kept in `folder`."""
    outputs: dict[str, np.ndarray] = {}  # those that are kept
    missing: dict[str, Path] = {}  # the files for the others
    running = networks  # what computes these
    for part in KEPT:
        if (extractor := getattr(networks, part)) is not None:
            made_of = fingerprint(dataset, size, seed, extractor.digest, extractor.preprocessing)
            path = folder / f"{extractor.name}_{size}_{made_of}.npz"
            if (kept := _read(path)) is None:
                missing[part] = path
            else:
                outputs |= kept
                running = replace(running, **{part: None})
    encoders = networks.encoders
    if isinstance(encoders, Encoders) and "features" in outputs and encoders.extractor is networks.extractor:
        outputs["embeddings"] = encoders.embed_inputs(outputs["features"])
        running = replace(running, encoders=None)
    if running:
        everything = framed(dataset, size, seed, range(len(dataset)))
        outputs |= running.outputs_of_all(everything, f"real images, {size}", len(dataset))
    for part, path in missing.items():
        with atomic_write(path) as unfinished, unfinished.open("wb") as file:
            arrays: dict[str, Any] = {name: outputs[name] for name in KEPT[part] if name in outputs}
            np.savez(file, **arrays)
    return outputs


def _read(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays in a file, or None where there is none or a damaged one, which is then made again."""
    try:
        with np.load(path) as kept:
            return dict(kept)
    except Exception:  # numpy and zipfile raise a dozen kinds
        return None
