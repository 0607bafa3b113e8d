"""Equal tensors, another function: what a file tells is checked, what it does not tell must be stated."""

import copy

import pytest
import torch
import yaml
from torch import nn

from gcvideo import create_model, inserted_blocks
from gcvideo.models import WeightsError, insert_blocks, load_weights
from gcvideo.models.backbones import resnet3d
from gcvideo.training.task import VideoTask
from tests.models.peers import (
    CLIP,
    add_non_local,
    caffe2_blobs,
    pyslowfast_names,
    pytorchvideo_net,
    wake_net,
    write_caffe2,
)
from tests.models.test_weights import mmaction_v0_names, ours
from tests.parity import assert_parity

ALL = ("mode", "sub_sample", "use_scale")


def write(path, layout, temporal="slowonly", non_local=True, **others):
    """A file with the names of a project, of a network with or without NL blocks (softmax); returns the network."""
    peer = pytorchvideo_net(temporal)
    blocks = add_non_local(peer) if non_local else nn.ModuleDict()
    if layout == "caffe2":
        write_caffe2(path, caffe2_blobs(pyslowfast_names(peer, blocks)))
    elif layout == "mmaction":
        torch.save({"meta": {}, "state_dict": mmaction_v0_names(peer, blocks)}, path)
    else:
        torch.save({"model_state": pyslowfast_names(peer, blocks), **others}, path)
    return peer


@pytest.mark.parametrize(
    ("layout", "suffix", "untold"),
    (
        ("pyslowfast", ".pyth", ["mode", "sub_sample"]),
        ("caffe2", ".pkl", ["mode", "sub_sample", "use_scale"]),
        ("mmaction", ".pth", ["mode"]),
    ),
)
def test_what_a_file_does_not_tell_must_be_stated(tmp_path, layout, suffix, untold):
    file = tmp_path / f"nl{suffix}"
    write(file, layout)
    net = ours(blocks="nl5", block_options={"use_scale": layout != "mmaction"})
    before = copy.deepcopy(net.state_dict())
    for left_out in untold:
        stated = [option for option in untold if option != left_out]
        with pytest.raises(WeightsError, match=f"files do not tell {left_out} of their NL blocks; state them") as error:
            load_weights(net, file, stated=stated)
        assert f"{left_out}={getattr(next(iter(inserted_blocks(net).values())), left_out)!r}" in str(error.value)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not load_weights(net, file, stated=untold).new


def test_use_scale_need_not_be_stated_where_it_has_no_effect(tmp_path):
    peer = pytorchvideo_net()
    blobs = caffe2_blobs(pyslowfast_names(peer, add_non_local(peer, "dot_product")))
    write_caffe2(tmp_path / "nl.pkl", blobs)
    net = ours(blocks="nl5", block_options={"mode": "dot_product"})
    load_weights(net, tmp_path / "nl.pkl", stated=("mode", "sub_sample"))
    clip = torch.randn(CLIP)
    with torch.no_grad():
        assert_parity(net(clip), peer(clip))


def test_nothing_is_asked_about_blocks_that_the_file_or_the_model_does_not_have(tmp_path):
    write(tmp_path / "plain.pyth", "pyslowfast", non_local=False)
    assert len(load_weights(ours(blocks="nl5"), tmp_path / "plain.pyth").new) == 5
    torch.save(wake_net(ours(blocks="gc5")).state_dict(), tmp_path / "gc.pth")
    load_weights(ours(blocks="gc5"), tmp_path / "gc.pth")


def test_options_given_to_create_model_are_stated(tmp_path):
    source = create_model("slowonly_thin", "nl5", num_classes=3)
    state = {"model_state": pyslowfast_state_of(source)}
    torch.save(state, tmp_path / "nl.pyth")
    arguments = {"blocks": "nl5", "num_classes": 3, "weights": str(tmp_path / "nl.pyth")}
    with pytest.raises(WeightsError, match="files do not tell sub_sample of their NL blocks"):
        create_model("slowonly_thin", **arguments, mode="embedded_gaussian")
    create_model("slowonly_thin", **arguments, mode="embedded_gaussian", sub_sample=True)


def pyslowfast_state_of(net):
    from gcvideo.models.exporting import EXPORTS

    return EXPORTS["pyslowfast"](net, net.state_dict())


def config(instantiation="softmax", pool=(1, 2, 2), arch="slow"):
    """As PySlowFast stores it in its checkpoints, next to the tensors."""
    sections = {"INSTANTIATION": instantiation, "POOL": [[list(pool)] * 2] * 4}
    return yaml.safe_dump({"NONLOCAL": sections, "MODEL": {"ARCH": arch}, "NUM_GPUS": 8})


