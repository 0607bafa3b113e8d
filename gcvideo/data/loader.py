"""A DataLoader that never waits for ever.

torch's own time-out is no help where a worker is stopped (SIGSTOP, a frozen container) or its file system hangs: it is
not looked at while a batch is fetched from a worker's memory, there is none without workers, and after it the process
waits for its workers to end. Here a thread counts the time; after `limit_s` it kills the workers, which ends every
wait for them, and the error says what they were reading.
"""

import atexit
import re
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from torch.utils.data import DataLoader
from torch.utils.data._utils import signal_handling

from gcvideo import processes
from gcvideo.data.videos import Readings
from gcvideo.errors import GcvideoError

TICK_S = 0.25

_PATIENCE_S = 8.0
"""How long the main thread has to notice that its workers are gone; torch looks every 5 s."""

_GONE = re.compile(r"DataLoader worker \(pid(?:\(s\))? (\d+)[\d, ]*\) (?:is killed by signal|exited unexpectedly)")
"""torch's messages about a worker that is gone."""


class LoaderError(GcvideoError):
    """No batch came in time, or a process that loads was killed."""


class WatchedLoader(DataLoader[Any]):
    """A DataLoader with a limit for each batch.

    Without workers, a reader that is stuck can't be interrupted: a process of the command line ends then, any other
    waits.

    Args:
        args, options: of a DataLoader.
        limit_s: seconds to wait for a batch; 0 waits for ever.
        readings: what the workers read.

    Raises:
        LoaderError: while iterating; no batch in time, or a worker was killed.
    """

    def __init__(self, *args: Any, limit_s: float = 0, readings: Readings | None = None, **options: Any):
        super().__init__(*args, **options)
        self.limit_s, self.readings = limit_s, readings
        self.batches = 0
        """Batches that were loaded so far."""
        self._passes_begun = 0  # those of which a batch was taken
        self._stopwatch: _Stopwatch | None = None
        self._processes: list[Any] = []
        self._iterator_ref: Callable[[], Any] = lambda: None

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        if not _loaders:
            # multiprocessing waits for its processes at exit; a stopped one would never end.
            atexit.register(processes.kill_loaders)
        _loaders.add(self)
        processes.find_prctl()
        # Of training videos, files or shards.
        passes = getattr(self.sampler, "passes", None) or getattr(self.dataset, "passes", None)
        if passes is not None:
            passes.tell(self._passes_begun)
        with self._limited():  # of its second pass on, it waits for persistent workers
            iterator = super().__iter__()
        self._processes = getattr(iterator, "_workers", [])
        self._iterator_ref = weakref.ref(iterator)
        # Not earlier: a thread that begins while a process is forked may hold a lock that the child needs.
        if self._stopwatch is None and self.limit_s > 0:
            self._stopwatch = _Stopwatch(self)
        return self._watched(iterator)

    def _watched(self, iterator: Iterator[Any]) -> Iterator[Any]:
        self._passes_begun += 1
        while True:
            with self._limited():
                try:
                    batch = next(iterator)
                except StopIteration:
                    return
            self.batches += 1
            yield batch

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """A wait that ends."""
        try:
            with self._stopwatch or nullcontext():
                yield
        except (RuntimeError, OSError, EOFError) as error:
            # Which of them torch raises when a worker is gone depends on what it was waiting for.
            told = self.told() or explain(error) or (None if isinstance(error, RuntimeError) else self._loss())
            if told is not None:
                raise LoaderError(told) from None
            raise

    def _loss(self) -> str | None:
        """What to tell of a worker whose connection broke; None if all are alive."""
        self.forget_workers()
        for _ in range(10):  # its connections break a moment before it is gone
            for process in self._processes:
                if not process.is_alive() and process.exitcode != 0:
                    return self.end_of(process.pid)
            time.sleep(0.05)
        return None

    def forget_workers(self) -> None:
        """Keep torch from raising an error at the next moment because a worker is gone, wherever the main thread is."""
        iterator = self._iterator_ref()
        if getattr(iterator, "_worker_pids_set", False):
            iterator._worker_pids_set = False
            signal_handling._remove_worker_pids(id(iterator))

    def told(self) -> str | None:
        """The message, if the time was up once."""
        return None if self._stopwatch is None else self._stopwatch.told

    def describe(self) -> str:
        """What to tell when the time is up."""
        return f"no batch for {self.limit_s:g} s (data.loading.timeout_s): {self._what_is_read()}"

    def kill_workers(self) -> None:
        """Kill all of them, and those of other loaders that are stopped: when the run ends, it waits for them too."""
        for loader in list(_loaders):
            for process in loader._processes:
                if loader is self or processes.is_stopped(process.pid):
                    loader.forget_workers()
                    process.kill()

    def _what_is_read(self) -> str:
        if not self._processes:
            return f"this process is reading {self._file(0) or 'no video'}"
        told = []
        for worker, process in enumerate(self._processes):
            state = " (stopped)" if processes.is_stopped(process.pid) else ""
            file = self._file(worker)
            told.append(f"loader process {process.pid}{state} {f'is reading {file}' if file else 'is idle'}")
        # Those that read first: an idle one is rarely the cause.
        told.sort(key=lambda text: text.endswith("is idle"))
        return "; ".join(told[:4]) + (f"; and {len(told) - 4} more" if len(told) > 4 else "")

    def _file(self, worker: int) -> str | None:
        return None if self.readings is None else self.readings.file(worker)

    def is_waiting(self) -> bool:
        return self._stopwatch is not None and self._stopwatch.is_counting()

    def has_worker(self, pid: int) -> bool:
        return any(process.pid == pid for process in self._processes)

    def end_of(self, pid: int) -> str:
        """What to tell about a worker that is gone."""
        worker = [process.pid for process in self._processes].index(pid)
        code = self._processes[worker].exitcode
        how = f"was killed ({signal.Signals(-code).name})" if code is not None and code < 0 else "ended"
        file = self._file(worker)
        told = f"loader process {pid} {how} while {f'reading {file}' if file else 'it was idle'}"
        if code == -signal.SIGKILL:
            told += ": often because memory is short, then fewer data.num_workers help"
        return told


