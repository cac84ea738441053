"""What networks read in pictures, batch after batch, so that no picture is kept; of real pictures once for all."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from stackgan_keras.data import images
from stackgan_keras.data.decoding import fingerprint
from stackgan_keras.data.published import Dataset
from stackgan_keras.evaluation.attributes import Reader, resized
from stackgan_keras.files import atomic_write
from stackgan_keras.porting.extractors import Extractor
from stackgan_keras.training.encoders import Encoders

BATCH = 32  # pictures at a time
OF_EXTRACTOR = ("features", "probabilities")
OF_PART = {"extractor": OF_EXTRACTOR, "independent": ("independent_features",)}  # what is kept of real pictures


@dataclass(frozen=True, eq=False)
class Readers:
    """The networks that read pictures; each may be missing."""

    extractor: Extractor | None = None
    independent: Extractor | None = None  # one that no training reads
    attributes: Reader | None = None
    encoders: Encoders | None = None

    @property
    def idle(self) -> bool:
        """Whether there is nothing to read for."""
        return all(part is None for part in (self.extractor, self.independent, self.attributes, self.encoders))

    def read(self, pictures: np.ndarray) -> dict[str, np.ndarray]:
        """What all say of pictures (N, size, size, 3) uint8, an array of N rows each.

        The extractor's `features` and `probabilities`, the independent one's `independent_features`, the image
        encoder's `embeddings`, the classifier's `attribute_features`, and the colour of each of `attributes.PARTS`.
        """
        said = {}
        if self.extractor is not None:
            rows = zip(OF_EXTRACTOR, self.extractor(pictures), strict=True)
            said |= {name: values for name, values in rows if values is not None}
        if self.independent is not None:
            said["independent_features"] = self.independent(pictures)[0]
        if self.attributes is not None:
            colours, said["attribute_features"] = self.attributes(pictures)
            said |= colours
        if self.encoders is not None:
            said["embeddings"] = self._embed(pictures, said)
        return said

    def _embed(self, pictures: np.ndarray, said: dict) -> np.ndarray:
        encoders = self.encoders
        if encoders.extractor is None:
            return encoders.embed_shown(np.asarray(resized(pictures, encoders.image.input.shape[1])))
        if encoders.extractor is self.extractor:
            return encoders.embed_shown(said["features"])
        return encoders.embed_shown(encoders.shown(pictures))

    def read_all(self, pictures: Iterable[np.ndarray], about: str, total: int) -> dict[str, np.ndarray]:
        """`read` of single pictures (size, size, 3) as they come, with a progress bar."""
        bar = tqdm(pictures, about, total, unit=" pictures", leave=False)
        return joined([self.read(np.stack(batch)) for batch in batched(bar)])


def batched(items: Iterable, size: int = BATCH) -> Iterator[list]:
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch


def joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def framed(dataset: Dataset, size: int, seed: int, chosen: Iterable[int]) -> Iterator[np.ndarray]:
    """The `chosen` real pictures (size, size, 3) uint8 as training shows them: random crops, not mirrored."""
    places = images.load_size(size) - size + 1
    for i in chosen:
        picture = images.read(dataset.paths[i], dataset.box_of(i), images.load_size(size))
        y, x = np.random.default_rng([seed, i]).integers(places, size=2)
        yield picture[y : y + size, x : x + size]


def read_real(readers: Readers, dataset: Dataset, size: int, seed: int, folder: Path) -> dict[str, np.ndarray]:
    """What `readers` say of all pictures of a dataset, `framed`. What extractors say is kept in `folder`."""
    said, unread = {}, {}  # what was kept, and the files for what was not
    for part in OF_PART:
        if (extractor := getattr(readers, part)) is not None:
            made_of = fingerprint(dataset, size, seed, extractor.digest, extractor.preprocessing)
            path = folder / f"{extractor.name}_{size}_{made_of}.npz"
            if (kept := _kept(path)) is None:
                unread[part] = path
            else:
                said |= kept
    encoders = readers.encoders
    if encoders is not None and "features" in said and encoders.extractor is readers.extractor:
        said["embeddings"] = encoders.embed_shown(said["features"])
        encoders = None
    others = {part: getattr(readers, part) for part in unread}
    others = Readers(**others, attributes=readers.attributes, encoders=encoders)
    if not others.idle:
        pictures = framed(dataset, size, seed, range(len(dataset)))
        said |= others.read_all(pictures, f"real pictures, {size}", len(dataset))
    for part, path in unread.items():
        with atomic_write(path) as unfinished, unfinished.open("wb") as file:
            np.savez(file, **{name: said[name] for name in OF_PART[part] if name in said})
    return said


def _kept(path: Path) -> dict[str, np.ndarray] | None:
    """What a file holds, or None where there is none or a damaged one, which is then made again."""
    try:
        with np.load(path) as kept:
            return dict(kept)
    except Exception:  # numpy and zipfile raise a dozen kinds
        return None
