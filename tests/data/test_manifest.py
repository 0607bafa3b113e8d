"""Manifests: both forms, and every problem reported with its line."""

import os
import re

import pytest

from gcvideo.data.listing import ManifestError
from gcvideo.data.manifest import manifest_of, manifest_warnings, read_class_names, read_manifest


@pytest.fixture
def folder(tmp_path):
    """Folder with the (empty) files a.mp4, 'b c.mp4' and sub/d.mp4."""
    (tmp_path / "sub").mkdir()
    for name in ("a.mp4", "b c.mp4", "sub/d.mp4"):
        (tmp_path / name).touch()
    return tmp_path


def write(folder, text, name="manifest.csv", encoding="utf-8"):
    path = folder / name
    path.write_text(text, encoding=encoding)
    return path


def test_csv_with_splits_and_further_columns(folder):
    path = write(folder, "path,label,split,fps\na.mp4,run,train,25\nb c.mp4,walk,val,30\nsub/d.mp4,run,train,25\n")
    videos = read_manifest(path, "train")
    assert [(video.name, video.label, video.file) for video in videos] == [
        ("a.mp4", 0, str(folder / "a.mp4")),
        ("sub/d.mp4", 0, str(folder / "sub/d.mp4")),
    ]
    assert [video.name for video in read_manifest(path, "val")] == ["b c.mp4"]
    assert len(read_manifest(path)) == 3
    assert read_class_names(path) == ["run", "walk"]


def test_lists_of_other_projects_with_a_blank_in_a_path(folder):
    path = write(folder, "a.mp4 2\nb c.mp4 0\n\nsub/d.mp4 2\n", "train.csv")
    assert [(video.name, video.label) for video in read_manifest(path)] == [
        ("a.mp4", 2),
        ("b c.mp4", 0),
        ("sub/d.mp4", 2),
    ]
    assert read_class_names(path) == ["0", "1", "2"]


