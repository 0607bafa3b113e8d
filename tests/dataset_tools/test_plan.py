"""Rows of every layout are matched to their files, and nothing leads out of the folders."""

import pytest

from gcvideo.dataset_tools.plan import Job, make_plan
from gcvideo.errors import UsageError


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


HEADER = "label,youtube_id,time_start,time_end,split"


def test_kinetics(tmp_path):
    raw = tmp_path / "raw"
    touch(
        raw,
        "train/part_0/-abc_efghi__000010_000020.mp4",  # an id that begins with '-' and contains '_'
        "val/abcdefghijk_1_11.webm",  # not padded
        "val/deep/home/12345678901.mkv",  # a whole video, or a clip named by its id
        "train/._-abc_efghi__000010_000020.mp4",
        "train/unknown_id1_000000_000010.mp4",
        "train/not a clip.mp4",
        "corrupted/ABCDEFGHIJK_000003_000013.mp4",
        "replacement_for_corrupted_k400/ABCDEFGHIJK_000003_000013.mp4",
        "notes.txt",
    )
    train = write(
        tmp_path / "train.csv",
        f'{HEADER},is_cc\n"air drumming",-abc_efghi_,10,20,train,0\nair drumming,ABCDEFGHIJK,3,13,train,1\n'
        "yoga,gone_000000,5,15,train,0\n",
    )
    val = write(
        tmp_path / "val.csv",
        "\ufeff"
        + HEADER
        + "\nyoga,abcdefghijk,1,11,validate\nmassaging person's head,12345678901,100.0,110.0,validate\n",
    )
    test = write(tmp_path / "test.csv", "youtube_id,time_start,time_end,split\n--6bJUbfpnQ,17,27,test\n")
    plan = make_plan(raw, [train, val, test])
    assert plan.jobs == [
        Job(
            "train/part_0/-abc_efghi__000010_000020.mp4",
            "train/air drumming/-abc_efghi__000010_000020.mp4", "air drumming", "train",
        ),
        Job(
            "replacement_for_corrupted_k400/ABCDEFGHIJK_000003_000013.mp4",
            "train/air drumming/ABCDEFGHIJK_000003_000013.mp4", "air drumming", "train",
        ),
        Job(
            "val/deep/home/12345678901.mkv", "val/massaging person's head/12345678901_000100_000110.mp4",
            "massaging person's head", "val", (100.0, 110.0),
        ),
        Job("val/abcdefghijk_1_11.webm", "val/yoga/abcdefghijk_000001_000011.mp4", "yoga", "val"),
    ]  # fmt: skip
    assert plan.missing == [("train/yoga/gone_000000_000005_000015.mp4", "yoga", "train")]
    assert (plan.unlabelled, plan.unlisted) == (1, 3)
    assert plan.class_names == ["air drumming", "massaging person's head", "yoga"]
    assert plan.listed() == {
        ("train", "air drumming"): 2, ("train", "yoga"): 1, ("val", "yoga"): 1, ("val", "massaging person's head"): 1
    }  # fmt: skip


def test_official_kinetics_annotations(real_videos, tmp_path):
    labels = real_videos.parent / "labels"
    touch(tmp_path / "raw", "0wR5jVB-WPk_000417_000427.mp4", "yq_M1PMw2hY_000038_000048.mp4")
    plan = make_plan(tmp_path / "raw", [labels / "kinetics-400_val.csv"])
    assert len(plan.jobs) + len(plan.missing) == 19906
    job = Job("0wR5jVB-WPk_000417_000427.mp4", "val/abseiling/0wR5jVB-WPk_000417_000427.mp4", "abseiling", "val")
    assert plan.jobs[0] == job
    assert len(plan.jobs) == 2
    assert plan.class_names == (labels / "label_map_k400.txt").read_text().splitlines()
    plan = make_plan(tmp_path / "raw", [labels / "kinetics-600_val.csv"])
    assert len(plan.jobs) + len(plan.missing) == 30000
    assert plan.class_names == sorted((labels / "label_map_k600.txt").read_text().splitlines())


