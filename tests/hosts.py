"""Other projects' networks with our blocks in them: one table for the test and for docs/hosts.md.

python -m tests.hosts > docs/hosts.md
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import timm
import torch
import torchvision
from pytorchvideo.models.csn import create_csn
from pytorchvideo.models.r2plus1d import create_r2plus1d
from pytorchvideo.models.slowfast import create_slowfast
from pytorchvideo.models.x3d import create_x3d
from torch import Tensor, nn
from torchvision.models import detection, video

from gcvideo import ContextBlock2d, ContextBlock3d, insert


@dataclass(frozen=True)
class Host:
    """A network, where blocks go, and a small input.

    Args:
        build: makes the network; `names`, `site` and `channel_axis` are arguments of `insert`.
        shapes: of the input: a tensor, or a list of them.
        block: what is inserted.
        parameters_m: published number of parameters with the blocks, in M, and its source.
    """

    name: str
    build: Callable[[], nn.Module]
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    site: str = "after_1x1"
    block: Callable[[int], nn.Module] = ContextBlock3d
    needs_example: bool = False
    channel_axis: int = 1
    parameters_m: tuple[float, str] | None = None

    def inputs(self) -> Any:
        """Arguments of one forward pass; random, but always the same."""
        generator = torch.Generator().manual_seed(0)
        tensors = [torch.randn(shape, generator=generator) for shape in self.shapes]
        return tensors if len(tensors) > 1 or "Mask" in self.name else tensors[0]

    def insert(self, model: nn.Module) -> dict[str, nn.Module]:
        """Put the blocks in."""
        example = self.inputs() if self.needs_example else None
        return insert(model, dict.fromkeys(self.names, self.block), self.site, example, channel_axis=self.channel_axis)


R16 = functools.partial(ContextBlock2d, ratio=1 / 16)
R4 = functools.partial(ContextBlock2d, ratio=1 / 4)
CLIP = (2, 3, 8, 64, 64)
C3_C5 = ("layer2.*", "layer3.*", "layer4.*")
BODY = tuple(f"backbone.body.{name}" for name in C3_C5)


def mask_rcnn() -> nn.Module:
    """torchvision's, for COCO's 80 classes and background as in mmdetection."""
    return detection.maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=81, min_size=64, max_size=96
    )


HOSTS = [
    Host("torchvision r3d_18", lambda: video.r3d_18(num_classes=5), C3_C5, (CLIP,)),
    Host("torchvision mc3_18", lambda: video.mc3_18(num_classes=5), C3_C5, (CLIP,)),
    Host("torchvision r2plus1d_18", lambda: video.r2plus1d_18(num_classes=5), C3_C5, (CLIP,)),
    Host(
        "torchvision s3d",
        lambda: video.s3d(num_classes=5),
        ("features.5", "features.6", "features.8", "features.12"),
        ((1, 3, 16, 224, 224),),
        site="after_block",
        needs_example=True,
    ),
    Host(
        "torchvision swin3d_t",
        lambda: video.swin3d_t(num_classes=5),
        ("features.4.*", "features.6.*"),
        ((1, 3, 8, 64, 64),),
        site="after_block",
        needs_example=True,
        channel_axis=-1,
    ),
    Host(
        "pytorchvideo X3D",
        lambda: create_x3d(input_clip_length=4, input_crop_size=64, model_num_class=5),
        ("blocks.3.res_blocks.*", "blocks.4.res_blocks.*"),
        ((2, 3, 4, 64, 64),),
    ),
    Host(
        "pytorchvideo SlowFast R50",
        lambda: create_slowfast(model_num_class=5, head_pool_kernel_sizes=((2, 2, 2), (8, 2, 2))),
        ("blocks.2.multipathway_blocks.0.res_blocks.*", "blocks.3.multipathway_blocks.0.res_blocks.*"),
        ((2, 3, 2, 64, 64), (2, 3, 8, 64, 64)),
    ),
    Host(
        "pytorchvideo CSN R50",
        lambda: create_csn(model_num_class=5, head_pool_kernel_size=(1, 2, 2)),
        ("blocks.2.res_blocks.*", "blocks.3.res_blocks.*"),
        (CLIP,),
    ),
    Host(
        "pytorchvideo R(2+1)D R50",
        lambda: create_r2plus1d(model_num_class=5, head_pool_kernel_size=(2, 2, 2)),
        ("blocks.2.res_blocks.*", "blocks.3.res_blocks.*"),
        (CLIP,),
    ),
    Host(
        "torchvision resnet50",
        torchvision.models.resnet50,
        C3_C5,
        ((2, 3, 64, 64),),
        block=R16,
        parameters_m=(28.08, "GCNet, ImageNet, r16"),
    ),
    Host(
        "timm resnet50",
        lambda: timm.create_model("resnet50"),
        C3_C5,
        ((2, 3, 64, 64),),
        block=R16,
        parameters_m=(28.08, "GCNet, ImageNet, r16"),
    ),
    Host(
        "torchvision Mask R-CNN R50-FPN, r16",
        mask_rcnn,
        BODY,
        ((3, 64, 96),),
        block=R16,
        parameters_m=(46.9, "GCNet, COCO, r16"),
    ),
    Host(
        "torchvision Mask R-CNN R50-FPN, r4",
        mask_rcnn,
        BODY,
        ((3, 64, 96),),
        block=R4,
        parameters_m=(54.4, "GCNet, COCO, r4"),
    ),
]


def run(host: Host, model: nn.Module) -> Tensor:
    """Loss of one forward pass in training, or an output to compare in eval."""
    inputs = host.inputs()
    if "Mask" not in host.name:
        out = model(inputs)
        return out.square().mean() if model.training else out
    if not model.training:
        return torch.cat([level.flatten() for level in model.backbone(inputs[0][None]).values()])
    target = {
        "boxes": torch.tensor([[5.0, 6.0, 60.0, 50.0]]),
        "labels": torch.tensor([1]),
        "masks": torch.ones(1, 64, 96, dtype=torch.uint8),
    }
    return sum(model(inputs, [target]).values(), torch.zeros(()))


def millions(model: nn.Module) -> float:
    """Parameters in M."""
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


HEAD = """# Blocks in other projects' networks

