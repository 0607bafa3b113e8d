"""Pooling over all positions, in the fewest passes over the features.

    c = sum_j a_j x_j,    a = softmax over all N positions of w . x_j + b

Gradients: with the gradients g of x (along the way past the pooling) and c' of c,

    a'_j = x_j . c'            l'_j = a_j (a'_j - sum_k a_k a'_k)
    x'_j = g_j + a_j c' + l'_j w            w' = sum_j l'_j x_j

autograd would write an array of the size of x for each term of x', and then add them; `AttentionPooling` writes one.
That is why it returns x: what is computed from the returned x has its gradient g added in the same pass.

Letters: B batch, C channels, N positions.
"""

import warnings
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from gcvideo.blocks.family import Conv


def over_channels(x: Tensor, weights: Tensor) -> Tensor:
    """sum_c weights_c x_c at every position: [B, C, *positions], [B, C] -> [B, N]."""
    return _products(weights, x.flatten(2))


def over_positions(x: Tensor, weights: Tensor) -> Tensor:
    """sum_j weights_j x_j in every channel: [B, C, *positions], [B, N] -> [B, C]."""
    return _products(weights, x.flatten(2).transpose(1, 2))


def _products(rows: Tensor, matrices: Tensor) -> Tensor:
    """[B, K], [B, K, M] -> [B, M]."""
    if rows.shape[0] == 1:  # `flatten` leaves a batch of one a stride for which bfloat16 products of batches copy x
        return rows @ matrices[0]
    # The vector is the row on the left in both products, in any memory format: as a column on the right, batched
    # products of MKL take five times as long.
    return torch.bmm(rows[:, None], matrices)[:, 0]


def attention_weights(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """a, at least float32: [B, C, *positions], w [C], b [1] -> [B, N]."""
    logits = over_channels(x, weight.expand(x.shape[:2])) + bias
    return logits.softmax(dim=1, dtype=torch.double if x.dtype == torch.double else torch.float32)


def mask_parameters(conv_mask: Conv, x: Tensor) -> tuple[Tensor, Tensor]:
    """w [C] and b [1] of a convolution of kernel size 1 to one channel, in the dtype of x."""
    return conv_mask.weight.flatten().to(x.dtype), cast(Tensor, conv_mask.bias).to(x.dtype)


class AttentionPooling(torch.autograd.Function):
    """x [B, C, *positions], w [C], b [1] -> x itself, c [B, C], a [B, N]. w and b have the dtype of x."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        attention = attention_weights(x, weight, bias)
        # `view_as` would give a batch of one another stride, for which torch takes slow kernels later on.
        return x.expand_as(x), over_positions(x, attention.to(x.dtype)), attention

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        x, weight, bias = inputs
        ctx.save_for_backward(x, weight, bias, output[2])
        ctx.set_materialize_grads(False)  # an output that nothing is computed from has no gradient: None

    @staticmethod
    def backward(ctx: Any, grad_x: Tensor | None, grad_context: Tensor | None, grad_attention: Tensor | None) -> Any:
        x, weight, bias, attention = ctx.saved_tensors
        grad_x = torch.zeros_like(x) if grad_x is None else grad_x
        if grad_context is None:
            grad_context = x.new_zeros(x.shape[:2])
        grad_weights = over_channels(x, grad_context).to(attention.dtype)  # a', [B, N]
        if grad_attention is not None:
            grad_weights = grad_weights + grad_attention
        grad_logits = attention * (grad_weights - (attention * grad_weights).sum(dim=1, keepdim=True))
        grad_logits = grad_logits.to(x.dtype)
        grad_weight = over_positions(x, grad_logits).sum(dim=0)

        at_positions = (x.shape[0], 1, *x.shape[2:])
        grad = torch.addcmul(grad_x, attention.to(x.dtype).view(at_positions), to_positions(grad_context, x))
        grad.addcmul_(grad_logits.view(at_positions), to_positions(weight[None], x))
        return grad, grad_weight, torch.zeros_like(bias)  # a softmax does not see a shift


def attention_pooling(x: Tensor, conv_mask: Conv) -> tuple[Tensor, Tensor]:
    """Pool `x` [B, C, *positions] with the attention of `conv_mask`, outside autocast.

    Returns:
        x, from which all that follows must be computed, and the context [B, C].
    """
    kernels = _kernels_for(x)
    if kernels is not None:
        return kernels.TritonPooling.apply(x, conv_mask.weight.flatten(), conv_mask.bias)
    x, context, _ = AttentionPooling.apply(x, *mask_parameters(conv_mask, x))
    return x, context


def _kernels_for(x: Tensor) -> ModuleType | None:
    """The Triton kernels, if they take x.

    Not while a graph is captured, because the compiler fuses the plain operations itself, and not under the transforms
    of `torch.func`, which see through the plain operations only.
    """
    if not x.is_cuda or torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return None
    kernels = _working_kernels(x.device)
    return kernels if kernels is not None and kernels.supports(x) else None


@cache
def _working_kernels(device: torch.device) -> ModuleType | None:
    """None if Triton is not installed, or cannot compile on this machine."""
    if find_spec("triton") is None:
        return None
    kernels = import_module("gcvideo.blocks.triton_pooling")
    x = torch.zeros(1, 1, 16, device=device).transpose(1, 2)  # [1, 16, 1], channels-last
    try:
        kernels.forward(x, x.new_zeros(16), x.new_zeros(1))
    except Exception as error:  # of whatever kind: without a C compiler or the headers of Python it is a RuntimeError
        warnings.warn(f"Triton cannot compile: blocks use plain operations, which are slower ({error})", stacklevel=2)
        return None
    return kernels


def mean_pooling(x: Tensor) -> Tensor:
    """1/N sum_j x_j: [B, C, *positions] -> [B, C]."""
    return x.flatten(2).mean(dim=2)


def linear(conv: Conv, context: Tensor) -> Tensor:
    """A convolution of kernel size 1 as a linear layer, in its own dtype: [B, C] -> [B, output channels]."""
    return F.linear(context.to(conv.weight.dtype), conv.weight.flatten(1), conv.bias)


def to_positions(context: Tensor, x: Tensor) -> Tensor:
    """[B, C] -> [B, C, 1, ...], with as many axes as x and its dtype."""
    return context.to(x.dtype).view(*context.shape, *(1,) * (x.ndim - 2))


def own_precision(x: Tensor) -> AbstractContextManager[Any]:
    """No autocast: features are pooled in their own dtype, and contexts transformed in that of the parameters.

    A context is one vector. To cast the weights for it, as autocast does, costs more than float32, and rounds.
    """
    device = x.device.type
    # Only where autocast is on: an exported graph would keep the switch. The meta device has no autocast.
    if device != "meta" and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()
