"""The page: hostile names are shown and not obeyed, networks of one's own have a name."""

import csv
import json
import shutil

import pytest
import torch
from torch import nn

from gcvideo.data.datamodule import VideoDataModule
from gcvideo.data.sampling import Clip
from gcvideo.data.transforms import Augmentation, Views
from gcvideo.fit_marker import write_fit_marker
from gcvideo.report.interval import wilson
from gcvideo.report.page import _cards, _curve_images, _curve_table, describe_model
from gcvideo.report.summary import summarise
from gcvideo.report.write import write_report
from gcvideo.training.metrics import VideoResults
from gcvideo.training.task import VideoTask
from tests.pages import HOSTILE, Page


@pytest.fixture
def tested(tmp_path, synthetic):
    """A task and data whose classes and files have hostile names; the first of three videos is wrong."""
    source = next(synthetic.parent.rglob("*.mp4"))
    rows = []
    for number, name in enumerate(HOSTILE):
        file = f"video {number} {name.replace('/', '')}.mp4"
        shutil.copy(source, tmp_path / file)
        rows.append((file, name, "test"))
    with (tmp_path / "manifest.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("path", "label", "split"), *rows])
    data = VideoDataModule(
        str(tmp_path / "manifest.csv"),
        clip=Clip(frames=4, stride=1),
        augment=Augmentation(size=32, short_side=(32, 32)),
        views=Views(temporal=2, spatial=1),
        num_workers=0,
    )
    data.setup("test")
    task = VideoTask(data.class_names, "slowonly_tiny", "gc_all").eval()
    labels = torch.tensor([data.class_names.index(name) for name in HOSTILE])
    predicted = labels.clone()
    predicted[0] = labels[1]
    scores = torch.eye(3)[predicted]
    results = VideoResults(torch.arange(3), labels, torch.tensor([[1, 1], [0, 0], [0, 0]]), scores)
    return task, data, results


def test_hostile_names_are_escaped(tmp_path, tested):
    task, data, results = tested
    config = {"name": HOSTILE[0], "seed_everything": 7, "model": {"network": HOSTILE[0], "blocks": "gc_all"}}
    path = write_report(tmp_path / "run", task, data, results, config, HOSTILE[2])
    assert path == tmp_path / "run" / "report.html"
    page = Page(path.read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert all(set(image) == {"alt", "src"} for image in page.images)  # no attribute was smuggled in
    assert len(page.images) == 2 + 3  # no curves
    assert "0.667 0.208 to 0.939 video top-1" in page.text
    assert "No curves were logged." in page.text
    captions = [image["alt"] for image in page.images[2:]]
    for name, caption in zip(HOSTILE, sorted(captions)):
        assert name.replace("/", "") in caption
        assert name in page.text
    assert "49" not in page.text.split("Settings")[0]  # {{7*7}} was not computed
    with (tmp_path / "run" / "predictions.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["label"], row["predicted"]) for row in rows] == [
        (HOSTILE[0], HOSTILE[1]),
        (HOSTILE[1], HOSTILE[1]),
        (HOSTILE[2], HOSTILE[2]),
    ]


def test_the_keys_of_report_json(tmp_path, tested):
    task, data, results = tested
    write_report(tmp_path / "run", task, data, results, {"seed_everything": 7, "model": {}}, "best.ckpt")
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert list(report) == [
        *("evaluated", "listed", "video_top1", "video_top5", "clip_top1", "clip_top5", "mean_class_top1"),
        *("video_top1_interval", "video_top5_interval", "clip_top1_interval", "clip_top5_interval"),
        *("mean_class_top1_interval", "per_class", "confused", "confusion"),
        "mean_average_precision",
        *("data", "official", "views", "clip", "broken_videos", "model", "training", "checkpoint", "seed", "config"),
        *("test_config", "versions", "commit", "written"),
    ]
    assert report["views"] == {"temporal": 2, "spatial": 1}
    assert report["clip"] == {"frames": 4, "stride": 1, "target_fps": None, "size": 32}
    assert (report["seed"], report["checkpoint"], report["official"]) == (7, "best.ckpt", None)
    assert report["model"]["input"] == [3, 4, 32, 32]
    assert set(report["model"]) == {"parameters", "macs_per_view", "macs_counter", "input"}
    assert [set(row) for row in report["per_class"]] == [
        {"name", "videos", "top1", "top1_interval", "average_precision"}
    ] * 3
    assert report["video_top1_interval"] == pytest.approx(wilson(2 / 3, 3))
    assert report["per_class"][0]["top1_interval"] == pytest.approx(wilson(report["per_class"][0]["top1"], 1))
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "<h1>run: slowonly_tiny + gc_all</h1>" in page  # from the checkpoint: there is no config.yaml
    assert report["config"]["model"]["lr"] == 0.1
    assert report["test_config"] == {"seed_everything": 7, "model": {}}
    manifest = str(tmp_path / "manifest.csv")
    assert report["data"] == {"name": tmp_path.name, "manifest": manifest, "split": "test", "label_separator": None}
    assert report["training"] is None
    assert "top-5" not in page  # of 3 classes it is always 1


def test_the_training_is_told_and_another_split_replaces_nothing(tmp_path, tested):
    """config.yaml and fit-finished.json of the run; its own test split is not the one that is tested."""
    task, data, results = tested
    run = tmp_path / "run"
    checkpoint = run / "checkpoints" / "best.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"weights")
    (run / "config.yaml").write_text("{seed_everything: 3, model: {lr: 0.25, blocks: gc}, data: {splits: {test: val}}}")
    facts = {
        "epochs": 5,
        "steps": 30,
        "seconds": 90.0,
        "device": "CPU",
        "metric": "val/x",
        "best": 0.5,
        "best_epoch": 4,
    }
    write_fit_marker(run, facts)
    (run / "report.json").write_text("of the split val")
    page = Page(write_report(run, task, data, results, {"model": {"lr": 1.0}}, str(checkpoint)).read_text())
    report = json.loads((run / "report-test.json").read_text())
    assert (run / "report.json").read_text() == "of the split val"
    assert (run / "predictions-test.csv").exists()
    assert report["training"] == facts
    assert (report["seed"], report["config"]["model"]) == (3, {"lr": 0.25, "blocks": "gc"})
    assert (
        f"Tested on the split test of {tmp_path.name} ({tmp_path}/manifest.csv), 3 classes. Trained: 5 epoch"
        in page.text
    )
    assert "training 5 epochs, 30 steps in 90 s on CPU best epoch 4, with val/x 0.500" in page.text
    assert "model.lr 0.25 1.0" in page.text
    checkpoint.write_bytes(b"of another fit, which has not finished")
    write_report(run, task, data, results, {}, str(checkpoint))
    assert json.loads((run / "report-test.json").read_text())["training"] is None


def test_accuracies_and_classes_are_tables_too(tmp_path, tested):
    task, data, results = tested
    text = Page(write_report(tmp_path / "run", task, data, results, {}, "x").read_text()).text
    assert f"{wilson(0.0, 1)}" in text
    assert "mean of the classes' top-1" in text
    assert f"true class predicted videos {HOSTILE[0]} {HOSTILE[1]} 1 of 1" in text


def test_curves_are_tables_too():
    curves = {"train/loss": [(1, 0.9), (2, 0.7)], "val/video_top1": [(2, 0.5)]}
    assert _curve_table(curves) == (
        ["epoch", "train/loss", "val/video_top1"], [["1", "0.9000", ""], ["2", "0.7000", "0.5000"]],
    )  # fmt: skip
    assert [picture.text for picture in _curve_images(curves)] == ["learning curves: loss", "learning curves: top-1"]


def test_top5_is_shown_where_it_means_something():
    for num_classes, names in ((9, 3), (10, 5)):
        labels = torch.arange(num_classes)
        results = VideoResults(labels, labels, torch.zeros(num_classes, 1, dtype=torch.int64), torch.eye(num_classes))
        cards = _cards(summarise(results, [f"class {label}" for label in labels], num_classes))
        assert len(cards) == names


def test_the_note_on_attention_needs_a_map(tmp_path, tested):
    task, data, results = tested
    for blocks, has_note in (("gc_all", True), ("none", False)):
        task = VideoTask(data.class_names, "slowonly_tiny", blocks).eval()
        path = write_report(tmp_path / blocks, task, data, results, {}, "best.ckpt")
        assert ("Rows under the frames" in path.read_text(encoding="utf-8")) == has_note


def test_description_of_the_model():
    net = nn.Sequential()
    assert describe_model({"network": "slowonly_r50", "blocks": "gc5"}, net) == "slowonly_r50 + gc5"
    assert describe_model({"network": "slowonly_r50", "blocks": "none", "net": None}, net) == "slowonly_r50 + none"
    assert describe_model({}, net) == "Sequential"
    own = {"network": "slowonly_r50", "blocks": "gc", "net": {"class_path": "torch.nn.Sequential"}}
    assert describe_model(own, net) == "Sequential + gc"
