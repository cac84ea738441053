"""Scores of runs on a data set's captions, and of its real pictures beside them, as rows of one table."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from stackgan_keras.data.published import Dataset
from stackgan_keras.evaluation import attributes, r_precision
from stackgan_keras.evaluation.diversity import diversity
from stackgan_keras.evaluation.frechet import Gaussian, fit, frechet_distance
from stackgan_keras.evaluation.inception_score import PARTS, inception_score
from stackgan_keras.evaluation.kernel_distance import kid
from stackgan_keras.evaluation.readings import Readers, batched, framed, joined, read_real
from stackgan_keras.models import text_encoder
from stackgan_keras.training.encoders import Encoders

ROWS = {  # what a run generates, and the name of the row for it
    "image": "{}",
    "stage1_image": "{}, Stage I",
    "enlarged": "{}, Stage I enlarged",  # bicubically, to the size of Stage II
}
PAIRS = 100  # of pictures whose difference is the diversity (Odena et al. 2017)
CANDIDATES = 2000  # captions at most, of which those of other classes are drawn
COLUMNS = {  # of the table: the figure, how it is shown, and the figure that is its deviation
    "pixels": ("pixels", "{:d}", None),
    "pictures": ("pictures", "{:d}", None),
    "KID, VGG16": ("independent_kid", "{:.3f}", "independent_kid_deviation"),
    "FID": ("fid", "{:.2f}", None),
    "KID": ("kid", "{:.4f}", "kid_deviation"),
    "IS": ("inception_score", "{:.2f}", "inception_score_deviation"),
    "R-precision": ("r_precision", "{:.1%}", None),
    "diversity": ("diversity", "{:.3f}", None),
    "attributes": ("attributes", "{:.1%}", None),
    "their FD": ("attribute_frechet", "{:.2f}", None),
}


@dataclass(frozen=True, eq=False)
class Run:
    """A run to be scored: its `StackGAN`, and its encoders if it has both."""

    name: str
    model: Any
    encoders: Encoders | None = None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What runs are asked and compared with: captions of a data set, and its pictures."""

    readers: Readers  # without encoders, which are each run's own
    metrics: frozenset[str]  # independent_kid, fid, kid, inception_score, r_precision, diversity, attributes
    dataset: Dataset
    others: Dataset | None  # other real pictures, with which those of the data set are compared
    asked: list[tuple[int, int]]  # (picture, its caption) of each sentence
    seed: int
    cache: Path  # folder of what the extractor says of real pictures
    reference: Gaussian | None = None  # statistics in place of those of the pictures above
    notes: list[str] = field(default_factory=list)  # why figures are missing, or to be doubted
    fitted: list[Gaussian] = field(default_factory=list)  # whose distances were taken

    def rows(self, runs: list[Run]) -> dict[str, dict[str, float]]:
        """The table's rows by name: of each run, of real pictures in every size, and of chance.

        R-precision of a run is by its own encoders, that of real pictures by those of the first run that has any.
        """
        rows, real = {}, {}
        judge = next((run.encoders for run in runs if run.encoders is not None), None)
        for run in runs:
            embeddings = self.embeddings(run)
            differences = self._differences(run, embeddings)
            for output, (size, said) in self._read_run(run, embeddings).items():
                if size not in real:
                    real[size] = self._read_real(self.dataset, size, judge)
                figures = self._figures(said, self.asked, real[size], run.encoders, embeddings)
                row = {"pixels": size, **figures}
                rows[ROWS[output].format(run.name)] = row | differences.get(output, {})
        own = [(i, i % len(captions) if captions else 0) for i, captions in enumerate(self.dataset.captions)]
        for size in sorted(real, reverse=True):
            compared = None if self.others is None else self._read_real(self.others, size, None)
            row = {"pixels": size, **self._figures(real[size], own, compared, judge)}
            rows[f"real pictures, {size}"] = row | self._real_differences(size)
        doubts = [fitted for fitted in self.fitted if fitted.doubt()]
        if doubts:
            self.note(min(doubts, key=lambda fitted: fitted.count).doubt())
        chance = self._chance() if any("r_precision" in row or "attributes" in row for row in rows.values()) else {}
        return rows | ({"by chance": chance} if chance else {})  # no run is called so, as names have no spaces

    def embeddings(self, run: Run) -> np.ndarray:
        """The embeddings (N, text_dim) of what is asked: by the run's text encoder, or else those that the data has."""
        if run.model.encoder is None:
            return np.stack([self.dataset.embeddings_of(i)[j] for i, j in self.asked])
        return text_encoder.embed(run.model.encoder, self._sentences(self.asked), progress=True)

    def _sentences(self, asked: list[tuple[int, int]]) -> list[str]:
        return [self.dataset.captions[i][j] for i, j in asked]

    def _read_run(self, run: Run, embeddings: np.ndarray) -> dict[str, tuple[int, dict]]:
        """Of each output its size and what is read in it. No picture is kept."""
        readers = replace(self.readers, encoders=run.encoders)
        outputs = run.model.generator.output
        sizes = {output: outputs[output].shape[1] for output in ROWS if output in outputs}
        if sizes.get("stage1_image", sizes["image"]) < sizes["image"]:
            sizes["enlarged"] = sizes["image"]
        if readers.idle:
            return {output: (size, {}) for output, size in sizes.items()}
        pictures = run.model.pictures(embeddings, 1, self.seed)
        made: dict[str, list] = {output: [] for output in sizes}
        for batch in batched(tqdm(pictures, run.name, len(embeddings), unit=" pictures", leave=False)):
            for output, said in made.items():
                said.append(readers.read(np.stack([_output(picture, output) for picture in batch])))
        return {output: (size, joined(made.pop(output))) for output, size in sizes.items()}

    def _read_real(self, dataset: Dataset, size: int, encoders: Encoders | None) -> dict:
        readers = replace(self.readers, encoders=encoders)
        if dataset is not self.dataset:
            readers = Readers(readers.extractor, readers.independent)  # they are only there to be compared with
        return read_real(readers, dataset, size, self.seed, self.cache)

    def _figures(
        self,
        said: dict,
        asked: list,
        compared: dict | None,
        encoders: Encoders | None,
        sentences: np.ndarray | None = None,
    ) -> dict[str, float]:
        """All figures of pictures that depend on what was read in each, which was `asked`.

        `sentences` is the embeddings of what was asked, where they are known.
        """
        row = {"pictures": len(asked), **self._distances(said, compared)} if said else {}
        if "inception_score" in self.metrics and "probabilities" in said:
            if len(asked) >= PARTS:
                row["inception_score"], row["inception_score_deviation"] = inception_score(said["probabilities"])
            else:
                self.note(f"an Inception Score needs {PARTS} pictures or more, not {len(asked)}")
        if "r_precision" in self.metrics and encoders is not None:
            if sentences is None:
                sentences = text_encoder.embed(encoders.text, self._sentences(asked), progress=True)
            row["r_precision"] = self._r_precision(said["embeddings"], asked, sentences, encoders)
        if "attributes" in self.metrics:
            named = [attributes.named_parts(sentence) for sentence in self._sentences(asked)]
            shares = attributes.accuracy(named, {part: said[part] for part in attributes.PARTS})
            row |= {"attributes": shares.pop("all"), **shares}
            if compared is not None and "attribute_features" in compared:
                row["attribute_frechet"] = frechet_distance(said["attribute_features"], compared["attribute_features"])
        return row

    def _distances(self, said: dict, compared: dict | None) -> dict[str, float]:
        row = {}
        features = (compared or {}).get("features")
        if "fid" in self.metrics and (features is not None or self.reference is not None):
            reference = fit(features) if self.reference is None else self.reference
            mine = fit(said["features"])
            row["fid"] = mine.distance(reference)
            self.fitted.extend([mine, reference])
        if "kid" in self.metrics and features is not None:
            row["kid"], row["kid_deviation"] = kid(said["features"], features)
        independent = (compared or {}).get("independent_features")
        if independent is not None:
            row["independent_kid"], row["independent_kid_deviation"] = kid(said["independent_features"], independent)
        return row

    def _r_precision(self, pictures: np.ndarray, asked: list, sentences: np.ndarray, encoders: Encoders) -> float:
        among, chosen = others_of(self.dataset, [i for i, _ in asked], self.seed)
        candidates = text_encoder.embed(encoders.text, self._sentences(among))
        return r_precision.r_precision(pictures, sentences, candidates, chosen)

    def _differences(self, run: Run, embeddings: np.ndarray) -> dict[str, dict[str, float]]:
        """Of each output the mean difference of two pictures of a sentence, over so many of the sentences."""
        if "diversity" not in self.metrics:
            return {}
        places = np.unique(np.arange(PAIRS) * len(embeddings) // PAIRS)
        differences: dict[str, list] = {}
        for pair in batched(run.model.pictures(embeddings[places], 2, self.seed), 2):
            for output in pair[0]:
                differences.setdefault(output, []).append(diversity(np.stack([picture[output] for picture in pair])))
        return {output: {"diversity": float(np.mean(values))} for output, values in differences.items()}

    def _real_differences(self, size: int) -> dict[str, float]:
        """The mean difference of two pictures of a class."""
        if "diversity" not in self.metrics:
            return {}
        rng, ids = np.random.default_rng(self.seed), self.dataset.class_ids
        members = [np.flatnonzero(ids == own) for own in np.unique(ids)]
        members = [pictures for pictures in members if len(pictures) > 1]
        if not members:
            return {}
        pairs = [rng.choice(members[rng.integers(len(members))], 2, replace=False) for _ in range(PAIRS)]
        pictures = framed(self.dataset, size, self.seed, np.concatenate(pairs))
        return {"diversity": float(np.mean([diversity(np.stack(pair)) for pair in batched(pictures, 2)]))}

    def _chance(self) -> dict[str, float]:
        row = {"r_precision": r_precision.CHANCE} if "r_precision" in self.metrics else {}
        if "attributes" in self.metrics:
            named = [attributes.named_parts(sentence) for sentence in self._sentences(self.asked)]
            row["attributes"] = attributes.chance(named)
        return row

    def note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)


