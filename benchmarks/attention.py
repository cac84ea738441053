"""Whether AttnGAN's attention looks where the word's part is, measured on synthetic birds.

python benchmarks/attention.py --run mini_attngan --output_dir DIR   DIR: where train_text and train left the run

Every sentence names the colours of two parts or more ("red wings", "wings that are yellow"). Where the parts are in
what the run draws is told by a small U-Net, which learns from other synthetic birds, is kept in DIR/data, and is scored
here on birds of species it never saw. Beside the generator's attention stands that of DAMSM's encoders, between words
and the regions of what was generated, and of these birds themselves, whose parts are known. For the words for the
colours, and for the nouns beside them:

- `share by area`: the share of a word's attention that lies on its part, divided by the part's share of the image; of a
  word that looks everywhere alike it is 1.
- `wins`: how often a word has more attention on its part than the sentence's other words of the kind have there.

Beside both stands chance: the same with the attention of a random word of another sentence and the others there. What
follows ± is the standard error, by a bootstrap of the sentences. A PNG shows the first sentences: the image, its parts,
and for each word the part and the attention.
"""

import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from PIL import Image

from stackgan_keras import command_line
from stackgan_keras.data import grids, photographs, rgb
from stackgan_keras.data.drawn_birds import COLOURS
from stackgan_keras.data.drawn_birds.captions import describe
from stackgan_keras.data.drawn_birds.painting import PARTS, draw, part_map
from stackgan_keras.data.drawn_birds.species import individual, invent_species
from stackgan_keras.data.pipeline import untuned
from stackgan_keras.errors import InputError, whole_number
from stackgan_keras.evaluation.attributes import phrases
from stackgan_keras.evaluation.features import batched, resized
from stackgan_keras.files import atomic_write
from stackgan_keras.inference import attention
from stackgan_keras.inference.stackgan import StackGAN
from stackgan_keras.models.blocks import convolve
from stackgan_keras.models.runs import find_run
from stackgan_keras.models.vocabulary import READ, words_of
from stackgan_keras.training import damsm
from stackgan_keras.training.damsm_encoders import DamsmEncoders

SIZE = 64  # pixels at which parts are told
TRAINED_ON = 1000  # birds, each of a species of its own
TEST_SPECIES = 200
SEED = 2017  # of birds and network
EPOCHS, BATCH, LEARNING_RATE = 10, 50, 3e-3
NOISE = 0.1  # standard deviation, in images of [-1, 1]: what a generator draws is less clean than birds
LEAST = 4  # pixels of a part that is seen
SHOWN_SENTENCES, SHOWN_WORDS = 4, 3
BOOTSTRAPS = 1000
PAINT = {"crown": "red", "back": "brown", "belly": "yellow", "wing": "blue", "tail": "green", "beak": "orange"}
KINDS = {"colours": "colour_at", "nouns": "noun_at"}  # of words, and where in a phrase they are


class Birds(NamedTuple):
    """Synthetic birds: images (N, s, s, 3) uint8, the numbers of their parts (N, s, s), and a sentence of each."""

    images: np.ndarray
    parts: np.ndarray
    sentences: list[str]


class Word(NamedTuple):
    """A word of a sentence that tells the colour of a part."""

    part: str
    place: int  # among the words of the sentence that are read
    text: str


