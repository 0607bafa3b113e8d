"""Laws of settings, sampling, views, samplers and manifests, on cases that hypothesis draws."""

import csv
import io
import json
import math
from dataclasses import fields

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gcvideo.data.datamodule import Loading
from gcvideo.data.geometry import GEOMETRIES
from gcvideo.data.labels import class_names_of
from gcvideo.data.listing import ManifestError, Rows, read_rows
from gcvideo.data.manifest import read_manifest
from gcvideo.data.position import Position
from gcvideo.data.samplers import EvalSampler, TrainSampler
from gcvideo.data.sampling import Clip, mix_seed
from gcvideo.data.splits import split_warnings
from gcvideo.data.transforms import Augmentation, Views, fixed_views, random_resized_view, random_view
from gcvideo.training.execution import Pixels
from gcvideo.training.optim import Optimization
from gcvideo.training.schedule import Schedule
from gcvideo.yaml_keys import doubled_key

NUMBERS = {
    Clip: ("target_fps",),
    Augmentation: ("min_area",),
    Loading: ("timeout_s", "max_broken"),
    Pixels: ("mean", "std"),
    Optimization: ("momentum", "weight_decay", "label_smoothing"),
    Schedule: ("warmup_epochs", "warmup_start", "gamma"),
}


@given(st.sampled_from([(kind, name) for kind, names in NUMBERS.items() for name in names]), st.floats())
def test_no_settings_hold_a_number_that_is_not_finite(where, value):
    kind, name = where
    assert name in {field.name for field in fields(kind)}
    try:
        made = kind(**{name: value})
    except ValueError as error:
        message = str(error)
    else:
        message = name
        assert math.isfinite(getattr(made, name))
    assert name in message
    assert "\n" not in message


clips = st.builds(
    lambda frames, stride, fps, short, spacing: Clip(
        frames,
        stride,
        fps if spacing != "mmaction" else None,
        short,
        spacing if fps or spacing != "slowfast" else "stride",
    ),
    st.integers(1, 40),
    st.integers(1, 40),
    st.none() | st.floats(1, 120),
    st.sampled_from(("loop", "hold")),
    st.sampled_from(("stride", "slowfast", "mmaction")),
)


@given(clips, st.integers(1, 400), st.floats(1, 120), st.integers(1, 12), st.integers(0, 2**62))
def test_every_index_is_a_frame_of_the_video(clip, num_frames, fps, views, seed):
    made = clip.uniform(num_frames, fps, views)
    drawn = clip.random(num_frames, fps, torch.Generator().manual_seed(seed))
    assert made.shape == (views, clip.frames)
    assert drawn.shape == (1, clip.frames)
    for indices in (made, drawn):
        assert indices.dtype == torch.int64
        assert indices.min() >= 0
        assert indices.max() < num_frames
        if clip.short == "hold" or clip.spacing == "slowfast":
            assert (indices.diff(dim=1) >= 0).all()
    assert torch.equal(drawn, clip.random(num_frames, fps, torch.Generator().manual_seed(seed)))


@given(clips, st.integers(1, 400), st.floats(1, 120), st.integers(2, 12))
def test_clips_of_a_video_come_in_order_and_do_not_depend_on_each_other(clip, num_frames, fps, views):
    starts = clip.uniform(num_frames, fps, views)[:, 0]
    assert (starts.diff() >= 0).all()
    if clip.spacing == "stride":
        assert starts[0] == 0
        if num_frames >= 2:  # the last clip reaches the last frame, if one clip does not fill the video
            last = clip.uniform(num_frames, fps, views)[-1, -1]
            assert last == num_frames - 1 or starts[-1] == 0


@given(st.integers(1, 30), st.integers(1, 9), st.integers(1, 60))
def test_a_video_that_is_too_short_loops_or_holds(frames, stride, num_frames):
    assume((frames - 1) * stride >= num_frames)
    steps = torch.arange(frames) * stride
    loop, hold = (Clip(frames, stride, short=short).uniform(num_frames, 30, 1)[0] for short in ("loop", "hold"))
    assert torch.equal(loop, steps % num_frames)
    assert torch.equal(hold, steps.clamp(max=num_frames - 1))


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=4), st.lists(st.integers(0, 2**40), min_size=1, max_size=4))
def test_seeds_of_different_numbers_differ(first, second):
    assert 0 <= mix_seed(*first) < 2**63
    assert (mix_seed(*first) == mix_seed(*second)) == (first == second)


