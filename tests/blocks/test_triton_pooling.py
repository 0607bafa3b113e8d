"""The Triton kernels against autograd in float64: by Triton's interpreter on the CPU, and on a GPU if there is one."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]

POSITIONS = ((1,), (5,), (33,), (300,), (3, 11), (4, 3, 5))
CHANNELS = (1, 8, 24, 64)
# Relative error of results in the dtype of x. Triton's interpreter truncates to bfloat16, hence a unit in the last of
# its 8 bits; a GPU rounds.
ROUNDING = {torch.float32: 0, torch.bfloat16: 2**-7, torch.float16: 2**-11}


def channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.movedim(1, -1).contiguous().movedim(-1, 1)


def gradient(layout: str, shape: torch.Size, dtype: torch.dtype, device: str) -> torch.Tensor:
    """A gradient of the passed-through x with the strides of one of the layouts that autograd hands over."""
    grad = torch.randn(shape, device=device).to(dtype)
    if layout == "channels-last":
        return channels_last(grad)
    if layout == "expanded":  # that of a mean over positions
        return grad.flatten(2)[..., 0].view(*shape[:2], *(1,) * (len(shape) - 2)).expand(shape)
    if layout == "gaps":  # no view [B, C, N] where there are several position axes
        return torch.stack((grad, grad), dim=-1).movedim(-1, 2)[:, :, 0].transpose(2, -1).contiguous().transpose(2, -1)
    return grad


def reference(x, weight, bias, grad, grad_context) -> dict[str, torch.Tensor]:
    """The formulas of `AttentionPooling` with autograd, float64."""
    x, weight, bias = (tensor.double().requires_grad_() for tensor in (x, weight, bias))
    flat = x.flatten(2)  # [B, C, N]
    logits = torch.einsum("bcn,c->bn", flat, weight) + bias
    context = torch.einsum("bcn,bn->bc", flat, logits.softmax(1))
    loss = (x * grad.double()).sum() + (context * grad_context.double()).sum()
    grad_x, grad_weight, grad_bias = torch.autograd.grad(loss, (x, weight, bias))
    assert grad_bias.abs() < 1e-9 * loss.abs()  # why the kernels have none
    return {
        "rounded": context, "context": context, "logits": logits, "lse": logits.logsumexp(1), "dx": grad_x,
        "dweight": grad_weight,
    }  # fmt: skip


def error(out: torch.Tensor, expected: torch.Tensor) -> float:
    return ((out.double() - expected).norm() / expected.norm()).item()


def check(x, weight, bias, grad, grad_context) -> dict[str, float]:
    """Compares both passes; returns the relative error of every result."""
    from gcvideo.blocks import triton_pooling

    assert triton_pooling.supports(x)
    rounded = triton_pooling.forward(x, weight, bias)[0]
    context, logits, lse = triton_pooling.forward(x, weight, bias, context_dtype=torch.float32)
    grad_x, grad_weight = triton_pooling.backward(grad, grad_context, x, weight, context, logits, lse)
    assert rounded.dtype == grad_x.dtype == x.dtype
    assert context.dtype == logits.dtype == lse.dtype == grad_weight.dtype == torch.float32
    assert grad_x.shape == x.shape
    assert grad_x.stride() == x.stride()
    results = {
        "rounded": rounded, "context": context, "logits": logits, "lse": lse, "dx": grad_x, "dweight": grad_weight
    }  # fmt: skip
    expected = reference(x, weight, bias, grad, grad_context)
    if logits.shape[1] == 1:  # one position has the weight 1 whatever its logit is
        assert results.pop("dweight").norm() <= 1e-6 * x.float().norm() ** 2 * grad_context.float().norm()
    errors = {name: error(out, expected[name]) for name, out in results.items()}
    for name, value in errors.items():
        limit = 1e-4 if name == "dweight" else 3e-6  # terms of dw cancel: dl sums to zero over the positions
        limit += ROUNDING[x.dtype] if name in ("rounded", "dx") else 0
        assert value <= limit, f"{name}: relative error {value:.1e}, {x.dtype}, {tuple(x.shape)}, grad {grad.stride()}"
    return errors


def check_all(device: str) -> dict[tuple[str, str], float]:
    """Every number of channels and positions; dtypes and layouts of the gradient take turns."""
    torch.manual_seed(0)
    worst: dict[tuple[str, str], float] = {}
    dtypes = itertools.cycle((torch.float32, torch.bfloat16, torch.float32, torch.float16, torch.bfloat16))
    layouts = itertools.cycle(("channels-last", "contiguous", "expanded", "gaps"))
    for channels, positions in itertools.product(CHANNELS, POSITIONS):
        dtype, layout = next(dtypes), next(layouts)
        x = channels_last(torch.randn(2, channels, *positions, device=device) + 1).to(dtype)
        grad_dtype = torch.float32 if layout == "gaps" else dtype
        errors = check(
            x,
            weight=torch.randn(channels, device=device),
            bias=torch.randn(1, device=device),
            grad=gradient(layout, x.shape, grad_dtype, device),
            grad_context=torch.randn(2, channels, device=device).to(dtype),
        )
        for name, value in errors.items():
            worst[str(dtype), name] = max(worst.get((str(dtype), name), 0), value)
    return worst


def check_splits(device: str) -> None:
    """Several tiles per program, fewer in the last one, and more programs than one step of the combination takes."""
    from gcvideo.blocks import triton_pooling

    saved = triton_pooling.TILE, triton_pooling.NUM_PROGRAMS
    try:
        for batch, programs in ((1, 4), (2, 1000)):
            triton_pooling.TILE, triton_pooling.NUM_PROGRAMS = 32, programs  # tiles of two positions
            split = triton_pooling.split(batch, 12, 301)
            assert split.splits == (4 if programs == 4 else 151)
            assert split.per_split * (split.splits - 1) < 301 <= split.per_split * split.splits
            x = channels_last(torch.randn(batch, 12, 301, device=device))
            check(
                x,
                weight=torch.randn(12, device=device),
                bias=torch.zeros((), device=device),
                grad=torch.randn(batch, 12, 301, device=device),
                grad_context=torch.randn(batch, 12, device=device),
            )
    finally:
        triton_pooling.TILE, triton_pooling.NUM_PROGRAMS = saved


def check_extremes(device: str) -> None:
    """Logits of 1e4, and logits that overflow to -inf: the softmax has no NaN, as long as one logit is finite."""
    from gcvideo.blocks import triton_pooling

    x = channels_last(torch.randn(2, 8, 40, device=device))
    weight, bias = torch.full((8,), 1e4, device=device), torch.zeros(1, device=device)
    context, logits, lse = triton_pooling.forward(x, weight, bias)
    largest = x.sum(1).argmax(1)  # it has the whole weight
    torch.testing.assert_close(context, x[torch.arange(2), :, largest])
    grads = triton_pooling.backward(x, torch.ones_like(context), x, weight, context, logits, lse)
    assert all(grad.isfinite().all() for grad in grads)

    x = channels_last(torch.full((1, 1, 300), -3e38, device=device))
    x[0, 0, 7] = 2  # the only finite logit; whole tiles are -inf
    weight, bias = torch.full((1,), 10.0, device=device), torch.zeros(1, device=device)
    context, logits, lse = triton_pooling.forward(x, weight, bias)
    assert context.item() == 2
    assert lse.item() == 20
    assert (logits == float("-inf")).sum() == 299
    grad = torch.ones_like(x)
    grad_x, grad_weight = triton_pooling.backward(grad, torch.ones_like(context), x, weight, context, logits, lse)
    assert grad_x[0, 0, 7] == 2
    assert (grad_x == 1).sum() == 299
    assert grad_weight.item() == 0


def check_supports(device: str) -> None:
    from gcvideo.blocks.triton_pooling import MAX_CHANNELS, supports

    x = torch.zeros(2, 8, 3, 4, 5, device=device)
    assert supports(channels_last(x))
    assert not supports(x)
    assert not supports(channels_last(x.double()))
    assert not supports(channels_last(x)[:, :4])
    assert not supports(channels_last(x)[:0])
    assert not supports(channels_last(torch.zeros(1, MAX_CHANNELS + 1, 2, device=device)))


CHECKS = (check_all, check_splits, check_extremes, check_supports)


@pytest.mark.slow
def test_interpreter():
    """In a process of its own: triton reads TRITON_INTERPRET when a kernel is defined."""
    pytest.importorskip("triton")
    done = subprocess.run(
        [sys.executable, "-m", "tests.blocks.test_triton_pooling"],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    if "only 0-dimensional arrays can be converted" in done.stderr:
        pytest.skip("the interpreter of this triton (3.6) has no loops with this numpy (2.4)")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("case", CHECKS, ids=lambda case: case.__name__)
def test_gpu(case):
    pytest.importorskip("triton")
    case("cuda")


if __name__ == "__main__":
    for case in CHECKS:
        print(case.__name__, case("cpu"))
