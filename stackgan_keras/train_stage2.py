"""Train Stage II: the sketches of a trained Stage I to pictures of 256 pixels.

python -m stackgan_keras.train_stage2                                       on birds drawn on the spot
python -m stackgan_keras.train_stage2 --config birds_stage2 --data.root DIR on the published birds
"""

import sys

from stackgan_keras import config
from stackgan_keras.command_line import quietly, run
from stackgan_keras.config import Folders
from stackgan_keras.errors import InputError


def main() -> None:
    settings, output_dir = config.from_command_line(
        sys.argv[1:],
        prog="python -m stackgan_keras.train_stage2",
        description="Trains Stage II: the sketches of a trained Stage I to pictures of 256 pixels.",
        preset="drawn_stage2",
        defaults={"data": {"image_size": 256}},
    )
    folders = Folders(output_dir, settings.run)
    sketcher = folders.weights / "stage1_gen.weights.h5"
    if not sketcher.is_file():
        raise InputError(
            f"there is no Stage I of the run {settings.run} at {sketcher}: "
            f"run python -m stackgan_keras.train_stage1 --run {settings.run} first, with the same --output_dir"
        )
    with quietly():  # only now, as it takes seconds: help and wrong settings answer at once
        from stackgan_keras import models, stages, weights
        from stackgan_keras.weights import Recipe

    sketch = weights.read_recipe(sketcher, "stage1_generator").keywords
    if sketch["text_dim"] != settings.generator.text_dim:
        raise InputError(
            f"{sketcher} reads embeddings of {sketch['text_dim']} numbers but generator.text_dim is "
            f"{settings.generator.text_dim}: give both stages the same data and the same generator.text_dim"
        )
    if settings.data.image_size < sketch["image_size"]:
        raise InputError(
            f"data.image_size is {settings.data.image_size} but the sketches of {sketcher} have "
            f"{sketch['image_size']} pixels: ask Stage II for as many or more"
        )
    known = sketch.get("architecture", "pytorch")
    if known != settings.generator.architecture:
        raise InputError(
            f"{sketcher} is a Stage I of generator.architecture {known} but Stage II is asked for with "
            f"{settings.generator.architecture}: give both the same"
        )
    generator = Recipe(
        "stage2_generator",
        {
            **stages.text_keywords(settings),
            "stage1": sketch,
            "residual_blocks": settings.generator.residual_blocks,
        },
    )
    stage = stages.Stage(
        "stage2",
        generator,
        heads=models.ARCHITECTURES[settings.discriminator.architecture].heads,
        prepare=lambda model: weights.fill(model.get_layer("stage1_generator"), sketcher),
    )
    sheet = stages.train(stage, settings, folders)
    print(f"pictures: {sheet}\nweights: {folders.weights}")


if __name__ == "__main__":
    run(main)
