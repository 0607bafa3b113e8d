"""What a verb of the command line is, and how those that are no training read their arguments."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass


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
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
