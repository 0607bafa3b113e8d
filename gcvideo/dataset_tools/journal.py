"""What has been done, so that a run killed at any point goes on without doing or losing anything twice.

A journal is a file of JSON lines that is only ever appended to; a last line cut short by a kill does not count. Each
shard of a run writes its own (`.prepare/3-of-64.jsonl`), and all read all.
"""

import csv
import fcntl
import io
import json
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FOLDER = ".prepare"


class PrepareError(RuntimeError):
    """Preparing can't go on; nothing that is done is lost."""


class Journal:
    """The journals of an output folder.

    Args:
        out: the output folder; made if it is not there.
        settings: what makes files equal; another run into the same folder must have the same.
        shard: number and count of shards, (3, 64).

    Raises:
        PrepareError: prepared with other settings, or another process works on this shard.
    """

    def __init__(self, out: Path, settings: dict[str, Any], shard: tuple[int, int]):
        self.folder = out / FOLDER
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"{shard[0]}-of-{shard[1]}"
        self.temporary = self.folder / f"making-{name}"
        self._path = self.folder / f"{name}.jsonl"
        self._lock = (self.folder / f"{name}.lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PrepareError(f"another process prepares shard {shard[0]}/{shard[1]} into {out}") from None
        self._check_settings(out, settings)
        self.temporary.mkdir(exist_ok=True)
        for left in self.temporary.iterdir():  # of a run that was killed
            left.unlink(missing_ok=True)
        self._end_last_line()
        self._stream = self._path.open("a", encoding="utf-8")

    def _check_settings(self, out: Path, settings: dict[str, Any]) -> None:
        path = self.folder / "settings.json"
        text = json.dumps(settings, indent=1, sort_keys=True)
        if path.exists():
            try:
                before = dict(json.loads(path.read_text(encoding="utf-8")))
            except (ValueError, TypeError) as error:
                raise PrepareError(f"{path} can't be read ({error}); remove it if you know the settings") from None
            changed = [key for key in settings if settings[key] != before.get(key)]
            if changed:
                told = ", ".join(f"{key} was {before.get(key)!r} and is now {settings[key]!r}" for key in changed)
                raise PrepareError(f"{out} was begun with other settings ({told}); take them, or another folder")
        else:
            write_whole(path, text)

    def _end_last_line(self) -> None:
        """Cut off a last line without an end."""
        if self._path.exists():
            data = self._path.read_bytes()
            whole = data.rfind(b"\n") + 1
            if whole < len(data):
                os.truncate(self._path, whole)

    def done(self) -> dict[str, dict[str, Any]]:
        """Target -> its record, of all shards; a success counts before a failure."""
        records: dict[str, dict[str, Any]] = {}
        for path in sorted(self.folder.glob("*.jsonl")):
            for line in path.read_bytes().split(b"\n")[:-1]:  # behind the last end of a line, a writer is not through
                try:
                    record = json.loads(line)
                    target = record["target"]
                except (ValueError, KeyError, TypeError):  # of a machine that went down; the video is looked at again
                    continue
                if "failed" not in record or target not in records:
                    records[target] = record
        return records

    def add(self, record: dict[str, Any]) -> None:
        """Note what has come of a target."""
        self._stream.write(json.dumps(record) + "\n")  # in ASCII: nothing in it can end a line
        self._stream.flush()

    def close(self) -> None:
        """Let another process go on."""
        self._stream.close()
        self._lock.close()


def write_whole(path: Path, text: str) -> None:
    """Write a text file that is there whole or as it was."""
    partial = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.part")
    try:
        with partial.open("w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def csv_text(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A CSV file as text."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(list(header))
    writer.writerows(rows)
    return stream.getvalue()


def json_text(value: dict[str, Any]) -> str:
    """A JSON file as text."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
