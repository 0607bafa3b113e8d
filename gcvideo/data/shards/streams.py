"""Batches from shards, read front to back.

The manifest of a set of shards lists the videos in the order in which they lie in the tars. So every rank and worker
computes beforehand which run of videos it reads: an epoch has every video exactly once (in training, except for a rest
that does not fill a batch on every rank), nothing is counted twice, and all ranks have equally many batches. An item
is the same that `TrainDataset` or `EvalDataset` returns for its (seed, epoch, index) from files; only the order in
training differs: shards are permuted, and videos within blocks of `block`.

A position is an index into an epoch's order of videos: the permuted shards laid end to end.

Letters: W workers, B videos of a batch.
"""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import torch
from torch.utils.data import IterableDataset, get_worker_info

from gcvideo.data.batch import Batch, collate
from gcvideo.data.dataset import EvalDataset, TrainDataset
from gcvideo.data.samplers import Passes, Share
from gcvideo.data.sampling import mix_seed
from gcvideo.data.shards.reading import Shard, ShardedVideos, read_run


class Run(NamedTuple):
    """What one worker reads in a training epoch.

    Attributes:
        role: number of the worker whose batches these are.
        begin, end: positions [begin, end).
        skip: videos at the beginning that were trained on before an interruption.
    """

    role: int
    begin: int
    end: int
    skip: int


def training_run(share: Share, first_batch: int, worker: int, workers: int) -> Run:
    """The run of one of W workers.

    A DataLoader takes batches from its workers in turn, so batch i is made by worker i mod W. Each worker reads
    consecutive videos, worker 0 the first ones. With 5 batches of 3 videos and W = 2, on rank 0:

        # worker 0:  batches 0 2 4   positions 0 .. 8
        # worker 1:  batches 1 3     positions 9 .. 14

    When an epoch is resumed at batch 3, the DataLoader begins with worker 0 again, but batch 3 is in the run of worker
    1. So the workers exchange their roles, and each skips what its role has made already:

        # worker 0 has role 1:  skips batch 1, makes 3     positions 12 .. 14
        # worker 1 has role 0:  skips 0 and 2, makes 4     positions 6 .. 8

    Args:
        share: what this rank reads.
        first_batch: batches of the epoch that this rank has made already.
        worker, workers: number of this worker, and W.
    """
    role = (worker + first_batch) % workers
    # Batches w, w + W, w + 2 W, ... are those of worker w; len(range(w, n, W)) counts the ones before batch n.
    batches_of = [len(range(other, share.batches, workers)) for other in range(workers)]
    begin_of_rank = share.rank * share.batches * share.batch_size
    begin = begin_of_rank + sum(batches_of[:role]) * share.batch_size
    end = begin + batches_of[role] * share.batch_size
    batches_made = len(range(role, first_batch, workers))
    return Run(role, begin, end, batches_made * share.batch_size)


