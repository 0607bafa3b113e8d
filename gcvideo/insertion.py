"""Puts blocks into any `nn.Module`, by module name, without renaming a parameter of the host.

A block is attached to the module whose output it refines: it becomes that module's child `context` and a forward
hook applies it. All existing names stay, so checkpoints of the host load before and after; deepcopy, pickle, DDP,
`torch.compile` and `torch.export` keep working because the hook is a plain function that finds the block through the
module it is called with.
"""

import copy
import difflib
import fnmatch
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, cast, get_args

import torch
import torch._dynamo
from torch import Tensor, nn

# By default torch.compile takes hooks for constant: of two networks of a process that differ by their blocks alone, the
# second would silently run as the first. Here, because a network that is unpickled imports this module for its hooks.
torch._dynamo.config.skip_nnmodule_hook_guards = False

BlockMaker = Callable[[int], nn.Module]
"""Makes a block from the number of channels, such as `ContextBlock3d`."""

CHILD = "context"
"""Name of the child that holds an inserted block."""

Site = Literal["after_block", "after_1x1", "after_add"]
SITES: tuple[str, ...] = get_args(Site)

# Residual blocks by the names of their children: (last layer before the addition, activation after it). The activation
# is None where the host applies one module several times, so that its input is not only the sum.
# The first row that fits wins: bn3 stands before bn2, which a bottleneck has too, and a row with an activation before
# the same row without.
_RESIDUAL_BLOCKS: tuple[tuple[str, str | None], ...] = (
    ("branch2.norm_c", "activation"),  # pytorchvideo ResBlock
    ("branch2.norm_b", "activation"),  # the same with our BasicBlock
    ("bn3", "act3"),  # timm Bottleneck
    ("bn3", None),  # torchvision Bottleneck: one ReLU three times
    ("bn2", "act2"),  # timm BasicBlock
    ("bn2", None),  # torchvision BasicBlock: one ReLU twice
    ("conv3", "relu"),  # torchvision.models.video Bottleneck
    ("conv2", "relu"),  # torchvision.models.video BasicBlock
)

# Types of modules (torchvision's Swin) that return [B, ..., C].
_CHANNELS_LAST = ("SwinTransformerBlock", "SwinTransformerBlockV2", "PatchMerging", "PatchMergingV2", "PatchEmbed3d")


class _Target(NamedTuple):
    """A module that gets a block, and whether the block refines the module's input instead of its output."""

    name: str
    block: nn.Module | BlockMaker
    refines_input: bool


def insert(
    model: nn.Module,
    blocks: Mapping[str, nn.Module | BlockMaker],
    site: Site = "after_block",
    example: Any = None,
    channel_axis: Literal[1, -1] = 1,
) -> dict[str, nn.Module]:
    """Insert blocks into `model`, in place. Either all are inserted or, on an error, none.

    Args:
        model: any network; its weights may be loaded before or after.
        blocks: module name or glob -> block. `*` in a glob stands for one part of a dotted name: "layer3.*" matches
            the blocks of layer3 and not their layers. A block is a callable that takes the number of channels, such
            as `ContextBlock3d` or `functools.partial(ContextBlock3d, ratio=1/16)`, called once for each match; or a
            module, where exactly one module matches.
        site: "after_block" refines the output of the named module, whatever it is. For a named residual block of
            pytorchvideo, torchvision or timm, "after_1x1" refines the residual branch before the addition (GCNet's
            default), and "after_add" the sum before the ReLU.
        example: input of the model (the argument of its forward), for a dry run that finds the channels of modules
            whose type does not tell them (convolutions, batch norms and the residual blocks above do). The dry run
            is in eval mode, without gradients, on a copy of the model.
        channel_axis: of the features: 1, or -1 for hosts such as Swin, whose features are [B, ..., C]; "after_block"
            only.

    Returns:
        Name of the module refined -> its block, in the order of the model.

    Raises:
        ValueError: a name matches nothing; a module already has a block or is matched twice; a module is passed for
            several matches; the site is unknown or not available in this host; the channels are unknown; the output
            of the module is not one tensor, or the block does not accept it or changes its shape.

    Example:
        >>> from torchvision.models.video import r3d_18
        >>> from gcvideo import ContextBlock3d, insert
        >>> model = r3d_18()
        >>> list(insert(model, {"layer3.*": ContextBlock3d, "layer4.1": ContextBlock3d}, site="after_1x1"))
        ['layer3.0.conv2', 'layer3.1.conv2', 'layer4.1.conv2']
    """
    if channel_axis not in (1, -1) or (channel_axis == -1 and site != "after_block"):
        raise ValueError(f"channel_axis must be 1, or -1 with site 'after_block', got {channel_axis}, {site!r}")
    modules = dict(model.named_modules())
    targets = _targets(modules, blocks, site, channel_axis)
    untyped = [target.name for target in targets if _channels_by_type(target.name, modules) is None]
    outputs = None if example is None else _dry_run(model, untyped, example, channel_axis)
    # Every block is made before the first is attached: an error leaves the model as it was.
    ready = {target.name: _make(target, modules, outputs) for target in targets}
    for target in targets:
        _attach(model, modules[target.name], ready[target.name], target.refines_input, channel_axis)
    return ready


