"""Signals that stop a run: noted when they arrive, acted upon where the state is whole."""

import os
import re
import signal
import subprocess
import threading
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins.environments import SLURMEnvironment
from pytorch_lightning.utilities.rank_zero import rank_zero_info, rank_zero_warn

from gcvideo.errors import InterruptedRunError

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""What `kill`, Ctrl-C and SLURM (`--signal=USR1@120`) send."""


class Signals:
    """Handlers of `STOPPING` while a run lasts; `received` is the first that arrived, or 0.

    A second Ctrl-C ends the run at once, without saving. Lightning's handlers are replaced: after SIGTERM it exits with
    0 and saves nothing, and it saves inside the handler of SLURM's signal, in the middle of a step.
    """

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[int, Any] = {}

    def install(self) -> None:
        """Take over; again, where Lightning has installed its own in between."""
        if threading.current_thread() is not threading.main_thread():
            return  # Python allows handlers only there; who runs a Trainer in a thread stops it by other means
        for number in STOPPING:
            handler = signal.signal(number, self._handle)
            if handler != self._handle:
                self._before.setdefault(number, handler)

    def restore(self) -> None:
        """Give back. After a signal, no other one may disturb the end of the process."""
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if self.received else handler)
        self._before = {}

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self.received and signum == signal.SIGINT:
            raise InterruptedRunError("stopped by a second Ctrl-C, nothing saved", signum)
        self.received = self.received or signum


def requeue(trainer: pl.Trainer, signum: int) -> None:
    """Have SLURM start the job again, where SIGUSR1 asks for it and the job runs under SLURM.

    Like Lightning's handler, it is switched off by the plugin `SLURMEnvironment(auto_requeue=False)`.
    """
    environment = trainer._accelerator_connector.cluster_environment
    if signum != signal.SIGUSR1 or not isinstance(environment, SLURMEnvironment) or not environment.auto_requeue:
        return
    if not trainer.is_global_zero:
        return
    job = os.environ.get("SLURM_JOB_ID", "")
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ.get('SLURM_ARRAY_TASK_ID', '')}"
    if not re.fullmatch(r"[0-9_]+", job):
        rank_zero_warn(f"the job can't be requeued: SLURM_JOB_ID is {job!r}")
        return
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, timeout=60, capture_output=True, text=True)
        rank_zero_info(f"job {job} is requeued")
    except (OSError, subprocess.SubprocessError) as error:
        rank_zero_warn(f"the job {job} can't be requeued: {error}")
