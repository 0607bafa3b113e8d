"""A line of the diagnosis."""

from typing import Literal, NamedTuple

Level = Literal["ok", "warning", "problem"]


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        level: a "problem" stops the run sooner or later; a "warning" costs time or accuracy.
        subject: such as "decoder".
        text: what was found, and what to do.
    """

    level: Level
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.level:8} {self.subject:14} {self.text}"


def size(num_bytes: float) -> str:
    """Bytes as people read them: "1.5 GiB"."""
    for unit in ("B", "KiB", "MiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:.3g} GiB"
