"""The videos of a data set: one row each."""

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple, overload

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info


class Video(NamedTuple):
    """One row of a manifest.

    Attributes:
        file: path of the file; where videos are not files of their own, a name for messages.
        label: class index, -1 if it is unknown; of a video that may have several classes all of their indices.
        name: path as written in the manifest.
    """

    file: str
    label: int | tuple[int, ...]
    name: str


class Videos(Sequence[Video]):
    """Many rows in three tensors of shared memory, so that worker processes share one copy of them.

    A list of objects would be copied into every worker, page by page, as their reference counts change: 650,000 rows
    of Kinetics-700 would cost each worker 250 MiB.

    Args:
        root: folder that the names are relative to; "" if they are paths themselves.
        names: paths of the files.
        labels: class indices, as many; or bool [N, K] for videos that may have several classes.
    """

    def __init__(self, root: str, names: Sequence[str], labels: Sequence[int] | Tensor):
        self.root = root
        # All names in one string of bytes, and where each ends:  a.mp4|bc.mp4  ->  ends 0 5 11
        text = "".join(names)
        # Lengths in bytes; in ASCII, characters are bytes. fsencode, because a file name need not be valid UTF-8.
        lengths = map(len, names) if text.isascii() else (len(os.fsencode(name)) for name in names)
        ends = np.cumsum(np.fromiter(lengths, np.int64, len(names)))
        self._bytes = torch.frombuffer(bytearray(os.fsencode(text)), dtype=torch.uint8).share_memory_()
        self._ends = torch.from_numpy(np.concatenate([[0], ends])).share_memory_()
        if not isinstance(labels, Tensor):
            labels = torch.from_numpy(np.fromiter(labels, np.int32, len(names)))
        self.labels = labels.share_memory_()

    def __len__(self) -> int:
        return len(self.labels)

    @overload
    def __getitem__(self, index: int) -> Video: ...
    @overload
    def __getitem__(self, index: slice) -> list[Video]: ...
    def __getitem__(self, index: int | slice) -> Video | list[Video]:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            # Iterating over a Sequence ends by this error, too.
            raise IndexError(f"video {index} of {len(self)}")
        index %= len(self)
        begin, end = self._ends[index : index + 2].tolist()
        name = os.fsdecode(self._bytes[begin:end].numpy().tobytes())
        target = self.target(index)
        label = tuple(target.nonzero().flatten().tolist()) if isinstance(target, Tensor) else target
        return Video(os.path.join(self.root, name), label, name)

    def target(self, index: int) -> int | Tensor:
        """What a network is trained towards: the class index, or bool [K] for a video that may have several classes."""
        label = self.labels[index]
        return label if label.ndim else int(label)

    def contents(self, index: int) -> bytes | None:
        """Contents of a video that is not a file of its own; None for a file, which the decoder opens itself."""
        return None

    def where(self, index: int) -> str:
        """Where a video lies, for messages."""
        return self[index].file

    @cached_property
    def digest(self) -> str:
        """A hash of the names and labels in their order; that of the files' contents would take hours."""
        digest = hashlib.sha256()
        for tensor in (self._bytes, self._ends, self.labels):
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()


class Readings:
    """Which video each loader process is reading, in shared memory: if it gets stuck or is killed, others can tell.

    Args:
        videos: of the data set.
    """

    def __init__(self, videos: Videos):
        self.videos = videos
        # A row for each worker; the 257th would share that of the first.
        self._indices = torch.full((256,), -1, dtype=torch.int64).share_memory_()

    def begin(self, index: int) -> None:
        """This process begins to read a video."""
        self._indices[_worker() % 256] = index

    def end(self) -> None:
        """This process has read it."""
        self._indices[_worker() % 256] = -1

    def file(self, worker: int = 0) -> str | None:
        """The file that a worker is reading, or this process if there are no workers; None while it reads none."""
        index = int(self._indices[worker % 256])
        return None if index < 0 else self.videos.where(index)


def _worker() -> int:
    info = get_worker_info()
    return 0 if info is None else info.id
