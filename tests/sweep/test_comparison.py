"""Which verdicts a sweep gives; tests/sweep/test_statistics.py has the formulas."""

import math
import random
from statistics import mean, stdev

import pytest

from gcvideo.sweep.comparison import compare

BASE = {0: 0.70, 1: 0.74, 2: 0.72, 3: 0.71, 4: 0.73, 5: 0.75}


def plus(values, *differences):
    """The seeds' values plus the differences."""
    return {seed: value + difference for (seed, value), difference in zip(values.items(), differences)}


def test_paired_difference_and_interval():
    """By hand: differences 1..6 points have mean 3.5, standard error sqrt(3.5 / 6), and t(0.975, 5) = 2.5706."""
    better = plus(BASE, *(points / 100 for points in range(1, 7)))
    base, row = compare({"none": BASE, "gc": better}, "none")
    assert (base.verdict, base.paired) == ("baseline", None)
    assert row.mean == pytest.approx(mean(better.values()))
    assert row.spread == pytest.approx(stdev(better.values()))
    half = 2.5705818 * math.sqrt(3.5 / 6) / 100
    assert row.paired.difference == pytest.approx(0.035)
    assert row.paired.interval == pytest.approx((0.035 - half, 0.035 + half), rel=1e-6)
    assert (row.paired.p, row.verdict) == (2 / 2**6, "better")
    assert compare({"none": better, "gc": BASE}, "none")[1].verdict == "worse"


def test_pairs_are_by_seed_whatever_the_order():
    shuffled = {4: 0.74, 2: 0.73, 0: 0.71, 3: 0.721, 5: 0.76, 1: 0.75}
    row = compare({"none": BASE, "gc": shuffled}, "none")[1]
    assert row.paired.difference == pytest.approx(0.061 / 6)
    assert row.paired.interval.low > 0.009
    assert row.verdict == "better"


def test_differences_without_spread():
    """Seeds on a few hundred videos may well differ by the same number: only their signs count."""
    row = compare({"none": BASE, "gc": plus(BASE, *[0.05] * 6)}, "none")[1]
    assert row.paired.interval == pytest.approx((0.05, 0.05))
    assert (row.paired.p, row.verdict) == (2 / 2**6, "better")
    row = compare({"none": BASE, "gc": dict(BASE)}, "none")[1]
    assert (row.paired.difference, row.paired.p, row.verdict) == (0, 1, "not significant")


def test_one_stuck_seed_does_not_hide_nine_that_learn():
    """Two clusters; the stuck seed is below the baseline."""
    base = {seed: 0.73 + seed / 1000 for seed in range(10)}
    row = compare({"none": base, "gc": {**plus(base, *[0.26] * 10), 9: 0.735}}, "none", threshold=0.9)[1]
    assert row.verdict == "better"
    assert row.passed.num_passed == 9


def test_only_shared_seeds_are_compared():
    row = compare({"none": BASE, "gc": {0: 0.80, 1: 0.86, 3: 0.82, 9: 0.10}}, "none")[1]
    assert (row.paired.num_seeds, row.paired.difference) == (3, pytest.approx(0.11))
    assert compare({"none": BASE, "gc": {9: 0.1}}, "none")[1].paired is None


@pytest.mark.parametrize("num_seeds", range(1, 10))
@pytest.mark.parametrize("num_variants", (1, 5))
def test_too_few_seeds_are_those_that_no_outcome_could_make_significant(num_seeds, num_variants):
    """The most extreme outcome, every variant ahead in every seed, is called better or the seeds are too few."""
    base = dict.fromkeys(range(num_seeds), 0.5)
    results = {"none": base, **{f"v{n}": plus(base, *[0.1 + n / 100] * num_seeds) for n in range(num_variants)}}
    verdicts = {row.verdict for row in compare(results, "none")[1:]}
    assert verdicts == {"better" if num_seeds >= {1: 6, 5: 8}[num_variants] else "too few seeds to tell"}


def test_one_seed_certifies_nothing():
    row = compare({"none": BASE, "gc": {0: 0.99}}, "none")[1]
    assert (row.verdict, row.spread) == ("too few seeds to tell", None)
    assert row.paired == (1, pytest.approx(0.29), None, 1.0)


def test_noise_is_rarely_called_significant():
    """Five variants that are the baseline: in 200 sweeps at most about 5 % have any significant difference."""
    draw = random.Random(0)
    wrong = 0
    for _ in range(200):
        results = {v: {seed: draw.gauss(0.75, 0.005) for seed in range(9)} for v in ("none", "a", "b", "c", "d", "e")}
        wrong += any(row.verdict in ("better", "worse") for row in compare(results, "none"))
    assert wrong <= 16


def test_a_real_difference_is_found():
    draw = random.Random(1)
    results = {v: {seed: draw.gauss(m, 0.005) for seed in range(6)} for v, m in (("none", 0.75), ("gc", 0.78))}
    assert compare(results, "none")[1].verdict == "better"


def test_variants_without_results_are_left_out():
    rows = compare({"none": BASE, "gc": {}}, "none")
    assert [row.variant for row in rows] == ["none"]
    assert compare({"none": {}, "gc": BASE}, "none")[0].verdict == "too few seeds to tell"
