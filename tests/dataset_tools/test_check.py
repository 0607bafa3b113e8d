"""Each kind of problem is found, by its name, and a good set has none."""

import csv
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from gcvideo.cli.main import main
from gcvideo.data.decode import VideoDecodeError
from gcvideo.dataset_tools.entries import Entry, read_entries
from gcvideo.dataset_tools.examine import VideoFacts, examine, look_of
from gcvideo.dataset_tools.findings import LOOK_BITS, find
from gcvideo.dataset_tools.h264 import write_video
from gcvideo.dataset_tools.options import Encoding
from gcvideo.dataset_tools.scene import RIGHT, make_video
from gcvideo.dataset_tools.transcode import transcode
from tests.data.corpus import CLIPS


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Folder of 12 videos of two classes in two splits, and its manifest."""
    folder = tmp_path_factory.mktemp("videos")
    rows = ["path,label,split"]
    for number in range(12):
        label, split = ("run", "walk")[number % 2], "train" if number < 8 else "val"
        name = f"{label}/id{number:09d}_000001_000011.mp4"
        (folder / label).mkdir(exist_ok=True)
        write_video(folder / name, make_video((1, number), number % 6, RIGHT))
        rows.append(f"{name},{label},{split}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def folder(videos, tmp_path):
    shutil.copytree(videos, tmp_path / "set")
    return tmp_path / "set"


def findings(folder, full=False, min_frames=8):
    entries = read_entries(folder / "manifest.csv")
    facts = [examine(entry.file, full) for entry in entries]
    return [(finding.kind, finding.name, finding.text) for finding in find(entries, facts, min_frames)]


def add(folder, *rows):
    with (folder / "manifest.csv").open("a") as stream:
        stream.writelines(f"{row}\n" for row in rows)


@pytest.mark.parametrize("full", (False, True))
def test_a_good_set(videos, full):
    assert findings(videos, full) == []


def test_each_kind_of_problem(folder):
    first = folder / "run" / "id000000000_000001_000011.mp4"
    shutil.copy(first, folder / "run" / "copy.mp4")
    shutil.copy(first, folder / "run" / "leaked.mp4")
    shutil.copy(first, folder / "walk" / "other.mp4")
    shutil.copy(folder / "run" / "id000000002_000001_000011.mp4", folder / "run" / "id000000001_000031_000041.mp4")
    (folder / "run" / "empty.mp4").touch()
    write_video(folder / "run" / "short.mp4", make_video(5, 0, RIGHT)[:3])
    add(
        folder,
        "run/copy.mp4,run,train",
        "run/leaked.mp4,run,val",
        "walk/other.mp4,walk,train",
        "run/id000000001_000031_000041.mp4,walk,val",
        "run/empty.mp4,run,train",
        "run/gone.mp4,run,train",
        "run/short.mp4,run,train",
    )
    found = findings(folder)
    kinds = {(kind, name) for kind, name, _ in found}
    assert kinds == {
        ("broken", "run/empty.mp4"),
        ("broken", "run/gone.mp4"),
        ("leak", "id000000001"),
        ("leak", "run/leaked.mp4"),
        ("leak", "run/id000000001_000031_000041.mp4"),
        ("contradiction", "walk/other.mp4"),
        ("duplicate", "run/copy.mp4"),
        ("mislabelled", "run/id000000001_000031_000041.mp4"),
        ("short", "run/short.mp4"),
    }
    texts = {(kind, name): text for kind, name, text in found}
    assert texts["broken", "run/gone.mp4"] == "no such file"
    assert texts["duplicate", "run/copy.mp4"] == "the same content as run/id000000000_000001_000011.mp4"
    assert "split val here, train there" in texts["leak", "run/leaked.mp4"]
    assert "which is labelled 'run'" in texts["contradiction", "walk/other.mp4"]
    assert texts["mislabelled", "run/id000000001_000031_000041.mp4"] == "labelled 'walk' in a folder 'run'"


def test_a_copy_in_another_encoding_looks_alike(folder):
    source = folder / "run" / "id000000002_000001_000011.mp4"
    transcode(str(source), folder / "run" / "again.mp4", Encoding(crf=18))
    add(folder, "run/again.mp4,run,train")
    assert findings(folder) == [("look-alike", "run/again.mp4", "looks like run/id000000002_000001_000011.mp4")]


def test_only_a_folder_that_is_another_class_contradicts_a_label():
    """Not a split, a person or a date; spelled as folders spell it; the innermost one counts."""
    rows = {
        "validate/a.mp4": ("run", False),
        "walk/a.mp4": ("run", True),
        "walk/2024-05-01/a.mp4": ("run", True),
        "walk/run/a.mp4": ("run", False),
        "Head_Stand/a.mp4": ("head stand", False),
        "walk/b.mp4": ("walk", False),
        "walk/c.mp4": ("7", False),
    }
    entries = [Entry(name, name, label, "train") for name, (label, _) in rows.items()]
    facts = [VideoFacts(20, 15.0, 64, 64, "h264", {}, name) for name in rows]
    found = {finding.name for finding in find(entries, facts, 8) if finding.kind == "mislabelled"}
    assert found == {name for name, (_, wrong) in rows.items() if wrong}


def test_several_labels_count_each(folder, tmp_path, capsys):
    """A folder of one of a video's classes is no contradiction, nor is another order of the same classes."""
    rows = ["path,label,split"]
    for number, path in enumerate(sorted(folder.rglob("*.mp4"))):
        labels = ("run|walk", "walk|run", "wave|run|walk")[number % 3]
        rows.append(f"{path.relative_to(folder)},{labels},train")
    shutil.copy(min(folder.rglob("*.mp4")), folder / "walk" / "copy.mp4")
    rows.append("walk/copy.mp4,walk|run,train")  # of a video that is labelled run|walk
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    arguments = ["check", str(folder / "manifest.csv"), "--out", str(tmp_path / "out"), "--workers", "1"]
    assert main([*arguments, "--label_separator", "|"]) == 0
    summary = json.loads((tmp_path / "out" / "check.json").read_text())
    assert summary["classes"] == {"train": {"run": 13, "walk": 13, "wave": 4}}
    found = {kind: number for kind, number in summary["findings"].items() if number}
    assert found == {"duplicate": 1}
    capsys.readouterr()


