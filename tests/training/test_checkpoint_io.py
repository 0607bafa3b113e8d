"""Checkpoints: written atomically, verified when they are read, never with weights that are not finite."""

import zipfile

import pytest
import torch

from gcvideo.errors import GcvideoError, UsageError
from gcvideo.training.checkpoint_io import SafeCheckpointIO, verify

IO = SafeCheckpointIO()
CONTENT = {"state_dict": {"w": torch.arange(5000.0), "n": torch.tensor(3)}, "epoch": 4}


@pytest.fixture
def saved(tmp_path):
    IO.save_checkpoint(CONTENT, tmp_path / "a.ckpt")
    return tmp_path / "a.ckpt"


def test_what_is_saved_is_loaded(saved):
    content = IO.load_checkpoint(saved)
    assert content["epoch"] == 4
    assert torch.equal(content["state_dict"]["w"], CONTENT["state_dict"]["w"])
    assert [path.name for path in saved.parent.iterdir()] == ["a.ckpt"]
    IO.remove_checkpoint(saved)
    IO.remove_checkpoint(saved)  # another process was first
    assert not saved.exists()


@pytest.mark.parametrize("value", (float("nan"), float("inf")))
def test_weights_that_are_not_finite_are_not_saved(saved, value):
    before = saved.read_bytes()
    bad = {"state_dict": {"w": torch.tensor([1.0, value]), "n": torch.tensor(3)}}
    with pytest.raises(GcvideoError, match=r"1 of 1 tensors are not finite, such as w: .*a.ckpt is not written"):
        IO.save_checkpoint(bad, saved)
    assert saved.read_bytes() == before


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(GcvideoError, match=r"can't write the checkpoint .*file/a.ckpt: File exists"):
        IO.save_checkpoint(CONTENT, tmp_path / "file" / "a.ckpt")


def test_a_compressed_file(saved):
    with zipfile.ZipFile(saved.with_name("b.ckpt"), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"0" * 10_000_000)
    with pytest.raises(UsageError, match="b.ckpt is not a checkpoint: its entries are compressed"):
        verify(saved.with_name("b.ckpt"))


def test_another_checkpoint(tmp_path):
    torch.save({"w": torch.zeros(2)}, tmp_path / "a.pth")
    with pytest.raises(UsageError, match="a.pth is not a checkpoint of gcvideo: it has no state_dict"):
        IO.load_checkpoint(tmp_path / "a.pth")
