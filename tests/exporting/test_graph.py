"""Files for other programs compute what the model does."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import gcvideo
from gcvideo.cli.main import main
from gcvideo.errors import GcvideoError, UsageError
from gcvideo.exporting import export
from gcvideo.exporting.classifier import Classifier, examples, expected_of, refuse_difference
from gcvideo.training.execution import Pixels
from gcvideo.training.task import VideoTask
from tests.trained import write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "tiny", ["a", "b", "ü"])


@pytest.fixture(scope="module")
def recognizer(run):
    return gcvideo.load(run, device="cpu")


NL = {"blocks": "nl", "block": {"at": {"res4": [0]}}}


@pytest.mark.parametrize("blocks", ({"blocks": "none"}, {"blocks": "gc_all"}, NL, {**NL, "blocks": "snl"}))
def test_the_classifier_is_the_model(tmp_path, blocks):
    recognizer = gcvideo.load(write_run(tmp_path / "run", **blocks), device="cpu")
    frames = examples(recognizer, 3)
    assert frames.shape == (3, 3, 4, 32, 32)
    with torch.no_grad():
        found = Classifier(recognizer)(frames)
    torch.testing.assert_close(found, expected_of(recognizer, frames), atol=1e-5, rtol=0)
    assert expected_of(recognizer, frames).std(dim=0).max() > 1e-3  # else equality would prove little
    refuse_difference("x", found, found)


@pytest.mark.parametrize("difference", (False, True))
def test_normalisation_is_inside(recognizer, difference):
    pixels = Pixels((0.4, 0.5, 0.6), (0.2, 0.25, 0.3), difference)
    task = VideoTask(["a", "b"], "slowonly_tiny", pixels=pixels).eval()
    torch.nn.init.normal_(task.net.blocks[-1].proj.weight)
    other = replace(recognizer, task=task)
    frames = examples(other, 2)
    mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3)))
    with torch.no_grad():
        normalised = (frames / 255 - mean) / std
        expected = task.net(normalised.diff(dim=2) if difference else normalised).softmax(dim=1)
        torch.testing.assert_close(Classifier(other)(frames), expected, atol=1e-5, rtol=1e-4)


def test_a_difference_is_refused():
    same = torch.full((2, 2), 0.5)
    assert refuse_difference("x.onnx", same, same) == 0
    for other in (same + 2e-4, same * torch.nan, same[:1]):
        with pytest.raises(GcvideoError, match=r"x.onnx is not written: its probabilities differ from the model's by"):
            refuse_difference("x.onnx", other, same)


@pytest.mark.slow
def test_a_torch_file(recognizer, tmp_path):
    told = export(recognizer, tmp_path / "a.pt2", "torch")
    assert "agrees with the model within" in told
    extra = {"gcvideo.json": ""}
    model = torch.export.load(str(tmp_path / "a.pt2"), extra_files=extra).module()
    frames = examples(recognizer, 5, seed=9)
    with torch.no_grad():
        torch.testing.assert_close(model(frames), expected_of(recognizer, frames), atol=1e-5, rtol=0)
    assert json.loads(json.loads(extra["gcvideo.json"])["class_names"]) == ["a", "b", "ü"]


@pytest.mark.slow
@pytest.mark.parametrize("blocks", ({"blocks": "gc_all"}, NL))
def test_an_onnx_file(tmp_path, blocks, capsys):
    """Through the command line: names, metadata, any batch, one file."""
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    run = write_run(tmp_path / "run", ["a", "b", "ü"], **blocks)
    assert main(["export", str(run), str(tmp_path / "a.onnx")]) == 0
    assert "a.onnx: onnx; onnxruntime" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"run", "a.onnx"}
    session = runtime.InferenceSession(str(tmp_path / "a.onnx"))
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["class_names"]) == ["a", "b", "ü"]
    assert json.loads(metadata["clip"])["frames"] == 4
    assert json.loads(metadata["views"])["size"] == 32
    (described,) = session.get_inputs()
    assert (described.name, described.type, described.shape[1:]) == ("frames", "tensor(uint8)", [3, 4, 32, 32])
    recognizer = gcvideo.load(run, device="cpu")
    for count in (1, 2, 7):
        frames = examples(recognizer, count, seed=count + 20)
        (found,) = session.run(None, {"frames": frames.numpy()})
        np.testing.assert_allclose(found, expected_of(recognizer, frames).numpy(), atol=1e-4, rtol=0)


@pytest.mark.slow
def test_a_network_that_can_not_be_traced(tmp_path):
    run = write_run(tmp_path / "run", net=Branching())
    with pytest.raises(GcvideoError, match="run: torch can't export this network"):
        export(gcvideo.load(run, device="cpu", net=Branching()), tmp_path / "a.pt2", "torch")
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


class Branching(torch.nn.Module):
    """Decides by the values of its input, which no graph can."""

    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(3, 3)

    def forward(self, clips):
        means = clips.mean(dim=(2, 3, 4))
        return self.head(means) if means.sum() > 0 else -self.head(means)


def test_what_is_missing_is_told(recognizer, tmp_path, monkeypatch):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            with pytest.raises(UsageError, match=r"export to ONNX needs \w+: pip install 'gcvideo\[onnx\]'"):
                export(recognizer, tmp_path / "a.onnx", "onnx")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "huggingface_hub", None)
        patch.delitem(sys.modules, "gcvideo.exporting.hub", raising=False)
        with pytest.raises(UsageError, match=r"pip install 'gcvideo\[hub\]'"):
            export(recognizer, tmp_path / "hub", "hub")


@pytest.mark.parametrize(
    ("out", "format", "message"),
    (
        ("a.pt", "onnx", r"format onnx is written to a file \*.onnx, got"),
        ("gone/a.onnx", "onnx", "no folder .*gone to write into"),
        ("a.onnx", "caffe", r"expected format to be one of \('onnx', 'torch'"),
    ),
)
def test_bad_requests(recognizer, tmp_path, out, format, message):
    with pytest.raises(UsageError, match=message):
        export(recognizer, tmp_path / out, format)


def test_the_formats_of_the_command_line_are_those_of_the_table():
    from gcvideo.cli.networks import _FORMAT_OF, export_parser
    from gcvideo.exporting import FORMATS

    (action,) = [action for action in export_parser()._actions if action.dest == "format"]
    assert action.choices == tuple(FORMATS)
    for suffix, name in _FORMAT_OF.items():
        assert FORMATS[name].suffix in (suffix, None)
