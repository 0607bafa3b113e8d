"""Work on many files in processes, such that a bad file can neither hang nor end the run."""

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, TimeoutError, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import connection
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pebble import ProcessExpired, ProcessPool
from tqdm import tqdm

from gcvideo.cluster import Cluster, LostJobError, connect, threads_of_worker
from gcvideo.errors import GcvideoError

J = TypeVar("J")
R = TypeVar("R")

_TRIES = 2
"""Times that a job is started whose process dies: the system may have killed the first for lack of memory."""

_LOOK_S = 5
"""How often the size of the pool is asked for while no job ends: a cluster without workers raises."""


@dataclass(frozen=True, slots=True)
class NoResult:
    """A job that returned nothing, and why."""

    reason: str


class Pool(Protocol):
    """Processes that run jobs: of this machine, or of the workers of a cluster."""

    @property
    def size(self) -> int:
        """Number of jobs that run at a time; it may change."""

    def submit(self, work: Callable[[J], R], job: J, timeout_s: float) -> "Future[R]":
        """Run a job in a process; the future may raise TimeoutError, ProcessExpired or LostJobError."""


class _LocalPool:
    """Processes of this machine. They end with the parent, however that ends."""

    def __init__(self, size: int):
        context = multiprocessing.get_context("spawn")  # a forked child of a process with threads can dead-lock
        self.size = size
        self.processes = ProcessPool(size, initializer=_initialize_worker, context=context)

    def submit(self, work: Callable[[J], R], job: J, timeout_s: float) -> "Future[R]":
        return self.processes.schedule(work, args=[job], timeout=timeout_s)


class _ClusterPool:
    """On each worker of a cluster, a local pool."""

    def __init__(self, cluster: Cluster):
        self._cluster = cluster

    @property
    def size(self) -> int:
        return self._cluster.size

    def submit(self, work: Callable[[J], R], job: J, timeout_s: float) -> "Future[R]":
        return self._cluster.submit(_run_on_worker, work, job, timeout_s)


@contextmanager
def open_pool(workers: int, scheduler: str | None, shared: str | Path) -> Iterator[Pool]:
    """A pool; jobs that are running at the end of the block are given up.

    Args:
        workers: number of processes on this machine.
        scheduler: address of a dask scheduler, whose workers do the work instead.
        shared: folder that those workers must see.
    """
    if scheduler is not None:
        with connect(scheduler, shared) as cluster:
            yield _ClusterPool(cluster)
        return
    pool = _LocalPool(workers)
    with pool.processes:
        try:
            yield pool
        finally:
            # The caller may stop early, as on a full disk: jobs that are running must not delay its error.
            pool.processes.stop()


def run_all(
    work: Callable[[J], R], jobs: Iterable[J], pool: Pool, timeout_s: float
) -> Iterator[tuple[J, R | NoResult]]:
    """(job, result) in order of completion.

    A job that takes too long is given up. A job whose process dies is tried once more.

    Args:
        work: function of a module; it must not raise.
        jobs: read as they are needed.
        pool: runs them.
        timeout_s: time limit for each job, after which its process is killed and replaced.

    Raises:
        GcvideoError: no process can be started any more.
    """
    try:
        yield from _results(work, iter(jobs), pool, timeout_s)
    except BrokenProcessPool as error:  # seen on a machine with seven times as many busy processes as cores
        raise GcvideoError(
            "the processes that read the videos end without an answer: the machine is overloaded or out of memory; "
            "the same command resumes (fewer --workers)"
        ) from error


def _results(
    work: Callable[[J], R], jobs: Iterator[J], pool: Pool, timeout_s: float
) -> Iterator[tuple[J, R | NoResult]]:
    running: dict[Future[R], tuple[J, int]] = {}  # -> job, number of this try

    def start(job: J, number: int) -> None:
        running[pool.submit(work, job, timeout_s)] = job, number

    while True:
        # Two jobs for each process: one is running, one is waiting, so that none idles.
        for job in islice(jobs, max(0, 2 * pool.size - len(running))):
            start(job, 1)
        if not running:
            return
        for future in wait(running, _LOOK_S, FIRST_COMPLETED).done:
            job, number = running.pop(future)
            try:
                yield job, future.result()
            except TimeoutError:
                yield job, NoResult(f"took longer than {timeout_s:g} s")
            except LostJobError as error:
                yield job, NoResult(str(error))
            except ProcessExpired as error:
                if number < _TRIES:
                    start(job, number + 1)
                else:
                    yield job, NoResult(f"ended its process (exit code {error.exitcode})")


_worker_pool: _LocalPool | None = None
_worker_mutex = threading.Lock()


def _run_on_worker(work: Callable[[Any], Any], job: Any, timeout_s: float) -> Any:
    """Run a job in a child of the dask worker that calls this: its time limit holds, and it can't take the worker down.

    The processes are kept for the next job. They are stopped with the worker.
    """
    global _worker_pool
    with _worker_mutex:
        if _worker_pool is None:
            # Dask's nanny marks its workers as daemons, which must not have children, lest those live on. Ours do not.
            multiprocessing.current_process().daemon = False
            _worker_pool = _LocalPool(threads_of_worker())
    return _worker_pool.submit(work, job, timeout_s).result()


def progress_bar(title: str, total: int, shown: bool = True, unit: str = "video") -> tqdm:
    """Videos per second, time left and failures; one line every 30 s if the output is not a terminal."""
    seconds = 0.2 if sys.stderr.isatty() else 30
    return tqdm(total=total, unit=unit, desc=title, disable=not shown, mininterval=seconds, miniters=1)


def _initialize_worker() -> None:
    """Use one thread, and end with the parent: a busy worker would survive if the parent is killed."""
    os.environ["OMP_NUM_THREADS"] = "1"
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])  # ready when the parent has died
        os._exit(1)  # sys.exit() would end only this thread

    threading.Thread(target=watch, daemon=True).start()
