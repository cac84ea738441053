"""Is every shipped settings file valid, said how to run, and one that builds?"""

from pathlib import Path

import pytest

from stackgan_keras import config
from stackgan_keras.models import generators
from stackgan_keras.training import stage, text

FILES = sorted((Path(__file__).resolve().parents[1] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_header_and_settings(file):
    lines = file.read_text().splitlines()
    assert lines[0].startswith(("# python -m stackgan_keras.train_", "# make "))
    assert any("Score:" in line or "score" in line for line in lines if line.startswith("#"))
    settings = config.make(config.read(file))
    assert settings.data.image_size == (256 if file.stem.endswith("stage2") else 64)
    name, _, part = file.stem.rpartition("_")
    for other in {"text", "pictures", "stage1", "stage2"} - {part}:
        partner = file.with_name(f"{name}_{other}.yaml")
        if partner.is_file():  # they share a run, and what the run's text encoder must fit
            theirs = config.make(config.read(partner))
            assert (theirs.run, theirs.generator.text_dim) == (settings.run, settings.generator.text_dim)
            data = {"root"} | ({"synthetic_count", "synthetic_classes"} if "text" not in (part, other) else set())
            assert theirs.data.model_dump(include=data) == settings.data.model_dump(include=data)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_networks_build(file):
    settings = config.make(config.read(file))
    stage1 = stage.stage1_keywords(settings)
    if file.stem.endswith(("text", "pictures")):
        for recipe in text.recipes(settings).values():
            assert recipe.build().output_shape == (None, settings.generator.text_dim)
        return
    if file.stem.endswith("stage1"):
        generator = generators.stage1_generator(**stage1)
    else:
        generator = generators.stage2_generator(
            stage1={**stage1, "image_size": 64},
            residual_blocks=settings.generator.residual_blocks,
            **stage.text_keywords(settings),
        )
    assert generator.output["image"].shape[1:] == (settings.data.image_size,) * 2 + (3,)


def test_published_recipes():
    release = config.Settings()
    for name in ("birds", "flowers"):
        for stage in ("stage1", "stage2"):
            settings = config.make(config.read(f"{name}_{stage}"))
            differing = set(release.changed(settings)) - {"run", "data.image_size", "train.lr_decay_epochs"}
            of_tensorflow = ["generator.architecture", "discriminator.architecture", "discriminator.text"]
            assert differing == {*of_tensorflow, "data.captions_per_embedding"}
            networks = (settings.generator.architecture, settings.discriminator.architecture)
            assert networks == ("tensorflow", "tensorflow") and settings.discriminator.text == "embedding"
            assert settings.data.captions_per_embedding == 4
    train = release.train
    weights = ("penalty", "likeness", "anew", "edges")
    assert [getattr(train, f"{name}_weight") for name in weights] == [0] * len(weights)
    assert (train.average, train.recolour, train.makes_anew) == (0, False, False)
    assert (release.data.captions_per_embedding, release.data.fewest_captions) == (1, None)
    generator = release.generator
    assert (generator.condition_noise_scale, generator.conditional_batch_norm, generator.palette) == (1, False, False)
    assert (generator.flow_steps, generator.noise_spread, train.flow_epochs) == (0, 1, 0)
    assert release.text.loss == "hinge" and not release.text.whiten
    assert config.read("birds_stage1")["train"]["lr_decay_epochs"] == 50
    coco = config.make(config.read("coco_stage2"))
    assert (coco.generator.filters, coco.discriminator.filters, coco.generator.residual_blocks) == (192, 96, 2)
    assert (coco.train.batch_size, coco.train.epochs, coco.train.lr_decay_epochs) == (40, 100, 20)
