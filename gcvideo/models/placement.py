"""Which residual blocks of a network get a block: the paper's rows by name, everything else as plain arguments."""

import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from torch import nn
from torchvision.models.resnet import ResNet

from gcvideo.blocks import FAMILIES
from gcvideo.errors import UsageError
from gcvideo.insertion import Site, insert
from gcvideo.models.parts import ResStage

STAGES = ("res2", "res3", "res4", "res5")

Indices = Mapping[str, Sequence[int] | Literal["all"]]
"""Stage -> indices of its residual blocks, or "all"."""

At = Indices | Sequence[str]
"""Indices, or names or globs of modules, for networks without these stages."""


class Preset(NamedTuple):
    """A value of `blocks`: the family (key of `FAMILIES`; None: no blocks) and where, which `at` replaces."""

    family: str | None
    at: Indices


# End of a preset's name -> residual blocks. "5" is every other block of res3 and res4, counted from 0. GCNet does not
# publish the indices: 1,3 / 1,3,5 are those of the Non-local paper's code and of PySlowFast, 0,2 / 0,2,4 ("even")
# those of mmaction2's slow-only. Without an ending, `at` is required.
_ENDINGS: dict[str, Indices] = {
    "": {},
    "5": {"res3": (1, 3), "res4": (1, 3, 5)},
    "5_even": {"res3": (0, 2), "res4": (0, 2, 4)},
    "_all": {"res3": "all", "res4": "all", "res5": "all"},
}

PRESETS: dict[str, Preset] = {
    "none": Preset(None, {}),
    **{family + ending: Preset(family, at) for family in FAMILIES for ending, at in _ENDINGS.items()},
}

if TYPE_CHECKING:
    BlocksName = str
else:  # a Literal made from the table, so that the command line lists and checks the names
    BlocksName = Literal[tuple(PRESETS)]


def block_parameters(blocks: str, image: bool = False) -> type[nn.Module] | None:
    """Class of the blocks of a preset. The arguments after `in_channels` are its options, with their types.

    Args:
        blocks: key of `PRESETS`.
        image: the 2D class of the image models, not the 3D class of the video models; both take the same options.

    Returns:
        The class, or None for "none".
    """
    family = _preset(blocks).family
    return None if family is None else FAMILIES[family].block(2 if image else 3)


def insert_blocks(
    model: nn.Module,
    blocks: BlocksName,
    at: At | None = None,
    site: Site | None = None,
    block_options: Mapping[str, Any] | None = None,
) -> dict[str, nn.Module]:
    """Insert blocks into a network, in place. Either all are inserted or, on an error, none.

    Args:
        model: a network of `create_model`, or any other whose convolutions are all 2D or all 3D.
        blocks: key of `PRESETS`.
        at: stage -> indices of its residual blocks, for networks of `create_model`; or a list of names or globs of
            modules, such as ["layer3.*", "layer4.1"], for any network. Replaces the indices of the preset.
        site: see `insert`; default that of the block's paper.
        block_options: arguments of the block other than its number of channels.

    Returns:
        Name of the module refined -> its block, in the order of the model.

    Raises:
        UsageError: unknown preset, stage, index or name; an option that the block does not have; a bad value; any
            setting with blocks "none", where it would have no effect; see also `insert`.
    """
    preset = _preset(blocks)
    options = dict(block_options or {})
    if preset.family is None:
        unused = [name for name, value in (("at", at), ("site", site)) if value is not None] + list(options)
        if unused:
            raise UsageError(f"blocks 'none' takes no {', '.join(unused)}")
        return {}
    family = FAMILIES[preset.family]
    block = family.block(_ndim(model))
    _check_options(blocks, block, options)
    names = _module_names(model, at or preset.at, blocks)
    where = site or cast(Site, family.site)
    try:
        # One maker for all names: `insert` calls it for each module, so no two share a block.
        return insert(model, dict.fromkeys(names, functools.partial(block, **options)), site=where)
    except ValueError as error:  # insertion.py and blocks/ import torch only: they do not know UsageError
        raise UsageError(str(error)) from error


def option_names(block: type[nn.Module]) -> list[str]:
    """Arguments of a block other than its number of channels."""
    return [name for name in inspect.signature(block).parameters if name != "in_channels"]


