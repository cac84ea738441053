"""Which command goes on after a training? One that works as it is printed, with what the run's own settings ask for."""

import argparse
import shlex
from pathlib import Path

from stackgan_keras import config
from stackgan_keras.config import Settings
from stackgan_keras.errors import InputError

SENTENCE = "what the image is to show"
# what Stage II has to have as Stage I has it, and what it takes over from Stage I's command line
OF_THE_RUN = (
    *("run", "data.root", "data.shards", "data.synthetic_count", "data.synthetic_classes"),
    *("generator.text_dim", "generator.architecture"),
)
AS_TYPED = (
    *("train.epochs", "train.lr_decay_epochs", "train.max_steps"),
    *("train.batch_size", "train.precision", "train.seed", "data.cache"),
)


def after(command: str, words: list[str], settings: Settings, output_dir: Path) -> str:
    """What to type after a `command` of these `words` on a shell's command line."""
    if command == "train_stage1":
        found = ["train_stage2", *_of_stage2(words, settings)]
    else:
        what = [SENTENCE] if settings.generator.conditional else ["--count", "16"]
        found = ["generate", "--run", settings.run, *what]
    below = [] if output_dir == Path() else ["--output_dir", str(output_dir)]
    return shlex.join(["python", "-m", f"stackgan_keras.{found[0]}", *below, *found[1:]])


def _of_stage2(words: list[str], settings: Settings) -> list[str]:
    """The config that goes with Stage I's, and the settings in which it is not like the run."""
    given = vars(_typed(words))
    partner = _partner(given.pop("config"))
    found = ["--config", partner] if partner else []
    has = {name: field.default for name, field in config.fields().items()}
    if partner or not settings.data.is_given:
        has |= config.flat(config.read(partner or "drawn_stage2"))
    wanted = config.flat(settings.model_dump(mode="json"))
    chosen = {name: wanted[name] for name in OF_THE_RUN if wanted[name] != has[name]}
    for name, value in (chosen | {name: value for name, value in given.items() if value is not None}).items():
        found += [f"--{name}", str(value)]
    return found


def _typed(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("config", *AS_TYPED):
        parser.add_argument(f"--{name}")
    return parser.parse_known_args(words)[0]


def _partner(stage1: str | None) -> str | None:
    """The config of Stage II that goes with one of Stage I, if there is one of such a name."""
    if stage1 is None or "stage1" not in Path(stage1).name:
        return None
    partner = str(Path(stage1).with_name(Path(stage1).name.replace("stage1", "stage2")))
    try:
        config.read(partner)
    except InputError:
        return None
    return partner
