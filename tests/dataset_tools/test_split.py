"""`gcvideo split`: what is written can be trained on, keeps its columns, and every mistake is one short error."""

import csv
from collections import Counter, defaultdict

import pytest

from gcvideo.cli.main import main
from gcvideo.data.manifest import read_manifest
from gcvideo.dataset_tools.dealing import Shares
from gcvideo.dataset_tools.split import SplitOptions, split_manifest
from gcvideo.errors import GcvideoError, UsageError


@pytest.fixture
def clips(tmp_path):
    """A folder class/file of three classes, with 6 empty files each, of 3 sources."""
    for label in ("run", "walk", "jump far"):
        for number in range(6):
            path = tmp_path / "clips" / label / f"{label[0]}{number // 2}_take{number % 2}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return tmp_path / "clips"


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_folder_of_classes(clips, tmp_path, capsys):
    out = tmp_path / "manifest.csv"
    assert main(["split", str(clips), str(out), "--parts", "60/20/20", "--seed", "3"]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{out}\n"
    assert printed.err.splitlines() == [
        "class      train     val    test",
        "jump far       4       1       1",
        "run            4       1       1",
        "walk           4       1       1",
        "all           12       3       3",
        "0 groups of several videos, each in one part",
    ]
    assert list(rows_of(out)[0]) == ["path", "label", "split"]
    assert [len(read_manifest(out, split)) for split in ("train", "val", "test")] == [12, 3, 3]
    before = out.read_text()
    assert main(["split", str(clips), str(out), "--parts", "60/20/20", "--seed", "3"]) == 0
    assert out.read_text() == before
    assert main(["split", str(clips), str(out), "--parts", "60/20/20", "--seed", "4"]) == 0
    assert out.read_text() != before


def test_groups_from_names_and_from_a_column(clips, tmp_path, capsys):
    out, again = tmp_path / "manifest.csv", tmp_path / "again.csv"
    assert main(["split", str(clips), str(out), "--group_pattern", r"^(.\d+)_take"]) == 0
    assert "9 groups of several videos" in capsys.readouterr().err
    rows = rows_of(out)
    assert {row["group"] for row in rows if row["label"] == "run"} == {"r0", "r1", "r2"}
    splits_of = defaultdict(set)
    for row in rows:
        splits_of[row["group"]].add(row["split"])
    assert all(len(splits) == 1 for splits in splits_of.values())
    assert Counter(row["split"] for row in rows) == {"train": 6, "val": 6, "test": 6}  # 3 sources, 3 parts
    # In place, by the column, which is used without being named.
    text = out.read_text().replace("group", "take", 1)
    out.write_text(text)
    assert main(["split", str(out), str(out), "--of", "train", "val", "test", "--group", "take"]) == 0
    assert {(row["path"], row["take"], row["split"]) for row in rows_of(out)} == {
        (row["path"], row["group"], row["split"]) for row in rows
    }
    out.write_text(text.replace("take", "group", 1))
    assert main(["split", str(out), str(again), "--of", "train", "val", "test"]) == 0
    assert rows_of(again) == rows


def test_columns_stay_and_paths_stay_valid(clips, tmp_path, capsys):
    source, out = clips / "m.csv", tmp_path / "new" / "m.csv"
    names = sorted(path.relative_to(clips) for path in clips.rglob("*.mp4"))
    with source.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("note", "label", "path", "split"))
        writer.writerows((f"=1,{i}", name.parts[0], f"./{name}", "") for i, name in enumerate(names))
    out.parent.mkdir()
    assert main(["split", str(source), str(tmp_path / "m.csv")]) == 0  # a folder above: relative
    rows = rows_of(tmp_path / "m.csv")
    assert [row["path"] for row in rows] == [f"clips/{name}" for name in names]
    assert [row["note"] for row in rows] == [f"=1,{i}" for i in range(18)]
    assert list(rows[0]) == ["path", "label", "split", "note"]
    capsys.readouterr()
    assert main(["split", str(source), str(out)]) == 0  # elsewhere: absolute, and the root is named
    assert f"train with --data.root {clips}" in capsys.readouterr().err
    assert [row["path"] for row in rows_of(out)] == [str(clips / name) for name in names]
    assert len(read_manifest(out, "train", root=clips)) == 12
    assert Counter(row["split"] for row in rows_of(out)) == Counter(row["split"] for row in rows)


