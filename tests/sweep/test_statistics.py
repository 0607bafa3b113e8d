"""The tests and intervals of a sweep: exact values, scipy's and independent formulas, and coverage."""

import itertools
import math
import random

import numpy as np
import pytest
from scipy import stats

from gcvideo.sweep.statistics import (
    McNemar,
    holm,
    mcnemar,
    paired_test,
    passed,
    seeds_needed,
    sign_flip_p,
    smallest_p,
)


@pytest.mark.parametrize("num_seeds", (2, 5, 10, 16))
def test_sign_flips_equal_scipys_permutation_test(num_seeds):
    """With differences that have no ties; scipy's two-sided p is twice the smaller one-sided one."""
    differences = np.random.default_rng(num_seeds).normal(0.3, 1, num_seeds)
    reference = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(differences) == pytest.approx(reference.pvalue)


def test_sign_flips_by_hand():
    """Of the 8 sums +-1 +-2 +-3 the observed 4 is reached by 6, 4, -4 and -6: ties count."""
    assert sign_flip_p([3.0, 2.0, -1.0]) == 4 / 8
    assert sign_flip_p([0.1, 0.2, 0.3]) == 2 / 8
    assert sign_flip_p([0.0, 0.0, 0.0]) == 1
    assert sign_flip_p([0.4]) == 1


def test_ties_of_accuracies_are_found():
    """Accuracies of 300 videos, as float32 and as differences of floats: the p-value is that of the counts."""
    draw = random.Random(0)
    for _ in range(20):
        pairs = [(draw.randrange(100, 200), draw.randrange(100, 200)) for _ in range(8)]
        counts = [a - b for a, b in pairs]
        sums = [abs(sum(s * d for s, d in zip(signs, counts))) for signs in itertools.product((1, -1), repeat=8)]
        exact = sum(total >= abs(sum(counts)) for total in sums) / 2**8
        assert sign_flip_p([a / 300 - b / 300 for a, b in pairs]) == exact
        assert sign_flip_p([float(np.float32(a / 300)) - float(np.float32(b / 300)) for a, b in pairs]) == exact


def test_many_seeds_are_sampled():
    differences = np.random.default_rng(0).normal(0.3, 1, 18)
    signs = 1 - 2 * (np.arange(2**18)[:, None] >> np.arange(18) & 1)
    exact = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9)
    assert sign_flip_p(differences) == pytest.approx(exact, abs=3 * math.sqrt(exact / 2**16))
    assert sign_flip_p(differences) == sign_flip_p(differences)
    assert sign_flip_p([1.0] * 40) == 1 / 2**16  # never 0


def test_an_interval_of_two_clusters():
    """Nine seeds learn the task and one does not: the t-interval ends above 1, the test does not mind."""
    test = paired_test([0.26] * 9 + [0.0])
    assert test.difference == pytest.approx(0.234)
    assert test.interval == pytest.approx(stats.t.interval(0.95, 9, loc=0.234, scale=0.026))
    assert test.p == pytest.approx(2 * 2 / 2**10)  # the sign of the zero is free
    assert paired_test([0.2]).interval is None


def test_seeds_for_a_verdict():
    assert [smallest_p(n) for n in (1, 2, 5)] == [1, 0.5, 0.0625]
    assert [seeds_needed(m) for m in (1, 2, 3, 5)] == [6, 7, 7, 8]
    for comparisons in range(1, 20):
        seeds = seeds_needed(comparisons)
        assert comparisons * sign_flip_p([1.0] * seeds) < 0.05 <= comparisons * sign_flip_p([1.0] * (seeds - 1))


def test_holm():
    """Holm's step-down by hand: 3 x 0.01, 2 x 0.03 = 0.06, and 0.04 is not below the one before it."""
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == {"a": pytest.approx(0.03), "c": 0.06, "b": 0.06}
    assert holm({"a": 0.9, "b": 0.8}) == {"b": 1.0, "a": 1.0}


def test_holm_grows_with_every_p():
    """So the smallest p-values give the best that each variant can reach."""
    draw = random.Random(0)
    for _ in range(200):
        small = {name: draw.random() for name in "abcd"}
        large = {name: p + (1 - p) * draw.random() * draw.randrange(2) for name, p in small.items()}
        assert all(holm(small)[name] <= holm(large)[name] for name in small)


def test_passed_seeds():
    """Clopper-Pearson by its definition: at a bound, so many passes or more (fewer) have a probability of 2.5 %."""
    num_passed, (low, high) = passed([0.95, 0.9, 0.5, 0.97, 0.99], 0.9)
    assert num_passed == 4
    assert stats.binom.sf(3, 5, low) == pytest.approx(0.025, rel=1e-4)
    assert stats.binom.cdf(4, 5, high) == pytest.approx(0.025, rel=1e-4)
    assert passed([1.0] * 10, 0.9).interval == pytest.approx((0.025 ** (1 / 10), 1))
    assert passed([0.0] * 10, 0.9).interval == pytest.approx((0, 1 - 0.025 ** (1 / 10)))


def test_mcnemar():
    """12 : 3, two-sided: twice the chance of at most 3 heads in 15 throws. Videos that both have right do not count."""
    variant = {f"v{n}": n < 62 for n in range(100)}
    baseline = {f"v{n}": n < 50 or 62 <= n < 65 for n in range(100)}
    p = 2 * sum(math.comb(15, heads) for heads in range(4)) / 2**15
    assert mcnemar(variant, baseline) == McNemar(12, 3, 0, pytest.approx(p))
    assert mcnemar(baseline, variant) == McNemar(3, 12, 0, pytest.approx(p))
    assert mcnemar(variant, variant) == McNemar(0, 0, 0, 1.0)


def test_videos_of_one_run_are_counted_and_left_out():
    assert mcnemar({"a": True, "b": True, "c": False}, {"b": False, "c": False, "d": True}) == McNemar(1, 0, 2, 1.0)
    assert mcnemar({"a": True}, {"b": True}) is None
    assert mcnemar({}, {"b": True}) is None
