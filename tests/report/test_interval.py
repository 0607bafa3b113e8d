"""Wilson's interval against scipy's, and its law; that of clips against simulation."""

import math
import random

import numpy as np
import pytest
from scipy import stats

from gcvideo.report.interval import mean_interval, wilson


@pytest.mark.parametrize("right, total", ((0, 1), (1, 1), (0, 30), (220, 300), (299, 300), (14_850, 19_796)))
def test_equals_scipy(right, total):
    reference = stats.binomtest(right, total).proportion_ci(0.95, method="wilson")
    assert wilson(right / total, total) == pytest.approx((reference.low, reference.high), abs=1e-12)


def test_bounds_are_standard_errors_away():
    """|accuracy - p| = 1.96 sqrt(p (1 - p) / N) at both bounds p."""
    for p in wilson(0.7, 50):
        assert abs(0.7 - p) == pytest.approx(1.959964 * math.sqrt(p * (1 - p) / 50))


def test_all_right_is_not_certain():
    assert wilson(1.0, 300) == pytest.approx((0.98736, 1.0), abs=1e-5)
    assert wilson(0.0, 300).low == 0.0
    assert str(wilson(220 / 300, 300)) == "0.681 to 0.780"


@pytest.mark.parametrize("agreement", (0.0, 0.8, 1.0))
def test_clips_of_a_video_count_once(agreement):
    """40 videos of 10 views, of which a share copies the video's first view: the truth is covered 95 % of the time."""
    draw = random.Random(0)
    covered = 0
    for _ in range(400):
        shares = []
        for _ in range(40):
            first = draw.random() < 0.7
            views = [first if draw.random() < agreement else draw.random() < 0.7 for _ in range(10)]
            shares.append(sum(views) / 10)
        low, high = wilson(sum(shares) / 40, 40)
        covered += low <= 0.7 <= high
    assert covered >= 0.93 * 400


def test_the_interval_of_one_class_is_about_its_own():
    assert mean_interval([(0.7, 500)]) == pytest.approx(wilson(0.7, 500), abs=0.002)
    assert mean_interval([(1.0, 300)]) == pytest.approx(wilson(1.0, 300), abs=0.004)


@pytest.mark.parametrize("accuracies, videos", (((0.5, 0.9), 20), ((0.95, 0.99, 0.3, 0.7, 0.8), 10), ((0.9,) * 40, 5)))
def test_the_mean_of_the_classes_is_covered(accuracies, videos):
    """In 95 % of the draws of test videos."""
    draw = np.random.default_rng(0)
    truth = sum(accuracies) / len(accuracies)
    covered = 0
    for _ in range(500):
        low, high = mean_interval([(draw.binomial(videos, p) / videos, videos) for p in accuracies])
        covered += low <= truth <= high
    assert covered >= 0.93 * 500
