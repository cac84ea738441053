"""What do networks compute from images? Features, probabilities of classes, embeddings and colours, in batches."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import keras
import numpy as np
from keras import ops
from tqdm import tqdm

from stackgan_keras.data.rgb import to_range
from stackgan_keras.evaluation.attributes import PARTS
from stackgan_keras.models.attribute_classifier import with_features
from stackgan_keras.porting.extractors import Extractor
from stackgan_keras.training.damsm_encoders import DamsmEncoders
from stackgan_keras.training.encoders import Encoders

AnyEncoders = Encoders | DamsmEncoders
BATCH = 32  # images at a time
CLASSIFIED = 50  # images at a time in the attribute classifier: what fits beside a generator


class AttributePredictor:
    """An attribute classifier and its features, for any number of images. `file` is that of its weights, if any."""

    def __init__(self, classifier: keras.Model, file: Path | None = None) -> None:
        self.model, self.file = with_features(classifier), file

    def __call__(self, images: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The predicted colours, for each of `PARTS` an (N,) array of names, and the features (N, D) float32.

        `images` is (N, size, size, 3) uint8 of any size, framed as in training.
        """
        made: dict[str, list] = {}
        for start in range(0, len(images), CLASSIFIED):
            pixels = resized(images[start : start + CLASSIFIED], self.model.input.shape[1])
            for name, values in self.model(to_range(pixels), training=False).items():
                made.setdefault(name, []).append(np.asarray(values))
        rows = {name: np.concatenate(parts) for name, parts in made.items()}
        return {part: np.array(PARTS[part])[rows[part].argmax(axis=-1)] for part in PARTS}, rows["features"]


@dataclass(frozen=True, eq=False)
class Networks:
    """The networks by whose outputs images are compared; each may be missing."""

    extractor: Extractor | None = None
    independent: Extractor | None = None  # one that no training reads
    classifier: AttributePredictor | None = None
    encoders: AnyEncoders | None = None

    def __bool__(self) -> bool:
        """Whether there is any."""
        return any(part is not None for part in (self.extractor, self.independent, self.classifier, self.encoders))

    def outputs(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """What all compute from images (N, size, size, 3) uint8, an array of N rows each.

        The extractor's `features` and `probabilities`, the independent one's `independent_features`, the image
        encoder's `embeddings`, the classifier's `attribute_features`, and the colour of each of `attributes.PARTS`.
        """
        outputs: dict[str, np.ndarray] = {}
        if self.extractor is not None:
            rows = zip(("features", "probabilities"), self.extractor(images), strict=True)
            outputs |= {name: values for name, values in rows if values is not None}
        if self.independent is not None:
            outputs["independent_features"] = self.independent(images)[0]
        if self.classifier is not None:
            colours, outputs["attribute_features"] = self.classifier(images)
            outputs |= colours
        if self.encoders is not None:
            outputs["embeddings"] = self._embed(self.encoders, images, outputs)
        return outputs

    def _embed(self, encoders: AnyEncoders, images: np.ndarray, outputs: dict[str, np.ndarray]) -> np.ndarray:
        if isinstance(encoders, DamsmEncoders):
            return encoders.embed_inputs(images)
        if encoders.extractor is None:
            return encoders.embed_inputs(np.asarray(resized(images, encoders.image.input.shape[1])))
        if encoders.extractor is self.extractor:
            return encoders.embed_inputs(outputs["features"])
        return encoders.embed_inputs(encoders.image_inputs(images))

    def outputs_of_all(self, images: Iterable[np.ndarray], title: str, total: int) -> dict[str, np.ndarray]:
        """`outputs` of single images (size, size, 3) as they come, none of which is kept, with a progress bar."""
        bar = tqdm(images, title, total, unit=" images", leave=False)
        return joined([self.outputs(np.stack(batch)) for batch in batched(bar)])


def resized(images: np.ndarray, size: int) -> keras.KerasTensor:
    """Images (N, s, s, 3) uint8 smoothly resized for a network of one size: (N, size, size, 3) floats, 0 to 255."""
    pixels = ops.cast(images, "float32")
    if images.shape[1] != size:
        pixels = ops.image.resize(pixels, (size, size), interpolation="bilinear", antialias=True)
    return pixels


def batched(items: Iterable, size: int = BATCH) -> Iterator[list]:
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch


def joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
