"""Which rows has the table of scores, and which images does each row measure?"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from stackgan_keras.data import grids
from stackgan_keras.data.published import Dataset
from stackgan_keras.evaluation.evaluation_set import Caption, EvaluationSet
from stackgan_keras.evaluation.features import AnyEncoders, Networks, batched, joined
from stackgan_keras.evaluation.metrics import METRICS, Metric, Sample
from stackgan_keras.evaluation.real_images import framed, real_outputs
from stackgan_keras.models.generators import images_of
from stackgan_keras.training.damsm_encoders import DamsmEncoders, unit

ENLARGED = "enlarged"  # the Stage-I image, bicubically, to the size of Stage II
PAIRS = 100  # of images whose difference is the diversity (Odena et al. 2017)


@dataclass(frozen=True, eq=False)
class Run:
    """A run to be scored: its `StackGAN`, and its encoders if it has both."""

    name: str
    model: Any
    encoders: AnyEncoders | None = None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The metrics that score runs, and what they take."""

    networks: Networks  # without encoders, which are each run's own
    metrics: frozenset[str]  # of `METRICS`
    evaluation_set: EvaluationSet
    cache: Path  # folder of what extractors give for real images
    notes: list[str] = field(default_factory=list)  # why figures are missing, or to be doubted
    doubts: list[tuple[int, str]] = field(default_factory=list)  # as in `Sample`

    def rows(self, runs: list[Run]) -> dict[str, dict[str, float]]:
        """The table's rows by name: of each run, of real images in every size, and of chance.

        Metrics by a run's own encoders are, for real images, by those of the first run that has any.
        """
        rows, real, data = {}, {}, self.evaluation_set
        encoders = next((run.encoders for run in runs if run.encoders is not None), None)
        for run in runs:
            read = self.read(run, data.captions)
            pairs, texts = self._pairs(run, read), {"captions": data.captions, "embeddings": read.get("embedding")}
            if isinstance(run.encoders, DamsmEncoders):
                texts["embeddings"] = unit(read["embedding"])
            for output, (size, outputs) in self._run_outputs(run, read).items():
                if size not in real:
                    real[size] = self._real_outputs(data.real, size, encoders)
                compared = {"outputs": outputs, "real": real[size], "pairs": pairs.get(output, [])}
                rows[_row_name(run, output)] = self._row(size, run.encoders, **texts, **compared)
        own = [(i, i % len(captions) if (captions := data.dataset.captions[i]) else 0) for i in data.read]
        texts = {"captions": own, "embeddings": None}
        if encoders is not None:
            texts["embeddings"] = encoders.embed_sentences(data.sentences(own))
        for size in sorted(real, reverse=True):
            others = {} if data.real_others is None else self._real_outputs(data.real_others, size, None)
            compared = {"outputs": real[size], "real": others, "pairs": self._real_pairs(size)}
            rows[f"real images, {size}"] = self._row(size, encoders, **texts, **compared)
        if self.doubts:
            self.notes.append(min(self.doubts)[1])
        self.notes[:] = dict.fromkeys(self.notes)
        figures = {name for row in rows.values() for name in row}
        chance = {name: of.chance(data) for name, of in self._metrics() if of.chance and name in figures}
        return rows | ({"by chance": chance} if chance else {})  # no run is called so, as names have no spaces

    def read(self, run: Run, captions: list[Caption]) -> dict[str, np.ndarray]:
        """What the run's generator takes of captions: by its text encoder, or else the embeddings that the data has."""
        if run.model.encoder is None:
            return {"embedding": np.stack([self.evaluation_set.dataset.embeddings_of(i)[j] for i, j in captions])}
        return run.model.reader(self.evaluation_set.sentences(captions), progress=True)

    def _metrics(self) -> list[tuple[str, Metric]]:
        """Those of the evaluation, in the table's order."""
        return [(name, metric) for name, metric in METRICS.items() if name in self.metrics]

    def _row(self, size: int, encoders: AnyEncoders | None, **given: Any) -> dict[str, float]:
        """All figures of images, `given` as `Sample` takes them."""
        embed = None if encoders is None else encoders.embed_sentences
        sample = Sample(self.evaluation_set, embed=embed, notes=self.notes, doubts=self.doubts, **given)
        row: dict[str, float] = {"pixels": size}
        if sample.outputs:
            row["images"] = len(sample.captions)
        for _, metric in self._metrics():
            row |= metric.compute(sample)
        return row

    def _run_outputs(self, run: Run, read: dict[str, np.ndarray]) -> dict[str, tuple[int, dict[str, np.ndarray]]]:
        """Of each of a run's images the size, and the outputs of the networks. No image is kept."""
        networks, made_by_run = replace(self.networks, encoders=run.encoders), images_of(run.model.generator)
        sizes = dict(reversed(made_by_run.items()))  # the final image first
        if "stage1_image" in sizes and sizes["stage1_image"] < sizes["image"]:
            sizes[ENLARGED] = sizes["image"]
        if not networks:
            return {output: (size, {}) for output, size in sizes.items()}
        made: dict[str, list] = {output: [] for output in sizes}
        images = drawn(run, read, 1, self.evaluation_set.seed)
        number = len(self.evaluation_set.captions)
        for batch in batched(tqdm(images, run.name, number, unit=" images", leave=False)):
            for output, parts in made.items():
                parts.append(networks.outputs(np.stack([_image(stages, output) for stages in batch])))
        return {output: (size, joined(made.pop(output))) for output, size in sizes.items()}

    def _real_outputs(self, dataset: Dataset, size: int, encoders: AnyEncoders | None) -> dict[str, np.ndarray]:
        networks = replace(self.networks, encoders=encoders)
        if dataset is not self.evaluation_set.real:  # only there to be compared with
            networks = Networks(networks.extractor, networks.independent)
        return real_outputs(networks, dataset, size, self.evaluation_set.seed, self.cache)

    def _pairs(self, run: Run, read: dict[str, np.ndarray]) -> dict[str, list[np.ndarray]]:
        """For each of a run's images, where a metric needs them, pairs (2, size, size, 3) of so many sentences."""
        if not self._needs_pairs:
            return {}
        places = np.unique(np.arange(PAIRS) * len(read["embedding"]) // PAIRS)
        chosen = {name: values[places] for name, values in read.items()}
        pairs: dict[str, list] = {}
        for pair in batched(drawn(run, chosen, 2, self.evaluation_set.seed), 2):
            for output in pair[0]:
                pairs.setdefault(output, []).append(np.stack([stages[output] for stages in pair]))
        return pairs

    def _real_pairs(self, size: int) -> list[np.ndarray]:
        """Pairs (2, size, size, 3) of real images of a class, where a metric needs them and a class has two."""
        rng, data = np.random.default_rng(self.evaluation_set.seed), self.evaluation_set
        members = [np.flatnonzero(data.dataset.class_ids == own) for own in np.unique(data.dataset.class_ids)]
        members = [images for images in members if len(images) > 1]
        if not members or not self._needs_pairs:
            return []
        number = min(PAIRS, len(data.captions))
        chosen = [rng.choice(members[rng.integers(len(members))], 2, replace=False) for _ in range(number)]
        images = framed(data.dataset, size, data.seed, np.concatenate(chosen))
        return [np.stack(pair) for pair in batched(images, 2)]

    @property
    def _needs_pairs(self) -> bool:
        return any("pairs" in metric.needs for _, metric in self._metrics())


def drawn(run: Run, read: dict[str, np.ndarray], count: int, seed: int) -> Iterator[dict[str, np.ndarray]]:
    """A run's images of what its generator takes of sentences; of one that takes nothing, as many as there are rows."""
    return run.model.images(read if run.model.takes else [""] * len(read["embedding"]), count, seed)


def _row_name(run: Run, output: str) -> str:
    """The name of the row of one of a run's images: the run's alone for the final one."""
    images = images_of(run.model.generator)
    titles = grids.titles_of(images) | {[*images][-1]: "", ENLARGED: "Stage I enlarged"}
    return f"{run.name}, {titles[output]}".rstrip(", ")


def _image(images: dict[str, np.ndarray], name: str) -> np.ndarray:
    """One of the images that a run generates together, uint8."""
    if name != ENLARGED:
        return images[name]
    size = images["image"].shape[1::-1]
    return np.asarray(Image.fromarray(images["stage1_image"]).resize(size, Image.Resampling.BICUBIC))
