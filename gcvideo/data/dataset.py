"""Videos as items (see `batch`): one random view for training, all fixed views for evaluation.

A file is opened once for an item. An item is a pure function of (seed, epoch, index), whatever the number of workers
and ranks. Frames have the shape [V, 3, T, S, S], but in memory the three channels of a pixel are adjacent
([V, T, S, S, 3]), as decoders return them: separating them is work for the device.

Letters: V views (temporal clips x spatial crops), T frames, S side of the square view.
"""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from gcvideo.data.batch import Item
from gcvideo.data.decode import DecoderName, Reader, VideoDecodeError, open_video
from gcvideo.data.sampling import Clip, mix_seed
from gcvideo.data.transforms import Augmentation, Views
from gcvideo.data.videos import Readings, Videos
from gcvideo.errors import GcvideoError

log = logging.getLogger(__name__)


class BrokenVideoError(GcvideoError):
    """More videos can't be decoded than the settings allow; the message is one line and names them."""


class _VideoDataset(Dataset[Item | None]):
    kind: str  # of its videos, in messages
    max_broken: float  # fraction of the videos

    def __init__(self, videos: Videos, clip: Clip, decoder: DecoderName):
        self.videos, self.clip, self.decoder = videos, clip, decoder
        # One flag for each video: 1 where decoding failed. In shared memory, so that max_broken counts what all workers
        # find, and this process can name it.
        self.broken = torch.zeros(len(videos), dtype=torch.uint8).share_memory_()
        self.allowed_broken = 0  # number of videos
        self.readings = Readings(videos)

    def __len__(self) -> int:
        return len(self.videos)

    def _open(self, index: int, data: bytes | None) -> Reader:
        """Open a video, whose contents may be in memory."""
        self.readings.begin(index)
        video = self.videos[index]
        return open_for(self.clip, video.file, self.decoder, self.videos.contents(index) if data is None else data)

    def broken_files(self) -> list[str]:
        """Files that could not be decoded so far: on this rank, and on all before their last `add_broken`."""
        return [self.videos[index].file for index in self.broken.nonzero().flatten().tolist()]

    def add_broken(self, broken: Tensor) -> None:
        """Take over the flags of all ranks [N].

        Raises:
            BrokenVideoError: together they have more broken videos than are allowed.
        """
        self.broken[broken.nonzero().flatten()] = 1  # only ones: workers may be writing others at this moment
        self._check_broken()

    def _check_broken(self, error: VideoDecodeError | None = None) -> None:
        """Refuse more broken videos than are allowed; `error` is of the last one."""
        files = self.broken_files()
        if len(files) > self.allowed_broken:
            last = "" if error is None else f"the last: {error}; "
            raise BrokenVideoError(
                f"{len(files)} of {len(self.videos)} {self.kind} videos can't be decoded, more than max_broken = "
                f"{self.max_broken:g} allows; {last}all: {', '.join(files)}"
            )


