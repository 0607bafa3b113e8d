"""Items are pure functions of (seed, epoch, index); broken videos are counted, named and bounded."""

import subprocess
import sys

import pytest
import torch
from torch.utils.data import DataLoader

from gcvideo.data.batch import collate
from gcvideo.data.dataset import BrokenVideoError, EvalDataset, TrainDataset
from gcvideo.data.decode import open_video
from gcvideo.data.sampling import Clip
from gcvideo.data.transforms import Augmentation, Views
from gcvideo.data.videos import Videos
from tests.conftest import read_numbers
from tests.data.corpus import CLIPS

CLIP = Clip(frames=4, stride=2)


def train_set(files, seed=0, max_broken=0.5, flip=False):
    return TrainDataset(
        Videos("", files, range(len(files))), CLIP, Augmentation(64, (64, 64), flip=flip), seed, max_broken, "pyav"
    )


def eval_set(files, temporal_views=3, spatial_views=3, skip_broken=False):
    return EvalDataset(
        Videos("", files, range(len(files))), CLIP, Views(temporal_views, spatial_views, 64, 64), skip_broken, "pyav"
    )


@pytest.fixture
def files(numbered_clip):
    return [numbered_clip(40, f"{name} x.mp4", width=64) for name in "abc"]


@pytest.fixture
def bad(tmp_path):
    path = tmp_path / "bad.mp4"
    path.touch()
    return str(path)


def shown(view):
    """Frame numbers that a view [3, T, S, S] shows."""
    return read_numbers(view.permute(1, 2, 3, 0))


def test_training_item(files):
    frames, label, index = train_set(files)[(0, 1)]
    assert frames.shape == (1, 3, 4, 64, 64)
    assert frames.dtype == torch.uint8
    assert frames.is_contiguous(memory_format=torch.channels_last_3d)
    assert (label, index) == (1, 1)
    numbers = shown(frames[0])
    assert [b - a for a, b in zip(numbers, numbers[1:])] == [2, 2, 2]


def test_a_plain_index_is_of_epoch_0(files):
    """As samplers that are not ours yield it."""
    dataset = train_set(files)
    assert torch.equal(dataset[1].frames, dataset[(0, 1)].frames)
    assert dataset[1].index == 1


def test_training_item_is_a_function_of_seed_epoch_and_index(files):
    items = {
        (seed, epoch, index): train_set(files, seed)[(epoch, index)][0]
        for seed in (0, 1) for epoch in (0, 1, 2) for index in (0, 1, 2)
    }  # fmt: skip
    again = train_set(files, 1)
    for epoch, index in ((2, 1), (0, 0)):  # in another order
        assert torch.equal(again[(epoch, index)][0], items[1, epoch, index])
    assert len({tuple(shown(item[0])) for item in items.values()}) > 8


@pytest.mark.parametrize("workers", (0, 2))
def test_items_do_not_depend_on_the_workers(files, workers):
    keys = [(epoch, index) for epoch in range(2) for index in range(3)]
    dataset = train_set(files)
    loader = DataLoader(dataset, batch_size=2, sampler=keys, num_workers=workers, collate_fn=collate)
    frames = torch.cat([batch[0] for batch in loader])
    assert torch.equal(frames, torch.stack([dataset[key][0] for key in keys]))


def test_evaluation_item_has_all_views_in_order(files):
    frames, label, index = eval_set(files)[2]
    assert frames.shape == (9, 3, 4, 64, 64)
    assert (label, index) == (2, 2)
    expected = CLIP.uniform(40, 15, 3)
    for temporal in range(3):
        for spatial in range(3):
            assert shown(frames[3 * temporal + spatial]) == expected[temporal].tolist()


def test_spatial_views_of_a_wide_video_differ(numbered_clip):
    frames, *_ = eval_set([numbered_clip(40, width=128)], temporal_views=1)[0]
    assert not torch.equal(frames[0], frames[1])
    assert not torch.equal(frames[1], frames[2])


@pytest.mark.parametrize("num_frames", (1, 13))
def test_videos_shorter_than_a_clip_work(numbered_clip, num_frames):
    path = numbered_clip(num_frames, width=64)
    clip = Clip(frames=8, stride=2)
    video = Videos("", [path], [0])
    train = TrainDataset(video, clip, Augmentation(64, (64, 64), flip=False), 0, 0.0, "pyav")[(0, 0)][0]
    assert shown(train[0]) == [2 * t % num_frames for t in range(8)]
    test = EvalDataset(video, clip, Views(2, 3, 64, 64), False, "pyav")[0][0]
    assert shown(test[0]) == [2 * t % num_frames for t in range(8)]


