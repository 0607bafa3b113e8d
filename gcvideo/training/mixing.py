"""Clips mixed with others of their batch, and their labels likewise, by torchvision's transforms.

- "mixup" (arXiv:1710.09412): a weighted sum of two clips.
- "CutMix" (arXiv:1905.04899): a box of another clip, the same in all frames.

Letters: N clips, T frames, S side, K classes.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms import v2


@dataclass(frozen=True)
class Mixing:
    """Which of the two, if both are set each for half of the batches.

    Args:
        mixup: alpha of its Beta distribution, such as 0.8; 0 is off.
        cutmix: likewise, such as 1.0.
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for name in ("mixup", "cutmix"):
            if not 0 <= getattr(self, name) < math.inf:  # False for nan, too
                raise ValueError(f"mixing.{name} must be a finite number of at least 0, got {getattr(self, name)}")

    @property
    def is_on(self) -> bool:
        """Whether any clip is mixed."""
        return bool(self.mixup or self.cutmix)

    def mix(self, clips: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Mix each clip with the one before it in the batch.

        Args:
            clips: [N, 3, T, S, S].
            targets: probabilities [N, K].

        Returns:
            Clips and targets of the same shapes.
        """
        makers = [make(alpha=alpha) for make, alpha in ((v2.MixUp, self.mixup), (v2.CutMix, self.cutmix)) if alpha]
        transform = makers[int(torch.randint(len(makers), ()))]
        # torchvision takes images: with time among the channels, a clip is one, and a box is that of all frames.
        images, mixed = transform(clips.flatten(1, 2), targets)  # [N, 3 T, S, S]
        return images.unflatten(1, clips.shape[1:3]), mixed
