"""Which rank reads which video, in which order."""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from gcvideo.data.sampling import mix_seed


class TrainSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, index): each epoch a permutation that depends on (seed, epoch) alone, dealt out to the ranks.

    The epoch advances by itself whenever a new pass is begun: Lightning's `set_epoch` arrives one pass late after a
    resume. Every rank gets the same number of items; the rest of the permutation (less than `world_size`) is left out.

    Args:
        num_videos: length of the data set.
        seed: of the order.
        rank, world_size: of this process.
        start_epoch: epoch of the first pass.
        start_item: items of this rank to leave out of the first pass, because they were seen before an interruption.
    """

    def __init__(
        self,
        num_videos: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        start_epoch: int = 0,
        start_item: int = 0,
    ):
        if num_videos < world_size:
            raise ValueError(f"{num_videos} training videos are too few for {world_size} processes")
        self.num_videos, self.seed = num_videos, seed
        self.rank, self.world_size = rank, world_size
        self.next_epoch, self.skip = start_epoch, start_item

    def __len__(self) -> int:
        return self.num_videos // self.world_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch, skip = self.next_epoch, self.skip
        self.next_epoch, self.skip = epoch + 1, 0
        generator = torch.Generator().manual_seed(mix_seed(self.seed, epoch))
        order = torch.randperm(self.num_videos, generator=generator)
        mine = order[self.rank :: self.world_size][: len(self)][skip:]
        return iter([(epoch, index) for index in mine.tolist()])


class EvalSampler(Sampler[int]):
    """Every video exactly once over all ranks, without padding: ranks may differ by one video."""

    def __init__(self, num_videos: int, rank: int = 0, world_size: int = 1):
        self.indices = range(rank, num_videos, world_size)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)
