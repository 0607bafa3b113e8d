"""What a user asks to label: a video, a folder of videos, or the rows of a manifest."""

from pathlib import Path
from typing import NamedTuple

from gcvideo.data.labels import distinct_labels
from gcvideo.data.listing import read_rows
from gcvideo.data.manifest import read_manifest, videos_at
from gcvideo.data.videos import Videos
from gcvideo.errors import UsageError

MANIFEST_SUFFIXES = (".csv", ".txt")


class Source(NamedTuple):
    """Videos to label.

    Attributes:
        videos: the videos.
        has_labels: whether their labels are classes of the model; else they mean nothing.
    """

    videos: Videos
    has_labels: bool


def find_videos(
    path: str | Path, class_names: list[str], split: str | None = None, label_separator: str | None = None
) -> Source:
    """The videos of a file, folder or manifest.

    Args:
        path: a manifest (by its suffix, .csv or .txt), a folder, or a video.
        class_names: of the model.
        split: rows of a manifest to keep; default all.
        label_separator: of the labels in a cell of a manifest, for a model of several classes a video.

    Raises:
        UsageError: no video there, an unusable manifest, or a split of what is no manifest.
    """
    if Path(path).suffix.lower() not in MANIFEST_SUFFIXES or Path(path).is_dir():
        if split is not None:
            raise UsageError(f"--split selects rows of a manifest (.csv or .txt), got {path}")
        return Source(videos_at(str(path)), False)
    labels = distinct_labels(read_rows(Path(path)).labels, label_separator)
    are_classes = bool(labels) and labels <= {*class_names, *map(str, range(len(class_names)))}
    names = class_names if are_classes or not labels else None
    return Source(read_manifest(path, split, class_names=names, label_separator=label_separator), are_classes)
