"""The label of a synthetic video is a relation: no single frame and no single object reveals it."""

import csv
import os
import subprocess
import sys

import numpy as np
import pytest

from gcvideo.cli.main import main
from gcvideo.data.decode import open_video
from gcvideo.dataset_tools import scene
from gcvideo.dataset_tools.scene import CLASS_NAMES, GAITS, RELATIONS, make_actors, make_video, object_gap
from gcvideo.dataset_tools.synthetic import write_dataset


def centres(label, seed=0, num_frames=24, size=64):
    """Positions [2, T, 2] of both objects."""
    return np.stack([actor.positions for actor in make_actors(seed, label, num_frames, size)])


def test_at_least_six_classes():
    assert len(CLASS_NAMES) == len(set(CLASS_NAMES)) >= 6


@pytest.mark.parametrize("label", range(len(CLASS_NAMES)))
def test_the_label_is_what_the_name_says(label):
    gait, relation = CLASS_NAMES[label].split("_")
    for seed in range(20):
        upper, lower = centres(label, seed)
        velocity = [np.diff(track[:, 0]) for track in (upper, lower)]
        for v in velocity:
            np.testing.assert_allclose(np.abs(v), scene.SPEED[gait] * 64)
            assert len(set(np.sign(v))) == 1
        same = np.sign(velocity[0][0]) == np.sign(velocity[1][0])
        assert same == (relation == "same")
        for track in (upper, lower):
            assert (np.ptp(track[:, 1]) > 2) == (gait == "hop")


@pytest.mark.parametrize("gait", GAITS)
@pytest.mark.parametrize("hidden", (0, 1))
def test_one_object_alone_does_not_reveal_the_relation(gait, hidden):
    """With one object left out, the videos of 'same' and 'opposite' are the same set of videos.

    The upper object is equal for equal seeds. For the lower, the draw of the upper's way decides which seed pairs up:
    over both ways, each video of 'same' has its equal in 'opposite'.
    """
    visible = (hidden != 0, hidden != 1)
    same, opposite = (CLASS_NAMES.index(f"{gait}_{relation}") for relation in RELATIONS)
    for seed in range(10):
        a, b = (make_video(seed, label, 6, 64, visible) for label in (same, opposite))
        actors, others = (make_actors(seed, label, 6, 64) for label in (same, opposite))
        if hidden == 1:
            assert np.array_equal(a, b)
        else:  # the other direction with everything else equal: as likely, because the direction is a fair coin
            assert actors[1].colours.tolist() == others[1].colours.tolist()
            np.testing.assert_allclose(actors[1].positions[0], others[1].positions[0])
            np.testing.assert_allclose(np.diff(actors[1].positions[:, 0]), -np.diff(others[1].positions[:, 0]))


def test_both_directions_of_each_object_are_equally_likely_in_every_class():
    for label in range(len(CLASS_NAMES)):
        ways = np.array([np.sign(np.diff(centres(label, seed, 2)[:, :, 0], axis=1))[:, 0] for seed in range(600)])
        assert (np.abs(ways.mean(axis=0)) < 0.12).all()  # 3 standard deviations


def test_a_single_frame_has_the_same_distribution_in_every_class():
    """Kolmogorov-Smirnov distance of the positions at one instant, class against class.

    The first frame is equal for equal seeds; for a later one the marginals (x of each object, their difference, y)
    must agree. 1.95 sqrt(2 / n) is exceeded by chance once in a thousand.
    """
    n, instant = 600, 17
    bound = 1.95 * np.sqrt(2 / n)
    features = {}
    for label in range(len(CLASS_NAMES)):
        at = np.stack([centres(label, 1000 * label + seed, instant + 1)[:, instant] for seed in range(n)])  # [n, 2, 2]
        features[label] = {
            "upper x": at[:, 0, 0] % 64,
            "lower x": at[:, 1, 0] % 64,
            "difference": (at[:, 1, 0] - at[:, 0, 0]) % 64,
            "upper y": at[:, 0, 1],
            "lower y": at[:, 1, 1],
        }
    for name in features[0]:
        for label in range(1, len(CLASS_NAMES)):
            assert ks_distance(features[0][name], features[label][name]) < bound, (name, label)


def ks_distance(a, b):
    both = np.sort(np.concatenate([a, b]))
    cdf = [np.searchsorted(np.sort(values), both, side="right") / len(values) for values in (a, b)]
    return np.abs(cdf[0] - cdf[1]).max()


def test_the_first_frame_and_the_appearance_do_not_depend_on_the_label():
    first = [make_video(7, label, 1) for label in range(len(CLASS_NAMES))]
    assert all(np.array_equal(first[0], frame) for frame in first)


