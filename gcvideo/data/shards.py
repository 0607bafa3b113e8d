"""WebDataset shards: tar files of videos, on a disk or behind HTTP, read from front to back.

A shard holds the videos of consecutive rows of its manifest, each under its number in the shard: 000012.mp4. Nothing is
unpacked to a disk.
"""

import http.client
import os
import tarfile
import urllib.request
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import IO

from gcvideo.data.manifest import Shard
from gcvideo.errors import GcvideoError

TRIES = 3
"""Times that a shard is asked for before a connection that fails ends the run."""


class ShardError(GcvideoError):
    """A shard that is missing, cut short, or is not the one that the manifest tells."""


def read_run(root: str, shards: Sequence[Shard], begin: int, end: int) -> Iterator[tuple[int, bytes]]:
    """(index, contents) of the videos at places [begin, end) of the shards laid end to end.

    Raises:
        ShardError: a shard can't be read, or has other videos.
    """
    place = 0
    for shard in shards:
        first, last = max(begin - place, 0), min(end - place, shard.count)
        if first < last:
            yield from _read_shard(root, shard, first, last)
        place += shard.count


def _read_shard(root: str, shard: Shard, first: int, last: int) -> Iterator[tuple[int, bytes]]:
    """Videos [first, last) of a shard; a connection that breaks is taken up again."""
    for attempt in range(1, TRIES + 1):
        try:
            for key, data in islice(_members(root, shard.name), first, last):
                if key != first:
                    raise ShardError(f"{shard.name}: expected video {first}, found {key}")
                yield shard.first + first, data
                first += 1
            if first < last:
                raise EOFError(f"ends after {first} of {shard.count} videos")
            return
        except (OSError, EOFError, tarfile.TarError, http.client.HTTPException) as error:
            if attempt == TRIES or not _is_remote(root):
                raise ShardError(f"{shard.name}: can't be read: {error}") from None


def _members(root: str, name: str) -> Iterator[tuple[int, bytes]]:
    """(key, contents of the video) of a tar, in order."""
    try:
        from webdataset.tariterators import group_by_keys, tar_file_expander
    except ImportError:
        raise ShardError("shards are read by the package webdataset: pip install 'gcvideo[shards]'") from None

    with _open(root, name) as stream:
        for sample in group_by_keys(tar_file_expander([{"url": name, "stream": stream}])):
            videos = [value for key, value in sample.items() if not key.startswith("__") and isinstance(value, bytes)]
            key = sample["__key__"]
            if len(videos) != 1 or not key.isdigit():
                raise ShardError(f"{name}: member {key!r} is not one video under a number")
            yield int(key), videos[0]


def _open(root: str, name: str) -> IO[bytes]:
    # not by webdataset's gopen, which would run what a name such as "pipe:..." says
    if _is_remote(root):
        response: IO[bytes] = urllib.request.urlopen(f"{root.rstrip('/')}/{name}", timeout=60)
        return response
    return open(os.path.join(root, name), "rb")


def _is_remote(root: str) -> bool:
    return root.startswith(("http://", "https://"))


def read_video(root: str, shards: Sequence[Shard], index: int) -> bytes:
    """Contents of one video; reads its shard from the beginning."""
    shard = next(shard for shard in shards if shard.first <= index < shard.first + shard.count)
    _, data = next(_read_shard(root, shard, index - shard.first, index - shard.first + 1))
    return data