def _preset(blocks: str) -> Preset:
    if blocks not in PRESETS:
        raise UsageError(f"blocks must be one of {tuple(PRESETS)}, got {blocks!r}")
    return PRESETS[blocks]


def _ndim(model: nn.Module) -> int:
    """Number of position axes of the features: 2 for images, 3 for clips."""
    found = {len(module.kernel_size) for module in model.modules() if isinstance(module, nn.modules.conv._ConvNd)}
    if len(found) != 1:
        kinds = ", ".join(f"{ndim}D" for ndim in sorted(found)) or "none"
        raise UsageError(
            f"expected a network with 2D or with 3D convolutions, got {kinds} in {type(model).__name__}: "
            f"call gcvideo.insert with the class of the block instead"
        )
    return found.pop()


def _check_options(blocks: str, block: type[nn.Module], options: Mapping[str, Any]) -> None:
    allowed = option_names(block)
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise UsageError(
            f"blocks {blocks!r} is made of {block.__name__}, which takes no {', '.join(unknown)}; "
            f"it takes {', '.join(allowed) or 'no option'}"
        )


def _module_names(model: nn.Module, at: At, blocks: str) -> list[str]:
    """Names or globs of the modules that get a block."""
    if isinstance(at, Mapping):
        return _residual_blocks(model, at, blocks)
    if isinstance(at, str) or not all(isinstance(name, str) for name in at):
        raise UsageError(f"at must map stages to indices or list names of modules, got {at!r}")
    return list(at)


def _residual_blocks(model: nn.Module, at: Indices, blocks: str) -> list[str]:
    """Names of the chosen residual blocks, in the order of the model."""
    stages = stages_of(model)
    if not stages:
        raise UsageError(
            f"blocks {blocks!r} in {type(model).__name__}, which has no stages {', '.join(STAGES)}: "
            f"list the modules instead, such as at=['layer3.*']"
        )
    if not at:
        raise UsageError(f"blocks {blocks!r} needs `at`, such as {{'res4': 'all'}} or {{'res3': [1, 3]}}")
    bad = {stage: chosen for stage, chosen in at.items() if not _is_choice(chosen)}
    if bad:
        raise UsageError(f"at must map a stage to 'all' or a list of block indices, got {bad}")
    unknown = sorted(set(at) - set(STAGES))
    if unknown:
        raise UsageError(f"blocks {blocks!r}: at must be of {STAGES}, got {', '.join(unknown)}")
    absent = [stage for stage, chosen in at.items() if stage not in stages and chosen != "all"]
    if absent:
        raise UsageError(f"blocks {blocks!r} needs blocks of {', '.join(absent)}; the network ends after {max(stages)}")
    names = []
    for stage, (prefix, depth) in stages.items():
        chosen = at.get(stage, ())
        indices = range(depth) if chosen == "all" else sorted(set(map(int, chosen)))
        if any(not 0 <= index < depth for index in indices):
            raise UsageError(
                f"blocks {blocks!r} needs blocks {list(chosen)} of {stage}, which has only {depth} (0 is the first)"
            )
        names += [f"{prefix}.{index}" for index in indices]
    return names


def stages_of(model: nn.Module) -> dict[str, tuple[str, int]]:
    """Stage -> (name of the module that holds its residual blocks, their number); empty if the model has no stages."""
    if isinstance(model, ResNet):  # torchvision's, and our image models
        found = [(f"layer{n}", len(model.get_submodule(f"layer{n}"))) for n in (1, 2, 3, 4)]
    else:
        found = [(f"{n}.res_blocks", len(m.res_blocks)) for n, m in model.named_modules() if isinstance(m, ResStage)]
    # With another number of stages, res2 to res5 would name the wrong ones. Networks that end after res4 are ours.
    return dict(zip(STAGES, found, strict=False)) if len(found) in (3, len(STAGES)) else {}


def _is_choice(chosen: Any) -> bool:
    if isinstance(chosen, str):
        return chosen == "all"
    return isinstance(chosen, Sequence) and len(chosen) > 0 and all(isinstance(index, int) for index in chosen)
