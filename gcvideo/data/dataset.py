"""Videos as items `(frames uint8 [V, 3, T, S, S], label, index)`.

All views of a video are one item, because the video is the unit of evaluation; a file is opened once for an item.
An item is a pure function of (seed, epoch, index), whatever the number of workers and ranks. In memory the channels of
a pixel lie together ([V, T, S, S, 3]), as decoders give them: to part them is work for the device.

Letters: V views (in time x in space), T frames, S side of the square view.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from gcvideo.data.decode import DecoderName, Reader, VideoDecodeError, open_video
from gcvideo.data.manifest import Video, Videos
from gcvideo.data.sampling import ShortVideo, Spacing, mix_seed, random_clip, uniform_clips
from gcvideo.data.shards import read_video
from gcvideo.data.transforms import fixed_views, random_resized_view, random_view

log = logging.getLogger(__name__)

Item = tuple[Tensor, int, int]


class BrokenVideoError(RuntimeError):
    """More videos can't be decoded than the settings allow; the message is one line and names them."""


@dataclass(frozen=True, slots=True)
class ClipSettings:
    """What is taken of a video; see `VideoDataModule` for the meaning of each."""

    clip_frames: int = 8
    stride: int = 8
    target_fps: float | None = None
    short: ShortVideo = "loop"
    size: int = 224
    decoder: DecoderName = "auto"
    spacing: Spacing = "stride"

    def rates(self, reader: Reader) -> tuple[float, float | None, ShortVideo, Spacing]:
        """Last arguments of `random_clip` and `uniform_clips`."""
        return reader.fps, self.target_fps, self.short, self.spacing


class _VideoDataset(Dataset[Item | None]):
    def __init__(self, videos: Sequence[Video], clip: ClipSettings):
        self.videos = videos
        self.clip = clip
        # One flag for each video, shared by all workers of this process: 1 where decoding failed.
        self.broken = torch.zeros(len(videos), dtype=torch.uint8).share_memory_()

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def packed(self) -> Videos | None:
        """Its videos, if they lie in shards."""
        return self.videos if isinstance(self.videos, Videos) and self.videos.shards else None

    def _open(self, index: int, data: bytes | None = None) -> Reader:
        video = self.videos[index]
        if data is None and self.packed is not None:
            data = read_video(self.packed.root, self.packed.shards, index)
        reader = open_video(video.file, self.clip.decoder, data, video.decoder)
        if self.clip.target_fps is not None and not 0 < reader.fps < math.inf:
            raise VideoDecodeError(video.file, f"tells no frame rate (got {reader.fps}), which target_fps needs")
        return reader

    def broken_files(self) -> list[str]:
        """Files that could not be decoded so far, on this rank."""
        return [self.videos[index].file for index in self.broken.nonzero().flatten().tolist()]


