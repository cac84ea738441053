"""The joint embedding of sentences and images: the text encoder's training, and how often a sentence finds its class.

Source: the symmetric joint embedding of Reed et al., "Learning Deep Representations of Fine-grained Visual
Descriptions", CVPR 2016, in mini-batches as in their ICML 2016 release.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from stackgan_keras import config
from stackgan_keras.config import Folders, Settings
from stackgan_keras.data import grids, images, photographs, published
from stackgan_keras.data.pipeline import FeaturePairStream, PairStream, decode, fingerprint
from stackgan_keras.data.published import Dataset
from stackgan_keras.errors import InputError
from stackgan_keras.files import atomic_write
from stackgan_keras.models import text_encoder, weights
from stackgan_keras.models.blocks import precision
from stackgan_keras.models.runs import IMAGE_ENCODER, TEXT_ENCODER, find_run
from stackgan_keras.models.weights import ModelConfig
from stackgan_keras.porting import extractors
from stackgan_keras.porting.extractors import Extractor
from stackgan_keras.training import losses
from stackgan_keras.training.optimizers import make_rmsprop
from stackgan_keras.training.precision import settled
from stackgan_keras.training.run import check_same_run, data_root, make_writable
from stackgan_keras.training.trainer import OnGrid, Schedule, Trainer

GRID_SENTENCES, GRID_IMAGES = 8, 4  # on the grid that shows what sentences find
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

    def shown(self, pictures: np.ndarray) -> np.ndarray:
        """Pictures (N, s, s, 3) uint8, or features (N, D) of them: what `embed_shown` reads."""
        return pictures if self.extractor is None else self.extractor(pictures)[0]

    def embed_shown(self, shown: np.ndarray) -> np.ndarray:
        """The embeddings (N, text_dim) of what is `shown`."""
        given = (part if self.extractor else images.to_range(part.astype(np.float32)) for part in _parts(shown))
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
        return {"joint": loss, "right_picture": tf.reduce_mean(tf.cast(right, tf.float32))}


@dataclass(frozen=True, eq=False)
class Retrieval:
    """What the sentences of one split find among its pictures: N pictures, M sentences, C classes."""

    dataset: Dataset
    scores: np.ndarray  # (M, N) of every sentence with every picture
    picture_of: np.ndarray  # (M,) the picture each sentence was written for

    @classmethod
    def of(cls, encoders: Encoders, dataset: Dataset, shown: np.ndarray) -> "Retrieval":
        """`shown` is what the image encoder reads of the N pictures (`Encoders.shown`)."""
        sentences = [caption for captions in dataset.captions for caption in captions]
        scores = text_encoder.embed(encoders.text, sentences) @ encoders.embed_shown(shown).T
        return cls(dataset, scores, np.repeat(np.arange(len(dataset)), [len(c) for c in dataset.captions]))

    def recall(self) -> float:
        """Share of sentences whose class is the one whose pictures, on average, fit them best."""
        classes, members = np.unique(self.dataset.class_ids, return_inverse=True)
        sums = np.stack([self.scores[:, members == i].mean(axis=1) for i in range(len(classes))], axis=1)
        return float(np.mean(sums.argmax(axis=1) == members[self.picture_of]))

    def chance(self) -> float:
        return 1 / len(np.unique(self.dataset.class_ids))

    def grid(self, pictures: np.ndarray) -> np.ndarray:
        """Sentences, evenly spread, each above the picture it was written for and the pictures it finds."""
        chosen = np.unique(np.linspace(0, len(self.scores) - 1, GRID_SENTENCES).round().astype(int))
        best = np.argsort(-self.scores[chosen], axis=1)[:, :GRID_IMAGES]
        rows = [pictures[self.picture_of[chosen]], *(pictures[column] for column in best.T)]
        sentences = [caption for captions in self.dataset.captions for caption in captions]
        return grids.labelled_grid(rows, [sentences[i] for i in chosen])


def train(settings: Settings, folders: Folders, on_grid: OnGrid = None) -> Path:
    """Trains the run's text encoder on the settings' data and returns the path of its weight file.

    `on_grid` is called with the path of every grid that is written. Leaves grids of what sentences find in
    `results/<run>/text/`, checkpoints, metrics and settings in `logs/<run>/text/`, and goes on from there. An encoder
    with which a stage was already trained is left as it is.
    """
    path = folders.weights / TEXT_ENCODER
    if path.is_file() and any(folders.weights.glob("stage*_gen.weights.h5")):
        print(f"{path} is left as it is: a stage of this run was trained with it; for another one give another --run")
        return path
    logs, results = folders.logs / "text", folders.results / "text"
    make_writable(logs, results, folders.weights)
    settings = settled(settings, logs)
    check_same_run(settings, logs)
    root = data_root(settings, folders)
    train_set, test_set = (published.read(root, split, text_dim=None) for split in published.SPLITS)
    start = settings.train.init_from
    if start is not None:
        start = find_run(folders.output_dir, start, holding=["text_encoder"])
    text_folders = TextFolders(folders.weights, logs, results, folders.output_dir / "weights")
    train_encoders((train_set, test_set), settings, text_folders, start, on_grid)
    return path


@dataclass(frozen=True)
class TextFolders:
    """Where a text encoder's training leaves its weights, its checkpoints and its grids."""

    weights: Path
    logs: Path
    results: Path
    extractors: Path = Path("weights")  # where those of feature extractors are


