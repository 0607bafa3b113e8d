"""Results: what a test has evaluated is never lost, and no figure is invented."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from gcvideo.data.datamodule import Loading, VideoDataModule
from gcvideo.data.dataset import BrokenVideoError
from gcvideo.data.samplers import Share, TrainSampler
from gcvideo.data.sampling import Clip, mix_seed
from gcvideo.data.transforms import Augmentation, Views
from gcvideo.dataset_tools.synthetic import write_dataset
from gcvideo.errors import GcvideoError, UsageError
from gcvideo.locking import LockedError, locked
from gcvideo.report import preparation, write
from gcvideo.report.callback import TestReport
from gcvideo.report.progress import ProgressFile, ProgressKey, read_progress
from gcvideo.report.summary import summarise
from gcvideo.training.callbacks import BrokenVideos
from gcvideo.training.metrics import VideoResults, accuracies, results_of
from gcvideo.training.optim import Optimization
from gcvideo.training.task import VideoTask

pytestmark = pytest.mark.slow
GROUP = "results"
NUM_VIDEOS = 11  # prime: no number of ranks divides it
ACCURACIES = ("clip_top1", "clip_top5", "video_top1", "video_top5")
REPORT_FILES = {"report.json", "predictions.csv", "report.html"}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Manifest of 4 training, 3 validation and 11 test videos."""
    folder = tmp_path_factory.mktemp("videos")
    return write_dataset(folder, {"train": 4, "val": 3, "test": NUM_VIDEOS}, num_frames=8, workers=2)


def data_of(manifest, **settings):
    defaults = {"clip": Clip(4, 1), "augment": Augmentation(32, (32, 36)), "batch_size": 2, "num_workers": 0}
    return VideoDataModule(str(manifest), **(defaults | {"views": Views(2, 1)} | settings))


def task_of(data):
    torch.manual_seed(1)
    return VideoTask(data.class_names, "slowonly_tiny", "gc_all", dropout=0.0, optim=Optimization(lr_batch=None))


def trainer_of(folder, *callbacks, **settings):
    defaults = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "max_epochs": 1}
    return pl.Trainer(
        default_root_dir=folder, accelerator="cpu", use_distributed_sampler=False, num_sanity_val_steps=0,
        callbacks=list(callbacks), **(defaults | {"enable_checkpointing": False} | settings),
    )  # fmt: skip


def evaluate(run, data, *callbacks, task=None):
    """Run a test into a folder; returns its report without the time of writing."""
    task = task or task_of(data)
    (printed,) = trainer_of(run, *callbacks, TestReport(run, {}, "none")).test(task, data, verbose=False)
    report = json.loads((run / "report.json").read_text())
    assert printed == pytest.approx({f"test/{name}": report[name] for name in ACCURACIES})
    del report["written"]
    assert {path.name for path in run.iterdir()} == REPORT_FILES | {".test.lock"}
    return report, (run / "predictions.csv").read_text()


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


@pytest.fixture
def records(tmp_path):
    """A file of progress and its 6 videos."""
    key = ProgressKey("abc", views=3, classes=4)
    results = results_of(torch.arange(6) * 2, torch.arange(6) % 4, torch.randn(6, 3, 4))
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


@pytest.mark.parametrize("verb", ("validate", "test", "predict"))
def test_scores_that_are_no_numbers(faults, videos, tmp_path, verb):
    data = data_of(videos, predict=str(videos.parent / "test"))
    with faults(GROUP, f"NaN or infinite weights in {verb}", expected="one line names the video", injected=2):
        for value in (float("nan"), float("inf")):
            task = task_of(data)
            task.net.blocks[-1].proj.bias.data[2] = value
            with pytest.raises(GcvideoError, match=r"the network returns NaN or infinity for \S+\.mp4.*: its weights"):
                getattr(trainer_of(tmp_path), verb)(task, data)


def test_one_class(faults, videos, tmp_path):
    rows = videos.read_text().splitlines()
    manifest = videos.with_name("one class.csv")
    fields = [row.split(",") for row in rows[1:]]
    manifest.write_text("\n".join([rows[0], *(f"{path},only,{split},{way}" for path, _, split, way in fields)]) + "\n")
    with faults(GROUP, "manifest of one class", expected="works; accuracy 1"):
        data = data_of(manifest)
        task, runner = task_of(data), trainer_of(tmp_path)
        runner.fit(task, data)
        assert runner.callback_metrics["train/clip_top1"] == runner.callback_metrics["val/video_top1"] == 1
        report, _ = evaluate(tmp_path / "run", data, task=task)
        assert report["video_top1"] == report["clip_top5"] == 1
        assert report["confusion"] == [[NUM_VIDEOS]]


