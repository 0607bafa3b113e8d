"""Which rank reads which video, in which order."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from torch.utils.data import Sampler

from gcvideo.data.position import Position
from gcvideo.data.sampling import mix_seed


@dataclass(frozen=True)
class Share:
    """What one rank of a distributed run loads.

    Args:
        rank, world_size: of the process.
        batch_size: videos of a batch.
        batches: of each rank and epoch; training only.
        position: where the first pass begins; not the start after an interruption.
        repeats: every pass is the same epoch, as Lightning's `overfit_batches` requires.
    """

    rank: int
    world_size: int
    batch_size: int
    batches: int = 0
    position: Position = Position()
    repeats: bool = False

    @property
    def first_batch(self) -> int:
        """Batches of the first pass that are over."""
        return self.position.first_batch(self.batches, self.world_size * self.batch_size)


class Passes:
    """Which pass over the training videos begins: 0, 1, 2, ...

    A loader tells it, because Lightning may begin a pass and drop it before its first batch: that pass is repeated. It
    does so where a run resumes at the end of an epoch. Without a loader each pass is the next.

    The number is in shared memory: streams read it in their worker processes.
    """

    def __init__(self) -> None:
        self._told = torch.tensor([-1]).share_memory_()
        self._next = 0

    def tell(self, number: int) -> None:
        """Say which pass is the next to begin."""
        self._told[0] = number

    def begin(self) -> int:
        """Number of the pass that begins now."""
        told = int(self._told)
        number = told if told >= 0 else self._next
        self._next = number + 1
        return number


class TrainSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, index): each epoch a permutation that depends only on (seed, epoch), distributed over the ranks.

    With 7 videos on 2 ranks:

        # permutation  4 0 6 1 5 2 3
        # rank 0       4   6   5
        # rank 1         0   1   2       (3 is left out: every rank has equally many items)

    Each new pass is the next epoch. Lightning's `set_epoch` is not used: it arrives one pass late in a resumed run.

    Args:
        num_videos: length of the data set.
        seed: of the order.
        rank, world_size: of this process.
        start: where the first pass begins. Videos that were used before an interruption are skipped, on however many
            ranks that was:

        # permutation  4 0 6 1 5 2 3, of which 2 are used
        # rank 0           6   5   3
        # rank 1             1   2
    """

    def __init__(
        self,
        num_videos: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        start: Position = Position(),
    ):
        if num_videos < world_size:
            raise ValueError(
                f"expected at least one training video for each of {world_size} processes, got {num_videos}"
            )
        self.num_videos, self.seed = num_videos, seed
        self.rank, self.world_size = rank, world_size
        self.start, self.passes = start, Passes()

    def __len__(self) -> int:
        return self.num_videos // self.world_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        number = self.passes.begin()
        epoch, skip = self.start.epoch + number, self.start.videos if number == 0 else 0
        generator = torch.Generator().manual_seed(mix_seed(self.seed, epoch))
        order = torch.randperm(self.num_videos, generator=generator)
        left = order[skip:]
        # The slice drops the rest that not every rank gets one of.
        mine = left[self.rank :: self.world_size][: len(left) // self.world_size]
        return iter([(epoch, index) for index in mine.tolist()])


class EvalSampler(Sampler[int | None]):
    """Yields indices: every video exactly once over all ranks, without padding, so ranks may differ by one video.

    PyTorch's DistributedSampler repeats videos until all ranks have equally many, and an accuracy counts them twice.

    A rank without videos gets one None: Lightning leaves out an evaluation without batches, and with it the sums over
    all ranks, for which the other ranks would wait for ever.

    Args:
        num_videos: length of the data set.
        rank, world_size: of this process.
        done: videos to leave out, because they were evaluated before an interruption.
    """

    def __init__(self, num_videos: int, rank: int = 0, world_size: int = 1, done: Collection[int] = ()):
        self.world_size = world_size
        # 7 videos on 2 ranks:  rank 0 reads 0 2 4 6,  rank 1 reads 1 3 5
        due = [index for index in range(num_videos) if index not in done]
        self.indices: list[int | None] = [*due[rank::world_size]] or [None]

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int | None]:
        return iter(self.indices)
