"""Ranks and loader processes that are stopped, killed or stuck: the run ends in time, tells one message that names
rank, host and file, and leaves no process.

Every case is a real run of the command line on two ranks (gloo).
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from gcvideo.training.rank_reports import Failure, Report, Roll

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

    def wait_for_training(self, patience_s=200):
        """Until an epoch is over and has been reported."""
        limit = time.monotonic() + patience_s
        while not list(self.folder.glob("runs/run/metrics/*/metrics.csv")):
            assert time.monotonic() < limit, self.stderr.read_text()
            assert self.process.poll() is None, self.stderr.read_text()
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


@pytest.mark.parametrize("rank", (0, 1))
def test_a_stopped_rank(tmp_path, synthetic, faults, rank):
    expected = "one message, within the limit, no process left"
    with faults("hangs", f"SIGSTOP to rank {rank}", expected=expected) as fault:
        with Run(tmp_path, synthetic) as run:
            run.wait_for_training()
            os.kill(run.rank(rank), signal.SIGSTOP)
            status, told = run.end(within_s=LIMIT_S + 8)
        assert status == (-signal.SIGKILL if rank == 0 else 1)  # rank 0 by rank 1: it can't end by itself
        assert re.match(rf"error: rank {rank} on {HOST} \(process \d+\) has not answered for \d+ s; last: ", told)
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
        assert re.search(r"last: .*(training step|loading|batch|validation)", told), told
        assert ("was killed (SIGKILL), often because memory is short" in told) == (rank == 1)
        fault.observed = told


def test_stopped_loader_processes(tmp_path, synthetic, faults):
    with faults(
        "hangs", "SIGSTOP to the loader process of rank 1", expected="named, within data.loading.timeout_s"
    ) as fault:
        with Run(tmp_path, synthetic, timeout_s=5) as run:
            run.wait_for_training()
            for pid in run.workers(1):
                os.kill(pid, signal.SIGSTOP)
            status, told = run.end(within_s=20)
        assert status == 1
        assert re.match(rf"error: rank 1 on {HOST}: no batch for 5 s .*: loader process \d+ \(stopped\) is ", told)
        fault.observed = told


def test_a_killed_loader_process(tmp_path, synthetic, faults):
    with faults("hangs", "SIGKILL to the loader process of rank 1", expected="named, at once") as fault:
        with Run(tmp_path, synthetic) as run:
            run.wait_for_training()
            for pid in run.workers(1):
                os.kill(pid, signal.SIGKILL)
            status, told = run.end(within_s=15)
        assert status == 1
        assert re.match(rf"error: rank 1 on {HOST}: loader process \d+ was killed \(SIGKILL\) while ", told)
        fault.observed = told


STUCK = """
import os, sys, time
from gcvideo.cli.main import main
from gcvideo.data import dataset
from gcvideo.training.task import VideoTask

what, rank = os.environ["STUCK"].split()
if os.environ.get("LOCAL_RANK", "0") == rank:
    if what == "decoder":
        opened, count = dataset.open_video, [0]
        def open_video(*args):
            count[0] += 1
            time.sleep(1000 if count[0] == 9 else 0)
            return opened(*args)
        dataset.open_video = open_video
    else:
        forward, steps = VideoTask.forward, [0]
        def forever(self, frames):
            steps[0] += 1
            if steps[0] == 9 and what == "bug":
                raise RuntimeError("a bug")
            time.sleep(1000 if steps[0] == 9 else 0)
            return forward(self, frames)
        VideoTask.forward = forever
if __name__ == "__main__":
    sys.exit(main())
