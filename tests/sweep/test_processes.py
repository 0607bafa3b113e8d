"""Commands under a supervisor: their exit status, and that none survives a stop, nor the death of the sweep."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from gcvideo.locking import LockedError, locked
from gcvideo.sweep.processes import call, caught_signals

STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
print(os.getpid(), child.pid, flush=True)
time.sleep(300)
"""

SAVING = """
import os, pathlib, signal, sys, time
def save(signum, frame):
    time.sleep(0.5)
    pathlib.Path("saved").write_text("state")
    sys.exit(128 + signum)
signal.signal(signal.SIGTERM, save)
print(os.getpid(), flush=True)
time.sleep(300)
"""

PARENT = """
import os, pathlib, sys
from gcvideo.locking import locked
from gcvideo.sweep.processes import call
folder = pathlib.Path(sys.argv[1])
with locked(folder, "sweep.lock") as lock, (folder / "log.txt").open("w") as log:
    call([sys.executable, "-c", sys.argv[2]], log, os.environ, lock, folder, float(sys.argv[3]), lambda: False)
"""


def run(folder, code, grace_s=30.0, is_stopped=lambda: False, **environment):
    with locked(folder, "sweep.lock") as lock, (folder / "log.txt").open("w") as log:
        command = [sys.executable, "-c", code]
        return call(command, log, {**os.environ, **environment}, lock, folder, grace_s, is_stopped)


def wait_for(condition, what, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def printed_pids(folder):
    log = folder / "log.txt"
    wait_for(lambda: log.exists() and log.read_text().endswith("\n"), "the command has started")
    return [int(pid) for pid in log.read_text().split()]


def is_running(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def is_locked(folder):
    try:
        with locked(folder, "sweep.lock"):
            return False
    except LockedError:
        return True


@pytest.mark.parametrize(
    ("end", "status"), (("sys.exit(0)", 0), ("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", 128 + 9))
)
def test_exit_status_and_output(tmp_path, end, status):
    code = f"import os, sys; print(os.environ['WORD'], flush=True); print('and', file=sys.stderr, flush=True); {end}"
    assert run(tmp_path, code, WORD="hello") == status
    assert sorted((tmp_path / "log.txt").read_text().split()) == ["and", "hello"]


def test_a_stop_lets_the_command_save(tmp_path):
    stopped = threading.Event()
    threading.Thread(target=lambda: (printed_pids(tmp_path), stopped.set())).start()
    assert run(tmp_path, SAVING, is_stopped=stopped.is_set) == 143
    assert (tmp_path / "saved").read_text() == "state"


def test_a_command_that_does_not_stop_is_killed_with_its_children(tmp_path):
    stopped = threading.Event()
    threading.Thread(target=lambda: (printed_pids(tmp_path), stopped.set())).start()
    started = time.monotonic()
    assert run(tmp_path, STUBBORN, grace_s=1.0, is_stopped=stopped.is_set) == 137
    assert time.monotonic() - started < 20
    for pid in printed_pids(tmp_path):
        wait_for(lambda pid=pid: not is_running(pid), f"{pid} has ended")


def test_what_a_command_leaves_is_ended(tmp_path):
    left = "import subprocess, sys; print(subprocess.Popen(['sleep', '300']).pid, flush=True)"
    assert run(tmp_path, left) == 0
    (pid,) = printed_pids(tmp_path)
    wait_for(lambda: not is_running(pid), "the child has ended")


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
@pytest.mark.parametrize(("code", "saves"), ((SAVING, True), (STUBBORN, False)))
def test_the_command_ends_when_the_sweep_is_killed(tmp_path, code, saves):
    """And the lock is held until it has ended, so that a second sweep does not start the run next to it."""
    sweep = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path), code, "1"])
    pids = printed_pids(tmp_path)
    sweep.kill()
    sweep.wait()
    assert is_locked(tmp_path)
    wait_for(lambda: not any(map(is_running, pids)), "all have ended")
    wait_for(lambda: not is_locked(tmp_path), "the lock is free")
    assert (tmp_path / "saved").exists() == saves


def test_signals_are_collected_and_ignored_ones_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with caught_signals() as signals:
            for signum in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
                os.kill(os.getpid(), signum)
            assert signals == [signal.SIGTERM, signal.SIGINT]
    finally:
        signal.signal(signal.SIGHUP, before)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, interrupt)
