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
from gcvideo.report.interval import wilson
from gcvideo.report.page import describe_model
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
        *("evaluated", "listed", "video_top1", "video_top5", "clip_top1", "clip_top5"),
        *("video_top1_interval", "video_top5_interval", "clip_top1_interval", "clip_top5_interval"),
        *("per_class", "confusion"),
        *("official", "views", "clip", "broken_videos", "model", "checkpoint", "seed", "config", "versions"),
        *("commit", "written"),
    ]
    assert report["views"] == {"temporal": 2, "spatial": 1}
    assert report["clip"] == {"frames": 4, "stride": 1, "target_fps": None, "size": 32}
    assert (report["seed"], report["checkpoint"], report["official"]) == (7, "best.ckpt", None)
    assert report["model"]["input"] == [3, 4, 32, 32]
    assert set(report["model"]) == {"parameters", "macs_per_view", "macs_counter", "input"}
    assert [set(row) for row in report["per_class"]] == [{"name", "videos", "top1", "top1_interval"}] * 3
    assert report["video_top1_interval"] == pytest.approx(wilson(2 / 3, 3))
    assert report["per_class"][0]["top1_interval"] == pytest.approx(wilson(report["per_class"][0]["top1"], 1))
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert f"<h1>run: {type(task.net).__name__}</h1>" in page  # neither the run nor the network is named in the config


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
