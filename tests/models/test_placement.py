"""Every axis of the paper's ablations is an argument, and lands where it should."""

import pytest
import torch

from gcvideo import blocks, create_model, inserted_blocks
from gcvideo.models import PRESETS
from tests.models.test_zoo import meta

FIVE = ["2.1", "2.3", "3.1", "3.3", "3.5"]
FIVE_EVEN = ["2.0", "2.2", "3.0", "3.2", "3.4"]
ALL = [f"{stage}.{block}" for stage, depth in ((2, 4), (3, 6), (4, 3)) for block in range(depth)]
FAMILY = {
    "gc": blocks.ContextBlock3d,
    "nl": blocks.NonLocalBlock3d,
    "snl": blocks.SimplifiedNonLocal3d,
    "se": blocks.SqueezeExcitation3d,
}


def places(model):
    """'stage.block' of each inserted block, by the numbers in its name."""
    return [".".join(part for part in name.split(".") if part.isdigit()) for name in inserted_blocks(model)]


@pytest.mark.parametrize("blocks", [name for name, (kind, preset) in PRESETS.items() if kind and preset])
def test_presets(blocks):
    """ "5" counts 1,3 / 1,3,5 as the Non-local paper's code, "5_even" 0,2 / 0,2,4 as mmaction2."""
    model = meta("slowonly_r50", blocks)
    expected = FIVE_EVEN if context.endswith("_even") else ALL if context.endswith("_all") else FIVE
    assert places(model) == expected
    kind = context.split("5")[0].split("_")[0]
    assert all(type(block) is FAMILY[kind] for block in inserted_blocks(model).values())
    for name in inserted_blocks(model):  # the site of its paper
        assert name.endswith(".branch2.norm_c") != (kind == "nl")


def test_there_is_a_preset_for_each_row_of_the_paper():
    assert {"none", "nl5", "snl5", "gc5", "gc_all", "se_all", "nl5_even", "snl5_even", "gc5_even"} <= set(PRESETS)


@pytest.mark.parametrize("kind", FAMILY)
@pytest.mark.parametrize(
    ("chosen", "expected"),
    (
        ({"res2": "all"}, ["1.0", "1.1", "1.2"]),
        ({"res5": [2], "res2": [0]}, ["1.0", "4.2"]),
        ({"res3": "all", "res4": [5]}, ["2.0", "2.1", "2.2", "2.3", "3.5"]),
    ),
)
def test_any_stage_and_any_block_in_it(kind, chosen, expected):
    model = meta("slowonly_r50", kind, at=chosen)
    assert places(model) == expected
    assert all(type(block) is FAMILY[kind] for block in inserted_blocks(model).values())


def test_places_win_over_those_of_a_preset():
    assert places(meta("slowonly_r50", "gc_all", at={"res4": [0]})) == ["3.0"]


@pytest.mark.parametrize(
    ("site", "ending"),
    (("after_1x1", "branch2.norm_c"), ("after_add", "activation"), ("after_block", "res_blocks.0")),
)
@pytest.mark.parametrize("kind", FAMILY)
def test_any_position(kind, site, ending):
    (name,) = inserted_blocks(meta("slowonly_r50", kind, at={"res5": [0]}, site=site))
    assert name.endswith(ending)


def test_options_reach_the_block():
    (block,) = inserted_blocks(
        meta("slowonly_tiny", "gc", at={"res4": [0]}, ratio=1 / 8, pooling_type="avg", bottleneck="relu")
    ).values()
    assert (block.planes, block.pooling_type, block.bottleneck) == (16, "avg", "relu")
    (block,) = inserted_blocks(
        meta("slowonly_tiny", "nl", at={"res4": [0]}, mode="dot_product", sub_sample=False, norm=False, ratio=1 / 4)
    ).values()
    assert (block.mode, block.sub_sample, block.norm, block.planes) == ("dot_product", False, None, 32)


@pytest.mark.parametrize(
    ("ratio", "millions"),
    # GCNet's ratios on Mask R-CNN add 10.0, 5.0, 2.5 and 1.3 M parameters to a ResNet-50 with every block of res3-res5.
    ((1 / 4, 10.0), (1 / 8, 5.0), (1 / 16, 2.5), (1 / 32, 1.3)),
)
def test_ratios_of_the_paper(ratio, millions):
    added = sum(
        p.numel()
        for block in inserted_blocks(meta("slowonly_r50", "gc_all", ratio=ratio)).values()
        for p in block.parameters()
    )
    assert round(added / 1e6, 1) == millions


