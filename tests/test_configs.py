"""Is every shipped settings file valid, said how to run, and one that builds?"""

from pathlib import Path

import pytest

from stackgan_keras import config, models, stages

FILES = sorted((Path(__file__).resolve().parents[1] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_header_and_settings(file):
    lines = file.read_text().splitlines()
    assert lines[0].startswith(("# python -m stackgan_keras.train_stage", "# make "))
    assert any("Score:" in line or "score" in line for line in lines if line.startswith("#"))
    settings = config.make(config.read(file))
    assert settings.data.image_size == (256 if file.stem.endswith("stage2") else 64)
    partner = config.read(file.with_name(file.name.replace("stage1", "stage2")))
    assert partner["run"] == settings.run  # or Stage II would not find its Stage I


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_networks_build(file):
    settings = config.make(config.read(file))
    stage1 = {**stages.text_keywords(settings), "noise_dim": settings.generator.noise_dim}
    if file.stem.endswith("stage1"):
        generator = models.stage1_generator(**stage1)
    else:
        generator = models.stage2_generator(
            stage1={**stage1, "image_size": 64},
            residual_blocks=settings.generator.residual_blocks,
            **stages.text_keywords(settings),
        )
    assert generator.output["image"].shape[1:] == (settings.data.image_size,) * 2 + (3,)


def test_published_recipes():
    release = config.Settings()
    for name in ("birds", "flowers"):
        for stage in ("stage1", "stage2"):
            differing = release.changed(config.make(config.read(f"{name}_{stage}")))
            assert set(differing) <= {"run", "data.image_size", "train.halve_every"}
    assert config.read("birds_stage1")["train"]["halve_every"] == 50
    coco = config.make(config.read("coco_stage2"))
    assert (coco.generator.filters, coco.discriminator.filters, coco.generator.residual_blocks) == (192, 96, 2)
    assert (coco.train.batch_size, coco.train.epochs, coco.train.halve_every) == (40, 100, 20)
