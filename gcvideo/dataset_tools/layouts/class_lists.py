"""Data sets with folders by class and text files that list the files of each split.

- UCF-101: trainlist0N.txt and testlist0N.txt with lines `Class/v_Class_g01_c01.avi 1`.
- HMDB-51: CLASS_test_splitN.txt with lines `file.avi tag`; tag 1 is training, 2 is test, 0 is neither.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from gcvideo.dataset_tools.layouts.listing import Listing, Row, folder_name
from gcvideo.errors import UsageError

_HMDB_SPLITS = {"1": "train", "2": "test"}


def read_class_lists(folder: Path, files: Sequence[str], split_number: int) -> Listing:
    """The lists of whichever of the two data sets `folder` holds.

    Raises:
        UsageError: neither of them.
    """
    rows = _ucf101_rows(folder, split_number) or _hmdb51_rows(folder, split_number)
    if not rows:
        raise UsageError(
            f"{folder}: found neither trainlist{split_number:02d}.txt and testlist{split_number:02d}.txt (UCF-101) nor "
            f"CLASS_test_split{split_number}.txt (HMDB-51)"
        )
    # Reversed, so that of files with equal keys the first wins. A file is found by its path, or by its name alone
    # if the raw folder has other folders than the list.
    file_of = {_key(file): file for file in reversed(files)}
    file_of |= {_key(PurePosixPath(file).name): file for file in reversed(files)}
    return Listing(rows, file_of, is_official=True)


def _ucf101_rows(folder: Path, number: int) -> list[Row]:
    """Nothing if the files of UCF-101 are not there."""
    lists = {split: folder / f"{split}list{number:02d}.txt" for split in ("train", "test")}
    if not all(path.is_file() for path in lists.values()):
        return []
    rows = []
    for split, path in lists.items():
        for line in path.read_text(encoding="utf-8").splitlines():
            name = line.split(" ")[0].strip()  # the training list has the class index in a second column
            if line.strip():
                rows.append(_row(PurePosixPath(name).parent.name, name, split, folder))
    return rows


def _hmdb51_rows(folder: Path, number: int) -> list[Row]:
    """Nothing if the files of HMDB-51 are not there."""
    rows = []
    for path in sorted(folder.glob(f"*_test_split{number}.txt")):
        label = path.name.removesuffix(f"_test_split{number}.txt")
        for line in path.read_text(encoding="utf-8").splitlines():
            name, _, tag = line.strip().rpartition(" ")
            if tag not in ("", "0", "1", "2"):  # "" is a blank line
                raise UsageError(f"{path}: expected lines of 'file tag' with tag 0, 1 or 2, got {line!r}")
            if tag in _HMDB_SPLITS:
                rows.append(_row(label, f"{label}/{name.strip()}", _HMDB_SPLITS[tag], folder))
    return rows


def _row(label: str, name: str, split: str, folder: Path) -> Row:
    path = PurePosixPath(name)
    target = f"{folder_name(label, folder)}/{folder_name(path.stem, folder)}.mp4"
    return Row((_key(name), _key(path.name)), target, label, split)


def _key(path: str) -> str:
    """Path without suffix in lower case: UCF-101 spells HandStandPushups in two ways."""
    return str(PurePosixPath(path).with_suffix("")).lower()