_loaders: "weakref.WeakSet[WatchedLoader]" = weakref.WeakSet()


def batches_loaded() -> int:
    """How many batches this process has loaded, by all of its loaders; a sign of life."""
    return sum(loader.batches for loader in list(_loaders))


def is_waiting() -> bool:
    """Whether this process waits for a batch for a limited time, or has done so in vain."""
    return any(loader.is_waiting() for loader in list(_loaders))


def explain(error: BaseException) -> str | None:
    """What to tell instead of an error that torch raises when a worker is gone; None for other errors.

    torch raises it anywhere in the main thread, in the middle of a training step, too.
    """
    match = _GONE.search(str(error)) if isinstance(error, RuntimeError) else None
    if match is None:
        return None
    for known in list(_loaders):
        known.forget_workers()  # one error is enough
    pid = int(match[1])
    loader = next((known for known in list(_loaders) if known.has_worker(pid)), None)
    return None if loader is None else loader.told() or loader.end_of(pid)


class _Stopwatch(threading.Thread):
    """Ends a wait of a loader: `with stopwatch: next(...)`.

    It counts its own ticks and not the clock's: a process that was stopped as a whole and continues has waited for
    nothing.

    Attributes:
        told: the message, once the time was up.
    """

    def __init__(self, loader: WatchedLoader):
        super().__init__(daemon=True, name="loader-watch")
        self._loader = weakref.ref(loader)
        self._wait: object | None = None  # another object for each wait; None while nothing is waited for
        self.told: str | None = None
        self.start()

    def is_counting(self) -> bool:
        return self.told is not None or (self._wait is not None and self.is_alive())

    def __enter__(self) -> None:
        self._wait = object()

    def __exit__(self, *exception: object) -> None:
        self._wait = None
        if self.told is not None and exception[0] is None:  # the batch came while its worker was killed
            raise LoaderError(self.told)

    def run(self) -> None:
        wait, waited_s = None, 0.0
        while (loader := self._loader()) is not None:
            if self._wait is not wait:
                wait, waited_s = self._wait, 0.0
            elif wait is not None and waited_s >= loader.limit_s:
                if loader.num_workers or processes.may_end:
                    self._expire(loader, wait)
                return
            del loader
            time.sleep(TICK_S)
            waited_s += TICK_S

    def _expire(self, loader: WatchedLoader, wait: object) -> None:
        self.told = loader.describe()  # first, because the main thread raises as soon as a worker is gone
        loader.kill_workers()
        for _ in range(int(_PATIENCE_S / TICK_S) if loader.num_workers else 0):
            if self._wait is not wait:
                return
            time.sleep(TICK_S)
        if processes.may_end:
            processes.end_now(self.told)
