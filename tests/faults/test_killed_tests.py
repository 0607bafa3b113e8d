"""`gcvideo test`, killed on 1, 2 and 3 ranks and resumed by the same command."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml

from gcvideo.data.transforms import Views
from gcvideo.report.progress import ProgressKey
from tests.faults.small_tests import ENVIRONMENT, NUM_VIDEOS, data_of, task_of, trainer_of, write_videos

pytestmark = pytest.mark.slow
GROUP = "results"


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """See `write_videos`."""
    return write_videos(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="module")
def trained(videos, tmp_path_factory):
    """Folder of runs with a checkpoint: demo/checkpoints/best.ckpt."""
    runs = tmp_path_factory.mktemp("runs")
    data = data_of(videos, views=Views(20, 3))  # each video takes long enough to be interrupted
    runner = trainer_of(runs, max_steps=1, limit_val_batches=0)
    runner.fit(task_of(data), data)
    runner.save_checkpoint(runs / "demo" / "checkpoints" / "best.ckpt")
    (runs / "demo" / "config.yaml").write_text(yaml.safe_dump({"data": {"manifest": str(videos)}}))  # as `fit` does
    return runs


class Command:
    """`gcvideo test` in processes of its own, on some ranks.

    Args:
        runs: folder of the runs.
        ranks: number of processes.
    """

    def __init__(self, runs, ranks):
        self.folder = runs / "demo"
        arguments = ("test", "--name", "demo", "--runs_dir", ".", "--trainer.accelerator", "cpu")
        options = ("--trainer.devices", ranks, "--trainer.enable_progress_bar", "false")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gcvideo", *map(str, (*arguments, *options))], env=ENVIRONMENT, cwd=runs,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def report(self):
        """What it wrote, without what differs by design: time of writing, and the number of devices."""
        output, _ = self.process.communicate(timeout=240)
        assert self.process.returncode == 0, output
        report = json.loads((self.folder / "report.json").read_text())
        del report["written"], report["test_config"]["trainer"]["devices"]
        assert not (self.folder / "test-progress").exists()
        return output, report, (self.folder / "predictions.csv").read_bytes()

    def kill(self, num_videos):
        """SIGKILL for all of its processes when so many videos are on the disk; returns how many were."""
        deadline = time.monotonic() + 240
        while self.process.poll() is None and self.written() < num_videos and time.monotonic() < deadline:
            time.sleep(0.002)
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()
        return self.written()

    def written(self):
        """Videos on the disk."""
        num_videos = 0
        for file in self.folder.glob("test-progress/rank*.bin"):
            header, _, records = file.read_bytes().partition(b"\n")
            if records:
                num_videos += len(records) // ProgressKey(**_fields(header)).record().itemsize
        return num_videos


def _fields(header):
    fields = json.loads(header)
    del fields["format"]
    return fields


def test_killed_tests_on_any_number_of_ranks(faults, trained, tmp_path):
    reports = []
    for ranks in (1, 2, 3):
        runs = shutil.copytree(trained, tmp_path / f"{ranks}")
        reports.append(Command(runs, ranks).report()[1:])
    assert reports[0][0]["evaluated"] == NUM_VIDEOS
    assert reports[0] == reports[1] == reports[2]
    plans = (((1, 3), (2, 7), (3, None)), ((3, 2), (1, 6), (2, None)))  # (ranks, videos until the kill)
    with faults(GROUP, "SIGKILL of a test on 1, 2, 3 ranks", expected="resumes: same report", injected=4) as fault:
        resumed = []
        for number, plan in enumerate(plans):
            runs = shutil.copytree(trained, tmp_path / f"killed {number}")
            for ranks, num_videos in plan[:-1]:
                resumed.append(Command(runs, ranks).kill(num_videos))
                assert num_videos <= resumed[-1] < NUM_VIDEOS
            assert not (runs / "demo" / "report.json").exists()
            output, *report = Command(runs, plan[-1][0]).report()
            assert f"resuming the test: {resumed[-1]} of {NUM_VIDEOS} videos are evaluated already" in output
            assert tuple(report) == reports[0]
        fault.observed = f"4 of 4 resumed with {', '.join(map(str, resumed))} of {NUM_VIDEOS} videos; reports identical"
