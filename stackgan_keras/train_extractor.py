"""Fine-tune a feature extractor on a data set's training classes, for the scores that `evaluate` measures by it.

python -m stackgan_keras.train_extractor --data.root DIR --out birds.keras
python -m stackgan_keras.evaluate --run mine --data.root DIR --extractor birds.keras

The Inception Scores of StackGAN's paper are by an Inception that was fine-tuned on birds, or on flowers.
"""

import argparse
import math
import sys
from pathlib import Path

from stackgan_keras.command_line import Parser, quietly, run
from stackgan_keras.errors import InputError, whole_number


def main() -> None:
    given = _arguments(sys.argv[1:])
    with quietly():  # only now, as it takes seconds: help and wrong arguments answer at once
        from stackgan_keras.evaluation import extractor_training
        from stackgan_keras.training.run import make_writable

    make_writable(given.out.parent)  # before minutes of training
    how = extractor_training.FineTuning(
        given.extractor, given.epochs, given.image_size, given.learning_rate, given.seed
    )
    count, right, chance = extractor_training.train(given.root, given.out, how)
    print(f"of {count} training images that were held out, {right:.1%} find their class (chance {chance:.1%})")
    print(f"extractor: {given.out}")


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m stackgan_keras.train_extractor",
        description="Fine-tunes a feature extractor on a data set's training classes, for evaluate --extractor FILE.",
    )
    add = parser.add_argument
    add("--data.root", dest="root", metavar="DIR", type=Path, required=True, help="data folder")
    add("--out", metavar="FILE", type=Path, required=True, help="Keras file for it, which ends in .keras")
    add("--extractor", metavar="NAME", default="efficientnet_lite0", help="to start from (default efficientnet_lite0)")
    add("--epochs", metavar="N", default=10, help="passes over the images, the new layer alone first (default 10)")
    add("--image_size", metavar="N", default=256, help="pixels of the crops that are shown (default 256)")
    add("--learning_rate", metavar="X", default=1e-4, type=float, help="of Adam for all layers (default 0.0001)")
    add("--seed", metavar="N", default=0, help="decides initial weights, order and crops (default 0)")
    given = parser.parse_args(arguments)
    if given.out.suffix != ".keras" or given.out.is_dir():
        raise InputError(f"--out is {str(given.out)!r}: give a file that ends in .keras")
    given.epochs = whole_number("--epochs", given.epochs, 1)
    given.image_size = whole_number("--image_size", given.image_size, 16, 1024)
    given.seed = whole_number("--seed", given.seed, 0, 2**31 - 1)
    if not 0 < given.learning_rate < math.inf:
        raise InputError(f"--learning_rate is {given.learning_rate}: give a number above 0")
    return given


if __name__ == "__main__":
    run(main)
