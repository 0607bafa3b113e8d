"""The frames are the frames: docs/decoders.md is what the decoders do, and no decoder returns a wrong frame."""

import re
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from gcvideo.data.decode import VideoDecodeError, VideoFile, decoder_faults, open_video
from gcvideo.data.decode.pyav_reader import decode_all, upright
from gcvideo.errors import UsageError
from tests.conftest import read_numbers
from tests.data.corpus import CLIPS, DECODERS, index_lists, outcome

TABLE = Path(__file__).parents[2] / "docs" / "decoders.md"


def row(title):
    line = next(line for line in TABLE.read_text().splitlines() if line.startswith(f"| {title} |"))
    return dict(zip(DECODERS, [cell.strip() for cell in line.split("|")[2:-1]]))


@pytest.fixture(scope="module", params=CLIPS, ids=lambda clip: clip.title)
def written(request, tmp_path_factory):
    clip = request.param
    return clip, *clip.write(tmp_path_factory.mktemp("clip"))


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_list_of_indices_gives_its_frames_or_an_error(written, decoder):
    clip, path, expected = written
    try:
        got = outcome(path, expected, decoder, clip.rotation)
    except UsageError as error:
        pytest.skip(str(error))
    assert got == row(clip.title)[decoder]
    if decoder == "pyav":
        assert got == "right"


def test_frames_are_bit_for_bit_those_of_a_full_decode(written):
    """What is skipped has no influence on what is read."""
    _clip, path, expected = written
    file = VideoFile(path)
    whole = [upright(frame.to_ndarray(format="rgb24"), frame.rotation) for frame in decode_all(file)]
    file.close()
    assert len(whole) == len(expected)
    for indices in index_lists(len(expected), seed=1):
        frames = open_video(path, "pyav").read(torch.tensor(indices))
        assert np.array_equal(frames.numpy(), np.stack([whole[index] for index in indices]))


def test_decord_and_pyav_agree_bit_for_bit(written):
    clip, path, expected = written
    if row(clip.title)["decord"] != "right":
        pytest.skip("decord is not used on this file")
    indices = torch.arange(len(expected))
    frames, other = (open_video(path, decoder).read(indices) for decoder in ("decord", "pyav"))
    if ("VP9" in clip.title and "odd" in clip.title) or "4:4:4" in clip.title:
        assert (frames.int() - other.int()).abs().max() <= 2  # conversions of odd sizes round otherwise
    else:
        assert torch.equal(frames, other)


def test_contents_in_memory_read_as_the_file(written):
    clip, path, expected = written
    data = Path(path).read_bytes()
    name = f"member.{clip.suffix}"
    indices = torch.tensor([0, len(expected) - 1])
    assert torch.equal(open_video(name, data=data).read(indices), open_video(path).read(indices))


def test_decoders_are_refused_with_their_reason(tmp_path):
    clips = {clip.title: clip for clip in CLIPS}
    for title, decord, torchcodec in (
        ("H.264, GOP 12", None, None),
        ("H.264, cut by an edit list, GOP 30", "decord ignores the edit list, which cuts frames off", None),
        ("AV1, MP4", "decord is not reliable for av1", None),
        (
            "MPEG-4, AVI (as UCF-101)",
            "decord is not reliable in this container (avi)",
            "torchcodec is not reliable in this container (avi)",
        ),
    ):
        path, _ = clips[title].write(tmp_path)
        file = VideoFile(path)
        assert decoder_faults(file) == {"pyav": None, "decord": decord, "torchcodec": torchcodec}
        file.close()
        assert open_video(path).decoder == "pyav"
        if decord is None:
            assert open_video(path, "decord").decoder == "decord"
        else:
            with pytest.raises(VideoDecodeError, match=re.escape(f"{decord}; set data.decoder to pyav")):
                open_video(path, "decord")
    # damaged contents in memory can crash it
    data = Path(clips["H.264, GOP 12"].write(tmp_path)[0]).read_bytes()
    with pytest.raises(VideoDecodeError, match="decord is not used on contents in memory; set data.decoder to pyav"):
        open_video("a.mp4", "decord", data)


def test_key_pictures_that_are_none(tmp_path):
    """An MP4 without its list of key pictures marks all as such; H.264 and MPEG-4 pictures are looked into."""
    for title in ("H.264, GOP 12", "MPEG-4, MP4"):
        path, expected = next(clip for clip in CLIPS if clip.title == title).write(tmp_path)
        Path(path).write_bytes(Path(path).read_bytes().replace(b"stss", b"free"))
        assert outcome(path, expected, "pyav") == "right"
        assert "decord errs where marked key pictures are not key pictures" in outcome(path, expected, "decord")


def test_mirrored_and_unknown_videos_are_refused(tmp_path):
    path, _ = next(clip for clip in CLIPS if clip.title == "H.264, turned by 180 degrees").write(tmp_path)
    data = Path(path).read_bytes()
    half_turn = struct.pack(">9i", -65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30)
    offset = data.index(half_turn[:4] + bytes(12) + half_turn[:4])
    mirrored = data[: offset + 16] + struct.pack(">i", 65536) + data[offset + 20 :]
    with pytest.raises(VideoDecodeError, match="is shown mirrored"):
        open_video("a.mp4", data=mirrored).read(torch.tensor([0]))
    with pytest.raises(VideoDecodeError, match="an unknown codec"):
        open_video("a.mp4", data=data.replace(b"avc1", b"xvc1"))


def test_no_indices(tmp_path):
    path, _ = CLIPS[0].write(tmp_path)
    with pytest.raises(ValueError, match="expected at least one index of a frame"):
        open_video(path).read(torch.tensor([], dtype=torch.long))


def test_large_files_are_read_twice_and_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("gcvideo.data.decode.packets.KEPT_BYTES", 100)
    for clip in CLIPS[:6]:
        path, expected = clip.write(tmp_path)
        assert outcome(path, expected, "pyav") == "right"


def test_open_files_are_closed(tmp_path):
    path, _ = CLIPS[1].write(tmp_path)
    open_now = lambda: len(list(Path("/proc/self/fd").iterdir()))  # noqa: E731
    for decoder in ("decord", "pyav"):
        open_video(path, decoder).read(torch.tensor([3]))  # what a first use opens, stays
        before = open_now()
        for _ in range(20):
            open_video(path, decoder).read(torch.tensor([3, 100]))
            with pytest.raises(VideoDecodeError):
                open_video(path, decoder).read(torch.tensor([1000]))
        assert open_now() <= before + 1


@pytest.mark.parametrize("damage", ("zeros", "noise"))
def test_damage_is_an_error_and_never_another_frame(tmp_path, damage):
    """A block in the middle is overwritten, at each of 12 offsets; what is read is right, or an error."""
    clip = next(clip for clip in CLIPS if clip.title == "H.264, GOP 30, B-pyramid")
    path, expected = clip.write(tmp_path)
    data = Path(path).read_bytes()
    draw = np.random.default_rng(0)
    errors = 0
    for offset in np.linspace(len(data) * 0.3, len(data) * 0.9, 12).astype(int).tolist():
        block = bytes(600) if damage == "zeros" else draw.bytes(600)
        harmed = data[:offset] + block + data[offset + 600 :]
        try:
            got = numbers_in(harmed, len(expected))
        except VideoDecodeError:
            errors += 1
        else:
            assert got == expected
    assert errors >= 6


def numbers_in(data, num_frames):
    """Numbers of all frames of a file in memory."""
    return read_numbers(open_video("a.mp4", data=data).read(torch.arange(num_frames)))
