"""The rows of a manifest as `gcvideo check`, `split` and `pack` see them: with all columns, whether the file exists."""

import csv
import os
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from gcvideo.data.labels import complete_rows, labels_in
from gcvideo.data.locating import clip_paths
from gcvideo.errors import UsageError

_KINETICS_NAME = re.compile(r"([\w-]{11})_\d{6}_\d{6}", re.ASCII)  # as `gcvideo prepare` names clips
_UCF_NAME = re.compile(r"(v_.+_g\d+)_c\d+")


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the manifest.

    Attributes:
        file: path of the video.
        name: its path as written in the manifest.
        label, split: as written; split "" if the manifest has none.
        columns: all columns as written, by name; empty for a folder or a list.
        label_separator: of the labels in `label`, where videos may have several or none.
    """

    file: str
    name: str
    label: str
    split: str
    columns: dict[str, str] = field(default_factory=dict)
    label_separator: str | None = None

    @property
    def classes(self) -> list[str]:
        """The labels in `label`; one, unless there is a separator."""
        return labels_in(self.label, self.label_separator)

    @property
    def source(self) -> str:
        """What the video was cut from: the column `group`, a YouTube id, UCF-101's group; or ""."""
        stem = PurePosixPath(self.name).stem
        match = _KINETICS_NAME.fullmatch(stem) or _UCF_NAME.fullmatch(stem)
        return self.columns.get("group") or (match[1] if match else "")


def read_entries(
    manifest: Path, root: Path | None = None, split: str | None = None, label_separator: str | None = None
) -> list[Entry]:
    """All rows of a manifest of any form, or those of one split.

    Args:
        manifest: see `gcvideo.data.listing`.
        root: folder that the paths are relative to; default the manifest's own.
        split: default all.
        label_separator: of the labels in a cell, where videos may have several or none.

    Raises:
        ManifestError: not a manifest, no rows, or rows without a path or with a bad label.
        UsageError: a manifest of shards.
    """
    rows = complete_rows(manifest, label_separator)
    if rows.shards is not None:
        raise UsageError(f"{manifest} lists shards: check the manifest of the files that they were made of")
    folder = root or (manifest if manifest.is_dir() else manifest.parent)
    paths = rows.paths
    if rows.are_clips:
        path_of = clip_paths(str(folder))
        paths = [path_of.get(clip, f"{clip}.mp4") for clip in rows.paths]
    columns: list[dict[str, str]] = [{} for _ in rows.paths]
    if rows.has_header:
        with manifest.open(encoding="utf-8-sig", newline="") as stream:
            columns = list(csv.DictReader(stream))  # skips blank lines, as `complete_rows` does
    splits = rows.splits or [""] * len(rows.paths)
    entries = [
        Entry(os.path.join(folder, path), path, label, name, of_row, label_separator)
        for path, label, name, of_row in zip(paths, rows.labels, splits, columns, strict=True)
    ]
    return [entry for entry in entries if split is None or entry.split == split]
