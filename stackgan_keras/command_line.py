"""How every command starts and ends: arguments, quiet imports, and one sentence with exit code 2 for bad input."""

import argparse
import errno
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import contextmanager

from stackgan_keras.errors import InputError

FULL_DISK = "the disk is full: make room and run the same command again"


class Parser(argparse.ArgumentParser):
    """Arguments by their full names; mistakes raise `InputError` instead of printing the usage."""

    def __init__(self, **keywords):
        super().__init__(allow_abbrev=False, formatter_class=_help_format, **keywords)

    def error(self, message: str):
        raise InputError(f"{message.removeprefix('argument ')}: --help shows how it is given")


def _help_format(prog: str) -> argparse.HelpFormatter:
    return argparse.HelpFormatter(prog, max_help_position=36)


@contextmanager
def quietly():
    """Imports TensorFlow and the block's modules without the notices that would bury a command's own lines.

    They appear if an import fails, or if TF_CPP_MIN_LOG_LEVEL is set: 0 shows all.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ or "tensorflow" in sys.modules:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"  # errors only, from now on
    with without_notices():
        import tensorflow

        tensorflow.config.list_physical_devices()  # where there is no GPU, says so at length
        yield


@contextmanager
def without_notices():
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
    except InputError as problem:
        _stop(str(problem))
    except OSError as problem:
        _stop(_disk_sentence(problem))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as problem:
        sentence = _exhausted(problem)
        if sentence is None:
            raise
        _stop(sentence)


def _stop(sentence: str) -> None:
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)


def _exhausted(problem: Exception) -> str | None:
    """The sentence for a full memory or disk: TensorFlow has one error for both."""
    of_tensorflow = type(problem).__name__ == "ResourceExhaustedError"
    if of_tensorflow and os.strerror(errno.ENOSPC) in str(problem):
        return FULL_DISK
    if of_tensorflow or isinstance(problem, MemoryError):
        return "the memory is full: lower train.batch_size, the filters or data.image_size, or close other programs"
    return None


def _disk_sentence(problem: OSError) -> str:
    no_folder = "a file stands where a folder should be: move it or give another path"
    remedies = {
        errno.EEXIST: no_folder,
        errno.ENOTDIR: no_folder,
        errno.ENOSPC: FULL_DISK,
        errno.EACCES: "it may not be written or read: change its permissions or name another folder",
        errno.EROFS: "it is on a read-only disk: name another folder",
        errno.EDQUOT: "your quota is used up: make room and run the same command again",
    }
    remedy = remedies.get(problem.errno, "check the path and the disk, then run the same command again")
    return f"{problem.filename or 'a file'}: {problem.strerror or problem}; {remedy}"
