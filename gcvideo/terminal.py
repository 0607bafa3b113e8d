"""Text from files and servers, safe to print: a terminal obeys control characters, so a name must not contain any."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# C0 and C1 without the line end, and the marks that reverse the order of what follows (a name that shows another).
_CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


MAX_CHARS = 5_000
"""No message of ours is as long; a name that someone has chosen may be."""


def printable(text: Any) -> str:
    r"""Text in which control characters are escaped: the bell is "\x07"; at most `MAX_CHARS` of it."""
    text = str(text)
    if len(text) > MAX_CHARS:
        text = f"{text[:MAX_CHARS]}..."
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def duration_text(seconds: float) -> str:
    """A time in the unit that a person would use: "45 s", "2.5 min", "3.1 h"."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


@contextmanager
def printable_warnings() -> Iterator[None]:
    """Escape control characters in the warnings of the block."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def show_printable(message: Warning | str, category: type[Warning], *args: Any, **kwargs: Any) -> None:
            safe = printable(message)
            show(message if safe == str(message) else category(safe), category, *args, **kwargs)

        warnings.showwarning = show_printable
        yield