def test_a_list_and_its_root(clips, tmp_path):
    names = sorted(path.relative_to(clips) for path in clips.rglob("*.mp4"))
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"{name} {i % 2}\n" for i, name in enumerate(names)))
    assert main(["split", str(listed), str(tmp_path / "m.csv"), "--root", str(clips)]) == 0
    videos = read_manifest(tmp_path / "m.csv", "train")
    assert {video.label for video in videos} == {0, 1}
    assert len(videos) == 12


def test_only_some_splits_are_dealt(clips, tmp_path):
    """As of UCF-101, which has no validation part."""
    out = tmp_path / "m.csv"
    main(["split", str(clips), str(out), "--parts", "2/0/1"])
    test = {row["path"] for row in rows_of(out) if row["split"] == "test"}
    assert main(["split", str(out), str(out), "--parts", "3/1/0", "--of", "train"]) == 0
    rows = rows_of(out)
    assert {row["path"] for row in rows if row["split"] == "test"} == test
    assert Counter(row["split"] for row in rows) == {"train": 9, "val": 3, "test": 6}


def test_each_of_several_labels_is_in_proportion(tmp_path, capsys):
    """40 videos, of which every second can run, every fourth jump, and eight do nothing; no combination is a class."""
    source, out = tmp_path / "all.csv", tmp_path / "split.csv"
    rows = ["path,label"]
    for number in range(40):
        labels = [] if number % 5 == 0 else [name for name, every in (("run", 2), ("jump", 4)) if number % every == 0]
        rows.append(f"{number}.mp4,{' | '.join(labels or ([] if number % 5 == 0 else ['walk']))}")
        (tmp_path / f"{number}.mp4").touch()
    source.write_text("\n".join(rows) + "\n")
    assert main(["split", str(source), str(out), "--parts", "50/25/25", "--label_separator", "|"]) == 0
    totals = {"(none)": 8, "jump": 8, "run": 16, "walk": 16}
    table = [line.split() for line in capsys.readouterr().err.splitlines()]
    assert table[0] == ["class", "train", "val", "test"]
    for (name, total), (label, *numbers) in zip(totals.items(), table[1:5]):
        assert (name, total) == (label, sum(map(int, numbers)))
        for number, share in zip(numbers, (2, 4, 4)):
            assert abs(int(number) - total / share) <= 1, name
    assert [sum(map(int, table[5][1:])), table[5][0]] == [40, "all"]
    of_train = read_manifest(out, "train", label_separator="|").labels.sum(0)
    assert of_train.tolist() == [int(numbers) for _, numbers, *_ in table[2:5]]


def test_a_single_video_without_a_label_hinders_nothing(tmp_path, capsys):
    rows = ["path,label", *(f"{number}.mp4,{'' if number == 0 else 'run'}" for number in range(7))]
    (tmp_path / "all.csv").write_text("\n".join(rows) + "\n")
    arguments = [str(tmp_path / "all.csv"), str(tmp_path / "split.csv"), "--parts", "60/20/20"]
    assert main(["split", *arguments, "--label_separator", "|"]) == 0
    assert "too few sources" not in capsys.readouterr().err


def test_sources_that_only_names_tell_are_hinted_at(tmp_path, capsys):
    for number in range(20):
        path = tmp_path / "Yo" / f"v_Yo_g{number // 4:02d}_c{number % 4:02d}.avi"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert main(["split", str(tmp_path), str(tmp_path / "m.csv")]) == 0
    assert "sources are in several parts, such as v_Yo_g0" in capsys.readouterr().err
    assert main(["split", str(tmp_path), str(tmp_path / "m.csv"), "--group_pattern", r"v_(.+_g\d+)_c"]) == 0
    assert "warning" not in capsys.readouterr().err


