"""How far off an accuracy may be: its 95 % interval over the draw of the test videos (Wilson, JASA 22:209, 1927).

Unlike p +- 1.96 standard errors it stays inside [0, 1] and is not empty where every video is right.
"""

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
