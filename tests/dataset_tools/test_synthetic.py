"""The relation of a synthetic video is in neither a frame nor a band, and no sum of scores of the bands tells it."""

import csv
import itertools
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch

from gcvideo.cli.main import main
from gcvideo.data.decode import open_video
from gcvideo.dataset_tools import scene
from gcvideo.dataset_tools.scene import (
    CLASS_NAMES,
    GAITS,
    LEFT,
    RELATIONS,
    RIGHT,
    band_gap,
    band_height,
    lower_direction,
    make_bands,
    make_video,
)
from gcvideo.dataset_tools.synthetic import write_dataset

PAIRS = tuple(itertools.product((LEFT, RIGHT), repeat=2))  # directions of the upper and the lower band


@pytest.mark.parametrize("upper", (LEFT, RIGHT))
@pytest.mark.parametrize("label", range(len(CLASS_NAMES)))
def test_the_label_is_what_the_name_says(label, upper):
    gait, relation = CLASS_NAMES[label].split("_")
    for seed in range(20):
        bands = make_bands(seed, label, upper, num_frames=24, size=64)
        velocities = [np.diff(band.shifts[:, 1]) for band in bands]
        for velocity in velocities:
            assert (np.abs(np.abs(velocity) - scene.SPEED[gait] * 64) < 1).all()  # shifts are whole pixels
            assert len(set(np.sign(velocity))) == 1
        assert np.sign(velocities[0][0]) == upper
        assert (np.sign(velocities[0][0]) == np.sign(velocities[1][0])) == (relation == "same")
        for band in bands:
            assert (np.ptp(band.shifts[:, 0]) > 2) == (gait == "hop")


@pytest.mark.parametrize("gait", GAITS)
def test_one_band_alone_does_not_reveal_the_relation(gait):
    """With one band left out, the videos of 'same' and of 'opposite' are the same videos."""
    same, opposite = (CLASS_NAMES.index(f"{gait}_{relation}") for relation in RELATIONS)
    for seed, upper in itertools.product(range(5), (LEFT, RIGHT)):
        only_upper = [make_video(seed, label, upper, 6, visible=(True, False)) for label in (same, opposite)]
        assert np.array_equal(*only_upper)
        # The lower band drifts in the same direction where the upper one is reversed.
        only_lower = [
            make_video(seed, same, upper, 6, visible=(False, True)),
            make_video(seed, opposite, -upper, 6, visible=(False, True)),
        ]
        assert np.array_equal(*only_lower)
        assert not np.array_equal(only_upper[0], only_lower[0])


@pytest.mark.slow
def test_a_single_frame_has_the_same_distribution_in_every_class():
    """At any instant a texture is where it could have started: its offset on the torus is uniform in every class.

    The start is uniform and the motion does not depend on it. So the positions at a later instant are uniform too,
    jointly for both bands. Checked by the Kolmogorov-Smirnov distance from the uniform distribution; 1.63 sqrt(1 / n)
    is exceeded by chance once in a hundred, and the draws are fixed.
    """
    n, instant = 400, 17
    for label, upper in itertools.product(range(len(CLASS_NAMES)), (LEFT, RIGHT)):
        bands = [make_bands((label, upper + 1, seed), label, upper, instant + 1) for seed in range(n)]
        x = np.array([[band.shifts[instant, 1] % 64 for band in pair] for pair in bands])  # [n, 2]
        for values in (x[:, 0], x[:, 1], (x[:, 0] - x[:, 1]) % 64):
            uniform = np.arange(1, 65) / 64
            cdf = np.searchsorted(np.sort(values), np.arange(64), side="right") / n
            assert np.abs(cdf - uniform).max() < 1.63 * np.sqrt(1 / n), (label, upper)


def test_the_first_frame_does_not_depend_on_label_or_direction():
    first = [make_video(7, label, upper, 1) for label in range(len(CLASS_NAMES)) for upper in (LEFT, RIGHT)]
    assert all(np.array_equal(first[0], frame) for frame in first)


@pytest.mark.parametrize("size", (32, 64, 96))
def test_the_bands_stay_apart_by_the_gap(size):
    for seed, label in itertools.product(range(5), range(len(CLASS_NAMES))):
        frames = make_video(seed, label, LEFT, 10, size)
        is_dark = (frames == scene.DARKNESS).all(axis=(0, 2, 3))  # [rows]
        first, last = np.flatnonzero(is_dark)[[0, -1]]
        assert (first, last + 1) == (band_height(size), size - band_height(size))
        assert is_dark[first : last + 1].all()
        assert last + 1 - first == band_gap(size)
    assert band_gap(64) == 22