def test_a_checkpoint_of_pyslowfast_tells_by_its_configuration(tmp_path):
    peer = write(tmp_path / "nl.pyth", "pyslowfast", cfg=config())
    net = ours(blocks="nl5")
    load_weights(net, tmp_path / "nl.pyth")
    clip = torch.randn(CLIP)
    with torch.no_grad():
        assert_parity(net(clip), peer(clip))
    for cfg, needed in (
        (config("dot_product"), "mode=dot_product"),
        (config(pool=(1, 1, 1)), "sub_sample=False"),
    ):
        write(tmp_path / "nl.pyth", "pyslowfast", cfg=cfg)
        with pytest.raises(WeightsError, match=f"another function; build the model with {needed}"):
            load_weights(net, tmp_path / "nl.pyth", stated=ALL)


@pytest.mark.parametrize("cfg", ("", "NUM_GPUS: 8", "a: [", "[1, 2]", 3, "NONLOCAL: {POOL: 3, INSTANTIATION: [1]}"))
def test_a_configuration_that_tells_nothing(tmp_path, cfg):
    write(tmp_path / "nl.pyth", "pyslowfast", cfg=cfg)
    with pytest.raises(WeightsError, match="files do not tell mode, sub_sample"):
        load_weights(ours(blocks="nl5"), tmp_path / "nl.pyth")


@pytest.mark.parametrize("network", ("slowonly_tiny", "resnet50"))
def test_a_run_tells_by_its_settings(tmp_path, network, recwarn):
    """A Lightning checkpoint of ours, also of an image model, where nothing need be stated."""
    block = {"at": {"res4": [0]}, "mode": "dot_product", "sub_sample": False}
    task = VideoTask(["a", "b"], network, "nl", block)
    torch.save({"state_dict": task.state_dict(), "hyper_parameters": dict(task.hparams)}, tmp_path / "a.ckpt")
    load_weights(create_model(network, "nl", num_classes=2, **block), tmp_path / "a.ckpt")
    assert not recwarn
    with pytest.raises(WeightsError, match="another function; build the model with mode=dot_product, sub_sample=False"):
        load_weights(create_model(network, "nl", num_classes=2, at={"res4": [0]}), tmp_path / "a.ckpt")


def test_a_state_dict_of_ours_does_not_tell_and_loads_with_a_warning(tmp_path, recwarn):
    net = create_model("slowonly_tiny", "nl", num_classes=2, at={"res4": [0]})
    torch.save(net.state_dict(), tmp_path / "a.pth")
    load_weights(net, tmp_path / "a.pth", stated=("mode", "sub_sample", "pool_first", "use_scale"))
    assert not recwarn
    with pytest.warns(UserWarning, match="those of the model are mode='embedded_gaussian', sub_sample=True"):
        load_weights(net, tmp_path / "a.pth")


def test_mmaction_v0_does_not_scale(tmp_path):
    write(tmp_path / "v0.pth", "mmaction")
    with pytest.raises(WeightsError, match="another function; build the model with use_scale=False"):
        load_weights(ours(blocks="nl5"), tmp_path / "v0.pth", stated=ALL)


def test_mmaction_v0_tells_whether_it_sub_samples(tmp_path):
    peer = pytorchvideo_net()
    state = mmaction_v0_names(peer, add_non_local(peer))
    whole = {key.replace(".phi.1.", ".phi.").replace(".g.1.", ".g."): value for key, value in state.items()}
    for content, needed in ((state, True), (whole, False)):
        torch.save({"state_dict": content}, tmp_path / "v0.pth")
        options = {"use_scale": False, "sub_sample": not needed}
        with pytest.raises(WeightsError, match=f"build the model with sub_sample={needed}"):
            load_weights(ours(blocks="nl5", block_options=options), tmp_path / "v0.pth", stated=ALL)


def test_affine_files_of_video_nonlocal_net_may_group_time(tmp_path, recwarn):
    peer = pytorchvideo_net()
    blobs = caffe2_blobs(pyslowfast_names(peer, add_non_local(peer)))
    write_caffe2(tmp_path / "bn.pkl", blobs)
    load_weights(ours(blocks="nl5"), tmp_path / "bn.pkl", stated=ALL)
    assert not recwarn
    write_caffe2(tmp_path / "affine.pkl", {k: v for k, v in blobs.items() if not k.endswith(("_rm", "_riv"))})
    with pytest.warns(UserWarning, match="the NL blocks of res3 attend within groups of 4 frames"):
        load_weights(ours(blocks="nl5"), tmp_path / "affine.pkl", stated=ALL)


