"""Attention pooling of the GC block as Triton kernels: x is read once forward and once backward.

    forward     l_n = w x_n + b,    a_n = exp(l_n) / sum_m exp(l_m),    context = sum_n a_n x_n
    backward    da_n = x_n dc,      dl_n = a_n (da_n - s),              s = sum_n a_n da_n = context dc
                dx_n = grad_n + a_n dc + dl_n w,    dw = sum_n dl_n x_n,    db = 0 (a shift does not change a softmax)

`gcvideo.blocks.pooling.AttentionPooling` is the reference: it reads x twice forward, and three times backward. The
sums over positions here are online softmax (Milakov and Gimelshein, 2018, arXiv:1805.02867): a partial result is a
maximum m, sum exp(l_n - m) and sum exp(l_n - m) x_n.

The positions of a sample are split among programs, whose partial results a second kernel or a sum combines. There are
no atomics: equal inputs give equal results. All arithmetic is float32, without TF32.

Only channels-last features with at most `MAX_CHANNELS` channels are supported, see `supports`; for others, use the
reference. The import needs triton, which PyTorch does not install on every platform.

Letters: B samples, C channels, N positions, S splits of the positions.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["MAX_CHANNELS", "TritonPooling", "backward", "forward", "supports"]

MAX_CHANNELS = 4096
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
INTERPRETED = triton.knobs.runtime.interpret  # TRITON_INTERPRET=1 at import: the kernels then run on the CPU

TILE = 4096  # elements of x per step of a program: up to 80 registers forward and 100 backward, with 8 warps
NUM_WARPS = 8
STAGES = 3  # tiles of a program in flight or in use
NUM_PROGRAMS = 132 * 2  # two for each multiprocessor of an H100: loads of one run beside the reductions of another


class Split(NamedTuple):
    """How the positions of a sample are divided."""

    block_n: int  # rows of a tile
    block_c: int  # columns of a tile: C, rounded up to a power of two
    per_split: int  # positions of a program, a multiple of block_n
    splits: int  # programs of a sample; each has at least one position


def split(batch: int, channels: int, positions: int) -> Split:
    """About NUM_PROGRAMS programs, but no smaller than a tile."""
    block_c = max(16, triton.next_power_of_2(channels))
    block_n = min(TILE // block_c, 256)
    tiles = triton.cdiv(positions, block_n)
    tiles_per_split = triton.cdiv(tiles, min(tiles, triton.cdiv(NUM_PROGRAMS, batch)))
    return Split(block_n, block_c, tiles_per_split * block_n, triton.cdiv(tiles, tiles_per_split))


@triton.jit
def pool_kernel(  # type: ignore[no-untyped-def]
    x_ptr,  # [B, N, C] contiguous
    weight_ptr,  # [C]
    bias_ptr,  # [1]
    logits_ptr,  # [B, N], written
    max_ptr,  # [B, S], written
    sum_ptr,  # [B, S], written
    acc_ptr,  # [B, S, C], written
    positions,
    per_split,
    channels: tl.constexpr,
    block_n: tl.constexpr,
    block_c: tl.constexpr,
    stages: tl.constexpr,
):
    """Logits and the partial softmax sum of one split. Grid: (B, S)."""
    b = tl.program_id(0).to(tl.int64)  # B * C * N may exceed 2^31
    part = b * tl.num_programs(1) + tl.program_id(1)
    first = tl.program_id(1) * per_split
    end = tl.minimum(first + per_split, positions)
    c = tl.arange(0, block_c)
    weight = tl.load(weight_ptr + c, mask=c < channels, other=0).to(tl.float32)  # [C]
    bias = tl.load(bias_ptr).to(tl.float32)

    # Every row of the tile has its own maximum and sums: rows are reduced once, after the loop.
    row_max = tl.full([block_n], float("-inf"), tl.float32)
    row_sum = tl.zeros([block_n], tl.float32)
    acc = tl.zeros([block_n, block_c], tl.float32)
    for start in tl.range(first, end, block_n, num_stages=stages):
        n = start + tl.arange(0, block_n)
        inside = n < end
        row = b * positions + n  # int64
        mask = inside[:, None] & (c < channels)[None, :]
        x = tl.load(x_ptr + row[:, None] * channels + c[None, :], mask=mask, other=0).to(tl.float32)  # [n, C]
        logit = tl.sum(x * weight[None, :], axis=1) + bias  # [n]
        tl.store(logits_ptr + row, logit, mask=inside)
        logit = tl.where(inside, logit, float("-inf"))
        new_max = tl.maximum(row_max, logit)
        shift = tl.where(new_max == float("-inf"), 0.0, new_max)  # -inf - -inf would be NaN
        rescale = tl.exp(row_max - shift)
        p = tl.exp(logit - shift)
        row_sum = row_sum * rescale + p
        acc = acc * rescale[:, None] + p[:, None] * x
        row_max = new_max

    part_max = tl.max(row_max, axis=0)
    rescale = tl.exp(row_max - tl.where(part_max == float("-inf"), 0.0, part_max))
    tl.store(max_ptr + part, part_max)
    tl.store(sum_ptr + part, tl.sum(row_sum * rescale, axis=0))
    tl.store(acc_ptr + part * channels + c, tl.sum(acc * rescale[:, None], axis=0), mask=c < channels)


@triton.jit
def combine_kernel(  # type: ignore[no-untyped-def]
    max_ptr,  # [B, S]
    sum_ptr,  # [B, S]
    acc_ptr,  # [B, S, C]
    context_ptr,  # [B, C], written
    lse_ptr,  # [B], written
    splits,
    channels,
    block_s: tl.constexpr,
    block_c: tl.constexpr,
):
    """Context and log-sum-exp from the partial sums. Grid: (B, blocks of channels)."""
    b = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * block_c + tl.arange(0, block_c)
    row_max = tl.full([block_s], float("-inf"), tl.float32)
    for start in range(0, splits, block_s):
        s = start + tl.arange(0, block_s)
        row_max = tl.maximum(row_max, tl.load(max_ptr + b * splits + s, mask=s < splits, other=float("-inf")))
    total_max = tl.max(row_max, axis=0)
    shift = tl.where(total_max == float("-inf"), 0.0, total_max)

    row_sum = tl.zeros([block_s], tl.float32)
    acc = tl.zeros([block_s, block_c], tl.float32)
    for start in range(0, splits, block_s):
        s = start + tl.arange(0, block_s)
        part = b * splits + s
        rescale = tl.exp(tl.load(max_ptr + part, mask=s < splits, other=float("-inf")) - shift)
        row_sum += tl.load(sum_ptr + part, mask=s < splits, other=0) * rescale
        mask = (s < splits)[:, None] & (c < channels)[None, :]
        acc += tl.load(acc_ptr + part[:, None] * channels + c[None, :], mask=mask, other=0) * rescale[:, None]
    total = tl.sum(row_sum, axis=0)
    context = tl.sum(acc, axis=0) / total  # [C]
    tl.store(context_ptr + b * channels + c, context.to(context_ptr.dtype.element_ty), mask=c < channels)
    tl.store(lse_ptr + b, shift + tl.log(total))  # the same value from every block of channels


@triton.jit
def backward_kernel(  # type: ignore[no-untyped-def]
    x_ptr,  # [B, N, C] contiguous
    grad_ptr,  # [B, N, C] with any strides
    weight_ptr,  # [C]
    context_ptr,  # [B, C]
    grad_context_ptr,  # [B, C]
    logits_ptr,  # [B, N]
    lse_ptr,  # [B]
    grad_x_ptr,  # [B, N, C] contiguous, written
    grad_weight_ptr,  # [B, S, C], written
    grad_stride_b,
    grad_stride_n,
    grad_stride_c,
    positions,
    per_split,
    channels: tl.constexpr,
    block_n: tl.constexpr,
    block_c: tl.constexpr,
    stages: tl.constexpr,
):
    """Gradient of x, and of the weight from the positions of one split. Grid: (B, S)."""
    b = tl.program_id(0).to(tl.int64)
    part = b * tl.num_programs(1) + tl.program_id(1)
    first = tl.program_id(1) * per_split
    end = tl.minimum(first + per_split, positions)
    c = tl.arange(0, block_c)
    weight = tl.load(weight_ptr + c, mask=c < channels, other=0).to(tl.float32)  # [C]
    context = tl.load(context_ptr + b * channels + c, mask=c < channels, other=0).to(tl.float32)  # [C]
    dc = tl.load(grad_context_ptr + b * channels + c, mask=c < channels, other=0).to(tl.float32)  # [C]
    s = tl.sum(context * dc, axis=0)
    lse = tl.load(lse_ptr + b)

    acc = tl.zeros([block_n, block_c], tl.float32)
    for start in tl.range(first, end, block_n, num_stages=stages):
        n = start + tl.arange(0, block_n)
        inside = n < end
        row = b * positions + n  # int64
        mask = inside[:, None] & (c < channels)[None, :]
        offset = row[:, None] * channels + c[None, :]  # [n, C]
        x = tl.load(x_ptr + offset, mask=mask, other=0).to(tl.float32)
        grad_row = b * grad_stride_b + n.to(tl.int64) * grad_stride_n
        grad_offset = grad_row[:, None] + (c.to(tl.int64) * grad_stride_c)[None, :]
        grad = tl.load(grad_ptr + grad_offset, mask=mask, other=0).to(tl.float32)
        a = tl.exp(tl.load(logits_ptr + row, mask=inside, other=float("-inf")) - lse)  # [n]; 0 outside
        dl = a * (tl.sum(x * dc[None, :], axis=1) - s)  # [n]
        grad += a[:, None] * dc[None, :] + dl[:, None] * weight[None, :]
        tl.store(grad_x_ptr + offset, grad.to(grad_x_ptr.dtype.element_ty), mask=mask)
        acc += dl[:, None] * x
    tl.store(grad_weight_ptr + part * channels + c, tl.sum(acc, axis=0), mask=c < channels)


def supports(x: Tensor) -> bool:
    """Whether the kernels take `x`: dense channels-last, at most 4096 channels, 16 or 32 bits, not empty, on CUDA."""
    return (
        (x.is_cuda or INTERPRETED)
        and x.dtype in DTYPES
        and x.ndim >= 3
        and x.numel() > 0
        and x.shape[1] <= MAX_CHANNELS
        and x.movedim(1, -1).is_contiguous()
    )


def rows(x: Tensor) -> Tensor:
    """[B, C, *positions] -> [B, N, C]: a view wherever the strides allow one, as those of channels-last do."""
    return x.movedim(1, -1).flatten(1, -2)


def forward(
    x: Tensor, weight: Tensor, bias: Tensor, context_dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Softmax-weighted mean of the positions.

    Args:
        x: features [B, C, *positions] that `supports` accepts.
        weight: [C].
        bias: one element.
        context_dtype: dtype of the context, by default that of x.

    Returns:
        context [B, C], logits [B, N] and their log-sum-exp [B], both float32.
    """
    batch, channels = x.shape[:2]
    positions = x[0, 0].numel()
    block_n, block_c, per_split, splits = split(batch, channels, positions)
    context = x.new_empty(batch, channels, dtype=context_dtype or x.dtype)
    logits = x.new_empty(batch, positions, dtype=torch.float32)
    lse = x.new_empty(batch, dtype=torch.float32)
    part_max = x.new_empty(batch, splits, dtype=torch.float32)
    part_sum = torch.empty_like(part_max)
    acc = x.new_empty(batch, splits, channels, dtype=torch.float32)
    with torch.cuda.device_of(x):  # Triton launches on the current device
        pool_kernel[(batch, splits)](
            rows(x), weight.contiguous(), bias, logits, part_max, part_sum, acc, positions, per_split,
            channels=channels, block_n=block_n, block_c=block_c, stages=STAGES, num_warps=NUM_WARPS,
        )  # fmt: skip
        combine_kernel[(batch, triton.cdiv(channels, 32))](
            part_max, part_sum, acc, context, lse, splits, channels, block_s=128, block_c=32, num_warps=4
        )
    return context, logits, lse


