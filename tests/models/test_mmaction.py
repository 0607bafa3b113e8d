"""mmaction2 and mmcv themselves, as released: their networks and blocks -> their files -> ours, same values.

Needs `pip install --no-deps -r tests/peers.txt`; skipped without.
"""

import importlib.util
import sys
import types

import pytest
import torch
from torch import nn

from gcvideo import ContextBlock2d, NonLocalBlock2d, NonLocalBlock3d, create_model
from gcvideo.models import WeightsError, insert_blocks, load_weights
from gcvideo.models.backbones import resnet3d
from tests.blocks.test_context import wake
from tests.models.peers import wake_net
from tests.parity import assert_parity

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mmaction") is None or importlib.util.find_spec("mmcv") is None,
    reason="mmaction2 is not installed: see tests/peers.txt",
)

EVEN = ((0, 0, 0), (1, 0, 1, 0), (1, 0, 1, 0, 1, 0), (0, 0, 0))
ODD = ((0, 0, 0), (0, 1, 0, 1), (0, 1, 0, 1, 0, 1), (0, 0, 0))


@pytest.fixture(scope="module")
def mmaction():
    """The package; its 1.2.0 wheel lacks one module (its issue 2714), which has no part in this."""
    name = "mmaction.models.localizers.drn"
    package, module = types.ModuleType(name), types.ModuleType(f"{name}.drn")
    package.__path__ = []
    module.DRN = type("DRN", (), {})
    sys.modules.setdefault(name, package)
    sys.modules.setdefault(f"{name}.drn", module)
    import mmaction.models.backbones as backbones
    import mmaction.models.heads as heads

    return types.SimpleNamespace(backbones=backbones, heads=heads)


class Recognizer(nn.Module):
    """Backbone and head under the names of mmaction2's Recognizer3D."""

    def __init__(self, mmaction, backbone):
        super().__init__()
        self.backbone = backbone
        self.cls_head = mmaction.heads.I3DHead(num_classes=7, in_channels=256)

    def forward(self, x):
        return self.cls_head(self.backbone(x))


def wake_mmaction(net):
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
    return wake_net(net)


def slow_only(mmaction, non_local=None, mode="embedded_gaussian", **more):
    options = {} if non_local is None else {"non_local": non_local}
    if non_local is not None:
        options["non_local_cfg"] = {
            "sub_sample": True,
            "use_scale": True,
            "mode": mode,
            "norm_cfg": {"type": "BN3d"},
        } | more
    net = mmaction.backbones.ResNet3dSlowOnly(depth=50, pretrained=None, lateral=False, base_channels=8, **options)
    return wake_mmaction(Recognizer(mmaction, net))


def i3d(mmaction, mode=None, use_scale=False):
    options = {}
    if mode is not None:
        cfg = {"sub_sample": True, "use_scale": use_scale, "mode": mode, "norm_cfg": {"type": "BN3d"}}
        options = {"non_local": ODD, "non_local_cfg": cfg}
    net = mmaction.backbones.ResNet3d(
        depth=50, pretrained=None, conv1_kernel=(5, 7, 7), conv1_stride_t=2, pool1_stride_t=2, base_channels=8,
        inflate=((1, 1, 1), (1, 0, 1, 0), (1, 0, 1, 0, 1, 0), (0, 1, 0)), zero_init_residual=False, **options,
    )  # fmt: skip
    return wake_mmaction(Recognizer(mmaction, net))


def compare(tmp_path, peer, temporal, frames, blocks="none", **options):
    torch.save({"meta": {"epoch": 1}, "state_dict": peer.state_dict()}, tmp_path / "mm.pth")
    net = resnet3d(temporal, (3, 4, 6, 3), 7, width=8, stem_temporal_stride=2 if frames == 32 else 1).eval()
    insert_blocks(net, blocks, block_options=options)
    report = load_weights(net, tmp_path / "mm.pth", stated=("mode", "use_scale"))
    assert report.layout == "mmaction2"
    assert not report.new
    assert not report.ignored
    clip = torch.randn(2, 3, frames, 64, 64)
    with torch.no_grad():
        assert_parity(net(clip), peer(clip))


def test_slow_only(mmaction, tmp_path):
    compare(tmp_path, slow_only(mmaction), "slowonly", 8)


@pytest.mark.parametrize("mode", ("embedded_gaussian", "gaussian", "dot_product", "concatenation"))
def test_slow_only_with_non_local_blocks(mmaction, tmp_path, mode):
    peer = slow_only(mmaction, EVEN, mode)
    compare(tmp_path, peer, "slowonly", 8, "nl5_even", mode=mode, pool_first=False)


