"""Train a successor of StackGAN: sentences to images of several sizes at once, all branches together.

python -m stackgan_keras.train                                            on synthetic birds
python -m stackgan_keras.train --config birds_stackgan_v2 --data.root DIR on the published birds
"""

from collections.abc import Callable
from pathlib import Path

from stackgan_keras.command_line import run
from stackgan_keras.training import command


def main(arguments: list[str] | None = None, on_grid: Callable[[Path], None] | None = None) -> None:
    """What the command does with these arguments, else with its own; `on_grid` gets the path of every new grid."""
    command.train(
        "train",
        arguments,
        on_grid,
        description="Trains StackGAN++, whose branches make images of several sizes at once.",
        preset="mini_stackgan_v2",
        defaults={"data": {"image_size": 256}},
    )


if __name__ == "__main__":
    run(main)
