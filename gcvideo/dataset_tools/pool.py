"""Work on many files in processes that a bad file can't hang or take down."""

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import islice
from multiprocessing import connection
from typing import TypeVar

from pebble import ProcessExpired, ProcessPool
from tqdm import tqdm

J = TypeVar("J")
R = TypeVar("R")


def run_all(work: Callable[[J], R], jobs: Iterable[J], workers: int, timeout_s: float) -> Iterator[tuple[J, R | str]]:
    """(job, result) in order of completion; a text in place of a result says why there is none.

    A job whose process is killed is tried once more.

    Args:
        work: function of a module; it returns and does not raise.
        jobs: what to work on; read as it is needed.
        workers: processes, at least 1. They end with the parent, however that ends.
        timeout_s: seconds for each job, after which its process is killed and replaced.
    """
    jobs = iter(jobs)
    context = multiprocessing.get_context("spawn")  # forking a process that runs threads can dead-lock the child
    with ProcessPool(workers, initializer=_end_with_parent, context=context) as pool:
        running: dict[Future[R], J] = {}
        repeated: set[int] = set()
        try:
            while True:
                for job in islice(jobs, 2 * workers - len(running)):
                    running[pool.schedule(work, args=[job], timeout=timeout_s)] = job
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job = running.pop(future)
                    try:
                        yield job, future.result()
                    except TimeoutError:
                        yield job, f"took longer than {timeout_s:g} s"
                    except ProcessExpired as error:
                        if id(job) not in repeated:  # the system may have killed it for want of memory
                            repeated.add(id(job))
                            running[pool.schedule(work, args=[job], timeout=timeout_s)] = job
                        else:
                            yield job, f"ended its process (exit code {error.exitcode})"
        finally:
            pool.stop()


def progress_bar(title: str, total: int, shown: bool = True, unit: str = "video") -> tqdm:
    """Videos a second, time left and failures; a line now and then where the output is no terminal."""
    seconds = 0.2 if sys.stderr.isatty() else 30
    return tqdm(total=total, unit=unit, desc=title, disable=not shown, mininterval=seconds, miniters=1)


def _end_with_parent() -> None:
    """Else a busy worker goes on when the parent is killed; and give each worker one thread."""
    os.environ["OMP_NUM_THREADS"] = "1"
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