def test_small_classes_are_told_of(clips, tmp_path, capsys):
    for path in sorted((clips / "run").iterdir())[2:]:
        path.unlink()
    assert main(["split", str(clips), str(tmp_path / "m.csv")]) == 0
    assert "warning: too few sources for a video in val: run\n" in capsys.readouterr().err
    next((clips / "run").iterdir()).unlink()
    assert main(["split", str(clips), str(tmp_path / "m.csv")]) == 2
    error = capsys.readouterr().err
    assert "1 of 3 classes can't be both in train and in another part: 'run' (1 video(s) of 1 source)" in error
    assert len(error.splitlines()) <= 5


def test_many_classes_are_summed_up(tmp_path, capsys):
    rows = "".join(f"{label}/{number}.mp4,{label},\n" for label in range(31) for number in range(3))
    (tmp_path / "m.csv").write_text("path,label,split\n" + rows)
    assert main(["split", str(tmp_path / "m.csv"), str(tmp_path / "m.csv")]) == 0
    assert capsys.readouterr().err.splitlines()[:2] == [
        "class   train     val    test",
        "all        31      31      31",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    (
        ({"group": "g"}, "has no column 'g'; columns there: path, label, person"),
        ({"group_pattern": "("}, "'\\(' is not a regular expression: missing"),
        ({"group_pattern": "a"}, "expected a regular expression with one group in brackets, got 'a'"),
        ({"group_pattern": "(a)", "group": "g"}, "expected a column of groups or a pattern for them, got both"),
        ({"group_pattern": "(zz)"}, r"'\(zz\)' finds no group in '0.mp4' \(a/0.mp4\)"),
        ({"of": ("train",)}, "has no split train; splits there: none"),
    ),
)
def test_options_that_do_not_fit(tmp_path, options, message):
    rows = "".join(f"{label}/{number}.mp4,{label},p\n" for label in "ab" for number in range(4))
    (tmp_path / "m.csv").write_text("path,label,person\n" + rows)
    with pytest.raises(UsageError, match=message):
        split_manifest(tmp_path / "m.csv", tmp_path / "out.csv", SplitOptions(**options))
    assert not (tmp_path / "out.csv").exists()


def test_splits_that_are_there_are_not_replaced(tmp_path):
    manifest = tmp_path / "m.csv"
    manifest.write_text(
        "path,label,split,group\n" + "".join(f"{n}.mp4,x,{'train' if n < 4 else 'test'},\n" for n in range(6))
    )
    with pytest.raises(UsageError, match="has the splits test, train already: name those to deal anew, --of test"):
        split_manifest(manifest, manifest, SplitOptions())
    with pytest.raises(UsageError, match="test has videos already, and a share of 70/15/15: set its share to 0"):
        split_manifest(manifest, manifest, SplitOptions(of=("train",)))
    with pytest.raises(UsageError, match="expected a manifest without a column 'group'"):
        split_manifest(manifest, manifest, SplitOptions(Shares(1, 1, 0), of=("train",), group_pattern="(.)"))
    split_manifest(manifest, manifest, SplitOptions(Shares(1, 1, 0), of=("train",)))
    assert Counter(row["split"] for row in rows_of(manifest)) == {"train": 2, "val": 2, "test": 2}


def test_bad_manifests_and_outputs(clips, tmp_path, capsys):
    assert main(["split", str(tmp_path / "none.csv"), str(tmp_path / "m.csv")]) == 2
    assert "no such manifest file" in capsys.readouterr().err
    assert main(["split", str(clips), str(tmp_path / "gone" / "m.csv")]) == 2
    assert "No such file or directory" in capsys.readouterr().err
    for parts in ("70", "70/30", "a/b/c", "0/50/50", "1/0/0", "70/15/15/1"):
        with pytest.raises(SystemExit) as caught:
            main(["split", str(clips), str(tmp_path / "m.csv"), "--parts", parts])
        assert caught.value.code == 2
        assert "expected TRAIN/VAL/TEST in whole numbers" in capsys.readouterr().err
    (tmp_path / "shards.csv").write_text("path,label,shard\na.mp4,x,a.tar\n")
    with pytest.raises(GcvideoError, match="lists shards"):
        split_manifest(tmp_path / "shards.csv", tmp_path / "m.csv", SplitOptions())
