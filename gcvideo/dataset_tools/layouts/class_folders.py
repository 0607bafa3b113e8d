"""A folder split/class/file or class/file, of which all videos are used."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from gcvideo.dataset_tools.layouts.listing import Listing, Row


def read_class_folders(files: Sequence[str]) -> Listing:
    """One row for each file at the depth at which most files are."""
    depths = Counter(len(PurePosixPath(file).parts) for file in files)
    # By majority: one stray file does not overturn the layout. What does not fit is listed, not an error.
    has_splits = depths[3] > depths[2]
    rows, rejected = [], []
    for file in files:
        parts = PurePosixPath(file).parts
        if len(parts) != (3 if has_splits else 2):
            rejected.append((file, f"not in {'split/class/' if has_splits else 'class/'}"))
            continue
        target = str(PurePosixPath(file).with_suffix(".mp4"))
        rows.append(Row((file,), target, label=parts[-2], split=parts[0] if has_splits else ""))
    return Listing(rows, {file: file for file in files}, rejected)
