"""Our blocks in other projects' networks; the table of docs/hosts.md is that of this test."""

import copy
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from gcvideo import ContextBlock3d, insert, inserted_blocks
from tests.hosts import HOSTS, millions, run, table
from tests.parity import assert_parity

every_host = pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)


@pytest.mark.slow
@every_host
def test_blocks_in_networks_of_other_projects(host):
    torch.manual_seed(0)
    model = host.build().eval()
    checkpoint = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        expected = run(host, model)
    blocks = host.insert(model)
    assert list(blocks) == list(inserted_blocks(model))

    with torch.no_grad():
        assert torch.equal(run(host, model), expected), "the blocks are not the identity at the start"
        for block in blocks.values():
            nn.init.normal_(block.channel_add_conv[3].bias, std=0.3)
        woken = run(host, model)
        assert not torch.equal(woken, expected)
        compiled = copy.deepcopy(model)
        compiled.compile(backend="aot_eager")
        assert_parity(run(host, compiled), woken, 1e-4)

    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.01)
    missing, unexpected = model.load_state_dict(checkpoint, strict=False)
    assert not unexpected
    assert {key.rpartition("context.")[0] for key in missing} == {f"{name}." for name in blocks}

    before = {name: copy.deepcopy(block.state_dict()) for name, block in blocks.items()}
    optimizer = torch.optim.SGD([p for block in blocks.values() for p in block.parameters()], lr=1.0)
    model.train()
    run(host, model).backward()
    optimizer.step()
    for name, block in blocks.items():
        moved = [key for key, value in block.state_dict().items() if not torch.equal(value, before[name][key])]
        assert moved, f"a training step does not change the block at {name}"

    if host.parameters_m is not None:  # published with one decimal, or two
        published = host.parameters_m[0]
        digits = len(str(published).partition(".")[2])
        assert round(millions(model), digits) == pytest.approx(published, abs=0.06 if digits == 1 else 0.001)


@pytest.mark.slow
def test_docs_have_this_table():
    """Regenerate with `python -m tests.hosts > docs/hosts.md`."""
    assert (Path(__file__).parent.parent / "docs" / "hosts.md").read_text() == table()


@pytest.mark.slow
def test_a_host_of_tokens_is_refused_clearly():
    from torchvision.models.video import mvit_v2_s

    model = mvit_v2_s()
    names = {key for key, _ in model.named_parameters()}
    with pytest.raises(ValueError, match=re.escape("must be one feature tensor [B, C, ...], got tuple")):
        insert(model, {"blocks.3": ContextBlock3d}, example=torch.randn(1, 3, 16, 224, 224))
    assert {key for key, _ in model.named_parameters()} == names


class ChannelsLast(nn.Module):
    """A layer of [B, T, H, W, C], named like torchvision's."""

    def forward(self, x):
        return x * 2


def test_features_with_channels_last():
    torch.manual_seed(0)
    model = nn.Sequential(ChannelsLast())
    x = torch.randn(2, 3, 4, 5, 8)
    (block,) = insert(model, {"0": ContextBlock3d}, example=x, channel_axis=-1).values()
    assert block.in_channels == 8
    assert torch.equal(model(x), x * 2)
    nn.init.normal_(block.channel_add_conv[3].weight)
    torch.testing.assert_close(model(x), block((x * 2).movedim(-1, 1)).movedim(1, -1))
    assert list(inserted_blocks(model)) == ["0"]


@pytest.mark.parametrize("name", ("features.4.1", "features.6", "features.3"))
def test_channels_last_hosts_need_channel_axis(name):
    """A Swin block, a stage of them, a patch merging."""
    from torchvision.models.video import swin3d_t

    with torch.device("meta"):
        model = swin3d_t()
    with pytest.raises(ValueError, match=rf"'{name}' returns features \[B, ..., C\]: pass channel_axis=-1"):
        insert(model, {name: ContextBlock3d}, example=torch.randn(1, 3, 8, 64, 64))


@pytest.mark.parametrize(("axis", "site"), ((2, "after_block"), (-1, "after_1x1")))
def test_bad_channel_axis(axis, site):
    with pytest.raises(ValueError, match="channel_axis must be 1, or -1 with site 'after_block', got"):
        insert(nn.Sequential(ChannelsLast()), {"0": ContextBlock3d}, site, channel_axis=axis)


def test_channels_of_a_frozen_batch_norm():
    from torchvision.ops import FrozenBatchNorm2d

    from gcvideo import ContextBlock2d

    (block,) = insert(nn.Sequential(FrozenBatchNorm2d(12)), {"0": ContextBlock2d}).values()
    assert block.in_channels == 12
