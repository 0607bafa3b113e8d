"""Blocks that can be put into any network; imports torch only.

A new family is one file, which defines its classes and its `Family`, and three lines here: two imports and its row.
"""

from torch import nn

from gcvideo.blocks import context, non_local, squeeze_excite
from gcvideo.blocks.context import *  # noqa: F403
from gcvideo.blocks.family import Family
from gcvideo.blocks.non_local import *  # noqa: F403
from gcvideo.blocks.squeeze_excite import *  # noqa: F403

FAMILIES: dict[str, Family] = {
    "gc": context.CONTEXT,
    "nl": non_local.NON_LOCAL,
    "snl": context.SIMPLIFIED_NON_LOCAL,
    "se": squeeze_excite.SQUEEZE_EXCITATION,
}
"""Short name -> family. `gcvideo.models` derives its presets, their options and its messages from it."""

BLOCKS: dict[str, type[nn.Module]] = {block.__name__: block for family in FAMILIES.values() for block in family.blocks}
"""Name -> class of every block."""
