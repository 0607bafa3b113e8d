"""Counts against independent figures; attention maps are those of the blocks."""

import pytest
import torch
from torch import nn

from gcvideo import create_model, inserted_blocks
from gcvideo.analysis import attention_maps, count_macs, count_parameters, receptive_field
from gcvideo.dataset_tools.scene import band_gap


def test_macs_of_a_convolution_and_a_linear_layer():
    model = nn.Sequential(nn.Conv3d(3, 8, (1, 3, 3), padding=(0, 1, 1)), nn.Flatten(), nn.Linear(8 * 2 * 4 * 5, 7))
    assert count_macs(model, (1, 3, 2, 4, 5)) == 2 * 4 * 5 * 8 * 3 * 9 + 8 * 2 * 4 * 5 * 7
    assert count_parameters(model) == 8 * 3 * 9 + 8 + 8 * 2 * 4 * 5 * 7 + 7


@pytest.mark.parametrize(("size", "macs"), ((224, 41.741), (256, 54.518)))
def test_macs_of_slowonly_r50(size, macs):
    """54.52 G at 256 is PySlowFast's and pytorchvideo's figure; theirs counts the classifier at all four positions."""
    with torch.device("meta"):
        model = create_model("slowonly_r50")
    assert count_macs(model, (1, 3, 8, size, size)) / 1e9 == pytest.approx(macs, abs=0.001)


def test_macs_that_the_blocks_add():
    """GCNet's Kinetics table: +5 GC 0.02 G, all GC 0.06 G."""
    counts = []
    for blocks in ("none", "gc5", "gc_all"):
        with torch.device("meta"):
            counts.append(count_macs(create_model("slowonly_r50", blocks), (1, 3, 8, 224, 224)) / 1e9)
    assert counts[1] - counts[0] == pytest.approx(0.024, abs=0.001)
    assert counts[2] - counts[0] == pytest.approx(0.060, abs=0.001)


def test_counting_leaves_the_model_where_it_was():
    model = create_model("slowonly_tiny", num_classes=3).train()
    count_macs(model, (1, 3, 4, 32, 32))
    assert model.training
    assert next(model.parameters()).device.type == "cpu"


def test_receptive_field_of_known_layers():
    layers = nn.Sequential(nn.Conv3d(3, 4, (3, 5, 5), stride=(1, 2, 2)), nn.Conv3d(4, 4, (1, 3, 1)))
    assert receptive_field(layers, (1, 3, 9, 33, 33)) == (3, 9, 5)


def test_the_tiny_net_sees_less_than_the_objects_of_the_demo_are_apart():
    features = nn.Sequential(*create_model("slowonly_tiny", num_classes=6).blocks[:-1])
    field = receptive_field(features, (1, 3, 8, 64, 64))
    assert field == (5, 21, 21)
    assert field[1] < band_gap(64)


def test_with_blocks_the_tiny_net_sees_everything():
    model = create_model("slowonly_tiny", "gc_all", num_classes=6)
    for block in inserted_blocks(model).values():
        nn.init.normal_(block.channel_add_conv[3].weight)
    assert receptive_field(nn.Sequential(*model.blocks[:-1]), (1, 3, 8, 61, 61)) == (8, 61, 61)


def test_attention_maps():
    model = create_model("slowonly_tiny", "gc_all", num_classes=6, site="after_block").eval()
    clips = torch.randn(2, 3, 4, 32, 32)
    maps = attention_maps(model, clips)
    assert list(maps) == list(inserted_blocks(model))
    assert [tuple(weights.shape) for weights in maps.values()] == [(2, 1, 4, 4, 4)] * 3
    for weights in maps.values():
        torch.testing.assert_close(weights.flatten(1).sum(1), torch.ones(2))
    features = nn.Sequential(*model.blocks[:2])(clips)
    residual = model.blocks[2].res_blocks[0]
    branch1 = residual.branch1_norm(residual.branch1_conv(features))
    expected = residual.context.attention(torch.relu(branch1 + residual.branch2(features)))
    torch.testing.assert_close(maps["blocks.2.res_blocks.0"], expected)
    assert all(not block._forward_pre_hooks for block in inserted_blocks(model).values())


def test_no_maps_without_blocks():
    assert attention_maps(create_model("slowonly_tiny", num_classes=2).eval(), torch.randn(1, 3, 4, 32, 32)) == {}


def test_attention_of_non_local_blocks_is_that_of_the_central_position():
    model = create_model("slowonly_tiny", "nl", num_classes=3, at={"res4": [0]}).eval()
    ((name, block),) = inserted_blocks(model).items()
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.3)
    clips = torch.randn(2, 3, 4, 48, 64)
    seen = []
    block.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    maps = attention_maps(model, clips)
    assert seen[0].shape[2:] == (4, 6, 8)
    assert maps[name].shape == (2, 1, 4, 3, 4)
    torch.testing.assert_close(maps[name], block.attention(seen[0], queries=[(2 * 6 + 3) * 8 + 4]))
