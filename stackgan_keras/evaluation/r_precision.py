"""R-precision: does an image's own sentence fit it better than sentences of other classes? Pure functions of arrays.

Source: Xu et al., "AttnGAN", CVPR 2018, section 4, with one relevant sentence and 99 others. An image and a sentence
are scored as the encoders are trained: by the inner product of their embeddings (Reed et al., CVPR 2016).
"""

import numpy as np

from stackgan_keras.errors import InputError
from stackgan_keras.evaluation.checks import check_comparable, check_rows

OTHERS = 99  # sentences of other classes beside the own one
CHANCE = 1 / (OTHERS + 1)
BATCH = 64  # images at a time


def sentences_of_other_classes(
    class_ids: np.ndarray, candidate_class_ids: np.ndarray, *, count: int = OTHERS, seed: int = 0
) -> np.ndarray:
    """For each of N images `count` different sentences of other classes, as places (N, count) among M candidates.

    `class_ids` (N,) are the images' classes, `candidate_class_ids` (M,) those of the candidates. Raises `InputError`
    where there are fewer candidates than that.
    """
    rng, candidate_class_ids = np.random.default_rng(seed), np.asarray(candidate_class_ids)
    pools = {own: np.flatnonzero(candidate_class_ids != own) for own in np.unique(class_ids)}
    for own, pool in pools.items():
        if len(pool) < count:
            raise InputError(
                f"R-precision needs {count} sentences of other classes, but beside class {own} there are {len(pool)}: "
                "give more captions of more classes"
            )
    chosen = [rng.choice(pools[own], count, replace=False) for own in class_ids]
    return np.array(chosen, np.int64).reshape(-1, count)


def r_precision(images: np.ndarray, sentences: np.ndarray, candidates: np.ndarray, chosen: np.ndarray) -> float:
    """The share of images, 0 to 1, that fit their own sentence better than every one `chosen` from the candidates.

    `images` and `sentences` are (N, D) embeddings by the run's image and text encoders, `candidates` (M, D) by the
    same text encoder, `chosen` (N, others) places among them. A tie is a miss: embeddings that are all alike score 0.
    Raises `InputError` for NaN, other shapes, and no images.
    """
    images = check_rows(images, "embeddings of images")
    sentences, candidates = (check_rows(rows, "embeddings of sentences") for rows in (sentences, candidates))
    for rows in (sentences, candidates):
        check_comparable(images.shape[1], rows.shape[1])
    if not len(images) == len(sentences) == len(chosen):
        raise InputError(
            f"R-precision of {len(images)} images, {len(sentences)} sentences and others for {len(chosen)}: "
            "give one sentence, and a row of others, for each image"
        )
    hits = 0
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        texts = np.concatenate([sentences[part, None], candidates[chosen[part]]], axis=1)
        # all in the same way, without BLAS, so that equal sentences tie to the last bit
        scores = (texts.astype(np.float64) * images[part, None]).sum(axis=-1)
        hits += int((scores[:, 0] > scores[:, 1:].max(axis=1)).sum())
    return hits / len(images)
