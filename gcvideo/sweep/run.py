"""`gcvideo sweep`: variants x seeds of one configuration, and the table that compares them.

Every run is a process of its own (`gcvideo fit`, then `gcvideo test`) in a folder of its own, so a sweep that was
stopped goes on: finished runs are read from their report.json, an unfinished one continues from its last checkpoint.
"""

import csv
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from gcvideo.sweep.comparison import compare, markdown
from gcvideo.sweep.file import Sweep, SweepError


def run_sweep(sweep: Sweep, jobs: int = 1) -> list[str]:
    """Do what is missing of a sweep, `jobs` runs at a time, and write the table after every run.

    Returns:
        Names of the runs that failed; the log of each is log.txt in its folder.

    Raises:
        SweepError: a configuration file can't be read, or a run of that name was made with other settings.
    """
    runs = [(variant, seed) for seed in sweep.seeds for variant in sweep.variants]
    for variant, seed in runs:
        _claim(sweep, variant, seed)
    todo = [run for run in runs if _result(sweep, *run) is None]
    print(f"{len(runs)} runs, {len(runs) - len(todo)} done already", flush=True)
    failed, started = [], time.monotonic()
    children = _Children()
    pool = ThreadPoolExecutor(jobs)
    try:
        futures = {pool.submit(_run, sweep, variant, seed, jobs, children): (variant, seed) for variant, seed in todo}
        for number, future in enumerate(as_completed(futures), start=1):
            folder = sweep.run_folder(*futures[future])
            name = folder.name
            if future.result():
                told = f"{sweep.metric} {_result(sweep, *futures[future]):.3f}"
            else:
                failed.append(name)
                told = f"failed, see {folder / 'log.txt'}"
            left = (time.monotonic() - started) / number * (len(todo) - number)
            print(f"[{number}/{len(todo)}] {name}: {told}; about {left / 60:.0f} min left", flush=True)
            write_tables(sweep)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        children.stop()
    write_tables(sweep)
    return failed


def write_tables(sweep: Sweep) -> None:
    """Write runs.csv, table.csv, table.md and plot.png from the runs that are finished."""
    from gcvideo.sweep.plot import plot_variants

    results: dict[str, dict[int, float]] = {
        variant: {seed: value for seed in sweep.seeds if (value := _result(sweep, variant, seed)) is not None}
        for variant in sweep.variants
    }
    rows = compare(results, sweep.baseline)
    if not rows:
        return
    _write_csv(
        sweep.folder / "runs.csv",
        [{"variant": v, "seed": s, sweep.metric: x} for v, by_seed in results.items() for s, x in by_seed.items()],
    )
    table = [
        {
            "variant": row.variant,
            "seeds": len(row.values),
            "mean": row.mean,
            "spread": row.spread,
            "difference": row.difference,
            "low": row.low,
            "high": row.high,
            "p": row.p,
            "verdict": row.verdict,
        }
        for row in rows
    ]
    _write_csv(sweep.folder / "table.csv", table)
    (sweep.folder / "table.md").write_text(
        markdown(rows, sweep.metric, sweep.baseline, len(sweep.seeds)), encoding="utf-8"
    )
    (sweep.folder / "plot.png").write_bytes(plot_variants(rows, sweep.metric, sweep.baseline))


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _claim(sweep: Sweep, variant: str, seed: int) -> None:
    """Make the folder of a run, or see that it is of the same settings."""
    folder = sweep.run_folder(variant, seed)
    settings = [*sweep.arguments(variant, seed), *sweep.contents()]
    note = folder / "sweep.json"
    if note.exists():
        before = json.loads(note.read_text(encoding="utf-8"))
        if before != settings:
            changed = ", ".join(sorted(set(before) ^ set(settings)))
            raise SweepError(f"{folder} was run with other settings ({changed}): remove it or rename the sweep")
        return
    folder.mkdir(parents=True, exist_ok=True)
    partial = note.with_name("sweep.json.part")
    partial.write_text(json.dumps(settings, indent=1), encoding="utf-8")
    partial.replace(note)


def _result(sweep: Sweep, variant: str, seed: int) -> float | None:
    """Metric of a finished run, else None."""
    report = sweep.run_folder(variant, seed) / "report.json"
    if not report.exists():
        return None
    results: Mapping[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    if not isinstance(results.get(sweep.metric), int | float):
        numbers = ", ".join(key for key, value in results.items() if isinstance(value, int | float))
        raise SweepError(f"metric must be one of {numbers}; got {sweep.metric!r}")
    return float(results[sweep.metric])


def _run(sweep: Sweep, variant: str, seed: int, jobs: int, children: "_Children") -> bool:
    """Fit and test; whether both went well."""
    folder = sweep.run_folder(variant, seed)
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    environment = {"OMP_NUM_THREADS": threads, **os.environ}
    arguments = sweep.arguments(variant, seed)
    resume = ["--ckpt_path=last"] if (folder / "checkpoints" / "last.ckpt").exists() else []
    with (folder / "log.txt").open("a", encoding="utf-8") as log, (folder / "lock").open("w") as lock:
        try:  # the processes inherit it: held as long as one of them lives, even if this one is killed
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another process is at work in {folder}", file=log)
            return False
        for verb, more in (("fit", resume), ("test", [])):
            command = [sys.executable, "-m", "gcvideo", verb, *arguments, *more]
            if children.call(command, log, environment, lock.fileno()):
                return False
    return _result(sweep, variant, seed) is not None


class _Children:
    """The processes that run now; all are stopped when the sweep is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def call(self, command: list[str], log: Any, environment: Mapping[str, str], lock: int) -> int:
        """Exit status of the command."""
        with self._lock:
            if self._stopped:
                return 1
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment, pass_fds=(lock,))
            self._running.add(process)
        try:
            return process.wait()
        finally:
            with self._lock:
                self._running.discard(process)

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()