def test_ucf101_in_both_spellings(tmp_path):
    touch(tmp_path / "raw", "UCF-101/HandstandPushups/v_HandStandPushups_g01_c01.avi", "UCF-101/Yo/v_Yo_g08_c01.avi")
    lists = tmp_path / "ucfTrainTestlist"
    write(lists / "classInd.txt", "1 HandstandPushups\r\n2 Yo\r\n")
    for number in (1, 2):
        write(lists / f"trainlist0{number}.txt", "Yo/v_Yo_g08_c01.avi 2\r\n")
        write(
            lists / f"testlist0{number}.txt", "HandStandPushups/v_HandStandPushups_g01_c01.avi\nYo/v_Yo_g09_c01.avi\n"
        )
    plan = make_plan(tmp_path / "raw", [lists], split_number=2)
    assert [(job.source, job.target, job.split) for job in plan.jobs] == [
        (
            "UCF-101/HandstandPushups/v_HandStandPushups_g01_c01.avi",
            "HandStandPushups/v_HandStandPushups_g01_c01.mp4", "test",
        ),
        ("UCF-101/Yo/v_Yo_g08_c01.avi", "Yo/v_Yo_g08_c01.mp4", "train"),
    ]  # fmt: skip
    assert plan.missing == [("Yo/v_Yo_g09_c01.mp4", "Yo", "test")]
    with pytest.raises(UsageError, match=r"found neither trainlist03.txt"):
        make_plan(tmp_path / "raw", [lists], split_number=3)


def test_hmdb51(tmp_path):
    touch(tmp_path / "raw", "cartwheel/(Rad)a!_cartwheel_f_cm_np1.avi", "cartwheel/b.avi", "cartwheel/c.avi")
    lists = tmp_path / "splits"
    write(lists / "cartwheel_test_split1.txt", "(Rad)a!_cartwheel_f_cm_np1.avi 1 \nb.avi 2 \nc.avi 0 \n")
    plan = make_plan(tmp_path / "raw", [lists])
    assert [(job.target, job.label, job.split) for job in plan.jobs] == [
        ("cartwheel/(Rad)a!_cartwheel_f_cm_np1.mp4", "cartwheel", "train"),
        ("cartwheel/b.mp4", "cartwheel", "test"),
    ]
    write(lists / "dive_test_split1.txt", "x.avi 7\n")
    with pytest.raises(UsageError, match="tag 0, 1 or 2, got 'x.avi 7'"):
        make_plan(tmp_path / "raw", [lists])


@pytest.mark.parametrize("splits", (False, True))
def test_folders(tmp_path, splits):
    prefix = "train/" if splits else ""
    touch(
        tmp_path, f"{prefix}a b/x.avi", f"{prefix}c/y.mp4", f"{prefix}c/y.webm", f"{prefix}c/deep/deeper/z.mp4", "s.mp4"
    )
    plan = make_plan(tmp_path)
    assert [(job.source, job.target, job.label, job.split) for job in plan.jobs] == [
        (f"{prefix}a b/x.avi", f"{prefix}a b/x.mp4", "a b", prefix[:-1]),
        (f"{prefix}c/y.mp4", f"{prefix}c/y.mp4", "c", prefix[:-1]),
    ]
    rejected = dict(plan.rejected)
    assert "would be written to" in rejected[f"{prefix}c/y.webm"]
    assert "not in" in rejected["s.mp4"]


