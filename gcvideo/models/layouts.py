"""How each project names the tensors of a bottleneck ResNet: one row for each, used for reading and for writing.

Sources of the names: pytorchvideo `models/resnet.py` (hub files); PySlowFast
`models/{stem,resnet,nonlocal,head}_helper.py` and `utils/c2_model_loading.py` (caffe2); mmaction2
`models/backbones/resnet3d.py`, mmcv `cnn/bricks/non_local.py`; mmaction v0 `models/tenons/backbones/resnet_i3d.py`;
torchvision `models/resnet.py`; GCNet and mmdetection (plugins).
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from torch import Tensor

from gcvideo.models.naming import Absent, Layout, TensorName

_TV = "layer{layer}.{block}"
_PTV = "blocks.{child}.res_blocks.{block}"
_SF = "s{stage}.pathway0_res{block}"
_SF_NL = "s{stage}.pathway0_nonlocal{block}"
_C2 = "res{stage}_{block}_branch"
_C2_NL = "nonlocal_conv{stage}_{block}"

LAYOUTS: dict[str, Layout] = {
    "pytorchvideo": Layout(
        {
            "stem.conv": ("blocks.0.conv",),
            "stem.norm": ("blocks.0.norm",),
            "shortcut.conv": (f"{_PTV}.branch1_conv",),
            "shortcut.norm": (f"{_PTV}.branch1_norm",),
            **{f"{x}.{part}": (f"{_PTV}.branch2.{part}_{x}",) for x in "abc" for part in ("conv", "norm")},
            "head": ("blocks.{child}.proj",),
        },
        inserted={  # names of the modules that `insert` attaches a block to
            f"{_PTV}.context.{{rest}}": "after_block",
            f"{_PTV}.branch2.norm_c.context.{{rest}}": "after_1x1",
            f"{_PTV}.branch2.norm_b.context.{{rest}}": "after_1x1",  # of a ResNet-18
            f"{_PTV}.activation.context.{{rest}}": "after_add",
        },
    ),
    "pyslowfast": Layout(
        {
            "stem.conv": ("s1.pathway0_stem.conv",),
            "stem.norm": ("s1.pathway0_stem.bn",),
            "shortcut.conv": (f"{_SF}.branch1",),
            "shortcut.norm": (f"{_SF}.branch1_bn",),
            **{f"{x}.conv": (f"{_SF}.branch2.{x}",) for x in "abc"},
            **{f"{x}.norm": (f"{_SF}.branch2.{x}_bn",) for x in "abc"},
            "head": ("head.projection",),
            **{f"context.conv_{x}": (f"{_SF_NL}.conv_{x}",) for x in ("theta", "phi", "g", "out")},
            "context.norm": (f"{_SF_NL}.bn",),
        },
        non_local={"pool_first": True, "use_scale": True},
    ),
    "caffe2": Layout(
        {
            "stem.conv": ("conv1",),
            "stem.norm": ("res_conv1_bn",),
            "shortcut.conv": (f"{_C2}1",),
            "shortcut.norm": (f"{_C2}1_bn",),
            **{f"{x}.conv": (f"{_C2}2{x}",) for x in "abc"},
            **{f"{x}.norm": (f"{_C2}2{x}_bn",) for x in "abc"},
            "head": ("pred",),
            **{f"context.conv_{x}": (f"{_C2_NL}_{x}",) for x in ("theta", "phi", "g", "out")},
            "context.norm": (f"{_C2_NL}_bn",),
        },
        separator="_",
        leaves={"w": "weight", "b": "bias", "s": "weight", "rm": "running_mean", "riv": "running_var"},
        ignored=r".*_momentum$|lr$|model_iter$",
        # Affine models reduce batch norms to scale and shift; a variance of 1 - eps makes torch's divisor 1.
        absent=(Absent("*", "running_mean", 0.0), Absent("*", "running_var", 1 - 1e-5)),
        non_local={"pool_first": True},  # PySlowFast's scale; in video-nonlocal-net that is a setting
    ),
    "mmaction2": Layout(
        {
            "stem.conv": ("conv1.conv",),
            "stem.norm": ("conv1.bn",),
            "shortcut.conv": (f"{_TV}.downsample.conv",),
            "shortcut.norm": (f"{_TV}.downsample.bn",),
            **{f"{x}.conv": (f"{_TV}.conv{n}.conv",) for n, x in enumerate("abc", start=1)},
            **{f"{x}.norm": (f"{_TV}.conv{n}.bn",) for n, x in enumerate("abc", start=1)},
            "head": ("cls_head.fc_cls",),
            "context.conv_theta": (f"{_TV}.non_local_block.theta.conv",),
            "context.conv_phi": (f"{_TV}.non_local_block.phi.0.conv", f"{_TV}.non_local_block.phi.conv"),
            "context.conv_g": (f"{_TV}.non_local_block.g.0.conv", f"{_TV}.non_local_block.g.conv"),
            "context.conv_concat": (f"{_TV}.non_local_block.concat_project.conv",),
            "context.conv_out": (f"{_TV}.non_local_block.conv_out.conv",),
            "context.norm": (f"{_TV}.non_local_block.conv_out.bn",),
        },
        ignored=r"data_preprocessor\.",
        absent=(Absent("context.conv_out", "bias", 0.0),),  # no bias before a batch norm
        non_local={"pool_first": False},
        sub_sampled=r"\.g\.0\.",  # a Sequential of the convolution and the max-pool
    ),
    # torchvision's names: also of mmaction v0 (5-D), and of GCNet and mmdetection with their ContextBlocks.
    "torchvision": Layout(
        {
            "stem.conv": ("conv1",),
            "stem.norm": ("bn1",),
            "shortcut.conv": (f"{_TV}.downsample.0",),
            "shortcut.norm": (f"{_TV}.downsample.1",),
            **{f"{x}.conv": (f"{_TV}.conv{n}",) for n, x in enumerate("abc", start=1)},
            **{f"{x}.norm": (f"{_TV}.bn{n}",) for n, x in enumerate("abc", start=1)},
            # mmaction v0's classifier is named as in mmaction2.
            "head": ("fc", "cls_head.fc_cls"),
            "context.conv_theta": (f"{_TV}.nonlocal_block.theta",),
            "context.conv_phi": (f"{_TV}.nonlocal_block.phi.1", f"{_TV}.nonlocal_block.phi"),
            "context.conv_g": (f"{_TV}.nonlocal_block.g.1", f"{_TV}.nonlocal_block.g"),
            "context.conv_out": (f"{_TV}.nonlocal_block.W.0", f"{_TV}.nonlocal_block.W"),
            "context.norm": (f"{_TV}.nonlocal_block.W.1",),
        },
        inserted={
            f"{_TV}.context_block.{{rest}}": "after_1x1",  # the default of GCNet and mmdetection
            f"{_TV}.bn3.context.{{rest}}": "after_1x1",
            f"{_TV}.context.{{rest}}": "after_block",
        },
        # mmaction v0 registers the norm of its NL blocks twice, as W.1 and as bn; the rest are parts of detectors.
        ignored=r".*\.nonlocal_block\.bn\.|(neck|rpn_head|roi_head|bbox_head|mask_head)\.",
        non_local={"pool_first": True, "use_scale": False},  # of mmaction v0
        sub_sampled=r"\.g\.1\.",  # a Sequential of the max-pool and the convolution
    ),
}


class NamedTensors(NamedTuple):
    """Tensors of a file or of a model, by name.

    `keys` are their names in `layout`, the closest one; `unknown` are keys that it has no name for. `pools_time`: see
    `Parsed`.
    """

    layout: str
    keys: dict[TensorName, str]
    values: dict[TensorName, Tensor]
    unknown: list[str]
    pools_time: bool | None


def parse_state(state: Mapping[str, Tensor]) -> NamedTensors:
    """Names of the tensors of a state dict."""
    layout = detect(state)
    keys, unknown, pools_time = LAYOUTS[layout].parse(state)
    return NamedTensors(layout, keys, {name: state[key] for name, key in keys.items()}, unknown, pools_time)


def detect(keys: Iterable[str]) -> str:
    """Name of the layout that has names for most of the keys."""
    names = list(keys)
    return max(LAYOUTS, key=lambda layout: len(LAYOUTS[layout].parse(names).keys))
