"""The data side of a run: manifests, settings and loaders."""

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, IterableDataset

from gcvideo.data.dataset import ClipSettings, EvalDataset, TrainDataset, collate
from gcvideo.data.decode import DecoderName
from gcvideo.data.listing import SUFFIXES, ManifestError
from gcvideo.data.manifest import Video, read_class_names, read_manifest
from gcvideo.data.samplers import EvalSampler, TrainSampler
from gcvideo.data.sampling import ShortVideo, Spacing
from gcvideo.data.streams import EvalStream, Share, TrainStream


class VideoDataModule(pl.LightningDataModule):
    """Videos of a manifest as training clips, one centre view for validation and many views for the test.

    It deals the videos out to the ranks by itself: give a Trainer of your own `use_distributed_sampler=False`.

    Args:
        manifest: CSV with the columns path, label and split (or a list of 'path label' lines), or a folder
            split/class/file, as ImageNet's.
        root: folder that the paths are relative to and lie in; default the manifest's own. Of shards also an address
            (https://...).
        class_names: index -> name; default the sorted labels of the manifest.
        train_split, val_split, test_split: values of the column `split`.
        clip_frames: T, frames of a clip.
        stride: distance of neighbouring frames; "8x8" is 8 frames at stride 8.
        target_fps: count the stride in frames of this rate; default raw frames of the file.
        short: what a video shorter than a clip does: start again ("loop") or hold its last frame ("hold").
        size: S, side of a training view in pixels.
        short_side_min, short_side_max: range of the short-side jitter in training, in pixels.
        min_area: train on boxes of random area and shape (ImageNet's and mmaction2's augmentation) instead of the
            short-side jitter; the smallest area as a fraction of the frame, 0.08 in most recipes.
        flip: mirror half of the training clips; switch it off where left and right are classes.
        eval_size: side of a validation or test view; default `size`.
        eval_short_side: length of the short side in validation and test; default `short_side_min`.
        temporal_views, spatial_views: of the test; papers take 10 x 3. Spatial views: 1 or 3.
        batch_size: training clips for each device.
        eval_batch_size: videos for each device in validation; a test batch has one video, all of its views.
        num_workers: decoding processes for each device.
        spacing: how frames are spaced in a clip: "stride", or "slowfast" as PySlowFast does (wants target_fps); see
            `sampling`.
        decoder: which library decodes; "auto" is decord for files of which the manifest says that it reads them right,
            and PyAV for all others.
        outside_root: allow paths and links in the manifest that lead out of `root`.
        max_broken: share of the training videos that may be broken (they are replaced) before the run stops.
        skip_broken: leave broken videos out of validation and test instead of stopping; the report tells how many.
        timeout_s: seconds to wait for a batch before the run stops; 0 waits for ever.
        seed: of the data order and of every random view.
        predict: a video file or a folder of them, for `predict`.
    """

    def __init__(
        self,
        manifest: str | None = None,
        root: str | None = None,
        class_names: list[str] | None = None,
        train_split: str = "train",
        val_split: str = "val",
        test_split: str = "test",
        clip_frames: int = 8,
        stride: int = 8,
        target_fps: float | None = None,
        short: ShortVideo = "loop",
        size: int = 224,
        short_side_min: int = 256,
        short_side_max: int = 320,
        min_area: float | None = None,
        flip: bool = True,
        eval_size: int | None = None,
        eval_short_side: int | None = None,
        temporal_views: int = 10,
        spatial_views: Literal[1, 3] = 3,
        batch_size: int = 8,
        eval_batch_size: int = 8,
        num_workers: int = 4,
        spacing: Spacing = "stride",
        decoder: DecoderName = "auto",
        outside_root: bool = False,
        max_broken: float = 0.01,
        skip_broken: bool = False,
        timeout_s: float = 120.0,
        seed: int = 0,
        predict: str | None = None,
    ):
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.eval_size = eval_size or size
        self.eval_short_side = eval_short_side or short_side_min
        if not 1 <= size <= short_side_min <= short_side_max:
            raise ValueError(
                f"expected 1 <= size <= short_side_min <= short_side_max, "
                f"got {size}, {short_side_min}, {short_side_max}"
            )
        if self.eval_size > self.eval_short_side:
            raise ValueError(f"eval_size {self.eval_size} is larger than eval_short_side {self.eval_short_side}")
        if min(batch_size, eval_batch_size, temporal_views) < 1 or num_workers < 0:
            raise ValueError(
                "batch_size, eval_batch_size and temporal_views must be at least 1, num_workers at least 0"
            )
        if spacing == "slowfast" and target_fps is None:
            raise ValueError("spacing slowfast counts in seconds: it wants target_fps, 30 in PySlowFast's recipes")
        if min_area is not None and not 0 < min_area <= 1:
            raise ValueError(f"min_area must be in (0, 1], got {min_area}")
        if not 0 <= max_broken < 1:
            raise ValueError(f"max_broken must be in [0, 1), got {max_broken}")
        self.manifest, self.root, self.outside_root = manifest, root, outside_root
        self._class_names = class_names
        self.splits = {"fit": train_split, "validate": val_split, "test": test_split}
        self.train_clip = ClipSettings(clip_frames, stride, target_fps, short, size, decoder, spacing)
        self.eval_clip = ClipSettings(clip_frames, stride, target_fps, short, self.eval_size, decoder, spacing)
        self.short_side, self.min_area, self.flip = (short_side_min, short_side_max), min_area, flip
        self.temporal_views, self.spatial_views = temporal_views, spatial_views
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.num_workers, self.timeout_s = num_workers, timeout_s
        self.max_broken, self.skip_broken, self.seed = max_broken, skip_broken, seed
        self.predict_path = predict
        self.datasets: dict[str, TrainDataset | EvalDataset] = {}

    @property
    def class_names(self) -> list[str]:
        """Index -> class name.

        Raises:
            ManifestError: neither a list of names nor a usable manifest was given.
        """
        if self._class_names is None:
            self._class_names = read_class_names(self._manifest())
        return self._class_names

    def _manifest(self) -> str:
        if self.manifest is None:
            raise ManifestError("data.manifest is not set: give a CSV with the columns path, label, split")
        return self.manifest

    def _videos(self, stage: str) -> Sequence[Video]:
        return read_manifest(self._manifest(), self.splits[stage], self.root, self.class_names, self.outside_root)

    def setup(self, stage: str) -> None:
        """Read what the stage ('fit', 'validate', 'test' or 'predict') needs; all problems are raised here."""
        if stage == "fit":
            self.datasets["fit"] = TrainDataset(
                self._videos("fit"),
                self.train_clip,
                self.short_side,
                self.flip,
                self.seed,
                self.max_broken,
                self.min_area,
            )
        if stage in ("fit", "validate"):
            self.datasets["validate"] = self._eval_dataset(self._videos("validate"), 1, 1)
        if stage == "test":
            self.datasets["test"] = self._eval_dataset(self._videos("test"), self.temporal_views, self.spatial_views)
        if stage == "predict":
            self.datasets["predict"] = self._eval_dataset(
                _files(self.predict_path), self.temporal_views, self.spatial_views
            )

    def _eval_dataset(self, videos: Sequence[Video], temporal_views: int, spatial_views: int) -> EvalDataset:
        return EvalDataset(
            videos, self.eval_clip, self.eval_short_side, temporal_views, spatial_views, self.skip_broken
        )

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled clips; after a resume they go on where the run stopped."""
        dataset = self.datasets["fit"]
        rank, world_size = self._rank()
        batches = len(dataset) // world_size // self.batch_size
        if batches == 0:
            raise ValueError(
                f"{len(dataset)} training videos on {world_size} device(s) do not fill one batch of {self.batch_size}"
            )
        seen = 0  # batches that this run has seen before, over all epochs
        if self.trainer is not None:
            limit = self.trainer.limit_train_batches
            batches = min(batches, limit) if isinstance(limit, int) else max(int(batches * limit), 1)
            seen = self.trainer.fit_loop.epoch_loop.batch_progress.total.ready
        epoch, batch = divmod(seen, batches)
        if dataset.packed is not None:
            assert isinstance(dataset, TrainDataset)
            share = Share(rank, world_size, self.batch_size, batches, epoch, batch)
            return self._stream_loader("fit", TrainStream(dataset, dataset.packed, share))
        sampler = TrainSampler(len(dataset), self.seed, rank, world_size, epoch, batch * self.batch_size)
        return self._loader("fit", sampler, self.batch_size, drop_last=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """Each video once, its centre view."""
        return self._eval_loader("validate", self.eval_batch_size)

    def test_dataloader(self) -> DataLoader[Any]:
        """Each video once, all of its views in one batch."""
        return self._eval_loader("test", 1)

    def predict_dataloader(self) -> DataLoader[Any]:
        """Each file once, all of its views in one batch."""
        return self._eval_loader("predict", 1)

    def _eval_loader(self, stage: str, batch_size: int) -> DataLoader[Any]:
        dataset = self.datasets[stage]
        if dataset.packed is not None:
            assert isinstance(dataset, EvalDataset)
            share = Share(*self._rank(), batch_size)
            return self._stream_loader(stage, EvalStream(dataset, dataset.packed, share, max(self._workers(stage), 1)))
        return self._loader(stage, EvalSampler(len(self.datasets[stage]), *self._rank()), batch_size)

    def _workers(self, stage: str) -> int:
        return min(self.num_workers, len(self.datasets[stage]))

    def _loader(self, stage: str, sampler: Any, batch_size: int, drop_last: bool = False) -> DataLoader[Any]:
        return DataLoader(
            self.datasets[stage],
            batch_size=batch_size,
            sampler=sampler,
            collate_fn=collate,
            drop_last=drop_last,
            **self._loading(stage),
        )

    def _stream_loader(self, stage: str, stream: IterableDataset[Any]) -> DataLoader[Any]:
        return DataLoader(stream, batch_size=None, **self._loading(stage))

    def _loading(self, stage: str) -> dict[str, Any]:
        workers = self._workers(stage)
        return {
            "num_workers": workers,
            "pin_memory": torch.cuda.is_available(),
            "timeout": self.timeout_s if workers else 0,
            "worker_init_fn": _start_worker,
            "generator": torch.Generator().manual_seed(self.seed),  # else iterating draws from the global stream
            "persistent_workers": workers > 0 and stage in ("fit", "validate"),
        }

    def _rank(self) -> tuple[int, int]:
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)


def _start_worker(worker: int) -> None:
    torch.set_num_threads(1)
    gc.freeze()  # what is there now will stay: a collection of it takes 0.1 s, and decoding sets off many


def _files(path: str | None) -> list[Video]:
    if path is None:
        raise ManifestError("data.predict is not set: give a video file or a folder of videos")
    place = Path(path)
    files = [place]  # a file that is named is taken whatever its suffix
    if place.is_dir():
        files = sorted(file for file in place.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files or not files[0].is_file():
        raise ManifestError(f"data.predict: no video at {place} (looked for {', '.join(SUFFIXES)} in a folder)")
    return [Video(str(file), -1, str(file)) for file in files]