def test_a_manifest_gives_the_splits(tmp_path):
    touch(tmp_path / "raw", "a/1.avi", "b/2.mp4")
    manifest = write(tmp_path / "m.csv", "path,label,split,fps\na/1.avi,A,train,1\nb/2.mp4,B,val,1\nb/3.mp4,B,val,1\n")
    plan = make_plan(tmp_path / "raw", [manifest])
    assert [(job.target, job.label, job.split) for job in plan.jobs] == [
        ("a/1.mp4", "A", "train"),
        ("b/2.mp4", "B", "val"),
    ]
    assert len(plan.missing) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    (
        ("a,b\n1,2\n", "expected the columns youtube_id, .* got 'a,b'"),
        (f"{HEADER}\nx,short,1,2,val\n", "line 2 can't be read .*'short' is not a YouTube id"),
        (f"{HEADER}\nx,../../../ab,1,2,val\n", "not a YouTube id"),
        (f"{HEADER}\nx,abcdefghijk,inf,2,val\n", "line 2 can't be read"),
        (f"{HEADER}\n{'x' * 200_000},abcdefghijk,1,2,val\n", "can't be read .*field larger than"),
        (f"{HEADER}\nx,abcdefghijk,one,2,val\n", "line 2 can't be read .*could not convert"),
        (f"{HEADER}\n../up,abcdefghijk,1,2,val\n", "a label can't begin with a dot"),
        (f"{HEADER}\nx,abcdefghijk,1,2,..\n", "can't begin with a dot"),
        ("path,label\n../../a.mp4,x\n", "leads out of the raw folder"),
        ("path,label\n/etc/a.mp4,x\n", "leads out of the raw folder"),
        (
            f"{HEADER}\nx,abcdefghijk,1,2,val\n",
            "none of 1 rows of the annotations has a file here \\(1 video files found",
        ),
    ),
)
def test_annotations_that_do_not_match(tmp_path, text, message):
    touch(tmp_path / "raw", "c/clip.mp4")
    with pytest.raises(UsageError, match=message):
        make_plan(tmp_path / "raw", [write(tmp_path / "a.csv", text)])


def test_labels_can_not_make_folders(tmp_path):
    touch(tmp_path / "raw", "abcdefghijk.mp4")
    text = f"{HEADER}\nplaying a/b,abcdefghijk,1,2,val\n"
    plan = make_plan(tmp_path / "raw", [write(tmp_path / "a.csv", text)])
    assert plan.jobs[0].target == "val/playing a_b/abcdefghijk_000001_000002.mp4"
    assert plan.jobs[0].label == "playing a/b"


def test_links_out_of_the_raw_folder_are_rejected(tmp_path):
    touch(tmp_path, "secret.mp4", "raw/c/good.mp4")
    (tmp_path / "raw" / "c" / "bad.mp4").symlink_to(tmp_path / "secret.mp4")
    (tmp_path / "raw" / "c" / "inner.mp4").symlink_to(tmp_path / "raw" / "c" / "good.mp4")
    plan = make_plan(tmp_path / "raw")
    assert [job.source for job in plan.jobs] == ["c/good.mp4", "c/inner.mp4"]
    assert plan.rejected == [("c/bad.mp4", "a link that leads out of the raw folder")]


def test_names_that_no_manifest_can_hold_are_rejected(tmp_path):
    touch(tmp_path, "raw/c/good.mp4", "raw/c/caf\udce9.mp4", "raw/c/a\nb.mp4", "raw/c/a\u2028b.mp4")
    plan = make_plan(tmp_path / "raw")
    assert [job.source for job in plan.jobs] == ["c/good.mp4"]
    assert len(plan.rejected) == 3
    assert all(source.isascii() for source, _ in plan.rejected)


def test_one_stray_file_does_not_overturn_a_folder_by_class(tmp_path):
    touch(tmp_path, "a/1.mp4", "b/2.mp4", "b/deep/3.mp4")
    plan = make_plan(tmp_path)
    assert [(job.source, job.label) for job in plan.jobs] == [("a/1.mp4", "a"), ("b/2.mp4", "b")]
    assert plan.rejected == [("b/deep/3.mp4", "not in class/")]


def test_a_duplicate_row_counts_once(tmp_path):
    touch(tmp_path / "raw", "abcdefghijk.mp4")
    row = "x,abcdefghijk,1,2,val\n"
    plan = make_plan(tmp_path / "raw", [write(tmp_path / "a.csv", f"{HEADER}\n{row}{row}")])
    assert (len(plan.jobs), plan.rejected) == (1, [])


def test_nothing_there(tmp_path):
    with pytest.raises(UsageError, match="no such folder of raw videos"):
        make_plan(tmp_path / "none")
    with pytest.raises(UsageError, match="no such annotations"):
        make_plan(tmp_path, [tmp_path / "none.csv"])
