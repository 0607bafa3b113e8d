"""Comparisons of runs, against counts by hand and independent statistics."""

import csv
import json

import numpy as np
import pytest
from scipy import stats

from gcvideo.cli.main import main
from gcvideo.comparison.comparison import compare_runs
from gcvideo.comparison.page import MAX_VIDEOS, write_comparison
from gcvideo.errors import UsageError
from gcvideo.files import csv_text
from gcvideo.report.interval import paired_interval, wilson
from tests.pages import HOSTILE, Page


def write_run(folder, answers, curve=(), suffix=""):
    """The files of a tested run.

    Args:
        folder: of the run.
        answers: video -> (label, predicted).
        curve: validation top-1 after each epoch.
    """
    folder.mkdir(exist_ok=True)
    top1 = float(np.mean([label == predicted for label, predicted in answers.values()]))
    interval = wilson(top1, len(answers))
    report = {"views": {"temporal": 10, "spatial": 3}, "checkpoint": f"{folder}/checkpoints/best.ckpt"}
    report |= {"data": {"name": "set", "split": "test"}}
    for name in ("video_top1", "mean_class_top1", "clip_top1"):
        report |= {name: top1, f"{name}_interval": interval}
    (folder / f"report{suffix}.json").write_text(json.dumps(report))
    rows = [(path, *answer, 0.9, 0.9, 0.9, 0.1) for path, answer in answers.items()]
    header = ("path", "label", "predicted", "score_predicted", "score_label", "score:x", "score:y")
    (folder / f"predictions{suffix}.csv").write_text(csv_text(header, rows), encoding="utf-8")
    if curve:
        (folder / "metrics" / "version_0").mkdir(parents=True)
        points = [(epoch, value, 1 - value) for epoch, value in enumerate(curve)]
        text = csv_text(("epoch", "val/video_top1", "val/loss"), points)
        (folder / "metrics" / "version_0" / "metrics.csv").write_text(text)
    return folder


def answers_of(*num_right, names=("x", "y")):
    """20 videos of each class, of which so many are right."""
    answers = {}
    for label, other, right in zip(names, names[::-1], num_right, strict=True):
        answers |= {f"{label.replace('/', '')}{n}.mp4": (label, label if n < right else other) for n in range(20)}
    return answers


@pytest.fixture
def runs(tmp_path):
    """x: 10 and 18 of 20 right, the same ones first; y: 15 and 15."""
    base = write_run(tmp_path / "none", answers_of(10, 15), (0.3, 0.5))
    other = write_run(tmp_path / "gc", answers_of(18, 15), (0.4, 0.7))
    same = write_run(tmp_path / "again", answers_of(10, 15))
    return [base, other, same]


def test_differences_classes_and_videos(runs):
    comparison = compare_runs(runs)
    better, same = comparison.differences
    assert (better.run, better.run_only, better.baseline_only, better.verdict) == ("gc", 8, 0, "better")
    assert better.difference == 8 / 40
    assert better.p == pytest.approx(2 * stats.binomtest(8, 8).pvalue)  # two comparisons: Holm
    assert (same.run, same.difference, same.p, same.verdict) == ("again", 0.0, 1.0, "not significant")
    assert [(row.name, row.videos, row.accuracy) for row in comparison.classes] == [
        ("x", 20, [0.5, 0.9, 0.5]),
        ("y", 20, [0.75, 0.75, 0.75]),
    ]
    assert [video.path for video in comparison.videos] == [f"x{number}.mp4" for number in range(10, 18)]
    assert comparison.videos[0].predicted == ["y", "x", "y"]


def test_the_baseline_is_the_first(runs):
    worse = compare_runs([runs[1], runs[0]]).differences[0]
    assert (worse.run, worse.difference, worse.verdict) == ("none", -8 / 40, "worse")
    assert worse.interval.high < 0


@pytest.mark.parametrize(
    ("first_only", "second_only", "total"), ((8, 0, 40), (0, 0, 10), (30, 20, 100), (500, 400, 19_796), (1, 0, 1))
)
def test_the_interval_of_a_difference(first_only, second_only, total):
    """Mirrored for mirrored counts, around the difference, and near the usual one for many videos."""
    low, high = paired_interval(first_only, second_only, total)
    assert -1 <= low < high <= 1
    assert paired_interval(second_only, first_only, total) == pytest.approx((-high, -low))
    assert low <= (first_only - second_only) / total <= high
    if total > 1000:
        outcomes = np.array([1] * first_only + [-1] * second_only + [0] * (total - first_only - second_only))
        half = 1.96 * outcomes.std() / np.sqrt(total)
        assert (low, high) == pytest.approx((outcomes.mean() - half, outcomes.mean() + half), abs=2e-4)


def test_the_interval_of_a_difference_covers_the_truth():
    draw = np.random.default_rng(0)
    counts = draw.multinomial(60, (0.15, 0.05, 0.8), size=1000)
    bounds = [paired_interval(first, second, 60) for first, second, _ in counts]
    assert 0.93 <= np.mean([low <= 0.1 <= high for low, high in bounds]) <= 0.99


