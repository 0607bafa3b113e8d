"""The report's numbers against counts by hand."""

import pytest
import torch

from gcvideo.report.curves import read_curves
from gcvideo.report.examples import central_view, evenly_chosen
from gcvideo.report.interval import wilson
from gcvideo.report.provenance import official_rows
from gcvideo.report.results import ViewCounts
from gcvideo.report.summary import ClassAccuracy, most_confident, summarise
from gcvideo.training.metrics import VideoResults


@pytest.fixture
def results():
    """5 videos, 2 views, 3 classes; the last video is wrong, and so is one view of the first."""
    labels = torch.tensor([0, 0, 1, 1, 1])
    better = torch.tensor([[0, 1], [0, 0], [0, 0], [0, 0], [2, 1]])
    probabilities = torch.tensor([[0.5, 0.3, 0.2], [0.8, 0.1, 0.1], [0.1, 0.6, 0.3], [0.0, 0.9, 0.1], [0.7, 0.1, 0.2]])
    return VideoResults(torch.arange(5), labels, better, probabilities)


def test_summary(results):
    summary = summarise(results, ["x", "y", "z"], num_listed=6)
    assert (summary.evaluated, summary.listed) == (5, 6)
    assert summary.video_top1 == pytest.approx(4 / 5)
    assert summary.video_top5 == 1
    assert summary.clip_top1 == pytest.approx(7 / 10)
    assert summary.clip_top5 == 1
    assert summary.confusion == [[2, 0, 0], [1, 2, 0], [0, 0, 0]]
    assert summary.per_class == [
        ClassAccuracy("x", 2, 1.0, wilson(1.0, 2)),
        ClassAccuracy("y", 3, pytest.approx(2 / 3), pytest.approx(wilson(2 / 3, 3))),
        ClassAccuracy("z", 0, None, None),
    ]
    assert summary.video_top1_interval == wilson(4 / 5, 5)
    assert summary.clip_top1_interval == wilson(7 / 10, 5)  # 5 videos, not 10 clips


def test_examples_are_the_most_confident(results):
    correct, wrong = most_confident(results, 3)
    assert correct == [3, 1, 2]
    assert wrong == [4]


@pytest.mark.parametrize("temporal, spatial, index", ((10, 3, 16), (2, 3, 4), (5, 1, 2), (1, 1, 0), (1, 3, 1)))
def test_central_view(temporal, spatial, index):
    assert central_view(ViewCounts(temporal, spatial)) == index


def test_blocks_are_chosen_evenly():
    maps = {f"block {number}": torch.zeros(1) for number in range(10)}
    assert list(evenly_chosen(maps)) == ["block 0", "block 3", "block 6", "block 9"]
    few = {"a": torch.zeros(1), "b": torch.zeros(1)}
    assert list(evenly_chosen(few)) == ["a", "b"]


def test_curves_of_all_sessions_are_joined(tmp_path):
    for session, rows in ((0, "0,0.9,\n0,,0.5\n1,0.8,\n"), (1, "1,0.7,\n2,0.6,0.75\n")):
        folder = tmp_path / f"version_{session}"
        folder.mkdir()
        (folder / "metrics.csv").write_text("epoch,train/loss_epoch,val/video_top1\n" + rows)
    curves = read_curves(tmp_path)
    assert curves["train/loss"] == [
        (1, 0.9),
        (2, 0.7),
        (3, 0.6),
    ]  # the resumed session replaces the epoch that it repeats
    assert curves["val/video_top1"] == [(1, 0.5), (3, 0.75)]
    assert read_curves(tmp_path / "none") == {}


def test_official_rows_are_read_from_the_summary_of_prepare(tmp_path):
    manifest = tmp_path / "manifest.csv"
    assert official_rows(None, "val") is None
    assert official_rows(str(manifest), "val") is None
    (tmp_path / "summary.json").write_text(
        '{"is_official": true, "splits": {"val": {"listed": 19906, "present": 19796}}}'
    )
    assert official_rows(str(manifest), "val") == 19906
    assert official_rows(str(tmp_path / "shards" / "manifest.csv"), "val") == 19906
    assert official_rows(str(manifest), "test") is None
    (tmp_path / "summary.json").write_text('{"is_official": true, "splits": {"": {"listed": 7, "present": 7}}}')
    assert official_rows(str(manifest), "test") == 7
    (tmp_path / "summary.json").write_text("[]")
    assert official_rows(str(manifest), "test") is None
