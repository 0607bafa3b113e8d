"""Work on the machines of a dask cluster, through the interface of `concurrent.futures`.

Where and when a task runs, and that it runs again on another worker if its own dies, is dask's business. This file adds
what a user has to be told: no scheduler, no workers, workers that have another version or do not share the folders.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager
from typing import Any

from gcvideo import __version__
from gcvideo.errors import GcvideoError, UsageError

_CONNECT_S = 10
_JOIN_S = 60
"""Time limit for the first worker."""
_PATIENCE_S = 600
"""How long work waits for a new worker after all have ended."""
_REFRESH_S = 5
_LOST = "the connection to the scheduler is lost; the same command resumes"


class ClusterError(GcvideoError):
    """The cluster can't do the work; the same command resumes."""


class LostJobError(GcvideoError):
    """Every worker that tried a job has died; other jobs are not affected."""


class Cluster:
    """The workers of a scheduler.

    Args:
        client: connected to it.
        shared: folder that every worker must see.
    """

    def __init__(self, client: Any, shared: str):
        self._client, self._shared = client, shared
        self._executor: Executor = client.get_executor(pure=False)  # pure tasks with equal arguments would run once
        self._size = 0
        self._asked = self._alive = float("-inf")

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Call a function of a module on a worker.

        The future raises what the function raises, LostJobError, or another ClusterError.
        """
        future: Future[Any] = Future()

        def copy(done: Future[Any]) -> None:
            try:
                future.set_result(done.result())
            except BaseException as error:
                future.set_exception(_explained(error))

        self._executor.submit(_on_worker, __version__, self._shared, function, *args).add_done_callback(copy)
        return future

    @property
    def size(self) -> int:
        """Number of tasks that run at a time, all threads of all workers; at least 1.

        Raises:
            ClusterError: there have been no workers for a long time.
        """
        now = time.monotonic()
        if now > self._asked + _REFRESH_S:
            try:
                self._size, self._asked = sum(self._client.nthreads().values()), now
            except OSError:
                raise ClusterError(_LOST) from None
            if self._size:
                self._alive = now
            elif now > self._alive + _PATIENCE_S:
                raise ClusterError(f"the cluster has had no worker for {_PATIENCE_S} s; the same command resumes")
        return max(1, int(self._size))

    def cancel(self) -> None:
        """Do not wait for the rest; tasks that are running see it by `cancellation`."""
        self._executor.shutdown(wait=False)


@contextmanager
def connect(scheduler: str, shared: str | os.PathLike[str]) -> Iterator[Cluster]:
    """A cluster whose tasks are cancelled at the end of the block.

    Args:
        scheduler: address, such as tcp://host:8786.
        shared: folder that every worker must see.

    Raises:
        UsageError: dask is not installed, there is no scheduler at the address, or it has no workers.
    """
    try:
        from distributed import Client
    except ImportError:
        raise UsageError("--scheduler needs dask: pip install 'gcvideo[cluster]'") from None
    try:
        client = Client(scheduler, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"no scheduler at {scheduler}: {' '.join(str(error).split())}") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_JOIN_S)
        except TimeoutError:
            raise UsageError(
                f"no worker has joined {scheduler} within {_JOIN_S} s: start some with dask worker"
            ) from None
        cluster = Cluster(client, os.path.abspath(shared))
        try:
            yield cluster
        finally:
            cluster.cancel()


def cancellation() -> Callable[[], bool]:
    """Within a task: a function that tells whether nobody waits for it any more.

    That is the case if it was cancelled, if the client has died (which the scheduler notices), or if the worker is
    closing. Dask does not interrupt running tasks.
    """
    from distributed import Status, get_worker

    worker = get_worker()
    key = worker.get_current_task()
    closing = (Status.closing, Status.closed, Status.failed)

    def is_cancelled() -> bool:
        task = worker.state.tasks.get(key)
        return task is None or task.state == "cancelled" or worker.status in closing

    return is_cancelled


def threads_of_worker() -> int:
    """Within a task: how many tasks the worker runs at a time."""
    from distributed import get_worker

    return get_worker().state.nthreads


def task_environment() -> dict[str, str]:
    """Within a task: environment for its child processes, without what dask's nanny has set for the worker.

    Those settings suit a worker, and slow a training down: one thread, and memory that goes back to the system at once.
    """
    import dask

    of_nanny = dask.config.get("distributed.nanny.pre-spawn-environ")
    return {name: value for name, value in os.environ.items() if name not in of_nanny}


def _on_worker(version: str, shared: str, function: Callable[..., Any], *args: Any) -> Any:
    """What a worker calls. The checks are cheap, and workers may join at any time."""
    if version != __version__:
        raise ClusterError(f"the worker on {socket.gethostname()} has gcvideo {__version__}, expected {version}")
    if not os.path.isdir(shared):
        raise ClusterError(f"the worker on {socket.gethostname()} does not see the folder {shared}: it must be shared")
    return function(*args)


def _explained(error: BaseException) -> BaseException:
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return LostJobError("ended every worker that tried it")
    if isinstance(error, CancelledError):
        return ClusterError(_LOST)
    if isinstance(error, ImportError):
        return ClusterError(f"a worker can't import gcvideo as it is here: {error}")
    return error
