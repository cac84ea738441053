"""How does every command start and end? With one clear sentence and exit code 2 where the user can put it right."""

import errno
import signal
import sys
from collections.abc import Callable

from stackgan_keras.errors import InputError


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


def _stop(sentence: str) -> None:
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)


def _disk_sentence(problem: OSError) -> str:
    remedies = {
        errno.ENOSPC: "the disk is full: make room and run the same command again",
        errno.EACCES: "it may not be written or read: change its permissions or give another --output_dir",
        errno.EROFS: "it is on a read-only disk: give another --output_dir",
        errno.EDQUOT: "your quota is used up: make room and run the same command again",
    }
    remedy = remedies.get(problem.errno, "check the path and the disk, then run the same command again")
    return f"{problem.filename or 'a file'}: {problem.strerror or problem}; {remedy}"