def train_encoders(
    datasets: tuple[Dataset, Dataset],
    settings: Settings,
    folders: TextFolders,
    start: Path | None = None,
    on_grid: OnGrid = None,
) -> keras.Model:
    """Trains a text encoder and its image encoder on a training set's captions and pictures, saves and returns it.

    Given a folder `start`, training begins with the weights of the files there. Pictures without a caption are left
    out. In the end prints how often a sentence of the test set finds its class, of which none was trained on, and
    writes it to `retrieval.json`. Raises `InputError` for data without captions or of one class.
    """
    folders.logs.mkdir(parents=True, exist_ok=True)
    train_set, test_set = (dataset.captioned() for dataset in datasets)
    if len(np.unique(train_set.class_ids)) < 2:
        raise InputError(
            "all training pictures are of one class, but a text encoder learns from what tells classes apart: "
            "give each picture a class of its own, or sort the pictures into two or more"
        )
    keras.utils.set_random_seed(settings.train.seed)
    settings = settled(settings, folders.logs)
    with precision(settings.train.precision):
        return _train_encoders((train_set, test_set), settings, folders, start, on_grid)


def _train_encoders(datasets, settings: Settings, folders: TextFolders, start, on_grid) -> keras.Model:
    train_set, test_set = datasets
    extractor = None
    if settings.text.image_encoder != "small":
        extractor = extractors.load(settings.text.image_encoder, folders.extractors)
    configs = model_configs(settings, extractor)
    encoders = _build(configs, extractor, start)
    size, cache = settings.data.image_size, {"cache": settings.data.cache, "folder": folders.logs / "cache"}
    test_pictures = photographs.centre_crops(decode(test_set, size, **cache), size)
    outputs = _TextOutputs(encoders, configs, test_set, test_pictures, encoders.shown(test_pictures), folders)
    stream = _stream(train_set, settings, extractor, cache)
    optimizer = make_rmsprop(settings.text.learning_rate, settings.text.lr_decay, stream.steps_per_epoch)
    optimizer.build(encoders.variables)
    trainer = Trainer(
        strategy=tf.distribute.get_strategy(),  # one device: the networks are small, and all pairs of a batch count
        train_step=EncoderStep(encoders, optimizer, settings.text.loss),
        trained={"text": encoders.text, "image": encoders.image, "optimizer": optimizer},
        stream=stream,
        schedule=Schedule.of(settings.train, settings.text.epochs, stream.steps_per_epoch),
        folder=folders.logs,
        outputs=outputs,
        on_grid=on_grid,
    )
    config.write(settings, folders.logs / "config.yaml")
    classes = len(np.unique(train_set.class_ids))
    print(
        f"text and image encoder of run {settings.run}: {len(train_set)} pictures of {classes} classes, "
        f"{stream.steps_per_epoch} steps of {stream.batch_size} an epoch, "
        f"{encoders.text.count_params() + encoders.image.count_params():,} weights"
    )
    trainer()
    scale_embeddings(encoders, train_set, settings.text.embedding_scale)
    outputs.report()
    if settings.text.whiten:
        whiten(encoders, train_set)
    outputs.save()
    return encoders.text


def _build(configs: dict[str, ModelConfig], extractor: Extractor | None, start: Path | None) -> Encoders:
    """The encoders before their training, with the weights of the files in a folder `start`."""
    encoders = Encoders(configs["text"].build(), configs["image"].build(), extractor)
    if start is not None:
        weights.load_into(encoders.text, start / TEXT_ENCODER)
        weights.load_into(encoders.image, start / IMAGE_ENCODER)
    return encoders


def _stream(dataset: Dataset, settings: Settings, extractor: Extractor | None, cache: dict) -> PairStream:
    size = settings.data.image_size
    shown, stream = decode(dataset, size, **cache), PairStream
    if extractor is not None:
        name = f"features_{fingerprint(dataset, size, extractor.digest)}.npy"
        shown, stream = _features_of_crops(shown, size, extractor, cache["folder"] / name), FeaturePairStream
    return stream(
        dataset,
        shown,
        size,
        min(settings.text.batch_size, len(dataset)),
        count=settings.text.captions,
        seed=settings.train.seed,
    )


def _features_of_crops(pictures: np.ndarray, size: int, extractor: Extractor, path: Path) -> np.ndarray:
    """The features (N, 10, D) of each picture's `ten_crops`, kept in a file, as a frozen network always gives these.

    Source: Reed et al., CVPR 2016, section 5.
    """
    if not path.is_file():
        with atomic_write(path) as unfinished, unfinished.open("wb") as file:
            bar = tqdm(pictures, f"features by {extractor.name}", unit=" pictures", leave=False)
            np.save(file, np.stack([extractor(photographs.ten_crops(picture, size))[0] for picture in bar]))
    return np.load(path)


@dataclass(frozen=True, eq=False)
class _TextOutputs:
    """What a text encoder's training leaves for users: grids, weights, and how often a sentence finds its class."""

    encoders: Encoders
    configs: dict[str, ModelConfig]
    test_set: Dataset
    pictures: np.ndarray  # of the test set
    shown: np.ndarray  # what the image encoder reads of them
    folders: TextFolders

    def figures(self) -> dict[str, float]:
        return {}

    def grid(self) -> np.ndarray:
        return Retrieval.of(self.encoders, self.test_set, self.shown).grid(self.pictures)

    def write_grid(self, epoch: int, grid: np.ndarray) -> Path:
        path = self.folders.results / f"epoch_{epoch:05d}.png"
        images.write(path, grid)
        return path

    def save(self) -> None:
        weights.save(self.encoders.image, self.configs["image"], self.folders.weights / IMAGE_ENCODER)
        weights.save(self.encoders.text, self.configs["text"], self.folders.weights / TEXT_ENCODER)

    def report(self) -> None:
        found = Retrieval.of(self.encoders, self.test_set, self.shown)
        figures = {"recall": found.recall(), "chance": found.chance(), "sentences": len(found.scores)}
        (self.folders.logs / "retrieval.json").write_text(json.dumps(figures) + "\n")
        print(
            f"of {figures['sentences']} sentences of classes never trained on, {figures['recall']:.1%} find their "
            f"class (chance {figures['chance']:.1%})"
        )


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
    The image encoder is turned the other way, so that a picture still ranks sentences as before: by then it is all
    that their scores are good for, as each picture's are moved by the same number.
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


def _sample(encoder: keras.Model, dataset: Dataset, pictures: int) -> np.ndarray:
    """The embeddings of one caption each of about so many pictures, evenly spread."""
    captions = [captions[0] for captions in dataset.captions[:: max(1, len(dataset) // pictures)]]
    return text_encoder.embed(encoder, captions)


def _parts(pictures: np.ndarray, size: int = 64):
    return (pictures[start : start + size] for start in range(0, len(pictures), size))
