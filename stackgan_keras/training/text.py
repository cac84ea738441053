"""A text encoder's training, from settings to weights: what `train_text` does."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from stackgan_keras import config
from stackgan_keras.config import Folders, Settings
from stackgan_keras.data import photographs, published, rgb
from stackgan_keras.data.decoding import decode, fingerprint
from stackgan_keras.data.pipeline import FeaturePairStream, PairStream
from stackgan_keras.data.published import Dataset
from stackgan_keras.errors import InputError
from stackgan_keras.files import atomic_write
from stackgan_keras.models import weights
from stackgan_keras.models.blocks import precision
from stackgan_keras.models.runs import IMAGE_ENCODER, TEXT_ENCODER, find_run
from stackgan_keras.models.weights import ModelConfig
from stackgan_keras.porting import extractors
from stackgan_keras.porting.extractors import Extractor
from stackgan_keras.training.encoders import Encoders, EncoderStep, model_configs
from stackgan_keras.training.optimizers import make_rmsprop
from stackgan_keras.training.precision import settled
from stackgan_keras.training.retrieval import Retrieval
from stackgan_keras.training.run import check_same_run, data_root, make_writable
from stackgan_keras.training.trainer import OnGrid, Schedule, Trainer
from stackgan_keras.training.whitening import scale_embeddings, whiten


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
    start = None
    if settings.train.init_from is not None:
        start = find_run(folders.output_dir, settings.train.init_from, holding=["text_encoder"])
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
    """Trains a text encoder and its image encoder on a training set's captions and images, saves and returns it.

    Given a folder `start`, training begins with the weights of the files there. Images without a caption are left
    out. In the end prints how often a sentence of the test set finds its class, of which none was trained on, and
    writes it to `retrieval.json`. Raises `InputError` for data without captions or of one class.
    """
    folders.logs.mkdir(parents=True, exist_ok=True)
    train_set, test_set = (dataset.captioned() for dataset in datasets)
    if len(np.unique(train_set.class_ids)) < 2:
        raise InputError(
            "all training images are of one class, but a text encoder learns from what tells classes apart: "
            "give each image a class of its own, or sort the images into two or more"
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
    size = settings.data.image_size
    cache: dict[str, Any] = {"cache": settings.data.cache, "folder": folders.logs / "cache"}
    test_images = photographs.centre_crops(decode(test_set, size, **cache), size)
    outputs = _TextOutputs(encoders, configs, test_set, test_images, encoders.image_inputs(test_images), folders)
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
        f"text and image encoder of run {settings.run}: {len(train_set)} images of {classes} classes, "
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
    inputs, stream = decode(dataset, size, **cache), PairStream
    if extractor is not None:
        name = f"features_{fingerprint(dataset, size, extractor.digest)}.npy"
        inputs, stream = _features_of_crops(inputs, size, extractor, cache["folder"] / name), FeaturePairStream
    return stream(
        dataset,
        inputs,
        size,
        min(settings.text.batch_size, len(dataset)),
        count=settings.text.captions,
        seed=settings.train.seed,
    )


def _features_of_crops(images: np.ndarray, size: int, extractor: Extractor, path: Path) -> np.ndarray:
    """The features (N, 10, D) of each image's `ten_crops`, kept in a file, as a frozen network always gives these.

    Source: Reed et al., CVPR 2016, section 5.
    """
    if not path.is_file():
        with atomic_write(path) as unfinished, unfinished.open("wb") as file:
            bar = tqdm(images, f"features by {extractor.name}", unit=" images", leave=False)
            np.save(file, np.stack([extractor(photographs.ten_crops(image, size))[0] for image in bar]))
    return np.load(path)


@dataclass(frozen=True, eq=False)
class _TextOutputs:
    """What a text encoder's training leaves for users: grids, weights, and how often a sentence finds its class."""

    encoders: Encoders
    configs: dict[str, ModelConfig]
    test_set: Dataset
    images: np.ndarray  # of the test set
    inputs: np.ndarray  # what the image encoder reads of them
    folders: TextFolders

    def figures(self) -> dict[str, float]:
        return {}

    def grid(self) -> np.ndarray:
        return Retrieval.of(self.encoders, self.test_set, self.inputs).grid(self.images)

    def write_grid(self, epoch: int, grid: np.ndarray) -> Path:
        path = self.folders.results / f"epoch_{epoch:05d}.png"
        rgb.write(path, grid)
        return path

    def save(self) -> None:
        weights.save(self.encoders.image, self.configs["image"], self.folders.weights / IMAGE_ENCODER)
        weights.save(self.encoders.text, self.configs["text"], self.folders.weights / TEXT_ENCODER)

    def report(self) -> None:
        found = Retrieval.of(self.encoders, self.test_set, self.inputs)
        figures = {"recall": found.recall(), "chance": found.chance(), "sentences": len(found.scores)}
        (self.folders.logs / "retrieval.json").write_text(json.dumps(figures) + "\n")
        print(
            f"of {figures['sentences']} sentences of classes never trained on, {figures['recall']:.1%} find their "
            f"class (chance {figures['chance']:.1%})"
        )
