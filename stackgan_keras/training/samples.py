"""Image grids on the way: the same sentences and noise again and again, to see how a generator gets on."""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from stackgan_keras.data import grids, noise, rgb
from stackgan_keras.data.shards.dataset import TrainingSet
from stackgan_keras.models.generators import images_of

BATCH = 8  # images at a time: what fits beside a training run


TextsOf = Callable[[TrainingSet, Sequence[int]], dict[str, np.ndarray]]  # of images of a dataset: what generators read


def embeddings_of(dataset: TrainingSet, chosen: Sequence[int]) -> dict[str, np.ndarray]:
    """The embedding of the first caption of each image, as the data has it."""
    return {"embedding": np.stack([dataset.embeddings_of(i)[0] for i in chosen])}


def generate(
    generator: keras.Model, texts: dict[str, np.ndarray], copy: int, seed: int, truncated: bool = False
) -> dict[str, np.ndarray]:
    """All images of each text, by name, each (N, size, size, 3) uint8; `texts` holds N rows of each text input."""
    widths, number = noise.widths_of(generator), len(texts["embedding"])
    made: dict[str, list] = {}
    for start in range(0, number, BATCH):
        rows = slice(start, min(start + BATCH, number))
        places = tf.range(rows.start, rows.stop)
        inputs = noise.generator_inputs(widths, seed, places, tf.fill((len(places),), copy), truncated)
        text = {name: tf.constant(values[rows]) for name, values in texts.items() if name in generator.input}
        outputs = generator({**text, **inputs}, training=False)
        for name in images_of(generator):
            made.setdefault(name, []).append(rgb.to_uint8(outputs[name]))
    return {name: np.concatenate(parts) for name, parts in made.items()}


class SampleGrid:
    """A generator's images of `count` sentences of a dataset, evenly spread over it, with `rows` noises.

    The columns have the sentence on top, then the real image, then a row for each noise, in Stage II below the
    Stage-I images that they start from.
    """

    def __init__(
        self,
        dataset: TrainingSet,
        image_size: int,
        *,
        truncated: bool,
        seed: int,
        texts_of: TextsOf = embeddings_of,
        count: int = 8,
        rows: int = 3,
    ):
        chosen = np.unique(np.linspace(0, len(dataset) - 1, count).round().astype(int))
        self.texts = texts_of(dataset, chosen.tolist())
        self.captions = [(dataset.captions[i] or ("",))[0] for i in chosen]
        images = [dataset.image(i, image_size) for i in chosen]
        self.real, self.rows, self.seed, self.truncated = np.stack(images), rows, seed, truncated

    def spread(self, generator: keras.Model) -> float:
        """How far images of different sentences differ: their standard deviation at a pixel, real images' being 1."""
        *_, made = generate(generator, self.texts, 0, self.seed, self.truncated).values()
        real = self.real.std(0).mean()
        return float(made.std(0).mean() / real) if real else 1.0

    def __call__(self, generator: keras.Model) -> np.ndarray:
        """The labelled grid (height, width, 3) uint8 for the generator as it is now."""
        copies = [generate(generator, self.texts, copy, self.seed, self.truncated) for copy in range(self.rows)]
        return grids.sample_grid(self.real, copies, self.captions)
