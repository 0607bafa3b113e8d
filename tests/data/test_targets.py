"""Labels as numbers, and manifests whose videos have several labels or none."""

import re

import pytest
import torch

from gcvideo.data.batch import Batch, Item, collate
from gcvideo.data.datamodule import VideoDataModule
from gcvideo.data.labels import class_names_of, labels_in
from gcvideo.data.listing import ManifestError
from gcvideo.data.manifest import manifest_warnings, read_class_names, read_manifest
from gcvideo.data.targets import targets_of


@pytest.fixture
def manifest(tmp_path):
    """Four videos of the classes jump, run and wave: two labels, one, none, and one only in the validation."""
    rows = ("a.mp4,run | jump|run,train", "b.mp4,jump,train", "c.mp4,,train", "d.mp4,wave|jump,val")
    for row in rows:
        (tmp_path / row.partition(",")[0]).touch()
    path = tmp_path / "manifest.csv"
    path.write_text("\n".join(("path,label,split", *rows)) + "\n")
    return path


def test_labels_of_a_cell():
    assert labels_in("run | jump", None) == ["run | jump"]
    assert labels_in("run | jump||run", "|") == ["run", "jump"]
    assert labels_in(" ", "|") == []
    assert labels_in("open door; close", "; ") == ["open door", "close"]


def test_one_label_each_are_indices():
    assert targets_of(["b", "a", "0"], ["a", "b"]) == ([1, 0, 0], {})
    assert targets_of(["b", "c"], ["a", "b"]) == ([1, -1], {1: "c"})
    assert targets_of(["1"], ["1", "0"]).values == [0]  # a class of that name wins over the index


def test_several_labels_are_truth_values():
    values, unknown = targets_of(["b|a", "", "1", "a|c|d"], ["a", "b"], "|")
    assert values.tolist() == [[True, True], [False, False], [False, True], [True, False]]
    assert unknown == {3: "c"}


def test_classes_are_the_labels_in_the_cells():
    assert class_names_of(["run|jump", "", "jump"], "|") == ["jump", "run"]
    assert class_names_of(["0|3", "1"], "|") == ["0", "1", "2", "3"]


def test_a_manifest(manifest):
    assert read_class_names(manifest, "|") == ["jump", "run", "wave"]
    videos = read_manifest(manifest, "train", label_separator="|")
    assert videos.labels.tolist() == [[True, True, False], [True, False, False], [False, False, False]]
    assert [video.label for video in videos] == [(0, 1), (0,), ()]
    assert videos.target(0).tolist() == [True, True, False]
    assert len({read_manifest(manifest, split, label_separator="|").digest for split in ("train", "val", None)}) == 3


def test_separate_lists_share_their_classes(manifest):
    rows = manifest.read_text().splitlines()
    for split in ("train", "val"):
        kept = [rows[0], *(row for row in rows if row.endswith(split))]
        manifest.with_name(f"{split}.csv").write_text("\n".join(kept) + "\n")
    lists = {split: str(manifest.with_name(f"{split}.csv")) for split in ("train", "val")}
    assert read_manifest(lists, "val", label_separator="|").labels.tolist() == [[True, False, True]]
    (text,) = manifest_warnings(lists, "train", ["val"], label_separator="|")
    assert text.startswith("data.manifest: 1 label(s) of split 'val' never occur in split 'train', such as 'wave'")


def test_a_label_that_training_never_sees(manifest):
    (text,) = manifest_warnings(manifest, "train", ["val"], label_separator="|")
    assert "1 label(s) of split 'val' never occur in split 'train', such as 'wave' (line 5)" in text


def test_unknown_and_bad_labels_are_named(manifest):
    with pytest.raises(ManifestError, match="line 2: label 'jump' is not in the class list of 2"):
        read_manifest(manifest, label_separator="|", class_names=["run", "wave"])
    with pytest.raises(ManifestError, match="line 4: expected a label without blanks around it, got ''"):
        read_manifest(manifest)  # without a separator each video has a label
    manifest.write_text('path,label,split\na.mp4,"run|ju\x07mp",train\n')
    with pytest.raises(ManifestError, match="line 2: expected a label without line ends and control characters"):
        read_manifest(manifest, label_separator="|")


@pytest.mark.parametrize("separator", ("", "\n", "|\x00"))
def test_a_separator_that_can_not_be_one(manifest, separator):
    expected = re.escape(f"expected a data.label_separator such as '|', got {separator!r}")
    with pytest.raises(ValueError, match=expected):
        VideoDataModule(str(manifest), label_separator=separator)
    with pytest.raises(ManifestError, match=expected):
        read_class_names(manifest, separator)


def test_names_that_contain_the_separator_are_refused(manifest):
    with pytest.raises(ManifestError, match="class names without data.label_separator '_', got 'long_jump'"):
        read_manifest(manifest, label_separator="_", class_names=["long_jump", "run"])


def test_no_label_at_all(tmp_path):
    (tmp_path / "a.mp4").touch()
    path = tmp_path / "manifest.csv"
    path.write_text("path,label\na.mp4,|\n")
    with pytest.raises(ManifestError, match="no video has a label: expected at least two classes"):
        read_class_names(path, "|")
    assert read_manifest(path, label_separator="|", class_names=["x", "y"]).labels.tolist() == [[False, False]]


def test_batches_have_truth_values():
    frames = torch.zeros((2, 3, 4, 8, 8), dtype=torch.uint8)
    rows = torch.tensor([[True, False, True], [False, False, False]])
    batch = collate([Item(frames, row, index) for index, row in enumerate(rows)])
    assert batch.labels.dtype == torch.bool
    assert torch.equal(batch.labels, rows)
    with pytest.raises(ValueError, match="expected 2 labels and indices"):
        Batch(batch.frames, rows[None].expand(2, 2, 3), batch.indices)
