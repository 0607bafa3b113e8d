"""A family of blocks is one row of `FAMILIES`, a network one function: everything else follows.

Both are added here as a project would add them, in a new process, because names and choices derive from the tables
when the package is imported.
"""

import subprocess
import sys

import pytest
import torch

from gcvideo import create_model, inserted_blocks, list_models
from gcvideo.errors import UsageError
from gcvideo.models import NETWORKS
from gcvideo.models.backbones import resnet3d
from gcvideo.models.zoo import network

NEW_FAMILY = """
import typing

import torch
from torch import nn

import gcvideo.blocks
from gcvideo.blocks.family import Family, pointwise, zero_


class _Shift(nn.Module):  # the whole file of a family: classes, options, published site
    def __init__(self, in_channels, scale: float = 1.0):
        super().__init__()
        self.scale = scale
        self.conv = pointwise(self.ndim, in_channels, in_channels)
        zero_(self.conv)

    def forward(self, x):
        return x + self.scale * self.conv(x)


class Shift1d(_Shift):
    ndim = 1


class Shift2d(_Shift):
    ndim = 2


class Shift3d(_Shift):
    ndim = 3


gcvideo.blocks.FAMILIES["shift"] = Family((Shift1d, Shift2d, Shift3d), site="after_add")  # its row

from gcvideo import create_model, inserted_blocks
from gcvideo.errors import UsageError
from gcvideo.models import BlocksName, PRESETS, block_parameters

assert {"shift", "shift5", "shift5_even", "shift_all"} <= set(PRESETS)
assert typing.get_args(BlocksName) == tuple(PRESETS)
assert block_parameters("shift5") is Shift3d
assert block_parameters("shift5", image=True) is Shift2d

model = create_model("slowonly_tiny", "shift_all", num_classes=3, scale=2.0)
assert list(inserted_blocks(model)) == [f"blocks.{stage}.res_blocks.0.activation" for stage in (2, 3, 4)]
assert {block.scale for block in inserted_blocks(model).values()} == {2.0}
assert model(torch.zeros(1, 3, 4, 32, 32)).shape == (1, 3)

for arguments, message in (
    ({"blocks": "shift7"}, "'shift5_even', 'shift_all'"),
    ({"blocks": "shift_all", "ratio": 0.5}, "made of Shift3d, which takes no ratio; it takes scale"),
    ({"blocks": "none", "scale": 2.0}, "blocks 'none' takes no scale"),
    ({"blocks": "none", "scal": 2.0}, "unexpected keyword 'scal'; did you mean scale"),
):
    try:
        create_model("slowonly_tiny", **arguments)
    except UsageError as error:
        assert message in str(error), error
    else:
        raise AssertionError(arguments)
"""


@pytest.mark.slow
def test_a_family_is_one_row():
    result = subprocess.run([sys.executable, "-c", NEW_FAMILY], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_a_network_is_one_function(monkeypatch):
    monkeypatch.setitem(NETWORKS, "toy_r14", None)  # removed again after the test

    @network
    def toy_r14(num_classes, dropout):
        return resnet3d("c2d", (1, 1, 1, 1), num_classes, dropout, width=8)

    assert list_models("toy*") == ["toy_r14"]
    model = create_model("toy_r14", "gc_all", num_classes=5)
    assert len(inserted_blocks(model)) == 3
    assert model(torch.zeros(1, 3, 4, 32, 32)).shape == (1, 5)
    with pytest.raises(UsageError, match=r"network must be one of \(.*'toy_r14'\), got 'toy_r15'"):
        create_model("toy_r15")
