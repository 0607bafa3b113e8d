"""The videos: the manifest against the classes, and a sample that is decoded."""

import time
from collections.abc import Iterator

import torch

from gcvideo.data.datamodule import VideoDataModule
from gcvideo.data.dataset import EvalDataset, TrainDataset
from gcvideo.data.decode import VideoDecodeError
from gcvideo.doctor.finding import Finding
from gcvideo.training.metrics import class_counts

SAMPLE = 16
"""Videos of each split that are decoded."""


def splits(data: VideoDataModule) -> Iterator[Finding]:
    """Numbers of videos, and classes that have none. `data` is set up for "fit"."""
    counts = {}
    for stage, dataset in data.datasets.items():
        counts[stage] = class_counts(dataset.videos.labels, len(data.class_names))
        empty = [data.class_names[index] for index in (counts[stage] == 0).nonzero().flatten().tolist()]
        text = f"{len(dataset)} videos of {len(data.class_names) - len(empty)} classes"
        if empty:
            text += f"; none of {', '.join(empty[:5])}{' ...' if len(empty) > 5 else ''}"
        yield Finding("warning" if empty and stage == "fit" else "ok", f"videos ({stage})", text)
    smallest, largest = int(counts["fit"].min()), int(counts["fit"].max())
    if smallest and largest > 10 * smallest:
        yield Finding("warning", "balance", f"the largest class has {largest} training videos, the smallest {smallest}")


def decoding(data: VideoDataModule) -> Iterator[Finding]:
    """Decode a sample of each split, spread over the manifest."""
    for stage, dataset in data.datasets.items():
        indices = torch.linspace(0, len(dataset) - 1, min(SAMPLE, len(dataset))).long().tolist()
        broken = [error for index in indices if (error := _broken(dataset, index))]
        text = f"{len(indices) - len(broken)} of {len(indices)} videos ({stage}) decode with {data.decoder}"
        yield Finding("problem" if broken else "ok", "decoder", f"{text}{': ' + broken[0] if broken else ''}")


def clip_seconds(data: VideoDataModule) -> float:
    """Seconds of one core for a training clip; the median of a sample."""
    dataset = data.datasets["fit"]
    assert isinstance(dataset, TrainDataset)
    seconds = []
    for index in torch.linspace(0, len(dataset) - 1, min(SAMPLE, len(dataset))).long().tolist():
        started = time.perf_counter()
        dataset.item(0, index, None)
        seconds.append(time.perf_counter() - started)
    return sorted(seconds)[len(seconds) // 2]


def _broken(dataset: TrainDataset | EvalDataset, index: int) -> str:
    """Why a video can't be decoded, or ""."""
    try:
        reader = dataset._open(index, None)
        reader.read(torch.tensor([0, reader.num_frames // 2, reader.num_frames - 1]).unique())
    except VideoDecodeError as error:
        return str(error)
    return ""