def inserted_blocks(model: nn.Module) -> dict[str, nn.Module]:
    """Blocks that `insert` put into `model`: name of the module refined -> block, in the order of the model."""
    # Found by the hook and not by the name of the child: a host may have a child "context" of its own.
    hooked = {name: module for name, module in model.named_modules() if _HOOKS & _hooks_of(module)}
    return {name: module.get_submodule(CHILD) for name, module in hooked.items()}


def has_other_hooks(model: nn.Module) -> bool:
    """Whether a module has forward hooks that `insert` did not register."""
    return any(_hooks_of(module) - _HOOKS for module in model.modules())


def _hooks_of(module: nn.Module) -> set[Callable[..., Any]]:
    return {*module._forward_hooks.values(), *module._forward_pre_hooks.values()}


def _refine_output(module: nn.Module, args: Any, output: Any) -> Tensor:
    return module.get_submodule(CHILD)(output)


def _refine_channels_last(module: nn.Module, args: Any, output: Any) -> Tensor:
    # [B, ..., C] -> [B, C, ...] for the block, and back
    return module.get_submodule(CHILD)(output.movedim(-1, 1)).movedim(1, -1)


def _refine_input(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return (module.get_submodule(CHILD)(args[0]), *args[1:])


_HOOKS = {_refine_output, _refine_channels_last, _refine_input}


def _attach(
    model: nn.Module, host: nn.Module, block: nn.Module, refines_input: bool, channel_axis: Literal[1, -1]
) -> None:
    """Make `block` a child of `host`, on its device and in its mode, and apply it by a hook."""
    # A host without parameters, such as an activation, is where the rest of the model is.
    parameter = next(host.parameters(), next(model.parameters(), None))
    if parameter is not None:
        block.to(parameter.device)
    block.train(host.training)
    host.add_module(CHILD, block)
    if refines_input:
        host.register_forward_pre_hook(_refine_input)
    else:
        host.register_forward_hook(_refine_output if channel_axis == 1 else _refine_channels_last)


def _targets(
    modules: Mapping[str, nn.Module],
    blocks: Mapping[str, nn.Module | BlockMaker],
    site: Site,
    channel_axis: Literal[1, -1],
) -> list[_Target]:
    """Modules that get a block, in the order of the model."""
    targets: dict[str, _Target] = {}
    for pattern, block in blocks.items():
        matches = _match(pattern, modules)
        if isinstance(block, nn.Module) and len(matches) > 1:
            raise ValueError(
                f"{pattern!r} matches {len(matches)} modules: pass a callable that makes a block from the number of "
                f"channels, got one {type(block).__name__}"
            )
        for match in matches:
            name, refines_input = _resolve(match, modules, site)
            if channel_axis == 1 and type(_last(modules[name])).__name__ in _CHANNELS_LAST:
                raise ValueError(f"{name!r} returns features [B, ..., C]: pass channel_axis=-1 to insert")
            if name in targets:
                raise ValueError(f"{pattern!r} matches {name!r}, which another name of this call matches too")
            if hasattr(modules[name], CHILD):
                raise ValueError(f"{name!r} already has a child {CHILD!r}: it cannot get a second block")
            targets[name] = _Target(name, block, refines_input)
    # `modules` is in the order of the model, `targets` in that of the patterns.
    return [targets[name] for name in modules if name in targets]


def _match(pattern: str, modules: Mapping[str, nn.Module]) -> list[str]:
    parts = pattern.split(".")

    def fits(name: str) -> bool:
        own = name.split(".")
        return len(own) == len(parts) and all(map(fnmatch.fnmatchcase, own, parts))

    matches = [name for name in modules if name and fits(name)]  # "" is the model itself
    if not matches:
        near = difflib.get_close_matches(pattern, list(modules), n=3)
        hint = f"; near: {', '.join(near)}" if near else ""
        raise ValueError(f"{pattern!r} matches no module of {type(modules['']).__name__}{hint}")
    return matches


def _resolve(name: str, modules: Mapping[str, nn.Module], site: str) -> tuple[str, bool]:
    """Name of the module to attach the block to, and whether the block refines its input instead of its output."""
    if site not in SITES:
        raise ValueError(f"site must be one of {SITES}, got {site!r}")
    if site == "after_block":
        return name, False
    for last, activation in _RESIDUAL_BLOCKS:
        if f"{name}.{last}" in modules and (activation is None or f"{name}.{activation}" in modules):
            if site == "after_1x1":
                return f"{name}.{last}", False
            if activation is None:
                raise ValueError(
                    f"site 'after_add' is not available at {name!r}: {type(modules[name]).__name__} applies one "
                    f"ReLU several times; use 'after_1x1' or 'after_block'"
                )
            return f"{name}.{activation}", True
    raise ValueError(
        f"site {site!r} needs a residual block of pytorchvideo, torchvision or timm, "
        f"got {type(modules[name]).__name__} at {name!r}; name the module itself and use 'after_block'"
    )


def _last(module: nn.Module) -> nn.Module:
    """The module whose output is that of `module`."""
    while isinstance(module, nn.Sequential) and len(module):
        module = module[-1]
    return module


def _channels_by_type(name: str, modules: Mapping[str, nn.Module]) -> int | None:
    """Channels of the output if they follow from the type of the module, else None."""
    module = modules[name]
    if isinstance(module, nn.modules.conv._ConvNd):
        return module.out_channels
    if isinstance(module, nn.GroupNorm):
        return module.num_channels
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return module.num_features
    if type(module).__name__ == "FrozenBatchNorm2d":  # torchvision's, in detectors
        return cast(Tensor, module.weight).numel()
    if isinstance(module, nn.Sequential) and len(module):
        return _channels_by_type(f"{name}.{next(reversed(module._modules))}", modules)
    if isinstance(module, nn.ReLU):  # of a residual block, whose other children tell
        parent = name.rpartition(".")[0]
        return _channels_by_type(parent, modules) if parent else None
    for last, _ in _RESIDUAL_BLOCKS:
        if f"{name}.{last}" in modules:
            return _channels_by_type(f"{name}.{last}", modules)
    return None


def _dry_run(model: nn.Module, names: list[str], example: Any, channel_axis: Literal[1, -1]) -> dict[str, Any]:
    """Outputs of the named modules for `example`, channels first; found on a copy, so that the model is unchanged."""
    if not names:
        return {}
    twin = copy.deepcopy(model).eval()
    outputs: dict[str, Any] = {}
    for name in names:

        def keep(module: nn.Module, args: Any, output: Any, name: str = name) -> None:
            moves = channel_axis == -1 and isinstance(output, Tensor)
            outputs[name] = output.movedim(-1, 1) if moves else output

        twin.get_submodule(name).register_forward_hook(keep)
    with torch.no_grad():
        twin(example)
    return outputs


def _make(target: _Target, modules: Mapping[str, nn.Module], outputs: Mapping[str, Any] | None) -> nn.Module:
    """The block of a target. `outputs` are those of the dry run, None without one."""
    channels = _channels_by_type(target.name, modules)
    if channels is not None:
        return _instance(target.block, channels)
    if outputs is not None:
        features = _features(target.name, outputs)
        block = _instance(target.block, features.shape[1])
        _check_shape(target.name, block, features)
        return block
    if isinstance(target.block, nn.Module):
        return target.block  # the caller knew the channels
    raise ValueError(
        f"the channels of {target.name!r} cannot be derived from its type, {type(modules[target.name]).__name__}: "
        f"pass example=<model input> to insert"
    )


def _instance(block: nn.Module | BlockMaker, channels: int) -> nn.Module:
    return block if isinstance(block, nn.Module) else block(channels)


def _features(name: str, outputs: Mapping[str, Any]) -> Tensor:
    if name not in outputs:
        raise ValueError(f"{name!r} is not called in the forward pass of the example")
    output = outputs[name]
    if not isinstance(output, Tensor) or output.ndim < 3:
        got = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(f"the output of {name!r} must be one feature tensor [B, C, ...], got {got}")
    return output


def _check_shape(name: str, block: nn.Module, features: Tensor) -> None:
    """Run a copy of the block, in eval mode so that no statistics are updated."""
    try:
        with torch.no_grad():
            refined = copy.deepcopy(block).to(features.device).eval()(features)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"the block does not accept the output of {name!r}: {error}") from error
    if refined.shape != features.shape:
        raise ValueError(f"the block at {name!r} changes the shape {tuple(features.shape)} to {tuple(refined.shape)}")
