"""The results of a test on their way: each is on the disk as soon as it is known, and an interrupted test resumes.

Each rank appends to a file of its own, which nothing ever rewrites:

    <run>/test-progress/rank0-of-2.bin    one line of JSON: which test it is, V, K, one label or several
                                          a record for each video: index, label, better [V], scores [K], CRC-32

A record that a kill cut short, or that a disk damaged, fails its checksum; it and what follows it are evaluated again.
Scores are stored as the float32 numbers that they are, so a report of resumed results is that of an uninterrupted test.

Letters: N videos, V views, K classes.
"""

import json
import os
import zlib
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import torch

from gcvideo.errors import GcvideoError
from gcvideo.training.metrics import VideoResults

FORMAT = 1


class ProgressKey(NamedTuple):
    """What results must have in common to be of one test.

    Attributes:
        identity: hash of everything that a score depends on; see `identity_of`.
        views, classes: V and K, the size of a record.
        multi_label: whether the label of a video is K truth values.
    """

    identity: str
    views: int
    classes: int
    multi_label: bool = False

    def header(self) -> bytes:
        """The first line of a file."""
        return json.dumps({"format": FORMAT, **self._asdict()}).encode() + b"\n"

    def record(self) -> np.dtype:
        """A video, without padding."""
        label = ("label", "?", (self.classes,)) if self.multi_label else ("label", "<i8")
        numbers = [("better", "<i4", (self.views,)), ("scores", "<f4", (self.classes,)), ("crc", "<u4")]
        return np.dtype([("index", "<i8"), label, *numbers])


def read_progress(folder: Path, key: ProgressKey) -> VideoResults:
    """All results of a test in a folder, of N >= 0 videos, each once."""
    found = [_read_file(path, key)[0] for path in _files(folder)]
    records = np.concatenate([np.empty(0, key.record()), *found])
    _, rows = np.unique(records["index"], return_index=True)
    records = records[rows]
    types = _TYPES | ({"label": np.bool_} if key.multi_label else {})
    tensors = (torch.from_numpy(records[name].astype(dtype)) for name, dtype in types.items())
    return VideoResults(*tensors)


def discard_others(folder: Path, key: ProgressKey) -> int:
    """Remove the files of other tests; returns their number."""
    others = [path for path in _files(folder) if not _content(path).startswith(key.header())]
    for path in others:
        path.unlink()
    return len(others)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("rank*.bin"))


_TYPES: dict[str, type] = {"index": np.int64, "label": np.int64, "better": np.int64, "scores": np.float32}
"""Of `VideoResults`; the truth values of several labels are bool."""


def _read_file(path: Path, key: ProgressKey) -> tuple[np.ndarray, int]:
    """The records of a file that are whole, and where they end; none and 0 for a file of another test."""
    content, header, record = _content(path), key.header(), key.record()
    if not content.startswith(header):
        return np.empty(0, record), 0
    records = np.frombuffer(content, record, (len(content) - len(header)) // record.itemsize, len(header))
    num_whole = 0
    while num_whole < len(records) and _checksum(records[num_whole]) == records[num_whole]["crc"]:
        num_whole += 1
    return records[:num_whole], len(header) + num_whole * record.itemsize


def _content(path: Path) -> bytes:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        return file.read()


def _checksum(record: np.void) -> int:
    return zlib.crc32(record.tobytes()[: -np.dtype("<u4").itemsize])


class ProgressFile:
    """The file to which a rank appends; it continues one of the same test.

    Args:
        path: of the file, in an existing folder.
        key: of the test.

    Raises:
        GcvideoError: the file can't be written.
    """

    def __init__(self, path: Path, key: ProgressKey):
        self.path, self.key = path, key
        try:
            end = _read_file(path, key)[1] if path.exists() else 0
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
            # Unbuffered: what is written survives a kill of this process.
            self._file: IO[bytes] = os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0)
            self._file.truncate(end)  # of a cut record
            self._file.seek(end)
            if end == 0:
                self._write(key.header())
        except OSError as error:
            raise self._failed(error) from error

    def append(self, results: VideoResults) -> None:
        """Add videos.

        Raises:
            GcvideoError: they can't be written.
        """
        records = np.zeros(len(results.indices), self.key.record())
        for name, tensor in zip(_TYPES, results.to("cpu"), strict=True):
            records[name] = tensor.numpy()
        for record in records:
            record["crc"] = _checksum(record)
        try:
            self._write(records.tobytes())
        except OSError as error:
            raise self._failed(error) from error

    def _write(self, data: bytes) -> None:
        written = self._file.write(data)
        if written != len(data):  # the rest would fit nowhere
            raise OSError(0, "the disk is full")

    def _failed(self, error: OSError) -> GcvideoError:
        return GcvideoError(
            f"can't write {self.path}: {error.strerror}; the results so far are kept, the same command resumes"
        )

    def close(self) -> None:
        """Close the file."""
        self._file.close()
