"""Train Stage I: sentences to sketches of 64 pixels.

python -m stackgan_keras.train_stage1                                       on birds drawn on the spot
python -m stackgan_keras.train_stage1 --config birds_stage1 --data.root DIR on the published birds
"""

import sys

from stackgan_keras import config
from stackgan_keras.command_line import quietly, run
from stackgan_keras.config import Folders


def main() -> None:
    settings, output_dir = config.from_command_line(
        sys.argv[1:],
        prog="python -m stackgan_keras.train_stage1",
        description="Trains Stage I: sentences to sketches of 64 pixels.",
        preset="drawn_stage1",
        defaults={},
    )
    with quietly():  # only now, as it takes seconds: help and wrong settings answer at once
        from stackgan_keras import stages
        from stackgan_keras.weights import Recipe

    folders = Folders(output_dir, settings.run)
    generator = Recipe("stage1_generator", stages.stage1_keywords(settings))
    sheet = stages.train(stages.Stage("stage1", generator, heads=("matched",)), settings, folders)
    same = f"--run {settings.run} --output_dir {output_dir}"
    if settings.data.root:
        same += f" --data.root {settings.data.root}"
    print(f"pictures: {sheet}\nweights: {folders.weights}\nnext: python -m stackgan_keras.train_stage2 {same}")


if __name__ == "__main__":
    run(main)
