"""How the network is fed and run."""

from dataclasses import dataclass

import torch


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


@dataclass(frozen=True)
class Execution:
    """How the network is run; neither setting changes what it computes.

    Args:
        channels_last: use channels-last memory, faster on CPUs and with mixed precision on GPUs.
        compile: run the network through `torch.compile`.
    """

    channels_last: bool = True
    compile: bool = False