def test_broken_training_video_is_replaced_counted_and_logged(files, bad, caplog):
    dataset = train_set([*files, bad])
    frames, label, index = dataset[(0, 3)]
    assert label == index
    assert index in (0, 1, 2)
    assert dataset[(0, 3)][2] == index  # the same replacement every time
    assert torch.equal(dataset[(0, 3)][0], frames)
    assert dataset.broken_files() == [bad]
    assert caplog.text.count("broken video replaced by another") == 1
    assert "the file is empty" in caplog.text


def test_broken_flags_reach_the_main_process(files, bad):
    dataset = train_set([*files, bad])
    list(DataLoader(dataset, sampler=[(0, 3)], num_workers=1, collate_fn=collate))
    assert dataset.broken_files() == [bad]


def test_too_many_broken_training_videos_are_an_error_that_lists_them(files, bad):
    dataset = train_set([*files, bad], max_broken=0.1)
    with pytest.raises(
        BrokenVideoError, match=r"1 of 4 training videos can't be decoded, more than max_broken = 0.1"
    ) as e:
        dataset[(0, 3)]
    assert bad in str(e.value)


def test_nothing_but_broken_videos_ends_with_an_error(tmp_path):
    files = [str(tmp_path / f"{n}.mp4") for n in range(3)]
    with pytest.raises(BrokenVideoError):
        train_set(files, max_broken=0.99)[(0, 0)]


def test_broken_evaluation_video_is_an_error_or_skipped(files, bad):
    with pytest.raises(BrokenVideoError, match=r"bad.mp4: the file is empty \(skip_broken: true evaluates the others"):
        eval_set([*files, bad])[3]
    dataset = eval_set([*files, bad], skip_broken=True)
    assert dataset[3] is None
    assert dataset.broken_files() == [bad]


def test_collate_leaves_skipped_videos_out(files, bad):
    dataset = eval_set([files[0], bad, files[1]], skip_broken=True)
    frames, labels, indices = collate([dataset[n] for n in range(3)])
    assert frames.shape == (2, 9, 3, 4, 64, 64)
    assert labels.tolist() == indices.tolist() == [0, 2]
    assert collate([None]) is None


def test_random_resized_boxes_are_a_setting(numbered_clip):
    video = Videos("", [numbered_clip(12)], [0])
    augments = (Augmentation(64, (64, 64), area, False) for area in (None, 0.1))
    plain, resized = (TrainDataset(video, CLIP, augment, 0, 0.0, "pyav")[(0, 0)][0] for augment in augments)
    assert plain.shape == resized.shape
    assert not torch.equal(plain, resized)


def test_a_decoder_that_would_be_wrong_makes_a_broken_video(tmp_path):
    path, _ = next(clip for clip in CLIPS if clip.title == "H.264, cut by an edit list, GOP 30").write(tmp_path)
    dataset = EvalDataset(Videos("", [path], [0]), CLIP, Views(1, 1, 32, 40), False, "decord")
    with pytest.raises(BrokenVideoError, match="decord ignores the edit list.*set data.decoder to pyav"):
        dataset[0]


@pytest.mark.slow
@pytest.mark.parametrize("decoder", ("pyav", pytest.param("decord", marks=pytest.mark.slow)))
def test_memory_does_not_grow_with_the_items(tmp_path, decoder):
    """Resident memory after 400 further items, in a process of its own: below 10 KiB an item."""
    path, _ = CLIPS[1].write(tmp_path)
    code = (
        "import sys, torch\n"
        "from gcvideo.data.dataset import TrainDataset\n"
        "from gcvideo.data.videos import Videos\n"
        "from gcvideo.data.sampling import Clip\n"
        "from gcvideo.data.transforms import Augmentation\n"
        "torch.set_num_threads(1)\n"
        "videos = Videos('/', [sys.argv[1][1:]] * 100, [0] * 100)\n"
        "data = TrainDataset(videos, Clip(8, 8), Augmentation(64, (64, 80)), 0, 0.0, sys.argv[2])\n"
        "rss = lambda: int(open('/proc/self/statm').read().split()[1]) * 4\n"
        "for n in range(700):\n"
        "    data[(0, n % 100)]\n"
        "    if n == 299: before = rss()\n"
        "print((rss() - before) / 400)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path, decoder], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 10, done.stdout


def test_pytorchvideos_setting_of_decord_does_not_matter(numbered_clip):
    import decord

    path = numbered_clip(12)
    decord.bridge.set_bridge("torch")
    try:
        frames = open_video(path, "decord").read(torch.tensor([5, 2]))
    finally:
        decord.bridge.set_bridge("native")
    assert read_numbers(frames) == [5, 2]