def test_ties_are_wrong_in_print_and_in_the_report(faults):
    names = [f"class {number}" for number in range(7)]
    with faults(GROUP, "logits with ties", expected="same accuracy printed and reported", injected=200) as fault:
        for seed in range(200):
            generator = torch.Generator().manual_seed(seed)
            logits = torch.randint(0, 1 + seed % 4, (9, 2, 7), generator=generator).float()
            results = results_of(torch.arange(9), torch.randint(0, 7, (9,), generator=generator), logits)
            summary = summarise(results, names, 9)
            for better, prefix in ((results.better, "clip_"), (results.video_better, "video_")):
                for name, value in accuracies(prefix)(better).items():
                    assert getattr(summary, name) == pytest.approx(float(value))
            correct = sum(summary.confusion[number][number] for number in range(7))
            assert correct / 9 == pytest.approx(summary.video_top1)
            if seed % 4 == 0:  # all logits are equal
                assert summary.video_top1 == summary.clip_top1 == summary.clip_top5 == 0
        fault.observed = "200 of 200 equal; 0 where all logits are equal"


def test_a_broken_validation_video_does_not_end_a_fit(faults, videos, tmp_path):
    rows = videos.read_text().splitlines()
    (videos.parent / "empty.mp4").touch()
    (videos.parent / "empty 2.mp4").touch()
    manifest = videos.with_name("broken.csv")
    label = rows[1].split(",")[1]
    manifest.write_text("\n".join([*rows, f"empty.mp4,{label},val,far"]) + "\n")
    with faults(GROUP, "broken validation video in a fit", expected="skipped, counted, a warning"):
        data, runner = data_of(manifest), trainer_of(tmp_path, BrokenVideos())
        with pytest.warns(UserWarning, match=r"evaluated 3 of 4 videos \(validate\); 1 can't be decoded: .*empty.mp4"):
            runner.fit(task_of(data), data)
        assert runner.global_step == 2
    told = pytest.raises(BrokenVideoError, match=r"empty.mp4: the file is empty \(skip_broken")
    with faults(GROUP, "broken video in `validate`", expected="an error"), told:
        trainer_of(tmp_path).validate(task_of(data), data, verbose=False)
    manifest.write_text(
        "\n".join([*rows, *(f"{name},{label},val,far" for name in ("empty.mp4", "empty 2.mp4"))]) + "\n"
    )
    with faults(GROUP, "more broken validation videos than max_broken", expected="an error that lists them"):
        data = data_of(manifest)
        with pytest.raises(
            BrokenVideoError, match=r"2 of 5 evaluation videos .* max_broken = 0.01 .*empty.mp4.*empty 2"
        ):
            trainer_of(tmp_path, BrokenVideos()).fit(task_of(data), data)
        data = data_of(manifest, loading=Loading(max_broken=0.5))
        trainer_of(tmp_path, BrokenVideos()).fit(task_of(data), data)


def test_a_loader_of_another_number_of_ranks(faults, videos, tmp_path):
    data = data_of(videos)
    data.setup("test")
    loader = data._loader("test", Share(0, 2, 1))
    told = pytest.raises(UsageError, match="the loader was not made for the 1 device")
    with faults(GROUP, "loader made for 2 ranks, used on 1", expected="refused"), told:
        trainer_of(tmp_path).test(task_of(data), loader, verbose=False)


@pytest.fixture(scope="module")
def trained(videos, tmp_path_factory):
    """Folder of runs with a checkpoint: demo/checkpoints/best.ckpt."""
    runs = tmp_path_factory.mktemp("runs")
    data = data_of(videos, views=Views(20, 3))  # each video takes long enough to be interrupted
    runner = trainer_of(runs, max_steps=1, limit_val_batches=0)
    runner.fit(task_of(data), data)
    runner.save_checkpoint(runs / "demo" / "checkpoints" / "best.ckpt")
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
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gcvideo", *map(str, (*arguments, *options))], env=environment, cwd=runs,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def report(self):
        """What it wrote, without what differs by design: time of writing, and the number of devices."""
        output, _ = self.process.communicate(timeout=240)
        assert self.process.returncode == 0, output
        report = json.loads((self.folder / "report.json").read_text())
        del report["written"], report["config"]["trainer"]["devices"]
        assert not (self.folder / "test-progress").exists()
        return output, report, (self.folder / "predictions.csv").read_bytes()

    def kill(self, num_videos):
        """SIGKILL for all of its processes when so many videos are on the disk; returns how many were."""
        while self.process.poll() is None and self.written() < num_videos:
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


