"""What happens when in a long video: windows, smoothing, segments; joined from parts whose times are known."""

import csv
import itertools

import numpy as np
import pytest
import torch

import gcvideo
from gcvideo.data.decode import VideoDecodeError, open_video, stream_video
from gcvideo.data.sampling import Clip
from gcvideo.dataset_tools.h264 import write_video
from gcvideo.errors import UsageError
from gcvideo.recognition.timeline import MIN_PROBABILITY, SWITCH_COST, smooth, windows, write_timeline
from tests.conftest import numbered_frames, read_numbers
from tests.trained import Colour, write_run

FPS = 15  # of `write_video`


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory):
    """Tells by colour; clips of 4 frames at stride 2, which is 7 frames."""
    run = write_run(tmp_path_factory.mktemp("runs") / "colour", ("red", "green", "blue"), net=Colour())
    return gcvideo.load(run, device="cpu", net=Colour())


def coloured(path, parts):
    """Video of parts (channel, number of frames) in which one channel is bright."""
    frames = np.full((sum(count for _, count in parts), 48, 64, 3), 40, np.uint8)
    start = 0
    for channel, count in parts:
        frames[start : start + count, :, :, channel] = 220
        start += count
    write_video(path, frames)
    return path


def test_segments_of_a_joined_video(recognizer, tmp_path):
    """Red, blue, red: boundaries within one window (7 frames) of the truth; adjoining, from 0 to the end."""
    parts = [(0, 40), (2, 35), (0, 25)]
    timeline = recognizer.timeline(coloured(tmp_path / "joined.mp4", parts))
    assert [segment.label for segment in timeline.segments] == ["red", "blue", "red"]
    for segment, end in zip(timeline.segments, itertools.accumulate(count for _, count in parts)):
        assert abs(segment.end_s - end / FPS) < 7 / FPS
        assert segment.score > 0.8
    assert timeline.segments[0].start_s == 0
    assert timeline.segments[-1].end_s == timeline.duration_s == pytest.approx(100 / FPS)
    assert all(a.end_s == b.start_s for a, b in itertools.pairwise(timeline.segments))
    torch.testing.assert_close(timeline.scores.sum(dim=1), torch.ones(len(timeline.spans)))


def test_the_hop_is_in_seconds(recognizer, tmp_path):
    video = coloured(tmp_path / "a.mp4", [(0, 40)])
    spans = recognizer.timeline(video, hop_s=10 / FPS).spans
    assert [round(span.start_s * FPS) for span in spans] == [0, 10, 20, 30, 33]
    assert spans[-1].end_s == pytest.approx(40 / FPS)
    for hop_s in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="expected fps > 0 and hop_s > 0"):
            recognizer.timeline(video, hop_s=hop_s)
    with pytest.raises(ValueError, match="expected a finite switch_cost >= 0"):
        recognizer.timeline(video, switch_cost=-1)


@pytest.mark.parametrize("clip", (Clip(4, 2), Clip(3, 4, target_fps=30), Clip(4, 2, target_fps=30, spacing="slowfast")))
@pytest.mark.parametrize("num_frames", (1, 5, 20, 61))
def test_windows_cover_the_video(clip, num_frames):
    """The first and the last are those of `uniform`; neighbours are at most half a clip apart."""
    indices = clip.sliding(num_frames, 25.0)
    assert torch.equal(indices[0], clip.uniform(num_frames, 25.0, 2)[0])
    if clip.spacing == "stride":
        assert torch.equal(indices[-1], clip.uniform(num_frames, 25.0, 2)[-1])
    assert indices.min() >= 0
    assert indices.max() == num_frames - 1 or num_frames > 1
    starts = indices[:, 0]
    length = int(indices[0].max() - indices[0].min()) + 1
    assert all(0 <= b - a <= max(length / 2, 1) + 1 for a, b in itertools.pairwise(starts.tolist()))


def test_windows_have_the_frames_of_the_reader_and_hold_few(recognizer, numbered_clip):
    video = numbered_clip(120, height=32, width=32)
    indices = Clip(4, 2).sliding(120, FPS)
    reader = stream_video(video)
    clips = list(windows(reader.stream(), indices, recognizer.views))
    for clip, expected in zip(clips, indices.tolist()):
        assert read_numbers(clip.permute(1, 2, 3, 0)) == expected

    alive = 0

    def counted():
        nonlocal alive
        for number in range(120):
            yield torch.full((32, 32, 3), number, dtype=torch.uint8)
            alive = number

    seen = [alive - int(clip[0, 0, 0, 0]) for clip in windows(counted(), indices, recognizer.views)]
    assert max(seen) <= 7  # a window is returned as soon as its last frame is read


