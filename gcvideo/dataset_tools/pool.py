"""Work on many files in processes, such that a bad file can neither hang nor end the run."""

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from itertools import islice
from multiprocessing import connection
from typing import TypeVar

from pebble import ProcessExpired, ProcessPool
from tqdm import tqdm

J = TypeVar("J")
R = TypeVar("R")

_TRIES = 2
"""Times that a job is started whose process dies: the system may have killed the first for lack of memory."""


@dataclass(frozen=True, slots=True)
class NoResult:
    """A job that returned nothing, and why."""

    reason: str


def run_all(
    work: Callable[[J], R], jobs: Iterable[J], workers: int, timeout_s: float
) -> Iterator[tuple[J, R | NoResult]]:
    """(job, result) in order of completion.

    A job that takes too long is given up. A job whose process dies is tried once more.

    Args:
        work: function of a module; it must not raise.
        jobs: read as they are needed.
        workers: number of processes, at least 1. They end with the parent, however that ends.
        timeout_s: time limit for each job, after which its process is killed and replaced.
    """
    jobs = iter(jobs)
    context = multiprocessing.get_context("spawn")  # a forked child of a process with threads can dead-lock
    with ProcessPool(workers, initializer=_initialize_worker, context=context) as pool:
        running: dict[Future[R], tuple[J, int]] = {}  # -> job, number of this try

        def start(job: J, number: int) -> None:
            running[pool.schedule(work, args=[job], timeout=timeout_s)] = job, number

        try:
            while True:
                # Two jobs per worker: one is running, one is waiting, so that no worker idles.
                for job in islice(jobs, 2 * workers - len(running)):
                    start(job, 1)
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job, number = running.pop(future)
                    try:
                        yield job, future.result()
                    except TimeoutError:
                        yield job, NoResult(f"took longer than {timeout_s:g} s")
                    except ProcessExpired as error:
                        if number < _TRIES:
                            start(job, number + 1)
                        else:
                            yield job, NoResult(f"ended its process (exit code {error.exitcode})")
        finally:
            # The caller may stop early, as on a full disk: jobs that are running must not delay its error.
            pool.stop()


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