def test_root_and_absolute_paths(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    path = write(elsewhere, f"path,label\na.mp4,x\n{folder / 'sub/d.mp4'},x\n")
    assert [video.file for video in read_manifest(path, root=folder)] == [
        str(folder / "a.mp4"),
        str(folder / "sub/d.mp4"),
    ]


def test_given_class_names_set_the_order_and_admit_indices(folder):
    path = write(folder, "path,label\na.mp4,walk\nb c.mp4,0\n")
    assert [video.label for video in read_manifest(path, class_names=["run", "walk"])] == [1, 0]


@pytest.mark.parametrize(("newline", "encoding"), (("\r\n", "utf-8"), ("\n", "utf-8-sig")))
def test_windows_line_ends_and_byte_order_mark(folder, newline, encoding):
    path = write(folder, newline.join(("path,label", "a.mp4,x", "")), encoding=encoding)
    assert [video.name for video in read_manifest(path)] == ["a.mp4"]


def test_quoted_path_with_a_comma(folder):
    (folder / "e,f.mp4").touch()
    assert read_manifest(write(folder, 'path,label\n"e,f.mp4",x\n'))[0].name == "e,f.mp4"


@pytest.mark.parametrize(
    ("text", "message"),
    (
        ("", "the manifest is empty"),
        ("\n \n", "the manifest is empty"),
        ("path,label,split\n", "the manifest is empty: a header and no rows"),
        (
            "label,youtube_id,time_start\nx,abc,1\n",
            "wrong header: expected at least .*'path'.*, got 'label,youtube_id,time_start'",
        ),
        ("file,class\na.mp4,x\n", "wrong header: expected at least .*, got 'file,class'"),
        ("path\na.mp4\n", "wrong header"),
        ("path,label\na.mp4\n", "line 2: expected 2 columns"),
        ("path,label\na.mp4,x,y\n", "line 2: expected 2 columns"),
        ("a.mp4 x\n", "line 1: expected 'path label' with an integer label, got 'a.mp4 x'"),
        ("path,label\ngone.mp4,x\n", "line 2: missing file: .*gone.mp4"),
        ("path,label\nsub,x\n", "line 2: not a regular file: .*sub"),
        ("path,label\na.mp4,x\na.mp4,y\n", "line 3: 'a.mp4' is listed in line 2 already"),
    ),
)
def test_errors(folder, text, message):
    with pytest.raises(ManifestError, match=message):
        read_manifest(write(folder, text))


def test_label_that_is_not_in_the_class_list(folder):
    path = write(folder, "path,label\na.mp4,run\nb c.mp4,wlak\nsub/d.mp4,7\n")
    with pytest.raises(
        ManifestError, match=r"(?s)2 problem.*line 3: label 'wlak' is not in.*line 4: label '7' is not in"
    ):
        read_manifest(path, class_names=["run", "walk"])


def test_unknown_split_names_those_there_are(folder):
    with pytest.raises(ManifestError, match="no rows of split 'test'; splits there: train, val"):
        read_manifest(write(folder, "path,label,split\na.mp4,x,train\nb c.mp4,x,val\n"), "test")


def test_all_problems_are_shown_together(folder):
    rows = "".join(f"gone{i}.mp4,x\n" for i in range(12))
    with pytest.raises(ManifestError) as error:
        read_manifest(write(folder, "path,label\n" + rows))
    lines = str(error.value).splitlines()
    assert "12 problem(s) in 12 rows" in lines[0]
    assert len(lines) == 5
    assert "line 4: missing" in lines[3]
    assert lines[4].endswith("... and 9 more")


def test_missing_and_binary_manifest(folder):
    with pytest.raises(ManifestError, match="no such manifest file"):
        read_manifest(folder / "none.csv")
    (folder / "binary.csv").write_bytes(b"\x00\xff\xfe\x80")
    with pytest.raises(ManifestError, match="not a text file in UTF-8"):
        read_manifest(folder / "binary.csv")


def test_a_fifo_is_refused_and_not_opened(folder):
    os.mkfifo(folder / "pipe.mp4")
    with pytest.raises(ManifestError, match="not a regular file"):
        read_manifest(write(folder, "path,label\npipe.mp4,x\n"))


def test_manifest_of_real_videos(real_videos):
    manifest = real_videos / "ucf6" / "manifest.csv"
    assert len(read_manifest(manifest, "train")) == 529
    assert len(read_manifest(manifest, "val")) == 202
    assert read_class_names(manifest) == [
        "Archery", "BasketballDunk", "HorseRace", "PlayingPiano", "PlayingViolin", "Surfing"
    ]  # fmt: skip


def test_folder_of_splits_and_classes(tmp_path):
    for name in (
        "train/run/a.jpg",
        "train/walk far/b.mp4",
        "val/run/a.jpg",
        "val/run/.hidden",
        "note.txt",
        ".x/a/b.jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    videos = read_manifest(tmp_path, "train")
    assert [(video.name, video.label, video.file) for video in videos] == [
        ("train/run/a.jpg", 0, str(tmp_path / "train/run/a.jpg")),
        ("train/walk far/b.mp4", 1, str(tmp_path / "train/walk far/b.mp4")),
    ]
    assert [video.name for video in read_manifest(tmp_path, "val")] == ["val/run/a.jpg"]
    assert read_class_names(tmp_path) == ["run", "walk far"]
    assert [video.label for video in read_manifest(tmp_path / "train")] == [0, 1]
    with pytest.raises(ManifestError, match="no rows of split 'test'; splits there: train, val"):
        read_manifest(tmp_path, "test")


def test_folder_without_videos(tmp_path):
    with pytest.raises(
        ManifestError, match="expected a folder split/class/file or class/file, found no video or image"
    ):
        read_manifest(tmp_path)


def test_folder_with_links(tmp_path):
    (tmp_path / "far" / "run").mkdir(parents=True)
    (tmp_path / "far" / "run" / "a.mp4").touch()
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train").symlink_to(tmp_path / "far")
    with pytest.raises(ManifestError, match=r"line 1: 'train/run/a.mp4' leads out of the root folder"):
        read_manifest(tmp_path / "set", "train")
    videos = read_manifest(tmp_path / "set", "train", outside_root=True)
    assert [video.name for video in videos] == ["train/run/a.mp4"]


@pytest.mark.parametrize("many", (False, True))
def test_paths_that_lead_out_of_the_root_are_refused(folder, tmp_path_factory, monkeypatch, many):
    """Files that are looked for one by one, and in a folder with so many that it is listed."""
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.mp4"
    secret.touch()
    root = folder / "root"
    (root / "sub").mkdir(parents=True)
    rows = []
    for number in range(40 if many else 1):
        (root / "sub" / f"{number}.mp4").touch()
        rows.append(f"sub/{number}.mp4,x\n")
    (root / "sub" / "inner.mp4").symlink_to(root / "sub" / "0.mp4")
    (root / "sub" / "link.mp4").symlink_to(secret)
    (root / "linked").symlink_to(secret.parent)
    bad = ["../a.mp4", "sub/../../b c.mp4", str(secret), "sub/link.mp4", "linked/secret.mp4", "/etc/passwd", ".."]
    (root / "sub" / "other.mp4").touch()
    good = ["sub/inner.mp4", "sub/../sub/./other.mp4", str(root / "sub" / "inner.mp4")]
    text = "path,label\n" + "".join(rows) + "".join(f"{path},x\n" for path in (*good, *bad))
    monkeypatch.setattr("gcvideo.data.listing.MAX_ERRORS_SHOWN", len(bad))
    path = write(root, text)
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    assert f"{len(bad)} problem(s)" in str(caught.value)
    for line, name in enumerate(bad, start=2 + len(rows) + len(good)):
        assert f"line {line}: " in str(caught.value), name
    assert str(caught.value).count("leads out of the root folder") == len(bad) - 1  # '..' is a folder
    assert read_manifest(write(root, "path,label\n../a.mp4,x\n"), outside_root=True)[0].file.endswith("../a.mp4")


@pytest.mark.parametrize(
    ("text", "message"),
    (
        ("path,label\na.mp4,x\n./a.mp4,x\n", "line 3: 'a.mp4' is listed in line 2 already"),
        ("path,label\na.mp4,x\nsub//d.mp4,x\nsub/./d.mp4,x\n", "line 4: 'sub/d.mp4' is listed in line 3 already"),
        ("path,label\na.mp4," + "x" * 200_000, "not a CSV file that can be read"),
    ),
)
def test_other_spellings_and_endless_fields(folder, text, message):
    with pytest.raises(ManifestError, match=message):
        read_manifest(write(folder, text))


def test_labels_that_only_look_like_numbers(folder):
    path = write(folder, "path,label\na.mp4,99999999999\nb c.mp4,²\n")
    assert read_class_names(path) == ["99999999999", "²"]


def test_a_line_separator_in_a_path_ends_no_row(folder):
    (folder / "a\u2028b.mp4").touch()
    assert read_manifest(write(folder, "path,label\na\u2028b.mp4,x\n"))[0].name == "a\u2028b.mp4"


def test_videos_are_columns_that_read_as_rows(folder):
    (folder / "ä é.mp4").touch()
    path = write(folder, "path,label\na.mp4,x\nä é.mp4,y\nsub/d.mp4,x\n")
    videos = read_manifest(path)
    assert [(v.name, v.label) for v in videos] == [("a.mp4", 0), ("ä é.mp4", 1), ("sub/d.mp4", 0)]
    assert videos[-1] == videos[2]
    assert videos[1:] == [videos[1], videos[2]]
    for index in (3, -4):
        with pytest.raises(IndexError, match=f"video {index} of 3"):
            videos[index]


def test_files_that_do_not_fit_a_folder_are_named(tmp_path):
    """Else a stray file would make a class, or a deeper one be lost."""
    for name in ("train/a/1.mp4", "val/b/1.mp4", "val/stray.mp4", "train/a/deep/2.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(ManifestError, match="2 problem") as caught:
        read_manifest(tmp_path, "train")
    assert "val/stray.mp4 is not in split/class/" in str(caught.value)
    assert "train/a/deep/2.mp4 is not in split/class/" in str(caught.value)


def test_every_image_that_can_be_read_is_looked_for():
    from gcvideo.data.decode import IMAGE_SUFFIXES
    from gcvideo.data.listing import SUFFIXES

    assert set(IMAGE_SUFFIXES) < set(SUFFIXES)


@pytest.mark.parametrize("labels", (["999999"], [f"x{n}" for n in range(100_001)]))
def test_labels_that_make_too_many_classes(tmp_path, labels):
    """A column of numbers or of file names is no column of classes."""
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,label\n" + "".join(f"{n}.mp4,{label}\n" for n, label in enumerate(labels)))
    with pytest.raises(ManifestError, match="make [0-9,]+ classes, expected at most 100,000"):
        read_class_names(manifest)


@pytest.mark.parametrize("label", ("", " ", " x", "x\t"))
def test_a_label_has_no_blanks_around_it(folder, label):
    """An empty one would be a class without a name, and ' x' another class than 'x'."""
    path = write(folder, f"path,label\na.mp4,x\nb c.mp4,{label}\n")
    for read in (read_manifest, read_class_names):
        with pytest.raises(ManifestError, match=r"(?s)1 problem.*line 3: expected a label without blanks around it"):
            read(path)


def test_a_link_to_a_folder_above_ends(tmp_path):
    (tmp_path / "train" / "x").mkdir(parents=True)
    (tmp_path / "train" / "x" / "a.mp4").touch()
    (tmp_path / "train" / "loop").symlink_to(tmp_path)
    with pytest.raises(ManifestError, match=r"is nested too deeply: expected split/class/file"):
        read_manifest(tmp_path, "train", outside_root=True)


def test_a_manifest_that_is_not_set():
    for option in (None, ""):
        with pytest.raises(ManifestError, match="data.manifest is not set: expected a CSV"):
            manifest_of(option)


SPLITS = "path,label,split\na.mp4,x,train\n{}b c.mp4,x,val\nsub/d.mp4,x,test\n"


@pytest.mark.parametrize(
    ("row", "expected"),
    (
        ("", []),
        ("./a.mp4,x,val\n", [r"1 file\(s\) in both split 'train' and split 'val', such as 'a.mp4' \(lines 2 and 3\)"]),
        ("a.mp4,x,test\n", [r"1 file\(s\) in both split 'train' and split 'test', such as 'a.mp4' \(lines 2 and 3\)"]),
        ("sub/./d.mp4,x,val\n", [r"1 file\(s\) in both split 'val' and split 'test', such as 'sub/d.mp4'"]),
        ("a.mp4,x,unused\n", []),
        ("e.mp4,y,val\n", [r"1 label\(s\) of split 'val' never occur in split 'train', such as 'y' \(line 3\)"]),
        ("e.mp4,y,test\n", [r"1 label\(s\) of split 'test' never occur in split 'train', such as 'y' \(line 3\)"]),
        ("e.mp4,y,train\n", []),
        ("e.mp4,y,unused\n", []),
    ),
)
def test_splits_that_share_files_or_lack_labels(folder, row, expected):
    found = manifest_warnings(write(folder, SPLITS.format(row)), "train", ("val", "test"))
    assert len(found) == len(expected)
    for text, pattern in zip(found, expected):
        assert re.search(pattern, text), text
        assert "\n" not in text


def test_splits_that_are_one_on_purpose_or_not_there(folder):
    path = write(folder, SPLITS.format("a.mp4,y,val\n"))
    assert manifest_warnings(path, "train", ("train", "gone")) == []
    assert manifest_warnings(write(folder, "path,label\na.mp4,x\n"), "train", ("val", "test")) == []
