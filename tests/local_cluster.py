"""A dask cluster of processes on this machine, as the workers of other machines are seen, and jobs for it.

Light to import: each worker imports this module, and so does each of its children.
"""

import os
import signal
import time
from contextlib import contextmanager


@contextmanager
def local_cluster(workers=2, threads=1):
    """Yields (address of the scheduler, function that returns the process ids of the workers)."""
    import distributed

    before = dict(os.environ)  # dask sets OMP_NUM_THREADS and others for its workers, and here as well
    settings = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    with (
        distributed.LocalCluster(n_workers=workers, threads_per_worker=threads, processes=True, **settings) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        os.environ.clear()
        os.environ.update(before)
        yield cluster.scheduler_address, lambda: list(client.run(os.getpid).values())


def work(job):
    """The job is (folder, name); it leaves a file that names its dask worker."""
    folder, name = job
    with open(os.path.join(folder, f"{name}-{os.getppid()}-{time.monotonic_ns()}"), "w"):
        pass
    if name == "hang":
        time.sleep(1000)
    if name == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "slow":
        time.sleep(3)
    return name, os.getpid()


def starts(folder, name):
    """Process ids of the dask workers on which a job has been started."""
    return [int(file.name.split("-")[1]) for file in folder.glob(f"{name}-*")]


def end_the_worker():
    """As a task: the worker dies."""
    os.kill(os.getpid(), signal.SIGKILL)
