"""What an exception of a rank, or its end, says about the run."""

import re
import signal
import subprocess

import torch

from gcvideo.data.loader import explain
from gcvideo.errors import GcvideoError
from gcvideo.training.rank_reports import Failure

_LOST = re.compile(
    r"(?i)connection (closed|reset|refused)|broken pipe|timed out|socket|gloo|nccl|process ?group|tcpstore|c10d"
)
"""Errors of a rank whose connection to another one is lost."""


def failure_of(error: BaseException) -> Failure:
    """An exception as others are told of it; it is a consequence if it says no more than that others are gone."""
    loss = explain(error)
    text = (loss or str(error).strip())[:2000]
    if isinstance(error, GcvideoError):
        return Failure(text, error.exit_status)
    if not isinstance(error, Exception):
        return Failure(f"stopped by {type(error).__name__}", 130 if isinstance(error, KeyboardInterrupt) else 1)
    is_lost = isinstance(error, RuntimeError) and _LOST.search(text) is not None
    if loss is None and (is_lost or isinstance(error, torch.distributed.DistError)):
        return Failure(f"the connection to the other ranks broke: {text.splitlines()[0][:200]}", is_cause=False)
    return Failure(loss or f"{type(error).__name__}: {text}")


def how_it_ended(process: "subprocess.Popen[bytes] | None") -> str:
    """What to tell of a rank whose connection has broken.

    Args:
        process: None if it was not started by this one.
    """
    try:  # a connection breaks a moment before the process is gone
        code = None if process is None else process.wait(timeout=2.0)
    except subprocess.TimeoutExpired:
        code = None
    if code is None:
        return "is gone: it was killed, or has crashed"
    if code >= 0:
        return f"has ended with status {code}"
    killed = f"was killed ({signal.Signals(-code).name})"
    return f"{killed}, often because memory is short" if code == -signal.SIGKILL else killed
