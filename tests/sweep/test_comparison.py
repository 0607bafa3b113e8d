"""Statistics of a sweep: exact values, independent formulas, and what the verdict may say."""

import math
import random
from statistics import mean, stdev

import pytest

from gcvideo.sweep.comparison import compare, holm, markdown

BASE = {0: 0.70, 1: 0.74, 2: 0.72, 3: 0.71, 4: 0.73}


def test_paired_difference_and_interval():
    """By hand: differences 1..5 points have mean 3, standard error sqrt(2.5 / 5), and t(0.975, 4) = 2.7764."""
    better = {seed: value + (seed + 1) / 100 for seed, value in BASE.items()}
    base, row = compare({"none": BASE, "gc": better}, "none")
    assert base.verdict == "baseline"
    assert base.difference is None
    assert row.mean == pytest.approx(mean(better.values()))
    assert row.spread == pytest.approx(stdev(better.values()))
    error = math.sqrt(2.5 / 5) / 100
    assert row.difference == pytest.approx(0.03)
    assert row.low == pytest.approx(0.03 - 2.7764451 * error, rel=1e-6)
    assert row.high == pytest.approx(0.03 + 2.7764451 * error, rel=1e-6)
    assert row.verdict == "better"
    assert compare({"none": better, "gc": BASE}, "none")[1].verdict == "worse"


def test_pairs_are_by_seed_whatever_the_order():
    shuffled = {4: 0.74, 2: 0.73, 0: 0.71, 3: 0.721, 1: 0.75}
    row = compare({"none": BASE, "gc": shuffled}, "none")[1]
    assert row.difference == pytest.approx(0.0102)
    assert row.low > 0.009
    assert row.verdict == "better"


def test_differences_without_spread_certify_nothing():
    """Two or three seeds on a few hundred videos may well differ by the same number."""
    same = {seed: value + 0.05 for seed, value in BASE.items()}
    row = compare({"none": BASE, "gc": same}, "none")[1]
    assert (row.p, row.verdict) == (1.0, "not significant")
    two = compare({"none": {0: 0.5, 1: 0.6}, "gc": {0: 0.55, 1: 0.66}}, "none")[1]
    assert (two.p, two.verdict) == (None, "too few seeds to tell")


def test_only_shared_seeds_are_compared():
    row = compare({"none": BASE, "gc": {0: 0.80, 1: 0.86, 3: 0.82, 9: 0.10}}, "none")[1]
    assert row.difference == pytest.approx(0.11)


def test_one_seed_certifies_nothing():
    row = compare({"none": BASE, "gc": {0: 0.99}}, "none")[1]
    assert row.verdict == "too few seeds to tell"
    assert row.spread is None
    assert row.p is None


def test_equal_results_do_not_differ():
    row = compare({"none": BASE, "gc": dict(BASE)}, "none")[1]
    assert (row.difference, row.p, row.verdict) == (0, 1, "not significant")


def test_noise_is_rarely_called_significant():
    """Five variants that are the baseline: in 200 sweeps at most about 5 % have any significant difference."""
    draw = random.Random(0)
    wrong = 0
    for _ in range(200):
        results = {v: {seed: draw.gauss(0.75, 0.005) for seed in range(5)} for v in ("none", "a", "b", "c", "d", "e")}
        wrong += any(row.verdict in ("better", "worse") for row in compare(results, "none"))
    assert wrong <= 20


def test_a_real_difference_is_found():
    draw = random.Random(1)
    results = {v: {seed: draw.gauss(m, 0.005) for seed in range(6)} for v, m in (("none", 0.75), ("gc", 0.78))}
    assert compare(results, "none")[1].verdict == "better"


def test_holm():
    """Holm's step-down by hand: 3 x 0.01, 2 x 0.03 = 0.06, and 0.04 is not below the one before it."""
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == {"a": pytest.approx(0.03), "c": 0.06, "b": 0.06}
    assert holm({"a": 0.9, "b": 0.8}) == {"b": 1.0, "a": 1.0}


def test_variants_without_results_are_left_out():
    rows = compare({"none": BASE, "gc": {}}, "none")
    assert [row.variant for row in rows] == ["none"]
    assert compare({"none": {}, "gc": BASE}, "none")[0].verdict == "too few seeds to tell"


def test_markdown_tells_significance():
    better = {seed: value + 0.05 + seed / 1000 for seed, value in BASE.items()}
    text = markdown(compare({"none": BASE, "gc": better, "se": {0: 0.7}}, "none"), "video_top1", "none", 5)
    lines = text.splitlines()
    assert lines[2] == "| none | 5 | 0.720 | 0.016 |  |  |  | baseline |"
    assert lines[3].startswith("| gc | 5 | 0.772 | 0.016 | +0.052 | +0.050 to +0.054 | < 0.001 | better |")
    assert lines[4].startswith("| se | 1 of 5 |")
    assert lines[4].endswith("| too few seeds to tell |")
    assert "corrected for 1 comparisons (Holm)" in lines[-1]