@given(st.sampled_from(tuple(GEOMETRIES)), st.integers(0, 4096))
def test_squares_lie_in_the_frame_and_in_order(geometry, room):
    first, centre, last = GEOMETRIES[geometry].offsets(room)
    assert 0 == first <= centre <= last <= room
    assert abs((centre - first) - (last - centre)) <= 1
    assert room - last <= 1


@settings(max_examples=50)
@given(
    st.sampled_from(tuple(GEOMETRIES)), st.integers(4, 40), st.integers(4, 40), st.integers(2, 24), st.integers(0, 9),
    st.sampled_from((1, 3)),
)  # fmt: skip
def test_fixed_views_are_squares_of_the_frames(geometry, height, width, size, more, spatial):
    frames = torch.full((2, 3, height, width), 7, dtype=torch.uint8)  # torch 2.15 can't resize them to 1 x 1
    squares = fixed_views(frames, size, size + more, spatial, geometry)
    assert len(squares) == spatial
    for square in squares:
        assert square.shape == (2, 3, size, size)
        assert (square == 7).all()


@settings(max_examples=50)
@given(
    st.integers(4, 40), st.integers(4, 40), st.integers(2, 24), st.integers(0, 9), st.integers(0, 9),
    st.floats(0.01, 1), st.integers(0, 2**62),
)  # fmt: skip
def test_random_views_are_squares_of_the_frames(height, width, size, more, jitter, min_area, seed):
    frames = torch.full((2, 3, height, width), 7, dtype=torch.uint8)
    short_side = (size + more, size + more + jitter)
    for take in (
        lambda generator: random_view(frames, size, short_side, True, generator),
        lambda generator: random_resized_view(frames, size, min_area, True, generator),
        lambda generator: Augmentation(size, short_side, geometry="slowfast").view(frames, generator),
    ):
        view = take(torch.Generator().manual_seed(seed))
        assert view.shape == (2, 3, size, size)
        assert (view == 7).all()


@settings(max_examples=50)
@given(st.integers(1, 20), st.integers(0, 3), st.integers(0, 40), st.integers(0, 40))
def test_views_are_filled_in_from_the_training_views(size, more, own_size, own_side):
    augment = Augmentation(size, (size + more, size + more))
    expected = (own_size or size, own_side or size + more)
    if expected[0] > expected[1]:
        with pytest.raises(ValueError, match="views.size <= views.short_side"):
            Views(size=own_size or None, short_side=own_side or None).resolved(augment)
    else:
        views = Views(size=own_size or None, short_side=own_side or None).resolved(augment)
        assert (views.size, views.short_side) == expected


@given(st.integers(1, 200), st.integers(1, 7), st.integers(0, 2**40), st.integers(0, 5))
def test_every_rank_trains_on_its_own_videos(num_videos, world_size, seed, epoch):
    assume(num_videos >= world_size)
    ranks = [list(TrainSampler(num_videos, seed, rank, world_size, Position(epoch))) for rank in range(world_size)]
    assert {len(rank) for rank in ranks} == {num_videos // world_size}
    items = [item for rank in ranks for item in rank]
    assert len(set(items)) == len(items)
    assert {drawn for drawn, _ in items} == {epoch}
    assert {index for _, index in items} <= set(range(num_videos))


@given(st.integers(0, 200), st.integers(1, 9))
def test_every_video_is_evaluated_once(num_videos, world_size):
    # None stands for the batch of a rank that has no video.
    ranks = [[i for i in EvalSampler(num_videos, rank, world_size) if i is not None] for rank in range(world_size)]
    assert sorted(index for rank in ranks for index in rank) == list(range(num_videos))
    assert max(map(len, ranks)) - min(map(len, ranks)) <= 1


# Anything that a CSV file in UTF-8 can hold; NUL ends Python's csv reader.
words = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), min_size=1, max_size=12)