def test_no_sum_of_scores_is_right_on_more_than_three_of_the_four_pairs_of_directions():
    """The bound of 3/4 for a network without blocks, by search over all it can do.

    It decides 'same' where score(upper) + score(lower) exceeds a threshold. Which of the pairs that makes 'same'
    depends only on the order of the four sums; scores on a grid of 9 values reach every order that real numbers can.
    """
    grid = range(-4, 5)
    decisions = set()
    for scores in itertools.product(grid, repeat=4):
        upper, lower = dict(zip((LEFT, RIGHT), scores[:2])), dict(zip((LEFT, RIGHT), scores[2:]))
        decisions.add(tuple(upper[u] + lower[d] > 0 for u, d in PAIRS))
    truth = [u == d for u, d in PAIRS]
    best = max(sum(given == true for given, true in zip(decision, truth)) for decision in decisions)
    assert best == 3
    assert len(decisions) == 14  # of 16: all but "same" and its opposite


def directions(manifest):
    """(split, label, directions) of all videos."""
    with manifest.open() as stream:
        return [(row["split"], row["label"], row["directions"]) for row in csv.DictReader(stream)]


@pytest.mark.parametrize("split", ("train", "val"))
def test_directions_are_balanced_in_every_class(split, tmp_path):
    rows = Counter(directions(write_dataset(tmp_path, {split: 24}, num_frames=1, size=32, workers=1)))
    for name in CLASS_NAMES:
        pairs = ("left-left", "right-right") if name.endswith("same") else ("left-right", "right-left")
        assert [rows[split, name, pair] for pair in pairs] == [2, 2]
    assert sum(rows.values()) == 24


def test_the_task_direction_has_gait_and_direction_as_its_class(tmp_path):
    rows = directions(write_dataset(tmp_path / "a", {"train": 12}, num_frames=1, size=32, workers=1, task="direction"))
    assert len({label for _, label, _ in rows}) == 6
    for _, label, both in rows:
        gait, direction = label.split("_")
        assert gait in GAITS
        assert both == f"{direction}-{direction}"
    # Not the videos of the other task.
    write_dataset(tmp_path / "b", {"train": 12}, num_frames=1, size=32, workers=1)
    contents = [{path.read_bytes() for path in (tmp_path / name).rglob("*.mp4")} for name in "ab"]
    assert not contents[0] & contents[1]


def test_the_column_directions_is_what_the_videos_show(tmp_path):
    manifest = write_dataset(tmp_path, {"train": 12, "test": 12}, num_frames=4, size=64, workers=1)
    height = band_height(64)
    for row in csv.DictReader(manifest.open()):
        frames = open_video(str(tmp_path / row["path"])).read(torch.arange(4)).double().numpy()
        seen = []
        for rows in (slice(0, height), slice(64 - height, 64)):
            # The shift to the right at which a frame is most like the next one.
            part = frames[:, rows] - frames[:, rows].mean()
            fits = {by: (np.roll(part[:-1], by, axis=2) * part[1:]).sum() for by in range(-8, 9)}
            seen.append("right" if max(fits, key=fits.get) > 0 else "left")
        assert "-".join(seen) == row["directions"], row["path"]
        relation = row["label"].split("_")[1]
        assert (seen[0] == seen[1]) == (relation == "same")
        upper = RIGHT if seen[0] == "right" else LEFT
        assert ("right" if lower_direction(CLASS_NAMES.index(row["label"]), upper) == RIGHT else "left") == seen[1]


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
        ({"task": "colour"}, "task must be one of .* got 'colour'"),
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
        "from gcvideo.dataset_tools.h264 import write_video\n"
        "write_video(pathlib.Path(sys.argv[1]), make_video((0, 5), 0, 1))\n"
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
    assert main(["synth", str(tmp_path / "d"), *arguments, "--task", "direction"]) == 0
    assert "walk_left" in (tmp_path / "d" / "manifest.csv").read_text()
    capsys.readouterr()
    assert main(["synth", str(tmp_path / "c"), *arguments, "--size", "33"]) == 2
    assert capsys.readouterr().err.startswith("error: size must be even")
    with pytest.raises(SystemExit):
        main(["synth", str(tmp_path / "c"), "--workers", "0"])
