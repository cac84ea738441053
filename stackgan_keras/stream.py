"""How do `Records` become batches? A `tf.data` stream that is a pure function of (seed, step).

Order, crops, mirror images, captions, noise and epsilons are drawn from (seed, step) alone. So a stream that starts
at step n gives what an unbroken one gives from there on, and any number of replicas sees the same global batch.
"""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from stackgan_keras import datasets, images, losses, text_encoder
from stackgan_keras.datasets import Records
from stackgan_keras.errors import InputError

ORDER, TOP, LEFT, MIRROR, CAPTION, NOISE, EPSILON, STAGE1_EPSILON = range(8)
DIRECTION, RECOLOURING, COUNT = range(8, 11)
PURPOSES = 16  # those are uses of a draw; room to add some without changing the draws of the old ones


# -- pictures, decoded once ---------------------------------------------------------------------------------------


def decode(records: Records, image_size: int, *, cache: str = "auto", folder: Path | None = None) -> np.ndarray:
    """All pictures cropped around their boxes and resized for random crops: (N, s, s, 3) uint8, s = 76/64 image_size.

    `cache` is `memory`, `disk` (a file in `folder`, found again by the next run) or `auto`, which takes the memory
    if a quarter of the machine's is enough. Decoded pictures that come with the source (`76images.pickle`) are
    used as they are. Raises `InputError` naming the first picture that cannot be read.
    """
    size = images.load_size(image_size)
    if size in records.packed:
        return datasets.read_packed(records.packed[size], len(records), size)
    shape = (len(records), size, size, 3)
    if cache == "auto":
        cache = "memory" if np.prod(shape, dtype=np.int64) <= _machine_memory() // 4 else "disk"
    if cache == "memory":
        return _decode_into(np.empty(shape, np.uint8), records)
    path = folder / f"pictures_{size}_{_fingerprint(records)}.npy"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.partial")
        try:
            _decode_into(np.lib.format.open_memmap(unfinished, "w+", np.uint8, shape), records).flush()
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r")


def _decode_into(pictures: np.ndarray, records: Records) -> np.ndarray:
    def decode_one(i: int) -> None:
        box = None if records.boxes is None else records.boxes[i]
        pictures[i] = images.read(records.paths[i], box, pictures.shape[1])

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes without holding Python's lock
        jobs = [pool.submit(decode_one, i) for i in range(len(records))]
        try:
            for job in tqdm(jobs, "decoding", unit=" pictures", leave=False):
                job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return pictures


def _fingerprint(records: Records) -> str:
    """Changes with the files, their sizes, their dates and their boxes."""
    digest = hashlib.sha256()
    for i, path in enumerate(records.paths):
        status = path.stat()
        box = None if records.boxes is None else records.boxes[i].tolist()
        digest.update(repr((str(path), status.st_size, status.st_mtime_ns, box)).encode())
    return digest.hexdigest()[:16]


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")  # bytes


