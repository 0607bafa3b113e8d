"""Files that are written atomically: a reader sees the old file or the new one, never a part."""

import csv
import io
import json
import os
import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Path of a temporary file to write; it replaces `path` when the block ends, and is removed on an error."""
    target = Path(path)
    partial = _partial(target)
    try:
        yield partial
        publish(partial, target)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def creating_folder(path: str | Path) -> Iterator[Path]:
    """A new temporary folder to fill; it becomes `path` when the block ends, and is removed on an error.

    `path` must not exist, or be an empty folder: a folder can't be replaced atomically.
    """
    target = Path(path)
    partial = _partial(target)
    shutil.rmtree(partial, ignore_errors=True)  # left by a killed process that had the same id
    partial.mkdir(parents=True)
    try:
        yield partial
        os.replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def publish(partial: Path, path: Path) -> None:
    """Give a complete file its final name; both names must be on one file system."""
    with partial.open("rb+") as stream:
        os.fsync(stream.fileno())  # else a crash of the machine can leave an empty file under the final name
    os.replace(partial, path)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file atomically."""
    with replacing(path) as partial:
        partial.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically, in UTF-8 and with the line ends of `text`."""
    write_bytes(path, text.encode("utf-8"))


def csv_text(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A CSV file as text."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(list(header))
    writer.writerows(rows)
    return stream.getvalue()


def json_text(value: Any) -> str:
    """A JSON file as text."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def remove_partial(folder: str | Path) -> None:
    """Remove what killed processes left of the files that they were writing; no other one may be writing there."""
    for path in Path(folder).glob(".*.part"):
        path.unlink(missing_ok=True)


def link(path: str | Path, other: str | Path) -> None:
    """Give a file a second name, which another file may have had; nothing happens on a disk without hard links."""
    target = Path(other)
    partial = _partial(target)
    with suppress(OSError):
        partial.unlink(missing_ok=True)
        os.link(path, partial)
        os.replace(partial, target)


def _partial(target: Path) -> Path:
    """Temporary name for `target`.

    It is in the same folder, because `os.replace` is atomic only within a file system. It holds host and process, so
    that two machines that share a disk never write into the same file.
    """
    return target.with_name(f".{target.name}.{socket.gethostname()}.{os.getpid()}.part")
