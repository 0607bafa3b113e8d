"""Child processes that end with their sweep, and a lock that outlives it.

A run must never be executed twice at the same time: two trainings would write the same checkpoints. The usual case is a
sweep that was killed (SIGKILL, a closed terminal) while its child is still training; the user starts the sweep again.
"""

import fcntl
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def run_lock(folder: Path) -> Iterator[int | None]:
    """File descriptor of a lock on a run's folder, or None if another process holds it.

    An flock belongs to the open file, which children inherit by `pass_fds`. The system releases it when the last of
    them has closed the file: the lock is held as long as the sweep or any of the run's processes lives, however the
    others ended. The locks of filelock would end with the sweep's own process, and a file with a process id would have
    to be cleaned up.
    """
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file.fileno()


class Processes:
    """The child processes that are running; usable from several threads."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def call(self, command: Sequence[str], log: IO[str], environment: Mapping[str, str], lock: int) -> int:
        """Run a command until it ends.

        Args:
            command: program and arguments.
            log: file for its output.
            environment: its environment variables.
            lock: file descriptor that it inherits.

        Returns:
            Exit status; 1 without running it after `stop`.
        """
        with self._mutex:  # else `stop` could miss a process that starts at the same moment
            if self._stopped:
                return 1
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment, pass_fds=(lock,))
            self._running.add(process)
        try:
            return process.wait()
        finally:
            with self._mutex:
                self._running.discard(process)

    def stop(self) -> None:
        """Terminate all of them, and start no more."""
        with self._mutex:
            self._stopped = True
            for process in self._running:
                process.terminate()
