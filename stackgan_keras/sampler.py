"""What does a generator draw for these sentences? Embeddings, a seed, and no training."""

import numpy as np
import tensorflow as tf

from stackgan_keras import images
from stackgan_keras.datasets import Records

BATCH = 8  # sentences at a time: what fits beside a training run


def draw(generator, embeddings: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Pictures for sentences: the generator's `image` (and `stage1_image`), each (N, size, size, 3) uint8.

    `embeddings` is (N, text_dim). Noise and epsilons depend on the seed and the row alone.
    """
    inputs = {"embedding": tf.constant(embeddings)}
    for purpose, name in enumerate(("noise", "epsilon", "stage1_epsilon")):
        if name in generator.input:
            shape = (len(embeddings), generator.input[name].shape[1])
            inputs[name] = tf.random.stateless_normal(shape, [seed, purpose])
    made: dict[str, list] = {}
    for start in range(0, len(embeddings), BATCH):
        outputs = generator({k: v[start : start + BATCH] for k, v in inputs.items()}, training=False)
        for name in ("image", "stage1_image"):
            if name in outputs:
                made.setdefault(name, []).append(images.to_uint8(outputs[name]))
    return {name: np.concatenate(parts) for name, parts in made.items()}


class Preview:
    """The same sentences and noise again and again: how a generator gets on.

    The sheet's columns are `count` pictures of `records`, evenly spread over them, each with its first caption on
    top; its rows the real picture and what the generator draws for `rows` different noises (in Stage II below the
    sketch they start from).
    """

    def __init__(self, records: Records, image_size: int, *, count: int = 8, rows: int = 3, seed: int = 0):
        chosen = np.unique(np.linspace(0, len(records) - 1, count).round().astype(int))
        self.embeddings = np.stack([records.embeddings_of(i)[0] for i in chosen])
        self.captions = [(records.captions[i] or ("",))[0] for i in chosen]
        boxes = [None if records.boxes is None else records.boxes[i] for i in chosen]
        pictures = [images.read(records.paths[i], box, image_size) for i, box in zip(chosen, boxes, strict=True)]
        self.real = np.stack(pictures)
        self.seeds = range(seed, seed + rows)

    def sheet(self, generator) -> np.ndarray:
        """The labelled grid (height, width, 3) uint8 for the generator as it is now."""
        rows = [self.real]
        for seed in self.seeds:
            made = draw(generator, self.embeddings, seed)
            if "stage1_image" in made:
                scale = self.real.shape[1] // made["stage1_image"].shape[1]
                rows.append(made["stage1_image"].repeat(scale, 1).repeat(scale, 2))
            rows.append(made["image"])
        return images.labelled_grid(rows, self.captions)