def test_indices_of_several_classes_contradict_no_folder():
    facts = VideoFacts(20, 10.0, 64, 64, "h264", {}, "")
    entries = [Entry("", f"{folder}/a.mp4", "0_1", "train", {}, "_") for folder in "012"]
    assert "mislabelled" not in {finding.kind for finding in find(entries, [facts] * 3, 8)}


def test_pairs_of_two_splits_or_labels_come_first():
    looks = [f"{number:04x}" * 12 for number in (1, 1, 0xFF0, 0xFF0, 0xABCD, 0xABCD)]
    rows = [("a", "x", "train"), ("b", "x", "train"), ("c", "x", "train"), ("d", "y", "train"), ("e", "x", "train"),
            ("f", "x", "test")]  # fmt: skip
    entries = [Entry(name, name, label, split) for name, label, split in rows]
    facts = [VideoFacts(20, 15.0, 64, 64, "h264", {}, row[0], look) for row, look in zip(rows, looks)]
    found = [finding.name for finding in find(entries, facts, 8) if finding.kind == "look-alike"]
    assert found == ["d", "f", "b"]


def test_scenes_of_two_splits_are_reported_once():
    """Not again where the content or the source is known to be the same."""
    rooms = [np.random.default_rng(seed).integers(0, 256, 256, np.uint8).tobytes() for seed in range(4)]
    rows = [
        ("a.mp4", "train", rooms[0], "", "0"), ("b.mp4", "test", rooms[0], "", "1"),  # a scene
        ("c.mp4", "train", rooms[1], "g", "2"), ("d.mp4", "test", rooms[1], "g", "3"),  # a source
        ("e.mp4", "train", rooms[2], "", "4"), ("f.mp4", "test", rooms[2], "", "4"),  # a copy
        ("g.mp4", "train", rooms[3], "", "5"), ("h.mp4", "train", rooms[3], "", "6"),  # of one split
    ]  # fmt: skip
    entries = [Entry(name, name, "x", split, {"group": group}) for name, split, _, group, _ in rows]
    facts = [VideoFacts(20, 15.0, 64, 64, "h264", {}, sha256, "", room) for _, _, room, _, sha256 in rows]
    found = [finding for finding in find(entries, facts, 8) if finding.kind == "scene"]
    assert [(finding.name, finding.text) for finding in found] == [
        ("b.mp4", "shows the scene of a.mp4 (1.00): split test here, train there")
    ]


def test_real_videos_in_another_size_look_alike(real_videos, tmp_path):
    looks = {}
    for path in sorted((real_videos / "ucf6").glob("*/*_g01_c01.mp4")):
        transcode(str(path), tmp_path / path.name, Encoding(short_side=96, crf=26))
        for name, file in ((path.stem, path), (f"{path.stem} again", tmp_path / path.name)):
            looks[name] = int(examine(str(file), False).look, 16)
    for name, look in looks.items():
        for other, its in looks.items():
            same = name.split()[0] == other.split()[0]
            assert ((look ^ its).bit_count() <= LOOK_BITS) == same, (name, other)


