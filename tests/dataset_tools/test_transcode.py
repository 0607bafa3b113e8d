"""The prepared video has the frames of the raw one, in an encoding that is fast to read."""

from pathlib import Path

import av
import numpy as np
import pytest
import torch

from gcvideo.data.decode import VideoDecodeError, VideoFile, open_video
from gcvideo.dataset_tools.options import Encoding
from gcvideo.dataset_tools.transcode import find_encoder, transcode
from tests.conftest import read_numbers
from tests.data.corpus import CLIPS

pytestmark = pytest.mark.slow


@pytest.fixture(params=("pyav", "ffmpeg"))
def encoder(request, tmp_path, monkeypatch):
    """Both encoders; the executable ffmpeg is the one of imageio-ffmpeg."""
    if request.param == "ffmpeg":
        imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return request.param


TITLES = (
    "H.264, GOP 12", "H.264, cut by an edit list, GOP 30", "H.264, variable frame rate", "H.264, first frame at 2 s",
    "H.264, audio in front of video", "H.264, turned by 90 degrees", "H.264, turned by 180 degrees", "H.264, 1 frame",
    "H.264, 10 bit", "H.264, 4:4:4, odd size", "HEVC, open GOP (x265's default)", "VP8, WebM", "AV1, MP4",
    "MPEG-4 with B-frames, AVI", "H.264 with B-frames in AVI", "Motion JPEG, QuickTime",
)  # fmt: skip


@pytest.mark.parametrize("title", TITLES)
def test_frames_of_all_kinds_of_files(tmp_path, encoder, title):
    clip = next(clip for clip in CLIPS if clip.title == title)
    path, expected = clip.write(tmp_path)
    target = tmp_path / "out.mp4"
    assert transcode(path, target, Encoding(short_side=64, encoder=encoder)) == len(expected)
    reader = open_video(str(target), "pyav")
    assert reader.num_frames == len(expected)
    frames = torch.rot90(reader.read(torch.arange(len(expected))), -clip.rotation // 90, (1, 2))
    assert min(frames.shape[1:3]) == 64
    assert read_numbers(frames) == expected


def test_the_encoding(tmp_path, encoder):
    path, _ = CLIPS[0].write(tmp_path)
    target = tmp_path / "out.mp4"
    transcode(path, target, Encoding(encoder=encoder))
    file = VideoFile(str(target))
    assert (file.codec, file.pix_fmt, file.width, file.height) == ("h264", "yuv420p", 128, 96)  # not enlarged
    assert np.flatnonzero(file.is_key).tolist() == [0, 32, 64, 96, 128]
    assert file.keys_are_idr
    assert not file.has_open_gop
    assert file.is_shown.all()
    # of each group, pictures to which another refers: 0, 8, 16, 24 and the last
    decoded = 0
    file.decoder.skip_frame = "NONREF"
    for packet in list(file.packets())[:32]:
        decoded += len(file.decoder.decode(packet))
    assert decoded + len(file.decoder.decode(None)) == 5
    file.close()
    with av.open(str(target)) as container:
        assert [stream.type for stream in container.streams] == ["video"]
    assert target.read_bytes().find(b"moov") < target.read_bytes().find(b"mdat")


def test_sizes():
    assert Encoding().size(340, 256) == (340, 256)
    assert Encoding().size(1280, 720) == (456, 256)
    assert Encoding().size(720, 1280) == (256, 456)
    assert Encoding(320).size(1921, 1081) == (568, 320)
    assert Encoding().size(101, 55) == (100, 56)


@pytest.mark.parametrize("trim", ((1.0, 3.0), (4.0, 100.0)))
def test_trim_takes_the_frames_that_begin_inside(tmp_path, encoder, trim):
    path, _ = next(clip for clip in CLIPS if clip.title == "H.264, GOP 12").write(tmp_path)  # 130 frames at 25 a second
    target = tmp_path / "out.mp4"
    expected = list(range(int(trim[0] * 25), min(int(trim[1] * 25), 130)))
    assert transcode(path, target, Encoding(encoder=encoder), trim) == len(expected)
    assert read_numbers(open_video(str(target)).read(torch.arange(len(expected)))) == expected
    with pytest.raises(VideoDecodeError):
        transcode(path, target, Encoding(encoder=encoder), (50.0, 60.0))


def test_times_of_a_variable_rate_stay(tmp_path):
    path, _ = next(clip for clip in CLIPS if clip.title == "H.264, variable frame rate").write(tmp_path)
    transcode(path, tmp_path / "out.mp4", Encoding())

    def seconds(name):
        file = VideoFile(str(name))
        file.close()
        return np.sort(file.pts - file.pts.min()) * float(file.time_base)

    assert np.allclose(seconds(path), seconds(tmp_path / "out.mp4"), atol=1e-3)


def test_equal_files_give_equal_bytes(tmp_path):
    path, _ = CLIPS[3].write(tmp_path)
    for name in "ab":
        transcode(path, tmp_path / name, Encoding(short_side=64))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_colours_stay(tmp_path, real_videos):
    """No shift of range or matrix: a lossless copy of a real video is equal to it."""
    source = str(real_videos / "clips" / "mmaction2" / "test.mp4")
    transcode(source, tmp_path / "out.mp4", Encoding(crf=0, preset="ultrafast"))
    places = torch.tensor([0, 100, 299])
    assert torch.equal(open_video(source).read(places), open_video(str(tmp_path / "out.mp4")).read(places))


def test_damage_is_an_error(tmp_path, encoder):
    path, _ = CLIPS[1].write(tmp_path)
    data = bytearray(Path(path).read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    Path(path).write_bytes(data)
    with pytest.raises(VideoDecodeError):
        transcode(path, tmp_path / "out.mp4", Encoding(encoder=encoder))


@pytest.mark.parametrize(
    ("arguments", "message"),
    (
        ({"short_side": 255}, "short_side must be even and at least 16, got 255"),
        ({"short_side": 8}, "short_side must be even"),
        ({"crf": 60}, r"crf must be in 0..51, got 60"),
        ({"preset": "fast; rm -rf /"}, "preset must be one of ultrafast, "),
    ),
)
def test_bad_settings(arguments, message):
    with pytest.raises(ValueError, match=message):
        Encoding(**arguments)


def test_no_encoder(monkeypatch):
    monkeypatch.setattr(av, "codecs_available", set())
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ValueError, match="neither PyAV with libx264 nor the executable ffmpeg"):
        find_encoder("auto")
