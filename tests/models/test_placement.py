"""Every axis of the paper's ablations is an argument, and lands where it should."""

import pytest
import torch
from torch import nn

import gcvideo.blocks
from gcvideo import create_model, inserted_blocks
from gcvideo.errors import UsageError
from gcvideo.models import PRESETS, block_parameters, insert_blocks
from tests.models.test_zoo import meta

FIVE = ["2.1", "2.3", "3.1", "3.3", "3.5"]
FIVE_EVEN = ["2.0", "2.2", "3.0", "3.2", "3.4"]
ALL = [f"{stage}.{block}" for stage, depth in ((2, 4), (3, 6), (4, 3)) for block in range(depth)]
FAMILY = {
    "gc": gcvideo.blocks.ContextBlock3d,
    "nl": gcvideo.blocks.NonLocalBlock3d,
    "snl": gcvideo.blocks.SimplifiedNonLocal3d,
    "se": gcvideo.blocks.SqueezeExcitation3d,
}


def indices_of(model):
    """'stage.block' of each inserted block, by the numbers in its name."""
    return [".".join(part for part in name.split(".") if part.isdigit()) for name in inserted_blocks(model)]


@pytest.mark.parametrize("blocks", [name for name, (kind, preset) in PRESETS.items() if kind and preset])
def test_presets(blocks):
    """ "5" counts 1,3 / 1,3,5 as the Non-local paper's code, "5_even" 0,2 / 0,2,4 as mmaction2."""
    model = meta("slowonly_r50", blocks)
    expected = FIVE_EVEN if blocks.endswith("_even") else ALL if blocks.endswith("_all") else FIVE
    assert indices_of(model) == expected
    kind = blocks.split("5")[0].split("_")[0]
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
    assert indices_of(model) == expected
    assert all(type(block) is FAMILY[kind] for block in inserted_blocks(model).values())


def test_indices_replace_those_of_a_preset():
    assert indices_of(meta("slowonly_r50", "gc_all", at={"res4": [0]})) == ["3.0"]


@pytest.mark.parametrize(
    ("site", "ending"),
    (("after_1x1", "branch2.norm_c"), ("after_add", "activation"), ("after_block", "res_blocks.0")),
)
@pytest.mark.parametrize("kind", FAMILY)
def test_any_site(kind, site, ending):
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
    x = torch.randn(2, 3, 1 if name == "resnet50" else 4, 64, 64)  # NL sub-samples maps of at least 2 x 2
    model(x).square().sum().backward()
    grads = [p.grad for block in inserted_blocks(model).values() for p in block.parameters() if p.grad is not None]
    assert any(grad.abs().sum() > 0 for grad in grads) or name == "resnet50"  # whose branches start at zero


def test_image_models_have_the_2d_blocks():
    """GCNet's ImageNet rows: 25.56 M, and 28.08 M with a block of ratio 1/16 in every bottleneck of res3 to res5."""
    plain, gc = meta("resnet50", num_classes=1000), meta("resnet50", "gc_all", num_classes=1000, ratio=1 / 16)
    assert sum(p.numel() for p in plain.parameters()) == 25_557_032
    assert round(sum(p.numel() for p in gc.parameters()) / 1e6, 2) == 28.08
    assert all(type(block) is gcvideo.blocks.ContextBlock2d for block in inserted_blocks(gc).values())
    assert next(iter(inserted_blocks(gc))) == "layer2.0.bn3"
    names = {name for name, _ in plain.named_parameters()}
    from torchvision.models import resnet50

    with torch.device("meta"):
        assert names == {name for name, _ in resnet50().named_parameters()}


def test_image_model_takes_single_frames():
    model = create_model("resnet50", num_classes=3).eval()
    with pytest.raises(
        ValueError, match=r"takes clips of one frame, \[B, 3, 1, S, S\], got shape \(1, 3, 2, 32, 32\)"
    ):
        model(torch.zeros(1, 3, 2, 32, 32))


