"""Scenes of static cameras are found across splits, on real clips and by exact arithmetic."""

import numpy as np
import pytest

from gcvideo.dataset_tools.examine import BACKGROUND_SIDE, background_of, examine
from gcvideo.dataset_tools.scenes import CORRELATION, gradients, shared_scenes


def scene(seed):
    """A random room [128, 160, 3]: blocks of grey."""
    blocks = np.random.default_rng(seed).integers(0, 256, (16, 20), np.uint8)
    return np.repeat(np.kron(blocks, np.ones((8, 8), np.uint8))[..., None], 3, axis=-1)


def filmed(room, person, brightness=1.0):
    """Three frames of a room in which a white square is elsewhere each time."""
    frames = np.stack([room * brightness] * 3).astype(np.uint8)
    for number, frame in enumerate(frames):
        frame[40:100, 10 + 45 * number : 40 + 45 * number] = person
    return frames


def test_the_background_is_what_stays():
    room = scene(0)
    still = np.frombuffer(background_of(filmed(room, 255)), np.uint8).reshape(BACKGROUND_SIDE, BACKGROUND_SIDE)
    alone = np.frombuffer(background_of(np.stack([room] * 3)), np.uint8).reshape(BACKGROUND_SIDE, BACKGROUND_SIDE)
    assert np.array_equal(still, alone)
    assert background_of(np.full((3, 64, 64, 3), 90, np.uint8)) == b""
    assert background_of(np.zeros((3, 8, 64, 3), np.uint8)) == b""


def test_correlations_do_not_depend_on_light_and_contrast():
    room = np.random.default_rng(1).integers(0, 100, (1, 16, 16)).astype(np.uint8)
    vectors = gradients([room.tobytes(), (room + 40).tobytes(), (room * 2).tobytes(), (200 - room).tobytes()])
    assert np.allclose(vectors @ vectors[0], [1, 1, 1, -1], atol=1e-5)


def test_scenes_of_other_splits_are_found():
    """The smaller split is reported, with the most similar video of the larger ones."""
    rooms = [background_of(filmed(scene(seed), person)) for seed in range(6) for person in (0, 255)]
    splits = ["train", "test", "train", "train", "train", "val", "test", "train", "val", "test", "train", "train"]
    found = list(shared_scenes(splits, rooms))
    # Rooms are pairs of rows; 9 is in test, which has as many videos as val or more, so its pair 8 is reported.
    assert {(shared.index, shared.other) for shared in found} == {(1, 0), (5, 4), (6, 7), (8, 9)}
    assert all(shared.correlation > CORRELATION for shared in found)


def test_flat_videos_and_sets_without_splits_share_nothing():
    room = background_of(filmed(scene(0), 0))
    assert list(shared_scenes(["train", "test"], [b"", b""])) == []
    assert list(shared_scenes(["train", "test"], [room, b""])) == []
    assert list(shared_scenes(["", ""], [room, room])) == []
    assert list(shared_scenes([], [])) == []


def test_blocks_make_no_difference(monkeypatch):
    rooms = [background_of(filmed(scene(seed % 40), seed)) for seed in range(80)]
    splits = ["train" if seed < 47 else "test" for seed in range(80)]
    whole = list(shared_scenes(splits, rooms))
    assert len(whole) == 33
    monkeypatch.setattr("gcvideo.dataset_tools.scenes._BLOCK", 7)
    assert [(s.index, s.other) for s in shared_scenes(splits, rooms)] == [(s.index, s.other) for s in whole]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    (
        ("Archery/v_Archery_g09_c01", "Archery/v_Archery_g09_c02", True),
        ("PlayingPiano/v_PlayingPiano_g07_c01", "PlayingPiano/v_PlayingPiano_g07_c02", True),
        ("Archery/v_Archery_g09_c01", "Archery/v_Archery_g07_c01", False),
        ("PlayingPiano/v_PlayingPiano_g07_c01", "PlayingPiano/v_PlayingPiano_g04_c01", False),
    ),
)
def test_real_clips(real_videos, first, second, same):
    facts = [examine(str(next((real_videos / "ucf6").glob(f"{name}.*"))), False) for name in (first, second)]
    assert bool(list(shared_scenes(["train", "test"], [fact.background for fact in facts]))) == same
