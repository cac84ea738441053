"""How every command starts and ends: arguments, quiet imports, and one sentence with exit code 2 for bad input."""

import argparse
import errno
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial

from stackgan_keras.errors import InputError

NO_FOLDER = "a file stands where a folder should be: move it or give another path"
FULL_DISK = "the disk is full: make room and run the same command again"
FULL_MEMORY = "the memory is full: lower train.batch_size, the filters or data.image_size, or close other programs"
REMEDIES = {errno.EEXIST: NO_FOLDER, errno.ENOTDIR: NO_FOLDER, errno.ENOSPC: FULL_DISK}


class Parser(argparse.ArgumentParser):
    """Arguments by their full names; mistakes raise `InputError` instead of printing the usage."""

    def __init__(self, *, formatter=argparse.HelpFormatter, **keywords):
        super().__init__(allow_abbrev=False, formatter_class=partial(formatter, max_help_position=36), **keywords)

    def error(self, message: str):
        raise InputError(f"{message.removeprefix('argument ')}: --help shows how it is given")


@contextmanager
def quietly():
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
        return
    except KeyboardInterrupt:
        sys.exit(130)
    except InputError as problem:
        sentence = str(problem)
    except OSError as problem:
        remedy = REMEDIES.get(problem.errno, "check the path, its permissions and the disk, then run the command again")
        sentence = f"{problem.filename or 'a file'}: {problem.strerror or problem}; {remedy}"
    except Exception as problem:
        of_tensorflow = type(problem).__name__ == "ResourceExhaustedError"  # for a full memory and a full disk
        if not of_tensorflow and not isinstance(problem, MemoryError):
            raise
        sentence = FULL_DISK if os.strerror(errno.ENOSPC) in str(problem) else FULL_MEMORY
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)
