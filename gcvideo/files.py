"""Files that are written atomically: a reader sees the old file or the new one, never a part."""

import csv
import json
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Path of a temporary file to write; it replaces `path` when the block ends, and is removed on an error."""
    target = Path(path)
    partial = _partial(target)
    # O_EXCL: in a folder that others can write to, someone may have planted a link there, which would be followed.
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666))
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
    partial.mkdir(parents=True)
    try:
        yield partial
        os.replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def publish(partial: Path, path: Path) -> None:
    """Give a complete file its final name; both names must be on one file system."""
    with open_no_link(partial, "rb+") as stream:
        os.fsync(stream.fileno())  # else a crash of the machine can leave an empty file under the final name
    os.replace(partial, path)


def open_no_link(path: Path, mode: str) -> IO[bytes]:
    """Open a binary file; a symbolic link at `path` itself is an error (links to folders above it are followed)."""
    return open(path, mode, opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o666))


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file atomically."""
    with replacing(path) as partial:
        partial.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically, in UTF-8 and with the line ends of `text`."""
    write_bytes(path, text.encode("utf-8"))


def csv_text(header: Iterable[str], rows: Iterable[Iterable[Any]], exact: bool = False) -> str:
    """A CSV file as text.

    Args:
        header: names of the columns.
        rows: the cells of each row.
        exact: leave every cell as it is, for files that programs read: a manifest's path must stay a path. Otherwise a
            cell that a spreadsheet would take for a formula begins with an apostrophe.
    """
    lines: list[str] = []
    # The writer quotes the characters of its line end only; readers take a bare "\r" for one, too.
    stream = SimpleNamespace(write=lambda line: lines.append(line.removesuffix("\r\n") + "\n"))
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(list(header))
    writer.writerows(rows if exact else ([_no_formula(cell) for cell in row] for row in rows))
    return "".join(lines)


# Names may begin with a hyphen, as the ids of YouTube do; a harmful formula calls something, too: -1+cmd|' /C calc'!A0
_FORMULA = re.compile(r"[=@\t\r]|[+-].*[(|!]", re.DOTALL)


def _no_formula(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


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
    that two machines that share a disk never write into the same file, and random digits, which nobody can foresee.
    """
    return target.with_name(f".{target.name}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}.part")
