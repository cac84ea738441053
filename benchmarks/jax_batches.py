"""Batches like those of `stackgan_keras.data.pipeline.AdversarialStream`, made on JAX's device, inside the train step.

They too are a pure function of (seed, step), but of JAX's random numbers, so a run here does not see the very batches
of one there.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from stackgan_keras.data import images

(ORDER, TOP, LEFT, MIRROR, CAPTION, DIRECTION, AUGMENTATION, *INPUTS, FRAMING) = range(11)
PURPOSE_OF = dict(zip(("noise", "epsilon", "stage1_epsilon"), INPUTS, strict=True))


@dataclass(frozen=True, eq=False)  # JAX wants a hash
class Batches:
    """A function of the data on the device and a step: a batch as `AdversarialStream` describes it.

    The data is a dict of `pictures` (N, s, s, 3) uint8, `class_ids` (N,), `embeddings` (M, text_dim) and
    `first_embedding` (N + 1,).
    """

    count: int  # pictures of the data, N
    most_captions: int  # of any picture
    image_size: int  # pixels
    batch_size: int
    widths: dict[str, int]  # of the generator's random inputs
    captions_per_embedding: int = 1
    truncated: bool = False  # epsilons stay within two deviations
    directions: bool = False
    stage1_size: int | None = None
    augmentations: int = 0
    framings: int = 0
    seed: int = 0

    @property
    def steps_per_epoch(self) -> int:
        return self.count // self.batch_size

    def __call__(self, data: dict, step) -> dict:
        picture = self._order(step)
        image = self._image(data["pictures"], picture, step)
        batch = {
            "image": image,
            "class_id": data["class_ids"][picture],
            "embedding": self._embedding(data, picture, step),
            **self.inputs(step),
        }
        if self.directions:
            batch["direction"] = jax.random.normal(self._key(DIRECTION, step), image.shape)
        if self.augmentations:
            shape = (self.batch_size, self.augmentations)
            batch["augmentation"] = jax.random.uniform(self._key(AUGMENTATION, step), shape)
        if self.framings:
            batch["framing"] = jax.random.uniform(self._key(FRAMING, step), (self.batch_size, self.framings))
        if self.stage1_size:
            size, block = self.stage1_size, self.image_size // self.stage1_size
            batch["stage1_image"] = image.reshape(-1, size, block, size, block, 3).mean((2, 4))
        return batch

    def inputs(self, step, rows: int | None = None) -> dict:
        """The generator's random inputs, each (rows, width): a batch of them unless told otherwise."""
        return {name: self._normal(name, (rows or self.batch_size, w), step) for name, w in self.widths.items()}

    def _normal(self, name: str, shape: tuple, step):
        key = self._key(PURPOSE_OF[name], step)
        if self.truncated and name != "noise":
            return jax.random.truncated_normal(key, -2.0, 2.0, shape)
        return jax.random.normal(key, shape)

    def _order(self, step):
        """The pictures of a step: every epoch is a new permutation, whose remainder is dropped."""
        epoch, step_in_epoch = step // self.steps_per_epoch, step % self.steps_per_epoch
        order = jax.random.permutation(self._key(ORDER, epoch), self.count)
        return jax.lax.dynamic_slice(order, (step_in_epoch * self.batch_size,), (self.batch_size,))

    def _image(self, pictures, picture, step):
        """A random crop of each picture, or its mirror image."""
        rows, size = (self.batch_size,), self.image_size
        places = pictures.shape[1] - size + 1
        top, left = (jax.random.randint(self._key(purpose, step), rows, 0, places) for purpose in (TOP, LEFT))
        mirrored = jax.random.bernoulli(self._key(MIRROR, step), shape=rows)

        def crop(i, y, x):
            return jax.lax.dynamic_slice(pictures, (i, y, x, 0), (1, size, size, 3))[0]

        crops = jax.vmap(crop)(picture, top, left)
        crops = jnp.where(mirrored[:, None, None, None], crops[:, :, ::-1], crops)
        return images.to_range(crops.astype(jnp.float32))

    def _embedding(self, data: dict, picture, step):
        """The means over so many different captions of each picture (all, where there are fewer)."""
        first = data["first_embedding"][picture]
        owned = data["first_embedding"][picture + 1] - first
        draws = jax.random.uniform(self._key(CAPTION, step), (self.batch_size, self.most_captions))
        draws = jnp.where(jnp.arange(self.most_captions) < owned[:, None], draws, 2.0)  # others come last
        chosen = jnp.argsort(draws)[:, : self.captions_per_embedding]
        counted = (jnp.arange(chosen.shape[1]) < owned[:, None])[..., None]
        rows = data["embeddings"][first[:, None] + chosen].astype(jnp.float32)
        return jnp.where(counted, rows, 0.0).sum(axis=1) / counted.sum(axis=1)

    def _key(self, purpose: int, index):
        return jax.random.fold_in(jax.random.fold_in(jax.random.key(self.seed), purpose), index)
