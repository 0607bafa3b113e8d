"""One video: transcoded into a temporary file, decoded in full, and only then given its name.

So a file under its final name is complete and verified, whenever the process was killed.
"""

import errno
import hashlib
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from gcvideo.data.decode import VideoDecodeError, VideoFile
from gcvideo.data.decode.pyav_reader import decode_all
from gcvideo.dataset_tools.options import Encoding
from gcvideo.dataset_tools.plan import Job
from gcvideo.dataset_tools.records import Failed, Fatal, Prepared
from gcvideo.dataset_tools.transcode import transcode
from gcvideo.files import publish

_FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE)
"""Errors that the next video would meet, too: no space, no quota, a read-only disk, too many open files."""

_TOLERANCE_S = 2
"""How much longer than the annotated clip a file may be that is the clip already."""


@dataclass(frozen=True)
class Folders:
    """Raw videos, prepared videos, and files in the making."""

    raw: Path
    out: Path
    temporary: Path

    def absolute(self) -> "Folders":
        """The same for processes with another working folder."""
        return Folders(self.raw.absolute(), self.out.absolute(), self.temporary.absolute())


def prepare_one(job: Job, folders: Folders, encoding: Encoding) -> Prepared | Failed | Fatal:
    """Prepare one video; does not raise."""
    temporary = folders.temporary / f"{socket.gethostname()}-{os.getpid()}.mp4"  # each worker process has its own
    try:
        return _existing(job, folders) or _made(job, folders, encoding, temporary)
    except Exception as error:  # an untrusted file can cause any error; it must not stop the others
        if not folders.raw.is_dir():  # an unmounted disk: else every video would be recorded as failed
            return Fatal(job.target, f"the raw folder {folders.raw} is gone")
        if getattr(error, "errno", None) in _FATAL:
            return Fatal(job.target, f"{type(error).__name__}: {error}")
        if isinstance(error, VideoDecodeError):
            return Failed(job.target, error.reason)
        return Failed(job.target, f"{type(error).__name__}: {error}".splitlines()[0][:300])
    finally:
        temporary.unlink(missing_ok=True)


def _existing(job: Job, folders: Folders) -> Prepared | None:
    """The record of a video that a run finished, but was killed before recording; None if there is no such video."""
    target = folders.out / job.target
    if not target.is_file():
        return None
    try:
        return _verify(target, job.target)
    except VideoDecodeError:  # damaged since
        target.unlink()
        return None


def _made(job: Job, folders: Folders, encoding: Encoding, temporary: Path) -> Prepared:
    target = folders.out / job.target
    target.parent.mkdir(parents=True, exist_ok=True)
    source = str(folders.raw / job.source)
    num_frames = transcode(source, temporary, encoding, _trim(job, source))
    record = _verify(temporary, job.target, num_frames)
    publish(temporary, target)
    return record


def _trim(job: Job, source: str) -> tuple[float, float] | None:
    """The interval to cut out, in seconds; None if the file is the clip already.

    Some crawlers name clips by the bare id, like whole videos. Such a file is not much longer than the clip.
    """
    if job.trim is None:
        return None
    file = VideoFile(source)
    file.close()
    times = file.pts[file.is_shown]
    if file.is_indexed:
        duration_s = float((times.max() - times.min()) * file.time_base)
    else:
        duration_s = len(times) / (file.fps or 25)  # 25 as in `transcode`
    start_s, end_s = job.trim
    return None if duration_s <= end_s - start_s + _TOLERANCE_S else job.trim


def _verify(path: Path, target: str, num_frames: int | None = None) -> Prepared:
    """Decode a prepared video in full.

    Args:
        path: the file.
        target: its final path, relative to the output folder.
        num_frames: number of frames that it must have, if known.

    Raises:
        VideoDecodeError: damaged, or another number of frames.
    """
    file = VideoFile(str(path))
    try:
        decoded = sum(1 for _ in decode_all(file))
    finally:
        file.close()
    if decoded != len(file.order) or num_frames not in (None, decoded):
        expected = len(file.order) if num_frames is None else num_frames
        raise VideoDecodeError(str(path), f"the prepared video has {decoded} frames, expected {expected}")
    return Prepared(
        target=target,
        num_frames=decoded,
        fps=round(file.fps, 6),
        width=file.width,
        height=file.height,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )
