"""`gcvideo predict`: labels alone on stdout, broken files told and skipped, tables, timelines."""

import csv
import json
import re

import pytest

import gcvideo
from gcvideo.cli.main import main
from tests.trained import write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory, synthetic):
    from gcvideo.data.manifest import read_class_names

    return write_run(tmp_path_factory.mktemp("runs") / "tiny", read_class_names(synthetic))


@pytest.fixture(scope="module")
def video(synthetic):
    return min((synthetic.parent / "test").glob("*.mp4"))


def predict(capfd, *arguments):
    """Exit status, lines of stdout, stderr."""
    status = main(["predict", *map(str, arguments)])
    output = capfd.readouterr()
    return status, output.out.splitlines(), output.err


def chosen(run):
    return "--name", run.name, "--runs_dir", run.parent


def test_one_video(run, video, capfd):
    status, lines, error = predict(capfd, video, *chosen(run), "--top", 2, "--device", "cpu", "--workers", 0)
    prediction = gcvideo.load(run, device="cpu").predict(video, top=2)
    pairs = zip(prediction.names, prediction.probabilities)
    assert (status, lines) == (0, [f"{video}: {', '.join(f'{name} {score:.3f}' for name, score in pairs)}"])
    assert error == "1 of 1 videos labelled\n"


def test_a_folder_with_a_broken_file(run, video, tmp_path, capfd):
    for name in ("b.mp4", "c d.mp4"):
        (tmp_path / name).write_bytes(video.read_bytes())
    (tmp_path / "a.mp4").write_bytes(b"broken")
    (tmp_path / "notes.md").touch()
    status, lines, error = predict(capfd, tmp_path, "--ckpt_path", run / "checkpoints" / "best.ckpt", "--workers", "2")
    assert status == 0
    assert [line.partition(": ")[0] for line in lines] == [str(tmp_path / "b.mp4"), str(tmp_path / "c d.mp4")]
    assert re.search(r"a\.mp4: not an MP4", error)
    assert error.endswith("2 of 3 videos labelled, 1 broken\n")
    assert "%|" not in error  # no bar off a terminal


def test_nothing_that_can_be_read(run, tmp_path, capfd):
    (tmp_path / "a.mp4").write_bytes(b"broken")
    status, lines, error = predict(capfd, tmp_path, *chosen(run))
    assert (status, lines) == (1, [])
    assert error.endswith("0 of 1 videos labelled, 1 broken\n")


def test_a_manifest_with_labels_counts(run, synthetic, tmp_path, capfd):
    """As many as `is_correct` says, of one split; the tables have all scores."""
    for suffix in ("csv", "jsonl"):
        out = tmp_path / f"out.{suffix}"
        status, lines, error = predict(capfd, synthetic, *chosen(run), "--split", "test", "--out", out, "--workers", 0)
        assert status == 0
        assert len(lines) == 6
    with (tmp_path / "out.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = gcvideo.load(run, device="cpu").class_names
    correct = sum(row["top1"] == row["label"] for row in rows)
    assert f"6 of 6 videos labelled; top-1 {correct / 6:.3f} ({correct} of 6)" in error
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    for row, record in zip(rows, records):
        scores = {name: float(row[f"score {name}"]) for name in names}
        assert scores == record["scores"]
        assert sum(scores.values()) == pytest.approx(1, abs=1e-4)
        ranked = sorted(names, key=scores.get, reverse=True)[:5]
        assert [row[f"top{rank}"] for rank in range(1, 6)] == ranked
        assert [entry["label"] for entry in record["top"]] == ranked
        assert (row["path"], row["label"]) == (record["path"], record["label"])


def test_labels_of_other_classes_are_not_counted(run, video, tmp_path, capfd):
    (tmp_path / "a.mp4").write_bytes(video.read_bytes())
    (tmp_path / "list.csv").write_text("path,label\na.mp4,something else\n")
    status, lines, error = predict(capfd, tmp_path / "list.csv", *chosen(run))
    assert (status, len(lines)) == (0, 1)
    assert error == "1 of 1 videos labelled\n"


def test_a_timeline(run, video, tmp_path, capfd):
    out = tmp_path / "t.csv"
    status, lines, error = predict(
        capfd, video, *chosen(run), "--timeline", out, "--hop_s", "0.2", "--switch_cost", "0"
    )
    assert status == 0
    assert len(lines) == len(out.read_text().splitlines()) - 1
    assert re.fullmatch(r"0\.00 [\d.]+ \w+ [\d.]+", lines[0])
    assert {path.name for path in tmp_path.iterdir()} == {"t.csv", "t.windows.csv", "t.png"}
    assert f"windows; {out}" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    (
        (("v.mp4",), "expected either --name, of a run, or --ckpt_path, a file"),
        (("v.mp4", "--name", "a", "--ckpt_path", "b"), "expected either --name"),
        (("v.mp4", "--name", "gone"), "no run or checkpoint runs/gone"),
        (("v.mp4", "--name", "a", "--out", "x.txt"), "expected a file .csv or .jsonl, got x.txt"),
        (("v.mp4", "--name", "a", "--out", "gone/x.csv"), "no folder gone"),
        (("v.mp4", "--name", "a", "--hop_s", "1"), "expected --timeline FILE.csv with them"),
        (("v.mp4", "--name", "a", "--timeline", "t.png"), "expected a .csv file"),
        (("v.mp4", "--name", "a", "--timeline", "t.csv", "--out", "x.csv"), "--out and --split would have no effect"),
    ),
)
def test_wrong_requests(arguments, message, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    status, lines, error = predict(capfd, *arguments)
    assert (status, lines) == (2, [])
    assert error.startswith("error: ")
    assert message in error


def test_no_video_there(run, tmp_path, capfd):
    for path, message in ((tmp_path / "gone.mp4", "no video at"), (tmp_path, "no video at")):
        status, _, error = predict(capfd, path, *chosen(run))
        assert status == 2
        assert message in error
    status, _, error = predict(capfd, tmp_path, *chosen(run), "--split", "test")
    assert status == 2
    assert "--split selects rows of a manifest" in error