# -- batches ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PictureStream:
    """Batches of pictures, each with one of its sentences, addressed by step; what a sentence is, subclasses say.

    A batch is a dict of `image` (B, image_size, image_size, 3) in [-1, 1], `class_id` (B,) and what `_complete`
    adds. Every epoch is a new permutation; its remainder is dropped.
    """

    records: Records
    pictures: np.ndarray  # (N, s, s, 3) uint8 from `decode`
    image_size: int  # pixels
    batch_size: int  # over all replicas together
    _: KW_ONLY
    seed: int = 0

    def __post_init__(self):
        if self.batch_size > len(self.records):
            raise InputError(
                f"train.batch_size is {self.batch_size} but the data holds {len(self.records)} pictures: "
                f"ask for a batch of at most {len(self.records)}"
            )

    @property
    def steps_per_epoch(self) -> int:
        return len(self.records) // self.batch_size

    def batches(self, first_step: int, last_step: int, *, replicas: int = 1, mine: range = range(1)) -> tf.data.Dataset:
        """The batches of steps `first_step` up to (not including) `last_step`, in order.

        With several replicas each step is cut into `replicas` equal shares and the stream holds, one after the
        other, those numbered in `mine`: the shares of this machine's replicas.
        """
        size = self.batch_size // replicas

        def share(number):
            step, replica = number // len(mine), mine.start + number % len(mine)
            return self._share(step, replica * size, size)

        numbers = tf.data.Dataset.range(first_step * len(mine), last_step * len(mine))
        return numbers.map(share, tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)

    def _share(self, step, first, size: int) -> dict:
        """Rows `first` to `first + size` of the global batch of a step."""

        def draw(distribution, purpose, shape, **limits):
            seed = [self.seed * PURPOSES + purpose, step]
            return distribution((self.batch_size, *shape), seed, **limits)[first : first + size]

        def whole(purpose, limit):
            return draw(tf.random.stateless_uniform, purpose, (), minval=0, maxval=limit, dtype=tf.int32)

        picture = self._order(step, first, size)
        places = self.pictures.shape[1] - self.image_size + 1
        top, left, mirror = whole(TOP, places), whole(LEFT, places), whole(MIRROR, 2)
        image = tf.numpy_function(self._crop, [picture, top, left, mirror], tf.uint8, stateful=False)
        batch = {
            "image": images.to_range(tf.cast(image, tf.float32)),
            "class_id": tf.gather(self.records.class_ids, picture),
        }
        batch["image"].set_shape((size, self.image_size, self.image_size, 3))
        captions = draw(tf.random.stateless_uniform, CAPTION, (self._most_captions,))
        return self._complete(batch, step, picture, captions, size, draw)

    def _complete(self, batch: dict, step, picture, captions, size: int, draw) -> dict:
        """The batch and what it holds besides pictures: `captions` (size, most) uniform draws say which are taken."""
        raise NotImplementedError

    def _order(self, step, first, size: int):
        epoch, step_in_epoch = step // self.steps_per_epoch, step % self.steps_per_epoch
        seed = [self.seed * PURPOSES + ORDER, epoch]
        order = tf.random.experimental.stateless_shuffle(tf.range(len(self.records)), seed)
        order = self._arrange(order)
        start = tf.cast(step_in_epoch, tf.int32) * self.batch_size + tf.cast(first, tf.int32)
        return order[start : start + size]

    def _arrange(self, order):
        """The order of an epoch, given a random one."""
        return order

    @property
    def _most_captions(self) -> int:
        raise NotImplementedError

    def _crop(self, picture, top, left, mirror) -> np.ndarray:
        size = self.image_size
        out = np.empty((len(picture), size, size, 3), np.uint8)
        for row, i, y, x, flip in zip(out, picture, top, left, mirror, strict=True):
            crop = self.pictures[i, y : y + size, x : x + size]
            row[:] = crop[:, ::-1] if flip else crop
        return out


