"""What a network is trained towards: one class for each clip, or any number of classes.

With one, the logits [N, K] are those of a softmax and the loss is the cross-entropy. With several, each class is a
question of its own: the probabilities are sigmoids, and the loss is the mean over the classes of the binary
cross-entropy, as PySlowFast and mmaction2 train on Charades.

Letters: N clips, K classes.
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor


def probabilities(logits: Tensor, multi_label: bool) -> Tensor:
    """Logits [..., K] to probabilities: those of a clip sum to 1, unless it may have several classes."""
    return logits.sigmoid() if multi_label else logits.softmax(dim=-1)


def loss_of(
    logits: Tensor,
    targets: Tensor,
    multi_label: bool,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    reduction: Literal["mean", "none"] = "mean",
) -> Tensor:
    """The loss of clips: their mean, or of each [N].

    Args:
        logits: [N, K].
        targets: class indices [N] or, if clips are mixed, probabilities [N, K]; with several classes always [N, K].
        multi_label: whether a clip may have several classes.
        class_weights: [K], of each class; with several classes of its positive clips only.
        label_smoothing: in [0, 1]: with several classes, 1 and 0 become 1 - s / 2 and s / 2.
        reduction: "mean" or "none".
    """
    if not multi_label:
        return F.cross_entropy(logits, targets, class_weights, reduction=reduction, label_smoothing=label_smoothing)
    wanted = targets.to(logits.dtype) * (1 - label_smoothing) + label_smoothing / 2
    losses = F.binary_cross_entropy_with_logits(logits, wanted, pos_weight=class_weights, reduction="none")
    return losses.mean() if reduction == "mean" else losses.mean(dim=1)