class TrainDataset(_VideoDataset):
    """Random views of each video: V = `augment.repeats`, by default 1.

    A video that can't be decoded is replaced by another, drawn from the same (seed, epoch, index); each is logged, and
    the item's index is that of the video taken.

    Args:
        videos: rows of the manifest.
        clip: which frames.
        augment: which part of the frames.
        seed: of the data order and of every view.
        max_broken: fraction of the videos that may be broken, in [0, 1); one more is an error that lists them.
        decoder: library that decodes.
    """

    kind = "training"

    def __init__(
        self,
        videos: Videos,
        clip: Clip,
        augment: Augmentation,
        seed: int,
        max_broken: float,
        decoder: DecoderName,
    ):
        super().__init__(videos, clip, decoder)
        self.augment, self.seed, self.max_broken = augment, seed, max_broken
        self.allowed_broken = math.floor(max_broken * len(videos))

    def __getitem__(self, key: tuple[int, int] | int) -> Item:
        """The item of (epoch, index); a plain index is of epoch 0.

        `TrainSampler` yields the pairs. Samplers that are not ours, such as those of Lightning's `overfit_batches` or
        of a plain DataLoader, yield indices.
        """
        epoch, index = key if isinstance(key, tuple) else (0, key)
        return self.item(epoch, index)

    def item(self, epoch: int, index: int, contents: Mapping[int, bytes] | None = None) -> Item:
        """The item of (epoch, index).

        Args:
            epoch, index: which.
            contents: index -> contents of videos in memory, among which a replacement is looked for; None reads files.
        """
        # All randomness of the item, its replacements included, comes from this generator: no worker, rank or resumed
        # run changes it.
        generator = torch.Generator().manual_seed(mix_seed(self.seed, epoch, index))
        candidates = range(len(self.videos)) if contents is None else sorted(contents)
        while True:
            try:
                view = self._read(index, generator, None if contents is None else contents[index])
                return Item(view, self.videos.target(index), index)
            except VideoDecodeError as error:
                self._count_broken(index, error)
                # Among all videos, max_broken ends the search; a block of a shard may be broken altogether.
                if contents is not None and self.broken[candidates].all():
                    raise BrokenVideoError(
                        f"none of {len(candidates)} videos in a row can be decoded: {error}"
                    ) from None
                index = candidates[int(torch.randint(len(candidates), (), generator=generator))]

    def _read(self, index: int, generator: torch.Generator, data: bytes | None) -> Tensor:
        reader = self._open(index, data)
        repeats = self.augment.repeats
        clips = [self.clip.random(reader.num_frames, reader.fps, generator) for _ in range(repeats)]  # each [1, T]
        views = []
        for frames in _read_clips(reader, torch.cat(clips)):
            # permute() moves no pixels: in memory, channels stay innermost up to the device.
            view = self.augment.view(frames.permute(0, 3, 1, 2), generator)  # [T, 3, S, S]
            views.append(view.permute(1, 0, 2, 3))  # [3, T, S, S]
        self.readings.end()
        return views[0][None] if repeats == 1 else torch.stack(views)  # [V, 3, T, S, S]

    def _count_broken(self, index: int, error: VideoDecodeError) -> None:
        if not self.broken[index]:  # else it was logged before: every epoch meets it again
            self.broken[index] = 1
            log.warning("broken video replaced by another: %s", error)
        self._check_broken(error)


class EvalDataset(_VideoDataset):
    """Fixed views of each video: V = temporal x spatial, the spatial views of a clip adjacent.

    Args:
        videos: rows of the manifest.
        clip: which frames.
        views: how many of them, and which part of the frames; `size` and `short_side` must be set.
        skip_broken: return None for a video that can't be decoded instead of raising; it is flagged in `broken`.
        decoder: library that decodes.
        max_broken: fraction of the videos that may be skipped, but at least one video; one more is an error. Only with
            `skip_broken`.

    Attributes:
        done: videos that were evaluated before an interruption; the loaders leave them out.
    """

    kind = "evaluation"

    def __init__(
        self,
        videos: Videos,
        clip: Clip,
        views: Views,
        skip_broken: bool,
        decoder: DecoderName,
        max_broken: float = 1.0,
    ):
        super().__init__(videos, clip, decoder)
        self.views, self.skip_broken, self.max_broken = views, skip_broken, max_broken
        self.allowed_broken = max(math.floor(max_broken * len(videos)), 1)
        self.done: frozenset[int] = frozenset()

    def __getitem__(self, index: int | None) -> Item | None:
        """The item of a video; None if it is broken and to be skipped, and for None (see `EvalSampler`)."""
        return None if index is None else self.item(index)

    def item(self, index: int, data: bytes | None = None) -> Item | None:
        """The item of a video, whose contents may be in memory; None if it is broken and to be skipped."""
        try:
            return Item(self._read(index, data), self.videos.target(index), index)
        except VideoDecodeError as error:
            self.broken[index] = 1
            if self.skip_broken:
                log.warning("broken video skipped: %s", error)
                self._check_broken(error)
                return None
            raise BrokenVideoError(
                f"a video of the evaluation can't be decoded: {error} (skip_broken: true evaluates the others and "
                f"reports how many)"
            ) from None

    def _read(self, index: int, data: bytes | None) -> Tensor:
        reader = self._open(index, data)
        frames = read_views(reader, self.clip, self.views).frames
        self.readings.end()
        return frames


