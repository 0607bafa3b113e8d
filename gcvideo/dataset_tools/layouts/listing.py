"""What every layout is read into: its rows, and the raw files by the keys that rows look for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gcvideo.errors import UsageError


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the annotations, or one file of a folder by class.

    Attributes:
        keys: names under which its file may be found, best first.
        target: path of the prepared file, relative to the output folder.
        label, split: as in `Job`.
        times: start and end of the action in the original video, in seconds; None if raw files are clips.
        columns: further columns to keep, name -> value.
    """

    keys: tuple[str, ...]
    target: str
    label: str
    split: str
    times: tuple[float, float] | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Listing:
    """The annotations of a data set.

    Attributes:
        rows: all rows with a label, in their order.
        file_of: key -> raw file.
        rejected: (file, reason) of raw files that do not fit the layout.
        unlabelled: number of rows without a label.
        is_official: whether the rows are the published annotations of a data set, and not a user's own.
    """

    rows: Sequence[Row]
    file_of: Mapping[str, str]
    rejected: Sequence[tuple[str, str]] = ()
    unlabelled: int = 0
    is_official: bool = False


def folder_name(label: str, path: Path) -> str:
    """A label or split of the annotations `path` as the name of a folder, which can't lead out of its parent.

    Raises:
        UsageError: it begins with a dot.
    """
    name = label.replace("/", "_").replace("\\", "_").replace("\0", "_").strip()
    if name.startswith("."):  # "..", and folders that `read_manifest` ignores as hidden
        raise UsageError(f"{path}: a label can't begin with a dot: {label!r}")
    return name
