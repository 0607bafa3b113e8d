"""WebDataset shards of a prepared set: for disks that are slow at many small files."""

import os
import random
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from gcvideo.data.listing import ManifestError
from gcvideo.dataset_tools.check import Entry, read_entries
from gcvideo.dataset_tools.journal import PrepareError, csv_text, write_whole
from gcvideo.dataset_tools.pool import progress_bar

FOLDER = "shards"


def pack(out: Path, megabytes: float, progress: bool = True) -> Path:
    """Write shards/SPLIT-000000.tar ... and shards/manifest.csv of a prepared folder.

    The videos of a split are permuted once, so that every shard mixes classes. A shard that is there already was
    written whole and stays; equal sets give equal bytes.

    Args:
        out: folder with manifest.csv.
        megabytes: size of a shard, about.
        progress: show a bar.

    Returns:
        Path of the shards' manifest, written last.

    Raises:
        PrepareError: shards of another set or size are there, or webdataset is not installed.
    """
    try:
        from webdataset import TarWriter
    except ImportError:
        raise PrepareError("shards are written by the package webdataset: pip install 'gcvideo[shards]'") from None
    if not (out / "manifest.csv").is_file():
        raise PrepareError(f"{out} has no manifest.csv: prepare it first")
    folder = out / FOLDER
    folder.mkdir(exist_ok=True)
    try:
        plan = list(_plan(read_entries(out / "manifest.csv"), megabytes * 1e6))
    except (ManifestError, OSError) as error:  # no rows, or a video that is gone
        raise PrepareError(f"can't be packed: {error}") from None
    header = ["path", "label", *([] if "split" not in plan[0][1].said else ["split"])]
    header += [name for name in plan[0][1].said if name not in header] + ["shard"]
    text = csv_text(header, ([*(entry.said[name] for name in header[:-1]), shard] for shard, entry in plan))
    draft = folder / "plan.csv"
    for before in (draft, folder / "manifest.csv"):
        if before.exists() and before.read_text(encoding="utf-8") != text:
            raise PrepareError(f"{folder} has shards of another set or size: remove it")
    write_whole(draft, text)
    with progress_bar("pack", len(plan), progress) as bar:
        for shard, members in groupby(plan, key=lambda pair: pair[0]):
            entries = [entry for _, entry in members]
            if not (folder / shard).exists():
                partial = folder / f".{shard}.{os.getpid()}.part"
                with partial.open("wb") as stream:
                    with TarWriter(
                        stream, encoder=False, mtime=0, mode=0o644, user="", group="", compress=False
                    ) as tar:
                        for number, entry in enumerate(entries):
                            suffix = Path(entry.name).suffix[1:]
                            tar.write({"__key__": f"{number:09d}", suffix: Path(entry.file).read_bytes()})
                    stream.flush()
                    os.fsync(stream.fileno())
                os.replace(partial, folder / shard)
            bar.update(len(entries))
    write_whole(folder / "manifest.csv", text)
    draft.unlink(missing_ok=True)
    return folder / "manifest.csv"


def _plan(entries: list[Entry], size: float) -> Iterator[tuple[str, Entry]]:
    """(shard, entry) in the order of the shards."""
    for split in sorted({entry.split for entry in entries}):
        members = [entry for entry in entries if entry.split == split]
        random.Random(0).shuffle(members)
        number, filled = 0, 0.0
        for entry in members:
            if filled >= size:
                number, filled = number + 1, 0.0
            filled += os.path.getsize(entry.file)
            yield f"{split or 'all'}-{number:06d}.tar", entry
