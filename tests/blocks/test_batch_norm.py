"""Our BatchNorm3d is torch's."""

import pytest
import torch
from torch import nn

from gcvideo.blocks.batch_norm import BatchNorm3d

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")),
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("memory_format", (torch.contiguous_format, torch.channels_last_3d))
@pytest.mark.parametrize("training", (True, False))
def test_computes_what_torchs_does(device, memory_format, training):
    torch.manual_seed(0)
    results = []
    x = torch.randn(2, 6, 3, 4, 5)
    for norm_type in (nn.BatchNorm3d, BatchNorm3d):
        torch.manual_seed(1)
        norm = norm_type(6).to(device).train(training)
        nn.init.normal_(norm.weight)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        given = x.to(device, memory_format=memory_format).requires_grad_()
        out = norm(given)
        out.square().sum().backward()
        assert out.is_contiguous(memory_format=memory_format)
        results.append([out, given.grad, norm.weight.grad, norm.bias.grad, *norm.buffers()])
    for ours, expected in zip(*reversed(results), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", ((2, 6), (2, 6, 3), (2, 6, 3, 4), (2, 6, 3, 4, 5, 6)))
def test_bad_shape(shape):
    with pytest.raises(ValueError, match="expected 5D input"):
        BatchNorm3d(6)(torch.zeros(shape))


def test_becomes_a_synchronised_norm():
    """Lightning's `sync_batchnorm`."""
    assert isinstance(nn.SyncBatchNorm.convert_sync_batchnorm(BatchNorm3d(6)), nn.SyncBatchNorm)
