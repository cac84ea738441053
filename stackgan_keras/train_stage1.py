"""Train Stage I: sentences to images of 64 pixels.

python -m stackgan_keras.train_stage1                                       on synthetic birds
python -m stackgan_keras.train_stage1 --config birds_stage1 --data.root DIR on the published birds
"""

from collections.abc import Callable
from pathlib import Path

from stackgan_keras.command_line import run
from stackgan_keras.training import command


def main(arguments: list[str] | None = None, on_grid: Callable[[Path], None] | None = None) -> None:
    """What the command does with these arguments, else with its own; `on_grid` gets the path of every new grid."""
    command.train(
        "train_stage1",
        arguments,
        on_grid,
        description="Trains Stage I: sentences to images of 64 pixels.",
        preset="drawn_stage1",
        defaults={},
    )


if __name__ == "__main__":
    run(main)
