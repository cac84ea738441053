"""How are sentences and pictures brought into one space? The text encoder's training and its retrieval figures.

Source: the symmetric joint embedding of Reed et al., "Learning Deep Representations of Fine-grained Visual
Descriptions", CVPR 2016, in mini-batches as in their ICML 2016 release.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from stackgan_keras import config, engine, images, losses, models, text_encoder, weights
from stackgan_keras.config import Settings
from stackgan_keras.datasets import PICTURE_ENCODER, Records
from stackgan_keras.errors import InputError
from stackgan_keras.stream import PairStream, decode

SHEET_SENTENCES, SHEET_PICTURES = 8, 4  # on the sheet that shows what sentences find


@dataclass(frozen=True, eq=False)
class Encoders:
    """A text encoder and a picture encoder whose outputs, both (B, text_dim), score a pair by their product."""

    text: keras.Model
    picture: keras.Model


LOSSES = {"hinge": losses.joint_embedding, "cross_entropy": losses.contrastive}


def make_update(encoders: Encoders, optimizer, loss: str = "hinge"):
    """A function that updates the encoders once on a batch of a `PairStream` and returns the scalars to log.

    What they pay is one of `LOSSES`. A text encoder that is not trainable stays as it is.
    """
    paid_for = LOSSES[loss]
    variables = _variables(encoders)

    def update(batch):
        with tf.GradientTape() as tape:
            pictures = encoders.picture(batch["image"], training=True)
            # one sentence of each picture after the other: (count * B, 201), and their scores (count, B, B)
            characters = tf.reshape(tf.transpose(batch["characters"], (1, 0, 2)), (-1, text_encoder.LENGTH))
            scores = tf.matmul(encoders.text(characters, training=True), pictures, transpose_b=True)
            scores = tf.reshape(scores, (-1, len(pictures), len(pictures)))  # right pairs on the diagonals
            of_two_classes = batch["class_id"][:, None] != batch["class_id"][None, :]
            paid = paid_for(scores, of_two_classes)
            scaled = optimizer.scale_loss(paid)
        optimizer.apply(tape.gradient(scaled, variables), variables)
        right = tf.argmax(scores, axis=2, output_type=tf.int32) == tf.range(len(pictures))
        return {"joint": paid, "right_picture": tf.reduce_mean(tf.cast(right, tf.float32))}

    return update


def _variables(encoders: Encoders) -> list:
    """What learns: nothing of a text encoder that is not trainable."""
    return [*encoders.text.trainable_variables, *encoders.picture.trainable_variables]


@dataclass(frozen=True, eq=False)
class Retrieval:
    """What the sentences of one split find among its pictures: N pictures, M sentences, C classes."""

    records: Records
    scores: np.ndarray  # (M, N) of every sentence with every picture
    picture_of: np.ndarray  # (M,) the picture each sentence was written for

    @classmethod
    def of(cls, encoders: Encoders, records: Records, pictures: np.ndarray) -> "Retrieval":
        """`pictures` is (N, s, s, 3) uint8, of the size the encoder takes."""
        sentences = [caption for captions in records.captions for caption in captions]
        seen = [encoders.picture(images.to_range(part.astype(np.float32)), training=False) for part in _parts(pictures)]
        scores = text_encoder.embed(encoders.text, sentences) @ np.concatenate(seen).T
        return cls(records, scores, np.repeat(np.arange(len(records)), [len(c) for c in records.captions]))

    def recall(self) -> float:
        """Share of sentences whose class is the one whose pictures, on average, fit them best."""
        classes, members = np.unique(self.records.class_ids, return_inverse=True)
        sums = np.stack([self.scores[:, members == i].mean(axis=1) for i in range(len(classes))], axis=1)
        return float(np.mean(sums.argmax(axis=1) == members[self.picture_of]))

    def chance(self) -> float:
        return 1 / len(np.unique(self.records.class_ids))

    def sheet(self, pictures: np.ndarray) -> np.ndarray:
        """Sentences, evenly spread, each above the picture it was written for and the pictures it finds."""
        chosen = np.unique(np.linspace(0, len(self.scores) - 1, SHEET_SENTENCES).round().astype(int))
        best = np.argsort(-self.scores[chosen], axis=1)[:, :SHEET_PICTURES]
        rows = [pictures[self.picture_of[chosen]], *(pictures[column] for column in best.T)]
        sentences = [caption for captions in self.records.captions for caption in captions]
        return images.labelled_grid(rows, [sentences[i] for i in chosen])


def train(
    train_records: Records,
    test_records: Records,
    settings: Settings,
    *,
    path: Path,
    start: Path | None = None,
    logs: Path,
    results: Path,
) -> keras.Model:
    """Trains a text encoder on captions and pictures, saves it at `path` and returns it.

    The picture encoder that it learned with is saved beside it. If the settings say that `pictures` alone learn, the
    text encoder is the one that is at `path`, which stays as it is, and a picture encoder beside it is where that one
    starts. Given a folder `start`, what learns begins with the weights of the files there.

    Of the records only pictures, boxes, classes and captions are used; a picture without a caption is left out. Goes on
    from the newest checkpoint in `logs`; sheets of what sentences find go to `results`. In the end prints how often a
    sentence finds its class among classes never trained on, and writes it to `logs/retrieval.json`. Raises `InputError`
    for data without captions or of one class.
    """
    logs.mkdir(parents=True, exist_ok=True)
    train_records, test_records = train_records.captioned(), test_records.captioned()
    if len(np.unique(train_records.class_ids)) < 2:
        raise InputError(
            "all training pictures are of one class, but a text encoder learns from what tells classes apart: "
            "give each picture a class of its own, or sort the pictures into two or more"
        )
    keras.utils.set_random_seed(settings.train.seed)
    keras.config.set_dtype_policy(settings.train.precision)
    size, batch_size = settings.data.image_size, min(settings.text.batch_size, len(train_records))
    learned = decode(train_records, size, cache=settings.data.cache, folder=logs / "cache")
    count = settings.text.captions
    stream = PairStream(train_records, learned, size, batch_size, count=count, seed=settings.train.seed)
    encoders, learning = _encoders(settings, path, start)
    optimizer = engine.make_rmsprop(settings.text.learning_rate, settings.text.decay, stream.steps_per_epoch)
    optimizer.build(_variables(encoders))
    unseen = _middle(decode(test_records, size, cache=settings.data.cache, folder=logs / "cache"), size)
    networks = recipes(settings)

    def save():
        for name, file in learning.items():
            weights.save(getattr(encoders, name), networks[name], file)

    run = engine.Run(
        strategy=tf.distribute.get_strategy(),  # one device: the networks are small, and all pairs of a batch count
        update=make_update(encoders, optimizer, settings.text.loss),
        trained={**{name: getattr(encoders, name) for name in learning}, "optimizer": optimizer},
        batches=stream.batches,
        steps=min(settings.text.epochs * stream.steps_per_epoch, settings.train.max_steps or float("inf")),
        steps_per_epoch=stream.steps_per_epoch,
        batch_size=batch_size,
        folder=logs,
        save=save,
        sample=lambda: Retrieval.of(encoders, test_records, unseen).sheet(unseen),
        on_sample=lambda epoch, sheet: images.write(results / f"epoch_{epoch:05d}.png", sheet),
        sample_every=settings.train.sample_every,
        save_every=settings.train.save_every,
        jit_compile=settings.train.jit_compile,
    )
    config.write(settings, logs / "config.yaml")
    print(
        f"{' and '.join(learning)} encoder of run {settings.run}: {len(train_records)} pictures of "
        f"{len(np.unique(train_records.class_ids))} classes, {stream.steps_per_epoch} steps of {batch_size} an epoch, "
        f"{sum(getattr(encoders, name).count_params() for name in learning):,} weights"
    )
    run()
    if "text" in learning:
        spread(encoders, train_records, settings.text.spread)
    _report(encoders, test_records, unseen, logs)
    if "text" in learning and settings.text.whiten:
        whiten(encoders.text, train_records)
    save()
    return encoders.text


def _encoders(settings: Settings, path: Path, start: Path | None) -> tuple[Encoders, dict[str, Path]]:
    """The encoders as they are before they learn, and the files of those that will, by their names."""
    files = {"picture": path.with_name(PICTURE_ENCODER), "text": path}  # the last to be written tells that all is
    networks = recipes(settings)
    picture = models.picture_encoder(**networks["picture"].keywords, pretrained=True)
    if settings.text.learns == "pictures":
        encoders = Encoders(weights.load(files.pop("text")), picture)
        encoders.text.trainable = False
        if files["picture"].is_file():
            weights.fill(picture, files["picture"])
    else:
        encoders = Encoders(networks["text"].build(), picture)
    if start is not None:
        for name, file in files.items():
            weights.fill(getattr(encoders, name), start / file.name)
    return encoders, files


def _report(encoders: Encoders, test_records: Records, unseen: np.ndarray, logs: Path) -> None:
    """How often a sentence finds its class among classes never trained on: printed, and kept in `retrieval.json`."""
    found = Retrieval.of(encoders, test_records, unseen)
    figures = {"recall": found.recall(), "chance": found.chance(), "sentences": len(found.scores)}
    (logs / "retrieval.json").write_text(json.dumps(figures) + "\n")
    print(
        f"of {figures['sentences']} sentences of classes never trained on, {figures['recall']:.1%} find their class "
        f"(chance {figures['chance']:.1%})"
    )


def spread(encoders: Encoders, records: Records, deviation: float) -> None:
    """Scales embeddings so that their entries have this standard deviation over the records; no score changes."""
    factor = deviation / _sample(encoders.text, records, 1000).std()
    for model, scale in ((encoders.text, factor), (encoders.picture, 1 / factor)):
        project = model.get_layer("project")
        project.set_weights([scale * weight for weight in project.get_weights()])


def whiten(encoder: keras.Model, records: Records) -> None:
    """Turns the embeddings of sentences to their principal components, and these to nearly the same deviation.

    What the components with the largest deviation tell a generator learns long before the others, and some hold what
    a sentence is about: which of two colours is the crown's, which the back's. A component of deviation s gets
    s / (s + 0.05 d) d, where d is that of all together, so that what hardly ever differs is not blown up. Scores with
    the embeddings of pictures mean nothing from then on. (Kessy, Lewin and Strimmer, "Optimal Whitening and
    Decorrelation", The American Statistician, 2018: PCA whitening.)
    """
    embeddings = _sample(encoder, records, 10_000).astype(np.float64)
    mean, (variances, components) = embeddings.mean(axis=0), np.linalg.eigh(np.cov(embeddings, rowvar=False))
    deviations = np.sqrt(np.maximum(variances, 0))
    overall = np.sqrt(np.mean(deviations**2))
    turn = components * overall / (deviations + 0.05 * overall)
    project = encoder.get_layer("project")
    kernel, bias = project.get_weights()
    project.set_weights([kernel @ turn, (bias - mean) @ turn])


def _sample(encoder: keras.Model, records: Records, pictures: int) -> np.ndarray:
    """The embeddings of one caption each of about so many pictures, evenly spread."""
    captions = [captions[0] for captions in records.captions[:: max(1, len(records) // pictures)]]
    return text_encoder.embed(encoder, captions)


def recipes(settings: Settings) -> dict[str, weights.Recipe]:
    """What builds the `text` and the `picture` encoder that the settings ask for."""
    text_dim = settings.generator.text_dim
    text = {
        "form": settings.text.form,
        "filters": settings.text.filters,
        "recurrent_dim": settings.text.recurrent_dim,
        "text_dim": text_dim,
    }
    picture = {
        "network": settings.text.image_encoder,
        "image_size": settings.data.image_size,
        "filters": settings.text.image_filters,
        "text_dim": text_dim,
    }
    return {"text": weights.Recipe("text_encoder", text), "picture": weights.Recipe("picture_encoder", picture)}


def _middle(pictures: np.ndarray, size: int) -> np.ndarray:
    """The middle of each picture, as it stands in a training crop on average."""
    start = (pictures.shape[1] - size) // 2
    return np.ascontiguousarray(pictures[:, start : start + size, start : start + size])


def _parts(pictures: np.ndarray, size: int = 64):
    return (pictures[start : start + size] for start in range(0, len(pictures), size))
