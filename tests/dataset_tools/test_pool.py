"""A bad job can't hang the others, nor take them down; workers end with their parent."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import pytest

from gcvideo.dataset_tools.pool import NoResult, open_pool, run_all
from gcvideo.errors import GcvideoError


def work(job):
    if job == "hang":
        time.sleep(1000)
    if job == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if job == "exit":
        os._exit(0)
    return {"did": job, "pid": os.getpid()}


def test_every_job_has_an_answer():
    jobs = ["a", "hang", "b", "kill", "c", "exit", "d"]
    with open_pool(2, None, ".") as pool:
        answers = dict(run_all(work, jobs, pool, timeout_s=3))
    assert answers["hang"] == NoResult("took longer than 3 s")
    assert answers["kill"] == NoResult("ended its process (exit code -9)")
    assert isinstance(answers["exit"], NoResult)
    assert [answers[job]["did"] for job in "abcd"] == ["a", "b", "c", "d"]
    assert os.getpid() not in {answers[job]["pid"] for job in "abcd"}


def test_jobs_are_read_as_they_are_needed():
    taken = []

    def jobs():
        for number in range(50):
            taken.append(number)
            yield number

    with open_pool(2, None, ".") as pool:
        for done, _ in enumerate(run_all(work, jobs(), pool, timeout_s=60)):
            assert len(taken) <= done + 6
    assert len(taken) == 50


@pytest.mark.parametrize("state", ("busy", "idle"))
def test_workers_end_when_the_parent_is_killed(tmp_path, state):
    code = (
        "import sys, os, time, pathlib\n"
        "from tests.dataset_tools import test_pool\n"
        "from gcvideo.dataset_tools.pool import open_pool, run_all\n"
        "with open_pool(1, None, '.') as pool:\n"
        "    for job, answer in run_all(test_pool.work, ['a', 'hang'], pool, 1000):\n"
        "        print(answer['pid'], flush=True)\n"
        f"        if {state == 'idle'}: time.sleep(1000)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    assert os.path.exists(f"/proc/{worker}")
    parent.kill()
    parent.wait()
    for _ in range(100):
        if not os.path.exists(f"/proc/{worker}"):
            return
        time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    raise AssertionError("the worker lives on")


class Broken:
    """A pool as pebble leaves it when its processes end before they have taken a job."""

    size = 2

    def submit(self, work, job, timeout_s):
        future = Future()
        future.set_exception(BrokenProcessPool("All workers expired"))
        return future


def test_processes_that_cannot_start_are_an_error_of_one_line():
    with pytest.raises(GcvideoError, match="overloaded or out of memory; the same command resumes"):
        list(run_all(work, ["a", "b"], Broken(), timeout_s=3))
