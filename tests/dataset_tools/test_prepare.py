"""Killed at any moment and resumed, prepare ends with the files of an uninterrupted run."""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict

import numpy as np
import pytest

from gcvideo.cli.main import main
from gcvideo.data.manifest import read_class_names, read_manifest
from gcvideo.dataset_tools.h264 import write_video
from gcvideo.dataset_tools.journal import Journal, PrepareError
from gcvideo.dataset_tools.options import Encoding, PrepareOptions
from gcvideo.dataset_tools.plan import Part, make_plan
from gcvideo.dataset_tools.prepare import merge, prepare
from gcvideo.dataset_tools.records import Failed, Prepared, from_json, to_json
from gcvideo.dataset_tools.summary import COLUMNS, Coverage
from gcvideo.errors import UsageError
from tests.conftest import numbered_frames

ENCODING = Encoding(short_side=48, preset="veryfast")
QUIET = PrepareOptions(progress=False)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Ten videos of two classes, two of them broken, in two splits."""
    folder = tmp_path_factory.mktemp("raw")
    for number in range(10):
        path = folder / ("train" if number < 7 else "val") / ("run" if number % 2 else "walk far") / f"-v {number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, numbered_frames(20 + number, 64, 80))
    (folder / "train" / "run" / "-v 1.mp4").write_bytes(b"\0\0\0\x18ftypnothing more")
    (folder / "val" / "run" / "-v 9.mp4").write_bytes(b"<html>")
    return folder


def files_of(out):
    """Relative path -> contents, without the journals."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and ".prepare" not in path.parts
    }


@pytest.fixture(scope="module")
def whole(raw, tmp_path_factory):
    """Output of an uninterrupted run, and its summary."""
    out = tmp_path_factory.mktemp("whole") / "out"
    return out, prepare(make_plan(raw), out, ENCODING, PrepareOptions(workers=2, progress=False))


