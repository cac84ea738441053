"""AttnGAN's encoders of words and of an image's regions: loaded, built, used, and one train step of both by DAMSM.

Source: the release of Xu et al., CVPR 2018. There the frozen Inception computes in training mode, so that its moving
statistics drift; here it stays as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from stackgan_keras.config import Settings
from stackgan_keras.data import rgb
from stackgan_keras.errors import InputError
from stackgan_keras.models import sentence_reader, weights, word_encoder
from stackgan_keras.models.runs import IMAGE_ENCODER, TEXT_ENCODER
from stackgan_keras.models.sentence_reader import WordReader
from stackgan_keras.models.vocabulary import Vocabulary
from stackgan_keras.models.weights import ModelConfig
from stackgan_keras.training import damsm

CLIP = 0.25  # the largest norm of the text encoder's gradient
AT_ONCE = 64  # images


@dataclass(frozen=True, eq=False)
class DamsmEncoders:
    """A `word_encoder`, its vocabulary, and a `region_encoder` with outputs of the same dimensions."""

    text: keras.Model
    image: keras.Model
    vocabulary: Vocabulary

    @classmethod
    def load(cls, folder: Path) -> "DamsmEncoders":
        """The encoders of a run's folder of weights. Raises `InputError` where they do not belong together."""
        text = weights.load(folder / TEXT_ENCODER, "word_encoder")
        image = weights.load(folder / IMAGE_ENCODER, "region_encoder")
        vocabulary = sentence_reader.vocabulary_of(folder / TEXT_ENCODER)
        if image.output["code"].shape != text.output["sentence"].shape:
            raise InputError(
                f"{folder} holds encoders of {text.output['sentence'].shape[-1]} and {image.output['code'].shape[-1]} "
                "dimensions: take both from one training of train_text"
            )
        return cls(text, image, vocabulary)

    def read(self, captions: tf.Tensor) -> dict[str, tf.Tensor]:
        """What a generator takes of sentences: `embedding` (B, D), `words` (B, T, D), `mask` (B, T), true for a word.

        `captions` (B, T) are numbers of words, 0 past the end of each sentence.
        """
        return _of_sentences(self.text({"captions": captions}, training=False))

    def see(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """What is compared with sentences of images (B, S, S, 3) in [-1, 1]: `regions` (B, R, D) and `code` (B, D).

        Images have a gradient; those of another size than the image encoder takes are resized.
        """
        size = self.image.input["image"].shape[1]
        if size not in (None, images.shape[1]):
            images = tf.image.resize(images, (size, size), antialias=True)
        return _of_images(self.image({"image": images}, training=False))

    def image_inputs(self, images: np.ndarray) -> np.ndarray:
        """What `embed_inputs` reads of images (N, s, s, 3) uint8: themselves."""
        return images

    def embed_inputs(self, inputs: np.ndarray) -> np.ndarray:
        """The codes (N, D) of images, of length 1, so that products with those of sentences are cosines."""
        parts = (inputs[i : i + AT_ONCE] for i in range(0, len(inputs), AT_ONCE))
        return unit(np.concatenate([self.see(rgb.to_range(part.astype(np.float32)))["code"] for part in parts]))

    def embed_sentences(self, sentences: Sequence[str]) -> np.ndarray:
        """The embeddings (N, D) of sentences, of length 1."""
        return unit(WordReader(self.text, self.vocabulary).embed(sentences))

    @property
    def variables(self) -> list:
        return [*self.text.trainable_variables, *self.image.trainable_variables]


@dataclass(frozen=True, eq=False)
class DamsmStep:
    """A function that trains both encoders once on a batch of a `WordStream` and returns the scalars to log."""

    encoders: DamsmEncoders
    optimizer: keras.optimizers.Optimizer
    reader: keras.Model = field(init=False)  # the text encoder with dropout

    def __post_init__(self) -> None:
        object.__setattr__(self, "reader", word_encoder.with_dropout(self.encoders.text))

    def __call__(self, batch: dict) -> dict:
        with tf.GradientTape() as tape:
            scalars = self._losses(batch)
            scale = self.optimizer.scale_loss(tf.ones((), keras.config.floatx()))
            scaled = scale * scalars["joint"]
        variables, of_text = self.encoders.variables, len(self.encoders.text.trainable_variables)
        gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(scaled, variables)]
        norm = tf.linalg.global_norm(gradients[:of_text]) / scale
        shorter = tf.minimum(tf.ones_like(norm), CLIP / (norm + 1e-6))  # as PyTorch clips
        gradients = [shorter * gradient for gradient in gradients[:of_text]] + gradients[of_text:]
        self.optimizer.apply(gradients, variables)
        return scalars | {"text_gradient": norm}

    def _losses(self, batch: dict) -> dict:
        """The mean losses, and as `joint` their sum; with several sentences of each image, the mean over these."""
        seen = _of_images(self.encoders.image({"image": batch["image"]}, training=True))
        of_two_classes = batch["class_id"][:, None] != batch["class_id"][None, :]
        found: dict[str, list] = {}
        for captions, keep in zip(
            tf.unstack(batch["captions"], axis=1), tf.unstack(batch["keep"], axis=1), strict=True
        ):
            read = _of_sentences(self.reader({"captions": captions, "keep": keep}, training=True))
            for name, values in damsm.pair_losses(read, seen, of_two_classes).items():
                found.setdefault(name, []).append(tf.reduce_mean(values))
        means = {name: tf.add_n(values) / len(values) for name, values in found.items()}
        return {"joint": tf.add_n(list(means.values())), **means}


def model_configs(settings: Settings, vocabulary: Vocabulary, network: str) -> dict[str, ModelConfig]:
    """What builds the `text` and the `image` encoder that the settings ask for."""
    text_dim = settings.generator.text_dim
    if text_dim % 2:
        raise InputError(f"generator.text_dim is {text_dim}, but text.loss damsm reads both ways: give an even number")
    text = {"vocabulary": len(vocabulary), "text_dim": text_dim}
    image = {"network": network, "text_dim": text_dim}
    if network == "small":
        image |= {"image_size": settings.data.image_size, "filters": settings.text.image_filters}
    return {"text": ModelConfig("word_encoder", text), "image": ModelConfig("region_encoder", image)}


def _of_sentences(made: dict) -> dict:
    return {name: made[output] for name, output in word_encoder.TEXT.items()}


def _of_images(made: dict) -> dict:
    """With the regions in one row, (B, R, D)."""
    regions = made["regions"]
    return {"regions": tf.reshape(regions, (tf.shape(regions)[0], -1, regions.shape[-1])), "code": made["code"]}


def unit(rows: np.ndarray) -> np.ndarray:
    """Embeddings (N, D) at length 1, as DAMSM compares them."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), damsm.LEAST_NORM)