class TrainStream(IterableDataset[Batch]):
    """Training batches; a pass is an epoch, unless the share repeats.

    Args:
        dataset: decodes, and replaces broken videos by others of the same block.
        videos: its videos.
        share: what this rank reads.
        block: videos whose contents are in memory and permuted, in each worker.
    """

    def __init__(self, dataset: TrainDataset, videos: ShardedVideos, share: Share, block: int = 256):
        self.dataset, self.videos, self.share, self.block = dataset, videos, share, block
        self.passes = Passes()

    def __len__(self) -> int:
        return self.share.batches

    def __iter__(self) -> Iterator[Batch]:
        number = self.passes.begin()
        epoch = self.share.position.epoch + (0 if self.share.repeats else number)
        first_batch = self.share.first_batch if number == 0 else 0
        run = training_run(self.share, first_batch, *_worker())
        videos = self._shuffled(epoch, run)
        num_batches = (run.end - run.begin - run.skip) // self.share.batch_size
        for _ in range(num_batches):
            items = [self.dataset.item(epoch, index, block) for index, block in islice(videos, self.share.batch_size)]
            batch = collate(items)
            assert batch is not None  # a training item is never skipped
            yield batch

    def _shuffled(self, epoch: int, run: Run) -> Iterator[tuple[int, dict[int, bytes]]]:
        """(index, contents of its whole block by index) of each video of a run."""
        shards = self._permuted_shards(epoch)
        skip = run.skip
        for number, begin in enumerate(range(run.begin, run.end, self.block)):
            end = min(begin + self.block, run.end)
            if skip >= end - begin:  # a block that was used up before the interruption is not even read
                skip -= end - begin
                continue
            block = dict(read_run(self.videos.root, shards, begin, end, self.dataset.readings.begin))
            indices = list(block)
            for position in self._block_order(epoch, run.role, number, len(block))[skip:]:
                yield indices[position], block
            skip = 0

    def _permuted_shards(self, epoch: int) -> list[Shard]:
        """The same on all ranks and workers, so that their runs do not overlap."""
        generator = torch.Generator().manual_seed(mix_seed(self.dataset.seed, epoch))
        order = torch.randperm(len(self.videos.shards), generator=generator)
        return [self.videos.shards[number] for number in order.tolist()]

    def _block_order(self, epoch: int, role: int, number: int, size: int) -> list[int]:
        # By role and not by worker: in a resumed epoch another worker continues the block in the same order.
        seed = mix_seed(self.dataset.seed, epoch, self.share.rank, role, number)
        return torch.randperm(size, generator=torch.Generator().manual_seed(seed)).tolist()


class EvalStream(IterableDataset[Batch | None]):
    """Every video exactly once over all ranks and workers, in the order of the shards; None where all were skipped.

    A rank without videos yields one None; see `EvalSampler`.

    Args:
        dataset: decodes.
        videos: its videos.
        share: what this rank reads.
        workers: W, at least 1.
    """

    def __init__(self, dataset: EvalDataset, videos: ShardedVideos, share: Share, workers: int):
        self.dataset, self.videos, self.share, self.workers = dataset, videos, share, workers
        # Shards are read in the order of the manifest: here a position is an index.
        self._due = [index for index in range(len(dataset)) if index not in dataset.done]

    def __len__(self) -> int:
        runs = (self._run(worker, self.workers) for worker in range(self.workers))
        # No batch has videos of two workers, so each worker ends with a batch that may not be full.
        return max(sum(-(-len(run) // self.share.batch_size) for run in runs), 1)  # each rounded up

    def _run(self, worker: int, workers: int) -> list[int]:
        """Indices of a worker: the videos in as many equal parts as there are workers on all ranks."""
        # 7 videos, 3 parts:  [0, 2) [2, 4) [4, 7)
        part = self.share.rank * workers + worker
        parts = self.share.world_size * workers
        return self._due[len(self._due) * part // parts : len(self._due) * (part + 1) // parts]

    def __iter__(self) -> Iterator[Batch | None]:
        worker, workers = _worker()
        run = self._run(worker, workers)
        if worker == 0 and not any(self._run(other, workers) for other in range(workers)):
            yield None
        if not run:
            return
        due = set(run)  # the run may have gaps
        read = read_run(self.videos.root, self.videos.shards, run[0], run[-1] + 1, self.dataset.readings.begin)
        videos = ((index, data) for index, data in read if index in due)
        while chunk := list(islice(videos, self.share.batch_size)):
            yield collate([self.dataset.item(index, data) for index, data in chunk])


def stream_of(
    dataset: TrainDataset | EvalDataset, videos: ShardedVideos, share: Share, workers: int
) -> TrainStream | EvalStream:
    """The stream of a data set whose videos lie in shards, for a DataLoader of W workers with `batch_size=None`."""
    if isinstance(dataset, TrainDataset):
        return TrainStream(dataset, videos, share)
    return EvalStream(dataset, videos, share, max(workers, 1))  # 0 workers: this process reads alone


def _worker() -> tuple[int, int]:
    """Number of this worker, and W."""
    info = get_worker_info()
    return (0, 1) if info is None else (info.id, info.num_workers)
