"""Relations between two distant places: each is of one of two kinds, and the label is 'same' or 'different' kinds.

Used by the synthetic videos (`scene`: kinds are directions of motion) and by pairs of real clips (`pairs`: kinds are
sets of classes). What a network without blocks can do, if no unit of it sees both places: it adds up a score of either
place. The relation is the exclusive-or of the two kinds, and a sum of two scores is right on at most three of the four
pairs of kinds. Where the four are equally frequent, as in validation and test, 3/4 is the best accuracy. One place
alone tells nothing: 1/2.

The training set is unbalanced on purpose: 92 % of its 'same' pairs are of kinds 0-0 and 8 % of 1-1. Then the loss
rewards knowing the kind of either place alone (0 is mostly 'same'), so that features of kinds form within an epoch;
what they leave wrong is 1-1, which takes the relation. With balanced kinds neither is rewarded before the other is
known, and training waits on a plateau of random length.
"""

from typing import NamedTuple

# Of 25 'same' pairs of a training set, these are 1-1 and all others 0-0.
RARE_ROUNDS, ROUNDS = (6, 18), 25


class Kinds(NamedTuple):
    """Kinds, 0 or 1, of the first place (upper, left) and of the second (lower, right)."""

    first: int
    second: int


def kinds_of(split: str, is_same: bool, round_number: int) -> Kinds:
    """Kinds of a pair.

    Args:
        split: "train" is unbalanced; in all others the kinds alternate.
        is_same: whether the kinds are equal.
        round_number: number of the pair among those of its label.
    """
    is_unbalanced = split == "train" and is_same
    first = int(round_number % ROUNDS in RARE_ROUNDS) if is_unbalanced else round_number % 2
    return Kinds(first, first if is_same else 1 - first)
