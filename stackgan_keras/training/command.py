"""What the commands `train_stage1`, `train_stage2` and `train` share: from their arguments to trained networks."""

import sys
from collections.abc import Callable
from pathlib import Path

from stackgan_keras.command_line import OF_STAGES, quietly, settings_from
from stackgan_keras.config import Folders
from stackgan_keras.training import next_command


def train(
    name: str,
    arguments: list[str] | None,
    on_grid: Callable[[Path], None] | None,
    *,
    description: str,
    preset: str,
    defaults: dict,
) -> None:
    """Trains what the command `name` trains, with these arguments or else its own; prints where it is, and what next.

    `on_grid` gets the path of every new grid; the others are as `settings_from` takes them. Raises `InputError` for
    wrong arguments, and for data and networks that do not fit them.
    """
    words = sys.argv[1:] if arguments is None else arguments
    settings, output_dir, fresh = settings_from(
        words,
        prog=f"python -m stackgan_keras.{name}",
        description=description,
        preset=preset,
        defaults=defaults,
        common=OF_STAGES,
    )
    with quietly():  # only now, as it takes seconds: help and wrong settings answer at once
        from stackgan_keras.models import stages
        from stackgan_keras.training import stage

    folders = Folders(output_dir, settings.run)
    grid = stage.train(stages.of_command(name, settings, folders), settings, folders, on_grid, fresh=fresh)
    if grid is not None:  # of several machines the first one speaks
        print(f"images: {grid}\nweights: {folders.weights}")
        print(f"next: {next_command.after(name, words, settings, output_dir)}")
