"""Which metrics are there, what does each need, and how is it computed? The table `METRICS`, and what its entries read.

A new metric is a function from a `Sample` to figures, and an entry in the table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from stackgan_keras.evaluation import attributes, r_precision
from stackgan_keras.evaluation.diversity import diversity
from stackgan_keras.evaluation.evaluation_set import Caption, EvaluationSet
from stackgan_keras.evaluation.frechet import fit, frechet_distance
from stackgan_keras.evaluation.inception_score import PARTS, inception_score
from stackgan_keras.evaluation.kernel_distance import kid


@dataclass(frozen=True, eq=False)
class Sample:
    """N images of a run, or N real ones: what a row of the table measures."""

    evaluation_set: EvaluationSet
    captions: list[Caption]  # of each image
    outputs: dict[str, np.ndarray]  # of `features.Networks`, N rows each
    real: dict[str, np.ndarray]  # those of the real images to compare with; empty where there are none
    pairs: list[np.ndarray]  # (2, size, size, 3) uint8 each: two images of a sentence, or real ones of a class
    embeddings: np.ndarray | None  # (N, text_dim) of the captions
    embed: Callable[[list[str]], np.ndarray] | None  # by the text encoder that belongs to an image encoder, if any
    notes: list[str]  # why figures are missing
    doubts: list[tuple[int, str]]  # number of images, and why figures of so few say little


@dataclass(frozen=True)
class Metric:
    """An entry of the table. Its main figure has the entry's name, and any deviation the figure's and `_deviation`.

    It may need `extractor` (its features), `probabilities` (by the extractor), `independent` (another extractor),
    `encoders` (the run's), `classifier` (of attributes), without which it is left out; `pairs`; and `other_split`, with
    which real images are compared.
    """

    title: str  # in sentences
    needs: tuple[str, ...]
    compute: Callable[[Sample], dict[str, float]]  # figures by name
    columns: dict[str, tuple[str, str]]  # of the printed table: head -> (figure, its format)
    chance: Callable[[EvaluationSet], float] | None = None  # the main figure where images and captions are unrelated
    check: Callable[[EvaluationSet], object] | None = None  # raises `InputError` where the data do not suffice


def _kid(name: str, features: str, sample: Sample) -> dict[str, float]:
    if features not in sample.real:
        return {}
    mean, deviation = kid(sample.outputs[features], sample.real[features])
    return {name: mean, f"{name}_deviation": deviation}


def _fid(sample: Sample) -> dict[str, float]:
    reference = sample.evaluation_set.reference
    if reference is None:
        if "features" not in sample.real:
            return {}
        reference = fit(sample.real["features"])
    mine = fit(sample.outputs["features"])
    sample.doubts.extend((of.count, of.doubt()) for of in (mine, reference) if of.count is not None and of.doubt())
    return {"fid": mine.distance(reference)}


def _inception_score(sample: Sample) -> dict[str, float]:
    if len(sample.captions) < PARTS:
        sample.notes.append(f"an Inception Score needs {PARTS} images or more, not {len(sample.captions)}")
        return {}
    mean, deviation = inception_score(sample.outputs["probabilities"])
    return {"inception_score": mean, "inception_score_deviation": deviation}


def _r_precision(sample: Sample) -> dict[str, float]:
    if sample.embed is None or sample.embeddings is None:
        return {}
    among, chosen = sample.evaluation_set.candidates([image for image, _ in sample.captions])
    candidates = sample.embed(sample.evaluation_set.sentences(among))
    return {"r_precision": r_precision.r_precision(sample.outputs["embeddings"], sample.embeddings, candidates, chosen)}


def _diversity(sample: Sample) -> dict[str, float]:
    return {"diversity": float(np.mean([diversity(pair) for pair in sample.pairs]))} if sample.pairs else {}


def _attributes(sample: Sample) -> dict[str, float]:
    named = _named_parts(sample.evaluation_set, sample.captions)
    shares = attributes.accuracy(named, {part: sample.outputs[part] for part in attributes.PARTS})
    figures = {"attributes": shares.pop("all"), **shares}
    if (features := sample.real.get("attribute_features")) is not None:
        figures["attribute_frechet"] = frechet_distance(sample.outputs["attribute_features"], features)
    return figures


def _named_parts(evaluation_set: EvaluationSet, captions: list[Caption]) -> list[dict[str, str]]:
    return [attributes.named_parts(sentence) for sentence in evaluation_set.sentences(captions)]


METRICS = {
    "independent_kid": Metric(
        "KID by VGG16",
        ("independent", "other_split"),
        partial(_kid, "independent_kid", "independent_features"),
        {"KID, VGG16": ("independent_kid", "{:.3f}")},
    ),
    "fid": Metric("FID", ("extractor", "other_split"), _fid, {"FID": ("fid", "{:.2f}")}),
    "kid": Metric("KID", ("extractor", "other_split"), partial(_kid, "kid", "features"), {"KID": ("kid", "{:.4f}")}),
    "inception_score": Metric(
        "Inception Score", ("extractor", "probabilities"), _inception_score, {"IS": ("inception_score", "{:.2f}")}
    ),
    "r_precision": Metric(
        "R-precision",
        ("encoders",),
        _r_precision,
        {"R-precision": ("r_precision", "{:.1%}")},
        chance=lambda _: r_precision.CHANCE,
        check=EvaluationSet.candidates,
    ),
    "diversity": Metric("diversity", ("pairs",), _diversity, {"diversity": ("diversity", "{:.3f}")}),
    "attributes": Metric(
        "attribute accuracy",
        ("classifier",),
        _attributes,
        {"attributes": ("attributes", "{:.1%}"), "their FD": ("attribute_frechet", "{:.2f}")},
        chance=lambda of: attributes.chance(_named_parts(of, of.captions)),
    ),
}
