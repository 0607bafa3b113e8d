"""Files that are written atomically: a reader sees the old file or the new one, never a part."""

import csv
import io
import json
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Path of a temporary file to write; it replaces `path` when the block ends, and is removed on an error.

    The temporary file lies in the folder of `path`, because `os.replace` is atomic only within a file system. Its name
    holds host and process, so that two machines sharing a disk cannot write into the same one.
    """
    target = Path(path)
    partial = target.with_name(f".{target.name}.{socket.gethostname()}.{os.getpid()}.part")
    try:
        yield partial
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())  # else a crash of the machine can leave an empty file under the final name
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


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