class TrainDataset(_VideoDataset):
    """One random view of each video: V = 1.

    A video that can't be decoded is replaced by another, drawn from the same (seed, epoch, index); each is logged, and
    the item's index is that of the video taken.

    Args:
        videos: rows of the manifest.
        clip: frames, stride, view size, decoder.
        short_side: range of the short-side jitter, in pixels.
        flip: mirror half of the clips.
        seed: of the whole data order.
        max_broken: share of the videos that may be broken, in [0, 1); beyond it the next broken one is an error
            that lists them.
        min_area: take boxes of random area and shape instead of the short-side jitter; the smallest area, as a
            fraction of the frame.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        clip: ClipSettings,
        short_side: tuple[int, int],
        flip: bool,
        seed: int,
        max_broken: float,
        min_area: float | None = None,
    ):
        super().__init__(videos, clip)
        self.short_side, self.flip, self.seed, self.max_broken = short_side, flip, seed, max_broken
        self.min_area = min_area

    def __getitem__(self, key: tuple[int, int]) -> Item:
        """The item of (epoch, index)."""
        return self.item(*key)

    def item(self, epoch: int, index: int, contents: Mapping[int, bytes] | None = None) -> Item:
        """The item of (epoch, index).

        Args:
            epoch, index: which.
            contents: index -> contents of videos in memory, among which a replacement is looked for; None reads files.
        """
        generator = torch.Generator().manual_seed(mix_seed(self.seed, epoch, index))
        others = range(len(self.videos)) if contents is None else sorted(contents)
        while True:
            try:
                view = self._read(index, generator, None if contents is None else contents[index])
                return view, self.videos[index].label, index
            except VideoDecodeError as error:
                self._note(index, error)
                if contents is not None and self.broken[others].all():
                    raise BrokenVideoError(f"none of {len(others)} videos in a row can be decoded: {error}") from None
                index = others[int(torch.randint(len(others), (), generator=generator))]

    def _read(self, index: int, generator: torch.Generator, data: bytes | None) -> Tensor:
        reader = self._open(index, data)
        c = self.clip
        indices = random_clip(reader.num_frames, c.clip_frames, c.stride, generator, *c.rates(reader))
        frames = reader.read(indices[0]).permute(0, 3, 1, 2)  # [T, 3, H, W]
        if self.min_area is None:
            view = random_view(frames, c.size, self.short_side, self.flip, generator)  # [T, 3, S, S]
        else:
            view = random_resized_view(frames, c.size, self.min_area, self.flip, generator)
        return view.permute(1, 0, 2, 3)[None]  # [1, 3, T, S, S]

    def _note(self, index: int, error: VideoDecodeError) -> None:
        if not self.broken[index]:
            self.broken[index] = 1
            log.warning("broken video replaced by another: %s", error)
        files = self.broken_files()
        if len(files) > self.max_broken * len(self.videos):
            raise BrokenVideoError(
                f"{len(files)} of {len(self.videos)} training videos can't be decoded, more than max_broken = "
                f"{self.max_broken:g} allows; the last: {error}; all: {', '.join(files)}"
            ) from None


class EvalDataset(_VideoDataset):
    """Fixed views of each video: V = temporal_views x spatial_views, the spatial views of a clip side by side.

    Args:
        videos: rows of the manifest.
        clip: frames, stride, view size, decoder.
        short_side: length in pixels that the short side is scaled to.
        temporal_views: clips, spread evenly.
        spatial_views: 1 (centre) or 3 squares.
        skip_broken: give None for a video that can't be decoded instead of raising; it is flagged in `broken`.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        clip: ClipSettings,
        short_side: int,
        temporal_views: int,
        spatial_views: int,
        skip_broken: bool,
    ):
        super().__init__(videos, clip)
        self.short_side, self.temporal_views, self.spatial_views = short_side, temporal_views, spatial_views
        self.skip_broken = skip_broken

    def __getitem__(self, index: int) -> Item | None:
        """The item of a video; None if it is broken and to be skipped."""
        return self.item(index)

    def item(self, index: int, data: bytes | None = None) -> Item | None:
        """The item of a video, whose contents may be in memory; None if it is broken and to be skipped."""
        try:
            return self._read(index, data), self.videos[index].label, index
        except VideoDecodeError as error:
            self.broken[index] = 1
            if self.skip_broken:
                log.warning("broken video skipped: %s", error)
                return None
            raise BrokenVideoError(
                f"a video of the evaluation can't be decoded: {error} (skip_broken: true evaluates the others and "
                f"reports how many)"
            ) from None

    def _read(self, index: int, data: bytes | None) -> Tensor:
        reader = self._open(index, data)
        c = self.clip
        indices = uniform_clips(
            reader.num_frames, c.clip_frames, c.stride, self.temporal_views, *c.rates(reader)
        )  # [temporal_views, T]
        needed, inverse = torch.unique(indices, return_inverse=True)
        frames = reader.read(needed).permute(0, 3, 1, 2)  # [n, 3, H, W]
        squares = fixed_views(frames, c.size, self.short_side, self.spatial_views)
        # Each view is written once into its place: 10 x 3 views of 8 x 256 x 256 are 47 MB, and copies of them cost
        # more than the decoding.
        views = torch.empty((*indices.shape[:1], len(squares), indices.shape[1], c.size, c.size, 3), dtype=torch.uint8)
        for square, images in enumerate(squares):
            by_pixel = images.permute(0, 2, 3, 1)  # [n, S, S, 3]
            for view, places in enumerate(inverse.tolist()):
                for time, place in enumerate(places):
                    views[view, square, time] = by_pixel[place]
        return views.flatten(0, 1).permute(0, 4, 1, 2, 3)  # [V, 3, T, S, S]


def collate(items: Sequence[Item | None]) -> tuple[Tensor, Tensor, Tensor] | None:
    """Stack items to (frames [B, V, 3, T, S, S], labels [B], indices [B]); skipped ones are left out.

    None if nothing is left.
    """
    kept = [item for item in items if item is not None]
    if not kept:
        return None
    frames, labels, indices = zip(*kept, strict=True)
    return _stack(frames), torch.tensor(labels), torch.tensor(indices)


def _stack(frames: Sequence[Tensor]) -> Tensor:
    """Items [V, 3, T, S, S] to [B, V, 3, T, S, S], in the order of memory that they have; one item is not copied."""
    if len(frames) == 1:
        return frames[0][None]
    return torch.stack([item.permute(0, 2, 3, 4, 1) for item in frames]).permute(0, 1, 5, 2, 3, 4)
