"""Image grids on the way: the same sentences and noise again and again, to see how a generator gets on."""

import keras
import numpy as np
import tensorflow as tf

from stackgan_keras.data import grids, noise, photographs, rgb
from stackgan_keras.data.published import Dataset
from stackgan_keras.models.generators import images_of

BATCH = 8  # images at a time: what fits beside a training run


def generate(generator: keras.Model, embeddings: np.ndarray, copy: int, seed: int, truncated: bool = False) -> dict:
    """All images of each embedding (N, text_dim), by name, each (N, size, size, 3) uint8."""
    widths = noise.widths_of(generator)
    made: dict[str, list] = {}
    for start in range(0, len(embeddings), BATCH):
        part = tf.constant(embeddings[start : start + BATCH])
        places = tf.range(start, start + len(part))
        inputs = noise.generator_inputs(widths, seed, places, tf.fill((len(part),), copy), truncated)
        text = {"embedding": part} if "embedding" in generator.input else {}
        outputs = generator({**text, **inputs}, training=False)
        for name in images_of(generator):
            made.setdefault(name, []).append(rgb.to_uint8(outputs[name]))
    return {name: np.concatenate(parts) for name, parts in made.items()}


class SampleGrid:
    """A generator's images of `count` sentences of a dataset, evenly spread over it, with `rows` noises.

    The columns have the sentence on top, then the real image, then a row for each noise, in Stage II below the
    Stage-I images that they start from.
    """

    def __init__(self, dataset: Dataset, image_size: int, *, truncated: bool, seed: int, count: int = 8, rows: int = 3):
        chosen = np.unique(np.linspace(0, len(dataset) - 1, count).round().astype(int))
        self.embeddings = np.stack([dataset.embeddings_of(i)[0] for i in chosen])
        self.captions = [(dataset.captions[i] or ("",))[0] for i in chosen]
        images = [photographs.read(dataset.paths[i], dataset.box_of(i), image_size) for i in chosen]
        self.real, self.rows, self.seed, self.truncated = np.stack(images), rows, seed, truncated

    def __call__(self, generator: keras.Model) -> np.ndarray:
        """The labelled grid (height, width, 3) uint8 for the generator as it is now."""
        copies = [generate(generator, self.embeddings, copy, self.seed, self.truncated) for copy in range(self.rows)]
        return grids.sample_grid(self.real, copies, self.captions)
