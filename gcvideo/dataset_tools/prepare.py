"""From raw downloads to a data set ready for training: `gcvideo prepare`.

The parts of a job array prepare videos (`prepare_one`) and record them in journals; when no video is left, `finish`
writes the manifest. Equal raw files and settings give equal bytes, however often the run was interrupted.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from gcvideo.dataset_tools.journal import FOLDER, Journal, PrepareError
from gcvideo.dataset_tools.options import Encoding, PrepareOptions
from gcvideo.dataset_tools.plan import Job, Part, Plan
from gcvideo.dataset_tools.pool import NoResult, open_pool, progress_bar, run_all
from gcvideo.dataset_tools.prepare_video import Folders, prepare_one
from gcvideo.dataset_tools.records import Failed, Fatal, Outcome
from gcvideo.dataset_tools.summary import Summary, finish
from gcvideo.dataset_tools.transcode import find_encoder
from gcvideo.errors import UsageError


def prepare(
    plan: Plan, out: str | Path, encoding: Encoding | None = None, options: PrepareOptions | None = None
) -> Summary | None:
    """Prepare the videos of a plan, or of one part of it.

    Args:
        plan: of `make_plan`.
        out: folder to write into: split/class/ID.mp4 (or class/file.mp4), manifest.csv, classes.txt, failures.csv,
            summary.json.
        encoding: of the prepared videos.
        options: how the work is done.

    Returns:
        The summary if no video of any part is left, else None.

    Raises:
        UsageError: other settings than before, or the folders contain each other.
        PrepareError: another process works on this part, the disk is full, or the raw folder is gone.
    """
    out, options = Path(out), options or PrepareOptions()
    encoding = encoding or Encoding()
    journal = _open_journal(plan, out, encoding, options.part)
    try:
        outcomes = _still_valid(out, journal.outcomes())
        jobs = [job for job in options.part.of(plan.jobs) if _is_pending(outcomes.get(job.target), options.retry)]
        _prepare_all(jobs, Folders(plan.raw, out, journal.temporary), encoding, options, journal)
        # Read again: other parts have recorded videos meanwhile, and whichever ends last writes the manifest.
        outcomes = _still_valid(out, journal.outcomes())
        if any(job.target not in outcomes for job in plan.jobs):
            return None  # other parts are at work
        return finish(plan, out, outcomes)
    finally:
        journal.close()


def merge(plan: Plan, out: str | Path, encoding: Encoding | None = None) -> Summary:
    """Write the manifest of what all parts have prepared; see `prepare`.

    Raises:
        UsageError: nothing was prepared here, with other settings, or not by all parts.
    """
    out = Path(out)
    if not (out / FOLDER).is_dir():
        raise UsageError(f"{out}: nothing was prepared here")
    journal = _open_journal(plan, out, encoding or Encoding(), Part())
    try:
        outcomes = _still_valid(out, journal.outcomes())
        left = sum(job.target not in outcomes for job in plan.jobs)
        if left:
            raise UsageError(f"{left} of {len(plan.jobs)} videos are not prepared yet: not all parts are done")
        return finish(plan, out, outcomes)
    finally:
        journal.close()


def _open_journal(plan: Plan, out: Path, encoding: Encoding, part: Part) -> Journal:
    real_raw, real_out = plan.raw.resolve(), out.resolve()
    # Else the next run would take prepared videos for raw ones, or remove raw ones as damaged results.
    if real_out.is_relative_to(real_raw) or real_raw.is_relative_to(real_out):
        raise UsageError(f"the output folder {out} and the raw folder {plan.raw} must not contain each other")
    # "auto" may mean another encoder on another machine, and encoders differ in their bytes: record the actual one.
    settings = asdict(encoding) | {"encoder": find_encoder(encoding.encoder)}
    return Journal(out, settings, part)


def _still_valid(out: Path, outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """The failures, and the prepared videos whose file still exists."""
    existing = {
        os.path.relpath(os.path.join(folder, name), out)
        for folder, _, names in os.walk(out)  # faster on a network disk than asking for each file
        for name in names
        if name.endswith(".mp4")
    }
    return {
        target: outcome for target, outcome in outcomes.items() if isinstance(outcome, Failed) or target in existing
    }


def _is_pending(outcome: Outcome | None, retry: bool) -> bool:
    return outcome is None or (retry and isinstance(outcome, Failed))


def _prepare_all(
    jobs: Sequence[Job], folders: Folders, encoding: Encoding, options: PrepareOptions, journal: Journal
) -> None:
    if not jobs:
        return
    work = partial(prepare_one, folders=folders.absolute(), encoding=encoding)
    failures = 0
    with (
        open_pool(options.workers, options.scheduler, folders.temporary) as pool,
        progress_bar("prepare", len(jobs), options.progress) as bar,
    ):
        for job, result in run_all(work, jobs, pool, options.timeout_s):
            outcome = Failed(job.target, result.reason) if isinstance(result, NoResult) else result
            if isinstance(outcome, Fatal):
                raise PrepareError(f"{outcome.target}: {outcome.reason}; the same command resumes")
            journal.add(outcome)
            failures += isinstance(outcome, Failed)
            bar.set_postfix(failures=failures, refresh=False)
            bar.update()
