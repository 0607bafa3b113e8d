"""Checkpoints of other projects give the same logits here: independent net -> its own file -> ours."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from gcvideo import create_model
from gcvideo.models import WeightsError, export_weights, insert_blocks, load_weights
from gcvideo.models.backbones import resnet3d
from gcvideo.models.caffe2_file import _ArrayUnpickler
from gcvideo.models.layouts import LAYOUTS, detect
from gcvideo.models.naming import TensorName
from tests.models.peers import (
    CLIP,
    TEMPORAL,
    GCBottleneck,
    add_non_local,
    caffe2_blobs,
    image_net,
    pyslowfast_names,
    pytorchvideo_net,
    wake_net,
    write_caffe2,
)
from tests.parity import assert_parity

NARROW = {"num_classes": 7, "width": 8}
KNOWN = ("mode", "sub_sample", "use_scale", "network")  # what some files do not tell; see test_same_function.py


def ours(temporal="slowonly", blocks="none", depths=(3, 4, 6, 3), **arguments):
    net = resnet3d(temporal, depths, **NARROW)
    insert_blocks(net, blocks, **arguments)
    return net.eval()


@torch.no_grad()
def assert_same_logits(net, peer):
    clip = torch.randn(CLIP)
    assert_parity(net(clip), peer(clip))


@pytest.mark.parametrize("temporal", TEMPORAL)
def test_pytorchvideo_hub_file(tmp_path, temporal):
    peer = pytorchvideo_net(temporal)
    torch.save({"model_state": peer.state_dict()}, tmp_path / "net.pyth")
    net = ours(temporal)
    report = load_weights(net, tmp_path / "net.pyth")
    assert (report.layout, report.inflated, report.ignored, report.new) == ("pytorchvideo", [], [], [])
    assert len(report.matched) == len(net.state_dict())
    assert_same_logits(net, peer)


@pytest.mark.parametrize("suffix", (".pyth", ".pkl"))
@pytest.mark.parametrize("temporal", TEMPORAL)
@pytest.mark.parametrize("mode", (None, "embedded_gaussian", "dot_product"))
def test_pyslowfast_file(tmp_path, temporal, mode, suffix):
    """With and without NL blocks, as .pyth and as caffe2's .pkl."""
    peer = pytorchvideo_net(temporal)
    instantiation = "dot_product" if mode == "dot_product" else "softmax"
    blocks = nn.ModuleDict() if mode is None else add_non_local(peer, instantiation)
    state = pyslowfast_names(peer, blocks)
    file = tmp_path / f"net{suffix}"
    if suffix == ".pkl":
        write_caffe2(file, caffe2_blobs(state))
    else:
        torch.save({"epoch": 3, "model_state": state, "optimizer_state": {}, "cfg": "NUM_GPUS: 8"}, file)
    net = ours(temporal) if mode is None else ours(temporal, "nl5", block_options={"mode": mode})
    report = load_weights(net, file, stated=KNOWN)
    assert report.layout == ("caffe2" if suffix == ".pkl" else "pyslowfast")
    assert not report.new
    assert_same_logits(net, peer)


def test_affine_caffe2_file(tmp_path):
    """Batch norms without statistics only scale and shift."""
    peer = pytorchvideo_net()
    for module in peer.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.zeros_(module.running_mean)
            nn.init.constant_(module.running_var, 1 - module.eps)
    blobs = caffe2_blobs(pyslowfast_names(peer, nn.ModuleDict()))
    write_caffe2(tmp_path / "affine.pkl", {k: v for k, v in blobs.items() if not k.endswith(("_rm", "_riv"))})
    net = wake_net(ours())
    load_weights(net, tmp_path / "affine.pkl")
    assert_same_logits(net, peer)


