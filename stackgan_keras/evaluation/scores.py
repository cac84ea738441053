"""Scores of runs on a data set's captions, and of its real pictures beside them, as rows of one table."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from stackgan_keras.data.published import Dataset
from stackgan_keras.evaluation import attributes, r_precision
from stackgan_keras.evaluation.diversity import diversity
from stackgan_keras.evaluation.frechet import Gaussian, Moments, frechet_distance
from stackgan_keras.evaluation.inception_score import PARTS, inception_score
from stackgan_keras.evaluation.kernel_distance import kid
from stackgan_keras.evaluation.readings import Readers, batched, framed, joined, read_real
from stackgan_keras.models import text_encoder
from stackgan_keras.training.text import Encoders

METRICS = ("fid", "kid", "inception_score", "r_precision", "diversity", "attributes")
ROWS = {"image": "{}", "stage1_image": "{}, Stage I"}  # what a run generates, and the name of the row for it
PAIRS = 100  # of pictures whose difference is the diversity (Odena et al. 2017)
CANDIDATES = 2000  # captions at most, of which those of other classes are drawn
COLUMNS = {  # of the table: the figure, how it is shown, and the figure that is its deviation
    "pixels": ("pixels", "{:d}", None),
    "pictures": ("pictures", "{:d}", None),
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
    metrics: frozenset[str]  # of `METRICS`
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
            differences = self._differences(run)
            for output, (size, said) in self._read_run(run).items():
                if size not in real:
                    real[size] = self._read_real(self.dataset, size, judge)
                row = {"pixels": size, **self._figures(said, self.asked, real[size], run.encoders)}
                rows[ROWS[output].format(run.name)] = row | differences.get(output, {})
        own = [(i, i % len(captions) if captions else 0) for i, captions in enumerate(self.dataset.captions)]
        for size in sorted(real, reverse=True):
            compared = None if self.others is None else self._read_real(self.others, size, None)
            row = {"pixels": size, **self._figures(real[size], own, compared, judge)}
            rows[f"real pictures, {size}"] = row | self._real_differences(size)
        doubts = [fitted for fitted in self.fitted if fitted.doubt()]
        if doubts:
            self.note(min(doubts, key=lambda fitted: fitted.count).doubt())
        return rows | {"chance": self._chance()}

    def embeddings(self, run: Run) -> np.ndarray:
        """The embeddings (N, text_dim) of what is asked: by the run's text encoder, or else those that the data has."""
        if run.model.encoder is None:
            return np.stack([self.dataset.embeddings_of(i)[j] for i, j in self.asked])
        return text_encoder.embed(run.model.encoder, self._sentences(self.asked), progress=True)

    def _sentences(self, asked: list[tuple[int, int]]) -> list[str]:
        return [self.dataset.captions[i][j] for i, j in asked]

    def _read_run(self, run: Run) -> dict[str, tuple[int, dict]]:
        """Of each output its size and what is read in it. No picture is kept."""
        readers = replace(self.readers, encoders=run.encoders)
        pictures = tqdm(
            run.model.pictures(self.embeddings(run), 1, self.seed),
            run.name,
            len(self.asked),
            unit=" pictures",
            leave=False,
        )
        made, sizes = {}, {}
        for batch in batched(pictures):
            for output in batch[0]:
                group = np.stack([picture[output] for picture in batch])
                made.setdefault(output, []).append(readers.read(group))
                sizes[output] = group.shape[1]
        return {output: (sizes[output], joined(made[output])) for output in ROWS if output in made}

    def _read_real(self, dataset: Dataset, size: int, encoders: Encoders | None) -> dict:
        readers = replace(self.readers, encoders=encoders)
        if dataset is not self.dataset:
            readers = Readers(readers.extractor)  # they are only there to be compared with
        return read_real(readers, dataset, size, self.seed, self.cache)

    def _figures(self, said: dict, asked: list, compared: dict | None, encoders: Encoders | None) -> dict[str, float]:
        """All figures of pictures that depend on what was read in each, in what it was `asked`."""
        row = {"pictures": len(asked), **self._distances(said, compared)}
        if "inception_score" in self.metrics and "probabilities" in said:
            if len(asked) >= PARTS:
                row["inception_score"], row["inception_score_deviation"] = inception_score(said["probabilities"])
            else:
                self.note(f"an Inception Score needs {PARTS} pictures or more, not {len(asked)}")
        if "r_precision" in self.metrics and encoders is not None:
            row["r_precision"] = self._r_precision(said["embeddings"], asked, encoders)
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
            reference = _fitted(features) if self.reference is None else self.reference
            mine = _fitted(said["features"])
            row["fid"] = mine.distance(reference)
            self.fitted.extend([mine, reference])
        if "kid" in self.metrics and features is not None:
            row["kid"], row["kid_deviation"] = kid(said["features"], features)
        return row

    def _r_precision(self, pictures: np.ndarray, asked: list, encoders: Encoders) -> float:
        among = spread_captions(self.dataset.captions, CANDIDATES)
        classes = self.dataset.class_ids
        chosen = r_precision.sentences_of_other_classes(
            classes[[i for i, _ in asked]], classes[[i for i, _ in among]], seed=self.seed
        )
        sentences, candidates = (text_encoder.embed(encoders.text, self._sentences(pairs)) for pairs in (asked, among))
        return r_precision.r_precision(pictures, sentences, candidates, chosen)

    def _differences(self, run: Run) -> dict[str, dict[str, float]]:
        """Of each output the mean difference of two pictures of a sentence, over so many of the sentences."""
        if "diversity" not in self.metrics:
            return {}
        asked = [self.asked[k * len(self.asked) // PAIRS] for k in range(PAIRS)]
        embeddings = replace(self, asked=list(dict.fromkeys(asked))).embeddings(run)
        differences: dict[str, list] = {}
        for pair in batched(run.model.pictures(embeddings, 2, self.seed), 2):
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


def spread_captions(captions: tuple[tuple[str, ...], ...], count: int | None = None) -> list[tuple[int, int]]:
    """(picture, its caption): all, or `count` evenly from all pictures, from one to the next of another wording.

    Pictures without captions are left out.
    """
    everything = [(i, j) for i, own in enumerate(captions) for j in range(len(own))]
    if count is None or count >= len(everything):
        return everything
    captioned = [i for i, own in enumerate(captions) if own]
    chosen = [captioned[k * len(captioned) // count] for k in range(count)]
    return [(i, k % len(captions[i])) for k, i in enumerate(chosen)]


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


def _fitted(features: np.ndarray) -> Gaussian:
    moments = Moments()
    moments.add(features)
    return moments.gaussian()
