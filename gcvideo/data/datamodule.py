"""The data side of a run: manifests, settings and loaders."""

import gc
import signal
import threading
from dataclasses import dataclass, replace
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Sampler

from gcvideo.data.batch import collate
from gcvideo.data.dataset import EvalDataset, TrainDataset
from gcvideo.data.decode import DEFAULT_DECODER, DecoderName
from gcvideo.data.listing import ManifestError
from gcvideo.data.loader import WatchedLoader
from gcvideo.data.manifest import read_class_names, read_manifest, videos_at
from gcvideo.data.samplers import EvalSampler, Share, TrainSampler
from gcvideo.data.sampling import Clip
from gcvideo.data.shards.reading import ShardedVideos
from gcvideo.data.shards.streams import stream_of
from gcvideo.data.transforms import Augmentation, Views
from gcvideo.data.videos import Videos
from gcvideo.errors import UsageError
from gcvideo.processes import signal_at_end_of_parent
from gcvideo.settings import as_plain, as_settings


@dataclass(frozen=True)
class Splits:
    """Which rows of a manifest are for what, by their column `split`.

    Args:
        train: value in the rows of training videos.
        val: value in the rows of validation videos.
        test: value in the rows of test videos.
    """

    train: str = "train"
    val: str = "val"
    test: str = "test"

    def of_stage(self, stage: str) -> str:
        """The split of Lightning's stage "fit", "validate" or "test"."""
        return {"fit": self.train, "validate": self.val, "test": self.test}[stage]