def test_objects_stay_apart_by_the_gap_and_inside_the_picture():
    size = 64
    least = np.inf
    for seed in range(200):
        upper, lower = make_actors(seed, CLASS_NAMES.index("hop_same"), 24, size)
        edge = lower.positions[:, 1] - lower.radius - (upper.positions[:, 1] + upper.radius)
        least = min(least, edge.min())
        assert upper.positions[:, 1].min() - upper.radius > -1
        assert lower.positions[:, 1].max() + lower.radius < size
    assert object_gap(size) <= least < object_gap(size) + 6


def test_near_objects_are_close_and_otherwise_the_same():
    for seed in range(20):
        near, far = (make_actors(seed, 0, near=near) for near in (True, False))
        for a, b in zip(near, far):
            assert np.array_equal(a.positions[:, 0], b.positions[:, 0])
            assert a.colours.tolist() == b.colours.tolist()
        edge = near[1].positions[:, 1] - near[1].radius - (near[0].positions[:, 1] + near[0].radius)
        assert edge.min() > -1
        assert edge.max() < 21  # within one receptive field


def test_objects_are_painted_where_they_are():
    frames, actors = make_video(3, 0, 4), make_actors(3, 0, 4)
    background = make_video(3, 0, 4, visible=(False, False))
    changed = np.abs(frames.astype(int) - background).max(axis=-1) > 40
    for t in range(4):
        for actor in actors:
            x, y = actor.positions[t]
            assert changed[t, round(y), round(x) % 64]
    assert 0.03 < changed.mean() < 0.25


def test_data_set_is_deterministic_balanced_and_readable(tmp_path):
    counts = {"train": 12, "val": 6}
    folders = [tmp_path / name for name in ("a b", "c", "d")]
    for folder, seed, workers in zip(folders, (0, 0, 1), (2, 1, 1)):
        assert (
            write_dataset(folder, counts, num_frames=5, size=32, seed=seed, workers=workers) == folder / "manifest.csv"
        )
    with (folders[0] / "manifest.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["split"] for row in rows].count("train") == 12
    assert all(sum(row["label"] == name for row in rows) == 3 for name in CLASS_NAMES)
    near = [(row["split"], row["label"]) for row in rows if row["distance"] == "near"]
    assert sorted(near) == sorted(("train", name) for name in CLASS_NAMES)
    for row in rows:
        data = [(folder / row["path"]).read_bytes() for folder in folders]
        assert data[0] == data[1] != data[2]
        reader = open_video(str(folders[0] / row["path"]))
        assert reader.num_frames == 5
    assert not [path for folder in folders for path in folder.rglob("*.part")]


def test_videos_are_h264(tmp_path):
    import av

    write_dataset(tmp_path, {"train": 1}, num_frames=3, workers=1)
    with av.open(str(next(tmp_path.rglob("*.mp4")))) as container:
        assert container.streams.video[0].codec_context.name == "h264"


@pytest.mark.parametrize(
    ("arguments", "message"),
    (
        ({"size": 33}, "size must be even, at least 32 .* got 33"),
        ({"size": 72}, "which decord can't read"),
        ({"num_frames": 0}, "num_frames must be at least 1, got 0"),
        ({"counts": {}}, "every split needs at least 1 video"),
        ({"counts": {"train": 0}}, "every split needs at least 1 video"),
    ),
)
def test_bad_arguments(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        write_dataset(tmp_path, **({"counts": {"train": 1}} | arguments))


def test_equal_frames_give_equal_bytes(tmp_path):
    """Whatever the memory held before, which glibc fills with a byte of our choice."""
    code = (
        "import sys, pathlib\n"
        "from gcvideo.dataset_tools.scene import make_video\n"
        "from gcvideo.dataset_tools.synthetic import write_video\n"
        "write_video(pathlib.Path(sys.argv[1]), make_video((0, 5), 0))\n"
    )
    written = set()
    for byte in ("0", "85", "170"):
        environment = os.environ | {"MALLOC_PERTURB_": byte}
        subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.mp4")], env=environment, check=True)
        written.add((tmp_path / "a.mp4").read_bytes())
    assert len(written) == 1


def test_command(tmp_path, capsys):
    arguments = ["--train", "3", "--val", "2", "--test", "1", "--frames", "4", "--size", "32", "--workers", "1"]
    assert main(["synth", str(tmp_path / "a"), *arguments, "--seed", "5"]) == 0
    assert f"6 videos; manifest: {tmp_path / 'a' / 'manifest.csv'}" in capsys.readouterr().out
    write_dataset(tmp_path / "b", {"train": 3, "val": 2, "test": 1}, num_frames=4, size=32, seed=5, workers=1)
    for path in (tmp_path / "b").rglob("*.*"):
        assert (tmp_path / "a" / path.relative_to(tmp_path / "b")).read_bytes() == path.read_bytes()
    assert main(["synth", str(tmp_path / "c"), *arguments, "--size", "33"]) == 2
    assert capsys.readouterr().err.startswith("error: size must be even")
    with pytest.raises(SystemExit):
        main(["synth", str(tmp_path / "c"), "--workers", "0"])
