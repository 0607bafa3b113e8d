"""How projects name the parameters of a bottleneck ResNet: one row of names for each, read and written alike.

A key of a state dict is parsed to a `Place`, which means the same in all layouts. Sources of the names: pytorchvideo
`models/resnet.py` (hub files); PySlowFast `models/{stem,resnet,nonlocal,head}_helper.py` and
`utils/c2_model_loading.py` (caffe2); mmaction2 `models/backbones/resnet3d.py`, mmcv `cnn/bricks/non_local.py`;
mmaction v0 `models/tenons/backbones/resnet_i3d.py`; torchvision `models/resnet.py`; GCNet and mmdetection (plugins).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple


class Place(NamedTuple):
    """One tensor of a bottleneck ResNet.

    `module` is "stem.conv", "stem.norm", "head", or of a residual block "shortcut.conv", "a.conv" (first convolution
    of the branch), "a.norm", ... "c.norm", or "context.<child>" of the block inserted there. `stage` is 2 to 5.
    """

    module: str
    stage: int
    block: int
    leaf: str


@dataclass(frozen=True, slots=True)
class Layout:
    """Names of one project.

    Args:
        names: module of a `Place` -> template, or several of which the first is written. Fields: {stage} 2 to 5,
            {layer} 1 to 4, {block}, {child} a running number of the stages with gaps, {rest} any names of children.
        separator: between the module and the last part of a key.
        leaves: last part of a key -> that of torch, where they differ.
        ignored: pattern of keys that are not of the network.
        pool_first: whether sub-sampled NL blocks pool before they project; None: no NL blocks.
    """

    names: dict[str, tuple[str, ...]]
    separator: str = "."
    leaves: dict[str, str] = field(default_factory=dict)
    ignored: str = r"$^"
    pool_first: bool | None = None

    def parse(self, keys: Iterable[str]) -> tuple[dict[Place, str], list[str]]:
        """Indices -> keys, and the keys that this layout does not know. What is `ignored` is in neither."""
        patterns = [
            (module, re.compile(_pattern(template))) for module, names in self.names.items() for template in names
        ]
        found: list[tuple[str, dict[str, str], str, str]] = []  # module, fields, leaf, key
        unknown = []
        for key in keys:
            if re.match(self.ignored, key):
                continue
            name, _, leaf = key.rpartition(self.separator)
            match = next(((module, hit) for module, pattern in patterns if (hit := pattern.fullmatch(name))), None)
            if match is None:
                unknown.append(key)
                continue
            module, hit = match
            fields = hit.groupdict()
            found.append((module + fields.get("rest", ""), fields, self.leaves.get(leaf, leaf), key))
        children = sorted({int(f["child"]) for module, f, _, _ in found if "child" in f and module != "head"})
        places = {}
        for module, fields, leaf, key in found:
            if "child" in fields and module != "head":
                stage = children.index(int(fields["child"])) + 2
            else:
                stage = int(fields.get("stage", 0)) or int(fields.get("layer", -1)) + 1
            places[Place(module, stage, int(fields.get("block", 0)), leaf)] = key
        return places, unknown

    def write(self, place: Place) -> str | None:
        """Key of a place, or None if this layout has no name for it."""
        names = self.names.get(place.module)
        if names is None:
            return None
        name = names[0].format(stage=place.stage, layer=place.stage - 1, block=place.block)
        return f"{name}{self.separator}{place.leaf}"


def _pattern(template: str) -> str:
    escaped = re.escape(template).replace(r"\{rest\}", r"(?P<rest>[\w.]+)")
    return re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>\\d+)", escaped)


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
            "context.": (
                f"{_PTV}.context.{{rest}}",
                f"{_PTV}.branch2.norm_c.context.{{rest}}",
                f"{_PTV}.activation.context.{{rest}}",
            ),
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
        pool_first=True,
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
        pool_first=True,
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
        pool_first=False,
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
            "head": ("fc", "cls_head.fc_cls"),
            "context.conv_theta": (f"{_TV}.nonlocal_block.theta",),
            "context.conv_phi": (f"{_TV}.nonlocal_block.phi.1", f"{_TV}.nonlocal_block.phi"),
            "context.conv_g": (f"{_TV}.nonlocal_block.g.1", f"{_TV}.nonlocal_block.g"),
            "context.conv_out": (f"{_TV}.nonlocal_block.W.0", f"{_TV}.nonlocal_block.W"),
            "context.norm": (f"{_TV}.nonlocal_block.W.1",),
            "context.": (f"{_TV}.context_block.{{rest}}", f"{_TV}.bn3.context.{{rest}}", f"{_TV}.context.{{rest}}"),
        },
        ignored=r".*\.nonlocal_block\.bn\.|(neck|rpn_head|roi_head|bbox_head|mask_head)\.",
        pool_first=True,
    ),
}


def position(key: str) -> str:
    """Where in its residual block the inserted block of a key stands, as `insert` says it."""
    if re.search(r"\.(norm_c|bn3)\.context\.|\.context_block\.", key):
        return "after_1x1"
    return "after_add" if ".activation.context." in key else "after_block"


def detect(keys: Iterable[str]) -> str:
    """Name of the layout that knows most of the keys."""
    names = list(keys)
    return max(LAYOUTS, key=lambda layout: len(LAYOUTS[layout].parse(names)[0]))
