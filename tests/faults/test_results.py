"""Results: what a test has evaluated is never lost."""

import json
import resource
import shutil

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from gcvideo.data.sampling import Clip
from gcvideo.data.transforms import Augmentation, Views
from gcvideo.errors import GcvideoError
from gcvideo.locking import LockedError, locked
from gcvideo.report import preparation, write
from gcvideo.report.callback import TestReport
from gcvideo.report.progress import ProgressFile, ProgressKey, read_progress
from gcvideo.training.metrics import VideoResults, results_of
from gcvideo.training.task import VideoTask
from tests.faults.small_tests import NUM_VIDEOS, data_of, evaluate, task_of, trainer_of, write_videos

pytestmark = pytest.mark.slow
GROUP = "results"


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """See `write_videos`."""
    return write_videos(tmp_path_factory.mktemp("videos"))


@pytest.fixture
def no_page(monkeypatch):
    """Drawing it takes most of the time, and is not what is tested."""
    monkeypatch.setattr(write, "_page", lambda *args: "")


class StopError(Exception):
    """What ends a test as a kill would: no code of ours runs after it but the closing of files."""


class StopAfter(pl.Callback):
    """Ends a test after some videos; counts those that were evaluated."""

    def __init__(self, num_videos=10**9):
        self.num_videos, self.seen = num_videos, []

    def on_test_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        if len(self.seen) == self.num_videos:
            raise StopError
        if batch is not None:
            self.seen += batch[2].tolist()


def interrupt(run, data, num_videos):
    with pytest.raises(StopError):
        trainer_of(run, StopAfter(num_videos), TestReport(run, {}, "none")).test(task_of(data), data, verbose=False)


def test_a_test_that_ends_anywhere_resumes(faults, videos, tmp_path, no_page):
    data = data_of(videos)
    expected = evaluate(tmp_path / "whole", data)
    assert expected[0]["evaluated"] == NUM_VIDEOS
    moments = (0, 1, 2, 5, 8, 9, 10)
    with faults(
        GROUP, "test ended between two videos", expected="resumes: same report", injected=len(moments)
    ) as fault:
        for num_videos in moments:
            run = tmp_path / f"after {num_videos}"
            interrupt(run, data, num_videos)
            count = StopAfter()
            assert evaluate(run, data, count) == expected
            assert count.seen == list(range(num_videos, NUM_VIDEOS))
        fault.observed = f"{len(moments)} of {len(moments)} reports identical, no video evaluated twice"


def test_results_of_another_test_are_not_taken(faults, videos, tmp_path, no_page):
    base = data_of(videos)
    reordered = tmp_path / "reordered.csv"
    rows = videos.read_text().splitlines()
    reordered.write_text("\n".join([rows[0], *reversed(rows[1:])]) + "\n")
    others = {
        "clip": data_of(videos, clip=Clip(4, 2)),
        "views": data_of(videos, views=Views(2, 1, short_side=40)),
        "size": data_of(videos, augment=Augmentation(48, (48, 48))),
        "manifest": data_of(reordered, root=str(videos.parent)),
        "weights": base,
    }
    with faults(GROUP, "test repeated with another setting or weights", expected="starts anew", injected=5):
        for name, data in others.items():
            run, count, task = tmp_path / name, StopAfter(), task_of(data)
            interrupt(run, base, 4)
            if name == "weights":
                next(task.net.parameters()).data.mul_(1.5)
            with pytest.warns(UserWarning, match="discarded 1 file.s. of an interrupted test with other weights"):
                evaluate(run, data, count, task=task)
            assert len(count.seen) == NUM_VIDEOS, name


@pytest.fixture(params=(False, True), ids=("one label", "several labels"))
def records(tmp_path, request):
    """A file of progress and its 6 videos."""
    key = ProgressKey("abc", views=3, classes=4, multi_label=request.param)
    labels = torch.rand(6, 4) < 0.5 if request.param else torch.arange(6) % 4
    results = results_of(torch.arange(6) * 2, labels, torch.randn(6, 3, 4))
    file = ProgressFile(tmp_path / "rank0-of-1.bin", key)
    for row in range(6):
        file.append(VideoResults(*(field[row : row + 1] for field in results)))
    file.close()
    return file.path, key, results


def assert_prefix(found, results, num_videos):
    assert len(found.indices) == num_videos
    for actual, expected in zip(found, results):
        assert torch.equal(actual, expected[:num_videos])


def test_damaged_progress(faults, records):
    path, key, results = records
    assert_prefix(read_progress(path.parent, key), results, 6)
    whole = path.read_bytes()
    header, size = len(key.header()), key.record().itemsize
    with faults(GROUP, "progress cut at a byte", expected="whole records count", injected=len(whole)) as fault:
        for length in range(len(whole)):
            path.write_bytes(whole[:length])
            num_whole = max(length - header, 0) // size
            assert_prefix(read_progress(path.parent, key), results, num_whole)
        file = ProgressFile(path, key)  # appends after what is whole
        file.append(VideoResults(*(field[5:] for field in results)))
        file.close()
        assert_prefix(read_progress(path.parent, key), results, 6)
        fault.observed = f"{len(whole)} of {len(whole)}: no result lost before the cut, none invented after it"
    with faults(GROUP, "progress with a flipped bit", expected="no wrong result", injected=len(whole)) as fault:
        for position in range(len(whole)):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << position % 8
            path.write_bytes(damaged)
            num_whole = max(position - header, 0) // size if position >= header else 0
            assert_prefix(read_progress(path.parent, key), results, num_whole)
        fault.observed = f"{len(whole)} of {len(whole)} found by the checksum"


