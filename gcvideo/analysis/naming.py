"""Short names of blocks, for figures and options: `res4.0` for `blocks.3.res_blocks.0.branch2.norm_c`."""

from collections.abc import Mapping

from torch import nn

from gcvideo.analysis.attention import attending_blocks
from gcvideo.blocks import FAMILIES
from gcvideo.errors import UsageError
from gcvideo.models.placement import stages_of


def short_names(net: nn.Module) -> dict[str, str]:
    """Name of the module that a block refines -> stage and index, or the same name in a network without these stages.

    All blocks that attend, in the order of the model.
    """
    stages = stages_of(net)
    names = {}
    for name in attending_blocks(net):
        short = name
        for stage, (prefix, _) in stages.items():
            if name.startswith(f"{prefix}."):  # what follows is the index, and in it the module of the site
                short = f"{stage}.{name.removeprefix(f'{prefix}.').split('.')[0]}"
        names[name] = short
    return names if len(set(names.values())) == len(names) else {name: name for name in names}


def family_of(block: nn.Module) -> str:
    """Family of a block, such as "GC"; of a block of one's own, its class."""
    for name, family in FAMILIES.items():
        if isinstance(block, family.blocks):
            return name.upper()
    return type(block).__name__


def choose(names: Mapping[str, str], requested: str) -> str:
    """The long name of a block that is called by its long or its short name.

    Raises:
        UsageError: no such block.
    """
    for name, short in names.items():
        if requested in (name, short):
            return name
    raise UsageError(f"no block {requested!r}; expected one of {', '.join(names.values()) or 'none: it has no blocks'}")
