"""What the user can put right: the package's exception, and checks of single values."""

import operator
from typing import Any


class InputError(Exception):
    """One sentence for the user: what was found, what was expected, and what to do.

    Raised for bad files, settings and folders; the commands print the sentence and end with exit code 2 instead of a
    traceback, and so does a cell of a notebook.
    """

    def _render_traceback_(self) -> list[str]:
        """What IPython shows of it."""
        return [f"error: {self}"]


def first_line(problem: Exception) -> str:
    """What another library's error says, for the middle of a sentence: its first line, or else its kind."""
    if "allow_pickle" in str(problem):  # by which numpy advises to run what stands in a file
        return "it holds Python objects, or is no file of arrays"
    return (str(problem).strip() or type(problem).__name__).splitlines()[0].rstrip(".:")


def is_exhausted(problem: Exception) -> bool:
    """Whether it says that the memory is full, or by TensorFlow's error, known by its name, memory or disk."""
    return isinstance(problem, MemoryError) or type(problem).__name__ == "ResourceExhaustedError"


def whole_number(name: str, value: Any, least: int, most: int | None = None) -> int:
    """`value`, a number or its digits, as an integer from `least` to `most`. Raises `InputError` naming it if not."""
    try:
        if isinstance(value, str):
            number = int(value) if value.isascii() and value.lstrip("-").isdigit() else None
        else:
            number = None if isinstance(value, bool) else operator.index(value)
    except (TypeError, ValueError):
        number = None
    if number is None or number < least or (most is not None and number > most):
        limits = f"of {least} or more" if most is None else f"from {least} to {most:,}"
        raise InputError(f"{name} is {value!r}: give a whole number {limits}")
    return number
