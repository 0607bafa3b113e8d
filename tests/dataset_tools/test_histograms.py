"""check.png: drawn for any number of splits, whose names are never taken for formulas."""

import pytest

from gcvideo.dataset_tools.examine import VideoFacts
from gcvideo.dataset_tools.histograms import dataset_histograms

VIDEOS = [VideoFacts(num_frames, 25.0, 320, 240, "h264", {}, "") for num_frames in (10, 20, 30)]


@pytest.mark.parametrize("num_splits", (1, 3, 6))
def test_any_number_of_splits(num_splits):
    classes = {f"split {number}": {"a": 3, "b": 1} for number in range(num_splits)}
    assert dataset_histograms(VIDEOS, classes).startswith(b"\x89PNG")


def test_names_of_splits_are_not_formulas():
    assert dataset_histograms(VIDEOS, {r"$\nothing{$": {"a": 3}}).startswith(b"\x89PNG")