"""


@pytest.mark.parametrize(
    ("what", "rank", "message"),
    [
        (
            "decoder", 1,
            r"rank 1 on HOST: no batch for 6 s \(data.loading.timeout_s\): this process is reading \S+\.mp4",
        ),
        (
            "forward", 0,
            r"no progress for \d+ s \(rank_timeout_s\): rank 0 on HOST \(process \d+\) is at "
            r"(a batch of the validation|training step \d+) in run.py:\d+ forever\(\); the other ranks wait for it",
        ),
    ],
    ids=("decoder", "forward"),
)  # fmt: skip
def test_a_rank_that_is_stuck(tmp_path, synthetic, faults, what, rank, message):
    script = tmp_path / "run.py"
    script.write_text(STUCK)
    with faults("hangs", f"a {what} that never returns, rank {rank}", expected="named, in time") as fault:
        options = {"program": (sys.executable, str(script)), "STUCK": f"{what} {rank}"}
        with Run(tmp_path, synthetic, workers=0, timeout_s=6, **options) as run:
            status, told = run.end(within_s=90)
        assert status == (-signal.SIGKILL if rank == 0 and status < 0 else 1)
        assert re.fullmatch("error: " + message.replace("HOST", HOST), told), told
        fault.observed = told


def test_a_bug_shows_one_traceback(tmp_path, synthetic, faults):
    script = tmp_path / "run.py"
    script.write_text(STUCK)
    with faults("hangs", "an unforeseen exception on rank 1", expected="its traceback, and no other") as fault:
        with Run(tmp_path, synthetic, workers=0, program=(sys.executable, str(script)), STUCK="bug 1") as run:
            assert run.process.wait(timeout=120) == 1
            time.sleep(1)
            assert not run.pids()
        text = run.stderr.read_text().replace("[rank1]: ", "")  # torch's
        assert text.count("Traceback") == 1
        assert text.rstrip().endswith(f"RuntimeError: a bug\nrank 1 on {socket.gethostname()}")
        fault.observed = "as expected"


def test_a_port_in_use(tmp_path, synthetic, faults):
    with faults("hangs", "MASTER_PORT in use", expected="told before rank 1 is started") as fault:
        with socket.create_server(("", 0)) as server:
            port = str(server.getsockname()[1])
            with Run(tmp_path, synthetic, MASTER_PORT=port) as run:
                status, told = run.end(within_s=60)
        assert status == 2
        assert told.startswith(f"error: port {port} of {socket.gethostname()} (MASTER_PORT) is in use: ")
        fault.observed = told


def test_a_rank_without_videos(tmp_path, synthetic, faults):
    with faults("hangs", "fewer videos than the ranks need", expected="told once") as fault:
        with Run(tmp_path, synthetic, "--data.batch_size=7") as run:
            status, told = run.end(within_s=60)
        assert (status, told) == (
            2,
            "error: 12 training videos on 2 device(s) do not fill one batch of 7: lower data.batch_size",
        )
        fault.observed = told


def broken_copy(manifest, folder):
    """The data set with one training video cut short."""
    copy = folder / "broken"
    shutil.copytree(manifest.parent, copy)
    name = [row for row in manifest.read_text().splitlines() if ",train," in row][1].split(",")[0]
    os.truncate(copy / name, 500)
    return copy / manifest.name, name


def test_an_error_of_one_rank(tmp_path, synthetic, faults):
    manifest, name = broken_copy(synthetic, tmp_path)
    with faults("hangs", "a broken video on one rank", expected="told once, with rank and file") as fault:
        with Run(tmp_path, manifest, "--data.loading.max_broken=0") as run:
            status, told = run.end(within_s=60)
        assert status == 1
        assert re.match(rf"error: rank [01] on {socket.gethostname()}: 1 of 12 training videos can't be decoded", told)
        assert name in told
        fault.observed = told


def test_nodes_that_differ(tmp_path, synthetic, faults):
    rows = synthetic.read_text().splitlines()
    other = synthetic.with_name("other.csv")
    other.write_text("\n".join([rows[0], *reversed(rows[1:])]) + "\n")  # the same videos in another order
    with socket.create_server(("", 0)) as server:
        port = str(server.getsockname()[1])
    environ = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    with faults("hangs", "two nodes with different manifests", expected="told once, names the ranks") as fault:
        nodes = "--trainer.num_nodes=2"
        with (
            Run(tmp_path, synthetic, nodes, devices=1, NODE_RANK="0", **environ) as first,
            Run(tmp_path, other, nodes, devices=1, NODE_RANK="1", **environ) as second,
        ):
            assert first.end(within_s=60)[0] == 2
            assert second.process.wait(timeout=10) == 2
            assert not second.pids()
        assert re.match(
            rf"error: (rank \d on {HOST}: )?the ranks do not agree: the list of videos \(fit\) is "
            rf"12 videos, digest \w+, on rank 0 on {HOST}; 12 videos, digest \w+, on rank 1 on {HOST}$", first.told(),
        )  # fmt: skip
        assert "error: " not in second.stderr.read_text()
        fault.observed = first.told()


def test_the_judge_names_the_rank_at_fault(faults):
    """Every kind of fault at every rank of runs of 2 to 8 ranks, in simulated time."""
    kinds = ("silent", "gone", "behind", "error")
    cases = [(size, rank, kind) for size in range(2, 9) for rank in range(size) for kind in kinds]
    with faults("hangs", "simulated: silent, gone, behind, failed", expected="named", injected=len(cases)):
        for size, culprit, kind in cases:
            assert f"rank {culprit} on host{culprit} " in simulated(size, culprit, kind), (size, culprit, kind)


def simulated(size, culprit, kind, limit_s=20):
    """The verdict of a run in which something happens to a rank after 10 s; it is found within 22 s."""
    roll, began_s = Roll(size, limit_s), 10
    for second in range(began_s + limit_s + 3):
        at_fault = second >= began_s
        for rank in range(size):
            if rank == culprit and at_fault and kind in ("silent", "gone"):
                continue
            idle_s = second - began_s if at_fault and kind in ("silent", "behind") else 0
            step = min(second, began_s + (rank != culprit))
            roll.hear(Report(rank, f"host{rank}", 100 + rank, "1", f"training step {step}", step, idle_s, limited=True))
        if at_fault and kind == "gone":
            roll.gone[culprit] = "was killed"
        if at_fault and kind == "error":
            lost = {rank: Failure("connection closed", is_cause=False) for rank in range(size) if rank != culprit}
            roll.failures |= lost
            if second > began_s:
                roll.failures[culprit] = Failure("its error")
        roll.pass_time(1.0)
        verdict = roll.verdict()
        if verdict is not None:
            assert at_fault
            return f"rank {verdict.speaker} on host{verdict.speaker} " if kind == "error" else verdict.text
    raise AssertionError("no verdict")