def _output(picture: dict[str, np.ndarray], name: str) -> np.ndarray:
    """One of the images of a run's picture, uint8."""
    if name != "enlarged":
        return picture[name]
    size = picture["image"].shape[1::-1]
    return np.asarray(Image.fromarray(picture["stage1_image"]).resize(size, Image.Resampling.BICUBIC))


def spread_captions(captions: tuple[tuple[str, ...], ...], count: int | None = None) -> list[tuple[int, int]]:
    """(picture, its caption): all, or `count` of them, evenly spread and in turn of another wording; each once."""
    everything = [(i, j) for i, own in enumerate(captions) for j in range(len(own))]
    if count is None or count >= len(everything):
        return everything
    chosen = [everything[k * len(everything) // count][0] for k in range(count)]
    return [(i, k % len(captions[i])) for k, i in enumerate(chosen)]


def others_of(dataset: Dataset, pictures: list[int], seed: int) -> tuple[list[tuple[int, int]], np.ndarray]:
    """Captions as candidates (picture, its caption), and which of them are beside each of N pictures' own, (N, 99).

    Raises `InputError` where other classes have too few captions.
    """
    among, classes = spread_captions(dataset.captions, CANDIDATES), dataset.class_ids
    of_candidates = classes[[i for i, _ in among]]
    return among, r_precision.sentences_of_other_classes(classes[pictures], of_candidates, seed=seed)


def table(rows: dict[str, dict[str, float]]) -> str:
    """Rows of figures by name as an aligned table: shares in percent, "-" where a row has no figure.

    Columns without any figure are left out.
    """
    columns = {head: of for head, of in COLUMNS.items() if any(of[0] in row for row in rows.values())}
    lines = [["", *columns], *([name, *(_shown(row, *of) for of in columns.values())] for name, row in rows.items())]
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    )


def _shown(row: dict[str, float], figure: str, form: str, deviation: str | None) -> str:
    value = row.get(figure)
    if value is None or math.isnan(value):
        return "-"
    return form.format(value) + (f" ± {form.format(row[deviation])}" if deviation else "")
