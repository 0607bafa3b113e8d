"""torch's layers with the same parameters and results, where torch takes a slow path for videos (docs/results.md)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Conv3d(nn.Conv3d):
    """`torch.nn.Conv3d` that uses oneDNN on one CPU thread as well.

    For kernels whose extent in H and W is 1, torch (2.11 to 2.15) then uses other convolutions, which are half as fast,
    and slower still in channels-last memory, unless there is a dilation. Between the values of a kernel of size 1 there
    is nothing to dilate, so one in W changes no result.
    """

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        is_plain = self.kernel_size[2] > 1 or self.padding_mode != "zeros"
        if is_plain or x.device.type != "cpu" or torch.compiler.is_exporting():  # an exported graph may run elsewhere
            return super()._conv_forward(x, weight, bias)
        return F.conv3d(x, weight, bias, self.stride, self.padding, (*self.dilation[:2], 2), self.groups)


class BatchNorm3d(nn.BatchNorm3d):
    """`torch.nn.BatchNorm3d` that is fast in channels-last memory on CUDA, too.

    torch (2.11 to 2.15) has kernels there for channels-last memory of 4 axes only, and takes a general one for 5 axes,
    which is three times slower: 30 % of a training step of a slow-only ResNet-50. H and W are therefore passed as one
    axis.
    """

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        super()._check_input_dim(x)
        if x.is_cuda and x.is_contiguous(memory_format=torch.channels_last_3d):
            return super().forward(x.flatten(3)).unflatten(3, x.shape[3:])  # [B, C, T, H*W], and back
        return super().forward(x)

    def _check_input_dim(self, x: Tensor) -> None:
        """Nothing more: `forward` has checked x before it joined two axes."""


class ReLU(nn.ReLU):
    """`torch.nn.ReLU`, in place on a CPU where nothing needs its input any more.

    There a new array costs a tenth of a training step. On CUDA it costs nothing, and what `BatchNorm3d` returns is a
    view: autograd copies when a view is modified in place. A forward hook that keeps the input of this layer, such as
    the output of a norm, must clone it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.relu(x, inplace=_may_overwrite(x))


FAST: dict[type[nn.Module], type[nn.Module]] = {nn.Conv3d: Conv3d, nn.BatchNorm3d: BatchNorm3d, nn.ReLU: ReLU}
"""torch's layer -> ours."""


def add_to_branch(shortcut: Tensor, branch: Tensor) -> Tensor:
    """Sum of a residual block, in place as in `ReLU`."""
    return branch.add_(shortcut) if _may_overwrite(branch) else branch + shortcut


# Functions whose gradient does not need their output: norms, sums and products (of which inserted blocks are the last),
# convolutions. An output of any other function, such as the sigmoid of a block of one's own, stays as it is.
_OUTPUT_NOT_NEEDED = ("NativeBatchNormBackward0", "AddBackward0", "MulBackward0", "ConvolutionBackward0")


def _may_overwrite(x: Tensor) -> bool:
    if x.device.type != "cpu" or torch.compiler.is_compiling():  # a compiler decides itself what it overwrites
        return False
    return type(x.grad_fn).__name__ in _OUTPUT_NOT_NEEDED if x.requires_grad else True
