"""Train the attribute classifier: a small network that reads the colours of a drawn bird, to score generated ones.

python -m stackgan_keras.train_attributes                    on synthetic birds, drawn first
python -m stackgan_keras.train_attributes --data.root DIR    on a set of drawn birds that is there already

Leaves `weights/<run>/attribute_classifier.weights.h5` and says how well it reads birds of species that it never saw.
"""

import argparse
import sys
from pathlib import Path

from stackgan_keras import config
from stackgan_keras.command_line import Parser, quietly, run
from stackgan_keras.config import Folders
from stackgan_keras.errors import whole_number
from stackgan_keras.models.runs import CLASSIFIER

BIRDS = {"count": 4000, "classes": 400, "test_classes": 40, "embedding_dim": 1}  # drawn where no data is given
PRECISIONS = ("mixed_bfloat16", "float32")


def main() -> None:
    given = _arguments(sys.argv[1:])
    config.make({"run": given.run})
    with quietly():  # only now, as it takes seconds: help and wrong arguments answer at once
        from stackgan_keras.data import drawn_birds
        from stackgan_keras.evaluation import classifier_training
        from stackgan_keras.models.blocks import precision
        from stackgan_keras.training.run import make_writable

    path = Folders(given.output_dir, given.run).weights / CLASSIFIER
    make_writable(path.parent)  # before minutes of training
    root = given.root
    if root is None:
        root = drawn_birds.write(given.output_dir / "data" / "attribute_birds", **BIRDS, progress=True)
    with precision(given.precision):
        scores = classifier_training.train(root, path, epochs=given.epochs, seed=given.seed)
    print("colours read right on real drawn birds of species that it never saw:")
    for size, right in scores.items():
        print(f"{size:4} pixels: " + ", ".join(f"{part} {share:.1%}" for part, share in right.items()))
    print(f"weights: {path}")


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m stackgan_keras.train_attributes",
        description="Trains the attribute classifier, a small network that reads the colours of a drawn bird's parts.",
    )
    add = parser.add_argument
    add("--data.root", dest="root", metavar="DIR", type=Path, help="set of drawn birds (default: draws 4000 of them)")
    add("--run", metavar="NAME", default="mine", help="run in whose folder of weights it is put (default mine)")
    add("--output_dir", metavar="DIR", type=Path, default=Path(), help="parent of weights/ and data/ (default .)")
    add("--epochs", metavar="N", default=6, help="passes over the training images (default 6)")
    add("--seed", metavar="N", default=0, help="decides initial weights, order and crops (default 0)")
    add("--precision", choices=PRECISIONS, default=PRECISIONS[0], help=f"of the network (default {PRECISIONS[0]})")
    given = parser.parse_args(arguments)
    given.epochs = whole_number("--epochs", given.epochs, 1)
    given.seed = whole_number("--seed", given.seed, 0, 2**31 - 1)
    return given


if __name__ == "__main__":
    run(main)
