"""The network from pixels to probabilities, as exported files compute it.

Letters: B clips, T frames, S side, K classes.
"""

import copy
import json
from dataclasses import asdict

import torch
from torch import Tensor, nn

from gcvideo import __version__
from gcvideo.errors import GcvideoError
from gcvideo.models import fuse, is_fusible
from gcvideo.recognition import Recognizer
from gcvideo.training.objective import probabilities

INPUT, OUTPUT = "frames", "probabilities"
MAX_DIFFERENCE = 1e-4
"""Of a probability, between an exported file and the model that it was made from."""


class Classifier(nn.Module):
    """uint8 RGB frames [B, 3, T, S, S] -> probabilities [B, K]; normalisation and softmax, or sigmoids for several
    classes of a clip, inside; on the CPU.

    Args:
        recognizer: its model is copied, and its batch norms are folded into the convolutions where they can be.
    """

    def __init__(self, recognizer: Recognizer):
        super().__init__()
        task = recognizer.task
        self.multi_label = task.multi_label
        self.net = (fuse(task.net) if is_fusible(task.net) else task.net).cpu().float().eval()
        self.to_input = copy.deepcopy(task.to_input).cpu().float()

    def forward(self, frames: Tensor) -> Tensor:
        return probabilities(self.net(self.to_input.of_floats(frames.float())), self.multi_label)


def examples(recognizer: Recognizer, count: int, seed: int = 0) -> Tensor:
    """Random clips uint8 [count, 3, T, S, S], each of other brightness and contrast."""
    generator = torch.Generator().manual_seed(seed)
    shape = (count, 3, recognizer.clip.frames, recognizer.views.size or 0, recognizer.views.size or 0)
    noise = torch.rand(shape, generator=generator) - 0.5
    level = torch.rand((count, 3, 1, 1, 1), generator=generator)
    return ((level + noise * torch.rand((count, 1, 1, 1, 1), generator=generator)).clamp(0, 1) * 255).byte()


def expected_of(recognizer: Recognizer, frames: Tensor) -> Tensor:
    """Probabilities [B, K] of clips [B, 3, T, S, S] by the model itself."""
    return recognizer.scores(frames[:, None])


def refuse_difference(path: object, found: Tensor, expected: Tensor) -> float:
    """The largest difference of two sets of probabilities.

    Raises:
        GcvideoError: it is above `MAX_DIFFERENCE`, or not a number.
    """
    difference = float((found - expected).abs().max()) if found.shape == expected.shape else float("nan")
    if not difference <= MAX_DIFFERENCE:
        raise GcvideoError(
            f"{path} is not written: its probabilities differ from the model's by {difference:g}, expected at most "
            f"{MAX_DIFFERENCE:g}"
        )
    return difference


def metadata_of(recognizer: Recognizer) -> dict[str, str]:
    """What a user of the file must know: class names, whether a clip may have several of them, and which frames and
    which part of them a clip takes.
    """
    return {
        "name": recognizer.name,
        "class_names": json.dumps(recognizer.class_names),
        "multi_label": json.dumps(recognizer.task.multi_label),
        "clip": json.dumps(asdict(recognizer.clip)),
        "views": json.dumps(asdict(recognizer.views)),
        "gcvideo": __version__,
    }
