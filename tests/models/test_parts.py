"""pytorchvideo: what we need of it, and that importing it runs nothing that is deprecated."""

import subprocess
import sys

import pytest
import torch

from gcvideo.models import parts

# Runs in a new process, where nothing has been imported yet. Warnings of torch itself while it is imported are not
# ours: it is imported before warnings become errors.
IMPORT = """
import warnings
import torch, torchvision.models, torch.utils.flop_counter
warnings.simplefilter("error")
script = torch.jit.script
import gcvideo.models, gcvideo.analysis
assert torch.jit.script is script
"""


@pytest.mark.slow
def test_importing_the_models_warns_of_nothing():
    result = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_importing_the_models_does_not_need_torch_jit_script():
    """It is deprecated; the import must outlive it."""
    without = IMPORT.replace("script = torch.jit.script", "del torch.jit.script").replace(
        "assert torch.jit.script is script", "assert not hasattr(torch.jit, 'script')"
    )
    result = subprocess.run([sys.executable, "-c", without], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_what_is_needed_of_pytorchvideo():
    """Four builders, and three classes whose children have the names that files, placement and initialisation use."""
    stage = parts.create_res_stage(depth=2, dim_in=8, dim_inner=4, dim_out=16, bottleneck=parts.create_bottleneck_block)
    assert isinstance(stage, parts.ResStage)
    assert len(stage.res_blocks) == 2
    assert isinstance(stage.res_blocks[0].branch2, parts.BottleneckBlock)
    assert isinstance(stage.res_blocks[0].branch2.norm_c, torch.nn.BatchNorm3d)
    assert {name for name, _ in stage.res_blocks[0].named_children()} == {
        "branch1_conv", "branch1_norm", "branch2", "activation",
    }  # fmt: skip
    stem = parts.create_res_basic_stem(in_channels=3, out_channels=8)
    head = parts.create_res_basic_head(in_features=16, out_features=5, pool=torch.nn.AdaptiveAvgPool3d)
    net = parts.Net(blocks=torch.nn.ModuleList([stem, head]))
    assert isinstance(stem.conv, torch.nn.Conv3d)
    assert isinstance(head.proj, torch.nn.Linear)
    assert list(net.blocks) == [stem, head]