RANKS_SCRIPT = """
import json, sys
from pathlib import Path
import pytorch_lightning as pl, torch
from gcvideo.data.datamodule import Loading
from gcvideo.errors import GcvideoError
from gcvideo.report.callback import TestReport
from gcvideo.training.callbacks import BrokenVideos
from tests.faults.test_results import data_of, task_of

if __name__ == "__main__":
    manifest, out, devices = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    strategy = "ddp" if devices > 1 else "auto"
    trainer = pl.Trainer(
        accelerator="cpu", devices=devices, strategy=strategy, logger=False, enable_progress_bar=False,
        use_distributed_sampler=False, enable_checkpointing=False, enable_model_summary=False, max_epochs=1,
        num_sanity_val_steps=0, limit_val_batches=1.0, callbacks=[BrokenVideos(), TestReport(out, {}, "none")],
    )
    data = data_of(manifest, loading=Loading(eval_batch_size=2, skip_broken=True, max_broken=0.1))
    task = task_of(data)
    results = {"validate": trainer.validate(task, data, verbose=False)[0]}
    results["broken"] = data.datasets["validate"].broken_files()
    trainer.test(task, data, verbose=False)
    (out / f"rank{trainer.global_rank}.json").write_text(json.dumps(results))
    try:
        trainer.fit(task, data)
    except GcvideoError as error:
        (out / f"fit{trainer.global_rank}.txt").write_text(str(error))
"""


def test_ranks_without_videos_and_with_broken_ones(faults, videos, tmp_path):
    """On 3 ranks, of which some have no video, or only a broken one: the figures are those of one rank."""
    folder = shutil.copytree(videos.parent, tmp_path / "set")
    rows = [row for row in (folder / "manifest.csv").read_text().splitlines() if ",test," not in row]
    label = rows[1].split(",")[1]
    test_videos = [f"test/{path.name},{label},test,far" for path in sorted((folder / "test").iterdir())[:1]]
    # 4 validation videos: 2 on rank 0, 1 on rank 1, on rank 2 a broken one. 2 test videos: a broken one on rank 1, none
    # on rank 2. 12 training videos: a broken one on rank 0 and on rank 2, none of which replaces the other.
    first, _, last = (next(iter(TrainSampler(12, 0, rank, 3)))[1] for rank in range(3))
    for index, other in ((first, last), (last, first)):
        assert torch.randint(12, (), generator=torch.Generator().manual_seed(mix_seed(0, 0, index))) != other
    names = [f"no {index}.mp4" if index in (first, last) else f"{index}.mp4" for index in range(12)]
    lines = [f"{name},{label},train,far" for name in names]
    for name in names:
        shutil.copy(next((folder / "train").iterdir()), folder / name)
    val = [row for row in rows if ",val," in row]
    lines += [*val[:2], f"no val.mp4,{label},val,far", val[2], *test_videos, f"no test.mp4,{label},test,far"]
    for line in lines:
        if line.startswith("no "):
            (folder / line.split(",")[0]).write_bytes(b"")
    (folder / "manifest.csv").write_text("\n".join([rows[0], *lines]) + "\n")
    script = tmp_path / "script.py"
    script.write_text(RANKS_SCRIPT)
    with faults(GROUP, "ranks with no or only broken videos", expected="figures of one rank", injected=4) as fault:
        found = {}
        for devices in (1, 3):
            out = tmp_path / str(devices)
            out.mkdir()
            command = [sys.executable, script, folder / "manifest.csv", out, str(devices)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=240)
            assert done.returncode == 0, done.stderr[-3000:]
            report = json.loads((out / "report.json").read_text())
            del report["written"]
            found[devices] = [json.loads((out / f"rank{rank}.json").read_text()) for rank in range(devices)], report
            assert "evaluated 3 of 4 videos (validate); 1 can't be decoded" in done.stderr
            assert "evaluated 1 of 2 videos (test); 1 can't be decoded" in done.stderr
            error = (out / "fit0.txt").read_text()  # Lightning ends the other ranks
            assert error.startswith("2 of 12 training videos can't be decoded, more than max_broken = 0.1 allows")
        (one,), report = found[1]
        ranks, report_of_ranks = found[3]
        assert report == report_of_ranks
        assert report["broken_videos"] == [str(folder / "no test.mp4")]
        for rank in ranks:
            assert rank["broken"] == one["broken"] == [str(folder / "no val.mp4")]
            assert rank["validate"] == pytest.approx(one["validate"], rel=1e-6)
        fault.observed = "val/loss, accuracies, report.json and lists of broken videos as on one rank"


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
