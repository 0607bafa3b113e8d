"""Named models: exact sizes, the published structure, any input size, memory formats."""

import doctest
import sys
from typing import get_args

import pytest
import torch
from pytorchvideo.models.resnet import create_resnet
from torch import nn

from gcvideo import create_model, insert, inserted_blocks, list_models
from gcvideo.analysis import count_parameters
from gcvideo.errors import UsageError
from gcvideo.models import NETWORKS, PRESETS, BlocksName, NetworkName, WeightsError
from gcvideo.models.backbones import resnet3d
from tests.models.peers import POOLED, TEMPORAL


def meta(name, blocks="none", **arguments):
    with torch.device("meta"):
        return create_model(name, blocks, **arguments)


def test_names_on_the_command_line_are_those_of_the_tables():
    assert get_args(NetworkName) == tuple(NETWORKS)
    assert get_args(BlocksName) == tuple(PRESETS)


def test_example_in_the_docstring():
    results = doctest.testmod(sys.modules["gcvideo.models.create"])
    assert (results.attempted, results.failed) == (3, 0)


def test_list_models():
    assert list_models() == list(NETWORKS)
    assert list_models("slow*_r50") == ["slowonly_r50"]
    assert list_models("I3D*") == []


@pytest.mark.parametrize("blocks", ("none", "gc_all"))
@pytest.mark.parametrize(
    ("keyword", "hint"),
    (
        ("num_clases", "did you mean num_classes"),
        ("pretrained", "did you mean weights"),
        ("rati", "did you mean ratio"),
        ("xyz", "expected name, blocks, num_classes, .*pooling_type"),
    ),
)
def test_an_unknown_keyword_is_an_error_with_blocks_and_without(blocks, keyword, hint):
    with pytest.raises(UsageError, match=f"unexpected keyword '{keyword}'; {hint}"):
        create_model("slowonly_tiny", blocks, **{keyword: 3})


def test_weights_are_loaded_on_request_only(tmp_path):
    source = create_model("slowonly_tiny", "gc_all", num_classes=3)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    model = create_model("slowonly_tiny", "gc_all", num_classes=3, weights=str(tmp_path / "w.pth"))
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in source.state_dict().items())
    with pytest.raises(WeightsError, match="does not fit the model"):
        create_model("slowonly_thin", num_classes=3, weights=str(tmp_path / "w.pth"))
    with pytest.raises(WeightsError, match=r"weights must be a file or a name of .*published.csv, .* got 'slow'"):
        create_model("slowonly_tiny", weights="slow")


@pytest.mark.parametrize(("blocks", "parameters"), (("none", 32_454_096), ("gc5", 34_300_373), ("gc_all", 42_455_005)))
def test_parameters_of_slowonly_r50_are_those_of_the_paper(blocks, parameters):
    """32.45, 34.30 and 42.45 M in GCNet's Kinetics table."""
    assert count_parameters(meta("slowonly_r50", blocks)) == parameters


@pytest.mark.parametrize(
    ("name", "parameters"),
    # Published with pytorchvideo's hub models: slow_r50 32.45 M, i3d_r50 28.04 M, c2d_r50 24.33 M.
    (("slowonly_r50", 32.45), ("i3d_r50", 28.04), ("c2d_r50", 24.33)),
)
def test_parameters_of_the_baselines(name, parameters):
    assert round(count_parameters(meta(name)) / 1e6, 2) == parameters


