"""The tests and intervals of a sweep.

Runs often fall into two clusters, those that learned the task and those that got stuck. So what decides over seeds is a
sign-flip test, which assumes no distribution: without an effect, each paired difference is as likely as its negative.
"""

from collections.abc import Mapping, Sequence
from itertools import count
from math import sqrt
from statistics import mean, stdev
from typing import NamedTuple

import numpy as np
from scipy import stats

from gcvideo.report.interval import CONFIDENCE, Interval

ALPHA = 0.05
MAX_EXACT_SEEDS = 16
_NOISE = 1e-7  # between equal accuracies; older reports hold float32


class PairedTest(NamedTuple):
    """Paired differences over seeds.

    Args:
        num_seeds: number of pairs.
        difference: their mean.
        interval: its 95 % interval (Student's t), which describes and does not decide; None for one pair.
        p: of the sign-flip test.
    """

    num_seeds: int
    difference: float
    interval: Interval | None
    p: float


def paired_test(differences: Sequence[float]) -> PairedTest:
    """Summary and test of at least one paired difference."""
    num_seeds = len(differences)
    center = mean(differences)
    interval = None
    if num_seeds > 1:
        half = stats.t.ppf((1 + CONFIDENCE) / 2, num_seeds - 1) * stdev(differences) / sqrt(num_seeds)
        interval = Interval(float(center - half), float(center + half))
    return PairedTest(num_seeds, center, interval, sign_flip_p(differences))


def sign_flip_p(differences: Sequence[float]) -> float:
    """Two-sided p of "the differences are symmetric about 0": how many choices of their signs have as large a mean.

    All 2^n choices for up to `MAX_EXACT_SEEDS` differences, else as many random ones. scipy's permutation_test is not
    used because it finds equal means only to 2e-14 of the mean: with accuracies, ties differ by more.
    """
    num_seeds = len(differences)
    if num_seeds <= MAX_EXACT_SEEDS:
        bits = np.arange(2**num_seeds)[:, None] >> np.arange(num_seeds) & 1  # 00, 10, 01, 11
    else:
        bits = np.random.default_rng(0).integers(2, size=(2**MAX_EXACT_SEEDS, num_seeds))
        bits[0] = 0  # the observed signs are one of the choices, else p could be 0
    means = np.abs((1 - 2 * bits) @ np.asarray(differences)) / num_seeds
    return float(np.mean(means >= means[0] - _NOISE))


def smallest_p(num_seeds: int) -> float:
    """p of the sign-flip test where all differences have one sign: of 2^n choices only that and its negative."""
    return 2 / 2**num_seeds


def seeds_needed(num_comparisons: int) -> int:
    """Number of seeds from which a corrected p can be below `ALPHA`: 6 for one comparison, 8 for five."""
    return next(seeds for seeds in count(1) if num_comparisons * smallest_p(seeds) < ALPHA)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p-values corrected for their number by Holm's step-down method.

    With m tests the smallest p is multiplied by m, the next by m - 1, ... A corrected value is at most 1, and never
    below that of a smaller p: 0.01, 0.03, 0.04 become 0.03, 0.06, and 0.06 instead of 0.04.

    Args:
        p_values: name -> p.

    Returns:
        Name -> corrected p, in ascending order.
    """
    corrected: dict[str, float] = {}
    previous = 0.0
    ascending = sorted(p_values.items(), key=lambda item: item[1])
    for step, (name, p) in enumerate(ascending):
        previous = max(previous, min(1.0, p * (len(p_values) - step)))
        corrected[name] = previous
    return corrected


class Passed(NamedTuple):
    """Seeds that reach a threshold, and the exact 95 % interval of their share (Clopper and Pearson 1934)."""

    num_passed: int
    interval: Interval


def passed(values: Sequence[float], threshold: float) -> Passed:
    """How many of at least one value are `threshold` or more."""
    num_passed = sum(value >= threshold for value in values)
    interval = stats.binomtest(num_passed, len(values)).proportion_ci(CONFIDENCE, method="exact")
    return Passed(num_passed, Interval(float(interval.low), float(interval.high)))


class McNemar(NamedTuple):
    """Two networks on the same videos.

    Args:
        variant_only, baseline_only: numbers of videos that only one of them has right.
        not_shared: number of videos that only one of them was tested on; they are left out.
        p: exact two-sided p of "a video that only one has right is as likely either's" (McNemar 1947).
    """

    variant_only: int
    baseline_only: int
    not_shared: int
    p: float


def mcnemar(variant: Mapping[str, bool], baseline: Mapping[str, bool]) -> McNemar | None:
    """McNemar's test; None without a common video.

    Args:
        variant, baseline: video -> whether it is right.
    """
    shared = variant.keys() & baseline.keys()
    if not shared:
        return None
    variant_only = sum(variant[video] and not baseline[video] for video in shared)
    baseline_only = sum(baseline[video] and not variant[video] for video in shared)
    discordant = variant_only + baseline_only
    p = float(stats.binomtest(variant_only, discordant).pvalue) if discordant else 1.0
    return McNemar(variant_only, baseline_only, len(variant.keys() ^ baseline.keys()), p)
