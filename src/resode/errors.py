"""The one exception that means "the user can mend this"."""


class InputError(ValueError):
    """Wrong input: a parameter, a file, a folder. Its message is one line: what is wrong and what to do.

    The command line prints it as ``error: …`` without a traceback and exits with 1.
    """