def test_the_verb_prints_tables_and_writes_a_page(runs, tmp_path, capsys):
    assert main(["report", "none", str(runs[1]), "--runs_dir", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert f"| none | 0.625 ({wilson(25 / 40, 40)}) |" in printed
    interval = paired_interval(8, 0, 40)
    assert f"| gc | +0.200 | {interval.low:+.3f} to {interval.high:+.3f} | 8 : 0 | 0.008 | better |" in printed
    assert f"8 videos on which they differ: {tmp_path}/comparison/report.html" in printed
    report = json.loads((tmp_path / "comparison" / "report.json").read_text())
    assert (report["videos"], report["baseline"]) == (40, "none")
    assert report["runs"][1]["video_top1"] == 33 / 40
    assert report["differing_videos"][0] == {
        "path": "x10.mp4",
        "label": "x",
        "predicted": ["y", "x"],
        "is_right": [False, True],
    }
    page = Page((tmp_path / "comparison" / "report.html").read_text())
    assert page.text.count(f"0.825 {wilson(33 / 40, 40)} gc") == 1
    assert [picture["alt"] for picture in page.images] == ["validation curves", "accuracy of each class"]
    assert "x10.mp4 x y right" in page.text


def test_reports_of_another_split(runs, tmp_path, capsys):
    for run, right in zip(runs, (1, 2)):
        write_run(run, {f"{number}.mp4": ("x", "x" if number < right else "y") for number in range(3)}, suffix="-val")
    assert main(["report", *map(str, runs[:2]), "--split", "val", "--out", str(tmp_path / "out")]) == 0
    assert "| none | 0.333" in capsys.readouterr().out
    assert (tmp_path / "out" / "report.html").exists()


def test_hostile_names_are_escaped(tmp_path):
    for name, right in (("a", 3), ("b", 20)):
        write_run(tmp_path / f"{HOSTILE[2].replace('/', '')} {name}", answers_of(right, 9, names=HOSTILE[:2]))
    write_comparison(compare_runs(sorted(tmp_path.iterdir())), tmp_path / "out")
    page = Page((tmp_path / "out" / "report.html").read_text())
    assert "script" not in page.tags
    assert all(set(picture) == {"alt", "src"} for picture in page.images)
    assert HOSTILE[0] in page.text


def test_of_many_videos_the_first_are_shown(tmp_path):
    videos = {f"{number}.mp4": ("x", "x") for number in range(MAX_VIDEOS + 5)}
    first = write_run(tmp_path / "a", videos)
    second = write_run(tmp_path / "b", dict.fromkeys(videos, ("x", "y")))
    write_comparison(compare_runs([first, second]), tmp_path / "out")
    page = Page((tmp_path / "out" / "report.html").read_text())
    assert f"{MAX_VIDEOS + 5} videos that some runs have right and some wrong; the first {MAX_VIDEOS}" in page.text
    assert len(json.loads((tmp_path / "out" / "report.json").read_text())["differing_videos"]) == MAX_VIDEOS + 5


def fewer_videos(run):
    write_run(run, dict(list(answers_of(18, 15).items())[1:]))


def other_label(run):
    write_run(run, answers_of(18, 15) | {"x0.mp4": ("y", "y")})


def no_report(run):
    (run / "report.json").unlink()


def damaged_report(run):
    (run / "report.json").write_text("[1, 2]")


def damaged_predictions(run):
    (run / "predictions.csv").write_text("a,b\n1,2\n")


def empty_predictions(run):
    (run / "predictions.csv").write_text("")


@pytest.mark.parametrize(
    ("change", "message"),
    (
        (fewer_videos, "tested on different videos: 40 .set, split test. and 39 .*, 39 of them the same; test both"),
        (other_label, "were tested with different labels: x0.mp4 is 'x' and 'y'"),
        (no_report, "no .*gc/report.json: test the run first .gcvideo test --name gc."),
        (damaged_report, "unexpected content of report.json or predictions.csv"),
        (damaged_predictions, "unexpected content of .*expected the columns path, label, predicted first"),
        (empty_predictions, "unexpected content of .*expected the columns path, label, predicted first"),
    ),
)
def test_runs_that_do_not_compare(runs, change, message):
    change(runs[1])
    with pytest.raises(UsageError, match=message) as error:
        compare_runs(runs[:2])
    assert len(str(error.value)) < 500


def test_one_run_is_not_enough(runs, capsys):
    for folders in (runs[:1], [runs[0], runs[0]]):
        with pytest.raises(UsageError, match="expected at least two different runs"):
            compare_runs(folders)
    assert main(["report", "nothing", "nowhere"]) == 2
    assert capsys.readouterr().err.startswith("error: no runs/nothing/report.json")


def test_runs_of_one_name_are_told_apart(tmp_path):
    for parent in ("a", "b"):
        (tmp_path / parent).mkdir()
        write_run(tmp_path / parent / "run", answers_of(10, 10))
    comparison = compare_runs([tmp_path / "a" / "run", tmp_path / "b" / "run"])
    assert comparison.differences[0].run == str(tmp_path / "b" / "run")


def test_a_name_that_a_spreadsheet_would_run_is_the_same_in_both(tmp_path):
    answers = {"=cmd()|x.mp4": ("x", "x"), "-a.mp4": ("x", "y")}
    first, second = (write_run(tmp_path / name, answers) for name in ("a", "b"))
    with (first / "predictions.csv").open(newline="") as stream:
        assert next(csv.DictReader(stream))["path"] == "'=cmd()|x.mp4"
    assert compare_runs([first, second]).videos == []