@pytest.mark.parametrize(
    ("name", "blocks", "where"),
    (
        ("slowonly_r50", "gc5", ["2.1", "2.3", "3.1", "3.3", "3.5"]),
        ("i3d_r50", "gc5", ["3.1", "3.3", "4.1", "4.3", "4.5"]),  # one further: there is a pool after res2
        ("slowonly_r50", "gc_all", [f"{s}.{b}" for s, n in ((2, 4), (3, 6), (4, 3)) for b in range(n)]),
        ("slowonly_tiny", "gc_all", ["2.0", "3.0", "4.0"]),
    ),
)
def test_modules_with_blocks(name, blocks, where):
    blocks = inserted_blocks(meta(name, blocks))
    assert list(blocks) == [f"blocks.{s}.res_blocks.{b}.branch2.norm_c" for s, b in (w.split(".") for w in where)]
    assert all(block.planes == block.in_channels // 4 for block in blocks.values())


@pytest.mark.parametrize(("temporal", "arguments"), TEMPORAL.items())
def test_names_and_logits_are_those_of_pytorchvideo(temporal, arguments):
    """The hub models `slow_r50`, `i3d_r50` and `c2d_r50`, narrowed; their state dict loads and gives equal logits."""
    pool = (4 if temporal in POOLED else 8, 2, 2)  # what is left of 8 x 64 x 64
    peer = create_resnet(model_num_class=7, stem_dim_out=8, head_pool_kernel_size=pool, **arguments).eval()
    for parameter in peer.parameters():
        nn.init.normal_(parameter, std=0.1)
    ours = resnet3d(temporal, (3, 4, 6, 3), num_classes=7, width=8).eval()
    ours.load_state_dict(peer.state_dict())
    x = torch.randn(1, 3, 8, 64, 64)
    torch.testing.assert_close(ours(x), peer(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", ((4, 48, 80), (1, 33, 33), (9, 64, 40)))
def test_any_input_size(name, shape):
    model = meta(name, "gc_all", num_classes=11).eval()
    if name.startswith("resnet"):
        shape = (1, *shape[1:])
    if name.startswith(("i3d", "c2d_r")) and shape[0] < (8 if "32x2" in name else 2):
        pytest.skip("the frames do not survive the temporal strides")
    assert model(torch.empty(2, 3, *shape, device="meta")).shape == (2, 11)


@pytest.mark.parametrize("site", ("after_1x1", "after_add", "after_block"))
def test_blocks_do_not_change_a_new_model(site):
    model = create_model("slowonly_tiny", "gc_all", num_classes=5, site=site).eval()
    plain = create_model("slowonly_tiny", num_classes=5).eval()
    plain.load_state_dict({key: value for key, value in model.state_dict().items() if ".context." not in key})
    x = torch.randn(2, 3, 4, 32, 32)
    assert torch.equal(model(x), plain(x))


def test_channels_last_of_the_whole_model():
    model = create_model("slowonly_tiny", "gc_all", num_classes=5, fusion_types=("channel_add", "channel_mul")).eval()
    for block in inserted_blocks(model).values():
        nn.init.normal_(block.channel_add_conv[3].weight, std=0.3)
        nn.init.normal_(block.channel_mul_conv[3].weight, std=0.3)
    x = torch.randn(2, 3, 4, 32, 32)
    expected = model(x)
    model = model.to(memory_format=torch.channels_last_3d)
    assert model.blocks[0].conv.weight.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(
        model(x.contiguous(memory_format=torch.channels_last_3d)), expected, rtol=1e-4, atol=1e-5
    )


def test_still_clip_is_the_2d_net_in_the_middle():
    """With temporal kernels summed over time, a still clip gives what the same net without temporal kernels gives."""
    model = resnet3d("slowonly", (1, 1, 1, 1), num_classes=4, width=8).eval()
    flat = resnet3d("c2d", (1, 1, 1, 1), num_classes=4, width=8).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.normal_(module.weight)
    names = {0: 0, 1: 1, 2: 3, 3: 4, 4: 5, 5: 6}  # after the pool of c2d
    state = {}
    for key, value in model.state_dict().items():
        _, block, rest = key.split(".", 2)
        summed = value.sum(dim=2, keepdim=True) if value.ndim == 5 else value
        state[f"blocks.{names[int(block)]}.{rest}"] = summed
    flat.load_state_dict(state)
    still = torch.randn(1, 3, 1, 64, 64).expand(-1, -1, 12, -1, -1)
    features = nn.Sequential(*model.blocks[:-1])(still)  # zero padding in time reaches 2 frames from each end
    flat_features = nn.Sequential(*flat.blocks[:-1])(still)
    torch.testing.assert_close(features[:, :, 6], flat_features[:, :, 3], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    (
        ({"name": "slowonly_r34"}, "network must be one of .*slowonly_r50.* got 'slowonly_r34'"),
        ({"name": "slowonly_r50", "blocks": "gc7"}, "blocks must be one of .*gc_all.* got 'gc7'"),
        (
            {"name": "slowonly_tiny", "blocks": "gc5"},
            r"blocks 'gc5' needs blocks \[1, 3\] of res3, which has only 1",
        ),
        ({"name": "slowonly_tiny", "num_classes": 0}, "num_classes must be at least 1, got 0"),
        ({"name": "slowonly_tiny", "head": "fcn"}, r"head must be one of \('pool', 'dense'\), got 'fcn'"),
        ({"name": "resnet50", "head": "dense"}, "head 'dense' needs a video network, got ImageResNet"),
        ({"name": "slowonly_tiny", "dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"name": "slowonly_tiny", "blocks": "gc_all", "ratio": 1 / 256}, "ratio=0.00390625"),
        ({"name": "slowonly_tiny", "blocks": "gc_all", "site": "x"}, "site must be"),
    ),
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        create_model(**arguments)


class Gate(nn.Module):
    """A block of one's own whose gradient needs its output."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv3d(channels, channels, 1)

    def forward(self, x):
        return self.conv(x).sigmoid()


@pytest.mark.parametrize("site", ("after_1x1", "after_add", "after_block"))
def test_sums_and_relus_in_place_spare_the_blocks_of_others(site):
    model = create_model("slowonly_tiny", num_classes=5)
    insert(model, {"blocks.2.res_blocks.0": Gate}, site=site)
    model(torch.randn(2, 3, 4, 32, 32)).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_strides_are_plain_numbers(name):
    """pytorchvideo's builders leave NumPy numbers, with which torch 2.11 cannot compile."""
    convolutions = [module for module in create_model(name).modules() if isinstance(module, nn.Conv3d)]
    assert all(type(stride) is int for convolution in convolutions for stride in convolution.stride)


@pytest.mark.slow
@pytest.mark.parametrize("precision", (torch.float32, torch.bfloat16))
def test_compiles_as_one_graph_in_training_and_evaluation(precision):
    torch.manual_seed(0)
    model, x = create_model("slowonly_tiny", "gc_all", 5, dropout=0.0), torch.randn(2, 3, 4, 32, 32)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for training in (True, False):
        model.train(training)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            out, expected = compiled(x), model(x)
        tolerance = 1e-5 if precision == torch.float32 else 3e-2
        assert (out - expected).norm() < tolerance * expected.norm()
        out.square().sum().backward()