# Names from the sources of the projects -> what they are; see the head of gcvideo/models/layouts.py.
PUBLISHED_NAMES = {
    "pytorchvideo": {
        "blocks.0.conv.weight": ("stem.conv", 0, 0, "weight"),
        "blocks.1.res_blocks.0.branch1_norm.running_var": ("shortcut.norm", 2, 0, "running_var"),
        "blocks.4.res_blocks.2.branch2.conv_b.weight": ("b.conv", 5, 2, "weight"),
        "blocks.5.proj.bias": ("head", 0, 0, "bias"),
    },
    "pyslowfast": {
        "s1.pathway0_stem.bn.running_mean": ("stem.norm", 0, 0, "running_mean"),
        "s2.pathway0_res0.branch1.weight": ("shortcut.conv", 2, 0, "weight"),
        "s4.pathway0_res5.branch2.a_bn.bias": ("a.norm", 4, 5, "bias"),
        "s3.pathway0_nonlocal1.conv_theta.weight": ("context.conv_theta", 3, 1, "weight"),
        "s4.pathway0_nonlocal5.bn.weight": ("context.norm", 4, 5, "weight"),
        "head.projection.weight": ("head", 0, 0, "weight"),
    },
    "caffe2": {
        "conv1_w": ("stem.conv", 0, 0, "weight"),
        "res_conv1_bn_riv": ("stem.norm", 0, 0, "running_var"),
        "res2_0_branch1_w": ("shortcut.conv", 2, 0, "weight"),
        "res4_5_branch2b_bn_s": ("b.norm", 4, 5, "weight"),
        "nonlocal_conv3_1_theta_w": ("context.conv_theta", 3, 1, "weight"),
        "nonlocal_conv4_3_out_b": ("context.conv_out", 4, 3, "bias"),
        "nonlocal_conv4_3_bn_rm": ("context.norm", 4, 3, "running_mean"),
        "pred_b": ("head", 0, 0, "bias"),
    },
    "mmaction2": {
        "conv1.bn.weight": ("stem.norm", 0, 0, "weight"),
        "layer1.0.downsample.conv.weight": ("shortcut.conv", 2, 0, "weight"),
        "layer3.5.conv3.bn.bias": ("c.norm", 4, 5, "bias"),
        "layer2.0.non_local_block.g.0.conv.weight": ("context.conv_g", 3, 0, "weight"),
        "layer2.0.non_local_block.g.conv.weight": ("context.conv_g", 3, 0, "weight"),
        "layer2.2.non_local_block.conv_out.bn.running_mean": ("context.norm", 3, 2, "running_mean"),
        "cls_head.fc_cls.weight": ("head", 0, 0, "weight"),
    },
    "torchvision": {
        "bn1.running_var": ("stem.norm", 0, 0, "running_var"),
        "layer4.0.downsample.1.weight": ("shortcut.norm", 5, 0, "weight"),
        "layer2.3.context_block.channel_add_conv.0.weight": ("context.channel_add_conv.0", 3, 3, "weight"),
        "layer2.1.nonlocal_block.phi.1.bias": ("context.conv_phi", 3, 1, "bias"),
        "layer2.1.nonlocal_block.W.0.weight": ("context.conv_out", 3, 1, "weight"),
        "layer3.1.bn3.context.conv_mask.bias": ("context.conv_mask", 4, 1, "bias"),
        "fc.bias": ("head", 0, 0, "bias"),
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_names_of_the_projects(layout):
    stages = [f"blocks.{n}.res_blocks.0.branch1_conv.weight" for n in (1, 2, 3, 4)]  # settle the numbers of the stages
    for key, name in PUBLISHED_NAMES[layout].items():
        keys, unknown, _ = LAYOUTS[layout].parse([key, *(stages if layout == "pytorchvideo" else [])])
        assert not unknown
        assert keys[TensorName(*name)] == key
    assert detect([*PUBLISHED_NAMES[layout], *(stages if layout == "pytorchvideo" else [])]) == layout


def test_2d_weights_in_the_middle_frame_give_the_2d_net(tmp_path):
    """With "center", a single frame sees only the 2D kernels: there is zero padding before and after it."""
    peer = image_net()
    torch.save(peer.state_dict(), tmp_path / "r.pth")
    net = resnet3d("slowonly", (1, 1, 1, 1), num_classes=7).eval()
    report = load_weights(net, tmp_path / "r.pth", inflation="center")
    assert len(report.inflated) == 2  # conv_a of res4 and res5
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert_parity(net(image[:, :, None]), peer(image))


def test_2d_weights_spread_over_time_give_the_2d_net_on_a_still_clip(tmp_path):
    peer = image_net()
    torch.save(peer.state_dict(), tmp_path / "r.pth")
    net = resnet3d("slowonly", (1, 1, 1, 1), num_classes=7).eval()
    load_weights(net, tmp_path / "r.pth")
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        features = nn.Sequential(*net.blocks[:-1])(image[:, :, None].expand(-1, -1, 7, -1, -1))
        expected = nn.Sequential(*list(peer.children())[:-2])(image)
    for frame in (2, 3, 4):  # padding in time reaches two frames from each end
        assert_parity(features[:, :, frame], expected)
    assert (features[:, :, 0] - expected).abs().max() > 1e-3


def test_inflation_of_a_kernel(tmp_path):
    peer = image_net()
    torch.save(peer.state_dict(), tmp_path / "r.pth")
    kernel = peer.layer3[0].conv1.weight
    key = "blocks.3.res_blocks.0.branch2.conv_a.weight"
    for inflation in ("mean", "center"):
        net = resnet3d("slowonly", (1, 1, 1, 1), num_classes=7)
        load_weights(net, tmp_path / "r.pth", inflation)
        assert_parity(net.state_dict()[key].sum(dim=2), kernel)
        assert (net.state_dict()[key][:, :, 0].abs().max() > 0) == (inflation == "mean")
    with pytest.raises(ValueError, match="inflation must be one of \\('mean', 'center'\\), got 'last'"):
        load_weights(net, tmp_path / "r.pth", "last")


@pytest.mark.parametrize("prefix", ("", "backbone.", "module.backbone."))
def test_gcnet_2d_blocks_inflate_into_the_video_model(tmp_path, prefix):
    peer = image_net(GCBottleneck)
    state = {prefix + key: value for key, value in peer.state_dict().items()}
    if prefix == "module.backbone.":  # a detector
        state |= {"neck.lateral_convs.0.conv.weight": torch.ones(2), "roi_head.bbox_head.fc_cls.weight": torch.ones(2)}
    torch.save({"meta": {"epoch": 12}, "state_dict": state}, tmp_path / "gc.pth")
    net = resnet3d("slowonly", (1, 1, 1, 1), num_classes=7).eval()
    insert_blocks(net, "gc_all")
    report = load_weights(net, tmp_path / "gc.pth", inflation="center")
    assert not report.new
    assert report.ignored == (["neck (1 tensors)", "roi_head (1 tensors)"] if prefix == "module.backbone." else [])
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert_parity(net(image[:, :, None]), peer(image))


def mmaction_v0_names(net, blocks):
    """State of a pytorchvideo net as mmaction v0 names it, whose NL blocks do not scale: theta does instead."""
    state = {}
    tails = {"conv_theta": "theta", "conv_phi": "phi.1", "conv_g": "g.1", "conv_out": "W.0", "bn": "W.1"}
    for key, value in pyslowfast_names(net, blocks).items():
        name, _, leaf = key.rpartition(".")
        if name.startswith("s1."):
            name = "bn1" if name.endswith("bn") else "conv1"
        elif name.startswith("head"):
            name = "fc_cls"
        else:
            stage, block, rest = int(name[1]), *name.split("pathway0_")[1].split(".", 1)
            prefix = f"layer{stage - 1}.{block.removeprefix('res').removeprefix('nonlocal')}."
            if block.startswith("nonlocal"):
                if rest == "conv_theta":
                    value = value * len(value) ** -0.5 if leaf == "weight" else value * value.numel() ** -0.5
                name = f"{prefix}nonlocal_block.{tails[rest]}"
                if rest == "bn":
                    state[f"backbone.{prefix}nonlocal_block.bn.{leaf}"] = value  # registered twice there
            elif rest.startswith("branch1"):
                name = prefix + ("downsample.1" if rest.endswith("bn") else "downsample.0")
            else:
                name = prefix + ("bn" if rest.endswith("bn") else "conv") + str(" abc".index(rest[8]))
        state[("cls_head." if name == "fc_cls" else "backbone.") + f"{name}.{leaf}"] = value
    return state


@pytest.mark.parametrize("blocks", ("none", "nl5"))
def test_mmaction_v0_file(tmp_path, blocks):
    peer = pytorchvideo_net()
    added = nn.ModuleDict() if blocks == "none" else add_non_local(peer)
    torch.save({"meta": {}, "state_dict": mmaction_v0_names(peer, added)}, tmp_path / "v0.pth")
    net = ours(blocks=blocks, block_options={} if blocks == "none" else {"use_scale": False})
    assert load_weights(net, tmp_path / "v0.pth", stated=["mode"]).layout == "torchvision"
    assert_same_logits(net, peer)


def test_image_model_trained_here_inflates_blocks_and_all(tmp_path):
    image_model = wake_net(create_model("resnet50", "gc_all", num_classes=7, ratio=1 / 16))
    torch.save({"state_dict": {f"net.{k}": v for k, v in image_model.state_dict().items()}}, tmp_path / "our.ckpt")
    video_model = create_model("slowonly_r50", "gc_all", num_classes=7, ratio=1 / 16).eval()
    report = load_weights(video_model, tmp_path / "our.ckpt", inflation="center")
    assert not report.new
    assert not report.ignored
    image = torch.randn(1, 3, 1, 64, 64)
    with torch.no_grad():
        assert_parity(video_model(image), image_model(image))


@pytest.mark.parametrize("site", ("after_1x1", "after_add", "after_block"))
def test_blocks_of_our_checkpoints_load_at_any_site(tmp_path, site):
    source = wake_net(ours(blocks="gc_all", site=site))
    torch.save({"state_dict": {f"net.{key}": value for key, value in source.state_dict().items()}}, tmp_path / "a.ckpt")
    net = ours(blocks="gc_all", site=site)
    assert len(load_weights(net, tmp_path / "a.ckpt").matched) == len(net.state_dict())
    assert_same_logits(net, source)


def test_only_a_classifier_of_another_size_is_ignored(tmp_path):
    peer = pytorchvideo_net()
    torch.save({"model_state": peer.state_dict()}, tmp_path / "net.pyth")
    net = resnet3d("slowonly", (3, 4, 6, 3), num_classes=5, width=8)
    insert_blocks(net, "gc5")
    head = copy.deepcopy(net.blocks[5].proj.state_dict())
    report = load_weights(net, tmp_path / "net.pyth")
    assert report.ignored == ["blocks.5.proj.weight (7 classes, here 5)", "blocks.5.proj.bias (7 classes, here 5)"]
    assert len(report.new) == 5
    assert torch.equal(net.blocks[5].proj.weight, head["weight"])
    summary = str(report)
    assert "318 tensors matched; 0 inflated; ignored: blocks.5.proj.weight (7 classes, here 5)" in summary
    assert "left as initialised: blocks.2.res_blocks.1.branch2.norm_c.context (8 tensors)" in summary
    clip = torch.randn(CLIP)  # new blocks are the identity: the features are the peer's
    with torch.no_grad():
        assert_parity(nn.Sequential(*net.eval().blocks[:-1])(clip), nn.Sequential(*peer.blocks[:-1])(clip))


def test_file_without_a_classifier(tmp_path):
    state = {k: v for k, v in pytorchvideo_net().state_dict().items() if "proj" not in k}
    torch.save(state, tmp_path / "body.pth")
    assert load_weights(ours(), tmp_path / "body.pth").new == ["blocks.5.proj (2 tensors)"]


def change(state, how):
    key = "blocks.2.res_blocks.1.branch2.conv_a.weight"
    if how == "missing":
        del state[key]
    elif how == "shape":
        state[key] = state[key][:-1]
    elif how == "extra block":
        state["blocks.2.res_blocks.4.branch2.conv_a.weight"] = state[key]
    elif how == "inserted blocks":
        state["blocks.2.res_blocks.1.context.conv_mask.weight"] = torch.ones(1, 64, 1, 1, 1)
    elif how == "head of another width":
        state["blocks.5.proj.weight"] = torch.ones(7, 9)
    elif how == "unknown":
        state["decoder.weight"] = torch.ones(3)
    return state


@pytest.mark.parametrize(
    ("how", "message"),
    (
        ("missing", "does not fit the model: blocks.2.res_blocks.1.branch2.conv_a.weight is not in the file"),
        ("shape", r"conv_a.weight has shape \(15, 64, 1, 1, 1\), expected \(16, 64, 1, 1, 1\)"),
        ("extra block", "the model has no tensor for blocks.2.res_blocks.4.branch2.conv_a.weight"),
        ("inserted blocks", "the model has no tensor for blocks.2.res_blocks.1.context.conv_mask.weight"),
        ("head of another width", r"blocks.5.proj.weight has shape \(7, 9\), expected \(7, 256\)"),
        (
            "unknown",
            "not a bottleneck ResNet of a supported project; closest are the names of pytorchvideo, "
            "which has no decoder.weight",
        ),
    ),
)
def test_a_file_that_does_not_fit_changes_nothing(tmp_path, how, message):
    torch.save(change(dict(pytorchvideo_net().state_dict()), how), tmp_path / "bad.pth")
    net = ours()
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(WeightsError, match=message):
        load_weights(net, tmp_path / "bad.pth")
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_half_a_block_does_not_load(tmp_path):
    state = wake_net(ours(blocks="gc5")).state_dict()
    del state["blocks.2.res_blocks.1.branch2.norm_c.context.conv_mask.weight"]
    torch.save(state, tmp_path / "half.pth")
    with pytest.raises(WeightsError, match=r"context.conv_mask.weight is not in the file"):
        load_weights(ours(blocks="gc5"), tmp_path / "half.pth")


def test_blocks_that_pool_in_the_other_order_are_refused(tmp_path):
    peer = pytorchvideo_net()
    torch.save(pyslowfast_names(peer, add_non_local(peer)), tmp_path / "nl.pyth")
    with pytest.raises(WeightsError, match=r"another function; build the model with pool_first=True \(at blocks.2"):
        load_weights(ours(blocks="nl5", block_options={"pool_first": False}), tmp_path / "nl.pyth")


class Evil:
    def __reduce__(self):
        return (print, ("EXECUTED",))


@pytest.mark.parametrize("suffix", (".pth", ".pkl"))
def test_a_pickle_that_wants_code_is_refused_and_never_run(tmp_path, suffix, capsys):
    file = tmp_path / f"evil{suffix}"
    if suffix == ".pkl":
        file.write_bytes(pickle.dumps({"blobs": {"conv1_w": Evil()}}, protocol=2))
    else:
        torch.save({"model_state": {"blocks.0.conv.weight": Evil()}}, file)
    with pytest.raises(WeightsError, match=r"refused or unreadable.*never code.*print"):
        load_weights(ours(), file)
    assert "EXECUTED" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    (
        (b"", "refused or unreadable"),
        (b"not a checkpoint at all", "refused or unreadable"),
        (None, "no such file"),
        ([1, 2], "expected a state dict, got list"),
        ({"epoch": 3}, "holds no tensors"),
    ),
)
def test_unreadable_files(tmp_path, content, message):
    file = tmp_path / "x.pth"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        torch.save(content, file)
    with pytest.raises(WeightsError, match=message):
        load_weights(ours(), file)


def test_truncated_file(tmp_path):
    torch.save(pytorchvideo_net().state_dict(), tmp_path / "whole.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:5000])
    with pytest.raises(WeightsError, match="refused or unreadable"):
        load_weights(ours(), tmp_path / "cut.pth")


def test_models_of_others_are_refused(tmp_path):
    torch.save(pytorchvideo_net().state_dict(), tmp_path / "net.pth")
    with pytest.raises(WeightsError, match="load_weights needs a model of create_model"):
        load_weights(nn.Linear(2, 3), tmp_path / "net.pth")


def test_export_to_pytorchvideo(tmp_path):
    net = wake_net(ours())
    export_weights(net, tmp_path / "out.pyth", "pytorchvideo")
    peer = pytorchvideo_net()
    peer.load_state_dict(torch.load(tmp_path / "out.pyth", weights_only=True)["model_state"])
    assert_same_logits(net, peer)
    assert [file.name for file in tmp_path.iterdir()] == ["out.pyth"]


@pytest.mark.parametrize("temporal", ("slowonly", "i3d"))
def test_export_to_pyslowfast(tmp_path, temporal):
    """The names are those that PySlowFast gives the same net, the values come back."""
    net = wake_net(ours(temporal, "nl5"))
    export_weights(net, tmp_path / "out.pyth", "pyslowfast")
    state = torch.load(tmp_path / "out.pyth", weights_only=True)["model_state"]
    peer = pytorchvideo_net(temporal)
    assert set(state) == set(pyslowfast_names(peer, add_non_local(peer)))
    back = ours(temporal, "nl5")
    load_weights(back, tmp_path / "out.pyth", stated=KNOWN)
    assert_same_logits(back, net)


def test_an_export_says_what_pyslowfast_must_be_told(tmp_path, recwarn):
    export_weights(ours(blocks="nl5"), tmp_path / "a.pyth", "pyslowfast")
    assert not recwarn
    with pytest.warns(UserWarning, match=r"do not sub-sample.*set NONLOCAL.POOL of PySlowFast to \[\[\[1, 1, 1\]\], "):
        export_weights(ours(blocks="nl5", block_options={"sub_sample": False}), tmp_path / "b.pyth", "pyslowfast")


@pytest.mark.parametrize(
    ("blocks", "arguments", "message"),
    (
        ("gc5", {}, "pyslowfast has no name for .*conv_mask.weight"),
        ("nl5", {"site": "after_1x1"}, "are after the residual block; this one is at .*norm_c"),
        ("nl5", {"block_options": {"pool_first": False}}, "pool first and scale"),
        ("nl5", {"block_options": {"use_scale": False}}, "pool first and scale"),
        ("nl5", {"block_options": {"mode": "gaussian"}}, "are embedded_gaussian or dot_product, with norm"),
        ("nl5", {"block_options": {"norm": False}}, "are embedded_gaussian or dot_product, with norm"),
    ),
)
def test_what_pyslowfast_has_no_name_for_is_not_exported(tmp_path, blocks, arguments, message):
    with pytest.raises(WeightsError, match=message):
        export_weights(ours(blocks=blocks, **arguments), tmp_path / "out.pyth", "pyslowfast")
    assert not list(tmp_path.iterdir())


def test_bad_exports(tmp_path):
    with pytest.raises(WeightsError, match="keeps all frames in its stem"):
        export_weights(resnet3d("i3d", (1, 1, 1, 1), 7, width=8, stem_temporal_stride=2), tmp_path / "x", "pyslowfast")
    with pytest.raises(WeightsError, match=r"no folder .*nowhere to write into"):
        export_weights(ours(), tmp_path / "nowhere" / "x", "pyslowfast")
    with pytest.raises(ValueError, match="layout must be one of \\('pytorchvideo', 'pyslowfast'\\), got 'onnx'"):
        export_weights(ours(), tmp_path / "x", "onnx")
    with pytest.raises(WeightsError, match="only 3D models"):
        export_weights(create_model("resnet50", num_classes=3), tmp_path / "x", "pytorchvideo")


def test_the_unpickler_refuses_globals_by_name():
    with pytest.raises(pickle.UnpicklingError, match=r"asks for the global os\.system"):
        _ArrayUnpickler(io.BytesIO(b"cos\nsystem\n(S'true'\ntR.")).load()


def test_blocks_at_another_site_are_refused(tmp_path):
    torch.save(ours(blocks="gc_all", site="after_1x1").state_dict(), tmp_path / "a.pth")
    with pytest.raises(
        WeightsError, match=r"the block of .*norm_c.context.* is after_1x1, that of the model after_add"
    ):
        load_weights(ours(blocks="gc_all", site="after_add"), tmp_path / "a.pth")
    torch.save(image_net(GCBottleneck).state_dict(), tmp_path / "gc.pth")
    net = resnet3d("slowonly", (1, 1, 1, 1), num_classes=7)
    insert_blocks(net, "gc_all", site="after_block")
    with pytest.raises(WeightsError, match="is after_1x1, that of the model after_block"):
        load_weights(net, tmp_path / "gc.pth")


def test_one_name_under_two_prefixes_is_refused(tmp_path):
    state = pytorchvideo_net().state_dict()
    torch.save({**state, "model.blocks.0.conv.weight": state["blocks.0.conv.weight"] + 1}, tmp_path / "two.pth")
    with pytest.raises(WeightsError, match="blocks.0.conv.weight appears twice, under different prefixes"):
        load_weights(ours(), tmp_path / "two.pth")


def test_strings_in_a_caffe2_file_are_no_tensors(tmp_path):
    peer = pytorchvideo_net()
    blobs = caffe2_blobs(pyslowfast_names(peer, nn.ModuleDict()))
    write_caffe2(tmp_path / "net.pkl", {**blobs, "names": np.array(["a", "b"])})
    net = ours()
    report = load_weights(net, tmp_path / "net.pkl")
    assert "lr (1 tensors)" in report.ignored
    assert_same_logits(net, peer)
