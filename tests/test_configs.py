"""Every shipped config is valid, says how to run it and what it reached, builds, and takes a step at reduced width."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import random_features

from stackgan_keras import config
from stackgan_keras.config import Folders
from stackgan_keras.models import runs, stages, weights
from stackgan_keras.models.generators import images_of, named_by
from stackgan_keras.models.projected import FRAMING
from stackgan_keras.models.vocabulary import END, Vocabulary
from stackgan_keras.porting.extractors import Extractor
from stackgan_keras.training import damsm_encoders, objective, optimizers, text
from stackgan_keras.training.augmentation import DRAWS
from stackgan_keras.training.train_step import TrainStep

FILES = sorted((Path(__file__).resolve().parents[1] / "configs").glob("*.yaml"))
STAGE_FILES = [file for file in FILES if not file.stem.endswith("_text")]
WITHOUT_TEXT = [f"{name}_stackgan_v2" for name in ("dog", "cat", "bedroom", "church")]  # their networks are one's
WORDS = 3  # of a sentence
NARROW = {"filters": 8, "text_dim": 6, "condition_dim": 4, "noise_dim": 5, "residual_blocks": 1}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_header_and_settings(file):
    lines = file.read_text().splitlines()
    assert lines[0].startswith(("# python -m stackgan_keras.train", "# python benchmarks/ablations.py ", "# make "))
    head = [line for line in lines if line.startswith("#")]
    assert any("Score:" in line for line in head) and len(head) <= 6
    settings = config.make(config.read(file))
    assert settings.data.image_size == image_size(file.stem)
    name, _, part = file.stem.rpartition("_")
    parts = {"text", "stage1", "stage2"}
    for other in parts - {part} if part in parts else ():
        partner = file.with_name(f"{name}_{other}.yaml")
        if partner.is_file():  # they share a run, and what the run's text encoder must fit
            theirs = config.make(config.read(partner))
            assert (theirs.run, theirs.generator.text_dim) == (settings.run, settings.generator.text_dim)
            data = {"root"} | ({"synthetic_count", "synthetic_classes"} if "text" not in (part, other) else set())
            assert theirs.data.model_dump(include=data) == settings.data.model_dump(include=data)


def image_size(config_name):
    if config_name in ("small_flowers_text", "projected_birds_text", "birds_attngan_text", "coco_attngan_text"):
        return 256  # what their feature extractors take
    if config_name.endswith(("text", "stage1")) and "_single_" not in config_name:
        return 64
    return 128 if config_name.startswith(("demo_", "mini_")) or "_128_" in config_name else 256


@pytest.mark.parametrize("file", [f for f in STAGE_FILES if f.stem not in WITHOUT_TEXT[1:]], ids=lambda file: file.stem)
def test_a_step_at_reduced_width(file, tmp_path):
    """With everything else as it stands there; adversarially."""
    settings = config.make(config.read(file))
    assert settings.train.epochs > settings.train.warmup_epochs  # the discriminator trains on more than the warm-up
    generator = settings.generator.model_copy(update=NARROW)
    settings = settings.model_copy(
        update={"generator": generator, "discriminator": settings.discriminator.model_copy(update={"filters": 4})}
    )
    made = reduced_stage(file, settings, Folders(tmp_path, settings.run))
    keras.utils.set_random_seed(0)
    generator, discriminators = made.build(None, tmp_path)
    sizes = images_of(generator)
    assert [*sizes.values()][-1] == settings.data.image_size
    pretrained = None if settings.discriminator.features is None else random_features()
    task = objective.adversarial(generator, discriminators, settings, pretrained)
    names = ("generator", *(adversary.name for adversary in task.adversaries))
    step = TrainStep(task, {name: optimizers.make_adam(2e-4, 100) for name in names})
    random = np.random.default_rng(0)
    shapes = {name: [2, *(WORDS if n is None else n for n in x.shape[1:])] for name, x in generator.input.items()}
    batch = {name: random.normal(size=shape) for name, shape in shapes.items()}
    for name, size in sizes.items():
        for kind in (name, named_by(name, "direction"), named_by(name, "wrong_image")):
            batch[kind] = random.uniform(-1, 1, (2, size, size, 3))
    batch["augmentation"] = random.uniform(size=(2, 2 * DRAWS))
    batch["framing"] = random.uniform(size=(2, 2 * FRAMING))
    batch = {name: tf.constant(value, tf.float32) for name, value in batch.items()} | {"class_id": tf.constant([1, 2])}
    if "mask" in batch:
        batch["mask"] = tf.sequence_mask([WORDS, 1], WORDS)
    scalars = step(batch)
    assert {*names, "generator"} <= set(scalars)
    assert all(np.isfinite(float(value)) for value in scalars.values())


def reduced_stage(file, settings, folders):
    if settings.generator.family != "stackgan":
        return stages.joint(settings)
    if file.stem.endswith("stage1"):
        return stages.stage1(settings)
    first = settings.model_copy(
        update={
            "data": settings.data.model_copy(update={"image_size": 64}),
            "train": settings.train.model_copy(
                update={"warmup_epochs": 0, "pixel_weight": 0.0, "consistency_weight": 0.0}
            ),
        }
    )
    stage1 = stages.stage1(first)
    weights.save(stage1.generator.build(), stage1.generator, runs.weight_file(folders.weights, "stage1_gen"))
    return stages.stage2(settings, folders)


@pytest.mark.parametrize("file", [f for f in FILES if f.stem.endswith("_text")], ids=lambda file: file.stem)
def test_encoders_build(file):
    settings = config.make(config.read(file))
    image = keras.Input((8, 8, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(image)
    extractor = Extractor("any", "", keras.Model(image, {"features": pooled}))
    if settings.text.loss == "damsm":
        made = damsm_encoders.model_configs(settings, Vocabulary([END, "red"]), settings.text.image_encoder)
        read, seen = (made[part].build().output for part in ("text", "image"))
        assert read["sentence"].shape == seen["code"].shape == (None, settings.generator.text_dim)
        return
    frozen = None if settings.text.image_encoder == "small" else extractor
    for model_config in text.model_configs(settings, frozen).values():
        assert model_config.build().output_shape == (None, settings.generator.text_dim)


def test_published_recipes():
    release = config.Settings()
    for name in ("birds", "flowers"):
        for part in ("stage1", "stage2"):
            settings = config.make(config.read(f"{name}_{part}"))
            differing = set(release.changed(settings)) - {"run", "data.image_size", "train.lr_decay_epochs"}
            of_tensorflow = ["generator.architecture", "discriminator.architecture", "discriminator.text"]
            assert differing == {*of_tensorflow, "data.captions_per_embedding"}
            networks = (settings.generator.architecture, settings.discriminator.architecture)
            assert networks == ("tensorflow", "tensorflow") and settings.discriminator.text == "embedding"
            assert settings.data.captions_per_embedding == 4
    train, generator = release.train, release.generator
    assert (train.r1_weight, train.pixel_weight, train.warmup_epochs, train.ema_decay) == (0, 0, 0, 0)
    assert (generator.condition_noise_scale, generator.conditional_batch_norm) == (1, False)
    assert release.data.captions_per_embedding == 1
    assert release.text.loss == "hinge" and not release.text.whiten
    assert config.read("birds_stage1")["train"]["lr_decay_epochs"] == 50
    coco = config.make(config.read("coco_stage2"))
    assert (coco.generator.filters, coco.discriminator.filters, coco.generator.residual_blocks) == (192, 96, 2)
    assert (coco.train.batch_size, coco.train.epochs, coco.train.lr_decay_epochs) == (40, 100, 20)


@pytest.mark.parametrize("name", WITHOUT_TEXT[1:])
def test_the_release_trains_without_text_alike_on_all_data(name):
    length = {"train.epochs", "train.lr_decay_epochs", "train.sample_every", "train.save_every"}
    assert {*differences(WITHOUT_TEXT[0], name)} <= length


COMPARISONS = {  # what is added to a family's name, what it is compared with, and all settings in which they differ
    "no_augmentation_stage1": ("stage1", {"generator.augment_condition": False}),
    "gan_int_cls_stage1": ("stage1", {"generator.augment_condition": False, "train.interpolation_weight": 1}),
    "single_no_augmentation_stage1": ("single_stage1", {"generator.augment_condition": False}),
    "no_text_stage2": ("stage2", {"generator.read_text_again": False}),
}
OF_MINI = {"single_stage1": ("stage1", {"data.image_size": 128})}
OF_BIRDS = {
    "single_stage1": ("stage1", {"data.image_size": 256}),
    "128_stage2": ("stage2", {"data.image_size": 128}),
    "no_text_128_stage2": ("128_stage2", {"generator.read_text_again": False}),
}


@pytest.mark.parametrize("family", ["mini", "birds"])
def test_what_the_paper_compares_differs_in_nothing_else(family):
    compared = COMPARISONS | {"mini": OF_MINI, "birds": OF_BIRDS}[family]
    stages_of_family = [file.stem for file in STAGE_FILES if file.stem.endswith(("stage1", "stage2"))]
    there = {name for name in stages_of_family if name.startswith(f"{family}_")}
    assert {f"{family}_{name}" for name in (*compared, "stage1", "stage2")} == there
    for name, (base, expected) in compared.items():
        assert differences(f"{family}_{base}", f"{family}_{name}") == expected, name


def test_the_miniature_is_drawn_stage1_made_narrow_with_the_condition_as_released():
    widths = {"generator.filters": 16, "discriminator.filters": 16}
    condition = {"generator.condition_noise_scale": 1, "generator.conditional_batch_norm": False, "train.kl_weight": 2}
    assert differences("drawn_stage1", "mini_stage1") == {**widths, **condition, "train.epochs": 2}
    of_stage2 = {"data.image_size": 128, "discriminator.filters": 8, "generator.residual_blocks": 1}
    assert differences("mini_stage1", "mini_stage2") == of_stage2


def differences(one, other):
    """The settings of the second of two configs that are others than the first's; both have a run of their own."""
    first, second = (config.make(config.read(name)) for name in (one, other))
    return {name: now for name, (_, now) in first.changed(second).items() if name != "run"}