@dataclass(frozen=True)
class Loading:
    """How videos are loaded, and what happens with broken ones.

    Args:
        eval_batch_size: videos for each device in validation; a test batch has one video, all of its views.
        timeout_s: seconds to wait for a batch before the run stops and names the files that were being read; 0 waits
            for ever. Without workers only the command line can stop: it ends at once.
        max_broken: fraction of the training videos that may be broken (they are replaced) before the run stops.
        skip_broken: leave broken videos out of validation and test instead of stopping; the report says how many.
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
        if self.timeout_s < 0:
            raise ValueError(f"expected loading.timeout_s >= 0, got {self.timeout_s}")
        if not 0 <= self.max_broken < 1:
            raise ValueError(f"expected loading.max_broken in [0, 1), got {self.max_broken}")


class VideoDataModule(pl.LightningDataModule):
    """Videos of a manifest as training clips, one centre view for validation and many views for the test.

    It works without a Trainer, and with a Trainer of your own. It distributes the videos over the ranks itself, each
    exactly once: with several devices, set `Trainer(use_distributed_sampler=False)`.

    Args:
        manifest: CSV with the columns path, label and split (or a list of 'path label' lines), or a folder
            split/class/file, as ImageNet's.
        root: folder that the paths are relative to and lie in; default the manifest's own. Of shards also a URL
            (https://...).
        class_names: index -> name; default the sorted labels of the manifest.
        splits: which rows of the manifest are for training, validation and test.
        clip: which frames a clip takes.
        augment: which part of its frames a training view takes.
        views: which views a test takes of each video; as an attribute, `size` and `short_side` are filled in.
        decoder: library that decodes; a video that it would read wrongly is a broken video.
        batch_size: training clips for each device.
        num_workers: decoding processes for each device.
        loading: batches of an evaluation, time-out, what happens with broken videos.
        seed: of the data order and of every random view.
        predict: a video file or a folder of them, for `predict`.

    `splits`, `clip`, `augment`, `views` and `loading` may also be mappings of their fields, which is their form in
    checkpoints.

    Attributes:
        datasets: stage -> data set, after `setup`.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(
        self,
        manifest: str | None = None,
        root: str | None = None,
        class_names: list[str] | None = None,
        splits: Splits = Splits(),
        clip: Clip = Clip(),
        augment: Augmentation = Augmentation(),
        views: Views = Views(),
        decoder: DecoderName = DEFAULT_DECODER,
        batch_size: int = 8,
        num_workers: int = 4,
        loading: Loading = Loading(),
        seed: int = 0,
        predict: str | None = None,
    ):
        super().__init__()
        if batch_size < 1 or num_workers < 0:
            raise ValueError(f"expected batch_size >= 1 and num_workers >= 0, got {batch_size} and {num_workers}")
        self.manifest, self.root, self._class_names = manifest, root, class_names
        self.splits, self.clip = as_settings(Splits, splits), as_settings(Clip, clip)
        self.augment, self.loading = as_settings(Augmentation, augment), as_settings(Loading, loading)
        requested_views = as_settings(Views, views)
        self.views = requested_views.resolved(self.augment)
        self.decoder, self.batch_size, self.num_workers, self.seed = decoder, batch_size, num_workers, seed
        self.predict_path = predict
        self.datasets: dict[str, TrainDataset | EvalDataset] = {}
        # Explicitly, and as plain values: by default Lightning would store instances of our classes, which the safe
        # loader of checkpoints refuses.
        self.save_hyperparameters(
            {
                "manifest": manifest,
                "root": root,
                "class_names": class_names,
                "splits": as_plain(self.splits),
                "clip": as_plain(self.clip),
                "augment": as_plain(self.augment),
                "views": as_plain(requested_views),
                "decoder": decoder,
                "batch_size": batch_size,
                "num_workers": num_workers,
                "loading": as_plain(self.loading),
                "seed": seed,
                "predict": predict,
            },
            logger=False,
        )

    @property
    def class_names(self) -> list[str]:
        """Index -> class name.

        Raises:
            ManifestError: neither a list of names nor a usable manifest was passed.
        """
        if self._class_names is None:
            self._class_names = read_class_names(self._manifest())
        return self._class_names

    def _manifest(self) -> str:
        if self.manifest is None:
            raise ManifestError("data.manifest is not set: expected a CSV with the columns path, label, split")
        return self.manifest

    def setup(self, stage: str) -> None:
        """Read what a stage ('fit', 'validate', 'test' or 'predict') needs; all problems are raised here."""
        if stage == "fit":
            self.datasets["fit"] = TrainDataset(
                self._videos("fit"), self.clip, self.augment, self.seed, self.loading.max_broken, self.decoder
            )
        if stage in ("fit", "validate"):
            # Of the test views only the number changes: validation sees frames of the same size and scale.
            centre = replace(self.views, temporal=1, spatial=1)
            self.datasets["validate"] = self._eval_dataset(self._videos("validate"), centre)
        if stage == "test":
            self.datasets["test"] = self._eval_dataset(self._videos("test"), self.views)
        if stage == "predict":
            self.datasets["predict"] = self._eval_dataset(videos_at(self.predict_path), self.views)

    def _videos(self, stage: str) -> Videos:
        return read_manifest(
            self._manifest(), self.splits.of_stage(stage), self.root, self.class_names, self.loading.outside_root
        )

    def _eval_dataset(self, videos: Videos, views: Views) -> EvalDataset:
        return EvalDataset(videos, self.clip, views, self.loading.skip_broken, self.decoder)

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled clips; in a resumed run they continue where it stopped."""
        dataset = self.datasets["fit"]
        rank, world_size = self._rank()
        # Whole batches only, and equally many on every rank: a rank with one more would wait for the others for ever.
        batches = len(dataset) // world_size // self.batch_size
        if batches == 0:
            raise UsageError(
                f"{len(dataset)} training videos on {world_size} device(s) do not fill one batch of {self.batch_size}"
            )
        trained, repeats = 0, False  # batches of this run before it was interrupted, over all epochs
        if self.trainer is not None:
            # As Lightning counts, because an epoch ends there: an int is a number of batches, a float a fraction.
            limit = self.trainer.limit_train_batches
            batches = min(batches, limit) if isinstance(limit, int) else max(int(batches * limit), 1)
            # Not `current.completed`: it lags by one in a checkpoint that is saved in on_train_batch_end.
            trained = self.trainer.fit_loop.epoch_loop.batch_progress.total.ready
            # Lightning replaces a sampler by one that repeats; a stream has none.
            repeats = self.trainer.overfit_batches > 0  # type: ignore[attr-defined]
        # Our own position in the data, because Lightning begins a resumed epoch with the order of epoch 0.
        epoch, first_batch = divmod(trained, batches)
        return self._loader("fit", Share(rank, world_size, self.batch_size, batches, epoch, first_batch, repeats))

    def val_dataloader(self) -> DataLoader[Any]:
        """Each video once, its centre view."""
        return self._eval_loader("validate", self.loading.eval_batch_size)

    def test_dataloader(self) -> DataLoader[Any]:
        """Each video once, all of its views in one batch."""
        return self._eval_loader("test", 1)

    def predict_dataloader(self) -> DataLoader[Any]:
        """Each file once, all of its views in one batch."""
        return self._eval_loader("predict", 1)

    def _eval_loader(self, stage: str, batch_size: int) -> DataLoader[Any]:
        rank, world_size = self._rank()
        # A rank without videos takes no part in what the others gather, and they would wait for it.
        if len(self.datasets[stage]) < world_size:
            raise UsageError(
                f"expected at least one video for each of {world_size} devices to {stage}, got "
                f"{len(self.datasets[stage])}"
            )
        return self._loader(stage, Share(rank, world_size, batch_size))

    def _loader(self, stage: str, share: Share) -> DataLoader[Any]:
        """A loader of what this rank reads."""
        dataset = self.datasets[stage]
        workers = min(self.num_workers, len(dataset))  # one without videos would only cost its start
        options: dict[str, Any] = {
            "num_workers": workers,
            "pin_memory": torch.cuda.is_available(),
            "limit_s": self.loading.timeout_s,
            "readings": dataset.readings,
            "worker_init_fn": _start_worker,
            "generator": torch.Generator().manual_seed(self.seed),  # else iterating draws from the global stream
            # Restarted for each epoch, workers would take seconds; a test has one pass.
            "persistent_workers": workers > 0 and stage in ("fit", "validate"),
        }
        if isinstance(dataset.videos, ShardedVideos):
            # A sampler's order would seek back and forth in the tars: here the workers decide what they read.
            # batch_size=None: streams yield whole batches.
            return WatchedLoader(stream_of(dataset, dataset.videos, share, workers), batch_size=None, **options)
        return WatchedLoader(
            dataset,
            batch_size=share.batch_size,
            sampler=self._sampler(dataset, share),
            collate_fn=collate,
            drop_last=stage == "fit",  # whole batches, as `train_dataloader` counts them
            **options,
        )

    def _sampler(self, dataset: TrainDataset | EvalDataset, share: Share) -> Sampler[Any]:
        if isinstance(dataset, EvalDataset):
            return EvalSampler(len(dataset), share.rank, share.world_size)
        first_item = share.first_batch * share.batch_size
        return TrainSampler(len(dataset), self.seed, share.rank, share.world_size, share.epoch, first_item)

    def _rank(self) -> tuple[int, int]:
        """Rank of this process and the number of ranks.

        Raises:
            UsageError: Lightning would replace our samplers.
        """
        if self.trainer is None:
            return 0, 1
        world_size = self.trainer.world_size
        # Lightning's own sampler repeats videos until all ranks have equally many, and counts them twice in a test.
        if world_size > 1 and self.trainer._accelerator_connector.use_distributed_sampler:
            raise UsageError(
                f"with {world_size} devices expected Trainer(use_distributed_sampler=False), got True: Lightning would "
                f"replace the samplers that count every video exactly once by one that repeats videos"
            )
        return self.trainer.global_rank, world_size


def _start_worker(worker: int) -> None:
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
