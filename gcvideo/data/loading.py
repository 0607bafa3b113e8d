"""How videos become batches: settings, and the loader of what one rank reads."""

import gc
import math
import signal
import threading
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler

from gcvideo.data.batch import collate
from gcvideo.data.dataset import EvalDataset, TrainDataset
from gcvideo.data.loader import WatchedLoader
from gcvideo.data.samplers import EvalSampler, Share, TrainSampler
from gcvideo.data.shards.reading import ShardedVideos
from gcvideo.data.shards.streams import stream_of
from gcvideo.processes import signal_at_end_of_parent

VideoDataset = TrainDataset | EvalDataset


@dataclass(frozen=True)
class Loading:
    """How videos are loaded, and what happens with broken ones.

    Args:
        eval_batch_size: videos for each device in validation; a test batch has one video, all of its views.
        timeout_s: seconds to wait for a batch before the run stops and names the files that were being read; 0 waits
            for ever. Without workers only the command line can stop: it ends at once.
        max_broken: fraction of the videos of a `fit` that may be broken before it stops. Training replaces them;
            validation skips them, at least one.
        skip_broken: leave any number of broken videos out of validation and test instead of stopping; the report says
            how many.
        outside_root: allow paths and links in the manifest that lead out of `root`.

    Raises:
        ValueError: a value out of range.
    """

    eval_batch_size: int = 8
    timeout_s: float = 120.0
    max_broken: float = 0.01
    skip_broken: bool = False
    outside_root: bool = False

    def __post_init__(self) -> None:
        if self.eval_batch_size < 1:
            raise ValueError(f"expected loading.eval_batch_size >= 1, got {self.eval_batch_size}")
        if not 0 <= self.timeout_s < math.inf:  # False for nan, too
            raise ValueError(f"expected a finite loading.timeout_s >= 0, got {self.timeout_s}")
        if not 0 <= self.max_broken < 1:
            raise ValueError(f"expected loading.max_broken in [0, 1), got {self.max_broken}")


def make_loader(
    dataset: VideoDataset, share: Share, loading: Loading, num_workers: int, seed: int, persistent: bool
) -> DataLoader[Any]:
    """A loader of what one rank reads.

    Args:
        dataset: its videos.
        share: which of them.
        loading: time-out.
        num_workers: decoding processes, at most one for each video.
        seed: of the loader itself.
        persistent: keep the processes for the next pass; restarted for each, they would take seconds.
    """
    workers = min(num_workers, len(dataset))  # one without videos would only cost its start
    options: dict[str, Any] = {
        "num_workers": workers,
        "pin_memory": torch.cuda.is_available(),
        "limit_s": loading.timeout_s,
        "readings": dataset.readings,
        "worker_init_fn": start_worker,
        "generator": torch.Generator().manual_seed(seed),  # else iterating draws from the global stream
        "persistent_workers": workers > 0 and persistent,
    }
    if isinstance(dataset.videos, ShardedVideos):
        # A sampler's order would seek back and forth in the tars: here the workers decide what they read.
        # batch_size=None: streams yield whole batches.
        return WatchedLoader(stream_of(dataset, dataset.videos, share, workers), batch_size=None, **options)
    return WatchedLoader(
        dataset,
        batch_size=share.batch_size,
        sampler=_sampler(dataset, share),
        collate_fn=collate,
        drop_last=isinstance(dataset, TrainDataset),  # whole batches, as `Share.batches` counts them
        **options,
    )


def _sampler(dataset: VideoDataset, share: Share) -> Sampler[Any]:
    if isinstance(dataset, EvalDataset):
        return EvalSampler(len(dataset), share.rank, share.world_size, dataset.done)
    return TrainSampler(len(dataset), dataset.seed, share.rank, share.world_size, share.position)


def start_worker(worker: int) -> None:
    """What every loader process does first; the `worker_init_fn` of a DataLoader."""
    torch.set_num_threads(1)
    # What is in memory now will stay. A garbage collection that visits it takes 0.1 s, and decoding sets off many.
    gc.freeze()
    # A terminal and a cluster send these to all processes of a run. It saves first, and still needs its batches.
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(signum, signal.SIG_IGN)
    # A worker that is stuck would outlive the run. The signal comes when the thread ends that started the worker,
    # which is no reason to die unless it is the main one.
    if threading.current_thread().name == "MainThread":
        signal_at_end_of_parent(signal.SIGKILL)
