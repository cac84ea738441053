"""How every command starts and ends: arguments, quiet imports, and one sentence with exit code 2 for bad input."""

import argparse
import errno
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple, NoReturn, get_args

from stackgan_keras import config
from stackgan_keras.config import Settings
from stackgan_keras.errors import InputError, is_exhausted

NO_FOLDER = "a file stands where a folder should be: move it or give another path"
FULL_DISK = "the disk is full: make room and run the same command again"
FULL_MEMORY = "the memory is full: lower train.batch_size, the filters or data.image_size, or close other programs"
REMEDIES = {errno.EEXIST: NO_FOLDER, errno.ENOTDIR: NO_FOLDER, errno.ENOSPC: FULL_DISK}
# what --help shows: of all training commands, and of those of the stages and of text alone
COMMON = ("run", "data.root", "data.image_size", "train.init_from", "train.precision", "train.sample_every")
OF_STAGES = ("generator.filters", "discriminator.filters", "train.batch_size", "train.epochs")
OF_TEXT = ("text.image_encoder", "text.batch_size", "text.captions", "text.epochs")


class Asked(NamedTuple):
    """What a training command was asked for."""

    settings: Settings
    output_dir: Path
    fresh: bool  # replaces what is there of the same training, in place of going on with it


class Parser(argparse.ArgumentParser):
    """Arguments by their full names; mistakes raise `InputError` instead of printing the usage."""

    def __init__(self, *, formatter: type[argparse.HelpFormatter] = argparse.HelpFormatter, **keywords: Any):
        super().__init__(allow_abbrev=False, formatter_class=partial(formatter, max_help_position=36), **keywords)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message.removeprefix('argument ')}: --help shows how it is given")


def settings_from(
    arguments: list[str], *, prog: str, description: str, preset: str, defaults: dict, common: tuple[str, ...] = ()
) -> Asked:
    """What a training command was given.

    Later sources win: the release's defaults, the stage's `defaults` (nested), a YAML file, the command line. The
    YAML file is `--config`, or `preset` if there is neither that nor data of one's own. `--help` shows the settings
    in `COMMON` and `common`, `--help-all` all of them.
    Raises `InputError` for anything that is no valid setting.
    """
    base = config.flat(defaults)
    usage = f"{prog}\n           [--config FILE] [--output_dir DIR] [--fresh] [--section.key VALUE]"
    example = f"example:\n  {prog} --run mine --data.root data/mine --train.precision mixed_bfloat16"
    formatter = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog=prog, usage=usage, description=description, epilog=example, formatter=formatter)
    add, in_full = parser.add_argument, "--help-all" in arguments
    add("--help-all", action="help", help="show this message with all settings and exit")
    add("--config", metavar="FILE", help=f"YAML file of settings, or name of a shipped one; without data: {preset}")
    add("--output_dir", metavar="DIR", type=Path, default=Path(), help="parent of weights, results, logs (default .)")
    add("--fresh", action="store_true", help="start over, and replace what is there of this training")
    groups: dict[str, argparse._ActionsContainer] = {"": parser}
    for name, field in config.fields().items():
        section = name.rpartition(".")[0]
        if section not in groups:
            groups[section] = parser.add_argument_group(section)
        help_ = f"{field.description} (default {_shown(base.get(name, field.default))})"
        help_ = help_ if in_full or name in COMMON + common else argparse.SUPPRESS
        groups[section].add_argument(f"--{name}", metavar=_kind(field.annotation), help=help_)
    given, unread = parser.parse_known_args(arguments)
    if unread:
        raise InputError(config.unknown(unread[0].removeprefix("--").split("=")[0]))
    overrides = {k: v for k, v in vars(given).items() if v is not None and k not in ("config", "output_dir", "fresh")}
    is_given = any(not config.is_none(overrides.get(name)) for name in ("data.root", "data.shards"))
    file = given.config or (None if is_given else preset)
    nested: dict = {}
    for name, value in {**base, **(config.flat(config.read(file)) if file else {}), **overrides}.items():
        section, _, key = name.rpartition(".")
        (nested.setdefault(section, {}) if section else nested)[key] = value
    return Asked(config.make(nested), given.output_dir, given.fresh)


def _kind(annotation) -> str:
    """What stands for a setting's value in the help."""
    kinds = {int: "N", float: "X", bool: "yes|no", str: "NAME", Path: "PATH"}
    if isinstance(annotation, str) or annotation in kinds:
        return kinds.get(annotation, annotation)
    return "|".join(_kind(part) for part in get_args(annotation) if part is not NoneType)


def _shown(value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


@contextmanager
def quietly() -> Iterator[None]:
    """Imports TensorFlow and the block's modules without their notices, unless TF_CPP_MIN_LOG_LEVEL asks for them."""
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ or "tensorflow" in sys.modules:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"  # errors only, from now on
    with without_notices():
        import tensorflow

        tensorflow.config.list_physical_devices()  # where there is no GPU, says so at length
        yield


@contextmanager
def without_notices() -> Iterator[None]:
    """Turns away what the block writes to standard error, and shows it only if the block fails.

    Libraries write below Python's `sys.stderr`, whatever the log level, so the file descriptor itself is turned away.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as notices:
        os.dup2(notices.fileno(), 2)
        try:
            yield
        except BaseException:
            notices.seek(0)
            os.write(terminal, notices.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def run(main: Callable[[], None]) -> None:
    """Runs a command's `main`; errors that the user can mend become one sentence and exit code 2."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill ends like Ctrl-C
    try:
        main()
        return
    except KeyboardInterrupt:
        sys.exit(130)
    except InputError as problem:
        sentence = str(problem)
    except OSError as problem:
        remedy = REMEDIES.get(
            problem.errno or 0, "check the path, its permissions and the disk, then run the command again"
        )
        sentence = f"{problem.filename or 'a file'}: {problem.strerror or problem}; {remedy}"
    except Exception as problem:
        if not is_exhausted(problem):
            raise
        sentence = FULL_DISK if os.strerror(errno.ENOSPC) in str(problem) else FULL_MEMORY
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)
