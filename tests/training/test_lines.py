"""Lines of a run, and what its end records."""

import itertools
import time
from types import SimpleNamespace

import pytest
import torch

from gcvideo.data.transforms import Augmentation
from gcvideo.fit_marker import read_fit_facts, write_fit_marker
from gcvideo.terminal import duration_text
from gcvideo.training import lines
from gcvideo.training.callbacks import FitMarker, Throughput
from gcvideo.training.lines import ProgressLines
from tests.faults.small_tests import data_of, task_of, trainer_of, write_videos


@pytest.mark.parametrize(
    ("seconds", "text"),
    ((0.4, "0 s"), (99, "99 s"), (100, "1.7 min"), (5940, "99.0 min"), (5970, "1.7 h"), (360_000, "100.0 h")),
)
def test_durations(seconds, text):
    assert duration_text(seconds) == text


def test_long_epochs_and_tests_have_lines_in_between(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lines, "EVERY_S", -1)  # as if each batch took minutes
    data = data_of(write_videos(tmp_path / "data"))
    task = task_of(data)
    trainer = trainer_of(tmp_path, ProgressLines(), max_epochs=2)
    trainer.fit(task, data)
    printed = capsys.readouterr().out.splitlines()
    heads = [line.partition(": ")[0] for line in printed]
    assert heads == [
        "epoch 1/2, 1 of 2 batches", "epoch 1/2, 2 of 2 batches", "epoch 1/2",
        "epoch 2/2, 1 of 2 batches", "epoch 2/2, 2 of 2 batches", "epoch 2/2",
    ]  # fmt: skip
    assert "val top-1" in printed[2]
    assert "val top-1" not in printed[3]  # that of the epoch before
    assert printed[0].endswith(" left")
    assert "left" not in printed[-1]
    trainer.test(task, data, verbose=False)
    printed = capsys.readouterr().out.splitlines()
    assert [line.partition(" batches")[0] for line in printed] == [f"test: {number} of 11" for number in range(1, 12)]


def trainer_at(epoch, **more):
    return SimpleNamespace(
        current_epoch=epoch, global_step=4 * epoch, is_global_zero=True, received_sigterm=False, world_size=2,
        strategy=SimpleNamespace(root_device=torch.device("cpu")), **more,
    )  # fmt: skip


def test_time_and_best_epoch_last_over_sessions(tmp_path, monkeypatch, capsys):
    """Stopped in epoch 2 after 60 s, resumed for 30 s; the second of three epochs is the best."""
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    best = SimpleNamespace(monitor="val/video_top1", best_model_score=None)
    first = FitMarker(tmp_path, best, "gcvideo test --name x")
    first.on_train_start(trainer_at(0), None)
    best.best_model_score = torch.tensor(0.5)
    first.on_train_epoch_start(trainer_at(1), None)
    now += 60
    second = FitMarker(tmp_path, best, "gcvideo test --name x")
    second.load_state_dict(first.state_dict())
    second.on_train_start(trainer_at(1), None)
    best.best_model_score = torch.tensor(0.75)
    second.on_train_epoch_start(trainer_at(2), None)
    now += 30
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.ckpt").write_bytes(b"weights")
    second.on_fit_end(trainer_at(3), None)
    facts = read_fit_facts(tmp_path)
    assert (facts.epochs, facts.steps, facts.seconds, facts.device) == (3, 12, 90.0, "2 x CPU")
    assert (facts.metric, facts.best, facts.best_epoch) == ("val/video_top1", 0.75, 2)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "trained 3 epochs in 90 s; best val/video_top1 0.750 after epoch 2"
    assert printed[2] == "next: gcvideo test --name x"


def test_a_finished_fit_that_is_repeated_changes_nothing(tmp_path, capsys):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.ckpt").write_bytes(b"weights")
    write_fit_marker(tmp_path, {"epochs": 3, "seconds": 90.0})
    before = (tmp_path / "fit-finished.json").read_bytes()
    marker = FitMarker(tmp_path, SimpleNamespace(monitor=None, best_model_score=None), "gcvideo test")
    marker.on_fit_end(trainer_at(3), None)
    assert (tmp_path / "fit-finished.json").read_bytes() == before
    assert "next: gcvideo test" in capsys.readouterr().out


@pytest.mark.parametrize("text", ("", "[]", "{}", '{"sha256": {"best.ckpt": "0"}}'))
def test_a_damaged_record_proves_nothing(tmp_path, text):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.ckpt").write_bytes(b"weights")
    (tmp_path / "fit-finished.json").write_text(text)
    assert read_fit_facts(tmp_path) is None


def test_facts_of_another_type_are_left_out(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.ckpt").write_bytes(b"weights")
    write_fit_marker(tmp_path, {"epochs": "many", "device": ["CPU"], "seconds": 5})
    facts = read_fit_facts(tmp_path)
    assert (facts.epochs, facts.device, facts.seconds) == (None, None, 5)


def test_the_rate_counts_clips_and_not_videos(tmp_path, monkeypatch):
    """3 clips of each of 2 videos in 2 s, of which the loader takes 1."""
    ticks = itertools.count()
    clock = SimpleNamespace(perf_counter=lambda: next(ticks), monotonic=time.monotonic)
    monkeypatch.setattr("gcvideo.training.callbacks.time", clock)
    data = data_of(write_videos(tmp_path / "data"), batch_size=2, augment=Augmentation(32, (32, 36), repeats=3))
    throughput = Throughput()
    trainer_of(tmp_path, throughput, max_epochs=1).fit(task_of(data), data)
    assert (throughput.rate, throughput.wait) == (3.0, 0.5)
