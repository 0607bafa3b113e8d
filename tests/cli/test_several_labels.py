"""Videos with several labels or none, from the manifest to reports, predictions, timelines and exported files."""

import csv
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

import gcvideo
from gcvideo.cli.main import main
from gcvideo.comparison.comparison import compare_runs
from gcvideo.comparison.page import accuracy_table, render_page
from gcvideo.errors import UsageError
from gcvideo.recognition.loading import save
from gcvideo.recognition.recognizer import Span
from gcvideo.recognition.timeline import Timeline, segments_of, segments_of_each, smooth
from gcvideo.recognition.timeline_plot import plot
from gcvideo.training.doubts import Doubts
from gcvideo.training.metrics import results_of
from gcvideo.training.task import VideoTask

TINY = [
    "--model.network=slowonly_tiny", "--model.blocks=gc", "--model.block.at={res4: [0]}", "--data.clip.frames=4",
    "--data.augment.size=32", "--data.augment.short_side=[32, 36]", "--data.batch_size=4", "--data.num_workers=0",
    "--data.views.temporal=2", "--data.views.spatial=1", "--trainer.max_epochs=2", "--trainer.accelerator=cpu",
]  # fmt: skip
CLASSES = ["hop", "run", "same", "walk"]


@pytest.fixture(scope="module")
def manifest(synthetic):
    """The synthetic videos with their gait and, if both go the same way, `same`; a slow one in training has none."""
    rows = list(csv.DictReader(synthetic.open(newline="")))
    for row in rows:
        gait, relation = row["label"].split("_")
        row["label"] = f"{gait}; same" if relation == "same" else gait
    rows[0]["label"] = ""
    path = synthetic.with_name("several.csv")
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def runs(manifest, tmp_path_factory):
    """Two trained and tested runs of different seeds."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        named = [f"--runs_dir={folder}", f"--name=seed{seed}"]
        data = [f"--data.manifest={manifest}", "--data.label_separator=;", f"--seed_everything={seed}"]
        assert main(["fit", *named, *data, *TINY]) == 0
        assert main(["test", *named, "--trainer.accelerator=cpu"]) == 0
    return folder


def test_the_report(runs, manifest):
    report = json.loads((runs / "seed0" / "report.json").read_text())
    with (runs / "seed0" / "predictions.csv").open(newline="") as stream:
        predictions = list(csv.DictReader(stream))
    names = [row["name"] for row in report["per_class"]]
    assert names == sorted(CLASSES)
    precisions = [row["average_precision"] for row in report["per_class"]]
    assert report["mean_average_precision"] == pytest.approx(sum(precisions) / 4)
    assert (report["confusion"], report["confused"]) == ([], [])
    is_right = [row["predicted"] in row["label"].split(";") for row in predictions]
    assert report["video_top1"] == pytest.approx(sum(is_right) / 6)
    assert {row["label"] for row in predictions} == {"hop", "hop;same", "run", "run;same", "walk", "same;walk"}
    videos = {name: sum(name in row["label"].split(";") for row in predictions) for name in names}
    assert [row["videos"] for row in report["per_class"]] == [videos[name] for name in names]
    page = (runs / "seed0" / "report.html").read_text()
    assert "mean average precision (mAP)" in page
    assert "<h2>Confusion</h2>" not in page
    assert "Chance is" not in page


def test_the_curves_and_the_best_checkpoint_are_those_of_map(runs):
    (metrics,) = (runs / "seed0" / "metrics").glob("*/metrics.csv")
    with metrics.open(newline="") as stream:
        values = [float(row["val/video_map"]) for row in csv.DictReader(stream) if row["val/video_map"]]
    assert len(values) == 2
    config = (runs / "seed0" / "config.yaml").read_text()
    assert "best_by: val/video_map" in config
    assert "multi_label: true" in config


def test_predictions_are_probabilities_of_their_own(runs, manifest, tmp_path, capfd):
    table = tmp_path / "table.csv"
    arguments = ["--name", "seed0", "--runs_dir", str(runs), "--device", "cpu", "--workers", "0", "--split", "test"]
    assert main(["predict", str(manifest), *arguments, "--out", str(table)]) == 0
    report = json.loads((runs / "seed0" / "report.json").read_text())
    assert f"top-1 {report['video_top1']:.3f} (" in capfd.readouterr().err
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    with (runs / "seed0" / "predictions.csv").open(newline="") as stream:
        tested = {row["path"]: row for row in csv.DictReader(stream)}
    for row in rows:
        assert row["label"] == tested[row["path"]]["label"]
        for name in CLASSES:
            assert float(row[f"score {name}"]) == pytest.approx(float(tested[row["path"]][f"score:{name}"]), abs=1e-4)
    sums = [sum(float(row[f"score {name}"]) for name in CLASSES) for row in rows]
    assert max(abs(total - 1) for total in sums) > 0.01


@pytest.mark.slow
def test_exported_files_and_packages_agree_with_the_model(runs, manifest, tmp_path, capfd):
    """The export itself compares its file with the model."""
    for name in ("model.onnx", "model.safetensors"):
        assert main(["export", str(runs / "seed0"), str(tmp_path / name)]) == 0
    recognizer = gcvideo.load(tmp_path / "model.safetensors", device="cpu")
    assert recognizer.label_separator == ";"
    video = min((manifest.parent / "test").glob("*.mp4"))
    first, second = (
        loaded.predict(video).scores for loaded in (recognizer, gcvideo.load(runs / "seed0", device="cpu"))
    )
    assert torch.equal(first, second)
    card = tmp_path / "hub"
    assert main(["export", str(runs / "seed0"), str(card), "--format", "hub"]) == 0
    assert "| mAP | 0." in (card / "README.md").read_text()
    capfd.readouterr()


def test_a_resumed_run_keeps_its_kind_of_labels(runs, synthetic, capfd):
    data = [f"--data.manifest={synthetic}", "--accept_changes=true", "--ckpt_path=auto", *TINY]
    names = f"--data.class_names={json.dumps(sorted(CLASSES))}"
    assert main(["fit", f"--runs_dir={runs}", "--name=seed0", names, *data]) == 2
    assert "was trained with data.label_separator: resume with its settings" in capfd.readouterr().err


def test_videos_without_labels_have_no_accuracy(runs, manifest, capfd):
    path = manifest.with_name("unlabelled.csv")
    path.write_text(f"path,label\n{min((manifest.parent / 'test').glob('*.mp4')).relative_to(manifest.parent)},\n")
    assert (
        main(["predict", str(path), "--name", "seed0", "--runs_dir", str(runs), "--device", "cpu", "--workers", "0"])
        == 0
    )
    assert capfd.readouterr().err == "1 of 1 videos labelled\n"


def test_a_package_of_a_stranger_is_checked(runs, tmp_path):
    recognizer = gcvideo.load(runs / "seed0", device="cpu")
    for number, separator in enumerate(("", 5, "\n")):
        save(replace(recognizer, label_separator=separator), tmp_path / f"{number}.safetensors")
        with pytest.raises(UsageError, match="label_separator"):
            gcvideo.load(tmp_path / f"{number}.safetensors", device="cpu")


def test_a_frequent_class_is_no_collapse(recwarn):
    """It scores highest in all videos, and every third has it."""
    task = VideoTask(["a", "b"], "slowonly_tiny", multi_label=True)
    labels = torch.tensor([[True, False], [False, True], [False, True]] * 10)
    task.evaluation.add(results_of(torch.arange(30), labels, torch.tensor([1.0, 0.0]).expand(30, 1, 2)))
    trainer = SimpleNamespace(sanity_checking=False, state=SimpleNamespace(fn="validate"), callbacks=[])
    Doubts().on_validation_epoch_end(trainer, task)
    assert not [warning for warning in recwarn if "are predicted to be" in str(warning.message)]


def test_runs_compare_by_their_right_videos(runs):
    comparison = compare_runs([runs / "seed0", runs / "seed1"])
    table = accuracy_table(comparison.runs)
    assert table.header[:3] == ["run", "mAP", "video top-1"]
    page = render_page(comparison)
    assert "seed1, mAP" in page
    for run, folder in zip(comparison.runs, ("seed0", "seed1")):
        report = json.loads((runs / folder / "report.json").read_text())
        assert sum(answer.is_right for answer in run.answers.values()) / 6 == pytest.approx(report["video_top1"])
        assert run.accuracies["mean_average_precision"] == (report["mean_average_precision"], None)
        precisions = {row["name"]: row["average_precision"] for row in report["per_class"]}
        number = comparison.runs.index(run)
        assert {row.name: row.accuracy[number] for row in comparison.classes} == pytest.approx(precisions)
    assert sorted(row.name for row in comparison.classes) == sorted(CLASSES)


def test_analysis_counts_a_video_for_each_of_its_classes(runs, tmp_path, capfd):
    arguments = ["--name", "seed0", "--runs_dir", str(runs), "--out", str(tmp_path), "--device", "cpu"]
    assert main(["analyze", *arguments]) == 0
    capfd.readouterr()
    report = json.loads((tmp_path / "analysis.json").read_text())
    assert {name: row["clips"] for name, row in report["blocks"][0]["classes"].items()} == {
        "hop": 2,
        "same": 3,
        "run": 2,
        "walk": 2,
    }


@pytest.mark.parametrize(
    ("verb", "options", "message"),
    (
        ("fit", ["--model.multi_label=true"], "does not go with data.label_separator None"),
        ("fit", ["--best_by=val/video_map"], "best_by val/video_map is for videos with several labels"),
        ("fit", ["--data.label_separator="], "data.label_separator is empty: leave it out"),
        ("fit", ["--data.label_separator", "#"], "data.label_separator # means nothing in YAML: quote it twice"),
        ("fit", ["--data.label_separator=~"], "data.label_separator ~ means nothing in YAML: quote it twice"),
        ("test", ["--model.multi_label=false"], "model.multi_label False does not go with data.label_separator ';'"),
    ),
)
def test_settings_that_do_not_fit(runs, synthetic, capfd, verb, options, message):
    name = "seed0" if verb == "test" else "other"
    data = [] if verb == "test" else [f"--data.manifest={synthetic}", *TINY]
    assert main([verb, f"--runs_dir={runs}", f"--name={name}", *data, *options]) == 2
    error = capfd.readouterr().err
    assert message in error
    assert len(error.splitlines()) <= 5


TIMES = tuple(Span(float(start), start + 2.0) for start in range(8))


def test_segments_of_classes_that_overlap():
    scores = torch.full((8, 3), 0.05)
    scores[1:5, 0], scores[3:8, 2] = 0.9, 0.95
    scores[2, 0] = 0.3  # one window of doubt
    segments = segments_of_each(TIMES, scores, ["a", "b", "c"], 9.0, 2.5)
    assert [(segment.label, segment.start_s, segment.end_s) for segment in segments] == [
        ("a", 1.5, 5.5),
        ("c", 3.5, 9.0),
    ]
    assert segments[1].score == pytest.approx(0.95)
    assert plot(Timeline("x.mp4", ["a", "b", "c"], 9.0, TIMES, scores, segments)).startswith(b"\x89PNG")
    assert segments_of_each(TIMES, torch.full((8, 3), 0.1), ["a", "b", "c"], 9.0, 2.5) == ()
    assert plot(Timeline("x.mp4", ["a", "b", "c"], 9.0, TIMES, scores, ())).startswith(b"\x89PNG")


def test_two_classes_of_which_each_moment_has_one_are_both_views_of_one_path():
    """With scores p and 1 - p, the segments of "yes" are those of a path through "no" and "yes"."""
    p = torch.rand(8)
    each = segments_of_each(TIMES, p[:, None], ["yes"], 9.0, 1.0)
    path = segments_of(TIMES, torch.stack([1 - p, p], 1), ["no", "yes"], 9.0, 1.0)
    assert each == tuple(segment for segment in path if segment.label == "yes")
    assert len(smooth(torch.stack([1 - p, p], 1), 1.0)) == 8
