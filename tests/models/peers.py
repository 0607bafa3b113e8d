"""Independent networks with random woken weights, and files of them under the names of other projects."""

import pickle
import re

import numpy as np
import torch
from pytorchvideo.layers.nonlocal_net import create_nonlocal
from pytorchvideo.models.resnet import create_resnet
from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet

TEMPORAL = {
    "slowonly": {"stem_conv_kernel_size": (1, 7, 7)},
    "i3d": {
        "stem_conv_kernel_size": (5, 7, 7),
        "stage1_pool": nn.MaxPool3d,
        "stage_conv_a_kernel_size": (
            [(3, 1, 1)],
            [(3, 1, 1), (1, 1, 1)],
            [(3, 1, 1), (1, 1, 1)],
            [(1, 1, 1), (3, 1, 1)],
        ),
    },
    "c2d": {
        "stem_conv_kernel_size": (1, 7, 7),
        "stage1_pool": nn.MaxPool3d,
        "stage_conv_a_kernel_size": ((1, 1, 1),) * 4,
    },
    "c2d_nopool": {"stem_conv_kernel_size": (1, 7, 7), "stage_conv_a_kernel_size": ((1, 1, 1),) * 4},
}
POOLED = ("i3d", "c2d")  # halve time after res2
CLIP = (2, 3, 8, 64, 64)
FIVE = {3: (1, 3), 4: (1, 3, 5)}


def wake_net(net: nn.Module) -> nn.Module:
    """Every parameter and statistic away from its start, at a scale that keeps the activations of a deep net finite."""
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.weight, 0.2, 0.8)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
        elif isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d):
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
            if module.bias is not None:
                nn.init.normal_(module.bias, std=0.1)
        elif isinstance(module, nn.LayerNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return net.eval()


def pytorchvideo_net(temporal: str = "slowonly") -> nn.Module:
    """pytorchvideo's hub network at width 8, for `CLIP`."""
    pool = (4 if temporal in POOLED else 8, 2, 2)
    return wake_net(create_resnet(model_num_class=7, stem_dim_out=8, head_pool_kernel_size=pool, **TEMPORAL[temporal]))


def add_non_local(net: nn.Module, instantiation: str = "softmax") -> nn.ModuleDict:
    """pytorchvideo's NL blocks after five residual blocks of `net`, "stage_block" -> block."""
    stages = [m for m in net.blocks if hasattr(m, "res_blocks")]
    added = nn.ModuleDict()
    for stage, indices in FIVE.items():
        for index in indices:
            channels = 32 * 2 ** (stage - 2)
            block = create_nonlocal(
                dim_in=channels, dim_inner=channels // 2, pool_size=(1, 2, 2), instantiation=instantiation
            )
            added[f"{stage}_{index}"] = wake_net(block)
            stages[stage - 2].res_blocks[index].register_forward_hook(lambda m, args, out, block=block: block(out))
    return added


def pyslowfast_names(net: nn.Module, non_local: nn.ModuleDict) -> dict[str, torch.Tensor]:
    """State of a pytorchvideo net as PySlowFast's ResNet names it."""
    state = {}
    pooled = any(isinstance(m, nn.MaxPool3d) for m in net.blocks)
    for key, value in net.state_dict().items():
        _, number, rest = key.split(".", 2)
        if number == "0":
            name = f"s1.pathway0_stem.{rest.replace('norm', 'bn')}"
        elif rest.startswith("proj"):
            name = rest.replace("proj", "head.projection")
        else:
            stage = int(number) + 1 - (pooled and int(number) > 2)
            name = re.sub(r"res_blocks\.(\d+)\.", rf"s{stage}.pathway0_res\1.", rest)
            name = name.replace("branch1_conv", "branch1").replace("branch1_norm", "branch1_bn")
            name = re.sub(r"branch2\.conv_(.)", r"branch2.\1", name)
            name = re.sub(r"branch2\.norm_(.)", r"branch2.\1_bn", name)
        state[name] = value
    for indices, block in non_local.items():
        stage, index = indices.split("_")
        for key, value in block.state_dict().items():
            state[f"s{stage}.pathway0_nonlocal{index}.{key.replace('norm', 'bn')}"] = value
    return state


def caffe2_blobs(state: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """PySlowFast's names -> blobs, with what else such files hold."""
    blobs = {"lr": np.float32(0.1), "model_iter": np.array([1], dtype=np.int64)}
    leaves = {"running_mean": "rm", "running_var": "riv"}
    for key, value in state.items():
        name, _, leaf = key.rpartition(".")
        if leaf == "num_batches_tracked":
            continue
        norm = name.endswith("bn")
        leaf = leaves.get(leaf) or ({"weight": "s", "bias": "b"} if norm else {"weight": "w", "bias": "b"})[leaf]
        if name.startswith("s1."):
            name = "res_conv1_bn" if norm else "conv1"
        elif name == "head.projection":
            name = "pred"
        else:
            name = re.sub(r"s(\d)\.pathway0_nonlocal(\d+)\.(conv_)?", r"nonlocal_conv\1_\2_", name)
            name = re.sub(r"s(\d)\.pathway0_res(\d+)\.", r"res\1_\2_", name).replace("branch2.", "branch2")
        blobs[f"{name}_{leaf}"] = value.numpy()
        if leaf == "w":
            blobs[f"{name}_{leaf}_momentum"] = np.zeros_like(value.numpy())
    return blobs


def write_caffe2(path, blobs: dict[str, np.ndarray]) -> None:
    path.write_bytes(pickle.dumps({"blobs": blobs}, protocol=2))


class PublishedContextBlock(nn.Module):
    """ContextBlock (attention, add) as the published 2D checkpoints know it, written from the paper's figure."""

    def __init__(self, channels: int, planes: int):
        super().__init__()
        self.conv_mask = nn.Conv2d(channels, 1, 1)
        self.channel_add_conv = nn.Sequential(
            nn.Conv2d(channels, planes, 1), nn.LayerNorm([planes, 1, 1]), nn.ReLU(), nn.Conv2d(planes, channels, 1)
        )

    def forward(self, x):
        weights = self.conv_mask(x).flatten(1).softmax(dim=1)  # [B, N]
        context = torch.einsum("bcn,bn->bc", x.flatten(2), weights)[:, :, None, None]
        return x + self.channel_add_conv(context)


class GCBottleneck(Bottleneck):
    """A bottleneck with a context block between its last norm and the addition, as in GCNet's ResNet."""

    def __init__(self, inplanes, planes, *args, **kwargs):
        super().__init__(inplanes, planes, *args, **kwargs)
        if planes > 64:
            self.context_block = PublishedContextBlock(planes * 4, planes)

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(out)))))
        if hasattr(self, "context_block"):
            out = self.context_block(out)
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


def image_net(block: type[Bottleneck] = Bottleneck) -> ResNet:
    """torchvision's ResNet with one bottleneck in each stage."""
    return wake_net(ResNet(block, [1, 1, 1, 1], num_classes=7))
