"""Train a successor of StackGAN: sentences to images of several sizes at once, all branches together.

python -m stackgan_keras.train                                            on synthetic birds
python -m stackgan_keras.train --config birds_stackgan_v2 --data.root DIR on the published birds
"""

import sys
from collections.abc import Callable
from pathlib import Path

from stackgan_keras.command_line import OF_STAGES, quietly, run, settings_from
from stackgan_keras.config import Folders


def main(arguments: list[str] | None = None, on_grid: Callable[[Path], None] | None = None) -> None:
    """What the command does with these arguments, else with its own; `on_grid` gets the path of every new grid."""
    settings, output_dir = settings_from(
        sys.argv[1:] if arguments is None else arguments,
        prog="python -m stackgan_keras.train",
        description="Trains StackGAN++, whose branches make images of several sizes at once.",
        preset="mini_stackgan_v2",
        defaults={"data": {"image_size": 256}},
        common=OF_STAGES,
    )
    with quietly():  # only now, as it takes seconds: help and wrong settings answer at once
        from stackgan_keras.models import stages
        from stackgan_keras.training import stage

    folders = Folders(output_dir, settings.run)
    grid = stage.train(stages.joint(settings), settings, folders, on_grid)
    print(f"images: {grid}\nweights: {folders.weights}")


if __name__ == "__main__":
    run(main)