@pytest.mark.parametrize("setting", ({"at": {"res3": [0]}}, {"site": "after_add"}, {"ratio": 1 / 8}, {"ratio": None}))
def test_none_refuses_settings_that_would_have_no_effect(setting):
    with pytest.raises(UsageError, match=rf"blocks 'none' takes no {next(iter(setting))}"):
        create_model("slowonly_tiny", "none", **setting)


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


class Own(nn.Module):
    """A network of one's own: two 3D convolutions."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv3d(3, 8, 3, padding=1)
        self.body = nn.Sequential(nn.Conv3d(8, 16, 3, padding=1), nn.ReLU())

    def forward(self, x):
        return self.body(self.stem(x))


def test_a_network_of_ones_own_takes_names_of_modules():
    model, x = Own(), torch.randn(1, 3, 4, 8, 8)
    expected = model(x)
    inserted = insert_blocks(model, "gc", at=["stem", "body.0"], site="after_block", block_options={"ratio": 1 / 8})
    assert [type(block) for block in inserted.values()] == [gcvideo.blocks.ContextBlock3d] * 2
    assert [(name, block.planes) for name, block in inserted.items()] == [("stem", 1), ("body.0", 2)]
    assert torch.equal(model(x), expected)


def test_images_get_2d_blocks_and_torchvision_has_stages():
    from torchvision.models import resnet18
    from torchvision.models.video import r3d_18

    with torch.device("meta"):
        flat, solid = resnet18(), r3d_18()
        assert list(insert_blocks(flat, "se", at={"res5": [1]})) == ["layer4.1.bn2"]
        assert list(insert_blocks(solid, "nl", at=["layer3.*"])) == ["layer3.0", "layer3.1"]
    assert type(inserted_blocks(flat)["layer4.1.bn2"]) is gcvideo.blocks.SqueezeExcitation2d
    assert type(inserted_blocks(solid)["layer3.0"]) is gcvideo.blocks.NonLocalBlock3d


@pytest.mark.parametrize(
    ("arguments", "message"),
    (
        ({"blocks": "gc_all"}, r"blocks 'gc_all' in Own, which has no stages res2, .*at=\['layer3.\*'\]"),
        ({"blocks": "gc", "at": {"res3": [0]}}, "Own, which has no stages"),
        ({"blocks": "gc", "at": ["steam"], "site": "after_block"}, "'steam' matches no module of Own; near: stem"),
        ({"blocks": "gc", "at": "stem"}, "at must map stages to indices or list names of modules, got 'stem'"),
        ({"blocks": "gc", "at": [0]}, r"at must map stages .* got \[0\]"),
        ({"blocks": "gc", "at": ["stem"]}, "site 'after_1x1' needs a residual block .* got Conv3d at 'stem'"),
    ),
)
def test_bad_arguments_for_a_network_of_ones_own(arguments, message):
    with pytest.raises(UsageError, match=message):
        insert_blocks(Own(), **arguments)


def test_a_network_without_convolutions_of_one_kind_needs_insert():
    mixed = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv3d(3, 8, 1))
    with pytest.raises(UsageError, match="got 2D, 3D in Sequential: call gcvideo.insert"):
        insert_blocks(mixed, "gc", at=["0"])
    with pytest.raises(UsageError, match="got none in Linear"):
        insert_blocks(nn.Linear(2, 3), "gc", at=["0"])


@pytest.mark.parametrize("blocks", PRESETS)
@pytest.mark.parametrize("image", (False, True))
def test_block_parameters(blocks, image):
    """What the command line types the options by: the class that `create_model` uses."""
    block = block_parameters(blocks, image)
    if blocks == "none":
        assert block is None
        return
    model = meta("resnet50" if image else "slowonly_r50", blocks, at={"res4": [0]})
    assert {type(inserted) for inserted in inserted_blocks(model).values()} == {block}


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
