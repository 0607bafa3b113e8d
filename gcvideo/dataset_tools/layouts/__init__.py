"""How data sets annotate their videos; one module per family of layouts.

| annotations | layout | module |
|---|---|---|
| none | a folder split/class/file or class/file | class_folders |
| one folder | lists of UCF-101 or HMDB-51 | class_lists |
| CSV files | Kinetics-400/600/700, or a manifest of ours | csv_files |
"""

from collections.abc import Sequence
from pathlib import Path

from gcvideo.dataset_tools.layouts.class_folders import read_class_folders
from gcvideo.dataset_tools.layouts.class_lists import read_class_lists
from gcvideo.dataset_tools.layouts.csv_files import read_csv_files
from gcvideo.dataset_tools.layouts.listing import Listing

__all__ = ["Listing", "read_listing"]


def read_listing(annotations: Sequence[Path], files: Sequence[str], split_number: int) -> Listing:
    """Read annotations in whichever layout they are.

    Args:
        annotations: see the table above.
        files: all raw files, sorted, relative to the raw folder.
        split_number: which of the three splits of UCF-101 and HMDB-51.

    Raises:
        UsageError: not one of the layouts, or damaged.
    """
    if not annotations:
        return read_class_folders(files)
    if len(annotations) == 1 and annotations[0].is_dir():
        return read_class_lists(annotations[0], files, split_number)
    return read_csv_files(annotations, files)