def main() -> None:
    parser = command_line.Parser(prog="python benchmarks/attention.py", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--run", metavar="NAME", default="mini_attngan", help="whose attention is measured (default mini_attngan)")
    add(
        "--output_dir", metavar="DIR", type=Path, default=Path(), help="parent of weights/, results/, data/ (default .)"
    )
    add("--count", metavar="N", default=200, help="sentences (default 200)")
    given = parser.parse_args()
    count = whole_number("--count", given.count, 2)
    folder = find_run(given.output_dir, given.run)
    model = StackGAN.load(folder)
    if "words" not in model.takes:
        raise InputError(f"{given.run} reads no words, as only AttnGAN does: give another --run")
    train, test = species()
    network = part_network(given.output_dir / "data" / "bird_parts.weights.h5", train)
    birds = drawn(test, count, photographs.load_size(SIZE))
    birds = Birds(*(photographs.centre_crops(each, SIZE) for each in birds[:2]), birds.sentences)
    print(segmentation_table(birds.parts, segmented(network, birds.images)) + "\n")
    images, maps = generated(model, birds.sentences)
    found, encoders = segmented(network, images), DamsmEncoders.load(folder)
    by_generator = {f"`{name}`": Scenes(model, birds.sentences, found, looks) for name, looks in maps.items()}
    by_encoders = {
        "DAMSM, generated": Scenes(model, birds.sentences, found, damsm_maps(encoders, images, birds.sentences)),
        "DAMSM, real": Scenes(model, birds.sentences, birds.parts, damsm_maps(encoders, *birds[::2])),
    }
    print(attention_tables(by_generator | by_encoders))
    path = given.output_dir / "results" / given.run / "attention" / "parts.png"
    rgb.write(path, picture(images, [*by_generator.values()][-1]))
    print(f"\npicture: {path}")


# -- birds and their parts ------------------------------------------------------------------------------------------


def species() -> tuple[list[dict], list[dict]]:
    """The species to learn parts from, and those to measure on."""
    everything = invent_species(TRAINED_ON, TEST_SPECIES, np.random.default_rng(SEED))
    return everything[:TRAINED_ON], everything[TRAINED_ON:]


def drawn(kinds: Sequence[dict], count: int, size: int) -> Birds:
    """So many birds of these species in turn, cropped as in training, with sentences that name two parts or more."""
    images, parts, sentences = [], [], []
    for number in range(count):
        bird = individual(kinds[number % len(kinds)], np.random.default_rng([SEED, number, 0]))
        key = [SEED, number, 1]
        image, box = draw(bird, np.random.default_rng(key))
        crop = {"box": photographs.crop_box(box, *image.size), "size": (size, size)}
        images.append(np.asarray(image.crop(crop["box"]).resize(crop["size"], Image.Resampling.BILINEAR)))
        numbers = Image.fromarray(np.ascontiguousarray(part_map(bird, np.random.default_rng(key))))
        parts.append(np.asarray(numbers.crop(crop["box"]).resize(crop["size"], Image.Resampling.NEAREST)))
        captions = describe(bird, np.random.default_rng([SEED, number, 2]))
        sentences.append(next(caption for caption in captions if len(phrases(caption)) > 1))
    return Birds(np.stack(images), np.stack(parts), sentences)


def part_network(path: Path, kinds: Sequence[dict]) -> keras.Model:
    """The U-Net in a file, trained and put there first where there is none."""
    keras.utils.set_random_seed(SEED)
    network = unet()
    if path.is_file():
        network.load_weights(path)
        return network
    print(f"drawing {len(kinds)} birds and learning where their parts are, which takes minutes", flush=True)
    birds = drawn(kinds, len(kinds), photographs.load_size(SIZE))
    steps = len(kinds) // BATCH
    network.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps * EPOCHS)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    network.fit(examples(birds), steps_per_epoch=steps, epochs=EPOCHS, shuffle=False, verbose=2)
    with atomic_write(path) as unfinished:
        network.save_weights(unfinished)
    return network


def unet(filters: Sequence[int] = (16, 32, 48, 64, 64)) -> keras.Model:
    """Images (B, SIZE, SIZE, 3) in [-1, 1] to the logits (B, SIZE, SIZE, 1 + parts) of each pixel's part, or none."""
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = convolve(layers.GaussianNoise(NOISE, name="noise")(image), filters[0], 3, "down0")
    maps = [x]
    for level, width in enumerate(filters[1:], start=1):
        maps.append(convolve(maps[-1], width, 3, f"down{level}", strides=2))
    x = maps.pop()
    for level, width in reversed([*enumerate(filters[:-1])]):
        x = layers.UpSampling2D(name=f"up{level}_resize")(x)
        x = layers.Concatenate(name=f"up{level}_join")([x, maps.pop()])
        x = convolve(x, width, 3, f"up{level}")
    return keras.Model(image, layers.Conv2D(len(PARTS) + 1, 1, name="parts")(x), name="bird_parts")


def examples(birds: Birds) -> tf.data.Dataset:
    """(images, numbers of parts) without end: shuffled random crops, mirrored half the time."""

    def example(row, position):
        both = tf.concat([images[row], parts[row][..., None]], axis=-1)
        both = tf.image.stateless_random_crop(both, (SIZE, SIZE, 4), [SEED, position])
        both = tf.image.stateless_random_flip_left_right(both, [SEED + 1, position])
        return rgb.to_range(tf.cast(both[..., :3], tf.float32)), both[..., 3]

    images, parts = tf.constant(birds.images), tf.constant(birds.parts)
    rows = tf.data.Dataset.range(len(birds.images)).shuffle(len(birds.images), seed=SEED).repeat()
    return untuned(tf.data.Dataset.zip(rows, tf.data.Dataset.counter()).map(example).batch(BATCH).prefetch(2))


