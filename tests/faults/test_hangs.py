"""Ranks and loader processes that are stopped, killed or stuck: the run ends in time, tells one message that names rank,
host and file, and leaves no process.

Every case is a real run of the command line on two ranks (gloo).
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

HOST = re.escape(socket.gethostname())
LIMIT_S = 6
MARK = "GCVIDEO_TEST_RUN"


class Run:
    """A run of the command line; its processes are found by a mark in their environment."""

    def __init__(
        self, folder, manifest, *options, verb="fit", devices=2, workers=1, timeout_s=60, program=(), **environ
    ):
        self.folder, self.mark = folder, uuid.uuid4().hex
        settings = {
            "data.manifest": manifest, "name": "run", "runs_dir": folder / "runs", "rank_timeout_s": LIMIT_S,
            "data.clip.frames": 4, "data.clip.stride": 1, "data.augment.size": 32, "data.augment.short_side": "[32,36]",
            "data.batch_size": 2, "data.num_workers": workers, "data.loading.timeout_s": timeout_s,
            "model.network": "slowonly_tiny", "trainer.accelerator": "cpu", "trainer.devices": devices,
            "trainer.enable_progress_bar": "false", "trainer.enable_model_summary": "false",
            "trainer.max_epochs": 100000, "trainer.enable_checkpointing": "false", 
        }  # fmt: skip
        command = [*(program or (sys.executable, "-m", "gcvideo")), verb]
        for name, value in settings.items():
            command += [f"--{name}", str(value)]
        self.stderr = folder / f"stderr_{self.mark}"
        with self.stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [*command, *options], cwd=folder, stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", MARK: self.mark, **environ},
            )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def pids(self):
        """All processes of the run that are alive: pid -> (parent, local rank)."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environ = folder.joinpath("environ").read_bytes().split(b"\0")
                if f"{MARK}={self.mark}".encode() not in environ:
                    continue
                state, parent = folder.joinpath("stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            rank = next((int(text[11:]) for text in environ if text.startswith(b"LOCAL_RANK=")), 0)
            if state != "Z":
                found[int(folder.name)] = (int(parent), rank)
        return found

    def wait_for_training(self, patience_s=90):
        """Until an epoch is over and has been reported."""
        limit = time.monotonic() + patience_s
        while not list(self.folder.glob("runs/run/metrics/*/metrics.csv")):
            assert time.monotonic() < limit and self.process.poll() is None, self.stderr.read_text()
            time.sleep(0.1)
        time.sleep(2)

    def rank(self, rank):
        """Process id of a rank."""
        pids = self.pids()
        ranks = [pid for pid, (parent, own) in pids.items() if own == rank and pids.get(parent, (0, -1))[1] != own]
        return ranks[0]

    def workers(self, rank):
        """Process ids of the loader processes of a rank."""
        return [pid for pid, (parent, _) in self.pids().items() if parent == self.rank(rank) and pid != self.rank(1)]

    def end(self, within_s):
        """Wait for the end; returns the exit status and the lines about errors."""
        start = time.monotonic()
        status = self.process.wait(timeout=within_s + 60)
        assert time.monotonic() - start < within_s
        limit = time.monotonic() + 3
        while self.pids() and time.monotonic() < limit:
            time.sleep(0.1)
        assert not self.pids(), self.pids()
        return status, self.told()

    def told(self):
        text = self.stderr.read_text()
        assert "Traceback" not in text, text
        lines = [line for line in text.splitlines() if line.strip()]
        begin = next((number for number, line in enumerate(lines) if line.startswith("error: ")), None)
        assert begin is not None, text
        assert len(lines) - begin <= 5, text
        assert sum(line.startswith("error: ") for line in lines) == 1, text
        return lines[begin]


def test_a_stopped_rank(tmp_path, synthetic, faults):
    with faults("hangs", "SIGSTOP to rank 1", expected="one message, within the limit, no process left") as fault:
        with Run(tmp_path, synthetic) as run:
            run.wait_for_training()
            os.kill(run.rank(1), signal.SIGSTOP)
            status, told = run.end(within_s=LIMIT_S + 8)
        assert status == 1
        assert re.match(rf"error: rank 1 on {HOST} \(process \d+\) has not answered for \d+ s; last: ", told)
        fault.observed = told


def test_rank_0_is_stopped(tmp_path, synthetic, faults):
    with faults("hangs", "SIGSTOP to rank 0", expected="one message, within the limit, no process left") as fault:
        with Run(tmp_path, synthetic) as run:
            run.wait_for_training()
            os.kill(run.rank(0), signal.SIGSTOP)
            status, told = run.end(within_s=LIMIT_S + 8)
        assert status == -signal.SIGKILL  # by rank 1, because it can't end by itself
        assert re.match(rf"error: rank 0 on {HOST} \(process \d+\) has not answered for \d+ s; last: ", told)
        fault.observed = told


@pytest.mark.parametrize("rank", (0, 1))
def test_a_killed_rank(tmp_path, synthetic, faults, rank):
    with faults("hangs", f"SIGKILL to rank {rank}", expected="one message, at once, no process left") as fault:
        with Run(tmp_path, synthetic) as run:
            run.wait_for_training()
            os.kill(run.rank(rank), signal.SIGKILL)
            status, told = run.end(within_s=10)
        assert status == (-signal.SIGKILL if rank == 0 else 1)
        assert f"error: rank {rank} on " in told
        assert re.search(r"last: .*(training step|loading|batch)", told), told
        assert ("was killed (SIGKILL), often because memory is short" in told) == (rank == 1)
        fault.observed = told
