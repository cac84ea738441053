"""Evaluate runs on drawn birds: do their pictures show the colours that the sentences ask for, and do they differ?

python -m stackgan_keras.evaluate                               the run `drawn`, your own or the shipped one
python -m stackgan_keras.evaluate --run mine --run drawn        two runs in one table
python -m stackgan_keras.evaluate --run mine --captions 1000    more sentences, surer figures

Birds of new species are drawn, once, below data/. Each run draws pictures for their captions, and the judge, a small
network that reads drawn birds, finds the colours of the parts that a caption names. A run trained on anything else is
scored all the same: by what it draws for these captions.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from stackgan_keras import images
from stackgan_keras.command_line import Parser, quietly, run
from stackgan_keras.config import Folders
from stackgan_keras.errors import InputError
from stackgan_keras.files import atomic_write

BIRDS = {"count": 600, "classes": 60, "test_classes": 40, "embedding_dim": 1}  # 400 are of the 40 test species
CAPTIONS = 4000  # that they have
SEED = 2017  # other birds than those of any preset
JUDGE = "judge.weights.h5"
ROWS = {"image": "{}", "stage1_image": "{}, its sketches"}  # what a run draws, and the name of the row for it
COLUMNS = ("pixels", "crown", "back", "belly", "wing", "tail", "beak", "all", "diversity")


def main() -> None:
    given = _arguments(sys.argv[1:])
    with quietly():  # only now, as it takes seconds: help and wrong arguments answer at once
        from stackgan_keras import datasets, drawn_birds, judge, sampler, weights

    folders = {name: sampler.find_run(given.output_dir, name) for name in given.run or ["drawn"]}
    models = {name: sampler.StackGAN.load(folder) for name, folder in folders.items()}
    homes = [given.output_dir / "weights", *sampler.shipped_homes()]
    judge_file = _find_judge([*folders.values(), *(home / "drawn" for home in homes)])
    weights.read_recipe(judge_file, "judge")
    reader = weights.load(judge_file)
    root = given.output_dir / "data" / f"evaluation_birds_{given.seed}"
    birds = datasets.read(drawn_birds.write(root, seed=given.seed, **BIRDS, progress=True), "test", text_dim=None)
    sentences = _spread(birds.captions, given.captions)
    asked = [judge.named_parts(sentence) for sentence in sentences]
    print(f"{len(sentences)} captions of {root}, {given.count} pictures of each, read by {judge_file}", flush=True)

    rows = {}
    for name, model in models.items():
        rows[name] = _score_run(model, sentences, asked, given, partial(judge.Scores, reader), name)
    sizes = sorted({row["pixels"] for mine in rows.values() for row in mine.values()}, reverse=True)
    known = {f"real drawn birds, {size}": _score_real(birds, size, given, judge, reader) for size in sizes}
    known["chance"] = {part: 1 / len(colours) for part, colours in judge.PARTS.items()} | {"all": judge.chance(asked)}
    print(table({kind: row for mine in (*rows.values(), known) for kind, row in mine.items()}))
    about = {"captions": len(asked), "pictures_of_each": given.count, "seed": given.seed, "judge": str(judge_file)}
    for name, mine in rows.items():
        path = Folders(given.output_dir, name).results / "evaluation.json"
        _write(path, {**about, "rows": {**mine, **known}})
        print(f"figures: {path}")


def table(rows: dict[str, dict[str, float]]) -> str:
    """Rows of figures by name as an aligned table: agreement in percent, "-" where a row has no figure."""
    head = ["", *COLUMNS]
    lines = [head, *([name, *(_shown(column, row.get(column)) for column in COLUMNS)] for name, row in rows.items())]
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    )


def _shown(column: str, value: float | None) -> str:
    if value is None or math.isnan(value):
        return "-"
    return {"pixels": f"{value}", "diversity": f"{value:.3f}"}.get(column, f"{value:.1%}")


def _score_run(model, sentences: list[str], asked: list[dict], given, new_scores, name: str) -> dict[str, dict]:
    """The rows of a run: of its pictures, and of the sketches that they start from. Nothing is kept but figures."""
    pictures, scores = model.pictures(sentences, given.count, given.seed), {}
    for parts in tqdm(asked, name, unit=" captions", leave=False):
        group = list(islice(pictures, given.count))
        for kind in group[0]:
            scores.setdefault(kind, new_scores()).add([parts] * given.count, np.stack([made[kind] for made in group]))
    return {row.format(name): scores[kind].row() for kind, row in ROWS.items() if kind in scores}


def _score_real(birds, size: int, given, judge, reader) -> dict[str, float]:
    """The row of real birds: each read for a caption of its own, diversity between those of one species."""
    scores = judge.Scores(reader)
    for species in np.unique(birds.class_ids):
        chosen = np.flatnonzero(birds.class_ids == species)[: given.count]
        pictures = [images.read(birds.paths[i], birds.boxes[i], images.load_size(size)) for i in chosen]
        asked = [judge.named_parts(birds.captions[i][k % len(birds.captions[i])]) for k, i in enumerate(chosen)]
        scores.add(asked, judge.crops(np.stack(pictures), size, given.seed))
    return scores.row()


def _spread(captions: tuple[tuple[str, ...], ...], count: int) -> list[str]:
    """`count` captions, evenly from all pictures, and from one picture to the next of another wording."""
    chosen = [k * len(captions) // count for k in range(count)]
    return [captions[i][k % len(captions[i])] for k, i in enumerate(chosen)]


# -- files and arguments ------------------------------------------------------------------------------------------


def _find_judge(folders: list[Path]) -> Path:
    """The judge of the first run that has one, else the shipped one: one judge reads all runs."""
    files = [folder / JUDGE for folder in folders]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        raise InputError(
            f"there is no judge at {' or '.join(map(str, dict.fromkeys(files)))}: train one with "
            f"python -m stackgan_keras.train_judge --run {folders[0].name} and the same --output_dir"
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
        description="Tells of runs whether their pictures have the colours that captions of drawn birds ask for.",
    )
    add = parser.add_argument
    add("--run", metavar="NAME", action="append", help="run to evaluate, may be given several times (default drawn)")
    add(
        "--output_dir", metavar="DIR", type=Path, default=Path(), help="parent of weights/, results/, data/ (default .)"
    )
    add("--captions", metavar="N", type=_whole(1, CAPTIONS), default=200, help="captions to draw (default 200)")
    add("--count", metavar="N", type=_whole(2, 100), default=4, help="pictures of each, of other noise (default 4)")
    add("--seed", metavar="N", type=_whole(0, 2**31 - 1), default=SEED, help=f"of birds and noise (default {SEED})")
    return parser.parse_args(arguments)


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        number = int(text) if text.isascii() and text.isdigit() else -1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} to {most}")
        return number

    return read


if __name__ == "__main__":
    run(main)
