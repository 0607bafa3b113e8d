"""Figures: none is invented, on any number of ranks."""

import json
import shutil
import subprocess
import sys

import pytest
import torch

from gcvideo.data.datamodule import Loading
from gcvideo.data.dataset import BrokenVideoError
from gcvideo.data.samplers import Share, TrainSampler
from gcvideo.data.sampling import mix_seed
from gcvideo.errors import GcvideoError, UsageError
from gcvideo.report.summary import summarise
from gcvideo.training.callbacks import BrokenVideos
from gcvideo.training.metrics import accuracies, results_of
from tests.faults.small_tests import ENVIRONMENT, data_of, task_of, trainer_of, write_videos

pytestmark = pytest.mark.slow
GROUP = "results"


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """See `write_videos`."""
    return write_videos(tmp_path_factory.mktemp("videos"))


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
    with faults(GROUP, "manifest of one class", expected="refused: there is nothing to recognise"):
        data = data_of(manifest)
        with pytest.raises(UsageError, match=r"class_names must name at least two classes, got \['only'\]"):
            task_of(data)


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


RANKS_SCRIPT = """
import json, sys
from pathlib import Path
import pytorch_lightning as pl, torch
from gcvideo.data.datamodule import Loading
from gcvideo.errors import GcvideoError, UsageError
from gcvideo.report.callback import TestReport
from gcvideo.training.callbacks import BrokenVideos
from tests.faults.small_tests import data_of, task_of

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
            done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=240)
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
