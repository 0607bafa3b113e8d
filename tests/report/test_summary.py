"""The report's numbers against counts by hand."""

import csv
import io

import pytest
import torch

from gcvideo.report.curves import read_curves
from gcvideo.report.examples import central_view, evenly_chosen, gamma_of
from gcvideo.report.hyperparameters import hyperparameters
from gcvideo.report.interval import mean_interval, wilson
from gcvideo.report.provenance import data_facts, official_rows, training_config
from gcvideo.report.report_files import report_files
from gcvideo.report.results import DataFacts, ViewCounts, predictions_csv
from gcvideo.report.summary import ClassAccuracy, Confusion, collapsed, most_confident, most_confused, summarise
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
    assert summary.mean_class_top1 == pytest.approx((1 + 2 / 3) / 2)  # z has no videos
    assert summary.mean_class_top1_interval == pytest.approx(mean_interval([(1.0, 2), (2 / 3, 3)]))
    assert summary.confused == [Confusion("y", "x", videos=1, of=3)]


def test_the_most_confused_pairs_come_first():
    matrix = torch.tensor([[5, 1, 0], [2, 0, 2], [0, 3, 4]])
    pairs = most_confused(matrix, ["a", "b", "c"])
    assert [(pair.label, pair.predicted, pair.videos, pair.of) for pair in pairs] == [
        ("c", "b", 3, 7), ("b", "a", 2, 4), ("b", "c", 2, 4), ("a", "b", 1, 6),
    ]  # fmt: skip


def summary_of(predicted, labels):
    """Of 4 classes "0" to "3"."""
    scores, labels = torch.eye(4)[predicted], torch.tensor(labels)
    better = torch.zeros(len(labels), 1, dtype=torch.int64)
    return summarise(VideoResults(torch.arange(len(labels)), labels, better, scores), list("0123"), len(labels))


def test_a_network_that_says_one_class_is_found_out():
    labels = [0, 1, 2, 3] * 5
    assert collapsed(summary_of([1] * 20, labels)).startswith("20 of 20 videos are predicted to be 1, 5 are")
    assert collapsed(summary_of([1] * 18 + [2, 3], labels)).startswith("18 of 20 videos")
    assert collapsed(summary_of([1] * 17 + [2, 3, 0], labels)) is None
    assert collapsed(summary_of([1] * 20, [1] * 18 + [0, 2])) is None  # they are


def test_predictions_hold_the_scores_of_all_classes(results):
    rows = list(csv.DictReader(io.StringIO(predictions_csv(results, ["x", "y", "a, b"], list("12345")))))
    assert rows[4] == {
        **{"path": "5", "label": "y", "predicted": "x", "score_predicted": "0.70000", "score_label": "0.10000"},
        **{"score:x": "0.7", "score:y": "0.1", "score:a, b": "0.2"},
    }
    assert rows[3]["score:x"] == "0"


def test_each_split_has_files_of_its_own(tmp_path):
    assert [path.name for path in report_files(tmp_path, "val", "val")] == [
        "report.html", "report.json", "predictions.csv",
    ]  # fmt: skip
    others = [report_files(tmp_path, split, "test") for split in ("val", "a/../b c")]
    assert [path.name for path in others[0]] == ["report-val.html", "report-val.json", "predictions-val.csv"]
    assert others[1].page == tmp_path / "report-a_.._b_c.html"


def test_settings_of_training_and_test_side_by_side():
    training = {"model": {"lr": 0.1, "class_names": ["x"], "block": {}, "net": None}, "data": {"clip": {"frames": 8}}}
    test = {"model": {"lr": 0.1}, "data": {"clip": {"frames": 16}}, "ckpt_path": "best.ckpt"}
    header, rows = hyperparameters(training, test)
    assert header == ["setting", "training", "test"]
    assert rows == [
        ["model.lr", "0.1", ""],
        ["model.block", "{}", ""],
        ["data.clip.frames", "8", "16"],
        ["ckpt_path", "", "best.ckpt"],
    ]


def test_dark_frames_are_brightened():
    """0.35 = mean ** gamma; bright and black ones stay as they are."""
    for value, gamma in ((128, 1.0), (52, 1.0), (0, 1.0), (26, 0.4598), (1, 0.3)):
        assert gamma_of(torch.full((3, 4, 4), value, dtype=torch.uint8)) == pytest.approx(gamma, abs=1e-3)


def test_the_data_set_is_named_after_its_folder(tmp_path):
    for path in ("ucf/manifest.csv", "ucf/shards/manifest.csv"):
        assert data_facts(str(tmp_path / path), "val") == DataFacts("ucf", str(tmp_path / path), "val")
    assert data_facts({"val": str(tmp_path / "ucf" / "val.csv")}, "val").name == "ucf"
    (tmp_path / "frames").mkdir()
    assert data_facts(str(tmp_path / "frames"), "val").name == "frames"


def test_the_settings_are_those_of_the_training(tmp_path):
    """Of a checkpoint of this run, and not of one from elsewhere."""
    (tmp_path / "run").mkdir()
    checkpoint = str(tmp_path / "run" / "checkpoints" / "best.ckpt")
    assert training_config(tmp_path / "run", checkpoint) is None
    (tmp_path / "run" / "config.yaml").write_text("model: {lr: 0.5}\n")
    assert training_config(tmp_path / "run", checkpoint) == {"model": {"lr": 0.5}}
    assert training_config(tmp_path / "run", str(tmp_path / "other.ckpt")) is None
    for damaged in ("- a list\n", "[", "a: &a [*a]"):
        (tmp_path / "run" / "config.yaml").write_text(damaged)
        assert training_config(tmp_path / "run", checkpoint) is None


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
