"""The commands of a run as child processes that a sweep can stop, and the signals that ask a sweep to stop."""

import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from gcvideo.sweep.supervisor import STOPPING, supervised

_POLL_S = 0.5


def call(
    command: Sequence[str],
    log: IO[str],
    environment: Mapping[str, str],
    lock: int,
    folder: Path,
    grace_s: float,
    is_stopped: Callable[[], bool],
) -> int:
    """Run a command until it ends.

    Args:
        command: program and arguments.
        log: file for its output.
        environment: its environment variables.
        lock: file descriptor that it inherits: the lock is held as long as one of its processes lives.
        folder: its working folder.
        grace_s: time between SIGTERM and SIGKILL when it is stopped.
        is_stopped: whether it is to be stopped; asked twice a second.

    Returns:
        Exit status; 128 + the number of the signal that ended it.
    """
    process = subprocess.Popen(
        supervised(command, grace_s),
        stdout=log,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        env=environment,
        cwd=folder,
        pass_fds=(lock,),
        start_new_session=True,  # Ctrl-C in the terminal reaches the sweep, and only the sweep stops its runs
    )
    was_told = False
    while True:
        try:
            return process.wait(_POLL_S)
        except subprocess.TimeoutExpired:
            if is_stopped() and not was_told:
                process.terminate()
                was_told = True


@contextmanager
def caught_signals() -> Iterator[list[int]]:
    """Collect signals that ask to stop, instead of ending; only in the main thread. Ignored ones stay ignored, as under
    nohup.
    """
    caught: list[int] = []
    before = {}
    for signum in STOPPING:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            before[signum] = signal.signal(signum, lambda received, frame: caught.append(received))
    try:
        yield caught
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
