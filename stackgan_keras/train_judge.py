"""Train the judge: a small network that reads the colours of a drawn bird, to score what a generator draws.

python -m stackgan_keras.train_judge                    on birds drawn on the spot
python -m stackgan_keras.train_judge --data.root DIR    on a set of drawn birds that is there already

Leaves `weights/<run>/judge.weights.h5` and says how well it reads birds of species that it never saw.
"""

import argparse
import sys
from pathlib import Path

from stackgan_keras import config
from stackgan_keras.command_line import Parser, quietly, run
from stackgan_keras.config import Folders
from stackgan_keras.errors import InputError

BIRDS = {"count": 4000, "classes": 400, "test_classes": 40, "embedding_dim": 1}  # drawn where no data is given
BATCH = 50  # pictures in a step
LEARNING_RATE = 2e-3  # at the start; it falls to nothing along a cosine
PRECISIONS = ("mixed_bfloat16", "float32")
SIZES = (256, 64)  # pixels of the pictures that it must be able to read


def main() -> None:
    given = _arguments(sys.argv[1:])
    config.make({"run": given.run})
    with quietly():  # only now, as it takes seconds: help and wrong arguments answer at once
        import keras

        from stackgan_keras import datasets, drawn_birds, judge, weights
        from stackgan_keras.stream import decode, views

    root = given.root
    if root is None:
        root = drawn_birds.write(given.output_dir / "data" / "judge_birds", **BIRDS, progress=True)
    lessons, exam = (datasets.read(root, split, text_dim=None) for split in ("train", "test"))
    answers, expected = judge.truth(root, lessons.names), judge.truth(root, exam.names)
    if len(lessons) < BATCH:
        raise InputError(f"{root} holds {len(lessons)} pictures to train on: the judge needs {BATCH} or more")
    keras.utils.set_random_seed(given.seed)
    keras.config.set_dtype_policy(given.precision)
    recipe = weights.Recipe("judge", {"image_size": 128})
    reader = recipe.build()
    pictures = decode(lessons, recipe.keywords["image_size"], cache="memory")
    steps = len(lessons) // BATCH
    student = keras.Model(reader.input, reader.output)  # compiled, so that the reader is saved without an optimizer
    student.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps * given.epochs)),
        loss=dict.fromkeys(judge.PARTS, "sparse_categorical_crossentropy"),
    )
    lessons_seen = views(pictures, judge.labels(answers), recipe.keywords["image_size"], BATCH, given.seed)
    student.fit(lessons_seen, steps_per_epoch=steps, epochs=given.epochs, shuffle=False, verbose=2)

    path = Folders(given.output_dir, given.run).weights / "judge.weights.h5"
    weights.save(reader, recipe, path)
    species = len(set(exam.class_ids.tolist()))
    print(f"colours read right on {len(exam)} real drawn birds of {species} species that it never saw:")
    for size in SIZES:
        seen = judge.read(reader, judge.crops(decode(exam, size, cache="memory"), size, given.seed))
        right = judge.agreement(expected, seen)
        print(f"{size:4} pixels: " + ", ".join(f"{part} {share:.1%}" for part, share in right.items()))
    print(f"weights: {path}")


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m stackgan_keras.train_judge",
        description="Trains the judge, a small network that reads the colours of a drawn bird's parts.",
    )
    add = parser.add_argument
    add("--data.root", dest="root", metavar="DIR", type=Path, help="set of drawn birds (default: draws 4000 of them)")
    add("--run", metavar="NAME", default="mine", help="run in whose folder of weights it is put (default mine)")
    add("--output_dir", metavar="DIR", type=Path, default=Path(), help="parent of weights/ and data/ (default .)")
    add("--epochs", metavar="N", type=_count, default=6, help="passes over the training pictures (default 6)")
    add("--seed", metavar="N", type=_seed, default=0, help="decides first weights, order and crops (default 0)")
    add(
        "--precision",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help=f"numbers to compute with (default {PRECISIONS[0]})",
    )
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    return _whole(text, 1)


def _seed(text: str) -> int:
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of {least} or more")
    return number


if __name__ == "__main__":
    run(main)
