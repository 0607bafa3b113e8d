"""The errors of gcvideo: one root, so that one `except` serves them all."""

import signal


class GcvideoError(Exception):
    """What gcvideo raises for videos, files and requests that it cannot serve.

    The message says what is wrong, what was found and what was expected, in at most five lines. The command line
    prints it and exits with `exit_status`.

    Attributes:
        prefix: in a distributed run, which rank has raised it.
        is_told: whether another rank prints it.
    """

    exit_status = 1
    prefix = ""
    is_told = False


class UsageError(GcvideoError, ValueError):
    """The request itself is wrong: a setting, a path, or a combination of them. Nothing was begun."""

    exit_status = 2


class InterruptedRunError(GcvideoError):
    """A signal stopped the run; the message says where, and how to resume.

    Args:
        message: what to print.
        signum: the signal. The exit status is 128 + its number, the shell's convention: 143 for SIGTERM.
    """

    def __init__(self, message: str, signum: int):
        super().__init__(message)
        self.signum = signal.Signals(signum)
        self.exit_status = 128 + signum
