"""Memory and images a second of the input stream from shards, at 1, 10 and 100 times the synthetic set, and in memory.

    python benchmarks/shards.py --folder DIR     7 GB of DIR at the default sizes, removed at the end

The birds are drawn once; the larger sets hold each of them 10 and 100 times, as records of their own. Every row is a
process of its own: what its memory grows by from before the data is opened to the highest point of its steps, and the
images a second of random batches after the first ten. Nothing is computed beside them.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from tqdm import tqdm

from stackgan_keras.data import drawn_birds, published
from stackgan_keras.data.decoding import decode
from stackgan_keras.data.pipeline import AdversarialStream
from stackgan_keras.data.shards import dataset, folder, records
from stackgan_keras.data.shards.records import Record

TEXT_DIM = 256
SHARDS = 8
WARM = 10  # batches that are not timed


def main() -> None:
    arguments = parse()
    if arguments.row:
        print(json.dumps(measure(arguments)))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as home:
        birds = drawn_birds.write(
            Path(home) / "birds", count=arguments.count, classes=50, embedding_dim=TEXT_DIM, progress=True
        )
        plain = published.read(birds, "train", TEXT_DIM)
        print(f"{os.cpu_count()} cores; images of {arguments.size} pixels in batches of {arguments.batch}\n")
        print("| data | images | on the disk, GB | memory grows by, MB | images a second |\n|---|---|---|---|---|")
        row("in memory", len(plain), 0, Path(home) / "birds", "memory", arguments)
        for times in arguments.times:
            made = Path(home) / f"shards_{times}"
            write(made, plain, times, arguments.size)
            size = sum(file.stat().st_size for file in made.rglob("*")) / 1e9
            row(f"shards, {times} times", times * len(plain), size, made, "shards", arguments)
            shutil.rmtree(made)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where the data goes (default: the system's temporary folder)")
    parser.add_argument("--count", type=int, default=2000, help="birds to draw (default 2000)")
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10, 100], help="default 1 10 100")
    parser.add_argument("--size", type=int, default=64, help="pixels (default 64)")
    parser.add_argument("--batch", type=int, default=64, help="images in a batch (default 64)")
    parser.add_argument("--steps", type=int, default=500, help="batches that are timed (default 500)")
    parser.add_argument("--row", nargs=2, help=argparse.SUPPRESS)  # folder and kind, in a process of its own
    return parser.parse_args()


def row(title: str, images: int, size: float, home: Path, kind: str, arguments: argparse.Namespace) -> None:
    """Measures a row of the table in a process of its own, and prints it."""
    numbers = ("count", "size", "batch", "steps")
    given = [word for name in numbers for word in (f"--{name}", str(getattr(arguments, name)))]
    command = [sys.executable, __file__, *given, "--row", str(home), kind]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    print(f"| {title} | {images:,} | {size:.2f} | {found['memory']:.0f} | {found['speed']:.0f} |", flush=True)


def write(home: Path, plain: published.Dataset, times: int, size: int) -> None:
    """Shards that hold each image so many times."""
    (home / str(size)).mkdir(parents=True)
    images, count = decode(plain, size, cache="memory"), times * len(plain)

    def of_shard(number: int) -> Iterator[Record]:
        for place in range(number * count // SHARDS, (number + 1) * count // SHARDS):
            i = place % len(plain)
            yield Record(
                f"{plain.names[i]}_{place}", images[i], plain.class_ids[i], plain.captions[i], plain.embeddings_of(i)
            )

    for number in tqdm(range(SHARDS), f"writing {times} times", leave=False):
        records.write(records.file_of(f"{home}/{size}", "train", number, SHARDS), of_shard(number))
    told = folder.Split(images=count, shards=SHARDS, most_captions=plain.most_captions, most_words=100)
    folder.write(str(home), folder.Content(sizes=(size,), text_dim=TEXT_DIM, splits={"train": told}))


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """What a stream's memory grows by, in MB, and its images a second."""
    home, kind = arguments.row
    for _ in stream(Toy(), np.zeros((256, 76, 76, 3), np.uint8), 64, 64).batches(0, 4):  # wakes TensorFlow up
        pass
    with Peak() as peak:
        if kind == "memory":
            plain = published.read(Path(home), "train", TEXT_DIM)
            made = stream(plain, decode(plain, arguments.size, cache="memory"), arguments.size, arguments.batch)
        else:
            sharded = dataset.read(home, "train", arguments.size)
            made = stream(sharded, sharded.images, arguments.size, arguments.batch)
        batches = iter(made.batches(0, WARM + arguments.steps))
        for _ in range(WARM):
            next(batches)
        started = time.perf_counter()
        for _ in batches:
            pass
        seconds = time.perf_counter() - started
    return {"memory": peak.grown / 1e6, "speed": arguments.steps * arguments.batch / seconds}


class Toy:
    """A data set of 256 black images."""

    class_ids, captions, text_dim, most_captions = np.arange(256), [("",)] * 256, TEXT_DIM, 1

    def __len__(self) -> int:
        return 256

    def embeddings_of(self, index: int) -> np.ndarray:
        return np.zeros((1, TEXT_DIM), np.float32)


def stream(data, images, size: int, batch: int) -> AdversarialStream:
    widths = {"noise": 100, "epsilon": 128}
    return AdversarialStream(data, images, size, batch, widths=widths, captions_per_embedding=4)


class Peak:
    """How much this process's memory grows in a block at most, in bytes, looked at 50 times a second."""

    def __enter__(self) -> "Peak":
        self.before, self.highest, self.over = resident(), 0, threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    @property
    def grown(self) -> int:
        return self.highest - self.before

    def _watch(self) -> None:
        while not self.over.wait(0.02):
            self.highest = max(self.highest, resident())


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
