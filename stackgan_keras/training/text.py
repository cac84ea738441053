"""A text encoder's training, from settings to weights: what `train_text` does."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from stackgan_keras import config
from stackgan_keras.config import Folders, Settings
from stackgan_keras.data import kept_arrays, numbered_captions, photographs, published, rgb
from stackgan_keras.data.decoding import decode, fingerprint
from stackgan_keras.data.numbered_captions import NumberedCaptions
from stackgan_keras.data.pipeline import FeaturePairStream, ImageStream, PairStream, WordStream
from stackgan_keras.data.published import Dataset
from stackgan_keras.errors import InputError
from stackgan_keras.files import write_lines
from stackgan_keras.models import weights
from stackgan_keras.models.blocks import precision
from stackgan_keras.models.runs import IMAGE_ENCODER, TEXT_ENCODER, VOCABULARY, find_run, has_weights
from stackgan_keras.models.vocabulary import Vocabulary
from stackgan_keras.models.weights import ModelConfig
from stackgan_keras.porting import extractors, frozen_networks
from stackgan_keras.porting.extractors import Extractor
from stackgan_keras.training import damsm_encoders
from stackgan_keras.training.damsm_encoders import DamsmEncoders, DamsmStep
from stackgan_keras.training.encoders import Encoders, EncoderStep, model_configs
from stackgan_keras.training.optimizers import make_damsm_adam, make_rmsprop
from stackgan_keras.training.precision import settled
from stackgan_keras.training.retrieval import OTHERS, Retrieval
from stackgan_keras.training.run import (
    check_nothing_is_lost,
    check_same_run,
    data_root,
    make_writable,
    remove_unfinished,
    start_over,
)
from stackgan_keras.training.trainer import OnGrid, Schedule, Trainer
from stackgan_keras.training.whitening import scale_embeddings, whiten


def train(settings: Settings, folders: Folders, on_grid: OnGrid = None, *, fresh: bool = False) -> Path:
    """Trains the run's text encoder on the settings' data and returns the path of its weight file.

    `on_grid` is called with the path of every grid that is written. Leaves grids of what sentences find in
    `results/<run>/text/`, checkpoints, metrics and settings in `logs/<run>/text/`, and goes on from there, or with
    `fresh` starts over. An encoder with which a generator was already trained is left as it is.
    """
    path = folders.weights / TEXT_ENCODER
    if path.is_file() and has_weights(folders.weights):
        print(
            f"{path} is left as it is: a generator of this run was trained with it; for another one give another --run"
        )
        return path
    logs, results = folders.logs / "text", folders.results / "text"
    make_writable(logs, results, folders.weights)
    check_nothing_is_lost(path, logs, fresh=fresh)
    start = _found_start(settings, folders.output_dir)  # before data is drawn, which takes long
    remove_unfinished(folders)
    if fresh:
        start_over(logs, results)
    settings = settled(settings, logs)
    check_same_run(settings, logs)
    root = data_root(settings, folders)
    train_set, test_set = (published.read(root, split, text_dim=None) for split in published.SPLITS)
    text_folders = TextFolders(folders.weights, logs, results, folders.output_dir / "weights")
    train_encoders((train_set, test_set), settings, text_folders, start, on_grid)
    return path


def _found_start(settings: Settings, output_dir: Path) -> Path | None:
    """The folder of the run `train.init_from`, if any. Raises `InputError` where its encoder has other widths."""
    name = settings.train.init_from
    if name is None:
        return None
    folder = find_run(output_dir, name, holding=["text_encoder"])
    keywords = weights.read_config(folder / TEXT_ENCODER).keywords
    for section, key in (("generator", "text_dim"), ("text", "filters"), ("text", "recurrent_dim")):
        asked = getattr(getattr(settings, section), key)
        if keywords.get(key, asked) != asked:
            raise InputError(
                f"train.init_from is {name}, whose text encoder has {section}.{key} {keywords[key]} where this "
                f"training has {asked}: set it to {keywords[key]}, or give another run"
            )
    return folder


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
    size = settings.data.image_size
    cache: dict[str, Any] = {"cache": settings.data.cache, "folder": folders.logs / "cache"}
    parts = (_damsm if settings.text.loss == "damsm" else _joint_embedding)(train_set, settings, folders, start, cache)
    encoders, stream = parts.encoders, parts.stream
    test_images = photographs.centre_crops(decode(test_set, size, **cache), size)
    outputs = _TextOutputs(encoders, parts.configs, test_set, test_images, encoders.image_inputs(test_images), folders)
    parts.optimizer.build(encoders.variables)
    trainer = Trainer(
        strategy=tf.distribute.get_strategy(),  # one device: the networks are small, and all pairs of a batch count
        train_step=parts.train_step,
        trained={"text": encoders.text, "image": encoders.image, "optimizer": parts.optimizer},
        stream=stream,
        schedule=Schedule.of(settings.train, settings.text.epochs, stream.steps_per_epoch),
        folder=folders.logs,
        outputs=outputs,
        on_grid=on_grid,
    )
    config.write(settings, folders.logs / "config.yaml")
    classes = len(np.unique(train_set.class_ids))
    print(
        f"text and image encoder of run {settings.run}: {len(stream.dataset)} images of {classes} classes, "
        f"{stream.steps_per_epoch} steps of {stream.batch_size} an epoch, "
        f"{encoders.text.count_params() + encoders.image.count_params():,} weights"
    )
    trainer()
    if isinstance(encoders, Encoders):
        scale_embeddings(encoders, train_set, settings.text.embedding_scale)
    outputs.report()
    if settings.text.whiten and isinstance(encoders, Encoders):
        whiten(encoders, train_set)
    outputs.save()
    return encoders.text


@dataclass(frozen=True, eq=False)
class _Parts:
    """What the trainings of different losses differ in."""

    encoders: Encoders | DamsmEncoders
    configs: dict[str, ModelConfig]
    stream: ImageStream
    optimizer: keras.optimizers.Optimizer
    train_step: Callable[[dict], dict]


def _joint_embedding(train_set: Dataset, settings: Settings, folders: TextFolders, start, cache: dict) -> _Parts:
    text, extractor = settings.text, None
    if text.image_encoder != "small":
        extractor = extractors.load(text.image_encoder, folders.extractors)
    configs = model_configs(settings, extractor)
    encoders = Encoders(configs["text"].build(), configs["image"].build(), extractor)
    _start(encoders, start)
    stream = _stream(train_set, settings, extractor, cache)
    optimizer = make_rmsprop(text.learning_rate, text.lr_decay, stream.steps_per_epoch)
    return _Parts(encoders, configs, stream, optimizer, EncoderStep(encoders, optimizer, text.loss))


def _damsm(train_set: Dataset, settings: Settings, folders: TextFolders, start, cache: dict) -> _Parts:
    text, size = settings.text, settings.data.image_size
    if text.whiten:
        raise InputError("text.whiten is for a single embedding, not for text.loss damsm: leave one of them out")
    vocabulary = Vocabulary.of(caption for captions in train_set.captions for caption in captions)
    if start is not None:
        vocabulary = Vocabulary.load(start / VOCABULARY)
    train_set = numbered_captions.readable(train_set, vocabulary)
    network, frozen = frozen_networks.find(text.image_encoder, folders.extractors)
    configs = damsm_encoders.model_configs(settings, vocabulary, network)
    encoders = DamsmEncoders(configs["text"].build(), configs["image"].build(), vocabulary)
    frozen_networks.put(frozen, encoders.image)
    _start(encoders, start)
    stream = WordStream(
        train_set,
        decode(train_set, size, **cache),
        size,
        min(text.batch_size, len(train_set)),
        captions=NumberedCaptions(train_set.captions, vocabulary, text.words),
        word_dim=encoders.text.get_layer("embed").output_dim,
        count=text.captions,
        seed=settings.train.seed,
    )
    optimizer = make_damsm_adam(text.learning_rate, text.lr_decay, stream.steps_per_epoch)
    return _Parts(encoders, configs, stream, optimizer, DamsmStep(encoders, optimizer))


def _start(encoders: Encoders | DamsmEncoders, start: Path | None) -> None:
    """Loads the weights of the files in a folder `start`."""
    if start is not None:
        weights.load_into(encoders.text, start / TEXT_ENCODER)
        weights.load_into(encoders.image, start / IMAGE_ENCODER)


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
    features = kept_arrays.read(path, (len(images), 10, None), np.float32)
    if features is None:
        bar = tqdm(images, f"features by {extractor.name}", unit=" images", leave=False)
        features = np.stack([extractor(photographs.ten_crops(image, size))[0] for image in bar])
        kept_arrays.write(path, features)
    return features


@dataclass(frozen=True, eq=False)
class _TextOutputs:
    """What a text encoder's training leaves for users: grids, weights, and how often a sentence finds its class."""

    encoders: Encoders | DamsmEncoders
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
        if isinstance(self.encoders, DamsmEncoders):
            self.encoders.vocabulary.save(self.folders.weights / VOCABULARY)
        weights.save(self.encoders.image, self.configs["image"], self.folders.weights / IMAGE_ENCODER)
        weights.save(self.encoders.text, self.configs["text"], self.folders.weights / TEXT_ENCODER)

    def report(self) -> None:
        found = Retrieval.of(self.encoders, self.test_set, self.inputs)
        figures = {"recall": found.recall(), "chance": found.chance(), "sentences": len(found.scores)}
        figures["r_precision"] = found.r_precision()
        write_lines(self.folders.logs / "retrieval.json", [json.dumps(figures)])
        if figures["chance"] == 1:
            print("all test images are of one class, so how often sentences find theirs says nothing")
            return
        print(
            f"of {figures['sentences']} sentences of images never trained on, {figures['recall']:.1%} find their "
            f"class (chance {figures['chance']:.1%}), and {figures['r_precision']:.1%} are found by their image among "
            f"{OTHERS} of other classes (chance {1 / (OTHERS + 1):.1%})"
        )
