"""What a verb of the command line is, and how those that are no training read their arguments."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gcvideo.errors import GcvideoError, UsageError

SCHEDULER = "dask scheduler such as tcp://host:8786, whose workers do the work; they must share the folders"
"""Help of `--scheduler`."""


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb of the command line.

    Args:
        parser: makes its parser; cheap, so that help and errors answer at once.
        run: does the work, given the parsed arguments; returns the exit status. It raises `GcvideoError` for what the
            user can mend, which `main` prints.
    """

    parser: Callable[[], argparse.ArgumentParser]
    run: Callable[[argparse.Namespace], int]


def verb_parser(verb: str, description: str) -> argparse.ArgumentParser:
    """Parser of `gcvideo VERB`: defaults in the help, no abbreviated options."""
    return argparse.ArgumentParser(
        prog=f"gcvideo {verb}",
        description=description,
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults, except those that tell nothing: `(default: None)`, and `(default: False)` of a flag."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        tells_nothing = action.default is None or action.default is False or action.default == []
        return action.help if tells_nothing else super()._get_help_string(action)


def positive_int(text: str) -> int:
    """`type` of an argument: an integer of at least 1."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, got {text!r}")
    return number


def positive_float(text: str) -> float:
    """`type` of an argument: a finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):  # False for nan, too
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return number


def non_negative_int(text: str) -> int:
    """`type` of an argument: an integer of at least 0."""
    return 0 if text == "0" else positive_int(text)


def non_negative_float(text: str) -> float:
    """`type` of an argument: a finite number of at least 0."""
    return 0.0 if text in ("0", "0.0") else positive_float(text)


@contextmanager
def as_usage_errors(*kinds: type[Exception]) -> Iterator[None]:
    """Turn errors into `UsageError`: one line for the user instead of a traceback.

    An OSError is a folder that can't be written or a full disk, a ValueError a setting that its dataclass refuses.
    """
    try:
        yield
    except GcvideoError:  # some of which are ValueErrors
        raise
    except kinds as error:
        raise UsageError(str(error)) from error
