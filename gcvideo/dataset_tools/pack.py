"""WebDataset shards of a prepared set, for disks that are slow with many small files.

A shard is a tar whose members are named by their number in it, `000000012.mp4`; its manifest lists the videos in the
order of the shards. `gcvideo.data.shards` reads them, and so does the library webdataset.
"""

import io
import os
import random
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from gcvideo.dataset_tools.entries import Entry, read_entries
from gcvideo.dataset_tools.pool import progress_bar
from gcvideo.errors import UsageError
from gcvideo.files import csv_text, replacing, write_text

FOLDER = "shards"

_SPLIT = re.compile(r"[\w-][\w.-]*", re.ASCII)
"""Splits that can begin the name of a shard: it must not lead to another folder, and readers refuse other names."""


@dataclass(frozen=True, slots=True)
class _Member:
    """A video and the shard that it goes into."""

    shard: str
    entry: Entry


def pack(out: Path, megabytes: float, progress: bool = True) -> Path:
    """Write shards/SPLIT-000000.tar ... and shards/manifest.csv of a prepared folder.

    The videos of a split are permuted once, so that every shard mixes classes. A shard that exists is complete and is
    kept, so an interrupted call resumes. Equal sets give equal bytes.

    Args:
        out: folder with manifest.csv.
        megabytes: approximate size of a shard.
        progress: show a bar.

    Returns:
        Path of the manifest of the shards, which is written last.

    Raises:
        UsageError: no prepared set, a split that can't name a file, or shards of another set or size exist.
    """
    if not (out / "manifest.csv").is_file():
        raise UsageError(f"{out} has no manifest.csv: prepare it first")
    try:
        members = list(_assign(read_entries(out / "manifest.csv"), megabytes * 1e6))
    except (ValueError, OSError) as error:  # no rows, or a video that is gone
        raise UsageError(f"can't be packed: {error}") from None
    folder = out / FOLDER
    folder.mkdir(exist_ok=True)
    manifest = folder / "manifest.csv"
    text = _manifest(members)
    draft = folder / "plan.csv"  # what an interrupted call was about to write
    for before in (draft, manifest):
        if before.exists() and before.read_text(encoding="utf-8") != text:
            raise UsageError(f"{folder} has shards of another set or size: remove it")
    write_text(draft, text)
    with progress_bar("pack", len(members), progress) as bar:
        for shard, group in groupby(members, key=lambda member: member.shard):
            entries = [member.entry for member in group]
            if not (folder / shard).exists():
                _write_shard(folder / shard, entries)
            bar.update(len(entries))
    write_text(manifest, text)
    draft.unlink(missing_ok=True)
    return manifest


def _assign(entries: Sequence[Entry], size: float) -> Iterator[_Member]:
    """Videos in the order of the shards; a shard is full when it has at least `size` bytes."""
    for split in sorted({entry.split for entry in entries}):
        if split and not _SPLIT.fullmatch(split):
            raise ValueError(f"expected splits of letters, digits, '-', '_' and '.', got {split!r}")
        of_split = [entry for entry in entries if entry.split == split]
        random.Random(0).shuffle(of_split)  # a resumed call must get the same shards
        number, filled = 0, 0
        for entry in of_split:
            if filled >= size:
                number, filled = number + 1, 0
            filled += os.path.getsize(entry.file)
            yield _Member(f"{split or 'all'}-{number:06d}.tar", entry)


def _manifest(members: Sequence[_Member]) -> str:
    """The columns of the files' manifest, with `shard` as the last."""
    columns = list(members[0].entry.columns)
    first = [name for name in ("path", "label", "split") if name in columns]
    header = first + [name for name in columns if name not in first]
    rows = ([*(member.entry.columns[name] for name in header), member.shard] for member in members)
    return csv_text([*header, "shard"], rows, exact=True)


def _write_shard(path: Path, entries: Sequence[Entry]) -> None:
    """Write one tar atomically.

    Of each member only name and content vary: no times, no owners, so equal videos give equal bytes.
    """
    # USTAR, as webdataset writes: equal bytes, so shards that it wrote for earlier versions are continued.
    with replacing(path) as partial, tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number, entry in enumerate(entries):
            data = Path(entry.file).read_bytes()
            member = tarfile.TarInfo(f"{number:09d}.{Path(entry.name).suffix[1:]}")
            member.size, member.mtime, member.mode = len(data), 0, 0o644
            tar.addfile(member, io.BytesIO(data))