def segmented(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """The number of the part (N, SIZE, SIZE) at each pixel of images (N, s, s, 3) uint8."""
    batches = (rgb.to_range(resized(np.stack(batch), SIZE)) for batch in batched(images))
    return np.concatenate([np.argmax(network(batch, training=False), axis=-1) for batch in batches])


def segmentation_table(parts: np.ndarray, found: np.ndarray) -> str:
    """How well parts are told: the share of right pixels, and the intersection over the union of each part."""
    shares = [np.mean(parts == found)]
    for number in range(1, len(PARTS) + 1):
        true, told = parts == number, found == number
        shares.append((true & told).sum() / max((true | told).sum(), 1))
    heads = ["right pixels", *(f"IoU {part}" for part in PARTS)]
    return table([f"parts of {len(parts)} birds", *heads], [["U-Net", *(f"{share:.1%}" for share in shares)]])


# -- attention ------------------------------------------------------------------------------------------------------


def generated(model: StackGAN, sentences: list[str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The final image of each sentence, and by name the maps (N, T, s, s) of its words."""
    images, maps = [], {}
    for made in model.images(sentences, 1, SEED, attention=True):
        for name in [name for name in made if name.startswith("attention_")]:
            maps.setdefault(name, []).append(made.pop(name))
        images.append([*made.values()][-1])
    return np.stack(images), {name: np.stack(rows) for name, rows in maps.items()}


def damsm_maps(encoders: DamsmEncoders, images: np.ndarray, sentences: list[str]) -> np.ndarray:
    """Where the words of each sentence look in its own image (N, T, s, s), as DAMSM's loss by words has it.

    The small image encoder's regions are weighted means over the image: a word looks where its regions do.
    """
    image = encoders.image
    outputs = {"regions": image.output["regions"]}
    if outputs["regions"].ndim == 3:
        outputs["places"] = image.get_layer("places_softmax").output  # (B, pixels, regions)
    see, size = keras.Model(image.input, outputs), image.input["image"].shape[1] or images.shape[1]
    texts = encoders.read(tf.constant(encoders.vocabulary.encode(sentences, READ)))
    maps = []
    for start in range(0, len(images), BATCH):
        batch = slice(start, start + BATCH)
        seen = see({"image": rgb.to_range(resized(images[batch], size))}, training=False)
        regions = tf.reshape(seen["regions"], (len(images[batch]), -1, seen["regions"].shape[-1]))
        _, looks = damsm.attend(texts["words"][batch], texts["mask"][batch], regions, damsm.Smoothing().regions)
        if "places" in seen:
            looks = tf.matmul(looks, seen["places"], transpose_b=True)  # (B, T, pixels)
        side = math.isqrt(looks.shape[-1])
        maps.append(np.reshape(looks, (*looks.shape[:2], side, side)))
    return np.concatenate(maps)


class Scenes:
    """Sentences, the parts (N, SIZE, SIZE) in their images, and the attention (N, T, s, s) of their words."""

    def __init__(self, model: StackGAN, sentences: Sequence[str], parts: np.ndarray, maps: np.ndarray):
        self.sentences, self.parts, self.maps = sentences, parts, maps
        self.words = {kind: [self._words(model, place, kind) for place in range(len(sentences))] for kind in KINDS}

    def _words(self, model: StackGAN, place: int, kind: str) -> list[Word]:
        """The sentence's words of a kind that are read and whose part is seen."""
        sentence, words = self.sentences[place], []
        read = model.words_of(sentence)
        for phrase in phrases(sentence):
            at = getattr(phrase, KINDS[kind])
            before, (text, *_) = len(model.words_of(sentence[:at])), words_of(sentence[at:])
            is_seen = np.sum(self.parts[place] == PARTS.index(phrase.part) + 1) >= LEAST
            if is_seen and read[before : before + 1] == [text]:
                words.append(Word(phrase.part, before, text))
        return words

    def mask(self, place: int, part: str) -> np.ndarray:
        """How much of each pixel of the attention map (s, s) a part covers."""
        mask = Image.fromarray((self.parts[place] == PARTS.index(part) + 1).astype(np.float32))
        return np.asarray(mask.resize(self.maps.shape[:1:-1], Image.Resampling.BOX))

    def looks(self, place: int, kind: str) -> np.ndarray:
        """The attention (words, s, s) of a sentence's `words`."""
        return self.maps[place][[word.place for word in self.words[kind][place]]]


def measured(scenes: Scenes, kind: str) -> dict[str, np.ndarray]:
    """What is measured of each word of a kind, in columns of as many rows."""
    rng, words = np.random.default_rng(SEED), scenes.words[kind]
    places = [place for place, some in enumerate(words) if some]
    rows = []
    for place in places:
        for number, word in enumerate(words[place]):
            other = places[(places.index(place) + rng.integers(1, max(len(places), 2))) % len(places)]
            random = rng.integers(len(words[other]))
            mask = scenes.mask(place, word.part)
            own = on_part(scenes.looks(place, kind), number, mask)
            rows.append((place, word.part, *own, *on_part(scenes.looks(other, kind), random, mask)))
    names = ("sentence", "part", "share", "wins", "share by chance", "wins by chance")
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return {name: np.array(column) for name, column in zip(names, columns, strict=True)}


def on_part(looks: np.ndarray, number: int, mask: np.ndarray) -> tuple[float, float]:
    """The share by area of one of the maps (words, s, s) on a part, and how many of the others it beats there."""
    mass = (looks * mask).sum(axis=(1, 2))
    share = mass[number] / max(looks[number].sum(), 1e-12) / mask.mean()
    others = np.delete(mass, number)
    beaten = (mass[number] > others) + 0.5 * (mass[number] == others)
    return share, np.mean(beaten) if len(others) else np.nan


def with_error(values: np.ndarray, sentences: np.ndarray, form: str) -> str:
    """The mean of what is known, and its standard error by a bootstrap of the sentences."""
    known = ~np.isnan(values)
    if not known.any():
        return "-"
    _, place = np.unique(sentences[known], return_inverse=True)
    sums, counts = np.bincount(place, values[known]), np.bincount(place)
    chosen = np.random.default_rng(SEED).integers(len(sums), size=(BOOTSTRAPS, len(sums)))
    error = np.std(sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1))
    return f"{form.format(values[known].mean())} ± {form.format(error)}"


def attention_tables(scenes: dict[str, Scenes]) -> str:
    """All words together, and the share by area of each part's."""
    heads = ["attention", "words", "number", "share by area", "by chance", "wins", "by chance"]
    together, by_part = [], []
    for (name, each), kind in product(scenes.items(), KINDS):
        of = measured(each, kind)
        cells = [with_error(of[title], of["sentence"], "{:.2f}") for title in ("share", "share by chance")]
        cells += [with_error(of[title], of["sentence"], "{:.1%}") for title in ("wins", "wins by chance")]
        together.append([name, kind, str(len(of["part"])), *cells])
        own = [of["part"] == part for part in PARTS]
        by_part.append([name, kind, *(with_error(of["share"][it], of["sentence"][it], "{:.2f}") for it in own)])
    return f"{table(heads, together)}\n\n{table(['share by area', 'words', *PARTS], by_part)}"


def table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# -- the picture ----------------------------------------------------------------------------------------------------


def picture(images: np.ndarray, scenes: Scenes) -> np.ndarray:
    """The first sentences, one below the other, as (height, width, 3) uint8."""
    strips = [strip(images[place], scenes, place) for place in range(min(SHOWN_SENTENCES, len(images)))]
    width = max(each.shape[1] for each in strips)
    return np.concatenate(
        [
            np.pad(each, ((0, grids.GAP), (0, width - each.shape[1]), (0, 0)), constant_values=grids.PAPER)
            for each in strips
        ]
    )


def strip(image: np.ndarray, scenes: Scenes, place: int) -> np.ndarray:
    """An image, its parts in colours, and for each colour word its part and its attention laid over the image."""
    palette = np.array([(230, 230, 230), *(COLOURS[PAINT[part]] for part in PARTS)], np.uint8)
    parts = np.asarray(
        Image.fromarray(palette[scenes.parts[place]]).resize(image.shape[1::-1], Image.Resampling.NEAREST)
    )
    shown, captions = [image, parts], [scenes.sentences[place], "parts found"]
    for word in scenes.words["colours"][place][:SHOWN_WORDS]:
        weights = scenes.mask(place, word.part), scenes.maps[place][word.place]
        shown += [attention.overlay(image, each) for each in weights]
        captions += [f"{word.part} found", f"attention of {word.text}"]
    return grids.labelled_grid([np.stack(shown)], captions)


if __name__ == "__main__":
    command_line.run(main)
