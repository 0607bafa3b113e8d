"""Shared fixtures. Real videos are found through the environment variable GCVIDEO_TEST_DATA."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from gcvideo.dataset_tools.h264 import write_video
from gcvideo.dataset_tools.synthetic import write_dataset

settings.register_profile(
    "quick",
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
settings.load_profile("quick")

# Two processes of two threads on two cores take many times as long.
torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def real_videos() -> Path:
    """Folder of real videos: ucf6/, clips/."""
    folder = os.environ.get("GCVIDEO_TEST_DATA")
    if not folder:
        pytest.skip("GCVIDEO_TEST_DATA is not set: tests on real videos are skipped")
    return Path(folder)


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory) -> Path:
    """Manifest of a small synthetic data set: 12 training, 6 validation, 6 test videos of 20 frames."""
    return write_dataset(
        tmp_path_factory.mktemp("synthetic"), {"train": 12, "val": 6, "test": 6}, num_frames=20, workers=2
    )


BITS = 8


def numbered_frames(num_frames: int, height: int = 64, width: int = 80) -> np.ndarray:
    """Frames [T, H, W, 3] that show their own number as 8 white or black bars, most significant first."""
    frames = np.zeros((num_frames, height, width, 3), np.uint8)
    for number in range(num_frames):
        for bit in range(BITS):
            if number >> (BITS - 1 - bit) & 1:
                frames[number, :, bit * width // BITS : (bit + 1) * width // BITS] = 255
    return frames


def read_numbers(frames: torch.Tensor) -> list[int]:
    """Inverse of `numbered_frames`, for [N, H, W, 3]."""
    height, width = frames.shape[1:3]
    centres = [(2 * bit + 1) * width // (2 * BITS) for bit in range(BITS)]
    bits = (frames[:, height // 2, centres].float().mean(dim=-1) > 127).long()
    return (bits * 2 ** torch.arange(BITS - 1, -1, -1)).sum(dim=1).tolist()


@pytest.fixture
def numbered_clip(tmp_path):
    """Writes a clip whose frames carry their number; returns its path."""

    def write(num_frames: int, name: str = "numbered.mp4", **shape: int) -> str:
        path = tmp_path / name
        write_video(path, numbered_frames(num_frames, **shape))
        return str(path)

    return write