def test_slow_only_with_non_local_blocks_that_do_not_sub_sample(mmaction, tmp_path):
    peer = slow_only(mmaction, EVEN, sub_sample=False)
    compare(tmp_path, peer, "slowonly", 8, "nl5_even", pool_first=False, sub_sample=False)


def test_i3d(mmaction, tmp_path):
    compare(tmp_path, i3d(mmaction), "i3d", 32)


@pytest.mark.parametrize(
    ("mode", "use_scale"), (("embedded_gaussian", False), ("gaussian", True), ("dot_product", True))
)
def test_i3d_with_non_local_blocks(mmaction, tmp_path, mode, use_scale):
    peer = i3d(mmaction, mode, use_scale)
    compare(tmp_path, peer, "i3d", 32, "nl5", mode=mode, pool_first=False, use_scale=use_scale)


def test_c2d_without_a_pool_over_time(mmaction, tmp_path):
    """`c2d_r50-in1k-pre-nopool`: a 2D network on frames, of which TSNHead averages the features."""

    class Recognizer2d(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = mmaction.backbones.ResNet(depth=50)
            self.cls_head = mmaction.heads.TSNHead(num_classes=7, in_channels=2048)

        def forward(self, clip):
            frames = clip.transpose(1, 2).flatten(0, 1)  # [B x T, 3, S, S]
            return self.cls_head(self.backbone(frames), num_segs=clip.shape[2])

    peer = wake_mmaction(Recognizer2d())
    torch.save({"meta": {}, "state_dict": peer.state_dict()}, tmp_path / "mm.pth")
    net = create_model("c2d_nopool_r50", num_classes=7, weights=str(tmp_path / "mm.pth")).eval()
    clip = torch.randn(1, 3, 4, 64, 64)
    with torch.no_grad():
        assert_parity(net(clip), peer(clip))


def test_sub_sampling_is_checked(mmaction, tmp_path):
    with pytest.raises(WeightsError, match="another function; build the model with sub_sample=True"):
        compare(tmp_path, slow_only(mmaction, EVEN), "slowonly", 8, "nl5_even", pool_first=False, sub_sample=False)


def test_the_pooling_order_is_checked(mmaction, tmp_path):
    with pytest.raises(WeightsError, match="another function; build the model with pool_first=False"):
        compare(tmp_path, slow_only(mmaction, EVEN), "slowonly", 8, "nl5_even")


@pytest.mark.parametrize("pooling", ("att", "avg"))
@pytest.mark.parametrize("fusion", (("channel_add",), ("channel_mul",), ("channel_add", "channel_mul")))
def test_context_block_of_mmcv(pooling, fusion):
    """Same constructor arguments, same keys, same values."""
    from mmcv.cnn.bricks import ContextBlock

    peer = wake(ContextBlock(32, 1 / 4, pooling, fusion))
    block = ContextBlock2d(32, 1 / 4, pooling, fusion)
    block.load_state_dict(peer.state_dict())
    x = torch.randn(2, 32, 6, 7)
    assert_parity(block(x), peer(x))


NAMES = {
    "theta.conv": "conv_theta",
    "phi.0.conv": "conv_phi",
    "phi.conv": "conv_phi",
    "g.0.conv": "conv_g",
    "g.conv": "conv_g",
    "conv_out.conv": "conv_out",
    "concat_project.conv": "conv_concat",
}


@pytest.mark.parametrize("ndim", (2, 3))
@pytest.mark.parametrize("mode", ("embedded_gaussian", "gaussian", "dot_product", "concatenation"))
@pytest.mark.parametrize("sub_sample", (True, False))
@pytest.mark.parametrize("use_scale", (True, False))
def test_non_local_block_of_mmcv(ndim, mode, sub_sample, use_scale):
    from mmcv.cnn.bricks import non_local

    peer = wake(getattr(non_local, f"NonLocal{ndim}d")(16, mode=mode, sub_sample=sub_sample, use_scale=use_scale))
    block_type = {2: NonLocalBlock2d, 3: NonLocalBlock3d}[ndim]
    block = block_type(16, mode=mode, sub_sample=sub_sample, pool_first=False, use_scale=use_scale, norm=False)
    own = block.state_dict()
    state = {}
    for key, value in peer.state_dict().items():
        name, _, leaf = key.rpartition(".")
        state[f"{NAMES[name]}.{leaf}"] = value.view(own[f"{NAMES[name]}.{leaf}"].shape)
    block.load_state_dict(state)
    x = torch.randn((2, 16, 6, 8) if ndim == 2 else (2, 16, 3, 6, 8))
    assert_parity(block(x), peer(x))
