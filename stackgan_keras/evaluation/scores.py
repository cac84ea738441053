"""Scores of runs on captions of drawn birds, and of real birds beside them, as rows of one table."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from tqdm import tqdm

from stackgan_keras.data import images
from stackgan_keras.data.published import Dataset
from stackgan_keras.evaluation import attributes
from stackgan_keras.evaluation.diversity import diversity
from stackgan_keras.evaluation.frechet import frechet_distance

ROWS = {"image": "{}", "stage1_image": "{}, Stage I"}  # what a run generates, and the name of the row for it
COLUMNS = ("pixels", *attributes.PARTS, "all", "diversity", "frechet")


@dataclass
class Scores:
    """Figures of groups of pictures, each group of one sentence or species, as they come in."""

    reader: attributes.Reader
    asked: list[dict[str, str]] = field(default_factory=list)
    seen: list[dict] = field(default_factory=list)
    features: list[np.ndarray] = field(default_factory=list)
    diversities: list[float] = field(default_factory=list)
    pixels: int = 0

    def add(self, asked: list[dict[str, str]], pictures: np.ndarray) -> None:
        """Counts a group of two pictures or more (N, size, size, 3) uint8, and what each was `asked` to show."""
        colours, features = self.reader(pictures)
        self.asked += asked
        self.seen.append(colours)
        self.features.append(features)
        self.diversities.append(diversity(pictures))
        self.pixels = pictures.shape[1]

    def row(self, real: "Scores | None" = None) -> dict[str, float]:
        """Attribute accuracy, diversity, the pictures' size, and the Fréchet distance to `real` ones."""
        seen = {part: np.concatenate([group[part] for group in self.seen]) for part in attributes.PARTS}
        row = {"pixels": self.pixels, **attributes.accuracy(self.asked, seen)}
        row["diversity"] = float(np.mean(self.diversities))
        if real is not None:
            row["frechet"] = frechet_distance(np.concatenate(self.features), np.concatenate(real.features))
        return row


@dataclass(frozen=True)
class Evaluation:
    """What runs are asked and compared with: captions of drawn birds, and these birds' pictures."""

    reader: attributes.Reader
    birds: Dataset
    sentences: list[str]
    count: int  # pictures of each sentence
    seed: int

    def rows(self, runs: dict) -> dict[str, dict[str, float]]:
        """The table's rows: of each run (name: `StackGAN`), of real birds in every size, and of chance."""
        scores = {name: self._score_run(model, name) for name, model in runs.items()}
        sizes = sorted({mine.pixels for of_run in scores.values() for mine in of_run.values()}, reverse=True)
        real = {size: self._score_real(size) for size in sizes}
        rows = {
            ROWS[output].format(name): mine.row(real[mine.pixels])
            for name, of_run in scores.items()
            for output, mine in of_run.items()
        }
        rows |= {f"real drawn birds, {size}": mine.row() for size, mine in real.items()}
        asked = [attributes.named_parts(sentence) for sentence in self.sentences]
        chance = {part: 1 / len(colours) for part, colours in attributes.PARTS.items()}
        return rows | {"chance": chance | {"all": attributes.chance(asked)}}

    def _score_run(self, model, name: str) -> dict[str, Scores]:
        """By output. No picture is kept."""
        pictures, scores = model.pictures(self.sentences, self.count, self.seed), {}
        for sentence in tqdm(self.sentences, name, unit=" captions", leave=False):
            asked = [attributes.named_parts(sentence)] * self.count
            for output, group in _stacked(islice(pictures, self.count)).items():
                scores.setdefault(output, Scores(self.reader)).add(asked, group)
        return {output: scores[output] for output in ROWS if output in scores}

    def _score_real(self, size: int) -> Scores:
        """Each real bird read for a caption of its own; diversity between those of one species."""
        scores, birds = Scores(self.reader), self.birds
        for species in np.unique(birds.class_ids):
            chosen = np.flatnonzero(birds.class_ids == species)
            boxes = [None if birds.boxes is None else birds.boxes[i] for i in chosen]
            pictures = [
                images.read(birds.paths[i], box, images.load_size(size)) for i, box in zip(chosen, boxes, strict=True)
            ]
            captions = [birds.captions[i][k % len(birds.captions[i])] for k, i in enumerate(chosen)]
            asked = [attributes.named_parts(caption) for caption in captions]
            scores.add(asked, attributes.crops(np.stack(pictures), size, self.seed))
        return scores


def spread_captions(captions: tuple[tuple[str, ...], ...], count: int) -> list[str]:
    """`count` captions, evenly from all pictures, and from one picture to the next of another wording."""
    chosen = [k * len(captions) // count for k in range(count)]
    return [captions[i][k % len(captions[i])] for k, i in enumerate(chosen)]


def table(rows: dict[str, dict[str, float]]) -> str:
    """Rows of figures by name as an aligned table: accuracy in percent, "-" where a row has no figure."""
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
    return {"pixels": f"{value}", "diversity": f"{value:.3f}", "frechet": f"{value:.2f}"}.get(column, f"{value:.1%}")


def _stacked(pictures: Iterator[dict]) -> dict[str, np.ndarray]:
    group = list(pictures)
    return {output: np.stack([made[output] for made in group]) for output in group[0]}
