"""Tar files of videos, on a disk or behind HTTP, read from front to back. Nothing is unpacked to a disk.

A shard holds the videos of consecutive rows of its manifest, each under its number in the shard: 000000012.mp4. These
are shards of the WebDataset format (https://github.com/webdataset/webdataset) with one file for each key; other
programs can read them. Shards are untrusted: a member that is not the expected video is an error, and no name in a tar
is ever used as a path.
"""

import http.client
import os
import re
import tarfile
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple

from torch import Tensor

from gcvideo.data.listing import ManifestError
from gcvideo.data.videos import Videos
from gcvideo.errors import GcvideoError

TRIES = 3
"""How often a shard is requested before a connection that fails ends the run."""

_NAME = re.compile(r"[\w-][\w.-]*\.tar", re.ASCII)
_KEY = re.compile(r"((?:.*/)?[^.]+)\.[^/]*", re.DOTALL)
"""A member's name is its key, a dot and its suffixes, as in WebDataset."""


class ShardError(GcvideoError):
    """A shard that is missing, cut short, or does not hold the videos that the manifest lists."""


class Shard(NamedTuple):
    """A tar file of consecutive videos.

    Attributes:
        name: of the file, relative to the root.
        first: index of its first video.
        num_videos: how many it holds.
    """

    name: str
    first: int
    num_videos: int


class ShardedVideos(Videos):
    """Videos that lie in shards.

    Args:
        root: folder or URL of the shards.
        names, labels: of the videos; see `Videos`.
        shards: in the order of the videos.
    """

    def __init__(self, root: str, names: Sequence[str], labels: Sequence[int] | Tensor, shards: Sequence[Shard]):
        super().__init__(root, names, labels)
        self.shards = tuple(shards)

    def where(self, index: int) -> str:
        """Name of a video and of its shard."""
        return f"{self[index].name} in {self._shard_of(index).name}"

    def contents(self, index: int) -> bytes:
        """Contents of one video. Reads its shard from the beginning: meant for a few videos, such as a report's.

        Raises:
            ShardError: the shard can't be read, or does not hold the video.
        """
        shard = self._shard_of(index)
        number = index - shard.first
        _, data = next(_read_shard(self.root, shard, number, number + 1))
        return data

    def _shard_of(self, index: int) -> Shard:
        return next(shard for shard in self.shards if shard.first <= index < shard.first + shard.num_videos)


def shards_of(manifest: Path, column: Sequence[str]) -> list[Shard]:
    """The shards that the rows of a manifest name.

    Raises:
        ManifestError: a name that is not that of a tar file in the root, or rows of a shard that are not consecutive.
    """
    shards: list[Shard] = []
    for index, name in enumerate(column):
        if shards and shards[-1].name == name:
            shards[-1] = shards[-1]._replace(num_videos=shards[-1].num_videos + 1)
        elif not _NAME.fullmatch(name):  # a path could lead anywhere
            raise ManifestError(f"{manifest}: expected the name of a shard, like 'train-000000.tar', got {name!r}")
        else:
            shards.append(Shard(name, index, 1))
    if len({shard.name for shard in shards}) < len(shards):
        raise ManifestError(f"{manifest}: expected the videos of a shard in consecutive rows")
    return shards


def is_url(root: str) -> bool:
    """Whether a root is the URL of a server and not a folder."""
    return root.startswith(("http://", "https://"))


def read_run(
    root: str, shards: Sequence[Shard], begin: int, end: int, opening: Callable[[int], None] = lambda index: None
) -> Iterator[tuple[int, bytes]]:
    """Read the videos at positions [begin, end) of the shards laid end to end.

    Args:
        root: folder or URL.
        shards: in any order.
        begin, end: positions in that order. Of shards with 3, 2 and 4 videos, [2, 6) are the last video of the first,
            both of the second and the first of the third:

                # shards     AAA BB CCCC
                # positions  012 34 5678
                # read         A BB C
        opening: called before a shard is read, with the index of the first video that is read from it.

    Yields:
        (index, contents) of each video; the index is that in the manifest.

    Raises:
        ShardError: a shard can't be read, or does not hold the videos of the manifest.
    """
    start = 0  # position of the shard's first video
    for shard in shards:
        first = max(begin - start, 0)
        last = min(end - start, shard.num_videos)
        if first < last:
            opening(shard.first + first)
            yield from _read_shard(root, shard, first, last)
        start += shard.num_videos


def _read_shard(root: str, shard: Shard, first: int, last: int) -> Iterator[tuple[int, bytes]]:
    """Videos [first, last) of a shard; after a broken connection it reads on from where it was."""
    for attempt in range(1, TRIES + 1):
        try:
            # After a broken connection `first` is the next video that is due; the ones before it are read and dropped.
            for number, data in islice(_members(root, shard.name), first, last):
                # Else a member that is missing or too much would give all later videos the labels of their neighbours.
                if number != first:
                    raise ShardError(f"{shard.name}: expected video {first}, got {number}")
                yield shard.first + number, data
                first += 1  # what was yielded is not read again
            # tarfile takes a cut between two members for the end of the archive.
            if first < last:
                raise EOFError(f"ends after {first} of {shard.num_videos} videos")
            return
        except (OSError, EOFError, tarfile.TarError, http.client.HTTPException) as error:
            # A file on a disk would fail in the same way again.
            if attempt == TRIES or not is_url(root):
                raise ShardError(f"{shard.name}: can't be read: {error}") from None


def _members(root: str, name: str) -> Iterator[tuple[int, bytes]]:
    """(number, contents) of the videos of a tar, in order.

    A video is yielded when the header of the next member has been read, because a second file under the same key would
    make it ambiguous.
    """
    # "r|": front to back without seeking, as from a socket; "*": compressed ones, too.
    with _open(root, name) as stream, tarfile.open(fileobj=stream, mode="r|*") as tar:
        pending: tuple[int, bytes] | None = None
        for member in tar:
            tar.members.clear()  # type: ignore[attr-defined]  # else a tar remembers all of them
            key = _key_of(member)
            if key is None:
                continue
            # A sparse member can claim any size, and its zeros would fill the memory.
            if not (key.isascii() and key.isdecimal()) or (pending and pending[0] == int(key)) or member.issparse():
                raise ShardError(f"{name}: expected one video under a number, got member {key!r}")
            if pending is not None:
                yield pending
            contents = tar.extractfile(member)
            assert contents is not None  # it is a regular file
            pending = int(key), contents.read()
        if pending is not None:
            yield pending


def _key_of(member: tarfile.TarInfo) -> str | None:
    """Key of a member; None for what holds no sample: folders, links, devices and files without a suffix."""
    match = _KEY.fullmatch(member.name) if member.isreg() else None
    return match[1] if match else None


def _open(root: str, name: str) -> IO[bytes]:
    if is_url(root):
        response: IO[bytes] = urllib.request.urlopen(f"{root.rstrip('/')}/{name}", timeout=60)
        return response
    return open(os.path.join(root, name), "rb")
