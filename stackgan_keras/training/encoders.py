"""A text and an image encoder that are trained together: loaded, built, and one train step of both.

Source: the symmetric joint embedding of Reed et al., "Learning Deep Representations of Fine-grained Visual
Descriptions", CVPR 2016, in mini-batches as in their ICML 2016 release.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from stackgan_keras.config import Settings
from stackgan_keras.data import rgb
from stackgan_keras.errors import InputError
from stackgan_keras.models import text_encoder, weights
from stackgan_keras.models.runs import IMAGE_ENCODER, TEXT_ENCODER
from stackgan_keras.models.weights import ModelConfig
from stackgan_keras.porting import extractors
from stackgan_keras.porting.extractors import Extractor
from stackgan_keras.training import losses

LOSSES = {"hinge": losses.joint_embedding, "cross_entropy": losses.contrastive}


@dataclass(frozen=True, eq=False)
class Encoders:
    """A text encoder and an image encoder whose outputs, both (B, text_dim), score a pair by their inner product.

    With an `extractor` the image encoder takes its features, else images.
    """

    text: keras.Model
    image: keras.Model
    extractor: Extractor | None = None

    @classmethod
    def load(
        cls,
        folder: Path,
        extractors_folder: Path,
        text: keras.Model | None = None,
        extractor: Extractor | None = None,
    ) -> "Encoders":
        """The encoders of a run's folder of weights, with the extractor that its image encoder reads by.

        The run's text encoder, and an extractor, are taken from the caller if they are loaded already; an extractor
        of another name is left, and the right one found in `extractors_folder`. Raises `InputError` where one is
        missing or they do not belong together.
        """
        for name in (TEXT_ENCODER, IMAGE_ENCODER):
            if not (folder / name).is_file():
                raise InputError(f"{folder} holds no {name}: train it with train_text, or copy it there")
        text = text or weights.load(folder / TEXT_ENCODER)
        network = weights.read_config(folder / IMAGE_ENCODER, "image_encoder").keywords.get("network", "small")
        image = weights.load(folder / IMAGE_ENCODER)
        if network == "small":
            extractor = None
        else:
            if extractor is None or extractor.name != network:
                extractor = extractors.load(network, extractors_folder)
            features = extractor.model.output["features"].shape[-1]
            if features != image.input_shape[-1]:
                raise InputError(
                    f"{folder / IMAGE_ENCODER} reads {image.input_shape[-1]} features but {network} gives {features}: "
                    "put the extractor there with which it was trained"
                )
        if image.output_shape != text.output_shape:
            raise InputError(
                f"{folder} holds encoders of {text.output_shape[-1]} and {image.output_shape[-1]} dimensions: "
                "take both from one training of train_text"
            )
        return cls(text, image, extractor)

    def image_inputs(self, images: np.ndarray) -> np.ndarray:
        """Images (N, s, s, 3) uint8, or features (N, D) of them: what `embed_inputs` reads."""
        return images if self.extractor is None else self.extractor(images)[0]

    def embed_sentences(self, sentences: Sequence[str]) -> np.ndarray:
        """The embeddings (N, text_dim) of sentences."""
        return text_encoder.embed(self.text, sentences)

    def embed_inputs(self, inputs: np.ndarray) -> np.ndarray:
        """The embeddings (N, text_dim) of `image_inputs`."""
        given = (part if self.extractor else rgb.to_range(part.astype(np.float32)) for part in _parts(inputs))
        return np.concatenate([np.asarray(self.image(part, training=False)) for part in given])

    @property
    def variables(self) -> list:
        return [*self.text.trainable_variables, *self.image.trainable_variables]


@dataclass(frozen=True, eq=False)
class EncoderStep:
    """A function that trains both encoders once on a batch of a `PairStream` and returns the scalars to log."""

    encoders: Encoders
    optimizer: keras.optimizers.Optimizer
    loss: str = "hinge"  # of `LOSSES`

    def __call__(self, batch: dict) -> dict:
        with tf.GradientTape() as tape:
            seen = self.encoders.image(batch["image"], training=True)
            # one sentence of each image after the other: (count * B, 201), and their scores (count, B, B)
            characters = tf.reshape(tf.transpose(batch["characters"], (1, 0, 2)), (-1, text_encoder.LENGTH))
            scores = tf.matmul(self.encoders.text(characters, training=True), seen, transpose_b=True)
            scores = tf.reshape(scores, (-1, len(seen), len(seen)))  # right pairs on the diagonals
            of_two_classes = batch["class_id"][:, None] != batch["class_id"][None, :]
            loss = LOSSES[self.loss](scores, of_two_classes)
            scaled = self.optimizer.scale_loss(loss)
        self.optimizer.apply(tape.gradient(scaled, self.encoders.variables), self.encoders.variables)
        right = tf.argmax(scores, axis=2, output_type=tf.int32) == tf.range(len(seen))
        return {"joint": loss, "right_image": tf.reduce_mean(tf.cast(right, tf.float32))}


def model_configs(settings: Settings, extractor: Extractor | None = None) -> dict[str, ModelConfig]:
    """What builds the `text` and the `image` encoder that the settings ask for."""
    text_dim = settings.generator.text_dim
    text = {
        "variant": settings.text.variant,
        "filters": settings.text.filters,
        "recurrent_dim": settings.text.recurrent_dim,
        "text_dim": text_dim,
    }
    image = {"network": settings.text.image_encoder, "text_dim": text_dim}
    if extractor is None:
        image |= {"image_size": settings.data.image_size, "filters": settings.text.image_filters}
    else:
        image["features"] = extractor.model.output["features"].shape[-1]
    return {"text": ModelConfig("text_encoder", text), "image": ModelConfig("image_encoder", image)}


def _parts(images: np.ndarray, size: int = 64) -> Iterator[np.ndarray]:
    return (images[start : start + size] for start in range(0, len(images), size))
