"""How far off an accuracy may be: its 95 % interval over the draw of the test videos (Wilson, JASA 22:209, 1927).

Unlike p +- 1.96 standard errors it stays inside [0, 1] and is not empty where every video is right.
"""

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist
from typing import NamedTuple

CONFIDENCE = 0.95
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)  # 1.96


class Interval(NamedTuple):
    """Bounds of an interval."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.3f} to {self.high:.3f}"


def wilson(accuracy: float, num_videos: int) -> Interval:
    """The true accuracies p that are at most 1.96 standard errors sqrt(p (1 - p) / N) away from the measured one.

    Args:
        accuracy: share of right videos. It may also be the mean over videos of a share, such as that of the right views
            of a video or of the seeds that are right on it. Views (seeds) of a video are not independent, so N stays
            the number of videos: right if they agree with each other, else the interval is wider than necessary.
        num_videos: N, at least 1.
    """
    shrink = 1 + _Z**2 / num_videos
    center = (accuracy + _Z**2 / (2 * num_videos)) / shrink
    half = _Z * sqrt(accuracy * (1 - accuracy) / num_videos + _Z**2 / (4 * num_videos**2)) / shrink
    return Interval(max(0.0, center - half), min(1.0, center + half))  # float noise at accuracies of 0 and 1


def mean_interval(shares: Sequence[tuple[float, int]]) -> Interval:
    """Interval of the mean of independent accuracies, such as those of the classes, each with equal weight.

    The mean +- 1.96 standard errors. For those, two right and two wrong videos are added to each class (Agresti and
    Coull, The American Statistician 52:119, 1998): a class of few videos that are all right is not certain. With few
    videos in a class the interval is wider than necessary. Adding up Wilson's intervals is not: it covers 83 % with 40
    classes of 5 videos.

    Args:
        shares: (accuracy, number of its videos) of at least one class, each with at least one video.
    """
    mean = sum(share for share, _ in shares) / len(shares)
    variance = 0.0
    for share, videos in shares:
        smoothed = (share * videos + 2) / (videos + 4)
        variance += smoothed * (1 - smoothed) / videos
    half = _Z * sqrt(variance) / len(shares)
    return Interval(max(0.0, mean - half), min(1.0, mean + half))


def paired_interval(first_only: int, second_only: int, num_videos: int) -> Interval:
    """Interval of the difference of two accuracies on the same videos (Agresti and Min, Statistics in Medicine 24:729).

    The usual interval of the difference, after half a video has been added to each of the four cells: both right, only
    the first, only the second, both wrong.

    Args:
        first_only, second_only: numbers of videos that only one of the two has right.
        num_videos: N, at least 1.
    """
    first, second, total = first_only + 0.5, second_only + 0.5, num_videos + 2
    difference = (first - second) / total
    half = _Z * sqrt(first + second - (first - second) ** 2 / total) / total
    return Interval(max(-1.0, difference - half), min(1.0, difference + half))
