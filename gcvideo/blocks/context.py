"""Global Context (GC) block and its predecessor, Simplified Non-local (SNL), in 1D, 2D and 3D.

Paper: "GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond" (Cao et al., ICCVW 2019,
arXiv:1904.11492), equation 5 and figure 4(d):

    GC    z_i = x_i + W_v2 ReLU(LN(W_v1 sum_j a_j x_j)),    a = softmax over all N positions of W_k x
    SNL   z_i = x_i + W_v sum_j a_j x_j                     (equation 3, figure 4(b))

Reference implementation (2D only): `ContextBlock` of GCNet and mmcv. Argument names and order, state-dict keys and
initialisation are the same, so 2D checkpoints load.

Differences, all deliberate:
- `ratio` has a default, 1/4 (the official code has none). `in_channels * ratio < 1` is a ValueError here; the
  official code fails later, in a convolution with 0 channels.
- In 1D and 3D the LayerNorm parameters are stored as [C]: a 4-D weight, which `[C, 1, 1, 1]` would be, makes
  `model.to(memory_format=torch.channels_last_3d)` fail. In 2D they are [C, 1, 1] as published. Loading accepts either.
- `bottleneck` selects the paper's other designs of the transform.
- SNL transforms the pooled context, one vector, as the paper's complexity (+0.03 G for five blocks) says; the authors'
  later code transforms every position before pooling, which gives the same sum. W_v has a bias and
  starts at zero.

Letters: B batch, C channels, P bottleneck channels, N positions (T*H*W in 3D).
"""

from collections.abc import Sequence
from typing import Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gcvideo.blocks.family import (
    CONVS,
    Conv,
    Family,
    bottleneck_width,
    check_channels,
    check_features,
    pointwise,
    uniform_attention,
    zero_,
)
from gcvideo.blocks.pooling import (
    attention_pooling,
    attention_weights,
    linear,
    mask_parameters,
    mean_pooling,
    own_precision,
    to_positions,
)

__all__ = [
    "ContextBlock1d",
    "ContextBlock2d",
    "ContextBlock3d",
    "SimplifiedNonLocal1d",
    "SimplifiedNonLocal2d",
    "SimplifiedNonLocal3d",
]

PoolingType = Literal["att", "avg"]
FusionType = Literal["channel_add", "channel_mul"]
Bottleneck = Literal["ln_relu", "relu", "linear", "none"]

POOLING_TYPES: tuple[str, ...] = get_args(PoolingType)
FUSION_TYPES: tuple[str, ...] = get_args(FusionType)
BOTTLENECKS: tuple[str, ...] = get_args(Bottleneck)


def mask_attention(x: Tensor, conv_mask: Conv) -> Tensor:
    """a = softmax over all positions of W_k x: [B, C, *positions] -> [B, 1, *positions]."""
    with own_precision(x):
        weights = attention_weights(x, *mask_parameters(conv_mask, x))  # [B, N]
    return weights.to(x.dtype).view(x.shape[0], 1, *x.shape[2:])


def reset_mask(conv_mask: Conv) -> None:
    """Kaiming-normal weights (fan in, ReLU gain) and a zero bias, as in the official code."""
    nn.init.kaiming_normal_(conv_mask.weight, mode="fan_in", nonlinearity="relu")
    nn.init.zeros_(cast(Tensor, conv_mask.bias))


