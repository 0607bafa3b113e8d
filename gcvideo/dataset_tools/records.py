"""What became of a video that was to be prepared, and how the journal spells it: one JSON object per line."""

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Prepared:
    """A video that is complete and verified.

    Attributes:
        target: path relative to the output folder.
        num_frames, fps, width, height: of the prepared file.
        sha256: hexadecimal digest of its content, 64 digits.
    """

    target: str
    num_frames: int
    fps: float
    width: int
    height: int
    sha256: str

    def __post_init__(self) -> None:
        if min(self.num_frames, self.width, self.height) < 1 or len(self.sha256) != 64:
            raise ValueError(f"expected positive sizes and a SHA-256 of 64 digits, got {self}")


@dataclass(frozen=True, slots=True)
class Failed:
    """A video that can't be prepared, and why; the others are not affected."""

    target: str
    reason: str


@dataclass(frozen=True, slots=True)
class Fatal:
    """A problem that would fail every video, such as a full disk. It stops the run and is not recorded."""

    target: str
    reason: str


Outcome = Prepared | Failed


def to_json(outcome: Outcome) -> str:
    """One line without its end. It is ASCII, so that no character of a path can end the line."""
    if isinstance(outcome, Failed):
        return json.dumps({"target": outcome.target, "failed": outcome.reason})
    return json.dumps(asdict(outcome))


def from_json(line: bytes) -> Outcome:
    """Inverse of `to_json`.

    Raises:
        ValueError: not a record; a machine that crashed can leave any bytes.
    """
    fields = json.loads(line)
    try:
        if set(fields) == {"target", "failed"}:
            return Failed(str(fields["target"]), str(fields["failed"]))
        return Prepared(**fields)
    except TypeError as error:  # not an object, or other keys
        raise ValueError(f"not a record of the journal: {error}") from None
