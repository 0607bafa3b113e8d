"""Which blocks stand at which places of a ResNet: the paper's rows by name, everything else as plain arguments."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from pytorchvideo.models.resnet import ResStage
from torch import nn

from gcvideo.blocks import ContextBlock3d, NonLocalBlock3d, SimplifiedNonLocal3d, SqueezeExcitation3d
from gcvideo.insertion import Position, insert

ContextName = Literal[
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
Places = Mapping[str, Sequence[int] | Literal["all"]]

STAGES = ("res2", "res3", "res4", "res5")

# Block by the first part of a context's name, and the position that its paper gives it in a residual block.
BLOCKS: dict[str, tuple[Callable[..., nn.Module], Position]] = {
    "gc": (ContextBlock3d, "after_1x1"),
    "nl": (NonLocalBlock3d, "after_block"),
    "snl": (SimplifiedNonLocal3d, "after_1x1"),
    "se": (SqueezeExcitation3d, "after_1x1"),
}

# "5" is every other block of res3 and res4, counted from 0. GCNet does not publish the indices: 1,3 / 1,3,5 are those
# of the Non-local paper's code and of PySlowFast, 0,2 / 0,2,4 ("even") those of mmaction2's slow-only.
_FIVE: Places = {"res3": (1, 3), "res4": (1, 3, 5)}
_FIVE_EVEN: Places = {"res3": (0, 2), "res4": (0, 2, 4)}
_ALL: Places = {"res3": "all", "res4": "all", "res5": "all"}

# Name -> (block, places). The names without a number or "all" need `places`.
CONTEXTS: dict[str, tuple[str | None, Places]] = {
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


def insert_context(
    model: nn.Module,
    context: ContextName,
    places: Places | None = None,
    position: Position | None = None,
    block_options: Mapping[str, Any] | None = None,
) -> dict[str, nn.Module]:
    """Insert the blocks of `context` into a ResNet of this package; arguments and errors: see `create_model`."""
    if context not in CONTEXTS:
        raise ValueError(f"context must be one of {tuple(CONTEXTS)}, got {context!r}")
    kind, preset = CONTEXTS[context]
    options = dict(block_options or {})
    if kind is None:
        said = [name for name, value in (("places", places), ("position", position)) if value is not None]
        if said or options:
            raise ValueError(f"context 'none' has no blocks to give {', '.join([*said, *options])} to")
        return {}
    if not preset and not places:
        raise ValueError(f"context {context!r} needs places, such as {{'res4': 'all'}} or {{'res3': [1, 3]}}")
    block, published = BLOCKS[kind]
    allowed = [name for name in inspect.signature(block).parameters if name != "in_channels"]
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise ValueError(
            f"context {context!r} is made of {getattr(block, '__name__', block)}, which takes no {', '.join(unknown)}; "
            f"it takes {', '.join(allowed) or 'no option'}"
        )
    names = residual_blocks(model, places or preset, f"context {context!r}")
    return insert(model, dict.fromkeys(names, functools.partial(block, **options)), position=position or published)


def residual_blocks(model: nn.Module, places: Places, what: str) -> list[str]:
    """Module names of the chosen residual blocks, in the order of the model; `what` begins the errors."""
    unknown = sorted(set(places) - set(STAGES))
    if unknown:
        raise ValueError(f"{what}: places must be of {STAGES}, got {', '.join(unknown)}")
    stages = [(name, m) for name, m in model.named_modules() if isinstance(m, ResStage)]
    names = []
    for (prefix, stage), stage_name in zip(stages, STAGES, strict=True):
        depth = len(stage.res_blocks)
        chosen = places.get(stage_name, ())
        if chosen != "all" and any(not 0 <= index < depth for index in chosen):
            raise ValueError(
                f"{what} needs blocks {list(chosen)} of {stage_name}, which has only {depth} (0 is the first)"
            )
        names += [f"{prefix}.res_blocks.{i}" for i in range(depth) if chosen == "all" or i in chosen]
    return names
