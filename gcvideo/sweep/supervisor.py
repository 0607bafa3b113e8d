"""A small process between a sweep and its training, which ends the training when the sweep asks to, or has died.

A sweep that is killed (SIGKILL, out of memory) can do nothing for its children. So each runs under a supervisor, to
which Linux sends SIGTERM when its parent dies (PR_SET_PDEATHSIG, which a process can only set for itself). On SIGTERM
the supervisor forwards it to the command, so that a fit saves its state. It does not signal the whole process group,
because a fit whose loader workers end can't save. What is left of the group after the time of grace is killed.

    python -m gcvideo.sweep.supervisor GRACE_S PARENT_PID COMMAND...

The exit status is that of the command; 128 + the number of the signal that ended it.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
"""What asks a sweep to stop; SLURM's `--signal=USR1@120` among it."""

_POLL_S = 0.1
_PR_SET_PDEATHSIG = 1


def supervised(command: Sequence[str], grace_s: float) -> list[str]:
    """The command line that runs a command under a supervisor, whose parent this process will be."""
    return [sys.executable, "-m", "gcvideo.sweep.supervisor", str(grace_s), str(os.getpid()), *command]


def supervise(command: Sequence[str], grace_s: float, parent: int) -> int:
    """Run a command until it has ended, and all of its process group with it; returns the exit status."""
    stops: list[int] = []
    for signum in STOPPING:
        signal.signal(signum, lambda received, frame: stops.append(received))
    _end_with_parent()
    if os.getppid() != parent:  # it died before the line above
        return 128 + signal.SIGTERM
    # The command may lose its supervisor as well; preexec_fn is safe, because no other thread is running here. An own
    # session is an own process group. All files stay open for it: it inherits the lock of the run.
    process = subprocess.Popen(command, start_new_session=True, close_fds=False, preexec_fn=_end_with_parent)
    deadline = float("inf")
    while True:
        try:
            status = process.wait(_POLL_S)
            break
        except subprocess.TimeoutExpired:
            if stops and deadline == float("inf"):
                process.terminate()
                deadline = time.monotonic() + grace_s
            elif time.monotonic() > deadline:
                _kill_group(process.pid)
    _kill_group(process.pid)  # what the command left, such as a rank that hangs
    return status if status >= 0 else 128 - status


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # nothing is left of it
        os.killpg(group, signal.SIGKILL)


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))


if __name__ == "__main__":
    sys.exit(supervise(sys.argv[3:], float(sys.argv[1]), int(sys.argv[2])))
