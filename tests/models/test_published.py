"""The table of published checkpoints, and how a name becomes a file."""

import re
import sys

import pytest
import torch

from gcvideo.models import Checkpoint, checkpoints, create_model, find_weights, list_weights, other_function
from tests.test_download import CONTENT, SHA256, server  # noqa: F401

TABLE = checkpoints()


def test_table_is_sound():
    assert len(TABLE) >= 30
    assert len({entry.url for entry in TABLE.values()}) == len(TABLE)
    for entry in TABLE.values():
        assert re.fullmatch(r"https?://[\w./-]+\.(pyth|pkl|pth)", entry.url)
        assert re.fullmatch(r"([0-9a-f]{8})?", entry.sha256)
        assert entry.kind in ("video", "image")
        if entry.sha256:
            assert entry.sha256 in entry.url


@pytest.mark.parametrize("name", TABLE)
def test_model_of_each_row_can_be_built(name):
    entry = TABLE[name]
    with torch.device("meta"):
        create_model(entry.network, entry.blocks, **entry.block_options)


def test_a_file_is_itself(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"x")
    assert find_weights(str(tmp_path / "w.pth")) == tmp_path / "w.pth"


def test_a_name_is_downloaded_once(server, tmp_path, monkeypatch):  # noqa: F811
    entry = Checkpoint("test/net", f"{server.url}/net.pyth", SHA256[:8], "slowonly_r50", "none", "", "video")
    monkeypatch.setattr(sys.modules["gcvideo.models.published"], "checkpoints", lambda: {"test/net": entry})
    monkeypatch.setenv("GCVIDEO_CACHE", str(tmp_path))
    for _ in range(2):
        path = find_weights("test/net")
        assert path == tmp_path / "test" / "net.pyth"
        assert path.read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_neither_file_nor_name():
    with pytest.raises(
        ValueError, match=r"weights must be a file or a name of .*published.csv, such as .*slow_8x8_r50.*got 'slow'"
    ):
        find_weights("slow")


def test_list_weights():
    assert list_weights() == list(TABLE)
    assert list_weights("pytorchvideo/slow*") == ["pytorchvideo/slow_8x8_r50", "pytorchvideo/slow_4x16_r50"]
    assert list_weights("nothing*") == []


def test_weights_of_another_function_are_noticed():
    """Same tensors, other strides, or another scale."""
    name = "mmaction2/i3d_32x2_r50_nl_embedded_gaussian"
    right = {"pool_first": False, "use_scale": False}
    assert other_function(name, "i3d_32x2_r50", "nl5", right) == ""
    assert "network i3d_32x2_r50, not i3d_r50" in other_function(name, "i3d_r50", "nl5", right)
    assert "use_scale=False, not None" in other_function(name, "i3d_32x2_r50", "nl5", {"pool_first": False})
    assert other_function("pytorchvideo/slow_8x8_r50", "slowonly_r50", "gc_all", {}) == ""  # new blocks
    assert other_function("torchvision/resnet50_v1", "i3d_r50", "none", {}) == ""
    assert other_function("runs/a/best.ckpt", "i3d_r50", "none", {}) == ""


def test_a_model_of_another_function_warns(tmp_path, monkeypatch):
    """The published names of I3D 8x8 load into the 32x2 network, which has other strides."""
    source = create_model("slowonly_tiny", num_classes=3)
    torch.save(source.state_dict(), tmp_path / "net.pyth")
    entry = Checkpoint("test/net", "http://localhost/net.pyth", "", "i3d_r50", "none", "", "video")
    monkeypatch.setattr(sys.modules["gcvideo.models.published"], "checkpoints", lambda: {"test/net": entry})
    monkeypatch.setenv("GCVIDEO_CACHE", str(tmp_path))
    (tmp_path / "test").mkdir()
    (tmp_path / "net.pyth").rename(tmp_path / "test" / "net.pyth")
    with pytest.warns(UserWarning, match="test/net was trained with network i3d_r50, not slowonly_tiny"):
        create_model("slowonly_tiny", num_classes=3, weights="test/net")
