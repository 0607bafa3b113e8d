"""Child processes of a sweep: none survives a stop, and their lock survives the sweep."""

import os
import subprocess
import sys
import threading
import time

import pytest

from gcvideo.sweep.processes import Processes, run_lock

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_a_lock_has_one_holder(tmp_path):
    with run_lock(tmp_path) as first:
        assert first is not None
        with run_lock(tmp_path) as second:
            assert second is None
    with run_lock(tmp_path) as third:
        assert third is not None


def test_a_lock_is_held_until_the_last_child_ends(tmp_path):
    with run_lock(tmp_path) as lock:
        child = subprocess.Popen(SLEEP, pass_fds=(lock,))
    try:
        with run_lock(tmp_path) as lock:
            assert lock is None
    finally:
        child.kill()
        child.wait()
    with run_lock(tmp_path) as lock:
        assert lock is not None


@pytest.mark.parametrize("status", (0, 3))
def test_exit_status_and_output(tmp_path, status):
    code = f"import os, sys; print(os.environ['WORD']); print('and', file=sys.stderr); sys.exit({status})"
    with run_lock(tmp_path) as lock, (tmp_path / "log.txt").open("w") as log:
        command = [sys.executable, "-c", code]
        assert Processes().call(command, log, {**os.environ, "WORD": "hello"}, lock) == status
    assert sorted((tmp_path / "log.txt").read_text().split()) == ["and", "hello"]


def test_stop_ends_children_and_starts_no_more(tmp_path):
    processes = Processes()
    statuses = []
    with run_lock(tmp_path) as lock, (tmp_path / "log.txt").open("w") as log:
        thread = threading.Thread(target=lambda: statuses.append(processes.call(SLEEP, log, os.environ, lock)))
        thread.start()
        deadline = time.monotonic() + 30
        while not processes._running:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        processes.stop()
        thread.join(timeout=30)
        assert statuses
        assert statuses[0] < 0  # ended by a signal
        assert processes.call(SLEEP, log, os.environ, lock) == 1
