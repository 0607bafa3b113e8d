"""Manifests of other projects: a list for each split, annotations of Kinetics, and data without validation videos."""

import csv
import shutil

import pytest
import torch

from gcvideo.cli.main import main
from gcvideo.data.datamodule import VideoDataModule
from gcvideo.data.kinetics import clip_of
from gcvideo.data.listing import ManifestError, NoRowsError
from gcvideo.data.manifest import manifest_of, manifest_of_split, manifest_warnings, read_class_names, read_manifest
from gcvideo.data.sampling import Clip
from gcvideo.data.transforms import Augmentation, Views
from gcvideo.errors import UsageError

SMALL = {
    "clip": Clip(2, 1), "augment": Augmentation(32, (32, 36)), "views": Views(1, 1), "num_workers": 0, "batch_size": 4,
}  # fmt: skip
FIT = [
    "--model.network=slowonly_tiny", "--model.blocks=none", "--data.clip.frames=2", "--data.clip.stride=1",
    "--data.augment.size=32", "--data.augment.short_side=[32,34]", "--data.num_workers=0", "--data.batch_size=4",
    "--model.execution.channels_last=false", "--trainer.accelerator=cpu", "--trainer.max_epochs=1",
    "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false", "--trainer.logger=false",
    "--name=run",
]  # fmt: skip


def rows_of(manifest):
    with manifest.open(newline="") as stream:
        return list(csv.DictReader(stream))


def lists_of(synthetic, folder, line):
    """One list for each split, with absolute paths and integer labels; and the class names."""
    rows = rows_of(synthetic)
    names = sorted({row["label"] for row in rows})
    for split in ("train", "val", "test"):
        lines = [
            line.format(synthetic.parent / row["path"], names.index(row["label"]))
            for row in rows
            if row["split"] == split
        ]
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n")
    return {split: str(folder / f"{split}.csv") for split in ("train", "val", "test")}, names


@pytest.mark.parametrize("line", ("{} {}", "{},{}", "{}\t{}", '"{}",{}', "{}, {}"))
def test_lists_of_mmaction2_and_pyslowfast(synthetic, tmp_path, line):
    """`path label` of mmaction2, and of PySlowFast, whose separator is an option."""
    lists, names = lists_of(synthetic, tmp_path, line)
    data = VideoDataModule(lists, root=str(synthetic.parent), class_names=names, **SMALL)
    same = VideoDataModule(str(synthetic), **SMALL)
    for stage in ("fit", "test"):
        data.setup(stage)
        same.setup(stage)
    for stage in ("fit", "validate", "test"):
        assert [(video.file, video.label) for video in data.datasets[stage].videos] == [
            (video.file, video.label) for video in same.datasets[stage].videos
        ]
    assert next(iter(data.train_dataloader())).frames.shape == (4, 1, 3, 2, 32, 32)


def test_separate_lists_train_and_are_tested_from_the_command_line(synthetic, tmp_path, monkeypatch):
    """As an option for each split, and then as the mapping in the run's own configuration."""
    monkeypatch.chdir(tmp_path)
    lists, names = lists_of(synthetic, tmp_path, "{} {}")
    options = [f"--data.manifest.{split}={path}" for split, path in lists.items()]
    options += [f"--data.root={synthetic.parent}", f"--data.class_names=[{','.join(names)}]"]
    assert main(["fit", *FIT, *options]) == 0
    assert main(["test", "--name=run", "--trainer.accelerator=cpu", "--data.views.temporal=1"]) == 0


def test_classes_are_those_of_all_lists(tmp_path):
    for name, labels in (("a", "xy"), ("b", "yz")):
        rows = "".join(f"{name}{label}.mp4,{label}\n" for label in labels)
        (tmp_path / f"{name}.csv").write_text(f"path,label\n{rows}")
        for label in labels:
            (tmp_path / f"{name}{label}.mp4").touch()
    lists = {"train": tmp_path / "a.csv", "val": tmp_path / "b.csv"}
    assert read_class_names(lists) == ["x", "y", "z"]
    assert [(video.name, video.label) for video in read_manifest(lists, "val")] == [("by.mp4", 1), ("bz.mp4", 2)]
    with pytest.raises(NoRowsError, match="data.manifest has no list of split 'test'; lists there: train, val"):
        read_manifest(lists, "test")
    assert manifest_of_split(lists, "val") == tmp_path / "b.csv"
    (warning,) = manifest_warnings(lists, "train", ("val", "test"))
    assert warning.startswith("data.manifest: 1 label(s) of split 'val' never occur in split 'train', such as 'z'")


