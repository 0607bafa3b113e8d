"""What the blocks share: one class for features of 1, 2 or 3 position axes."""

from torch import Tensor, nn

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d

_CONVS: dict[int, type[Conv]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_AXES = {1: "T", 2: "H, W", 3: "T, H, W"}


class RankedBlock(nn.Module):
    """A block for features [B, in_channels, *positions] with `ndim` position axes, which keeps their shape."""

    ndim: int

    def __init__(self, in_channels: int):
        super().__init__()
        if in_channels < 1:
            raise ValueError(f"in_channels must be at least 1, got {in_channels}")
        self.in_channels = in_channels

    def _conv(self, in_channels: int, out_channels: int, bias: bool = True) -> Conv:
        """Pointwise convolution of this rank."""
        return _CONVS[self.ndim](in_channels, out_channels, kernel_size=1, bias=bias)

    def _bottleneck(self, ratio: float) -> int:
        """Channels of a bottleneck.

        Raises:
            ValueError: `ratio * in_channels` is below 1.
        """
        if self.in_channels * ratio < 1:
            raise ValueError(
                f"ratio * in_channels must be at least 1 (the bottleneck needs a channel), "
                f"got ratio={ratio} * in_channels={self.in_channels} = {self.in_channels * ratio:g}"
            )
        return int(self.in_channels * ratio)

    def _check(self, x: Tensor) -> None:
        if x.ndim != self.ndim + 2 or x.shape[1] != self.in_channels:
            raise ValueError(f"expected input [B, {self.in_channels}, {_AXES[self.ndim]}], got shape {tuple(x.shape)}")
