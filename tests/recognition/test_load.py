"""`gcvideo.load`: the network of a checkpoint, with the views of its test."""

import pytest
import torch

import gcvideo
from gcvideo.data.datamodule import VideoDataModule
from gcvideo.data.dataset import EvalDataset
from gcvideo.data.manifest import videos_at
from gcvideo.data.sampling import Clip
from gcvideo.data.transforms import Augmentation, Views
from gcvideo.errors import UsageError
from gcvideo.recognition.recognizer import spans
from gcvideo.training.task import VideoTask
from tests.trained import Colour, save_run, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture
def video(numbered_clip):
    return numbered_clip(30)


def test_a_run_its_checkpoint_and_a_copy_are_the_same(run, video, tmp_path):
    (tmp_path / "copy.ckpt").write_bytes((run / "checkpoints" / "best.ckpt").read_bytes())
    sources = (run, run / "checkpoints" / "best.ckpt", tmp_path / "copy.ckpt")
    loaded = [gcvideo.load(source, device="cpu") for source in sources]
    assert [recognizer.name for recognizer in loaded] == ["tiny", "tiny", "copy"]
    for recognizer in loaded:
        assert recognizer.class_names == ["a", "b", "c"]
        assert recognizer.clip == Clip(4, 2)
        assert recognizer.views == Views(2, 1, 32, 32)
        assert not recognizer.task.training
        assert recognizer.device == torch.device("cpu")
    scores = [recognizer.predict(video).scores for recognizer in loaded]
    assert torch.equal(scores[0], scores[1])
    assert torch.equal(scores[0], scores[2])


def test_a_prediction_is_that_of_the_data_set_and_the_task(run, video):
    recognizer = gcvideo.load(str(run), device="cpu")
    item = EvalDataset(videos_at(video), recognizer.clip, recognizer.views, False, "pyav")[0]
    assert torch.equal(recognizer.read(video), item.frames)
    assert item.frames.shape == (2, 3, 4, 32, 32)
    expected = recognizer.task(item.frames[None]).softmax(-1).mean(1)[0]
    prediction = recognizer.predict(video, top=2)
    torch.testing.assert_close(prediction.scores, expected.detach())
    best = expected.argsort(descending=True)
    assert prediction.names == tuple("abc"[index] for index in best[:2])
    assert prediction.probabilities == tuple(expected[best[:2]].tolist())
    assert len(recognizer.predict(video).names) == 3  # of five


def test_the_network_stays_trainable(run, video):
    """After a prediction too, which may change the memory format of its weights: Grad-CAM needs gradients."""
    recognizer = gcvideo.load(run, device="cpu")
    recognizer.predict(video)
    recognizer.task(recognizer.read(video)[None]).sum().backward()
    assert all(parameter.grad is not None for parameter in recognizer.task.net.parameters())


def test_times_are_those_of_the_frames_taken(run, video):
    """30 frames at 15 fps: 4 frames at stride 2 take 7, from 0 and from 23."""
    recognizer = gcvideo.load(run, device="cpu")
    (first, second) = recognizer.predict(video).times
    assert first == pytest.approx((0, 7 / 15))
    assert second == pytest.approx((23 / 15, 30 / 15))


def test_an_image_takes_a_second(run, tmp_path):
    from torchvision.io import write_png

    write_png(torch.zeros(3, 40, 40, dtype=torch.uint8), str(tmp_path / "a.png"))
    assert gcvideo.load(run, device="cpu").predict(tmp_path / "a.png").times == ((0, 1), (0, 1))
    assert spans(torch.tensor([[0, 4]]), fps=0) == ((0, 0),)  # a file without a frame rate


def test_other_views(run, video):
    recognizer = gcvideo.load(run, device="cpu", views=Views(1, 3, short_side=40))
    assert recognizer.views == Views(1, 3, 32, 40)
    assert recognizer.read(video).shape == (3, 3, 4, 32, 32)


def test_a_checkpoint_does_not_choose_files(tmp_path, video):
    """Of its data settings only clip and views are taken: no manifest, no decoder."""
    data = VideoDataModule("/etc/passwd", decoder="decord", class_names=["a", "b"], augment=Augmentation(32, (32, 36)))
    save_run(tmp_path / "run", VideoTask(["a", "b"], "slowonly_tiny"), data)
    recognizer = gcvideo.load(tmp_path / "run", device="cpu")
    assert recognizer.decoder == "pyav"
    assert "passwd" not in repr(recognizer.predict(video))


def test_a_network_of_ones_own_is_passed(tmp_path, video):
    run = write_run(tmp_path / "own", net=Colour())
    recognizer = gcvideo.load(run, device="cpu", net=Colour())
    assert recognizer.predict(video).scores.sum() == pytest.approx(1)
    with pytest.raises(UsageError, match="holds a network of its own, tests.trained.Colour: pass net="):
        gcvideo.load(run, device="cpu")
    with pytest.raises(UsageError, match="expected no net: the checkpoint is of the network slowonly_tiny"):
        gcvideo.load(write_run(tmp_path / "named"), device="cpu", net=Colour())


@pytest.mark.parametrize(
    ("name", "message"),
    (
        ("gone", "no run or checkpoint .*gone"),
        ("empty", "no trained run in .*empty: expected .*best.ckpt"),
        ("bad.ckpt", "bad.ckpt is damaged or not a checkpoint"),
    ),
)
def test_what_is_no_run(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.ckpt").write_bytes(b"bad")
    with pytest.raises(UsageError, match=message):
        gcvideo.load(tmp_path / name)


@pytest.mark.parametrize("device", ("tpu", "mps", "cuda:99", "x y"))
def test_devices_that_are_not_there(run, device):
    with pytest.raises(UsageError, match="expected the device auto, cpu|no device cuda:99"):
        gcvideo.load(run, device=device)


def test_settings_that_are_none(run, tmp_path):
    content = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    for settings in ({"clip": {"frames": 0}}, {"views": {"size": "x"}}, {"clip": [1]}):
        torch.save({**content, "datamodule_hyper_parameters": settings}, tmp_path / "x.ckpt")
        with pytest.raises(UsageError, match="x.ckpt: not the settings of a run"):
            gcvideo.load(tmp_path / "x.ckpt")


def test_a_diverged_network_is_no_prediction(run, tmp_path, video):
    content = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    content["state_dict"] = {name: value * torch.nan for name, value in content["state_dict"].items()}
    torch.save(content, tmp_path / "nan.ckpt")
    with pytest.raises(gcvideo.GcvideoError, match=r"nan.ckpt: the network returns no finite numbers"):
        gcvideo.load(tmp_path / "nan.ckpt", device="cpu").predict(video)
