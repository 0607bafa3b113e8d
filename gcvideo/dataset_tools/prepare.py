"""From raw downloads to a training-ready set: `gcvideo prepare`.

Every video is transcoded into a temporary file, decoded as a whole, and only then moved to its place, so that what is
in its place is good. The journal notes it behind that: a video in its place that is not noted is decoded once more
and taken as it is. Equal raw files and settings give equal bytes, however often the run was stopped.
"""

import errno
import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gcvideo.data.decode import VideoDecodeError, VideoFile
from gcvideo.data.decode.pyav_reader import decode_all
from gcvideo.dataset_tools.journal import FOLDER, Journal, PrepareError, csv_text, json_text, write_whole
from gcvideo.dataset_tools.pool import progress_bar, run_all
from gcvideo.dataset_tools.sources import Job, Plan
from gcvideo.dataset_tools.transcode import Encoding, find_encoder, transcode

COLUMNS = ("path", "label", "split", "num_frames", "fps", "width", "height", "decoder", "sha256")
_FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE)


@dataclass(frozen=True)
class Folders:
    """Where a job reads and writes: raw videos, prepared videos, files being made."""

    raw: Path
    out: Path
    temporary: Path


def prepare(
    plan: Plan,
    raw: str | Path,
    out: str | Path,
    encoding: Encoding | None = None,
    workers: int = 1,
    timeout_s: float = 600.0,
    shard: tuple[int, int] = (1, 1),
    retry: bool = False,
    merge: bool = False,
    progress: bool = True,
) -> dict[str, Any] | None:
    """Prepare the jobs of a plan, or those of one shard.

    Args:
        plan: of `make_plan`.
        raw: folder of the raw videos.
        out: folder to write into: split/class/ID.mp4 (or class/file.mp4), manifest.csv, classes.txt, failures.csv,
            summary.json.
        encoding: how videos are made.
        workers: processes.
        timeout_s: for each video.
        shard: (k, n): every n-th job, from the k-th; each shard can run on another machine.
        retry: try again what failed before.
        merge: make no video, but join what the shards have done.
        progress: show a bar: videos a second, time left, failures.

    Returns:
        The summary, if no job of any shard is left; else None.

    Raises:
        PrepareError: other settings than before, another process at this shard, a disk that can't be written, or a
            merge while videos are left.
    """
    encoding = encoding or Encoding()
    out = Path(out)
    places = out.resolve(), Path(raw).resolve()
    if places[0].is_relative_to(places[1]) or places[1].is_relative_to(places[0]):
        raise PrepareError(f"the output folder {out} and the raw folder {raw} must not lie in each other")
    if merge and not (out / FOLDER).is_dir():
        raise PrepareError(f"{out}: nothing was prepared here")
    settings = asdict(encoding) | {"encoder": find_encoder(encoding.encoder)}
    journal = Journal(out, settings, shard)
    try:
        done = _in_place(out, journal.done())
        left = sum(job.target not in done for job in plan.jobs)
        if merge and left:
            raise PrepareError(f"{left} of {len(plan.jobs)} videos are not prepared yet: not all shards are done")
        jobs = (
            []
            if merge
            else [
                job
                for job in plan.jobs[shard[0] - 1 :: shard[1]]
                if job.target not in done or (retry and "failed" in done[job.target])
            ]
        )
        work = partial(prepare_one, folders=Folders(Path(raw), out, journal.temporary), encoding=encoding)
        failures = 0
        with progress_bar("prepare", len(jobs), progress) as bar:
            for job, result in run_all(work, jobs, workers, timeout_s):
                record = {"target": job.target, "failed": result} if isinstance(result, str) else result
                if "fatal" in record:
                    raise PrepareError(f"{job.target}: {record['fatal']}; the same command goes on")
                journal.add(record)
                failures += "failed" in record
                bar.set_postfix(failures=failures, refresh=False)
                bar.update()
        done = _in_place(out, journal.done())
        if any(job.target not in done for job in plan.jobs):
            return None
        return finish(plan, out, done)
    finally:
        journal.close()


