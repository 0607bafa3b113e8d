"""How the network is fed and run."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from gcvideo.blocks.layers import Conv3d
from gcvideo.errors import UsageError


@dataclass(frozen=True)
class Pixels:
    """What the network sees of the pixels, which are in [0, 1].

    Args:
        mean: one value for all channels (PySlowFast's 0.45), or one for each of R, G, B.
        std: likewise (PySlowFast's 0.225).
        difference: the differences of neighbouring frames of the clip, divided by `std`, instead of the frames: "RGB
            difference" of "Temporal Segment Networks" (arXiv:1608.00859, section 3.2). A clip of T frames becomes T - 1
            of them. For small sets whose classes differ in motion and not in scene.
    """

    mean: float | tuple[float, float, float] = 0.45
    std: float | tuple[float, float, float] = 0.225
    difference: bool = False

    def __post_init__(self) -> None:
        for name, value in (("mean", self.mean), ("std", self.std)):
            if torch.tensor(value).numel() not in (1, 3) or not torch.tensor(value, device="cpu").isfinite().all():
                raise ValueError(f"pixels.{name} must be one finite number or three, got {value}")
        if torch.tensor(self.std, device="cpu").min() <= 0:  # also under `torch.device("meta")`
            raise ValueError(f"pixels.std must be positive, got {self.std}")


class ToInput(nn.Module):
    """uint8 clips -> what the first convolution takes, in one pass: cast, scaling and memory format together."""

    scale: Tensor
    shift: Tensor

    def __init__(self, pixels: Pixels):
        super().__init__()
        self.difference = pixels.difference
        mean, std = (torch.tensor(value, dtype=torch.double).view(-1, 1, 1, 1) for value in (pixels.mean, pixels.std))
        # Not persistent: they are settings, and the state dict of a task holds the network only.
        self.register_buffer("scale", (1 / (255 * std)).float(), persistent=False)  # [1 or 3, 1, 1, 1]
        self.register_buffer("shift", (-mean / std).float(), persistent=False)

    @property
    def dtype(self) -> torch.dtype:
        """That of autocast, else that of the buffers, which a task of 16 bits has converted with its weights."""
        device = self.scale.device.type
        if device == "meta" or not torch.is_autocast_enabled(device):  # the meta device has no autocast
            return self.scale.dtype
        return torch.get_autocast_dtype(device)

    def forward(self, clips: Tensor, channels_last: bool) -> Tensor:
        """uint8 [B, 3, T, S, S] on any device -> (clips / 255 - mean) / std on that of the buffers; or the differences.

        Raises:
            UsageError: the differences of clips of one frame.
        """
        device = self.scale.device
        memory_format = torch.channels_last_3d if channels_last else torch.contiguous_format
        if self.difference:
            return self._differences(clips.to(device, non_blocking=True), memory_format)
        # Under autocast there is no float32 copy: the sum is rounded as it is written.
        out = torch.empty(clips.shape, dtype=self.dtype, device=device, memory_format=memory_format)
        return torch.addcmul(self.shift, clips.to(device, non_blocking=True), self.scale, out=out)

    def of_floats(self, pixels: Tensor) -> Tensor:
        """The same of pixels 0 to 255 in float32, for graphs that are exported."""
        return pixels.diff(dim=2) * self.scale if self.difference else pixels * self.scale + self.shift

    def _differences(self, clips: Tensor, memory_format: torch.memory_format) -> Tensor:
        if clips.shape[2] < 2:
            raise UsageError("pixels.difference needs clips of at least two frames (data.clip.frames), got one")
        # int16 holds -255 to 255 exactly.
        change = clips[:, :, 1:].to(torch.int16) - clips[:, :, :-1]  # [B, 3, T - 1, S, S]
        return (change * self.scale).to(self.dtype).contiguous(memory_format=memory_format)


Auto = Literal["auto"]


@dataclass(frozen=True)
class Execution:
    """How the network is run; no setting changes what it computes, but for rounding.

    Args:
        channels_last: keep features in channels-last memory: true, false, or "auto", which does so where it was
            measured to be faster (docs/performance.md).
        compile: run the network through `torch.compile`.
        recompute: compute the features inside each residual block again in the backward pass instead of keeping them:
            a third of the memory for 4 % more time (docs/performance.md). Not with `compile`.
        fuse: fold the batch norms into the convolutions for `test`. A network with hooks of your own stays as it is.
        max_clips: views that go through the network at once in an evaluation; null for all of a batch.
    """

    channels_last: bool | Auto = "auto"
    compile: bool = False
    recompute: bool = False
    fuse: bool = True
    max_clips: int | None = 16

    def __post_init__(self) -> None:
        if self.channels_last not in (True, False, "auto"):
            raise ValueError(f"execution.channels_last must be true, false or auto, got {self.channels_last!r}")
        if self.max_clips is not None and self.max_clips < 1:
            raise ValueError(f"execution.max_clips must be at least 1, or null for all, got {self.max_clips}")
        if self.compile and self.recompute:
            raise ValueError("execution.compile and execution.recompute exclude each other: torch cannot compile both")


def prefers_channels_last(net: nn.Module, device: str, is_16_bit: bool, num_threads: int) -> bool:
    """Whether a 3D ResNet is faster in channels-last memory, as measured in docs/results.md.

    Args:
        net: the network.
        device: type of the device.
        is_16_bit: whether convolutions compute in bfloat16 or float16.
        num_threads: of a CPU.
    """
    # On a CPU with one thread, torch's own layers take float32 convolutions that transpose their input.
    convolutions = [module for module in net.modules() if isinstance(module, nn.Conv3d)]
    all_are_ours = bool(convolutions) and all(isinstance(module, Conv3d) for module in convolutions)
    return all_are_ours or device != "cpu" or is_16_bit or num_threads > 1


def to_channels_last(net: nn.Module) -> None:
    """Bring the kernels of a network into channels-last memory, in place."""
    # Not by `net.to`, which raises where a network has kernels of 4 and of 5 axes.
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in net.parameters():
        if parameter.ndim in formats:
            parameter.data = parameter.data.contiguous(memory_format=formats[parameter.ndim])
