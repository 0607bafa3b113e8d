"""Videos read in a stream from shards, on a disk or behind HTTP, for clusters without fast random access.

The manifest of a set of shards (`gcvideo prepare --shards`) lists the videos in the order in which they lie in the
tars. So every rank and worker knows beforehand which run of videos it reads: an epoch has every video exactly once (in
training, up to the rest that fills no batch on every rank), nothing is counted twice, and all ranks have equally many
batches. An item is the one that `TrainDataset` or `EvalDataset` gives for the same (seed, epoch, index) from files;
only the order in training differs: shards are permuted, and videos in blocks of `block`.

Letters: W workers, B videos of a batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from gcvideo.data.batch import Batch, collate
from gcvideo.data.dataset import EvalDataset, TrainDataset
from gcvideo.data.manifest import Videos
from gcvideo.data.sampling import mix_seed
from gcvideo.data.shards import read_run


@dataclass(frozen=True)
class Share:
    """What one rank reads.

    Args:
        rank, world_size: of the process.
        batch_size: B.
        batches: of each rank and epoch; training only.
        epoch, first_batch: where the first pass begins, after an interruption.
        block: videos whose contents are held in memory and permuted, in each worker.
    """

    rank: int
    world_size: int
    batch_size: int
    batches: int = 0
    epoch: int = 0
    first_batch: int = 0
    block: int = 256


class TrainStream(IterableDataset[Batch]):
    """Training batches; a pass is an epoch.

    Batch i comes from worker i mod W, whose videos are one run of the permuted shards.

    Args:
        dataset: decodes and replaces broken videos, by others of the same block.
        videos: its videos, and the shards that they lie in.
        share: what this rank reads.
    """

    def __init__(self, dataset: TrainDataset, videos: Videos, share: Share):
        self.dataset, self.videos, self.share = dataset, videos, share
        self._passes = 0

    def __len__(self) -> int:
        return self.share.batches

    def __iter__(self) -> Iterator[Batch]:
        share = self.share
        epoch, skip = share.epoch + self._passes, share.first_batch if self._passes == 0 else 0
        self._passes += 1
        worker, workers = _worker()
        role = (worker + skip) % workers  # so that worker 0 gives the first batch
        mine = [len(range(other, share.batches, workers)) * share.batch_size for other in range(workers)]
        begin = (share.rank * share.batches * share.batch_size) + sum(mine[:role])
        left_out = len(range(role, skip, workers)) * share.batch_size
        indices = self._shuffled(epoch, role, begin, begin + mine[role], left_out)
        for _ in range((mine[role] - left_out) // share.batch_size):
            batch = collate([self.dataset.item(epoch, *next(indices)) for _ in range(share.batch_size)])
            assert batch is not None
            yield batch

    def _shuffled(
        self, epoch: int, role: int, begin: int, end: int, left_out: int
    ) -> Iterator[tuple[int, dict[int, bytes]]]:
        """(index, contents of its block) of the videos at places [begin, end), without the first `left_out`."""
        seed = mix_seed(self.dataset.seed, epoch)
        order = torch.randperm(len(self.videos.shards), generator=torch.Generator().manual_seed(seed))
        shards = [self.videos.shards[number] for number in order.tolist()]
        for number, first in enumerate(range(begin, end, self.share.block)):
            last = min(first + self.share.block, end)
            if left_out >= last - first:
                left_out -= last - first
                continue
            block = dict(read_run(self.videos.root, shards, first, last))
            block_seed = mix_seed(self.dataset.seed, epoch, self.share.rank, role, number)
            shuffled = torch.randperm(len(block), generator=torch.Generator().manual_seed(block_seed))
            indices = list(block)
            for place in shuffled.tolist()[left_out:]:
                yield indices[place], block
            left_out = 0


class EvalStream(IterableDataset[Batch]):
    """Every video exactly once over all ranks and workers, in the order of the shards.

    Args:
        dataset: decodes.
        videos: its videos, and the shards that they lie in.
        share: what this rank reads.
        workers: W, at least 1.
    """

    def __init__(self, dataset: EvalDataset, videos: Videos, share: Share, workers: int):
        self.dataset, self.videos, self.share, self.workers = dataset, videos, share, workers

    def __len__(self) -> int:
        runs = (self._run(worker, self.workers) for worker in range(self.workers))
        return sum(-(-(end - begin) // self.share.batch_size) for begin, end in runs)

    def _run(self, worker: int, workers: int) -> tuple[int, int]:
        part, parts = self.share.rank * workers + worker, self.share.world_size * workers
        return len(self.dataset) * part // parts, len(self.dataset) * (part + 1) // parts

    def __iter__(self) -> Iterator[Any]:
        run = read_run(self.videos.root, self.videos.shards, *self._run(*_worker()))
        while pairs := list(islice(run, self.share.batch_size)):
            yield collate([self.dataset.item(index, data) for index, data in pairs])


def _worker() -> tuple[int, int]:
    """Number of this worker, and W."""
    info = get_worker_info()
    return (0, 1) if info is None else (info.id, info.num_workers)
