"""Where a training is in its data, counted in videos: an interrupted epoch continues with the next one.

Letters: N training videos, G videos of a batch over all ranks.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from gcvideo.errors import UsageError


class Position(NamedTuple):
    """The next video of a training.

    Attributes:
        epoch: from 0.
        videos: how many of that epoch's order are used up.
    """

    epoch: int = 0
    videos: int = 0

    def first_batch(self, batches: int, global_batch: int) -> int:
        """Batches of its epoch that are over, of each rank.

        Rounded up: after a change of G, the rest of the epoch is whole batches of the new size, and what does not fill
        one is left out as at the end of every epoch.

        Args:
            batches: of each rank in an epoch.
            global_batch: G.
        """
        return min(-(-self.videos // global_batch), batches)

    def after(self, num_batches: int, batches: int, global_batch: int) -> "Position":
        """The position after some more batches of each rank; arguments as above.

        A position at the end of an epoch is the beginning of the next.
        """
        left = batches - self.first_batch(batches, global_batch)
        if num_batches < left:
            return Position(self.epoch, self.videos + num_batches * global_batch)
        epochs, rest = divmod(num_batches - left, batches)
        return Position(self.epoch + 1 + epochs, rest * global_batch)


@dataclass(frozen=True)
class Order:
    """What the order of the videos depends on; stored in checkpoints.

    Args:
        videos: digest of the training videos, see `Videos.digest`.
        num_videos: N.
        seed: of the order.
        readers: of videos in shards, how many ranks and loader processes read them, and clips of a batch; None for
            files, whose order depends on none of them.
    """

    videos: str
    num_videos: int
    seed: int
    readers: list[int] | None = None

    def differences(self, other: "Order") -> list[str]:
        """What differs in a later order, each with both values."""
        found = []
        if (self.videos, self.num_videos) != (other.videos, other.num_videos):
            found.append(f"the training videos ({self.num_videos} before, {other.num_videos} now)")
        if self.seed != other.seed:
            found.append(f"data.seed ({self.seed} before, {other.seed} now)")
        if self.readers != other.readers:
            found.append(f"ranks, data.num_workers and data.batch_size of shards ({self.readers}, now {other.readers})")
        return found


def dump(position: Position, order: Order) -> dict[str, Any]:
    """Both as plain values, for a checkpoint."""
    return {**position._asdict(), "order": asdict(order)}


def resume(state: Mapping[str, Any], order: Order, accept_changes: bool) -> Position:
    """Where to continue.

    Args:
        state: what `dump` returned.
        order: of the run that resumes.
        accept_changes: begin the interrupted epoch anew if its order is another one.

    Raises:
        UsageError: the order is another one, so that videos would be skipped or repeated; or `state` is malformed.
    """
    try:
        position = Position(int(state["epoch"]), int(state["videos"]))
        before = Order(**state["order"])
        changes = before.differences(order)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"the checkpoint's position in the data is malformed: {error!r}") from error
    only_readers = before.videos == order.videos and before.seed == order.seed
    if not changes or (only_readers and position.videos == 0):  # between two epochs, readers may change
        return position
    if accept_changes:
        return Position(position.epoch, 0)
    raise UsageError(
        f"the run can't be resumed exactly, because {' and '.join(changes)} differ: videos of epoch {position.epoch} "
        f"would be skipped or repeated; restore them, or begin that epoch anew with --accept_changes true"
    )
