"""Images a second that the input stream delivers, next to what the networks take.

    python benchmarks/input.py             on birds drawn for the occasion
    python benchmarks/input.py --root DIR  on data in the published layout

Each row is a stream of `stackgan_keras.data.pipeline` alone: crops, mirror images, captions, noise and epsilons of
whole epochs, with nothing computed beside it. Before each row from the disk the system is asked to forget the file, so
that the first epoch really reads. Decoded images lie in the system's temporary folder (TMPDIR moves it). "Networks"
are training steps of stackgan_keras at the release's widths and batch size, on a batch that is always the same.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras_steps
import numpy as np
from release import CONDITION_DIM, NOISE_DIM, STAGES, Sizes

from stackgan_keras.data import drawn_birds, photographs, published
from stackgan_keras.data.decoding import decode
from stackgan_keras.data.pipeline import AdversarialStream
from stackgan_keras.data.published import Dataset

BATCH_SIZES = {1: (64,), 2: (8, 64)}


def main() -> None:
    arguments = parse()
    with tempfile.TemporaryDirectory() as folder:
        root = arguments.root or drawn_birds.write(Path(folder) / "birds", count=arguments.count, progress=True)
        dataset = replace(published.read(root, "train"), packed={})  # the photographs, not images decoded elsewhere
        print(f"{os.cpu_count()} cores; {len(dataset)} images, {arguments.epochs} epochs; images a second:\n")
        print("| stage | batch | cache | decoding, once | first epoch | later epochs | networks | later to networks |")
        print("|---|---|---|---|---|---|---|---|", flush=True)
        for stage, sizes in STAGES.items():
            for row in measure(stage, shrink(sizes, arguments), dataset, Path(folder), arguments):
                print(row, flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, help="data in the published layout (default: birds are drawn)")
    parser.add_argument("--count", type=int, default=640, help="birds to draw, a fifth for the test (default 640)")
    parser.add_argument("--epochs", type=int, default=11, help="passes over the data in each row (default 11)")
    parser.add_argument("--steps", type=int, default=3, help="networks' steps that are timed (default 3)")
    parser.add_argument("--generator-filters", type=int, default=128, metavar="N", help="default 128")
    parser.add_argument("--discriminator-filters", type=int, default=64, metavar="N", help="default 64")
    return parser.parse_args()


def shrink(sizes: Sizes, arguments: argparse.Namespace) -> Sizes:
    """The stage with the widths that were asked for."""
    return replace(
        sizes,
        generator_filters=arguments.generator_filters,
        discriminator_filters=arguments.discriminator_filters,
    )


def measure(stage: int, sizes: Sizes, dataset: Dataset, folder: Path, arguments: argparse.Namespace) -> Iterator[str]:
    """The stage's rows of the table."""
    taken = networks_speed(sizes, arguments.steps)
    side = photographs.load_size(sizes.image_size)
    stream_speeds(sizes, dataset, np.zeros((len(dataset), side, side, 3), np.uint8), epochs=2)  # wakes TensorFlow up
    for cache, batch_size in product(("memory", "disk"), BATCH_SIZES[stage]):
        place = folder / f"stage{stage}_{cache}_{batch_size}"
        started = time.perf_counter()
        images = decode(dataset, sizes.image_size, cache=cache, folder=place)
        decoded = len(dataset) / (time.perf_counter() - started)
        forget(place)
        first, later = stream_speeds(replace(sizes, batch_size=batch_size), dataset, images, arguments.epochs)
        yield (
            f"| {'I' * stage} | {batch_size} | {cache} | {decoded:.0f} | {first:.0f} | {later:.0f} | {taken:.3g} "
            f"| {later / taken:.0f} |"
        )


def networks_speed(sizes: Sizes, steps: int) -> float:
    """Images a second that a training step takes, once it is traced."""
    _, step = keras_steps.make_package(sizes, "float32", jit=False)
    batch = keras_steps.make_batch(sizes)
    seconds = []
    for _ in range(1 + steps):
        started = time.perf_counter()
        float(step(batch)["generator"])  # waits for the device
        seconds.append(time.perf_counter() - started)
    return sizes.batch_size / statistics.median(seconds[1:])


def stream_speeds(sizes: Sizes, dataset: Dataset, images: np.ndarray, epochs: int) -> tuple[float, float]:
    """Images a second of a new stream: in its first epoch, its making included, and in all later ones together."""
    started = time.perf_counter()
    widths = {"noise": NOISE_DIM, "epsilon": CONDITION_DIM}
    widths |= {"stage1_epsilon": CONDITION_DIM} if sizes.stage1_size else {}
    stream = AdversarialStream(dataset, images, sizes.image_size, sizes.batch_size, widths=widths)
    batches = iter(stream.batches(0, epochs * stream.steps_per_epoch))
    epoch = stream.steps_per_epoch * sizes.batch_size  # images
    for _ in range(stream.steps_per_epoch):
        next(batches)
    turned = time.perf_counter()
    for _ in batches:
        pass
    return epoch / (turned - started), (epochs - 1) * epoch / (time.perf_counter() - turned)


def forget(folder: Path) -> None:
    """Asks the system to drop decoded images from its memory, where it can be asked; not those already in use."""
    for path in folder.glob("images_*.npy") if hasattr(os, "posix_fadvise") else ():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    main()