def test_a_file_of_two_lists_is_warned_of(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    (tmp_path / "a" / "train.txt").write_text("x.mp4 0\ny.mp4 1\n")
    (tmp_path / "b" / "val.txt").write_text("../a/x.mp4 0\ny.mp4 1\n")
    lists = {"train": tmp_path / "a" / "train.txt", "val": tmp_path / "b" / "val.txt"}
    (warning,) = manifest_warnings(lists, "train", ("val",))
    assert "1 file(s) in both split 'train' and split 'val'" in warning
    (warning,) = manifest_warnings(lists, "train", ("val",), root=tmp_path)
    assert "such as '" + str(tmp_path / "y.mp4") in warning


@pytest.mark.parametrize("option", ({}, {"train": ""}))
def test_lists_that_are_not_set(option):
    with pytest.raises(ManifestError, match="data.manifest is not set: expected a CSV .* or a list for each split"):
        manifest_of(option)


HEADER = "label,youtube_id,time_start,time_end,split\n"


@pytest.fixture
def kinetics(synthetic, tmp_path):
    """Annotations of six clips: one flat, two in class folders, one in split/class, one as WebM, one that is gone."""
    names = (
        "-abc_efghi__000010_000020.mp4",
        "air drumming/abcdefghij1_000001_000011.mp4",
        "yoga/abcdefghij2_000001_000011.mp4",
        "val/yoga/abcdefghij3_000003_000013.mp4",
        "abcdefghij4_000001_000011.webm",
    )
    source = synthetic.parent / rows_of(synthetic)[0]["path"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, tmp_path / name)
    (tmp_path / "k.csv").write_text(
        HEADER
        + 'air drumming,-abc_efghi_,10,20,train\n"air drumming",abcdefghij1,1,11,train\n'
        + "yoga,abcdefghij2,1.0,11.0,train\n"
        + "yoga,abcdefghij3,3,13,validate\nair drumming,abcdefghij4,1,11,validate\nzumba,gone_000000,5,15,validate\n"
    )
    return tmp_path / "k.csv"


def test_annotations_of_kinetics(kinetics, recwarn):
    root = kinetics.parent
    data = VideoDataModule(str(kinetics), **(SMALL | {"batch_size": 3}))
    data.setup("fit")
    assert data.class_names == ["air drumming", "yoga", "zumba"]  # those without a clip, too
    assert [(video.file, video.label) for video in data.datasets["fit"].videos] == [
        (str(root / "-abc_efghi__000010_000020.mp4"), 0),
        (str(root / "air drumming" / "abcdefghij1_000001_000011.mp4"), 0),
        (str(root / "yoga" / "abcdefghij2_000001_000011.mp4"), 1),
    ]
    assert [video.name for video in data.datasets["validate"].videos] == [
        "val/yoga/abcdefghij3_000003_000013.mp4", "abcdefghij4_000001_000011.webm"
    ]  # fmt: skip
    text = f"{kinetics}: 2 of 3 clips are below {root}; the others are left out"
    assert [str(warning.message) for warning in recwarn].count(text) == 1
    assert len(list(data.train_dataloader())) == 1


def test_annotations_of_kinetics_apart_from_their_clips(kinetics, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("annotations") / "train.csv"
    shutil.copy(kinetics, elsewhere)
    assert len(read_manifest(elsewhere, "train", root=kinetics.parent)) == 3
    with pytest.raises(ManifestError, match=r"none of 3 clips is below .*, such as -abc_efghi__000010_000020.mp4; set"):
        read_manifest(elsewhere, "train")
    with pytest.raises(ManifestError, match="clips of Kinetics are looked for in a folder, got data.root http"):
        read_manifest(elsewhere, "train", root="https://server/k400")


@pytest.mark.parametrize(
    ("row", "message"),
    (
        ("x,abc,1,2,train", "line 2: 'abc' is not a YouTube id of 11 characters"),
        ("x,../../../ab,1,2,train", "line 2: '../../../ab' is not a YouTube id"),
        ("x,abcdefghijk,one,2,train", "line 2: could not convert string to float"),
        ("x,abcdefghijk,nan,2,train", "line 2: expected 0 <= time_start <= time_end, got nan and 2.0"),
        ("x,abcdefghijk,3,1e99,train", "line 2: expected 0 <= time_start <= time_end"),
        (",abcdefghijk,1,2,train", "line 2: expected a label without blanks around it, got ''"),
        ("x,abcdefghijk,1,2", "line 2: expected 5 columns"),
    ),
)
def test_bad_annotations(tmp_path, row, message):
    (tmp_path / "k.csv").write_text(HEADER + row + "\n")
    with pytest.raises(ManifestError, match=message):
        read_manifest(tmp_path / "k.csv", "train")


def test_a_row_of_kinetics():
    clip = clip_of({"youtube_id": '"-abc_efghi_"', "time_start": "0", "time_end": "10.5", "split": "holdout_test"})
    assert (clip.name, clip.label, clip.split) == ("-abc_efghi__000000_000010", "", "test")


def only(synthetic, tmp_path, *splits):
    rows = [row for row in rows_of(synthetic) if row["split"] in splits]
    text = "".join(f"{synthetic.parent / row['path']},{row['label']},{row['split']}\n" for row in rows)
    (tmp_path / "m.csv").write_text("path,label,split\n" + text)
    return tmp_path / "m.csv"


def test_data_without_validation_trains_and_the_best_is_the_latest(synthetic, tmp_path, monkeypatch, recwarn):
    monkeypatch.chdir(tmp_path)
    manifest = only(synthetic, tmp_path, "train", "test")
    options = [f"--data.manifest={manifest}", f"--data.root={synthetic.parent}"]
    assert main(["fit", *FIT, *options, "--trainer.max_epochs=2"]) == 0
    texts = [str(warning.message) for warning in recwarn if "validation" in str(warning.message)]
    assert len(texts) == 1
    assert texts[0].startswith("training without validation, so the best checkpoint is the latest")
    best = torch.load("runs/run/checkpoints/best.ckpt", weights_only=True)
    assert best["epoch"] == 1
    last = torch.load("runs/run/checkpoints/last.ckpt", weights_only=True)
    assert all(torch.equal(last["state_dict"][name], value) for name, value in best["state_dict"].items())


def test_a_manifest_of_training_videos_only(synthetic, tmp_path):
    data = VideoDataModule(str(only(synthetic, tmp_path, "train")), root=str(synthetic.parent), **SMALL)
    with pytest.warns(UserWarning, match=r"training without validation, .* splits there: train\."):
        data.setup("fit")
    assert data.val_dataloader() == []
    with pytest.raises(
        UsageError, match=r"no rows of split 'test'; splits there: train\..* 'gcvideo split' makes others"
    ):
        data.setup("test")


def test_a_validation_split_that_is_named_must_be_there(synthetic, tmp_path):
    manifest = only(synthetic, tmp_path, "train", "test")
    data = VideoDataModule(str(manifest), root=str(synthetic.parent), splits={"val": "valid"}, **SMALL)
    with pytest.raises(UsageError, match=r"no rows of split 'valid'; splits there: test, train. data.splits says"):
        data.setup("fit")
    data = VideoDataModule(str(manifest), root=str(synthetic.parent), **SMALL)
    with pytest.raises(UsageError, match="no rows of split 'val'"):
        data.setup("validate")


def test_without_splits_there_is_a_hint(tmp_path):
    (tmp_path / "set" / "run").mkdir(parents=True)
    (tmp_path / "set" / "run" / "a.mp4").touch()
    (tmp_path / "m.csv").write_text("path,label\nset/run/a.mp4,run\n")
    folder, manifest = tmp_path / "set", tmp_path / "m.csv"
    expected = (
        f"{folder}: no rows of split 'train': it is a folder class/file, without splits; to make them: gcvideo split"
    )
    with pytest.raises(NoRowsError, match=expected):
        read_manifest(folder, "train")
    expected = f"{manifest}: no rows of split 'train': it has no column 'split'; to make them: gcvideo split {manifest}"
    with pytest.raises(NoRowsError, match=expected):
        read_manifest(manifest, "train")
    # A list for each split needs none; neither does a folder for each.
    assert len(read_manifest({"train": folder}, "train")) == 1


@pytest.mark.parametrize("label", ("a\nb", "a\x07b", "a\x1b[31mb", "a\u2028b", "a\u202eb"))
def test_labels_have_no_control_characters(tmp_path, label):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "m.csv").write_text(f'path,label\na.mp4,x\na.mp4,"{label}"\n', newline="")
    with pytest.raises(
        ManifestError, match="line 3: expected a label without line ends and control characters, got"
    ) as e:
        read_class_names(tmp_path / "m.csv")
    assert label not in str(e.value)
