"""Size of a model: parameters, multiply-accumulates, receptive field."""

import copy

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

MACS_COUNTER = "torch.utils.flop_counter / 2: convolutions, linear layers and matrix products"


def count_parameters(model: nn.Module) -> int:
    """Number of parameters, trainable or not."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of one forward pass (what video papers call FLOPs); see `MACS_COUNTER`.

    Nothing is computed: the pass runs on the meta device.
    """
    twin = copy.deepcopy(model).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        twin(torch.empty(input_shape, device="meta"))
    return counter.get_total_flops() // 2  # it counts a multiplication and an addition each


def receptive_field(features: nn.Module, input_shape: tuple[int, ...], trials: int = 4) -> tuple[int, int, int]:
    """Extent (T, H, W) of the input that one central unit of the output depends on, found from gradients.

    Args:
        features: [1, 3, T, H, W] -> [1, C, T', H', W'].
        input_shape: of one input, larger than the field, which is cut at the border otherwise.
        trials: random inputs whose fields are united, because a ReLU that is zero hides what is before it.
    """
    twin = copy.deepcopy(features).eval()
    reached = torch.zeros(input_shape[2:], dtype=torch.bool)
    for _ in range(trials):
        x = torch.randn(input_shape, requires_grad=True)
        output: Tensor = twin(x)
        t, h, w = (size // 2 for size in output.shape[2:])
        # The input values with a gradient are those that the central unit depends on.
        (gradient,) = torch.autograd.grad(output[0, :, t, h, w].sum(), x)
        reached |= (gradient[0] != 0).any(dim=0)  # [T, H, W]
    extents = []
    for axis in range(3):
        hit = reached.movedim(axis, 0).flatten(1).any(dim=1).nonzero()
        extents.append(int(hit.max() - hit.min()) + 1)
    return extents[0], extents[1], extents[2]
