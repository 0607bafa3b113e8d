"""From logits of views to accuracies of clips and of videos.

Letters: B videos, V views, K classes.
"""

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy


def average_views(logits: Tensor) -> Tensor:
    """Scores of a video: the mean of its views' softmax, as papers average 10 x 3 views. [B, V, K] -> [B, K]."""
    return logits.float().softmax(dim=-1).mean(dim=1)


def accuracies(num_classes: int, prefix: str) -> MetricCollection:
    """Top-1 and top-5 accuracy over samples (micro) as `<prefix>top1` and `<prefix>top5`.

    With fewer than 5 classes, top-5 is top-K and always 1.
    """
    metrics: dict[str, Metric | MetricCollection] = {
        f"top{k}": MulticlassAccuracy(num_classes, top_k=min(k, num_classes), average="micro") for k in (1, 5)
    }
    return MetricCollection(metrics, prefix=prefix)


class VideoScores(Metric):
    """Keeps the scores of every video, over all ranks, and notices one that is counted twice.

    The rank of a view is the number of classes that score higher than the true one: 0 is right, below 5 is top-5.

    `compute` gives (indices [N], labels [N], view ranks [N, V], scores [N, K]), sorted by index.
    """

    indices: list[Tensor]
    labels: list[Tensor]
    view_ranks: list[Tensor]
    scores: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("indices", "labels", "view_ranks", "scores"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, indices: Tensor, labels: Tensor, logits: Tensor) -> None:
        """indices [B], labels [B], logits [B, V, K]."""
        self.indices.append(indices)
        self.labels.append(labels)
        true = logits.gather(2, labels[:, None, None].expand(-1, logits.shape[1], 1))  # [B, V, 1]
        self.view_ranks.append((logits > true).sum(dim=-1))
        self.scores.append(average_views(logits))

    def compute(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """All videos.

        Raises:
            RuntimeError: a video was counted more than once, or none was counted.
        """
        if isinstance(self.indices, list) and not self.indices:
            raise RuntimeError("no video was evaluated")
        indices, labels, ranks, scores = (
            torch.cat(state) if isinstance(state, list) else state
            for state in (self.indices, self.labels, self.view_ranks, self.scores)
        )
        unique, counts = indices.unique(return_counts=True)
        if len(unique) != len(indices):
            raise RuntimeError(f"videos counted more than once: {unique[counts > 1].tolist()}")
        order = indices.argsort()
        return indices[order], labels[order], ranks[order], scores[order]
