"""What AttnGAN's training has of sentences: their words, by encoders that stay as they are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from stackgan_keras.config import Folders, Settings
from stackgan_keras.data.numbered_captions import NumberedCaptions, readable
from stackgan_keras.data.published import Dataset
from stackgan_keras.data.shards.dataset import ShardedDataset, TrainingSet
from stackgan_keras.models.vocabulary import READ
from stackgan_keras.training.damsm_encoders import DamsmEncoders


@dataclass(frozen=True, eq=False)
class Words:
    """A run's frozen encoders, as the generator's training uses them."""

    encoders: DamsmEncoders
    limit: int  # words of a caption that a step takes
    sorted: bool  # whether a batch is by falling length of its captions, as the release sorts it

    @classmethod
    def of(cls, settings: Settings, folders: Folders) -> "Words | None":
        """Those of the run, or None if its generator reads no words."""
        if settings.generator.family != "attngan":
            return None
        encoders = DamsmEncoders.load(folders.weights)
        for model in (encoders.text, encoders.image):
            model.trainable = False
        return cls(encoders, settings.text.words, settings.generator.mask_order == "as_released")

    def readable(self, dataset: TrainingSet) -> TrainingSet:
        """The images that have a caption with a known word; shards hold no others."""
        return readable(dataset, self.encoders.vocabulary) if isinstance(dataset, Dataset) else dataset

    def captions(self, dataset: TrainingSet) -> NumberedCaptions:
        longest = dataset.most_words if isinstance(dataset, ShardedDataset) else None
        return NumberedCaptions(dataset.captions, self.encoders.vocabulary, self.limit, longest)

    def texts_of(self, dataset: TrainingSet, chosen: Sequence[int]) -> dict[str, np.ndarray]:
        """What the generator reads of the first caption of each image."""
        numbers = self.encoders.vocabulary.encode([dataset.captions[i][0] for i in chosen], READ)
        return {name: values.numpy() for name, values in self.encoders.read(tf.constant(numbers)).items()}

    def complete(self, batch: dict) -> dict:
        """The batch with what the generator reads of its captions."""
        if self.sorted:
            order = tf.argsort(tf.math.count_nonzero(batch["captions"], axis=1), direction="DESCENDING", stable=True)
            batch = {name: tf.gather(values, order) for name, values in batch.items()}
        return batch | self.encoders.read(batch["captions"])
