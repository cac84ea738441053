"""Train the text encoder: sentences and images into one space.

python -m stackgan_keras.train_text                                 on synthetic birds
python -m stackgan_keras.train_text --data.root DIR --run NAME      on your own data (see `prepare`)
"""

import sys
from collections.abc import Callable
from pathlib import Path

from stackgan_keras.command_line import OF_TEXT, quietly, run, settings_from
from stackgan_keras.config import Folders


def main(arguments: list[str] | None = None, on_grid: Callable[[Path], None] | None = None) -> None:
    """What the command does with these arguments, else with its own; `on_grid` gets the path of every new grid."""
    settings, output_dir, fresh = settings_from(
        sys.argv[1:] if arguments is None else arguments,
        prog="python -m stackgan_keras.train_text",
        description="Trains the text encoder: sentences and images into one space.",
        preset="drawn_text",
        defaults={},
        common=OF_TEXT,
    )
    folders = Folders(output_dir, settings.run)
    with quietly():  # only now, as it takes seconds: help and wrong settings answer at once
        from stackgan_keras.training import text

    path = text.train(settings, folders, on_grid, fresh=fresh)
    print(f"weights: {path}\nwhat sentences find: {folders.results / 'text'}")


if __name__ == "__main__":
    run(main)
