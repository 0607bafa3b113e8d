"""Insertion keeps the host's names, survives copy, pickle and export, and refuses what is wrong."""

import copy
import functools
import io

import pytest
import torch
from torch import nn
from torchvision.models import resnet18, resnet50
from torchvision.models.video import r3d_18

from gcvideo import ContextBlock2d, ContextBlock3d, insert, inserted_blocks
from gcvideo.models import create_model

GC = functools.partial(ContextBlock3d, ratio=1 / 4)


class Host(nn.Module):
    """Two convolutions, and modules whose output is not one feature tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3d(3, 8, 3, padding=1)
        self.pair = Pair()
        self.opaque = Opaque()
        self.unused = Opaque()
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.opaque(self.pair(self.first(x))[0])
        return self.head(x.mean(dim=(2, 3, 4)))


class Pair(nn.Module):
    def forward(self, x):
        return x, x


class Opaque(nn.Module):
    """Its type does not tell its channels."""

    def forward(self, x):
        return x.relu()


EXAMPLE = torch.zeros(1, 3, 2, 6, 6)


def wake(blocks):
    for block in blocks.values():
        for parameter in block.parameters():
            nn.init.normal_(parameter, std=0.5)


@pytest.fixture
def woken():
    host = Host().eval()
    wake(insert(host, {"first": GC}))
    return host, torch.randn(2, 3, 2, 6, 6)


def test_names_of_the_host_stay_and_its_checkpoint_loads_before_and_after():
    host = Host()
    before = host.state_dict()
    insert(host, {"first": GC, "opaque": GC}, example=EXAMPLE)
    after = host.state_dict()
    assert {key for key in after if ".context." not in key} == set(before)
    result = host.load_state_dict(before, strict=False)
    assert not result.unexpected_keys
    assert all(".context." in key for key in result.missing_keys)
    assert "first.context.conv_mask.weight" in after


def test_additive_blocks_change_nothing_at_the_start_and_something_when_woken():
    host, x = Host().eval(), torch.randn(2, 3, 2, 6, 6)
    plain = host(x)
    blocks = insert(host, {"first": GC, "opaque": GC}, example=EXAMPLE)
    assert torch.equal(host(x), plain)
    wake(blocks)
    assert not torch.allclose(host(x), plain)


def test_the_block_refines_the_output_of_the_named_module(woken):
    host, x = woken
    features = nn.functional.conv3d(x, host.first.weight, host.first.bias, padding=1)
    torch.testing.assert_close(host.first(x), host.first.context(features))


def test_deepcopy_has_blocks_of_its_own(woken):
    host, x = woken
    twin = copy.deepcopy(host)
    assert torch.equal(twin(x), host(x))
    expected = host(x)
    nn.init.zeros_(twin.first.context.channel_add_conv[3].weight)
    assert torch.equal(host(x), expected)
    assert not torch.allclose(twin(x), expected)


def test_pickle_round_trip(woken):
    host, x = woken
    buffer = io.BytesIO()
    torch.save(host, buffer)
    buffer.seek(0)
    assert torch.equal(torch.load(buffer, weights_only=False)(x), host(x))


def test_state_dict_round_trip(woken):
    host, x = woken
    twin = Host().eval()
    insert(twin, {"first": GC})
    twin.load_state_dict(host.state_dict())
    assert torch.equal(twin(x), host(x))


@pytest.mark.slow
def test_compile_gives_the_same(woken):
    host, x = woken
    torch.testing.assert_close(torch.compile(host)(x), host(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("memory_format", (torch.contiguous_format, torch.channels_last_3d))
def test_export_gives_the_same_for_any_batch(woken, memory_format):
    host, x = woken
    x = x.contiguous(memory_format=memory_format)
    batch = torch.export.Dim("batch", min=1, max=16)
    program = torch.export.export(host, (x,), dynamic_shapes=({0: batch},))
    for size in (1, 3):
        other = torch.randn(size, 3, 2, 6, 6)
        torch.testing.assert_close(program.module()(other), host(other), rtol=1e-4, atol=1e-5)


def test_star_matches_one_part_of_a_name():
    host = r3d_18()
    assert list(insert(host, {"layer[34].*": GC})) == ["layer3.0", "layer3.1", "layer4.0", "layer4.1"]
    assert list(inserted_blocks(host)) == ["layer3.0", "layer3.1", "layer4.0", "layer4.1"]
    assert [block.in_channels for block in inserted_blocks(host).values()] == [256, 256, 512, 512]


def refined(host, block_name, site, block_type):
    """Woken block at one residual block, that block, and an input for it."""
    name, block = next(iter(insert(host, {block_name: block_type}, site=site).items()))
    wake({name: block})
    return name, block


def test_sites_in_a_residual_block_of_pytorchvideo():
    x = torch.randn(1, 32, 2, 4, 4)
    for site, attached in (
        ("after_1x1", "blocks.2.res_blocks.0.branch2.norm_c"),
        ("after_add", "blocks.2.res_blocks.0.activation"),
        ("after_block", "blocks.2.res_blocks.0"),
    ):
        model = create_model("slowonly_tiny", num_classes=3).eval()
        residual = model.blocks[2].res_blocks[0]
        shortcut, branch = residual.branch1_norm(residual.branch1_conv(x)), residual.branch2(x)
        name, block = refined(model, "blocks.2.res_blocks.0", site, GC)
        assert name == attached
        expected = {
            "after_1x1": torch.relu(shortcut + block(branch)),
            "after_add": torch.relu(block(shortcut + branch)),
            "after_block": block(torch.relu(shortcut + branch)),
        }[site]
        torch.testing.assert_close(residual(x), expected)


@pytest.mark.parametrize(
    ("host", "name", "site", "attached"),
    (
        (r3d_18, "layer2.0", "after_1x1", "layer2.0.conv2"),
        (r3d_18, "layer2.0", "after_add", "layer2.0.relu"),
        (resnet50, "layer2.0", "after_1x1", "layer2.0.bn3"),
        (resnet18, "layer2.0", "after_1x1", "layer2.0.bn2"),
    ),
)
def test_sites_in_torchvision(host, name, site, attached):
    block = ContextBlock3d if host is r3d_18 else ContextBlock2d
    assert list(insert(host(), {name: block}, site=site)) == [attached]


def test_sites_in_timm():
    timm = pytest.importorskip("timm", reason="timm is an extra of the tests")
    for name, attached in (("resnet18", "layer2.0.act2"), ("resnet50", "layer2.0.act3")):
        model = timm.create_model(name, num_classes=2).eval()
        x = torch.randn(1, 3, 32, 32)
        plain = model(x)
        assert list(insert(model, {"layer2.0": ContextBlock2d}, site="after_add")) == [attached]
        assert torch.equal(model(x), plain)


def test_after_add_is_refused_where_one_relu_is_shared():
    with pytest.raises(
        ValueError, match="'after_add' is not available at 'layer2.0': Bottleneck applies one ReLU several times"
    ):
        insert(resnet50(), {"layer2.0": ContextBlock2d}, site="after_add")


def test_a_module_and_a_callable():
    block = ContextBlock3d(8)
    assert insert(Host(), {"first": block}) == {"first": block}
    host = Host()
    assert (
        insert(host, {"opaque": lambda channels: ContextBlock3d(channels, 1 / 2)}, example=EXAMPLE)["opaque"].planes
        == 4
    )


def test_the_block_takes_device_and_mode_of_the_host():
    host = Host().eval().to("meta")
    block = insert(host, {"first": GC})["first"]
    assert not block.training
    assert block.conv_mask.weight.device.type == "meta"


@pytest.mark.parametrize(
    ("blocks", "arguments", "message"),
    (
        ({"frist": GC}, {}, "'frist' matches no module of Host; near: first"),
        ({"layer*.0": GC}, {}, "matches no module"),
        ({"first": GC, "f*": GC}, {}, "'f\\*' matches 'first', which another name of this call matches too"),
        ({"*": ContextBlock3d(8)}, {}, "'\\*' matches 5 modules: pass a callable"),
        ({"first": GC}, {"site": "before"}, "site must be one of .* got 'before'"),
        ({"first": GC}, {"site": "after_1x1"}, "needs a residual block .* got Conv3d at 'first'"),
        ({"opaque": GC}, {}, "channels of 'opaque' cannot be derived .* Opaque: pass example"),
        ({"pair": GC}, {"example": EXAMPLE}, "output of 'pair' must be one feature tensor .* got tuple"),
        ({"head": GC}, {"example": EXAMPLE}, r"output of 'head' must be one feature tensor .* got shape \(1, 5\)"),
        ({"unused": GC}, {"example": EXAMPLE}, "'unused' is not called in the forward pass"),
        ({"opaque": ContextBlock2d}, {"example": EXAMPLE}, "does not accept the output of 'opaque': expected input"),
        ({"opaque": lambda c: nn.Conv3d(c, 2 * c, 1)}, {"example": EXAMPLE}, "'opaque' changes the shape"),
    ),
)
def test_errors_leave_the_model_as_it_was(blocks, arguments, message):
    host = Host()
    keys = list(host.state_dict())
    with pytest.raises(ValueError, match=message):
        insert(host, {"first": GC} | blocks if "unused" in blocks else blocks, **arguments)
    assert list(host.state_dict()) == keys
    assert inserted_blocks(host) == {}


def test_double_insertion():
    host = Host()
    insert(host, {"first": GC})
    with pytest.raises(ValueError, match="'first' already has a child 'context'"):
        insert(host, {"first": GC})
    assert host(EXAMPLE).shape == (1, 5)


def test_the_dry_run_changes_nothing():
    host = nn.Sequential(nn.Conv3d(3, 8, 1), nn.BatchNorm3d(8), Opaque()).train()
    before = {key: value.clone() for key, value in host.state_dict().items()}
    insert(host, {"2": GC}, example=torch.randn(2, 3, 2, 4, 4))
    after = host.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert host.training
    assert all(not module._forward_hooks for module in (host[0], host[1]))


@pytest.mark.slow
def test_networks_that_differ_by_their_blocks_compile_apart():
    """torch.compile would by default run the second by the graph of the first."""
    torch._dynamo.reset()
    plain = create_model("slowonly_tiny", num_classes=5).eval()
    blocks = create_model("slowonly_tiny", "gc_all", num_classes=5).eval()
    wake(inserted_blocks(blocks))
    x = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        for model in (plain, blocks):
            compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
            torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-5)