def backward(
    grad: Tensor, grad_context: Tensor, x: Tensor, weight: Tensor, context: Tensor, logits: Tensor, lse: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of a loss of (x, context), where x is passed through.

    Args:
        grad: gradient of the passed-through x, [B, C, *positions], any dtype and strides. It is copied if its position
            axes cannot be flattened; it is read fastest where its layout is channels-last, too.
        grad_context: gradient of the context, [B, C].
        x, weight: arguments of `forward`.
        context, logits, lse: results of `forward`. `s` has the error of the context: with a bfloat16 context the
            gradient of the weight has a relative error of about 2e-3, with a float32 context of 1e-6.

    Returns:
        gradient of x (with its dtype and strides) and of the weight, [C] float32. That of the bias is zero.
    """
    batch, channels = x.shape[:2]
    positions = logits.shape[1]
    block_n, block_c, per_split, splits = split(batch, channels, positions)
    grad_x = torch.empty_like(x)
    grad_weight = x.new_empty(batch, splits, channels, dtype=torch.float32)
    grad_rows = rows(grad)
    with torch.cuda.device_of(x):
        backward_kernel[(batch, splits)](
            rows(x), grad_rows, weight.contiguous(), context.contiguous(), grad_context.contiguous(), logits, lse,
            rows(grad_x), grad_weight, *grad_rows.stride(), positions, per_split,
            channels=channels, block_n=block_n, block_c=block_c, stages=STAGES, num_warps=NUM_WARPS,
        )  # fmt: skip
    return grad_x, grad_weight.sum((0, 1))


class TritonPooling(torch.autograd.Function):
    """`AttentionPooling` by the kernels above: x, w [C], b [1], of any dtype -> x itself, c [B, C] float32.

    Its gradients have no gradients: for second derivatives, keep the features in contiguous memory.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        context, logits, lse = forward(x, weight, bias, torch.float32)
        ctx.save_for_backward(x, weight, bias, context, logits, lse)
        ctx.set_materialize_grads(False)
        return x.expand_as(x), context

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None, grad_context: Tensor | None) -> Any:
        x, weight, bias, context, logits, lse = ctx.saved_tensors
        if grad_context is None:
            return grad, None, None
        if grad is None:
            grad = torch.zeros_like(x)
        grad_x, grad_weight = backward(grad, grad_context, x, weight, context, logits, lse)
        return grad_x, grad_weight.to(weight.dtype), torch.zeros_like(bias)
