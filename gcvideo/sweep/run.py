"""`gcvideo sweep`: variants x seeds of one configuration, and the table that compares them.

Every run is a process of its own (`gcvideo fit`, then `gcvideo test`) with a folder of its own. So a stopped sweep
resumes: finished runs are read from their report.json, an unfinished one resumes from its last checkpoint.
"""

import json
import os
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path

from gcvideo.errors import UsageError
from gcvideo.files import json_text, write_text
from gcvideo.sweep.file import Run, Sweep
from gcvideo.sweep.outcome import Outcome, read_outcome
from gcvideo.sweep.processes import Processes, run_lock
from gcvideo.sweep.results import write_tables
from gcvideo.sweep.statistics import seeds_needed


def run_sweep(sweep: Sweep, jobs: int = 1) -> list[str]:
    """Run what a sweep still lacks, and write the tables after every run.

    Args:
        sweep: what to run.
        jobs: runs at a time.

    Returns:
        Names of the runs that failed; the log of each is log.txt in its folder.

    Raises:
        UsageError: a configuration file can't be read, or a run of the same name has other settings.
    """
    # Of all runs before the first starts: a changed setting is an error at once, not after hours.
    config_settings = sweep.config_settings()
    for run in sweep.runs:
        _claim(sweep.run_folder(run), [*sweep.arguments(run), *config_settings])
    unfinished = [run for run in sweep.runs if read_outcome(sweep, run) is None]
    print(f"{len(sweep.runs)} runs, {len(sweep.runs) - len(unfinished)} done already", flush=True)
    needed = seeds_needed(len(sweep.variants) - 1)
    if len(sweep.seeds) < needed:
        print(f"seeds: {len(sweep.seeds)}; a verdict takes {needed}", flush=True)
    processes = Processes()
    pool = ThreadPoolExecutor(jobs)  # its threads only wait for processes
    try:
        futures = {pool.submit(_fit_and_test, sweep, run, jobs, processes): run for run in unfinished}
        failed = _follow(sweep, futures)
    finally:  # on Ctrl-C the children stop as well
        # Queued runs first, so that no thread starts another one when its process ends.
        pool.shutdown(wait=False, cancel_futures=True)
        processes.stop()
    write_tables(sweep)
    return failed


def _claim(folder: Path, settings: list[str]) -> None:
    """Create the folder of a run with a note of its settings, or check that they are the same as before."""
    note = folder / "sweep.json"
    if not note.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_text(note, json_text(settings))
        return
    before = json.loads(note.read_text(encoding="utf-8"))
    if before != settings:
        changed = ", ".join(sorted(set(before) ^ set(settings)))
        raise UsageError(f"{folder} was run with other settings ({changed}): remove it or rename the sweep")


def _follow(sweep: Sweep, futures: dict[Future[Outcome | None], Run]) -> list[str]:
    """Print a line and update the tables after every run; the names of the failed ones."""
    failed = []
    started = time.monotonic()
    for number, future in enumerate(as_completed(futures), start=1):
        folder = sweep.run_folder(futures[future])
        outcome = future.result()
        if outcome is None:
            failed.append(folder.name)
            message = f"failed, see {folder / 'log.txt'}"
        else:
            message = f"{sweep.metric} {outcome.value:.3f}"
            if outcome.interval:
                message += f" ({outcome.interval})"
        seconds_per_run = (time.monotonic() - started) / number
        minutes_left = seconds_per_run * (len(futures) - number) / 60
        print(f"[{number}/{len(futures)}] {folder.name}: {message}; about {minutes_left:.0f} min left", flush=True)
        write_tables(sweep)
    return failed


def _fit_and_test(sweep: Sweep, run: Run, jobs: int, processes: Processes) -> Outcome | None:
    """Train and test in child processes; None if one of them failed."""
    folder = sweep.run_folder(run)
    threads = max(1, (os.cpu_count() or 1) // jobs)  # else each of the jobs takes all cores, and they slow each other
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ}  # the user's own setting wins
    with (folder / "log.txt").open("a", encoding="utf-8") as log, run_lock(folder) as lock:
        if lock is None:
            print(f"another process is running in {folder}", file=log)
            return None
        for command in _commands(sweep, run):
            if processes.call(command, log, environment, lock) != 0:
                return None
    return read_outcome(sweep, run)


def _commands(sweep: Sweep, run: Run) -> list[list[str]]:
    """`fit`, resumed where there is a checkpoint, and `test`."""
    gcvideo = [sys.executable, "-m", "gcvideo"]
    arguments = sweep.arguments(run)
    # A run that was stopped before its first checkpoint starts anew.
    has_checkpoint = (sweep.run_folder(run) / "checkpoints" / "last.ckpt").exists()
    resume = ["--ckpt_path=last"] if has_checkpoint else []
    return [[*gcvideo, "fit", *arguments, *resume], [*gcvideo, "test", *arguments]]
