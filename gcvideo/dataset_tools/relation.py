"""Relations between two distant places: each is of one of two kinds, and the label is 'same' or 'different' kinds.

Used by the synthetic videos (`scene`: kinds are directions of motion) and by pairs of real clips (`pairs`: kinds are
classes). The four pairs of kinds are equally frequent. What a network can do:

- One place alone tells nothing: 1/2 is the best accuracy.
- Without blocks, and if no unit sees both places, it adds up a score of either place. The relation is the exclusive-or
  of the two kinds, and a sum of two scores is right on at most three of the four pairs of kinds: 3/4.
- With features of kinds and a block that relates places, it can be right on all.

From random weights, training waits on a plateau of random length: neither kind is rewarded by the loss before the other
is known. The recipes therefore start from a trunk that has learned to recognise the kinds, without blocks.
"""

from typing import NamedTuple


class Kinds(NamedTuple):
    """Kinds, 0 or 1, of the first place (upper, left) and of the second (lower, right)."""

    first: int
    second: int


def kinds_of(is_same: bool, number: int) -> Kinds:
    """Kinds of a pair, alternating.

    Args:
        is_same: whether the kinds are equal.
        number: of the pair among those of its label.
    """
    first = number % 2
    return Kinds(first, first if is_same else 1 - first)
