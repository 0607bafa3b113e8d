"""Where the runs of a sweep are executed: on this machine, or by the workers of a dask cluster."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

from gcvideo.cluster import Cluster, LostJobError, cancellation, task_environment, threads_of_worker
from gcvideo.locking import LockedError, locked
from gcvideo.sweep.execute import LOCK, Ended, Execution, execute
from gcvideo.sweep.file import Run, Sweep

Start = Callable[[Run], Future[Ended]]
"""Starts a run."""


@contextmanager
def this_machine(sweep: Sweep, jobs: int, grace_s: float) -> Iterator[Start]:
    """Execute runs here, `jobs` at a time; those that are running at the end of the block are stopped."""
    threads = max(1, (os.cpu_count() or 1) // jobs)  # else each of the jobs takes all cores, and they slow each other
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ}  # the user's own setting wins
    execution = Execution(os.getcwd(), environment, grace_s)
    stopped = threading.Event()
    with ThreadPoolExecutor(jobs) as pool:  # its threads only wait for processes
        try:
            yield lambda run: pool.submit(execute, sweep, run, execution, stopped.is_set)
        finally:
            stopped.set()


@contextmanager
def cluster(sweep: Sweep, workers: Cluster, grace_s: float) -> Iterator[Start]:
    """Execute each run as a task of a worker; those that are running at the end of the block are stopped."""
    execution = Execution(os.getcwd(), {}, grace_s)
    started: list[Run] = []

    def start(run: Run) -> Future[Ended]:
        started.append(run)
        return workers.submit(_task, sweep, run, execution)

    try:
        yield start
    finally:
        workers.cancel()
        _wait_until_unlocked(sweep, started, execution)


def _task(sweep: Sweep, run: Run, execution: Execution) -> Ended:
    """On a worker."""
    threads = max(1, (os.cpu_count() or 1) // threads_of_worker())
    environment = {"OMP_NUM_THREADS": str(threads), **task_environment()}
    return execute(sweep, run, replace(execution, environment=environment), cancellation())


def _wait_until_unlocked(sweep: Sweep, runs: Sequence[Run], execution: Execution) -> None:
    """A cancelled task tells nothing more, but the lock of its run tells when its processes have ended."""
    deadline = time.monotonic() + execution.grace_s + 10
    for run in runs:
        while time.monotonic() < deadline:
            try:
                with locked(execution.folder_of(sweep, run), LOCK):
                    break
            except LockedError:
                time.sleep(0.2)


def result_of(future: Future[Ended]) -> Ended:
    """Of a run that has ended."""
    try:
        return future.result()
    except LostJobError as error:
        return Ended(reason=str(error))