def test_a_file_that_is_not_what_the_manifest_says(folder):
    manifest = folder / "manifest.csv"
    assert main(["check", str(manifest), "--update", "--workers", "1"]) == 0
    with manifest.open(newline="") as stream:
        row = next(csv.DictReader(stream))
    assert row == {
        "path": "run/id000000000_000001_000011.mp4", "label": "run", "split": "train", "num_frames": "20",
        "fps": "15.0", "width": "64", "height": "64",
    }  # fmt: skip
    write_video(folder / row["path"], make_video(3, 0, RIGHT)[:12])
    assert findings(folder) == [("differs", row["path"], "num_frames is 12, but 20 in the manifest")]


def test_damage_in_the_middle_is_found_by_a_full_check(folder):
    path = folder / "run" / "id000000000_000001_000011.mp4"
    write_video(path, np.random.default_rng(0).integers(0, 255, (60, 64, 64, 3), np.uint8))
    data = bytearray(path.read_bytes())
    data[len(data) // 4 : len(data) // 4 + 3000] = bytes(3000)
    path.write_bytes(data)
    assert findings(folder, full=False) == []
    assert [finding[:2] for finding in findings(folder, full=True)] == [("broken", "run/" + path.name)]


def test_groups_and_imbalance():
    entries = [Entry(f"a{n}", f"a/{n}.mp4", "a", "train") for n in range(20)]
    entries += [Entry("b", "b/1.mp4", "b", "train"), Entry("c", "b/v_X_g07_c02.avi", "b", "val")]
    entries += [Entry("d", "b/v_X_g07_c01.avi", "b", "train"), Entry("e", "b/5.mp4", "b", "val", {"group": "p1"})]
    entries += [Entry("f", "b/6.mp4", "b", "train", {"group": "p1"})]
    good = VideoFacts(9, 25.0, width=1, height=1, codec="h264", faults={}, sha256="")
    found = {(finding.kind, finding.name): finding.text for finding in find(entries, [good] * len(entries), 8)}
    assert set(found) == {("leak", "v_X_g07"), ("leak", "p1"), ("imbalance", "val")}
    assert found["imbalance", "val"] == "1 classes have no video: a"
    entries = [entry for entry in entries if entry.name.startswith("a/")] + entries[20:21]
    assert [finding.text for finding in find(entries, [good] * 21, 8)] == ["classes have from 1 to 20 videos"]


def test_the_look_of_flat_or_tiny_frames_tells_nothing():
    assert look_of(np.full((3, 64, 64, 3), 100, np.uint8)) == ""
    assert look_of(np.zeros((3, 20, 64, 3), np.uint8)) == ""
    frames = make_video(0, 0, RIGHT)[:3]
    assert len(look_of(frames)) == 3 * 16
    assert look_of(frames) != look_of(make_video(1, 0, RIGHT)[:3])


@pytest.mark.parametrize("full", (False, True))
@pytest.mark.parametrize(
    ("title", "reason"),
    (
        ("H.264, cut by an edit list, GOP 30", "decord ignores the edit list, which cuts frames off"),
        ("H.264, GOP 12", None),
    ),
)
def test_decoders_that_are_accurate_for_a_file(tmp_path, title, reason, full):
    path, expected = next(clip for clip in CLIPS if clip.title == title).write(tmp_path)
    facts = examine(path, full)
    assert facts.num_frames == len(expected)
    assert facts.faults == {"pyav": None, "decord": reason, "torchcodec": None}


@pytest.mark.parametrize("full", (False, True))
@pytest.mark.parametrize("fails", (False, True))
def test_a_full_check_compares_decord_with_pyav(folder, monkeypatch, full, fails):
    class Wrong:
        def read(self, indices):
            if fails:
                raise VideoDecodeError("x.mp4", "for a reason")
            return torch.zeros(len(indices), 64, 64, 3, dtype=torch.uint8)

    monkeypatch.setattr("gcvideo.dataset_tools.examine.open_video", lambda path, decoder: Wrong())
    facts = examine(str(folder / "run" / "id000000000_000001_000011.mp4"), full)
    difference = "decord fails: for a reason" if fails else "decord returns other frames than PyAV"
    assert facts.faults == {"pyav": None, "decord": difference if full else None, "torchcodec": None}


@pytest.mark.slow
@pytest.mark.slow
def test_command(folder, tmp_path, capsys):
    assert main(["check", str(folder / "manifest.csv"), "--workers", "2"]) == 0
    out = folder / "manifest-check"
    assert {path.name for path in out.iterdir()} == {"videos.csv", "findings.csv", "check.json", "check.png"}
    printed = capsys.readouterr().out
    for decoder in ("pyav", "decord", "torchcodec"):
        assert re.search(rf"^    {decoder} +12$", printed, re.MULTILINE)
    assert json.loads((out / "check.json").read_text())["decoders"] == {
        decoder: {"accurate": 12, "faults": {}} for decoder in ("pyav", "decord", "torchcodec")
    }
    cut, _ = next(clip for clip in CLIPS if clip.title == "H.264, cut by an edit list, GOP 30").write(tmp_path)
    shutil.copy(cut, folder / "run" / "cut.mp4")
    (folder / "cut.csv").write_text("path,label\nrun/cut.mp4,run\nrun/id000000000_000001_000011.mp4,run\n")
    assert main(["check", str(folder / "cut.csv"), "--workers", "2", "--full", "--timeout_s", "60"]) == 0
    reason = "decord ignores the edit list, which cuts frames off"
    printed = capsys.readouterr().out
    assert re.search(rf"^    decord +1\n        not for 1: {reason}$", printed, re.MULTILINE)
    assert "no splits: training needs them, and 'gcvideo split' makes them" in printed
    with (folder / "cut-check" / "videos.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["pyav"], row["decord"]) for row in rows] == [("accurate", reason), ("accurate", "accurate")]
    decoders = json.loads((folder / "cut-check" / "check.json").read_text())["decoders"]
    assert decoders["decord"] == {"accurate": 1, "faults": {reason: 1}}
    add(folder, "run/gone.mp4,run,train")
    assert main(["check", str(folder / "manifest.csv"), "--workers", "1", "--out", str(tmp_path / "o")]) == 1
    assert "run/gone.mp4: no such file" in capsys.readouterr().out
    summary = json.loads((tmp_path / "o" / "check.json").read_text())
    assert summary["videos"] == 13
    assert summary["findings"]["broken"] == summary["errors"] == 1
    with (tmp_path / "o" / "videos.csv").open(newline="") as stream:
        assert [row["broken"] for row in csv.DictReader(stream)].count("no such file") == 1
    assert main(["check", str(folder / "none.csv")]) == 2
    assert main(["check", str(folder / "manifest.csv"), "--out", str(folder / "manifest.csv")]) == 2
    (folder / "shards.csv").write_text("path,label,shard\na.mp4,x,a.tar\n")
    assert main(["check", str(folder / "shards.csv")]) == 2
    assert "lists shards" in capsys.readouterr().err
    assert main(["check", str(folder / "manifest.csv"), "--split", "x"]) == 2
    assert main(["check", str(folder / "manifest.csv"), "--update", "--split", "train"]) == 2
    assert "--update needs a manifest that is a CSV file" in capsys.readouterr().err


@pytest.mark.slow
def test_command_on_one_split_of_another_folder(videos, tmp_path, capsys):
    (tmp_path / "m.csv").write_text((videos / "manifest.csv").read_text())
    arguments = ["check", str(tmp_path / "m.csv"), "--root", str(videos), "--workers", "1"]
    assert main([*arguments, "--split", "val"]) == 0
    assert "\n4 videos; decoders accurate for:" in capsys.readouterr().out
    assert main([*arguments, "--split", "val", "--min_frames", "21"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^short +4$", printed, re.MULTILINE)
    assert "20 frames, fewer than 21" in printed


def test_a_list_that_begins_with_a_blank_line_has_no_columns(tmp_path):
    (tmp_path / "list.txt").write_text("\na.mp4 0\nb c.mp4 1\n")
    entries = read_entries(tmp_path / "list.txt")
    assert [(entry.name, entry.label, entry.columns) for entry in entries] == [("a.mp4", "0", {}), ("b c.mp4", "1", {})]


def test_a_folder_and_a_list_can_be_checked(videos, tmp_path):
    shutil.copytree(videos, tmp_path / "set")
    (tmp_path / "set" / "manifest.csv").unlink()
    assert len(read_entries(tmp_path / "set")) == 12
    (tmp_path / "list.txt").write_text("a b.mp4 3\nc.mp4 0\n")
    assert [(entry.name, entry.label) for entry in read_entries(tmp_path / "list.txt")] == [
        ("a b.mp4", "3"),
        ("c.mp4", "0"),
    ]


@pytest.mark.slow
def test_check_imports_neither_scipy_nor_reports():
    """Both cost time, and scipy is for the statistics of sweeps only."""
    code = (
        "import sys\n"
        "from gcvideo.cli import datasets\n"
        "assert 'torch' not in sys.modules\n"  # help must not wait for it
        "import gcvideo.dataset_tools.check, gcvideo.dataset_tools.entries, gcvideo.dataset_tools.findings\n"
        "import gcvideo.dataset_tools.mirror, gcvideo.dataset_tools.pack, gcvideo.dataset_tools.prepare\n"
        "wrong = {name for name in sys.modules if name.startswith(('scipy', 'gcvideo.report', 'gcvideo.sweep'))}\n"
        "wrong |= {'decord', 'pytorch_lightning', 'gcvideo.models', 'gcvideo.training'} & set(sys.modules)\n"
        "assert not wrong, wrong\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
