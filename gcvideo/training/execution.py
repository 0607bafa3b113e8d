"""How the network is fed and run."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Pixels:
    """How pixels in [0, 1] are normalized.

    Args:
        mean: one value for all channels (PySlowFast's 0.45), or one for each of R, G, B.
        std: likewise (PySlowFast's 0.225).
    """

    mean: float | tuple[float, float, float] = 0.45
    std: float | tuple[float, float, float] = 0.225

    def __post_init__(self) -> None:
        for name, value in (("mean", self.mean), ("std", self.std)):
            if torch.tensor(value).numel() not in (1, 3) or not torch.tensor(value, device="cpu").isfinite().all():
                raise ValueError(f"pixels.{name} must be one finite number or three, got {value}")
        if torch.tensor(self.std, device="cpu").min() <= 0:  # also under `torch.device("meta")`
            raise ValueError(f"pixels.std must be positive, got {self.std}")

    @property
    def scale(self) -> Tensor:
        """[1 or 3, 1, 1, 1]: what a byte is multiplied by, 1 / (255 std)."""
        return (1 / (255 * torch.tensor(self.std, dtype=torch.double))).float().view(-1, 1, 1, 1)

    @property
    def shift(self) -> Tensor:
        """[1 or 3, 1, 1, 1]: what is added then, -mean / std."""
        mean, std = (torch.tensor(value, dtype=torch.double) for value in (self.mean, self.std))
        return (-mean / std).float().view(-1, 1, 1, 1)


Auto = Literal["auto"]


@dataclass(frozen=True)
class Execution:
    """How the network is run; no setting changes what it computes, but for rounding.

    Args:
        channels_last: keep features in channels-last memory. "auto" does so where it was measured to be faster: see
            `prefers_channels_last`.
        compile: run the network through `torch.compile`.
        recompute: compute the features inside each residual block again in the backward pass instead of keeping them:
            less memory for long clips, a third more computation.
        fuse: fold the batch norms into the convolutions for `test` and `predict`; see `fuse`.
        max_clips: views that go through the network at once in an evaluation; None for all of a batch.
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


def prefers_channels_last(device: str, is_16_bit: bool, num_threads: int) -> bool:
    """Whether a 3D ResNet is faster in channels-last memory, as measured in docs/results.md.

    Args:
        device: type of the device.
        is_16_bit: whether convolutions compute in bfloat16 or float16.
        num_threads: of a CPU.
    """
    # On a CPU with one thread, torch takes float32 convolutions that transpose their input.
    return device != "cpu" or is_16_bit or num_threads > 1


def to_channels_last(net: nn.Module) -> None:
    """Bring the kernels of a network into channels-last memory, in place."""
    # torch raises for a 4-D kernel in channels_last_3d, which the image models have.
    is_3d = any(parameter.ndim == 5 for parameter in net.parameters())
    net.to(memory_format=torch.channels_last_3d if is_3d else torch.channels_last)
