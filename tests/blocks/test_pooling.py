"""The pooling of GC and SNL: its gradients are written by hand, so they are compared with those of autograd."""

import math

import pytest
import torch
from torch.func import functional_call, grad, vmap

from gcvideo import ContextBlock3d
from gcvideo.blocks.pooling import AttentionPooling, over_channels, over_positions

B, C, POSITIONS = 3, 8, (2, 3, 5)


def by_autograd(x, weight, bias):
    """The same three outputs in the simplest operations."""
    attention = (torch.einsum("bctij,c->btij", x, weight) + bias).flatten(1).softmax(dim=1)
    return x, torch.einsum("bcn,bn->bc", x.flatten(2), attention), attention


def inputs(dtype=torch.double, memory_format=torch.contiguous_format):
    x = torch.randn(B, C, *POSITIONS, dtype=dtype).to(memory_format=memory_format)
    return [tensor.requires_grad_() for tensor in (x, torch.randn(C, dtype=dtype), torch.randn(1, dtype=dtype))]


@pytest.mark.parametrize("memory_format", (torch.contiguous_format, torch.channels_last_3d))
@pytest.mark.parametrize("used", ((0,), (1,), (2,), (0, 1), (0, 1, 2)))
def test_gradients_are_those_of_autograd(used, memory_format):
    """Also where only some of the outputs are used: the others have no gradient."""
    given = inputs(memory_format=memory_format)
    results = []
    for function in (AttentionPooling.apply, by_autograd):
        outputs = function(*given)
        torch.manual_seed(1)
        loss = sum((outputs[i] * torch.randn_like(outputs[i])).sum() for i in used)
        found = torch.autograd.grad(loss, given, allow_unused=True)
        results.append([torch.zeros_like(g) if f is None else f for f, g in zip(found, given, strict=True)])
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected)
    assert results[0][0].is_contiguous(memory_format=memory_format)


def test_second_derivatives():
    assert torch.autograd.gradgradcheck(AttentionPooling.apply, inputs())


def test_a_shift_of_all_logits_has_no_gradient_at_all():
    x, weight, bias = inputs(torch.float32)
    AttentionPooling.apply(x, weight, bias)[1].sum().backward()
    assert bias.grad.item() == 0


def test_gradients_of_single_samples():
    """`vmap` over `grad`, as for differential privacy or influence functions."""
    block = ContextBlock3d(C, ratio=1 / 2).double()
    torch.nn.init.normal_(block.channel_add_conv[-1].weight)
    x = torch.randn(B, C, *POSITIONS, dtype=torch.double)
    parameters = dict(block.named_parameters())

    def loss(parameters, x):
        return functional_call(block, parameters, (x[None],)).square().sum()

    found = vmap(grad(loss), (None, 0))(parameters, x)
    for index in range(B):
        expected = torch.autograd.grad(block(x[index : index + 1]).square().sum(), list(parameters.values()))
        for name, gradient in zip(parameters, expected, strict=True):
            torch.testing.assert_close(found[name][index], gradient)


@pytest.mark.parametrize("dtype", (torch.bfloat16, torch.float16))
def test_16_bit_stays_near_the_double(dtype):
    given = inputs(dtype)
    outputs = AttentionPooling.apply(*given)
    expected = by_autograd(*(tensor.detach().double().requires_grad_() for tensor in given))
    assert [output.dtype for output in outputs] == [dtype, dtype, torch.float32]
    for output, reference in zip(outputs, expected, strict=True):
        assert (output.double() - reference).norm() < 4 * torch.finfo(dtype).eps * reference.norm()


def test_large_logits_do_not_overflow():
    x, weight, bias = inputs(torch.float32)
    _, context, attention = AttentionPooling.apply(x, weight * 1e4, bias)
    assert context.isfinite().all()
    torch.testing.assert_close(attention.sum(dim=1), torch.ones(B))


@pytest.mark.parametrize("batch", (1, B))
def test_contractions(batch):
    x = torch.randn(batch, C, *POSITIONS)
    over_c, over_n = torch.randn(batch, C), torch.randn(batch, 30)
    torch.testing.assert_close(over_channels(x, over_c), torch.einsum("bctij,bc->btij", x, over_c).flatten(1))
    torch.testing.assert_close(over_positions(x, over_n), torch.einsum("bcn,bn->bc", x.flatten(2), over_n))


@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16))
@pytest.mark.parametrize("batch", (1, 2))
@pytest.mark.parametrize("memory_format", (torch.contiguous_format, torch.channels_last_3d))
def test_products_do_not_copy_the_features(memory_format, batch, dtype):
    x = torch.randn(batch, 64, 4, 16, 16, dtype=dtype).to(memory_format=memory_format)
    with torch.profiler.profile(record_shapes=True) as profile:
        over_channels(x, torch.randn(batch, 64, dtype=dtype))
        over_positions(x, torch.randn(batch, 1024, dtype=dtype))
    copies = [event for event in profile.events() if event.name == "aten::copy_"]
    assert not [event.input_shapes for event in copies if math.prod(event.input_shapes[0]) == x.numel()]


def test_inputs_are_not_copied():
    """The first output is a view of x: the block costs no pass for it."""
    x, weight, bias = inputs()
    assert AttentionPooling.apply(x, weight, bias)[0].data_ptr() == x.data_ptr()
