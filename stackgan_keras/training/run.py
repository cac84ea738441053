"""A run's folders, its settings from one command to the next, and its datasets with their embeddings."""

import filecmp
import hashlib
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from stackgan_keras import config
from stackgan_keras.config import Folders, Settings
from stackgan_keras.data import drawn_birds, kept_arrays, published, uncaptioned
from stackgan_keras.data.published import Dataset
from stackgan_keras.data.shards import folder as shards
from stackgan_keras.data.shards.dataset import TrainingSet
from stackgan_keras.data.shards.dataset import read as read_split
from stackgan_keras.errors import InputError
from stackgan_keras.files import atomic_write, leftovers
from stackgan_keras.models import sentence_reader
from stackgan_keras.models.runs import IMAGE_ENCODER, TEXT_ENCODER, VOCABULARY
from stackgan_keras.training.logs import UNFINISHED

UNTOUCHED = 600  # seconds after which nobody is writing an unfinished file any more
MAY_CHANGE = {  # settings that a run may change between one command and the next
    "data.root",
    "data.shards",
    "data.cache",
    "text.epochs",
    "text.embedding_scale",
    "train.init_from",
    "train.epochs",
    "train.max_steps",
    "train.sample_every",
    "train.save_every",
    "train.jit_compile",
}


def check_encoders(settings: Settings, folders: Folders) -> None:
    """Raises `InputError` where the run's text encoder is missing, or does not fit, whatever the data will be."""
    own, root, sharded = own_text_encoder(folders), settings.data.root, settings.data.shards
    if root is not None and sharded is not None:
        raise InputError(f"data.root is {root} and data.shards {sharded}: give one of them")
    if sharded is not None and not settings.generator.conditional:
        raise InputError("generator.conditional no learns from a folder of images: give data.root, not data.shards")
    if settings.generator.family == "attngan" and sharded is None:
        if not any((home / VOCABULARY).is_file() for home in (folders.weights, root) if home is not None):
            raise InputError(
                f"generator.family attngan reads words, but {folders.weights} holds no text encoder of words: run "
                f"python -m stackgan_keras.train_text --text.loss damsm --run {folders.run} first, with the same data"
            )
    elif settings.generator.conditional and own is not None:
        _check_text_dim(own, settings)


