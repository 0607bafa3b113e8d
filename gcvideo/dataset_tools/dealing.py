"""Dealing videos to training, validation and test: stratified by class, groups kept together, from a seed.

A group is everything that comes from one source: clips of one recording, takes of one person. If its videos were in
two parts, a test would ask for videos that training has nearly seen. Groups are dealt one after the other, large ones
first: each goes to the part where the squared deviations from the target numbers of its classes grow least,

    sum over classes c of (target[c, part] - dealt[c, part] - size[c])^2 - (target[c, part] - dealt[c, part])^2
        = constant - 2 * sum over c of size[c] * (target[c, part] - dealt[c, part])

so it goes where that last sum, the shortage, is largest. Where every group is of one class, no part ends further from
its target than the largest group of the class, except that a part without a group gets one before the groups run out.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gcvideo.errors import UsageError

PARTS = ("train", "val", "test")

NO_CLASS = "(none)"
"""What videos without any label are dealt as. It need not be in every part."""

_SCARCE = ("train", "test", "val")
"""Which parts a class has that has fewer groups than there are parts."""


@dataclass(frozen=True, slots=True)
class Shares:
    """How many of the videos each part gets, as a proportion.

    Args:
        train, val, test: whole numbers, at least 0, such as 70, 15 and 15; val or test may be 0.

    Raises:
        ValueError: a negative share, or nothing to train on or nothing to evaluate.
    """

    train: int = 70
    val: int = 15
    test: int = 15

    def __post_init__(self) -> None:
        if min(self.train, self.val, self.test) < 0 or self.train == 0 or self.val + self.test == 0:
            raise ValueError(f"expected a share for train, and for val or test, got {self}")

    def __str__(self) -> str:
        return f"{self.train}/{self.val}/{self.test}"

    def positive(self) -> dict[str, int]:
        """Part -> share, without those that get nothing."""
        return {part: share for part in PARTS if (share := getattr(self, part))}


def deal(labels: Sequence[Sequence[str]], groups: Sequence[str], shares: Shares, seed: int) -> list[str]:
    """Part of each video. Equal sets give equal parts, whatever the order of their videos.

    Args:
        labels: classes of each video, at least one.
        groups: name of each video's group; a video that belongs to none needs a name of its own.
        shares: of the parts.
        seed: another one deals otherwise.

    Raises:
        UsageError: classes of a single group, which can't be in two parts; or groups of several classes that leave a
            class without training videos.
    """
    sizes: dict[str, Counter[str]] = defaultdict(Counter)  # group -> class -> number of videos
    num_videos = Counter(label for of_video in labels for label in of_video)
    for of_video, group in zip(labels, groups, strict=True):
        sizes[group].update(of_video)
    num_groups = Counter(label for of_class in sizes.values() for label in of_class)
    _refuse_single_groups(num_videos, num_groups)
    table = _Table(num_videos, num_groups, shares.positive())
    part_of = {}
    for group in sorted(sizes, key=lambda group: (-sizes[group].total(), _drawn(seed, group))):
        part_of[group] = table.deal(sizes[group])
    table.check()
    return [part_of[group] for group in groups]


def _drawn(seed: int, group: str) -> bytes:
    """A random place of a group, which no other group and no order of rows influences."""
    return hashlib.sha256(f"{seed}/{group}".encode(errors="surrogateescape")).digest()


def _refuse_single_groups(num_videos: Mapping[str, int], num_groups: Mapping[str, int]) -> None:
    single = [label for label in sorted(num_groups) if num_groups[label] < 2 and label != NO_CLASS]
    if not single:
        return
    shown = ", ".join(f"{label!r} ({num_videos[label]} video(s) of 1 source)" for label in single[:5])
    raise UsageError(
        f"{len(single)} of {len(num_groups)} classes can't be both in train and in another part: {shown}"
        f"{', ...' if len(single) > 5 else ''}; expected at least 2 sources (groups, or videos without one) in each "
        f"class: add videos, or take the class out"
    )


class _Table:
    """What is dealt so far, and where the next group goes.

    Shortages are counted in videos times the sum of the shares, so that they are whole numbers.
    """

    def __init__(self, num_videos: Mapping[str, int], num_groups: Mapping[str, int], shares: Mapping[str, int]):
        self.total = sum(shares.values())
        self.shortage = {
            label: {part: number * share for part, share in shares.items()} for label, number in num_videos.items()
        }
        self.overall = {part: sum(of_class[part] for of_class in self.shortage.values()) for part in shares}
        self.groups_left = dict(num_groups)
        scarce = [part for part in _SCARCE if part in shares]
        # The parts that each class must have, and does not have yet.
        self.empty = {label: set(scarce[:number]) for label, number in num_groups.items()}

    def deal(self, size: Mapping[str, int]) -> str:
        """Deal a group, given by its number of videos of each class; returns its part."""
        parts = self._choices(size)

        def rank(part: str) -> tuple[int, int]:
            # Equal shortages, as those of val and test in a small class: the part that all classes left short.
            return sum(number * self.shortage[label][part] for label, number in size.items()), self.overall[part]

        chosen = max(parts, key=rank)  # the first of equals
        for label, number in size.items():
            self.shortage[label][chosen] -= number * self.total
            self.overall[chosen] -= number * self.total
            self.groups_left[label] -= 1
            self.empty[label].discard(chosen)
        return chosen

    def _choices(self, size: Mapping[str, int]) -> list[str]:
        """All parts; or only those without a group of some class, once it has just enough groups left to fill them."""
        urgent = [self.empty[label] for label in size if self.groups_left[label] <= len(self.empty[label])]
        # Groups of several classes may be wanted by more parts than one: best by all their classes, else by any.
        wanted = set.intersection(*urgent) or set.union(*urgent) if urgent else set(self.overall)
        return [part for part in PARTS if part in wanted]

    def check(self) -> None:
        untrained = sorted(label for label, empty in self.empty.items() if "train" in empty)
        if untrained:
            raise UsageError(
                f"no training videos are left for {', '.join(map(repr, untrained[:5]))}: the groups have several "
                f"classes each, and are too few for these shares; try another seed, or larger shares of train"
            )
