"""How a video network classifies a feature map that is larger than those it was trained on.

Reference implementations: "dense" is PySlowFast `models/head_helper.py` (ResNetBasicHead) with the pool sizes of
`models/video_model_builder.py`, and what it evaluates pytorchvideo's networks with (`models/ptv_model_builder.py`);
"pool" is mmaction2 `models/heads/i3d_head.py`.

Differences: PySlowFast returns probabilities in evaluation, we their logarithms, whose softmax they are. A window that
is larger than the feature map is an error there, and the whole map here.

Letters: B clips, C channels, T, H, W positions, P windows, K classes.
"""

import math
from typing import Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gcvideo.errors import UsageError
from gcvideo.models.parts import Net, ResNetBasicHead

Head = Literal["pool", "dense"]
HEADS: tuple[str, ...] = get_args(Head)

WINDOW = 7  # positions of a feature map of 224 x 224, PySlowFast's TRAIN_CROP_SIZE // 32


def set_head(net: nn.Module, head: Head) -> None:
    """Replace how a new network of `create_model` classifies, in place; its parameters and their names stay.

    Args:
        net: has the head "pool".
        head: "pool" averages the whole feature map; "dense" classifies every window of 7 x 7 positions and, in
            evaluation, averages their probabilities. Up to 224 x 224 both are the same.

    Raises:
        UsageError: an unknown head, or "dense" in an image model.
    """
    if head not in HEADS:
        raise UsageError(f"head must be one of {HEADS}, got {head!r}")
    if head == "pool":
        return
    if not isinstance(net, Net):
        raise UsageError(f"head {head!r} needs a video network, got {type(net).__name__}")
    pooling = cast(ResNetBasicHead, net.blocks[-1])
    net.blocks[-1] = DenseHead(pooling.dropout, pooling.proj).train(net.training)


class DenseHead(nn.Module):
    """[B, C, T, H, W] -> logits [B, K] in training, logarithms of probabilities [B, K] in evaluation."""

    def __init__(self, dropout: nn.Module | None, proj: nn.Linear):
        super().__init__()
        self.dropout = dropout or nn.Identity()
        self.proj = proj

    def forward(self, x: Tensor) -> Tensor:
        """Average the windows in training, their probabilities in evaluation; see the class."""
        if self.training:
            return self.proj(self.dropout(F.adaptive_avg_pool3d(x, 1).flatten(1)))
        window = (x.shape[2], min(WINDOW, x.shape[3]), min(WINDOW, x.shape[4]))
        windows = F.avg_pool3d(x, window, stride=1).flatten(2).transpose(1, 2)  # [B, P, C]
        logits = self.proj(windows)  # [B, P, K]
        at_least_float32 = torch.promote_types(logits.dtype, torch.float32)  # autocast on CPU would keep bfloat16
        log_probabilities = logits.log_softmax(dim=2, dtype=at_least_float32)
        return log_probabilities.logsumexp(dim=1) - math.log(windows.shape[1])  # the logarithm of their mean
