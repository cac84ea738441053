"""What does the package raise when the user can put it right?"""


class InputError(Exception):
    """One sentence for the user: what was found, what was expected, and what to do.

    Raised by every floor for bad files, settings and folders; the commands print the
    sentence and end with exit code 2 instead of a traceback.
    """
