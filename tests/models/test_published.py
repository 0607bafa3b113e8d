"""The table of published checkpoints, and how a name becomes a file."""

import re
import sys
import warnings

import pytest
import torch

from gcvideo import inserted_blocks
from gcvideo.download import sha256_of
from gcvideo.models import (
    HEADS,
    Checkpoint,
    WeightsError,
    checkpoints,
    create_model,
    find_weights,
    list_weights,
    other_function,
)
from gcvideo.models.head import DenseHead
from tests.test_download import CONTENT, SHA256, server  # noqa: F401

TABLE = checkpoints()


def test_table_is_sound():
    assert len(TABLE) >= 30
    assert len({entry.url for entry in TABLE.values()}) == len(TABLE)
    for entry in TABLE.values():
        assert re.fullmatch(r"https?://[\w./-]+\.(pyth|pkl|pth)", entry.url)
        assert re.fullmatch(r"([0-9a-f]{8})?", entry.sha256)
        assert entry.kind in ("video", "image")
        assert entry.head in HEADS
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
    entry = Checkpoint("test/net", f"{server.url}/net.pyth", SHA256[:8], "slowonly_r50", "none", "", "pool", "video")
    monkeypatch.setattr(sys.modules["gcvideo.models.published"], "checkpoints", lambda: {"test/net": entry})
    monkeypatch.setenv("GCVIDEO_CACHE", str(tmp_path))
    for _ in range(2):
        path = find_weights("test/net")
        assert path == tmp_path / "test" / "net.pyth"
        assert path.read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_file_without_a_published_digest_is_trusted_once(server, tmp_path, monkeypatch):  # noqa: F811
    """With a warning that says so; a file that changes afterwards is refused."""
    entry = Checkpoint("test/net", f"{server.url}/net.pyth", "", "slowonly_tiny", "none", "", "pool", "video")
    monkeypatch.setattr(sys.modules["gcvideo.models.published"], "checkpoints", lambda: {"test/net": entry})
    with pytest.warns(UserWarning, match=f"publishes no SHA-256; trusting this download, {SHA256}"):
        path = find_weights("test/net", tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_weights("test/net", tmp_path) == path
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsError, match="has changed since it was downloaded; delete it and net.pyth.sha256"):
        find_weights("test/net", tmp_path)


def test_a_file_with_a_published_digest_is_checked_every_time(server, tmp_path, monkeypatch):  # noqa: F811
    row = ("slowonly_tiny", "none", "", "pool", "video")
    entry = Checkpoint("test/net", f"{server.url}/net.pyth", SHA256[:8], *row)
    monkeypatch.setattr(sys.modules["gcvideo.models.published"], "checkpoints", lambda: {"test/net": entry})
    path = find_weights("test/net", tmp_path)
    path.write_bytes(b"other")
    with pytest.raises(WeightsError, match=rf"SHA-256 is .*, expected {SHA256[:8]}\.\.\.; delete the file"):
        find_weights("test/net", tmp_path)


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
    right = {"pool_first": False, "use_scale": False, "mode": "embedded_gaussian"}
    assert other_function(name, "i3d_32x2_r50", "nl5", right) == ""
    assert "network i3d_32x2_r50, not i3d_r50" in other_function(name, "i3d_r50", "nl5", right)
    assert "use_scale=False, not None" in other_function(
        name, "i3d_32x2_r50", "nl5", {"pool_first": False, "mode": "dot_product"}
    )
    assert other_function("pytorchvideo/slow_8x8_r50", "slowonly_r50", "gc_all", {}) == ""  # new blocks
    assert other_function("torchvision/resnet50_v1", "i3d_r50", "none", {}) == ""
    assert other_function("runs/a/best.ckpt", "i3d_r50", "none", {}) == ""


def publish(tmp_path, monkeypatch, network, *args, **arguments):
    """A published file "test/net" of a network with random weights, in the cache; args are the rest of its row."""
    source = create_model(network, **arguments)
    (tmp_path / "test").mkdir()
    torch.save({"state_dict": source.state_dict()}, tmp_path / "test" / "net.pyth")
    entry = Checkpoint("test/net", "http://localhost/net.pyth", sha256_of(tmp_path / "test" / "net.pyth")[:8], *args)
    monkeypatch.setattr(sys.modules["gcvideo.models.published"], "checkpoints", lambda: {"test/net": entry})
    monkeypatch.setenv("GCVIDEO_CACHE", str(tmp_path))


def test_a_model_of_another_function_warns(tmp_path, monkeypatch):
    """The published names of I3D 8x8 load into the 32x2 network, which has other strides."""
    publish(tmp_path, monkeypatch, "slowonly_tiny", "i3d_r50", "none", "", "pool", "video", num_classes=3)
    with pytest.warns(UserWarning, match="test/net is published with network i3d_r50, not slowonly_tiny"):
        create_model("slowonly_tiny", num_classes=3, weights="test/net")


def test_a_published_file_brings_its_options_and_its_head(tmp_path, monkeypatch, recwarn):
    nl = {"at": {"res4": [0]}, "mode": "dot_product", "sub_sample": False}
    row = ("slowonly_tiny", "nl", "mode=dot_product sub_sample=false", "dense", "video")
    publish(tmp_path, monkeypatch, "slowonly_tiny", *row, blocks="nl", num_classes=3, **nl)
    model = create_model("slowonly_tiny", "nl", num_classes=3, at={"res4": [0]}, weights="test/net")
    (block,) = inserted_blocks(model).values()
    assert (block.mode, block.sub_sample) == ("dot_product", False)
    assert isinstance(model.blocks[-1], DenseHead)
    assert not recwarn
    # What is stated wins, with a warning.
    problem = other_function("test/net", "slowonly_tiny", "nl", {**nl, "mode": "gaussian"}, "pool")
    assert problem == "test/net is published with mode=dot_product, not gaussian, head dense, not pool"
    with pytest.warns(UserWarning, match="is published with head dense, not pool"):
        model = create_model("slowonly_tiny", "nl", num_classes=3, at={"res4": [0]}, weights="test/net", head="pool")
    assert not isinstance(model.blocks[-1], DenseHead)


def test_a_published_image_network_is_inflated_without_asking(tmp_path, monkeypatch):
    """Like pyslowfast/r50_in1k, whose kernels are 3D with one frame."""
    row = ("slowonly_r50", "none", "", "pool")
    publish(tmp_path, monkeypatch, "c2d_nopool_r50", *row, "image", num_classes=3)
    assert create_model("slowonly_r50", num_classes=3, weights="test/net")
    entry = Checkpoint("test/net", "http://localhost/net.pyth", "", *row, "video")
    monkeypatch.setattr(sys.modules["gcvideo.models.published"], "checkpoints", lambda: {"test/net": entry})
    with pytest.raises(WeightsError, match="9 kernels have one frame"):
        create_model("slowonly_r50", num_classes=3, weights="test/net")


@pytest.mark.parametrize("name", [name for name, entry in TABLE.items() if entry.blocks.startswith("nl")])
def test_rows_with_non_local_blocks_say_what_their_files_do_not(name):
    told = {"mmaction2": {"sub_sample", "pool_first"}, "pyslowfast": {"pool_first", "use_scale"}}[name.split("/")[0]]
    options = TABLE[name].block_options
    assert {"mode", "sub_sample"} <= set(options) | told
    assert "use_scale" in set(options) | told or options["mode"] != "embedded_gaussian"