def open_for(clip: Clip, path: str, decoder: DecoderName, data: bytes | None = None) -> Reader:
    """Open a video to take clips of it; see `open_video`.

    Raises:
        VideoDecodeError: it can't be opened, or has no frame rate and the clip counts in frames per second.
    """
    reader = open_video(path, decoder, data)
    # Without this check the sampling would raise a ValueError, which is not counted as a broken video.
    if clip.target_fps is not None and not 0 < reader.fps < math.inf:
        raise VideoDecodeError(path, f"has no frame rate (got {reader.fps}), which target_fps requires")
    return reader


class VideoViews(NamedTuple):
    """All views of one video.

    Attributes:
        frames: uint8 [V, 3, T, S, S]; the spatial views of a clip are adjacent.
        indices: int64 [temporal, T], which frames of the video each clip takes.
    """

    frames: Tensor
    indices: Tensor


def read_views(reader: Reader, clip: Clip, views: Views) -> VideoViews:
    """Fixed views of an open video, each frame decoded once.

    Args:
        reader: the video; it is read to its end.
        clip: which frames.
        views: how many views; `size` and `short_side` must be set.

    Raises:
        VideoDecodeError: a frame can't be decoded.
    """
    indices = clip.uniform(reader.num_frames, reader.fps, views.temporal)  # [temporal, T]
    # Clips overlap: each frame is decoded once. `rows` says where in `frames` a clip finds each of its frames:
    #   clips [[0, 2, 4], [2, 4, 6]]  ->  needed [0, 2, 4, 6],  rows [[0, 1, 2], [1, 2, 3]]
    needed, rows = torch.unique(indices, return_inverse=True)
    frames = reader.read(needed).permute(0, 3, 1, 2)  # [n, 3, H, W]
    return VideoViews(_arrange(views.squares(frames), rows), indices)


def _read_clips(reader: Reader, clips: Tensor) -> Iterator[Tensor]:
    """The frames [T, H, W, 3] of each clip of indices [V, T]; each frame is decoded once."""
    if len(clips) == 1:
        yield reader.read(clips[0])
        return
    needed, rows = torch.unique(clips, return_inverse=True)
    frames = reader.read(needed)  # [n, H, W, 3]
    for clip_rows in rows:
        yield frames[clip_rows]


def _arrange(squares: Sequence[Tensor], rows: Tensor) -> Tensor:
    """Views of a video from its decoded frames.

    Args:
        squares: uint8 [n, 3, S, S] of the n decoded frames, for each spatial view.
        rows: int64 [temporal, T], which of the n frames stands at time t of a clip.

    Returns:
        uint8 [V, 3, T, S, S]; the spatial views of a clip are adjacent.
    """
    temporal, num_frames = rows.shape
    side = squares[0].shape[-1]
    # Every frame is copied once, straight to where it belongs: 10 x 3 views of 8 x 256 x 256 are 47 MB, and a further
    # copy of them costs more than the decoding.
    views = torch.empty((temporal, len(squares), num_frames, side, side, 3), dtype=torch.uint8)
    for space, square in enumerate(squares):
        pixels = square.permute(0, 2, 3, 1)  # [n, S, S, 3]
        for clip, clip_rows in enumerate(rows.tolist()):
            for time, row in enumerate(clip_rows):
                views[clip, space, time] = pixels[row]
    return views.flatten(0, 1).permute(0, 4, 1, 2, 3)  # [V, 3, T, S, S]