def test_a_stream_is_a_full_decode(numbered_clip, real_videos):
    videos = [numbered_clip(40), *map(str, sorted((real_videos / "clips").rglob("*.mp4"))[:2])]
    for video in videos:
        reader = open_video(video)
        stream = torch.stack(list(stream_video(video).stream()))
        assert torch.equal(stream, reader.read(torch.arange(reader.num_frames)))


def brute_force(scores, cost):
    gains = scores.clamp(min=MIN_PROBABILITY).log()

    def total(path):
        changes = sum(a != b for a, b in itertools.pairwise(path))
        return sum(float(gains[w, label]) for w, label in enumerate(path)) - cost * changes

    return max(total(path) for path in itertools.product(range(scores.shape[1]), repeat=len(scores))), total


@pytest.mark.parametrize("cost", (0.0, 0.7, SWITCH_COST, 100.0))
def test_smoothing_finds_the_best_of_all_paths(cost):
    for seed in range(5):
        scores = (3 * torch.randn(6, 3, generator=torch.Generator().manual_seed(seed))).softmax(dim=1).double()
        best, total = brute_force(scores, cost)
        path = smooth(scores, cost)
        assert total(path) == pytest.approx(best)
        if cost == 0:
            assert path == scores.argmax(dim=1).tolist()
        if cost == 100:
            assert len(set(path)) == 1


def test_one_other_window_is_noise_and_two_are_a_segment():
    sure = torch.eye(2)
    for others, expected in ((1, [0] * 11), (2, [0] * 5 + [1] * 2 + [0] * 4)):
        labels = torch.zeros(11, dtype=torch.long)
        labels[5 : 5 + others] = 1
        assert smooth(sure[labels], SWITCH_COST) == expected


def test_files(recognizer, tmp_path):
    timeline = recognizer.timeline(coloured(tmp_path / "a.mp4", [(0, 30), (1, 30)]))
    files = write_timeline(timeline, tmp_path / "out.csv")
    assert [path.name for path in files] == ["out.csv", "out.windows.csv", "out.png"]
    with files[0].open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["label"] for row in rows] == ["red", "green"]
    assert float(rows[1]["end_s"]) == pytest.approx(4, abs=1e-3)
    with files[1].open(newline="") as stream:
        scores = list(csv.DictReader(stream))
    assert len(scores) == len(timeline.spans)
    assert set(scores[0]) == {"start_s", "end_s", "score red", "score green", "score blue"}
    assert files[2].read_bytes().startswith(b"\x89PNG")
    for path in ("out.png", "gone/out.csv"):
        with pytest.raises(UsageError, match=r"expected a \.csv file in a folder that exists"):
            write_timeline(timeline, tmp_path / path)


def test_what_has_no_timeline(recognizer, tmp_path):
    from torchvision.io import write_png

    write_png(torch.zeros(3, 40, 40, dtype=torch.uint8), str(tmp_path / "a.png"))
    (tmp_path / "b.mp4").write_bytes(b"no video")
    for name, reason in (("a.png", "is an image"), ("b.mp4", "not an MP4"), ("c.mp4", "no such file")):
        with pytest.raises(VideoDecodeError, match=reason):
            recognizer.timeline(tmp_path / name)


def test_names_of_anyone_are_drawn(tmp_path):
    """Dollars enclose a formula for matplotlib, and a bad one is an error."""
    names = ("$\\bad{$", "x" * 300, "=1+1")
    run = write_run(tmp_path / "run", names, net=Colour())
    timeline = gcvideo.load(run, device="cpu", net=Colour()).timeline(coloured(tmp_path / "a.mp4", [(0, 30), (2, 30)]))
    files = write_timeline(timeline, tmp_path / "out.csv")
    assert "'=1+1" in files[0].read_text()


def test_the_numbers_in_frames_are_seen():
    """Else the test of windows would prove nothing."""
    assert read_numbers(torch.from_numpy(numbered_frames(9))) == list(range(9))