@dataclass(frozen=True)
class Stream(PictureStream):
    """What the two players see.

    Besides pictures and classes: `embedding` (B, text_dim), and standard normal `noise` (B, noise_dim), `epsilon`
    (B, condition_dim) and, if a size is given, `stage1_epsilon` (B, stage1_condition_dim), which both stay within two
    deviations if `truncated`. An embedding is the mean of those of `mean_of_captions` captions or, given the
    `fewest_captions`, from step `fewer_from` on of any number between.

    If `directions` are asked for, there is a standard normal `direction` of the pictures' shape. With a `sketch_size`
    there is `sketch` (B, sketch_size, sketch_size, 3): the pictures made as small, if `recoloured` in other colours, in
    `patches` or `all` over.
    """

    noise_dim: int
    condition_dim: int
    stage1_condition_dim: int | None = None
    mean_of_captions: int = 1
    fewest_captions: int | None = None
    fewer_from: int = 0
    truncated: bool = False
    directions: bool = False
    sketch_size: int | None = None
    recoloured: str | None = None

    def _complete(self, batch: dict, step, picture, captions, size: int, draw) -> dict:
        def normal(purpose, *shape):
            return draw(tf.random.stateless_normal, purpose, shape)

        def epsilon(purpose, size):
            kind = tf.random.stateless_truncated_normal if self.truncated else tf.random.stateless_normal
            return draw(kind, purpose, (size,))

        told = [picture, captions, self._counts(step, size, draw)]
        embedding = tf.numpy_function(self._embed, told, tf.float32, stateful=False)
        embedding.set_shape((size, self.records.embeddings.shape[1]))
        batch = {
            **batch,
            "embedding": embedding,
            "noise": normal(NOISE, self.noise_dim),
            "epsilon": epsilon(EPSILON, self.condition_dim),
        }
        if self.stage1_condition_dim is not None:
            batch["stage1_epsilon"] = epsilon(STAGE1_EPSILON, self.stage1_condition_dim)
        if self.directions:
            batch["direction"] = normal(DIRECTION, self.image_size, self.image_size, 3)
        if self.sketch_size:
            batch["sketch"] = losses.shrink(batch["image"], self.sketch_size)
            if self.recoloured:
                chances = draw(tf.random.stateless_uniform, RECOLOURING, (CHANCES,))
                batch["sketch"] = recolour(batch["sketch"], chances, all_over=self.recoloured == "all")
        return batch

    @property
    def _most_captions(self) -> int:
        return int(np.diff(self.records.first_embedding).max())

    def _counts(self, step, size: int, draw):
        """Of how many captions each embedding is the mean: `mean_of_captions`, or as many at most."""
        fewest, most = self.fewest_captions, self.mean_of_captions
        if fewest is None:
            return tf.fill((size,), most)
        counts = draw(tf.random.stateless_uniform, COUNT, (), minval=fewest, maxval=most + 1, dtype=tf.int32)
        return tf.where(step < self.fewer_from, most, counts)

    def _embed(self, picture, draws, counts) -> np.ndarray:
        """The means of so many different captions (all, where there are fewer), by the order of `draws`."""
        out = np.empty((len(picture), self.records.embeddings.shape[1]), np.float32)
        for row, i, draw, count in zip(out, picture, draws, counts, strict=True):
            choices = self.records.embeddings_of(i)
            chosen = np.argsort(draw[: len(choices)])[:count]
            row[:] = choices[chosen].mean(axis=0)
        return out


@dataclass(frozen=True)
class PairStream(PictureStream):
    """What a text encoder learns from: pictures of different classes, and `characters` (B, count, 201) of each.

    They are `count` different sentences of the picture, some again where it has fewer. A batch holds a class twice
    only where there are fewer classes than pictures in it, or at the few places where one round through the classes
    ends and the next begins. Every picture needs a caption.
    """

    count: int = 1

    def _complete(self, batch: dict, step, picture, captions, size: int, draw) -> dict:
        characters = tf.numpy_function(self._characters, [picture, captions], tf.int32, stateful=False)
        characters.set_shape((size, self.count, text_encoder.LENGTH))
        return {**batch, "characters": characters}

    @property
    def _most_captions(self) -> int:
        return max(len(captions) for captions in self.records.captions)

    def _characters(self, picture, draws) -> np.ndarray:
        sentences = []
        for i, draw in zip(picture, draws, strict=True):
            captions = self.records.captions[i]
            sentences += [captions[j] for j in np.resize(np.argsort(draw[: len(captions)]), self.count)]
        return text_encoder.encode(sentences).reshape(len(picture), self.count, -1)

    def _arrange(self, order):
        return tf.numpy_function(self._in_rounds, [order], tf.int32, stateful=False)

    def _in_rounds(self, order) -> np.ndarray:
        """First one picture of every class, then a second one of every class that has two, and so on."""
        rounds = pd.Series(self.records.class_ids[order]).groupby(self.records.class_ids[order]).cumcount()
        return order[np.argsort(rounds.to_numpy(), kind="stable")]


