"""Which parts of a network a training changes less, or not at all: the trunk, its batch norms, its early stages.

The *head* is the last layer, the classifier. The *trunk* is everything but the head and the inserted blocks.
"""

from collections.abc import Iterator
from typing import Any, Literal, get_args

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from gcvideo.insertion import inserted_blocks

Freeze = Literal["nothing", "norms", "all_but_blocks_and_head", "all_but_head"]
"""See `freeze`."""
FREEZE: tuple[str, ...] = get_args(Freeze)


def freeze(net: nn.Module, what: Freeze) -> list[nn.Module]:
    """Take parameters out of the training, in place.

    Args:
        net: a network whose last child with parameters is the head.
        what: "nothing"; "norms": the batch norms of the trunk, which keep their statistics, scales and shifts (as
            fine-tuning with batches of a few clips needs); "all_but_blocks_and_head": the trunk; "all_but_head".

    Returns:
        The frozen batch norms, which must be in evaluation mode while the network trains.
    """
    if what == "nothing":
        return []
    kept = {*head_of(net).modules()}
    if what != "all_but_head":
        kept |= {module for block in inserted_blocks(net).values() for module in block.modules()}
    frozen = [module for module in net.modules() if module not in kept]
    if what == "norms":
        frozen = [module for module in frozen if isinstance(module, _BatchNorm)]
    for module in frozen:
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(False)
    return [module for module in frozen if isinstance(module, _BatchNorm)]


def head_of(net: nn.Module) -> nn.Module:
    """The last child with parameters, the classifier."""
    return list(parts_of(net))[-1]


def parts_of(net: nn.Module) -> Iterator[nn.Module]:
    """Children with parameters, from the input to the head."""
    children: Any = getattr(net, "blocks", net)  # pytorchvideo's Net holds its stages there
    yield from (child for child in children.children() if next(child.parameters(), None) is not None)


def depths_of(net: nn.Module) -> dict[nn.Parameter, int]:
    """Parameter -> stages between it and the output: 0 for the head and inserted blocks, 1 for res5, 2 for res4, ..."""
    depths: dict[nn.Parameter, int] = {}
    for depth, stage in enumerate(reversed(list(parts_of(net)))):
        depths |= dict.fromkeys(stage.parameters(), depth)
    for block in inserted_blocks(net).values():
        depths |= dict.fromkeys(block.parameters(), 0)
    return depths