@pytest.mark.parametrize("blocks", [name for name, (_, preset) in PRESETS.items() if preset and "all" in name])
@pytest.mark.parametrize("name", ("slowonly_tiny", "resnet50"))
def test_models_with_blocks_train(name, blocks):
    model = create_model(name, blocks, num_classes=3)
    x = torch.randn(2, 3, 1 if name == "resnet50" else 4, 32, 32)
    model(x).square().sum().backward()
    grads = [p.grad for block in inserted_blocks(model).values() for p in block.parameters() if p.grad is not None]
    assert any(grad.abs().sum() > 0 for grad in grads) or name == "resnet50"  # whose branches start at zero


def test_image_models_have_the_2d_blocks():
    """GCNet's ImageNet rows: 25.56 M, and 28.08 M with a block of ratio 1/16 in every bottleneck of res3 to res5."""
    plain, gc = meta("resnet50", num_classes=1000), meta("resnet50", "gc_all", num_classes=1000, ratio=1 / 16)
    assert sum(p.numel() for p in plain.parameters()) == 25_557_032
    assert round(sum(p.numel() for p in gc.parameters()) / 1e6, 2) == 28.08
    assert all(type(block) is blocks.ContextBlock2d for block in inserted_blocks(gc).values())
    assert next(iter(inserted_blocks(gc))) == "layer2.0.bn3"
    names = {name for name, _ in plain.named_parameters()}
    from torchvision.models import resnet50

    with torch.device("meta"):
        assert names == {name for name, _ in resnet50().named_parameters()}


def test_image_model_takes_single_frames():
    model = create_model("resnet50", num_classes=3).eval()
    with pytest.raises(
        ValueError, match=r"takes clips \[B, 3, 1, S, S\] \(clip_frames: 1\), got shape \(1, 3, 2, 32, 32\)"
    ):
        model(torch.zeros(1, 3, 2, 32, 32))


def test_none_takes_whatever_is_said_of_blocks():
    """So that `context: none` alone turns a configuration into its baseline."""
    model = create_model("slowonly_tiny", "none", at={"res3": [0]}, site="after_add", ratio=1 / 8)
    assert not inserted_blocks(model)


@pytest.mark.parametrize(
    ("arguments", "message"),
    (
        ({"blocks": "gc"}, r"blocks 'gc' needs `at`, such as"),
        ({"blocks": "gc", "at": {"res3": "every"}}, r"'all' or a list of block indices, got {'res3': 'every'}"),
        ({"blocks": "gc", "at": {"res3": 0}}, r"'all' or a list of block indices, got {'res3': 0}"),
        ({"blocks": "gc", "at": {"res3": []}}, r"'all' or a list of block indices, got {'res3': \[\]}"),
        ({"blocks": "gc", "at": {"res6": "all"}}, r"at must be of \('res2', .*\), got res6"),
        ({"blocks": "gc", "at": {"res3": [1]}}, r"needs blocks \[1\] of res3, which has only 1"),
        ({"blocks": "gc", "at": {"res3": [-1]}}, r"needs blocks \[-1\] of res3"),
        (
            {"blocks": "se_all", "mode": "gaussian"},
            r"made of SqueezeExcitation3d, which takes no mode; it takes ratio",
        ),
        ({"blocks": "snl", "at": {"res3": [0]}, "ratio": 0.5}, r"takes no ratio; it takes no option"),
        ({"blocks": "nl", "at": {"res3": [0]}, "mode": "softmax"}, r"mode must be one of"),
    ),
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        create_model("slowonly_tiny", **arguments)


def test_new_blocks_do_not_change_the_features():
    """Additive blocks of every family, at every site, are the identity in a new net."""
    plain = create_model("slowonly_tiny", num_classes=3).eval()
    x = torch.randn(1, 3, 4, 32, 32)
    expected = plain(x)
    for kind in ("gc", "nl", "snl"):
        for site in ("after_1x1", "after_add", "after_block"):
            model = create_model("slowonly_tiny", kind, 3, at={"res4": "all"}, site=site).eval()
            missing, unexpected = model.load_state_dict(plain.state_dict(), strict=False)
            assert not unexpected
            assert all(".context." in key for key in missing)
            assert torch.equal(model(x), expected)
