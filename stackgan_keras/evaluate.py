"""Evaluate runs on drawn birds: do their pictures show the colours that the captions ask for, and how real are they?

python -m stackgan_keras.evaluate                               the run `drawn`, your own or the shipped one
python -m stackgan_keras.evaluate --run mine --run drawn        two runs in one table
python -m stackgan_keras.evaluate --run mine --captions 1000    more captions, surer figures

Birds of new species are drawn, once, below data/. Each run generates pictures of their captions, and the attribute
classifier, a small network that reads drawn birds, finds the colours of the parts that a caption names. A run trained
on anything else is scored all the same: by what it generates for these captions.
"""

import argparse
import json
import math
import sys
from pathlib import Path

from stackgan_keras.command_line import Parser, quietly, run
from stackgan_keras.config import Folders
from stackgan_keras.errors import InputError, whole_number
from stackgan_keras.files import atomic_write
from stackgan_keras.models.runs import CLASSIFIER, find_run, shipped_homes

BIRDS = {"count": 600, "classes": 60, "test_classes": 40, "embedding_dim": 1}  # 400 are of the 40 test species
CAPTIONS = 4000  # that they have
SEED = 2017  # other birds than those of any shipped config


def main() -> None:
    given = _arguments(sys.argv[1:])
    with quietly():  # only now, as it takes seconds: help and wrong arguments answer at once
        from stackgan_keras.data import drawn_birds, published
        from stackgan_keras.evaluation.attributes import Reader
        from stackgan_keras.evaluation.scores import Evaluation, spread_captions, table
        from stackgan_keras.inference.stackgan import StackGAN
        from stackgan_keras.models import weights

    folders = {name: find_run(given.output_dir, name) for name in given.run or ["drawn"]}
    models = {name: StackGAN.load(folder) for name, folder in folders.items()}
    homes = [given.output_dir / "weights", *shipped_homes()]
    file = _find_classifier([*folders.values(), *(home / "drawn" for home in homes)])
    weights.read_config(file, "attribute_classifier")
    root = given.output_dir / "data" / f"evaluation_birds_{given.seed}"
    birds = published.read(drawn_birds.write(root, seed=given.seed, **BIRDS, progress=True), "test", text_dim=None)
    sentences = spread_captions(birds.captions, given.captions)
    print(f"{len(sentences)} captions of {root}, {given.count} pictures of each, read by {file}", flush=True)
    evaluation = Evaluation(Reader(weights.load(file)), birds, sentences, given.count, given.seed)
    rows = evaluation.rows(models)
    print(table(rows))
    about = {"captions": len(sentences), "pictures_of_each": given.count, "seed": given.seed, "classifier": str(file)}
    for name in models:
        path = Folders(given.output_dir, name).results / "evaluation.json"
        others = [other for other in models if other != name]
        _write(path, {**about, "rows": {key: row for key, row in rows.items() if key.split(",")[0] not in others}})
        print(f"figures: {path}")


def _find_classifier(folders: list[Path]) -> Path:
    """The classifier of the first run that has one, else the shipped one: one classifier reads all runs."""
    files = [folder / CLASSIFIER for folder in folders]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        raise InputError(
            f"there is no attribute classifier at {' or '.join(map(str, dict.fromkeys(files)))}: train one with "
            f"python -m stackgan_keras.train_attributes --run {folders[0].name} and the same --output_dir"
        )
    return found


def _write(path: Path, figures: dict) -> None:
    """JSON, in which a figure that there is not is null; an older file is replaced in one move."""
    rows = {
        name: {key: None if math.isnan(value) else value for key, value in row.items()}
        for name, row in figures["rows"].items()
    }
    with atomic_write(path) as unfinished:
        unfinished.write_text(json.dumps({**figures, "rows": rows}, indent=1) + "\n", encoding="utf-8")


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m stackgan_keras.evaluate",
        description="Tells of runs whether their pictures have the colours that captions of drawn birds ask for, how "
        "much they differ, and how far their features are from those of real drawn birds.",
    )
    add = parser.add_argument
    add("--run", metavar="NAME", action="append", help="run to evaluate, may be given several times (default drawn)")
    add(
        "--output_dir", metavar="DIR", type=Path, default=Path(), help="parent of weights/, results/, data/ (default .)"
    )
    add("--captions", metavar="N", default=200, help="captions to generate pictures of (default 200)")
    add("--count", metavar="N", default=4, help="pictures of each, of other noise (default 4)")
    add("--seed", metavar="N", default=SEED, help=f"of birds and noise (default {SEED})")
    given = parser.parse_args(arguments)
    given.captions = whole_number("--captions", given.captions, 1, CAPTIONS)
    given.count = whole_number("--count", given.count, 2, 100)
    given.seed = whole_number("--seed", given.seed, 0, 2**31 - 1)
    return given


if __name__ == "__main__":
    run(main)