def test_what_is_written(whole):
    out, summary = whole
    with (out / "manifest.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == COLUMNS
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    assert len(rows) == 8
    first = rows[0]
    assert (first["path"], first["label"], first["split"]) == ("train/run/-v 3.mp4", "run", "train")
    assert (first["num_frames"], first["fps"], first["width"], first["height"]) == (
        "23", "15.0", "60", "48",
    )  # fmt: skip
    assert (out / "classes.txt").read_text() == "run\nwalk far\n"
    with (out / "failures.csv").open(newline="") as stream:
        failures = {row["path"]: row["reason"] for row in csv.DictReader(stream)}
    assert failures["train/run/-v 1.mp4"].startswith("can't be opened: truncated, or not a video")
    assert failures["val/run/-v 9.mp4"].startswith("not an MP4")
    assert asdict(summary) == json.loads((out / "summary.json").read_text())
    assert (summary.listed, summary.present, summary.failed, summary.missing) == (10, 8, 2, 0)
    assert summary.splits == {"train": Coverage(listed=7, present=6), "val": Coverage(listed=3, present=2)}
    assert summary.classes["run"]["val"] == Coverage(listed=2, present=1)
    assert len(read_manifest(out / "manifest.csv", "train")) == 6
    assert read_class_names(out / "manifest.csv") == ["run", "walk far"]
    assert not list((out / ".prepare" / "making-1-of-1").iterdir())


@pytest.mark.slow
def test_parts_and_a_merge_give_the_same(raw, whole, tmp_path):
    plan, out = make_plan(raw), tmp_path / "out"
    for number in (2, 1):
        assert prepare(plan, out, ENCODING, PrepareOptions(part=Part(number, 3), progress=False)) is None
    with pytest.raises(UsageError, match="3 of 10 videos are not prepared yet: not all parts are done"):
        merge(plan, out, ENCODING)
    prepare(plan, out, ENCODING, PrepareOptions(part=Part(3, 3), progress=False))
    assert merge(plan, out, ENCODING) == whole[1]
    assert files_of(out) == files_of(whole[0])


def test_nothing_is_done_twice(raw, whole, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(whole[0], out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.mp4")}
    assert prepare(make_plan(raw), out, ENCODING, QUIET) == whole[1]
    # a complete video that was not recorded is kept; a line that was cut off does not count
    journal = out / ".prepare" / "1-of-1.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:4]) + lines[4][:30])
    prepare(make_plan(raw), out, ENCODING, QUIET)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.mp4")} == before
    assert files_of(out) == files_of(whole[0])


@pytest.mark.slow
def test_failures_can_be_retried(raw, whole, tmp_path):
    out, mended = tmp_path / "out", tmp_path / "raw"
    shutil.copytree(whole[0], out)
    shutil.copytree(raw, mended)
    write_video(mended / "val" / "run" / "-v 9.mp4", numbered_frames(9, 64, 80))
    assert prepare(make_plan(mended), out, ENCODING, QUIET).failed == 2
    assert prepare(make_plan(mended), out, ENCODING, PrepareOptions(retry=True, progress=False)).failed == 1


def test_other_settings_and_a_second_process_are_refused(raw, whole, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(whole[0], out)
    with pytest.raises(UsageError, match=r"other settings \(short_side was 48 and is now 64\)"):
        prepare(make_plan(raw), out, Encoding(short_side=64, preset="veryfast"), QUIET)
    settings = json.loads((out / ".prepare" / "settings.json").read_text())
    journal = Journal(out, settings, Part(1, 1))
    with pytest.raises(PrepareError, match="another process prepares part 1/1"):
        prepare(make_plan(raw), out, ENCODING, QUIET)
    journal.close()
    for place in (raw, raw / "train", raw.parent):
        with pytest.raises(UsageError, match="must not contain each other"):
            prepare(make_plan(raw), place, ENCODING, QUIET)
    with pytest.raises(UsageError, match="nothing was prepared here"):
        merge(make_plan(raw), tmp_path / "elsewhere", ENCODING)
    assert not (tmp_path / "elsewhere").exists()
    (out / ".prepare" / "settings.json").write_text("")
    with pytest.raises(UsageError, match=r"settings.json can't be read"):
        prepare(make_plan(raw), out, ENCODING, QUIET)


@pytest.mark.slow
def test_journals_of_machines_that_crashed(raw, whole, tmp_path):
    """Lines that are not records are ignored, a success beats a failure, what is gone or damaged is prepared again."""
    out = tmp_path / "out"
    shutil.copytree(whole[0], out)
    notes = out / ".prepare"
    target = "train/run/-v 3.mp4"
    (notes / "2-of-2.jsonl").write_bytes(
        b"\0\0\0\ngarbage\n{}\n[1]\n" + json.dumps({"target": target, "failed": "then"}).encode() + b"\n{\xff"
    )
    journal = Journal(out, json.loads((notes / "settings.json").read_text()), Part(9, 9))
    assert isinstance(journal.outcomes()[target], Prepared)
    journal.close()
    (out / target).unlink()
    (out / "val" / "walk far" / "-v 8.mp4").write_bytes(b"harmed")
    lines = (notes / "1-of-1.jsonl").read_text().splitlines(keepends=True)
    (notes / "1-of-1.jsonl").write_text("".join(line for line in lines if "-v 8" not in line))
    assert prepare(make_plan(raw), out, ENCODING, QUIET) == whole[1]
    assert files_of(out) == files_of(whole[0])


def test_records_survive_the_journal():
    for outcome in (Prepared("a\u2028\n.mp4", 20, 29.97, 64, 48, "0" * 64), Failed("ü/b.mp4", "a\nreason")):
        line = to_json(outcome)
        assert "\n" not in line
        assert from_json(line.encode()) == outcome


@pytest.mark.parametrize(
    "line",
    (b"", b"null", b"{}", b'{"target": "a"}', b'{"target": "a", "num_frames": 3}', b'{"target": "a", "x": 1}', b"\xff",
     b'{"target": "a", "num_frames": 0, "fps": 1, "width": 1, "height": 1, "sha256": ""}'),
)  # fmt: skip
def test_lines_that_are_not_records(line):
    with pytest.raises(ValueError):  # noqa: PT011 (the cause differs)
        from_json(line)


def test_a_killed_process_releases_its_journal(tmp_path):
    code = (
        "import pathlib, sys, time\n"
        "from gcvideo.dataset_tools.journal import Journal\n"
        "from gcvideo.dataset_tools.plan import Part\n"
        "journal = Journal(pathlib.Path(sys.argv[1]), {}, Part())\n"
        "print('locked', flush=True)\n"
        "time.sleep(1000)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "locked\n"
    with pytest.raises(PrepareError, match="another process prepares part 1/1"):
        Journal(tmp_path, {}, Part())
    process.kill()
    process.wait()
    Journal(tmp_path, {}, Part()).close()
    Journal(tmp_path, {}, Part()).close()


def test_a_raw_folder_that_is_gone_stops_the_run(raw, tmp_path):
    copy = tmp_path / "raw"
    shutil.copytree(raw, copy)
    plan = make_plan(copy)
    shutil.rmtree(copy)
    with pytest.raises(PrepareError, match="the raw folder .* is gone; the same command resumes"):
        prepare(plan, tmp_path / "out", ENCODING, QUIET)


@pytest.mark.slow
def test_a_full_disk_stops_the_run_and_loses_nothing(raw, tmp_path, monkeypatch):
    """The error of a full disk, raised where the encoder writes."""
    from gcvideo.dataset_tools import prepare as orchestration
    from gcvideo.dataset_tools import prepare_video

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(prepare_video, "transcode", full)
    monkeypatch.setattr(
        orchestration, "run_all", lambda work, jobs, pool, timeout_s: ((job, work(job)) for job in jobs)
    )
    with pytest.raises(PrepareError, match="No space left on device; the same command resumes"):
        prepare(make_plan(raw), tmp_path / "out", ENCODING, QUIET)
    monkeypatch.undo()
    assert prepare(make_plan(raw), tmp_path / "out", ENCODING, PrepareOptions(workers=2, progress=False)).present == 8


@pytest.mark.slow
def test_whole_videos_are_trimmed_and_clips_named_by_their_id_are_not(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for name, frames in (("aaaaaaaaaaa", 200), ("bbbbbbbbbbb", 60)):  # at 15 a second
        write_video(raw / f"{name}.mp4", numbered_frames(frames))
    annotations = tmp_path / "train.csv"
    annotations.write_text(
        "label,youtube_id,time_start,time_end,split\nrun,aaaaaaaaaaa,2,6,train\nrun,bbbbbbbbbbb,40,44,train\n"
    )
    prepare(make_plan(raw, [annotations]), tmp_path / "out", ENCODING, QUIET)
    with (tmp_path / "out" / "manifest.csv").open(newline="") as stream:
        frames = {row["path"]: row["num_frames"] for row in csv.DictReader(stream)}
    assert frames == {
        "train/run/aaaaaaaaaaa_000002_000006.mp4": "60", "train/run/bbbbbbbbbbb_000040_000044.mp4": "60"
    }  # fmt: skip


@pytest.mark.slow
def test_command(raw, whole, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["prepare", str(raw), str(out), "--short_side", "48", "--preset", "veryfast", "--workers", "2"]
    assert main([*arguments, "--part", "1/2"]) == 0
    assert "part 1/2 is done; when all are, run the same command with --merge" in capsys.readouterr().out
    assert main([*arguments, "--merge"]) == 2
    assert "5 of 10 videos are not prepared yet" in capsys.readouterr().err
    assert main([*arguments, "--part", "2/2"]) == 1
    printed = capsys.readouterr().out
    assert "8 of 10 videos are prepared" in printed
    assert "missing: 0; failed: 2" in printed
    assert files_of(out) == files_of(whole[0])
    assert main([*arguments, "--crf", "30"]) == 2
    assert "error: " in capsys.readouterr().err
    for wrong in (["--part", "3/2"], ["--part", "x"], ["--workers", "0"], ["--timeout_s", "0"], ["--shards", "-1"]):
        with pytest.raises(SystemExit) as caught:
            main([*arguments, *wrong])
        assert caught.value.code == 2


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Six tiny videos of two classes, and a user's annotations with columns of his own."""
    folder = tmp_path_factory.mktemp("tiny")
    rows = ["group,path,note,label,fps"]
    for number in range(6):
        name = f"{'xy'[number % 2]}/v{number}.mp4"
        (folder / "raw" / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(folder / "raw" / name, numbered_frames(3, 32, 32))
        rows.append(f'g{number // 2},{name},"a, {number}",{"xy"[number % 2]},99')
    (folder / "own.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_further_columns_are_kept_and_videos_are_dealt(tiny, tmp_path, capsys, monkeypatch):
    """`check` needs the column `group`, and so do the splits. What is measured here replaces what the user wrote."""
    from gcvideo.dataset_tools import prepare as orchestration

    # In this process, because it is quicker.
    monkeypatch.setattr(orchestration, "run_all", lambda work, jobs, *_: ((job, work(job)) for job in jobs))
    out = tmp_path / "out"
    command = ["prepare", str(tiny / "raw"), str(out), "--annotations", str(tiny / "own.csv"), "--preset", "ultrafast"]
    assert main([*command, "--workers", "1", "--split", "1/1/1", "--seed", "2", "--group", "group"]) == 0
    printed = capsys.readouterr()
    assert "6 of 6 videos are prepared" in printed.out
    assert "3 groups of several videos, each in one part" in printed.err
    with (out / "manifest.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == [*COLUMNS, "group", "note"]
    assert [(row["path"], row["group"], row["note"]) for row in rows] == [
        (f"{'xy'[n % 2]}/v{n}.mp4", f"g{n // 2}", f"a, {n}") for n in (0, 2, 4, 1, 3, 5)
    ]
    assert {row["fps"] for row in rows} == {"15.0"}
    assert len({(row["group"], row["split"]) for row in rows}) == 3
    assert len(read_manifest(out / "manifest.csv", "test")) == 2
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["is_official"], summary["listed"]) == (False, 6)


@pytest.mark.parametrize(
    ("options", "message"),
    (
        (["--seed", "1"], "have no effect without --split"),
        (["--group_pattern", "(.)"], "have no effect without --split"),
        (["--label_separator", "|"], "have no effect without --split"),
        (["--split", "1/1/1", "--group_pattern", "x"], "expected a regular expression with one group in brackets"),
    ),
)
def test_dealing_options_are_checked_before_the_work(tiny, tmp_path, capsys, options, message):
    assert main(["prepare", str(tiny / "raw"), str(tmp_path / "out"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_set_with_splits_is_not_dealt(raw, tmp_path, capsys):
    assert main(["prepare", str(raw), str(tmp_path / "out"), "--split", "70/15/15"]) == 2
    assert "--split is for sets without splits" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_command_on_lists_of_ucf101(tmp_path, capsys):
    """With the options that no other test sets; a failure is retried, and the set is packed."""
    raw, lists, out = tmp_path / "raw", tmp_path / "lists", tmp_path / "out"
    names = ("v_Yo_g01_c01", "v_Yo_g02_c01", "v_Yo_g03_c01")
    (raw / "Yo").mkdir(parents=True)
    lists.mkdir()
    for number, name in enumerate(names):
        write_video(raw / "Yo" / f"{name}.mp4", numbered_frames(12 + number, 64, 80))
    intact = (raw / "Yo" / f"{names[0]}.mp4").read_bytes()
    (raw / "Yo" / f"{names[0]}.mp4").write_bytes(b"<html>")
    (lists / "trainlist02.txt").write_text(f"Yo/{names[0]}.avi 1\nYo/{names[1]}.avi 1\n")
    (lists / "testlist02.txt").write_text(f"Yo/{names[2]}.avi\n")
    arguments = [
        "prepare", str(raw), str(out), "--annotations", str(lists), "--split_number", "2", "--encoder", "pyav",
        "--short_side", "48", "--crf", "30", "--preset", "ultrafast", "--workers", "1", "--timeout_s", "100",
    ]  # fmt: skip
    assert main(arguments) == 1
    assert "2 of 3 official videos are prepared" in capsys.readouterr().out
    (raw / "Yo" / f"{names[0]}.mp4").write_bytes(intact)
    assert main(arguments) == 1  # a failure is not retried ...
    assert main([*arguments, "--retry", "--shards", "1"]) == 0  # ... unless it is asked for
    printed = capsys.readouterr().out
    assert "  test: 1 of 1\n  train: 2 of 2\n" in printed
    assert f"shards: {out / 'shards' / 'manifest.csv'}" in printed
    assert read_manifest(out / "manifest.csv", "train")[0].name == f"Yo/{names[0]}.mp4"
    assert sorted(path.name for path in (out / "shards").glob("*.tar")) == ["test-000000.tar", "train-000000.tar"]
    settings = json.loads((out / ".prepare" / "settings.json").read_text())
    assert settings == {"short_side": 48, "crf": 30, "preset": "ultrafast", "encoder": "pyav"}
    assert main([*arguments, "--encoder", "ffmpeg"]) == 2
    assert main([*arguments, "--preset", "x"]) == 2
    assert "error: preset must be one of ultrafast" in capsys.readouterr().err


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path):
    """With videos of noise, which take long to encode."""
    noise = np.random.default_rng(0)
    (tmp_path / "raw" / "a").mkdir(parents=True)
    for number in range(40):
        write_video(tmp_path / "raw" / "a" / f"{number}.mp4", noise.integers(0, 255, (40, 96, 128, 3), np.uint8))
    options = ["--short_side", "96", "--preset", "slow"]
    done = subprocess.run(command(tmp_path / "raw", tmp_path / "whole", options), capture_output=True)
    assert done.returncode == 0, done.stderr
    killed_at_random_moments(tmp_path / "raw", tmp_path / "out", files_of(tmp_path / "whole"), options, 0.15, times=12)


@pytest.mark.slow
def test_killed_at_random_moments_on_real_videos(real_videos, tmp_path):
    """Clips of all sorts, broken ones too, and a part of UCF-101."""
    raw = tmp_path / "raw"
    shutil.copytree(real_videos / "clips", raw / "clips")
    for path in sorted((real_videos / "ucf6").glob("*/*_g01_c0*.mp4")):
        (raw / path.parent.name).mkdir(exist_ok=True)
        shutil.copy(path, raw / path.parent.name)
    for folder in [path for path in (raw / "clips").iterdir() if path.is_dir()]:
        folder.rename(raw / f"clips {folder.name}")
    (raw / "clips").rmdir()
    options = ["--short_side", "64", "--preset", "ultrafast"]
    assert subprocess.run(command(raw, tmp_path / "whole", options), capture_output=True).returncode == 1
    killed_at_random_moments(raw, tmp_path / "out", files_of(tmp_path / "whole"), options, 0.5, times=8)


def command(raw, out, options):
    return [sys.executable, "-m", "gcvideo", "prepare", str(raw), str(out), "--workers", "2", *options]


def killed_at_random_moments(raw, out, expected, options, longest_s, times):
    """SIGKILL to the process so many times, at random moments of its work; then let it end."""
    draw = random.Random(0)
    kills = Counter()
    for _ in range(times):
        process = subprocess.Popen(command(raw, out, options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        journal = out / ".prepare" / "1-of-1.jsonl"
        size = journal.stat().st_size if journal.exists() else 0
        end = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < end:  # until it has begun its work ...
            if (journal.exists() and journal.stat().st_size > size) or list(out.glob(".prepare/making-*/*.mp4")):
                break
            time.sleep(0.001)
        time.sleep(draw.uniform(0, longest_s))  # ... and then at some moment
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills["in work" if not (out / "summary.json").exists() else "after"] += 1
    assert kills["in work"] >= 3, kills
    process = subprocess.run(command(raw, out, options), capture_output=True)
    assert process.returncode in (0, 1), process.stderr
    assert files_of(out) == expected
    assert not [path for path in out.rglob("*") if path.name.endswith(".part")], os.listdir(out)
