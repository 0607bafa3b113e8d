"""Which residual blocks of a ResNet get a block: the paper's rows by name, everything else as plain arguments."""

import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pytorchvideo.models.resnet import ResStage
from torch import nn

from gcvideo import blocks as families
from gcvideo.insertion import Site, insert
from gcvideo.models.image import ImageResNet

BlocksName = Literal[
    "none",
    "gc",
    "gc5",
    "gc5_even",
    "gc_all",
    "nl",
    "nl5",
    "nl5_even",
    "snl",
    "snl5",
    "snl5_even",
    "se",
    "se_all",
]
Indices = Mapping[str, Sequence[int] | Literal["all"]]

STAGES = ("res2", "res3", "res4", "res5")

# First part of a preset's name -> block for images, block for clips, its site in a residual block by its paper.
BLOCKS: dict[str, tuple[type[nn.Module], type[nn.Module], Site]] = {
    "gc": (families.ContextBlock2d, families.ContextBlock3d, "after_1x1"),
    "nl": (families.NonLocalBlock2d, families.NonLocalBlock3d, "after_block"),
    "snl": (families.SimplifiedNonLocal2d, families.SimplifiedNonLocal3d, "after_1x1"),
    "se": (families.SqueezeExcitation2d, families.SqueezeExcitation3d, "after_1x1"),
}

# "5" is every other block of res3 and res4, counted from 0. GCNet does not publish the indices: 1,3 / 1,3,5 are those
# of the Non-local paper's code and of PySlowFast, 0,2 / 0,2,4 ("even") those of mmaction2's slow-only.
_FIVE: Indices = {"res3": (1, 3), "res4": (1, 3, 5)}
_FIVE_EVEN: Indices = {"res3": (0, 2), "res4": (0, 2, 4)}
_ALL: Indices = {"res3": "all", "res4": "all", "res5": "all"}

# Name -> (block, indices). The names without a number or "all" need `at`.
PRESETS: dict[str, tuple[str | None, Indices]] = {
    "none": (None, {}),
    "gc": ("gc", {}),
    "gc5": ("gc", _FIVE),
    "gc5_even": ("gc", _FIVE_EVEN),
    "gc_all": ("gc", _ALL),
    "nl": ("nl", {}),
    "nl5": ("nl", _FIVE),
    "nl5_even": ("nl", _FIVE_EVEN),
    "snl": ("snl", {}),
    "snl5": ("snl", _FIVE),
    "snl5_even": ("snl", _FIVE_EVEN),
    "se": ("se", {}),
    "se_all": ("se", _ALL),
}


def insert_blocks(
    model: nn.Module,
    blocks: BlocksName,
    at: Indices | None = None,
    site: Site | None = None,
    block_options: Mapping[str, Any] | None = None,
) -> dict[str, nn.Module]:
    """Insert blocks into a ResNet of this package; arguments and errors: see `create_model`."""
    if blocks not in PRESETS:
        raise ValueError(f"blocks must be one of {tuple(PRESETS)}, got {blocks!r}")
    kind, preset = PRESETS[blocks]
    options = dict(block_options or {})
    if kind is None:
        settings = {"at": at, "site": site} | options
        unused = [name for name, value in settings.items() if value is not None]
        if unused:
            raise ValueError(f"blocks 'none' takes no {', '.join(unused)}")
        return {}
    if not preset and not at:
        raise ValueError(f"blocks {blocks!r} needs `at`, such as {{'res4': 'all'}} or {{'res3': [1, 3]}}")
    flat, solid, published = BLOCKS[kind]
    block = flat if isinstance(model, ImageResNet) else solid
    allowed = [name for name in inspect.signature(block).parameters if name != "in_channels"]
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise ValueError(
            f"blocks {blocks!r} is made of {block.__name__}, which takes no {', '.join(unknown)}; "
            f"it takes {', '.join(allowed) or 'no option'}"
        )
    indices = at or preset
    bad = {stage: chosen for stage, chosen in indices.items() if not _is_choice(chosen)}
    if bad:
        raise ValueError(f"at must map a stage to 'all' or a list of block indices, got {bad}")
    names = residual_blocks(model, indices, f"blocks {blocks!r}")
    return insert(model, dict.fromkeys(names, functools.partial(block, **options)), site=site or published)


def _is_choice(chosen: Any) -> bool:
    if isinstance(chosen, str):
        return chosen == "all"
    return isinstance(chosen, Sequence) and len(chosen) > 0 and all(isinstance(index, int) for index in chosen)


def residual_blocks(model: nn.Module, at: Indices, what: str) -> list[str]:
    """Module names of the chosen residual blocks, in the order of the model; `what` begins the errors."""
    unknown = sorted(set(at) - set(STAGES))
    if unknown:
        raise ValueError(f"{what}: at must be of {STAGES}, got {', '.join(unknown)}")
    if isinstance(model, ImageResNet):
        stages = [(f"layer{n}", len(model.get_submodule(f"layer{n}"))) for n in (1, 2, 3, 4)]
    else:
        stages = [(f"{n}.res_blocks", len(m.res_blocks)) for n, m in model.named_modules() if isinstance(m, ResStage)]
    names = []
    for (prefix, depth), stage_name in zip(stages, STAGES, strict=True):
        chosen = at.get(stage_name, ())
        if chosen != "all" and any(not 0 <= index < depth for index in chosen):
            raise ValueError(
                f"{what} needs blocks {list(chosen)} of {stage_name}, which has only {depth} (0 is the first)"
            )
        names += [f"{prefix}.{i}" for i in range(depth) if chosen == "all" or i in chosen]
    return names