@given(st.lists(st.tuples(words, words, st.sampled_from(("train", "val"))), min_size=1, max_size=8))
def test_a_csv_manifest_is_read_as_it_was_written(tmp_path, rows):
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([("path", "label", "split"), *rows])
    path = tmp_path / "manifest.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    read = read_rows(path)
    assert list(zip(read.paths, read.labels, read.splits)) == rows
    names = class_names_of(read.labels)
    assert set(read.labels) <= set(names) or all(label.isdecimal() for label in read.labels)


@given(st.lists(st.tuples(st.text("ab/ .é", min_size=1, max_size=9), st.integers(0, 400)), min_size=1, max_size=8))
def test_a_list_is_read_as_it_was_written(tmp_path, rows):
    rows = [(path.strip() or "a", label) for path, label in rows]
    path = tmp_path / "train.txt"
    path.write_text("".join(f"{name} {label}\n" for name, label in rows), encoding="utf-8")
    read = read_rows(path)
    assert [(name, int(label)) for name, label in zip(read.paths, read.labels)] == rows


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    """Folder with six empty files, and their manifest as bytes."""
    folder = tmp_path_factory.mktemp("listed")
    names = ["a.mp4", "b c.mp4", "ä.mp4", "d,e.mp4", "f.mp4", "g.mp4"]
    for name in names:
        (folder / name).touch()
    text = io.StringIO(newline="")
    rows = [(name, "xy"[index % 2], "train") for index, name in enumerate(names)]
    csv.writer(text, lineterminator="\n").writerows([("path", "label", "split"), *rows])
    return folder, text.getvalue().encode()


@given(st.data())
def test_a_mutated_manifest_is_read_or_refused(listed, data):
    """Whatever bytes change: rows that are there, or an error of at most five lines."""
    folder, content = listed
    mutated = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        what = data.draw(st.sampled_from(("set", "delete", "insert", "double")))
        byte = data.draw(st.sampled_from(b'",\n\r\x00\xff ./x\t;'))
        if what == "set":
            mutated[at] = byte
        elif what == "delete":
            del mutated[at : at + data.draw(st.integers(1, 20))]
        elif what == "insert":
            mutated.insert(at, byte)
        else:
            mutated[at:at] = mutated[at : at + 30]
    (folder / "m.csv").write_bytes(mutated)
    try:
        videos = read_manifest(folder / "m.csv")
    except ManifestError as error:
        message = str(error)
    else:
        message = ""
        assert all((folder / video.name).is_file() for video in videos)
        assert len({video.name for video in videos}) == len(videos)
    assert len(message.splitlines()) <= 5


rows_of_splits = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from("xyz"), st.sampled_from(("train", "val", "test"))), max_size=12
)


@given(rows_of_splits)
def test_splits_are_warned_of_if_they_share_files_or_lack_labels(rows):
    paths, labels, splits = ([row[column] for row in rows] for column in range(3))
    found = list(split_warnings(Rows(range(2, len(rows) + 2), paths, labels, splits), "train", ("val", "test")))
    of = {split: [row for row in rows if row[2] == split] for split in ("train", "val", "test")}
    shared = sum(
        bool({row[0] for row in of[first]} & {row[0] for row in of[second]})
        for first, second in (("train", "val"), ("train", "test"), ("val", "test"))
    )
    unseen = sum(
        bool(of["train"]) and bool({row[1] for row in of[split]} - {row[1] for row in of["train"]})
        for split in ("val", "test")
    )
    assert len([text for text in found if "in both split" in text]) == shared
    assert len([text for text in found if "never occur" in text]) == unseen
    assert len(found) == shared + unseen


trees = st.recursive(
    st.integers() | st.text("ab:-# ", max_size=5) | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), trees, min_size=1, max_size=4), st.data())
def test_only_a_doubled_key_is_one(tree, data):
    """JSON is YAML, and its dictionaries have no doubled keys."""
    text = json.dumps(tree, indent=1)
    assert doubled_key(text) is None
    key = data.draw(st.sampled_from(sorted(tree)))
    found = doubled_key(text[: text.rindex("}")].rstrip() + f',\n "{key}": 0\n}}')
    assert found is not None
    assert found.key == key
    assert found.first_line < found.line
