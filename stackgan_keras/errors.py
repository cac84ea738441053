"""What does the package raise when the user can put it right?"""


class InputError(Exception):
    """One sentence for the user: what was found, what was expected, and what to do.

    Raised by every floor for bad files, settings and folders; the commands print the
    sentence and end with exit code 2 instead of a traceback.
    """


def first_line(problem: Exception) -> str:
    """What another library's error says, for the middle of a sentence: its first line, or else its kind."""
    return (str(problem).strip() or type(problem).__name__).splitlines()[0].rstrip(".:")
