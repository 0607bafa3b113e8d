"""The frames that are requested are the frames that are returned; a bad file is a clear error, never a hang."""

import os
import pickle
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from torchvision.io import write_jpeg, write_png

from gcvideo.data.decode import VideoDecodeError, open_video
from gcvideo.dataset_tools.h264 import write_video
from tests.conftest import numbered_frames, read_numbers


@pytest.mark.parametrize("num_frames", (1, 2, 13, 100))
def test_frames_are_those_requested(numbered_clip, num_frames):
    path = numbered_clip(num_frames)
    indices = list(range(num_frames)) * 2
    random.Random(0).shuffle(indices)
    reader = open_video(path)
    assert reader.num_frames == num_frames
    assert reader.fps == pytest.approx(15)
    frames = reader.read(torch.tensor(indices))
    assert frames.dtype == torch.uint8
    assert frames.shape == (2 * num_frames, 64, 80, 3)
    assert read_numbers(frames) == indices


def test_path_with_blanks_and_umlauts(numbered_clip):
    path = numbered_clip(5, "clip of ä horse $(x) ;.mp4")
    assert read_numbers(open_video(path).read(torch.tensor([3, 1]))) == [3, 1]


def test_frames_out_of_range(numbered_clip):
    for indices in ([0, 5], [-1]):
        with pytest.raises(VideoDecodeError, match=r"frames .* requested of a video of 5"):
            open_video(numbered_clip(5)).read(torch.tensor(indices))


@pytest.mark.parametrize("width", (16, 24, 48, 72))
def test_widths_at_which_decord_fails_are_refused(tmp_path, width):
    path = tmp_path / "narrow.mp4"
    write_video(path, np.zeros((3, 64, width, 3), np.uint8))
    with pytest.raises(VideoDecodeError, match="decord can't read a width"):
        open_video(str(path), "decord")
    assert open_video(str(path)).read(torch.tensor([0])).shape == (1, 64, width, 3)


def audio_only(path):
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def bad_file(tmp_path, kind):
    path = tmp_path / f"{kind}.mp4"
    good = tmp_path / "good.mp4"
    write_video(good, numbered_frames(60))
    if kind == "empty":
        path.touch()
    elif kind == "truncated":
        path.write_bytes(good.read_bytes()[:-2000])
    elif kind == "half":
        path.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    elif kind == "text":
        path.write_text("<html>404 not found</html>")
    elif kind == "playlist":
        path.write_text("ffconcat version 1.0\nfile '/etc/passwd'\n")
    elif kind == "transport-stream":
        path.write_bytes(b"\x47\x40\x00\x10" * 1000)
    elif kind == "random":
        path.write_bytes(random.Random(0).randbytes(5000))
    elif kind == "random-after-ftyp":
        path.write_bytes(good.read_bytes()[:32] + random.Random(0).randbytes(5000))
    elif kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "audio":
        audio_only(path)
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    (
        ("missing", "no such file"),
        ("empty", "the file is empty"),
        ("truncated", "truncated, or not a video"),
        ("half", "truncated, or not a video"),
        ("text", "not an MP4, MOV, Matroska, WebM or AVI file"),
        ("playlist", "not an MP4, MOV, Matroska, WebM or AVI file"),
        ("transport-stream", "not an MP4, MOV, Matroska, WebM or AVI file"),
        ("random", "not an MP4, MOV, Matroska, WebM or AVI file"),
        ("random-after-ftyp", "truncated, or not a video"),
        ("folder", "not a regular file"),
        ("fifo", "not a regular file"),
        ("audio", "no video stream"),
    ),
)
def test_bad_files(tmp_path, kind, message):
    path = bad_file(tmp_path, kind)
    with pytest.raises(VideoDecodeError, match=message) as error:
        open_video(str(path))
    assert error.value.path == str(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_damaged_middle_is_an_error_or_frames_and_never_a_hang(tmp_path):
    """In a process of its own, so that a hang would fail the test and not stop it."""
    path = tmp_path / "damaged.mp4"
    write_video(path, np.random.default_rng(0).integers(0, 255, (60, 64, 80, 3), np.uint8))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 5000] = bytes(5000)
    path.write_bytes(data)
    code = (
        "import sys, torch\n"
        "from gcvideo.data.decode import VideoDecodeError, open_video\n"
        "try:\n"
        "    open_video(sys.argv[1]).read(torch.arange(60))\n"
        "except VideoDecodeError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "damaged video" in done.stdout


def test_errors_survive_pickling():
    error = pickle.loads(pickle.dumps(VideoDecodeError("a.mp4", "broken")))
    assert (error.path, error.reason, str(error)) == ("a.mp4", "broken", "a.mp4: broken")


def test_unknown_decoder(numbered_clip):
    with pytest.raises(
        ValueError, match=r"expected decoder to be one of \('pyav', 'decord', 'torchcodec'\), got 'ffmpeg'"
    ):
        open_video(numbered_clip(2), "ffmpeg")


def test_real_files(real_videos):
    clips = real_videos / "clips"
    expected = {
        "crossfit/bar-facing burpee_1.mp4": None,
        "tiny-ucf101/v_Basketball_g01_c01.avi": None,
        "decord/flipping_a_pancake.mkv": 310,
        "mmaction2/test.mp4": 300,
    }
    for name, num_frames in expected.items():
        reader = open_video(str(clips / name))
        assert num_frames in (None, reader.num_frames)
        frames = reader.read(torch.tensor([0, reader.num_frames - 1]))
        assert frames.float().std() > 5
    with pytest.raises(VideoDecodeError):
        open_video(str(clips / "decord/corrupted.mp4")).read(torch.arange(200))


def test_rotation_of_real_files_is_applied(real_videos):
    shapes = {}
    for angle in (0, 90, 180, 270):
        reader = open_video(str(real_videos / "clips" / "decord" / f"video_{angle}.mov"))
        shapes[angle] = tuple(reader.read(torch.tensor([0])).shape[1:3])
    assert shapes[0] == shapes[180]
    assert shapes[90] == shapes[270] == shapes[0][::-1]


def test_an_image_is_a_video_of_one_frame(tmp_path):
    image = torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8)
    write_png(image, str(tmp_path / "a b.PNG"))
    reader = open_video(str(tmp_path / "a b.PNG"))
    assert (reader.num_frames, reader.fps) == (1, 1.0)
    frames = reader.read(torch.tensor([0, 0, 0]))
    assert frames.shape == (3, 20, 30, 3)
    assert torch.equal(frames[2].permute(2, 0, 1), image)
    write_jpeg(image[:1], str(tmp_path / "grey.jpeg"))
    assert open_video(str(tmp_path / "grey.jpeg")).read(torch.tensor([0])).shape == (1, 20, 30, 3)


def test_bad_images(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"not an image")
    os.mkfifo(tmp_path / "pipe.png")  # would wait for ever
    for name in ("a.jpg", "missing.png", "pipe.png"):
        with pytest.raises(VideoDecodeError, match="not an image that can be read"):
            open_video(str(tmp_path / name)).read(torch.tensor([0]))
    write_png(torch.zeros(3, 4, 4, dtype=torch.uint8), str(tmp_path / "b.png"))
    with pytest.raises(VideoDecodeError, match=r"frames \[0, 1\] requested of an image"):
        open_video(str(tmp_path / "b.png")).read(torch.tensor([0, 1]))
