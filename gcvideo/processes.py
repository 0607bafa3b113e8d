"""Ending processes, whatever state they are in.

A process that is stuck in native code runs no Python any more in its main thread, and one that is stopped (SIGSTOP)
runs nothing at all. No exception and no SIGTERM ends them; another thread and SIGKILL do.
"""

import ctypes
import functools
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

_PR_SET_PDEATHSIG = 1

children: list[subprocess.Popen[bytes]] = []
"""Processes that end with this one, besides those of multiprocessing."""

before_end: Callable[[str], str | None] | None = None
"""What `end_now` does first: takes the message, and returns what to print, or None if another process prints it."""

who = ""
"""Which rank of a distributed run this process is, for messages: "rank 1 on host: "."""

may_end = False
"""Whether this process may be ended from within, as a command line may. A program that uses gcvideo as a library, or a
debugger's, must not vanish."""


def end_now(message: str | None, status: int = 1) -> NoReturn:
    """End this process and its children at once, from any thread and in any state, after one message."""
    if message is not None and before_end is not None:
        message = before_end(message)
    if message is not None:
        tell(message)
    kill_children()
    os._exit(status)


def tell(message: str) -> None:
    """Print an error from any thread: not through sys.stderr, whose lock the main thread may hold."""
    os.write(2, f"\nerror: {message}\n".encode())


def kill_loaders() -> None:
    """Kill the processes of multiprocessing; a stopped process ignores any other signal."""
    for process in multiprocessing.active_children():
        if process.daemon:  # the others are not ours
            process.kill()


def kill_children() -> None:
    """Kill the processes of multiprocessing and those in `children`."""
    kill_loaders()
    for child in children:
        if child.poll() is None:
            child.kill()


def signal_at_end_of_parent(signum: signal.Signals) -> None:
    """Ask the system to send this process a signal when its parent ends, however it ends. Linux only.

    Strictly, when the *thread* of the parent ends that started this process.
    """
    if (prctl := find_prctl()) is not None:
        prctl(_PR_SET_PDEATHSIG, int(signum))


@functools.cache
def find_prctl() -> Callable[[int, int], int] | None:
    """The system call; looked for before a fork, because in the child another thread may hold the loader's lock."""
    return ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped (SIGSTOP, SIGTSTP). False where the system does not tell."""
    return _stat(pid)[:1] in (["T"], ["t"])


def started_at(pid: int) -> str:
    """When a process started, in the system's own clock: with the pid, it identifies a process. "" if unknown."""
    fields = _stat(pid)
    return fields[19] if len(fields) > 19 else ""


def kill(pid: int, started: str) -> None:
    """Kill the process of this machine that has this pid and start time, if it still runs."""
    if started and started_at(pid) == started:
        os.kill(pid, signal.SIGKILL)


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third, the state, on."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()  # the second field is a name, in which anything may stand