# -- pictures for the judge ---------------------------------------------------------------------------------------

BLURRED = 1 / 3  # share of the training pictures that go through 64 pixels: sketches are no sharper
BRIGHTNESS = 20.0  # grey levels by which a training picture may be lighter or darker


def views(pictures: np.ndarray, answers: dict, image_size: int, batch_size: int, seed: int) -> tf.data.Dataset:
    """Batches of (pictures in [-1, 1], answers) without end: shuffled, and each picture seen anew every time.

    `pictures` is (N, `images.load_size(image_size)`, same, 3) uint8. A view is a random crop of `image_size`, mirrored
    half the time as the stages' stream does it, a little lighter or darker, and often blurred.
    """

    def view(row, position):
        answer = {part: places[row] for part, places in tensors.items()}
        return images.to_range(_view(everything[row], image_size, tf.stack([seed, position]))), answer

    everything, tensors = tf.constant(pictures), {part: tf.constant(places) for part, places in answers.items()}
    rows = tf.data.Dataset.range(len(pictures)).shuffle(len(pictures), seed=seed).repeat()
    numbered = tf.data.Dataset.zip(rows, tf.data.Dataset.counter())
    return numbered.map(view, num_parallel_calls=2).batch(batch_size, drop_remainder=True).prefetch(4)


def _view(pixels, size: int, seed):
    """One picture (load_size, load_size, 3) uint8 as training shows it: (size, size, 3) floats of 0..255."""
    pixels = tf.image.stateless_random_crop(pixels, (size, size, 3), seed)
    pixels = tf.cast(tf.image.stateless_random_flip_left_right(pixels, seed), tf.float32)
    blur, brightness = tf.unstack(tf.random.stateless_uniform([2], seed))
    small = tf.image.resize(pixels, (size // 2, size // 2), antialias=True)
    pixels = tf.cond(blur < BLURRED, lambda: tf.image.resize(small, (size, size)), lambda: pixels)
    return tf.clip_by_value(pixels + BRIGHTNESS * (2 * brightness - 1), 0, 255)


# -- sketches in other colours ------------------------------------------------------------------------------------

PATCHES = 4  # along each side: what is recoloured is about as large as a part of a bird
EDGE = 20.0  # how sharp patches end; a step at infinity
TURNS = 2.0  # radians, at most, that one channel turns each new one; shades of a colour must not go round
CHANCES = 1 + PATCHES**2 + 2 * 12  # that a recolouring takes: of the cover, the patches, and two sets of colours


def recolour(pictures, chances, *, all_over: bool = False):
    """Pictures (B, s, s, 3) in [-1, 1] with other colours in patches that cover any share of them.

    Every colour there becomes any other, near ones near ones: so where a part ends can still be seen, but neither what
    colour it had nor whether it was lighter than the next. With `all_over` the rest has yet other colours. `chances`
    (B, `CHANCES`), uniform in [0, 1), decide which.
    """
    cover, heights, *sets = tf.split(chances, [1, PATCHES**2, 12, 12], axis=1)
    first, second = (_repainted(pictures, each) for each in sets)
    heights = tf.image.resize(tf.reshape(heights, (-1, PATCHES, PATCHES, 1)), pictures.shape[1:3])
    rest = second if all_over else pictures
    return rest + tf.sigmoid(EDGE * (heights - cover[:, None, None])) * (first - rest)


def _repainted(pictures, chances):
    """Each channel anew as a wave over the space of colours, of any direction and phase."""
    turns = TURNS * (2 * tf.reshape(chances[:, :9], (-1, 3, 3)) - 1)
    phases = 2 * np.pi * chances[:, None, None, 9:]
    return tf.sin(tf.einsum("bhwc,bcd->bhwd", pictures, turns) + phases)