def data_root(settings: Settings, folders: Folders) -> Path:
    """The folder of the settings' data; draws the birds first if there is no `data.root`."""
    data, text_dim = settings.data, settings.generator.text_dim
    if data.root is not None:
        return data.root
    if data.shards is not None:
        raise InputError(f"a text encoder learns from data.root, not from data.shards {data.shards}: give the folder")
    root = folders.output_dir / "data" / f"drawn_{data.synthetic_count}_{data.synthetic_classes}_{text_dim}"
    return drawn_birds.write(
        root,
        count=data.synthetic_count,
        classes=data.synthetic_classes,
        test_classes=min(40, data.synthetic_classes // 5),
        embedding_dim=text_dim,
        progress=True,
    )


def read_datasets(settings: Settings, folders: Folders) -> tuple[TrainingSet, TrainingSet]:
    """The training and test sets of the settings' data, with the embeddings of the run's text encoder.

    The run's encoder is the one in its weights folder, or else the one that lies with the data, which is copied
    there. Without any, the embeddings are those of the data. A generator without text takes any folder of images.
    """
    if settings.data.shards is not None:
        return _read_shards(settings.data.shards, settings, folders)
    root = data_root(settings, folders)
    if settings.generator.family == "attngan":
        if (root / VOCABULARY).is_file():
            _copy_encoders(root, folders)
        train_set, test_set = (published.read(root, split, text_dim=None).captioned() for split in published.SPLITS)
        return train_set, test_set
    if not settings.generator.conditional:
        return uncaptioned.read(root)
    _copy_encoders(root, folders)
    own, brought = own_text_encoder(folders), root / TEXT_ENCODER
    if own is not None:
        _check_text_dim(own, settings)
    if own is None or (brought.is_file() and filecmp.cmp(own, brought, shallow=False)):
        text_dim = settings.generator.text_dim
        train_set, test_set = (published.read(root, split, text_dim=text_dim) for split in published.SPLITS)
        return train_set, test_set
    datasets = (published.read(root, split, text_dim=None) for split in published.SPLITS)
    train_set, test_set = (_embedded(own, dataset, folders.logs / "cache") for dataset in datasets)
    return train_set, test_set


def _read_shards(home: str, settings: Settings, folders: Folders) -> tuple[TrainingSet, TrainingSet]:
    """The two splits of a folder of shards, whose text encoder becomes the run's."""
    own = own_text_encoder(folders)
    if own is None:
        shards.copy_encoders(home, folders.weights)
        check_encoders(settings, folders)
    elif not shards.has_encoder(home, own):
        raise InputError(
            f"{own} is not the text encoder that made the embeddings in {home}: give another --run, or make the shards "
            f"by prepare --text_encoder {own}"
        )
    train_set, test_set = (read_split(home, split, settings.data.image_size) for split in published.SPLITS)
    if train_set.text_dim != settings.generator.text_dim:
        raise InputError(
            f"{home} holds embeddings of {train_set.text_dim} dimensions but generator.text_dim is "
            f"{settings.generator.text_dim}: set generator.text_dim to {train_set.text_dim}"
        )
    return train_set, test_set


def own_text_encoder(folders: Folders) -> Path | None:
    """The run's text encoder, if it has one."""
    own = folders.weights / TEXT_ENCODER
    return own if own.is_file() else None


def _copy_encoders(root: Path, folders: Folders) -> None:
    """Copies the encoders that lie with the data to the run's weights, if it has no text encoder of its own."""
    if (root / TEXT_ENCODER).is_file() and own_text_encoder(folders) is None:
        for file in (root / IMAGE_ENCODER, root / VOCABULARY, root / TEXT_ENCODER):
            if file.is_file():
                with atomic_write(folders.weights / file.name) as unfinished:
                    shutil.copyfile(file, unfinished)


def _check_text_dim(encoder: Path, settings: Settings) -> None:
    asked, known = settings.generator.text_dim, sentence_reader.text_dim_of(encoder)
    if known != asked:
        raise InputError(
            f"the text encoder {encoder} writes embeddings of {known} dimensions but generator.text_dim is {asked}: "
            f"set generator.text_dim to {known}, or give another --run"
        )


def _embedded(encoder: Path, dataset: Dataset, cache: Path) -> Dataset:
    """The images that have captions, with the embeddings that the encoder in a weight file gives them.

    They are kept in `cache` and found again there as long as neither the file nor the captions change.
    """
    dataset = dataset.captioned()
    captions = [caption for captions in dataset.captions for caption in captions]
    digest = hashlib.sha256(encoder.read_bytes() + "\n".join(captions).encode("utf-8", "surrogatepass"))
    path = cache / f"embeddings_{digest.hexdigest()[:16]}.npy"
    embeddings = kept_arrays.read(path, (len(captions), sentence_reader.text_dim_of(encoder)), np.float32)
    if embeddings is None:
        embeddings = sentence_reader.load(encoder).embed(captions, progress=True)
        kept_arrays.write(path, embeddings)
    first = published.first_rows([len(captions) for captions in dataset.captions])
    return replace(dataset, embeddings=embeddings, first_embedding=first)


def make_writable(*folders: Path) -> None:
    """Makes the folders. Raises `InputError` where nothing can be written."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise InputError(f"{folder} cannot be made ({problem.strerror}): give another --output_dir") from None
        if not os.access(folder, os.W_OK):
            raise InputError(f"{folder} cannot be written to: give another --output_dir or change its permissions")


def remove_unfinished(folders: Folders) -> None:
    """Removes what killed commands had not finished writing for the run, TensorFlow's checkpoints among it."""
    for folder in (folders.logs, folders.results, folders.weights):
        for path in [*leftovers(folder), *folder.rglob("ckpt-*_temp"), *folder.rglob("*.tempstate*")]:
            if not path.exists() or time.time() - path.stat().st_mtime < UNTOUCHED:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def start_over(logs: Path, results: Path) -> None:
    """Removes a training's checkpoints, figures and grids; its weights stay until there are new ones."""
    for folder in ("checkpoints", "warmup", "tensorboard"):
        shutil.rmtree(logs / folder, ignore_errors=True)
    for file in (logs / "config.yaml", logs / "metrics.jsonl", logs / UNFINISHED, *results.glob("*_[0-9]*.png")):
        file.unlink(missing_ok=True)


def check_nothing_is_lost(file: Path, logs: Path, *, fresh: bool) -> None:
    """A training without a checkpoint begins anew, and would write over weights that another left in its `file`."""
    begun = any(any((place / "checkpoints").glob("*.index")) for place in (logs, logs / "warmup"))
    if file.is_file() and not begun and not fresh:
        raise InputError(
            f"{file} is there, but no checkpoint in {logs} to go on from: give another --run, or --fresh to replace it"
        )


def check_same_run(settings: Settings, logs: Path) -> None:
    """A checkpoint is only ever continued with the settings it was made with."""
    earlier_file = logs / "config.yaml"
    if not earlier_file.is_file() or not any((place / "checkpoints").is_dir() for place in (logs, logs / "warmup")):
        return
    earlier = config.make(config.read(earlier_file))
    differing = {k: v for k, v in earlier.changed(settings).items() if k not in MAY_CHANGE}
    if differing:
        listed = ", ".join(f"{key} {was} (now {now})" for key, (was, now) in differing.items())
        raise InputError(
            f"{logs} holds an unfinished or finished run made with {listed}: ask for the same to go on with it, "
            "give another --run, or --fresh to start over"
        )
