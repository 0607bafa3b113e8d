"""What the page answers, without the page."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

import gcvideo
from gcvideo.data.listing import SUFFIXES
from gcvideo.errors import UsageError
from gcvideo.serving.answer import Answer, Examples, Limits, answer
from tests.trained import Colour, write_run


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory):
    return gcvideo.load(write_run(tmp_path_factory.mktemp("runs") / "tiny"), device="cpu")


def of(recognizer, path, **limits):
    return answer(recognizer, path, path.name, Limits(**limits))


def test_an_answer(recognizer, numbered_clip, tmp_path):
    numbered_clip(30, "clip.mp4")
    found = of(recognizer, tmp_path / "clip.mp4")
    prediction = recognizer.predict(tmp_path / "clip.mp4")
    assert found.scores == dict(zip(prediction.names, prediction.probabilities))
    assert found.message == f"clip.mp4: {prediction.names[0]} ({prediction.probabilities[0]:.0%})"
    assert found.timeline.startswith(b"\x89PNG")
    assert len(found.overlays) == 4  # three blocks and Grad-CAM
    for content in found.overlays.values():
        assert Image.open(io.BytesIO(content)).n_frames == 4  # of the clip


def test_an_image_has_no_timeline(recognizer, tmp_path):
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "a.png")
    found = of(recognizer, tmp_path / "a.png")
    assert found.timeline == b""
    assert len(found.scores) == 3


def test_a_network_without_blocks(tmp_path, numbered_clip):
    own = gcvideo.load(write_run(tmp_path / "own", net=Colour()), device="cpu", net=Colour())
    numbered_clip(9, "clip.mp4")
    assert len(of(own, tmp_path / "clip.mp4").scores) == 3


def test_bad_files_are_a_message_without_a_path(recognizer, numbered_clip, tmp_path):
    numbered_clip(30, "long.mp4")  # 2 s
    whole = (tmp_path / "long.mp4").read_bytes()
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "bad.png").write_bytes(b"x")
    cases = {
        "empty.mp4": "the file is empty",
        "text.mp4": "not an MP4",
        "cut.mp4": "",
        "bad.png": "",
        "gone.mp4": "no such file",
    }
    for name, reason in cases.items():
        found = of(recognizer, tmp_path / name)
        assert found == Answer(found.message, {}, b"", {})
        assert found.message.startswith(f"{name} can't be read: {reason}")
        assert str(tmp_path) not in found.message
        assert "\n" not in found.message


def test_limits(recognizer, numbered_clip, tmp_path):
    numbered_clip(30, "long.mp4")
    assert "30 frames, 2 s; at most 1 s are accepted" in of(recognizer, tmp_path / "long.mp4", max_s=1).message
    assert "MB, at most 0.001 are accepted" in of(recognizer, tmp_path / "long.mp4", max_mb=0.001).message
    assert of(recognizer, tmp_path / "long.mp4", max_s=2).scores
    for limits in ({"max_mb": 0}, {"max_s": -1}, {"max_s": float("nan")}):
        with pytest.raises(UsageError, match="expected max_mb in"):
            Limits(**limits)


def test_examples(tmp_path, numbered_clip):
    numbered_clip(9, "b.mp4")
    numbered_clip(9, "a.mp4")
    (tmp_path / "notes.txt").touch()
    assert list(Examples.of(tmp_path, SUFFIXES).files) == ["a.mp4", "b.mp4"]
    (tmp_path / "none").mkdir()
    for folder, message in (("none", "no video in"), ("gone", "no folder")):
        with pytest.raises(UsageError, match=message):
            Examples.of(tmp_path / folder, SUFFIXES)


def test_without_gradio(recognizer, monkeypatch):
    from gcvideo.serving.page import serving

    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UsageError, match=r"the page needs gradio: pip install 'gcvideo\[web\]'"), serving(recognizer):
        pass