class _ChannelNorm(nn.LayerNorm):
    """LayerNorm of [B, C]; parameters hold C values in the layout `shape`."""

    def __init__(self, shape: Sequence[int]):
        super().__init__(list(shape))

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight.flatten(), self.bias.flatten()
        return F.layer_norm(x, weight.shape, weight, bias, self.eps)

    def _load_from_state_dict(self, state_dict, prefix, *args):  # type: ignore[no-untyped-def]
        # Published files store [C, 1, 1] in 2D; other 3D ports store [C, 1, 1, 1]. The values are the same.
        for name, own in (("weight", self.weight), ("bias", self.bias)):
            loaded = state_dict.get(prefix + name)
            if loaded is not None and loaded.numel() == own.numel():
                state_dict[prefix + name] = loaded.reshape(own.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _transformed(context: Tensor, transform: nn.Sequential) -> Tensor:
    """[B, C] -> [B, C]."""
    for layer in transform:
        context = linear(layer, context) if isinstance(layer, CONVS) else layer(context)
    return context


class ContextBlock(nn.Module):
    """GC for any number of position axes; see `ContextBlock3d`."""

    ndim: int

    def __init__(
        self,
        in_channels: int,
        ratio: float = 1 / 4,
        pooling_type: PoolingType = "att",
        fusion_types: Sequence[FusionType] = ("channel_add",),
        bottleneck: Bottleneck = "ln_relu",
    ):
        super().__init__()
        self.in_channels = check_channels(in_channels)
        if pooling_type not in POOLING_TYPES:
            raise ValueError(f"pooling_type must be one of {POOLING_TYPES}, got {pooling_type!r}")
        if isinstance(fusion_types, str) or not fusion_types or not set(fusion_types) <= set(FUSION_TYPES):
            raise ValueError(f"fusion_types must be a non-empty subset of {FUSION_TYPES}, got {fusion_types!r}")
        if bottleneck not in BOTTLENECKS:
            raise ValueError(f"bottleneck must be one of {BOTTLENECKS}, got {bottleneck!r}")
        self.ratio = ratio
        self.pooling_type = pooling_type
        self.fusion_types = tuple(fusion_types)
        self.bottleneck = bottleneck
        self.planes = in_channels if bottleneck == "none" else bottleneck_width(in_channels, ratio)
        # Names and order of the layers are those of mmcv: they are the state-dict keys and the random draws.
        self.conv_mask = pointwise(self.ndim, in_channels, 1) if pooling_type == "att" else None
        self.channel_add_conv = self._transform() if "channel_add" in fusion_types else None
        self.channel_mul_conv = self._transform() if "channel_mul" in fusion_types else None
        self.reset_parameters()

    def _transform(self) -> nn.Sequential:
        if self.bottleneck == "none":
            return nn.Sequential(pointwise(self.ndim, self.in_channels, self.in_channels))
        norm_shape = (self.planes, 1, 1) if self.ndim == 2 else (self.planes,)
        return nn.Sequential(  # an Identity stands for an absent layer, so that the keys of the others do not change
            pointwise(self.ndim, self.in_channels, self.planes),
            _ChannelNorm(norm_shape) if self.bottleneck == "ln_relu" else nn.Identity(),
            nn.Identity() if self.bottleneck == "linear" else nn.ReLU(inplace=True),
            pointwise(self.ndim, self.planes, self.in_channels),
        )

    def reset_parameters(self) -> None:
        """Official initialisation: Kaiming-normal (fan in, ReLU gain) mask, zero last layer of each transform."""
        if self.conv_mask is not None:
            reset_mask(self.conv_mask)
        for transform in (self.channel_add_conv, self.channel_mul_conv):
            if transform is not None:
                for layer in transform[:-1]:
                    if hasattr(layer, "reset_parameters"):
                        cast(nn.LayerNorm, layer).reset_parameters()
                zero_(cast(Conv, transform[-1]))

    def attention(self, x: Tensor) -> Tensor:
        """Weight of every position in the context.

        Args:
            x: features [B, C, *positions].

        Returns:
            [B, 1, *positions], non-negative; sums to 1 over all positions (all frames together) of a sample.
            Uniform for average pooling.
        """
        check_features(x, self.in_channels, self.ndim)
        return uniform_attention(x) if self.conv_mask is None else mask_attention(x, self.conv_mask)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, *positions] -> same shape and dtype. The identity at initialisation if only 'channel_add' is used.

        Raises:
            ValueError: `x` has another number of axes or of channels.
        """
        check_features(x, self.in_channels, self.ndim)
        with own_precision(x):
            out, context = (x, mean_pooling(x)) if self.conv_mask is None else attention_pooling(x, self.conv_mask)
            if self.channel_mul_conv is not None:  # first, as in mmcv: what is added is not gated
                out = out * to_positions(torch.sigmoid(_transformed(context, self.channel_mul_conv)), x)
            if self.channel_add_conv is not None:
                out = out + to_positions(_transformed(context, self.channel_add_conv), x)
        return out

    def extra_repr(self) -> str:
        fusion = "+".join(self.fusion_types)
        return f"{self.in_channels}, ratio={self.ratio}, {self.pooling_type}, {fusion}, {self.bottleneck}"


class SimplifiedNonLocal(nn.Module):
    """SNL for any number of position axes; see `SimplifiedNonLocal3d`."""

    ndim: int

    def __init__(self, in_channels: int):
        super().__init__()
        self.in_channels = check_channels(in_channels)
        self.conv_mask = pointwise(self.ndim, in_channels, 1)
        self.conv_value = pointwise(self.ndim, in_channels, in_channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Kaiming-normal mask, zero value layer."""
        reset_mask(self.conv_mask)
        zero_(self.conv_value)

    def attention(self, x: Tensor) -> Tensor:
        """Weight of every position in the context: see `ContextBlock3d.attention`."""
        check_features(x, self.in_channels, self.ndim)
        return mask_attention(x, self.conv_mask)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, *positions] -> same shape and dtype; the identity at initialisation.

        Raises:
            ValueError: `x` has another number of axes or of channels.
        """
        check_features(x, self.in_channels, self.ndim)
        with own_precision(x):
            out, context = attention_pooling(x, self.conv_mask)
            return out + to_positions(linear(self.conv_value, context), x)

    def extra_repr(self) -> str:
        return str(self.in_channels)


class ContextBlock1d(ContextBlock):
    """GC block for sequences [B, C, T]. Arguments: see `ContextBlock3d`."""

    ndim = 1


class ContextBlock2d(ContextBlock):
    """GC block for images [B, C, H, W]; keys and shapes of the published checkpoints. See `ContextBlock3d`."""

    ndim = 2


class ContextBlock3d(ContextBlock):
    """GC block for video features [B, C, T, H, W]; one context for all frames.

    Args:
        in_channels: C.
        ratio: bottleneck width as a fraction of C (1/4 in the paper's video and best image models).
        pooling_type: 'att' (softmax over all T*H*W positions) or 'avg'.
        fusion_types: 'channel_add' (the identity at the start), 'channel_mul' (gates by a sigmoid, which halves the
            input at the start) or both (first multiplied, then added).
        bottleneck: design of the transform: 'ln_relu' (the block), 'relu', 'linear' (nothing between the two
            layers) or 'none' (one layer C -> C without a bottleneck; `ratio` is not used).

    Raises:
        ValueError: `ratio * in_channels < 1`, or a value that is not one of those above.
    """

    ndim = 3


class SimplifiedNonLocal1d(SimplifiedNonLocal):
    """SNL block for sequences [B, C, T]. See `SimplifiedNonLocal3d`."""

    ndim = 1


class SimplifiedNonLocal2d(SimplifiedNonLocal):
    """SNL block for images [B, C, H, W]. See `SimplifiedNonLocal3d`."""

    ndim = 2


class SimplifiedNonLocal3d(SimplifiedNonLocal):
    """SNL block for video features [B, C, T, H, W]; one context for all frames.

    It computes what `ContextBlock3d(in_channels, bottleneck="none")` computes.

    Args:
        in_channels: C.
    """

    ndim = 3


CONTEXT = Family((ContextBlock1d, ContextBlock2d, ContextBlock3d), site="after_1x1")
SIMPLIFIED_NON_LOCAL = Family((SimplifiedNonLocal1d, SimplifiedNonLocal2d, SimplifiedNonLocal3d), site="after_1x1")