class Full(pl.Callback):
    """While the test runs, the disk is full after so many bytes of a file."""

    def __init__(self, num_bytes):
        self.num_bytes = num_bytes
        self.limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def on_test_start(self, trainer, pl_module):
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.num_bytes, self.limits[1]))

    def on_exception(self, trainer, pl_module, exception):
        resource.setrlimit(resource.RLIMIT_FSIZE, self.limits)


def test_a_disk_that_fills_up(faults, videos, tmp_path, no_page):
    data = data_of(videos)
    expected = evaluate(tmp_path / "whole", data)
    with faults(GROUP, "disk full while videos are evaluated", expected="one line; resumes", injected=3) as fault:
        for num_bytes in (150, 300, 600):
            run, count = tmp_path / str(num_bytes), StopAfter()
            runner = trainer_of(run, Full(num_bytes), TestReport(run, {}, "none"))
            with pytest.raises(GcvideoError, match=r"can't write .*rank0-of-1.bin: .* resumes"):
                runner.test(task_of(data), data, verbose=False)
            assert evaluate(run, data, count) == expected
        assert len(count.seen) < NUM_VIDEOS
        fault.observed = f"one line; the last one evaluated {len(count.seen)} of {NUM_VIDEOS} videos again"
    with faults(GROUP, "disk full while the report is written", expected="one line; resumes"):
        run, count = tmp_path / "report", StopAfter()
        runner = trainer_of(run, Full(2000), TestReport(run, {}, "none"))
        with pytest.raises(GcvideoError, match=r"can't write the report into .* resumes"):
            runner.test(task_of(data), data, verbose=False)
        assert evaluate(run, data, count) == expected
        assert count.seen == []


def refused_before_the_work(run, data, error, message):
    count = StopAfter()
    with pytest.raises(error, match=message) as caught:
        trainer_of(run.parent, count, TestReport(run, {}, "none")).test(task_of(data), data, verbose=False)
    assert count.seen == []
    assert "\n" not in str(caught.value)


def test_what_would_fail_at_the_end_is_refused_at_the_start(faults, videos, tmp_path, monkeypatch):
    data = data_of(videos)
    (tmp_path / "file").touch()
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "test-progress").touch()
    with faults(GROUP, "output folder that can't be written", expected="refused before the test", injected=3):
        for run in (tmp_path / "file", tmp_path / "file" / "run", tmp_path / "blocked"):
            refused_before_the_work(run, data, GcvideoError, "can't write into")
    refused = faults(GROUP, "two tests into one folder", expected="the second is refused")
    with refused, locked(tmp_path / "run", ".test.lock"):
        refused_before_the_work(tmp_path / "run", data, LockedError, "process .* is working in")
    with faults(GROUP, "disk too full for the results", expected="refused before the test"):
        usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
        monkeypatch.setattr(preparation.shutil, "disk_usage", lambda folder: usage)
        refused_before_the_work(tmp_path / "run", data, GcvideoError, "of 11 videos take about 20 MB; only 1 MB are")


class Remove(pl.Callback):
    """Removes the videos when they have been evaluated."""

    def __init__(self, folder):
        self.folder = folder

    def on_test_end(self, trainer, pl_module):
        shutil.rmtree(self.folder)


def test_a_page_that_fails_costs_no_result(faults, videos, tmp_path):
    shutil.copytree(videos.parent, tmp_path / "set")
    data, run = data_of(tmp_path / "set" / "manifest.csv"), tmp_path / "run"
    run.mkdir()
    (run / "report.html").write_text("of an older test")
    with faults(GROUP, "videos vanish before their examples are drawn", expected="numbers are kept, a warning"):
        runner = trainer_of(run, Remove(tmp_path / "set" / "test"), TestReport(run, {}, "none"))
        with pytest.warns(UserWarning, match="report.html could not be made; the results are in .*BrokenVideoError"):
            runner.test(task_of(data), data, verbose=False)
        assert json.loads((run / "report.json").read_text())["evaluated"] == NUM_VIDEOS
        assert not (run / "report.html").exists()
        assert not (run / "test-progress").exists()


class Uncountable(nn.Module):
    """A network that looks at its data, which counting does not have."""

    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x):
        assert x.mean().item() != 7
        return x.mean(dim=(1, 2, 3, 4))[:, None] * self.weight * torch.arange(self.num_classes)


def test_a_network_whose_size_cannot_be_counted(faults, videos, tmp_path):
    data = data_of(videos)
    task = VideoTask(data.class_names, net=Uncountable(len(data.class_names)))
    with faults(GROUP, "network that can't be counted", expected="its accuracy is reported, a warning"):
        with pytest.warns(UserWarning, match="multiply-accumulates can't be counted: "):
            report, _ = evaluate(tmp_path, data, task=task)
        assert report["evaluated"] == NUM_VIDEOS
        assert report["model"]["macs_per_view"] is None
        assert "unknown" in (tmp_path / "report.html").read_text()
