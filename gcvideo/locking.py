"""A lock on a folder, so that only one process works in it.

It is an flock, which belongs to the open file: the system releases it when the last process that has the file open
ends, however it ends. No stale lock ever has to be removed by hand.
"""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gcvideo.errors import UsageError


class LockedError(UsageError):
    """Another process works in the folder."""


@contextmanager
def locked(folder: str | Path, name: str = ".lock") -> Iterator[int]:
    """Hold the lock of a folder, which is created if it does not exist.

    Args:
        folder: what to lock.
        name: of the lock's file in it. It stays: removing it would let two processes lock two files of one name.

    Yields:
        The file descriptor; a child process that inherits it (`pass_fds`) holds the lock as well.

    Raises:
        LockedError: another process holds the lock; the message says which.
        UsageError: the folder can't be written.
    """
    path = Path(folder) / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+")
    except OSError as error:
        raise UsageError(f"can't write into {folder}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = file.read().strip() or "another process"
            raise LockedError(f"{holder} is working in {folder}: wait for it, or choose another name") from None
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield file.fileno()
