"""One run of a sweep: `gcvideo fit`, then `gcvideo test`, each a process of its own.

A run is finished if its fit reached its configured end (`training.fit_marker`), and its test ended well with best.ckpt
of that fit. The sweep records this in `sweep-finished.json`, with digests of the results that it publishes. An exit
status alone proves nothing: a fit that was stopped may end with 0, and a report may be of another checkpoint.
"""

import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from gcvideo.files import json_text, write_text
from gcvideo.fit_marker import digest_of, finished_checkpoint
from gcvideo.locking import LockedError, locked
from gcvideo.sweep.file import Run, Sweep
from gcvideo.sweep.outcome import FINISHED, RESULTS, Outcome, read_outcome
from gcvideo.sweep.processes import call

LOCK = "sweep.lock"


@dataclass(frozen=True, slots=True)
class Execution:
    """How runs are executed; it decides nothing about their results.

    Args:
        folder: working folder of the sweep, absolute: its paths may be relative to it.
        environment: variables of the processes.
        grace_s: time that a run has to save its state when it is stopped.
    """

    folder: str
    environment: Mapping[str, str]
    grace_s: float = 60.0

    def folder_of(self, sweep: Sweep, run: Run) -> Path:
        """Absolute path of a run's folder."""
        return Path(self.folder) / sweep.run_folder(run)


class Ended(NamedTuple):
    """How a run ended: with an outcome, or why it has none.

    Args:
        outcome: of a finished run.
        reason: why it failed.
        is_elsewhere: another process works on it.
    """

    outcome: Outcome | None = None
    reason: str = ""
    is_elsewhere: bool = False


def execute(sweep: Sweep, run: Run, execution: Execution, is_stopped: Callable[[], bool]) -> Ended:
    """Train and test, as far as it has not been done."""
    folder = execution.folder_of(sweep, run)
    try:
        with locked(folder, LOCK) as lock, (folder / "log.txt").open("a", encoding="utf-8") as log:
            if outcome := read_outcome(sweep, run, folder):  # by another sweep, since this one has started
                return Ended(outcome)
            return _fit_and_test(sweep, run, folder, _Caller(execution, log, lock, is_stopped))
    except LockedError:
        return Ended(is_elsewhere=True)
    except OSError as error:  # such as a full disk
        return Ended(reason=str(error))


class _Caller(NamedTuple):
    """What the two commands of a run have in common; returns why a command failed, or ""."""

    execution: Execution
    log: IO[str]
    lock: int
    is_stopped: Callable[[], bool]

    def __call__(self, command: list[str]) -> str:
        if self.is_stopped():
            return "stopped"
        status = call(
            command,
            self.log,
            self.execution.environment,
            self.lock,
            Path(self.execution.folder),
            self.execution.grace_s,
            self.is_stopped,
        )
        return _status_text(status)


def _fit_and_test(sweep: Sweep, run: Run, folder: Path, run_command: _Caller) -> Ended:
    fit, test = _commands(sweep, run)
    checkpoint = finished_checkpoint(folder)
    if checkpoint is None:
        if problem := run_command(fit):
            return Ended(reason=f"fit {problem}")
        checkpoint = finished_checkpoint(folder)
        if checkpoint is None:
            return Ended(reason="fit ended before its configured end")
    (folder / "report.json").unlink(missing_ok=True)  # so that the one found afterwards is of this test
    if problem := run_command(test):
        return Ended(reason=f"test {problem}")
    digests = {name: digest for name in RESULTS if (digest := digest_of(folder / name))}
    if "report.json" not in digests:
        return Ended(reason="test wrote no report.json")
    if finished_checkpoint(folder) != checkpoint:
        return Ended(reason="another process has changed the checkpoints during the test")
    write_text(folder / FINISHED, json_text({"checkpoint": checkpoint, "sha256": digests}))
    return Ended(read_outcome(sweep, run, folder))


def _commands(sweep: Sweep, run: Run) -> list[list[str]]:
    """`fit`, which starts or resumes, and `test`."""
    gcvideo = [sys.executable, "-m", "gcvideo"]
    arguments = sweep.arguments(run)
    return [[*gcvideo, "fit", *arguments, "--ckpt_path=auto"], [*gcvideo, "test", *arguments]]


def _status_text(status: int) -> str:
    if status == 0:
        return ""
    try:
        return f"was ended by {signal.Signals(status - 128).name}"
    except ValueError:
        return f"failed (exit status {status})"