@pytest.mark.parametrize("suffix", (".pyth", ".pkl"))
def test_c2d_files_do_not_tell_whether_they_pool_time(tmp_path, suffix, recwarn):
    file = tmp_path / f"c2d{suffix}"
    write(file, "caffe2" if suffix == ".pkl" else "pyslowfast", "c2d_nopool", non_local=False)
    load_weights(ours("c2d_nopool"), file, stated=["network"])
    assert not recwarn
    for temporal, text in (("c2d", "pools time after res2"), ("c2d_nopool", "does not pool time after res2")):
        with pytest.warns(UserWarning, match=f"whether C2D pools time after res2; this model {text}"):
            load_weights(ours(temporal), file)


def test_i3d_and_slow_only_are_no_c2d(tmp_path, recwarn):
    for temporal in ("i3d", "slowonly"):
        write(tmp_path / "net.pyth", "pyslowfast", temporal, non_local=False)
        load_weights(ours(temporal), tmp_path / "net.pyth")
    assert not recwarn


@pytest.mark.parametrize(
    ("arch", "right", "wrong"), (("c2d", "c2d", "c2d_nopool"), ("c2d_nopool", "c2d_nopool", "c2d"))
)
def test_pyslowfast_tells_the_pool_by_its_configuration(tmp_path, arch, right, wrong, recwarn):
    write(tmp_path / "c2d.pyth", "pyslowfast", right, non_local=False, cfg=config(arch=arch))
    load_weights(ours(right), tmp_path / "c2d.pyth")
    assert not recwarn
    with pytest.raises(WeightsError, match="the network of the file .*pools? time after res2, that of the model"):
        load_weights(ours(wrong), tmp_path / "c2d.pyth")


@pytest.mark.parametrize(("right", "wrong"), (("c2d", "c2d_nopool"), ("c2d_nopool", "c2d")))
def test_pytorchvideo_tells_the_pool_by_its_names(tmp_path, right, wrong, recwarn):
    torch.save({"model_state": pytorchvideo_net(right).state_dict()}, tmp_path / "c2d.pyth")
    load_weights(ours(right), tmp_path / "c2d.pyth")
    assert not recwarn
    with pytest.raises(WeightsError, match="the network of the file .*pools? time after res2, that of the model"):
        load_weights(ours(wrong), tmp_path / "c2d.pyth")


@pytest.mark.parametrize("layout", ("pytorchvideo", "pyslowfast"))
@pytest.mark.parametrize("temporal", ("c2d", "c2d_nopool"))
def test_a_video_network_is_inflated_only_if_asked_for(tmp_path, layout, temporal):
    """C2D into slow-only: conv_a of the 6 + 3 blocks of res4 and res5."""
    peer = pytorchvideo_net(temporal)
    state = peer.state_dict() if layout == "pytorchvideo" else pyslowfast_names(peer, nn.ModuleDict())
    torch.save({"model_state": state}, tmp_path / "c2d.pyth")
    net = ours()
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(
        WeightsError, match="9 kernels have one frame, .* and 7 more.*state inflation='mean' or 'center'"
    ):
        load_weights(net, tmp_path / "c2d.pyth")
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert len(load_weights(net, tmp_path / "c2d.pyth", "mean").inflated) == 9


def test_r101_of_pyslowfast_has_fewer_temporal_kernels(tmp_path):
    """Its NUM_BLOCK_TEMP_KERNEL is 6 of the 23 blocks of res4: 17 are kernels of one frame."""
    file = resnet3d("slowonly", (1, 1, 23, 1), num_classes=7, width=8).state_dict()
    for block in range(6, 23):
        key = f"blocks.3.res_blocks.{block}.branch2.conv_a.weight"
        file[key] = file[key][:, :, :1]
    torch.save(file, tmp_path / "r101.pth")
    with pytest.raises(WeightsError, match="17 kernels have one frame"):
        load_weights(resnet3d("slowonly", (1, 1, 23, 1), num_classes=7, width=8), tmp_path / "r101.pth")


def test_r101_of_video_nonlocal_net(tmp_path):
    """NL blocks after res4's 6, 13 and 20: the names tell, the preset does not fit."""
    at = {"res3": [0], "res4": [6, 13, 20]}
    source = resnet3d("slowonly", (1, 1, 23, 1), num_classes=7, width=8)
    insert_blocks(source, "nl", at)
    write_caffe2(tmp_path / "r101.pkl", caffe2_blobs(pyslowfast_state_of(source)))
    net = resnet3d("slowonly", (1, 1, 23, 1), num_classes=7, width=8)
    insert_blocks(net, "nl", {"res3": [0], "res4": [1, 3, 5]})
    with pytest.raises(WeightsError, match="the model has no tensor for nonlocal_conv4_6_theta_w"):
        load_weights(net, tmp_path / "r101.pkl", stated=ALL)
    net = resnet3d("slowonly", (1, 1, 23, 1), num_classes=7, width=8)
    insert_blocks(net, "nl", at)
    assert not load_weights(net, tmp_path / "r101.pkl", stated=ALL).new
