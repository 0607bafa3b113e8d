"""The report's numbers against counts by hand."""

import pytest
import torch

from gcvideo.report import plots
from gcvideo.report.report import examples, official_rows, read_curves, summarise


@pytest.fixture
def scores():
    """5 videos, 2 views, 3 classes; the last video is wrong, and so is one view of the first."""
    labels = torch.tensor([0, 0, 1, 1, 1])
    ranks = torch.tensor([[0, 1], [0, 0], [0, 0], [0, 0], [2, 1]])
    probabilities = torch.tensor([[0.5, 0.3, 0.2], [0.8, 0.1, 0.1], [0.1, 0.6, 0.3], [0.0, 0.9, 0.1], [0.7, 0.1, 0.2]])
    return torch.arange(5), labels, ranks, probabilities


def test_summary(scores):
    summary = summarise(scores, ["x", "y", "z"], num_listed=6)
    assert (summary["evaluated"], summary["listed"]) == (5, 6)
    assert summary["video_top1"] == pytest.approx(4 / 5)
    assert summary["video_top5"] == 1
    assert summary["clip_top1"] == pytest.approx(7 / 10)
    assert summary["clip_top5"] == 1
    assert summary["confusion"] == [[2, 0, 0], [1, 2, 0], [0, 0, 0]]
    assert summary["per_class"] == [
        {"name": "x", "videos": 2, "top1": 1.0},
        {"name": "y", "videos": 3, "top1": pytest.approx(2 / 3)},
        {"name": "z", "videos": 0, "top1": None},
    ]


def test_examples_are_the_most_confident(scores):
    right, wrong = examples(scores)
    assert right == [3, 1, 2]
    assert wrong == [4]


def test_curves_of_all_sessions_are_joined(tmp_path):
    for session, rows in ((0, "0,0.9,\n0,,0.5\n1,0.8,\n"), (1, "1,0.7,\n2,0.6,0.75\n")):
        folder = tmp_path / f"version_{session}"
        folder.mkdir()
        (folder / "metrics.csv").write_text("epoch,train/loss_epoch,val/video_top1\n" + rows)
    curves = read_curves(tmp_path)
    assert curves["train/loss"] == [(1, 0.9), (2, 0.7), (3, 0.6)]  # the resumed session has the last word
    assert curves["val/video_top1"] == [(1, 0.5), (3, 0.75)]
    assert read_curves(tmp_path / "none") == {}


@pytest.mark.parametrize("num_classes", (1, 6, 30, 400))
def test_figures_of_few_and_many_classes(num_classes):
    names = [f"class {k}" for k in range(num_classes)]
    for picture in (
        plots.confusion(torch.eye(num_classes), names),
        plots.per_class_bars([(name, 0.5) for name in names]),
    ):
        assert picture.startswith(b"\x89PNG")


def test_filmstrip_with_and_without_attention():
    frames = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    plain = plots.filmstrip(frames)
    mapped = plots.filmstrip(frames, {"block 1": torch.rand(2, 4, 4)})
    assert plain.startswith(b"\x89PNG")
    assert len(mapped) > len(plain)


def test_official_rows_are_those_that_prepare_noted(tmp_path):
    manifest = tmp_path / "manifest.csv"
    assert official_rows(None, "val") is None
    assert official_rows(str(manifest), "val") is None
    (tmp_path / "summary.json").write_text('{"splits": {"val": {"official": 19906, "present": 19796}}}')
    assert official_rows(str(manifest), "val") == 19906
    assert official_rows(str(tmp_path / "shards" / "manifest.csv"), "val") == 19906
    assert official_rows(str(manifest), "test") is None
    (tmp_path / "summary.json").write_text('{"splits": {"": {"official": 7, "present": 7}}}')
    assert official_rows(str(manifest), "test") == 7
    (tmp_path / "summary.json").write_text("[]")
    assert official_rows(str(manifest), "test") is None
