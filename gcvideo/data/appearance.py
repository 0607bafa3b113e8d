"""What is changed in a training view after it is cut out, by torchvision's transforms: equally in all of its frames.

- "RandAugment" (arXiv:1909.13719), with torchvision's 14 operations.
- Colour jitter: brightness, contrast, saturation and hue in random order.
- "Random Erasing" (arXiv:1708.04896): the same box of all frames becomes grey.

Letters: T frames, S side of the view.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

MAX_MAGNITUDE = 30
"""Of RandAugment, as torchvision counts: its operations have 31 strengths."""

_GREY = 114  # near the mean of natural images, which normalization brings to 0


@dataclass(frozen=True)
class Appearance:
    """Changes of a training view. All are off by default.

    Args:
        rand_augment: magnitude of RandAugment, 0 to 30 (9 in most recipes). It mirrors nothing; it shifts, shears and
            rotates.
        operations: of RandAugment for each clip, at least 1.
        color_jitter: strength of the colour jitter, 0 to 1: brightness, contrast and saturation are scaled by up to
            1 +- this, the hue is turned by up to a quarter of it.
        erase: probability that a box of 2 to 33 % of the area becomes grey.

    Raises:
        ValueError: a value out of range.
    """

    rand_augment: int | None = None
    operations: int = 2
    color_jitter: float = 0.0
    erase: float = 0.0

    def __post_init__(self) -> None:
        if self.rand_augment is not None and not 0 <= self.rand_augment <= MAX_MAGNITUDE:
            raise ValueError(f"expected appearance.rand_augment in 0 to {MAX_MAGNITUDE}, got {self.rand_augment}")
        if self.operations < 1:
            raise ValueError(f"expected appearance.operations >= 1, got {self.operations}")
        if self.rand_augment is None and self.operations != 2:
            raise ValueError("appearance.operations would have no effect without appearance.rand_augment: remove it")
        for name in ("color_jitter", "erase"):
            if not 0 <= getattr(self, name) <= 1:  # False for nan, too
                raise ValueError(f"expected appearance.{name} in [0, 1], got {getattr(self, name)}")

    def change(self, view: Tensor, generator: torch.Generator) -> Tensor:
        """uint8 [T, 3, S, S] -> the same shape and type, changed equally in all frames; random by `generator`."""
        transforms = _transforms(self)
        if not transforms:
            return view
        # torchvision draws from torch's global generator: here from one that only this view has.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**63 - 1, (), generator=generator)))
            changed: Any = tv_tensors.Video(view)
            for transform in transforms:
                changed = transform(changed)
        return changed.as_subclass(Tensor)


# Not a cached property: an instance is a default of settings, and must hold its fields only.
@cache
def _transforms(appearance: Appearance) -> list[Callable[[Any], Any]]:
    chosen: list[Callable[[Any], Any]] = []
    if appearance.rand_augment is not None:
        chosen.append(
            v2.RandAugment(appearance.operations, appearance.rand_augment, interpolation=v2.InterpolationMode.BILINEAR)
        )
    if appearance.color_jitter:
        strength = appearance.color_jitter
        chosen.append(v2.ColorJitter(strength, strength, strength, strength / 4))
    if appearance.erase:
        chosen.append(v2.RandomErasing(appearance.erase, value=_GREY))
    return chosen
