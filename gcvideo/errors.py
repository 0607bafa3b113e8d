"""The errors of gcvideo: one root, so that one `except` serves them all."""


class GcvideoError(Exception):
    """What gcvideo raises for videos, files and requests that it cannot serve.

    The message says what is wrong, what was found and what was expected, in at most five lines. The command line
    prints it and exits with `exit_status`.
    """

    exit_status = 1


class UsageError(GcvideoError, ValueError):
    """The request itself is wrong: a setting, a path, or a combination of them. Nothing was begun."""

    exit_status = 2
