"""Exceptions that are not defects: "the user can mend this", and "not finished yet"."""

# Environment variable: the time, in seconds since 1970, at which a training saves and raises TimeOver.
STOP_AT = "RESODE_STOP_AT"


class InputError(ValueError):
    """Wrong input: a parameter, a file, a folder. Its message is one line: what is wrong and what to do.

    The command line prints it as ``error: …`` without a traceback and exits with 1.
    """


class Diverged(InputError):
    """The loss of a training is infinite or undefined; its message begins with `SAYS`."""

    SAYS = "the loss is not finite"


class TimeOver(Exception):
    """The time given was over before the training was; what is done is saved, and the same command continues."""