Every row is tested: the blocks are the identity at the start, a training step changes them, a checkpoint of the host
loads before and after insertion, and `torch.compile` runs. This file is written by `python -m tests.hosts`.

```python
from torchvision.models.video import r3d_18

from gcvideo import ContextBlock3d, insert

model = r3d_18()
insert(model, dict.fromkeys(("layer2.*", "layer3.*", "layer4.*"), ContextBlock3d), site="after_1x1")
```

"""

TAIL = """
Parameters are in millions, with 5 classes (torchvision and timm ResNet-50: 1000; Mask R-CNN: 81).

- Networks whose channels come last (Swin) need `insert(..., channel_axis=-1)`; without it, the error asks for it.
- "needs example": the type of the modules does not tell their channels; pass `example=<input of the model>`.
- **Not supported: MViT** (torchvision `mvit_v2_s`). Its blocks return a pair, tokens (with a class token) and their
  grid, not a feature map. `insert` refuses it with that reason.
"""


def table() -> str:
    """The document."""
    lines = [
        "| host | names for `insert` | site | blocks | parameters | with blocks | published |",
        "|---|---|---|---|---|---|---|",
    ]
    for host in HOSTS:
        model = host.build()
        before = millions(model)
        blocks = host.insert(model)
        notes = "; needs example" if host.needs_example else ""
        notes += "; `channel_axis=-1`" if host.channel_axis != 1 else ""
        published = f"{host.parameters_m[0]} ({host.parameters_m[1]})" if host.parameters_m else ""
        names = ", ".join(f"`{name}`" for name in host.names)
        ratio = next(iter(blocks.values())).ratio
        lines.append(
            f"| {host.name} | {names}{notes} | {host.site} | {len(blocks)}, ratio 1/{math.floor(1 / ratio)} | "
            f"{before:.2f} | {millions(model):.2f} | {published} |"
        )
    return HEAD + "\n".join(lines) + "\n" + TAIL


if __name__ == "__main__":
    print(table(), end="")
