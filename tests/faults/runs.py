"""Runs of the command line in processes of their own, which can be killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

TINY = [
    "--model.network", "slowonly_tiny", "--model.blocks", "gc_all", "--model.lr", "0.02",
    "--model.optim.lr_batch", "null", "--data.clip.frames", "4", "--data.clip.stride", "1", "--data.augment.size", "32",
    "--data.augment.short_side", "[32,36]", "--data.batch_size", "3", "--data.num_workers", "0",
    "--trainer.accelerator", "cpu", "--trainer.log_every_n_steps", "1",
    "--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false",
]  # fmt: skip
"""A network of 1,000 parameters on clips of 4 frames; training has dropout 0.5, the default."""


def gcvideo(verb: str, folder: Path, *options: object, log: str = "log.txt") -> subprocess.Popen[bytes]:
    """Start `gcvideo VERB --runs_dir FOLDER --name run`; its output is appended to a file in `folder`."""
    command = [sys.executable, "-m", "gcvideo", verb, "--runs_dir", folder, "--name", "run", *TINY, *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "CUDA_VISIBLE_DEVICES": ""}
    with (folder / log).open("ab") as output:
        return subprocess.Popen(
            list(map(str, command)), stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )


def finished(verb: str, folder: Path, *options: object, timeout_s: float = 300, log: str = "log.txt") -> int:
    """Exit status of a whole run."""
    process = gcvideo(verb, folder, *options, log=log)
    try:
        return process.wait(timeout_s)
    finally:
        end(process)


def session_of(pid: int) -> list[int]:
    """The processes of the session that a process began, those that outlived it included."""
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it ended in between
                continue
            if int(fields[3]) == pid and fields[0] != "Z":
                members.append(int(entry.name))
    return members


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill whatever a test has left."""
    for pid in session_of(process.pid):
        os.kill(pid, signal.SIGKILL)
    process.wait()


def gone(process: subprocess.Popen[bytes], timeout_s: float = 30) -> bool:
    """Whether all processes of a run end within a time."""
    deadline = time.monotonic() + timeout_s
    while session_of(process.pid):
        if time.monotonic() > deadline:
            return False
        process.poll()
        time.sleep(0.05)
    process.wait(5)
    return True


def wait_for(condition, process: subprocess.Popen[bytes], timeout_s: float = 120) -> bool:
    """Whether a condition holds before the process ends; fails after a time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if process.poll() is not None:
            return False
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)
    return True
