"""`gcvideo sweep`: variants x seeds of one configuration, and the table that compares them.

Every run has a folder of its own, and what is finished in it is not done again (`sweep.execute`): a stopped sweep
resumes, and several sweeps of one file share the work. A run that another sweep executes is left to it; at the end each
sweep waits for those, and executes what the others have given up.
"""

import json
import signal
import time
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack
from pathlib import Path

from gcvideo.cluster import connect
from gcvideo.errors import InterruptedRunError, UsageError
from gcvideo.files import json_text, write_text
from gcvideo.sweep.execute import Ended
from gcvideo.sweep.file import Run, Sweep
from gcvideo.sweep.machines import Start, cluster, result_of, this_machine
from gcvideo.sweep.outcome import Outcome, read_outcomes
from gcvideo.sweep.processes import caught_signals
from gcvideo.sweep.results import write_tables
from gcvideo.sweep.statistics import seeds_needed

_ELSEWHERE_S = 5
"""How often a sweep looks whether runs of others have ended."""


def run_sweep(sweep: Sweep, jobs: int | None = None, grace_s: float = 60.0, scheduler: str | None = None) -> list[str]:
    """Run what a sweep still lacks, and write the tables after every run.

    Args:
        sweep: what to run.
        jobs: runs at a time; 1 by default, on a cluster all.
        grace_s: time that runs have to save their state when the sweep is stopped.
        scheduler: address of a dask scheduler, whose workers execute the runs; they share the folders of the sweep.

    Returns:
        Names of the runs that failed; the log of each is log.txt in its folder.

    Raises:
        UsageError: a configuration file can't be read, or a run of the same name has other settings.
        InterruptedRunError: a signal asked to stop; no process is left.
    """
    # Of all runs before the first starts: a changed setting is an error at once, not after hours.
    config_settings = sweep.config_settings()
    for run in sweep.runs:
        _claim(sweep.run_folder(run), [*sweep.arguments(run), *config_settings])
    progress = _Progress(sweep, read_outcomes(sweep))
    _print_start(sweep, len(progress.outcomes))
    unfinished = [run for run in sweep.runs if run not in progress.outcomes]
    if unfinished:
        with ExitStack() as stack:
            workers = None if scheduler is None else stack.enter_context(connect(scheduler, sweep.folder))
            signals = stack.enter_context(caught_signals())  # not before: connecting may take long
            if workers is None:
                start = stack.enter_context(this_machine(sweep, jobs or 1, grace_s))
            else:
                start = stack.enter_context(cluster(sweep, workers, grace_s))
            _run_all(unfinished, start, jobs or (1 if workers is None else len(unfinished)), progress, signals)
            if signals:
                print(f"stopping: runs have {grace_s:g} s to save their state", flush=True)
        if signals:
            name = signal.Signals(signals[0]).name
            done = f"{len(progress.outcomes)} of {len(sweep.runs)} runs are done"
            raise InterruptedRunError(f"stopped by {name}: {done}; the same command resumes", signals[0])
    write_tables(sweep, progress.outcomes)
    return progress.failed


def _claim(folder: Path, settings: list[str]) -> None:
    """Create the folder of a run with a note of its settings, or check that they are the same as before."""
    note = folder / "sweep.json"
    if not note.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_text(note, json_text(settings))
        return
    try:
        before = set(json.loads(note.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UsageError(f"{note} can't be read ({error}); remove {folder}, or restore the file") from None
    if before != set(settings):
        changed = ", ".join(sorted(before ^ set(settings)))
        raise UsageError(f"{folder} was run with other settings ({changed}): remove it or rename the sweep")


def _print_start(sweep: Sweep, num_finished: int) -> None:
    print(f"{len(sweep.runs)} runs, {num_finished} done already", flush=True)
    needed = seeds_needed(len(sweep.variants) - 1)
    if len(sweep.seeds) < needed:
        print(f"seeds: {len(sweep.seeds)}; a verdict takes {needed}", flush=True)


def _run_all(runs: list[Run], start: Start, jobs: int, progress: "_Progress", signals: list[int]) -> None:
    """Execute runs until all have ended, or a signal has arrived."""
    waiting, elsewhere = deque(runs), deque[Run]()
    running: dict[Future[Ended], Run] = {}
    next_look = 0.0
    while (waiting or elsewhere or running) and not signals:
        if not waiting and not running and time.monotonic() > next_look:
            waiting, elsewhere = elsewhere, waiting
            next_look = time.monotonic() + _ELSEWHERE_S
        while waiting and len(running) < jobs:
            run = waiting.popleft()
            running[start(run)] = run
        if not running:
            time.sleep(0.2)
        for future in wait(running, timeout=0.2, return_when=FIRST_COMPLETED).done:
            run, ended = running.pop(future), result_of(future)
            if ended.is_elsewhere:
                elsewhere.append(run)
                progress.is_elsewhere(run)
            else:
                progress.add(run, ended)


class _Progress:
    """What has ended, printed line by line.

    Args:
        sweep: whose runs they are.
        outcomes: of the runs that had finished before.
    """

    def __init__(self, sweep: Sweep, outcomes: dict[Run, Outcome]):
        self.sweep, self.outcomes = sweep, outcomes
        self.failed: list[str] = []
        self._elsewhere: set[Run] = set()
        self._number, self._total = 0, len(sweep.runs) - len(outcomes)
        self._started = time.monotonic()

    def add(self, run: Run, ended: Ended) -> None:
        """Print a line and update the tables."""
        folder = self.sweep.run_folder(run)
        if ended.outcome is None:
            self.failed.append(folder.name)
            message = f"{ended.reason}, see {folder / 'log.txt'}"
        else:
            self.outcomes[run] = ended.outcome
            message = f"{self.sweep.metric} {ended.outcome.value:.3f}"
            if ended.outcome.interval:
                message += f" ({ended.outcome.interval})"
        self._number += 1
        seconds_per_run = (time.monotonic() - self._started) / self._number
        minutes_left = seconds_per_run * (self._total - self._number) / 60
        counter = f"[{self._number}/{self._total}]"
        print(f"{counter} {folder.name}: {message}; about {minutes_left:.0f} min left", flush=True)
        write_tables(self.sweep, self.outcomes)

    def is_elsewhere(self, run: Run) -> None:
        """Print a line at the first time."""
        if run not in self._elsewhere:
            self._elsewhere.add(run)
            print(f"{self.sweep.run_folder(run).name}: another process works on it; its result is awaited", flush=True)