def _in_place(out: Path, done: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The records of which the video is there, and of failures."""
    there = {
        os.path.relpath(os.path.join(place, name), out)
        for place, _, names in os.walk(out)
        for name in names
        if name.endswith(".mp4")
    }
    return {target: record for target, record in done.items() if "failed" in record or target in there}


def prepare_one(job: Job, folders: Folders, encoding: Encoding) -> dict[str, Any]:
    """The record of one video: its facts, or {"failed": reason}, or {"fatal": reason} that concerns all."""
    target = folders.out / job.target
    making = folders.temporary / f"{os.getpid()}.mp4"
    try:
        if target.is_file():  # by a run that was killed before it noted so
            try:
                return _facts(target, job.target, None)
            except VideoDecodeError:  # harmed since: made anew
                target.unlink()
        target.parent.mkdir(parents=True, exist_ok=True)
        source = str(folders.raw / job.source)
        written = transcode(source, making, encoding, _trim(job, source))
        record = _facts(making, job.target, written)
        with making.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(making, target)
        return record
    except VideoDecodeError as error:
        if not folders.raw.is_dir():
            return {"target": job.target, "fatal": f"the raw folder {folders.raw} is gone"}
        return {"target": job.target, "failed": error.reason}
    except Exception as error:  # whatever a stranger's file can cause must not stop the others
        if getattr(error, "errno", None) in _FATAL or not folders.raw.is_dir():
            return {"target": job.target, "fatal": f"{type(error).__name__}: {error}"}
        return {"target": job.target, "failed": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
    finally:
        making.unlink(missing_ok=True)


def _trim(job: Job, source: str) -> tuple[float, float] | None:
    """What is to be cut out; nothing of a file that is no longer than the clip, which some crawlers name by its id."""
    if job.trim is None:
        return None
    file = VideoFile(source)
    file.close()
    times = file.pts[file.is_shown]
    seconds = float((times.max() - times.min()) * file.time_base) if file.is_indexed else len(times) / (file.fps or 25)
    return None if seconds <= job.trim[1] - job.trim[0] + 2 else job.trim


def _facts(path: Path, target: str, written: int | None) -> dict[str, Any]:
    """Decode a prepared video as a whole; its row of the manifest."""
    file = VideoFile(str(path))
    try:
        count = sum(1 for _ in decode_all(file))
    finally:
        file.close()
    if count != len(file.order) or written not in (None, count):
        raise VideoDecodeError(str(path), f"the prepared video has {count} frames and not {written}")
    return {
        "target": target,
        "num_frames": count,
        "fps": round(file.fps, 6),
        "width": file.width,
        "height": file.height,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def finish(plan: Plan, out: Path, done: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Write manifest.csv, classes.txt, failures.csv and summary.json; the summary."""
    good = [(job, done[job.target]) for job in plan.jobs if "failed" not in done[job.target]]
    rows = [
        (job.target, job.label, job.split, *(record[key] for key in COLUMNS[3:7]), "pyav", record["sha256"][:16])
        for job, record in good
    ]
    keep = [column for column in range(len(COLUMNS)) if COLUMNS[column] != "split" or any(row[2] for row in rows)]
    header = [COLUMNS[column] for column in keep]
    write_whole(out / "manifest.csv", csv_text(header, ([row[column] for column in keep] for row in rows)))
    write_whole(out / "classes.txt", "".join(f"{name}\n" for name in plan.class_names))
    write_whole(out / "failures.csv", csv_text(("path", "label", "split", "reason"), _failures(plan, done)))
    summary = summarise(plan, Counter((job.split, job.label) for job, _ in good))
    write_whole(out / "summary.json", json_text(summary))
    return summary


def _failures(plan: Plan, done: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str, str, str]]:
    for job in plan.jobs:
        if "failed" in done[job.target]:
            yield job.source, job.label, job.split, done[job.target]["failed"]
    for target, label, split in plan.missing:
        yield target, label, split, "no raw file"
    for source, reason in plan.rejected:
        yield source, "", "", reason


def summarise(plan: Plan, present: Counter[tuple[str, str]]) -> dict[str, Any]:
    """How many of the official rows are present: an accuracy compares only with this number beside it."""
    official = plan.official()
    splits = sorted({split for split, _ in official})
    return {
        "official": sum(official.values()),
        "present": sum(present.values()),
        "missing": len(plan.missing),
        "failed": len(plan.jobs) - sum(present.values()),
        "rejected_files": len(plan.rejected),
        "unlisted_files": plan.unlisted,
        "rows_without_label": plan.unlabelled,
        "splits": {
            split: {
                "official": sum(count for (name, _), count in official.items() if name == split),
                "present": sum(count for (name, _), count in present.items() if name == split),
            }
            for split in splits
        },
        "classes": {
            label: {
                split: {"official": official[split, label], "present": present[split, label]}
                for split in splits
                if official[split, label]
            }
            for label in plan.class_names
        },
    }
