"""The scale of embeddings, and how much each of their components weighs, once their encoders are trained."""

import keras
import numpy as np

from stackgan_keras.data.published import Dataset
from stackgan_keras.models import text_encoder
from stackgan_keras.training.encoders import Encoders


def scale_embeddings(encoders: Encoders, dataset: Dataset, deviation: float) -> None:
    """Scales embeddings so that their entries have this standard deviation over the dataset; no score changes."""
    factor = deviation / _sample(encoders.text, dataset, 1000).std()
    for model, scale in ((encoders.text, factor), (encoders.image, 1 / factor)):
        project = model.get_layer("project")
        project.set_weights([scale * weight for weight in project.get_weights()])


def whiten(encoders: Encoders, dataset: Dataset) -> None:
    """Turns the embeddings of sentences to their principal components, and these to nearly the same deviation.

    What the components with the largest deviation tell a generator learns long before the others, and some hold what
    a sentence is about: which of two colours is the crown's, which the back's. A component of deviation s gets
    s / (s + 0.05 d) d, where d is that of all together, so that what hardly ever differs is not blown up. (Kessy,
    Lewin and Strimmer, "Optimal Whitening and Decorrelation", The American Statistician, 2018: PCA whitening.)
    The image encoder is turned the other way, so that an image still ranks sentences as before: by then it is all
    that their scores are good for, as each image's are moved by the same number.
    """
    embeddings = _sample(encoders.text, dataset, 10_000).astype(np.float64)
    mean, (variances, components) = embeddings.mean(axis=0), np.linalg.eigh(np.cov(embeddings, rowvar=False))
    deviations = np.sqrt(np.maximum(variances, 0))
    overall = np.sqrt(np.mean(deviations**2))
    gains = overall / (deviations + 0.05 * overall)
    project = encoders.text.get_layer("project")
    kernel, bias = project.get_weights()
    project.set_weights([kernel @ (components * gains), (bias - mean) @ (components * gains)])
    project = encoders.image.get_layer("project")
    project.set_weights([weight @ (components / gains) for weight in project.get_weights()])


def _sample(encoder: keras.Model, dataset: Dataset, images: int) -> np.ndarray:
    """The embeddings of one caption each of about so many images, evenly spread."""
    captions = [captions[0] for captions in dataset.captions[:: max(1, len(dataset) // images)]]
    return text_encoder.embed(encoder, captions)
