"""Mean distances between the positions of a clip: how much features or attention depend on the query.

Paper: GCNet (arXiv:1904.11492), section 3.2 and table 1: the mean over all N^2 ordered pairs of positions, each with
itself included, of

    cosine      (1 - cos(v_i, v_j)) / 2
    JSD         1/2 sum_k [ p_ik log(2 p_ik / (p_ik + p_jk)) + p_jk log(2 p_jk / (p_ik + p_jk)) ],  at most log 2

New here: a position of a video is a frame and a place in it, so the pairs are of three kinds, besides a position with
itself, and each has its own mean:

    same place, other frame        N (T - 1)         pairs
    same frame, other place        N (S - 1)
    both differ                    N (T - 1) (S - 1)

The cosine has a closed form: a sum of cos(v_i, v_j) over all pairs of a set is the squared length of the sum of its
unit vectors. The JSD has none; it is evaluated pair by pair, some queries at a time.

Letters: T frames, S places of a frame (H*W), N = T*S positions, D length of a vector, M keys of an attention map.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

NAN = float("nan")

_MAX_MIXED = 2**22  # numbers of mixtures of maps that are in memory at a time


class PairMeans(NamedTuple):
    """Mean distance of all pairs and of the three kinds of pairs; NaN where there are none of a kind."""

    overall: float
    other_frame: float
    other_place: float
    other_both: float


def weighted(num_frames: int, num_places: int, other_frame: float, other_place: float, other_both: float) -> PairMeans:
    """Means of the three kinds, and of all N^2 pairs, in which each kind counts by its number."""
    n, counts = num_frames * num_places, _counts(num_frames, num_places)
    kinds = (other_frame, other_place, other_both)
    # The N pairs of a position with itself have distance 0. Kinds without pairs are NaN: not multiplied by 0.
    total = sum(count * mean for count, mean in zip(counts, kinds, strict=True) if count)
    return PairMeans(total / n**2, *(mean if count else NAN for count, mean in zip(counts, kinds, strict=True)))


class CosineSums:
    """Running sums of unit vectors, from which the mean cosine distances follow in closed form.

    A vector of zeros has no direction: its cosine with any other is taken to be 0.
    """

    def __init__(self) -> None:
        self._by_frame: Tensor | float = 0.0  # sum over the places [T, D]
        self._squares_by_place = 0.0  # sum over the places of |sum over the frames|^2
        self._selves = 0.0  # sum of |u|^2: the number of vectors that are not zero
        self._shape = (0, 0)  # T, S

    def add(self, vectors: Tensor) -> None:
        """Add the vectors [T, p, D] of p more places, of all frames."""
        unit = F.normalize(vectors.double(), dim=2, eps=1e-300)
        self._by_frame = self._by_frame + unit.sum(dim=1)
        self._squares_by_place += float(unit.sum(dim=0).square().sum())
        self._selves += float(unit.square().sum())
        self._shape = (unit.shape[0], self._shape[1] + unit.shape[1])

    def means(self) -> PairMeans:
        """The mean distances; NaN if all vectors are zero."""
        if self._selves == 0:
            return PairMeans(NAN, NAN, NAN, NAN)
        num_frames, num_places = self._shape
        by_frame = torch.as_tensor(self._by_frame)
        same_frame = float(by_frame.square().sum())  # of the cosines, each vector with itself included
        everywhere = float(by_frame.sum(dim=0).square().sum())
        sums = (
            self._squares_by_place - self._selves,
            same_frame - self._selves,
            everywhere - same_frame - self._squares_by_place + self._selves,
        )
        counts = _counts(num_frames, num_places)
        kinds = (_distance(total, count) for total, count in zip(sums, counts, strict=True))
        return weighted(num_frames, num_places, *kinds)


def cosine_distances(vectors: Tensor) -> PairMeans:
    """Mean cosine distances of vectors [T, S, D], in [0, 1]."""
    sums = CosineSums()
    sums.add(vectors)
    return sums.means()


def _distance(sum_of_cosines: float, count: int) -> float:
    # Rounding may leave -1e-17 for equal vectors.
    return max((1 - sum_of_cosines / count) / 2, 0.0) if count else NAN


def jensen_shannon(maps: Tensor, num_frames: int | None = None, num_places: int | None = None) -> PairMeans:
    """Mean Jensen-Shannon divergences of attention maps, in [0, log 2].

    Args:
        maps: distributions [t, s, M] of the queries in t frames and s places.
        num_frames, num_places: T and S of the clip, if these queries are a sample of them (every chosen place in every
            chosen frame). The mean of each kind is then an unbiased estimate; with all queries, everything is exact.
    """
    t, s = maps.shape[:2]
    rows = maps.flatten(0, 1).double()  # [q, M]
    entropies = torch.special.entr(rows).sum(dim=1)  # [q]
    total = same_place = same_frame = 0.0
    for part in torch.arange(t * s, device=maps.device).split(max(_MAX_MIXED // rows.numel(), 1)):
        mixed = torch.special.entr((rows[part, None] + rows) / 2).sum(dim=2)  # [part, q]
        # H((p + q) / 2) - (H(p) + H(q)) / 2 is the same as the definition; rounding may leave -1e-17.
        divergences = (mixed - (entropies[part, None] + entropies) / 2).clamp(min=0).unflatten(1, (t, s))
        own, frame, place = torch.arange(len(part), device=maps.device), part // s, part % s
        total += float(divergences.sum())
        same_place += float(divergences[own, :, place].sum())
        same_frame += float(divergences[own, frame].sum())
    sums = (same_place, same_frame, total - same_place - same_frame)
    kinds = (total / count if count else NAN for total, count in zip(sums, _counts(t, s), strict=True))
    return weighted(num_frames or t, num_places or s, *kinds)


def _counts(num_frames: int, num_places: int) -> tuple[int, int, int]:
    """Numbers of ordered pairs of the three kinds."""
    n = num_frames * num_places
    return n * (num_frames - 1), n * (num_places - 1), n * (num_frames - 1) * (num_places - 1)
