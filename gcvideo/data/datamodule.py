"""The data side of a run: manifests, settings and loaders."""

from dataclasses import dataclass, replace
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.rank_zero import rank_zero_warn
from torch.utils.data import DataLoader

from gcvideo.data.dataset import EvalDataset, TrainDataset
from gcvideo.data.decode import DEFAULT_DECODER, DecoderName
from gcvideo.data.labels import check_separator
from gcvideo.data.listing import NoRowsError
from gcvideo.data.loading import Loading, VideoDataset, make_loader
from gcvideo.data.manifest import manifest_of, manifest_warnings, read_class_names, read_manifest, videos_at
from gcvideo.data.memory import check_item, check_loaded
from gcvideo.data.position import Order, Position, dump, resume
from gcvideo.data.progress import TrainingProgress
from gcvideo.data.samplers import Share
from gcvideo.data.sampling import Clip
from gcvideo.data.shards.reading import ShardedVideos
from gcvideo.data.shards.streams import EvalStream
from gcvideo.data.transforms import Augmentation, Views
from gcvideo.data.videos import Videos
from gcvideo.errors import UsageError
from gcvideo.settings import as_plain, as_settings

MAX_WORKERS = 512


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

    @property
    def evaluated(self) -> tuple[str, str]:
        """The splits that are not trained on."""
        return self.val, self.test


class VideoDataModule(pl.LightningDataModule):
    """Videos of a manifest as training clips, one centre view for validation and many views for the test.

    It works without a Trainer, and with a Trainer of your own. It distributes the videos over the ranks itself, each
    exactly once: with several devices, set `Trainer(use_distributed_sampler=False)`.

    Args:
        manifest: CSV with the columns path, label and split, or a folder split/class/file, as ImageNet's; or for each
            split a CSV, a list of 'path label' lines, annotations of Kinetics, or a folder class/file:
            {train: train.txt, val: val.txt}.
        root: folder that the paths are relative to and lie in; default the manifest's own. Of shards also a URL
            (https://...).
        class_names: index -> name; default the sorted labels of the manifest.
        label_separator: of the labels in a cell of the manifest, where videos may have several or none, such as "|";
            with None each video has one.
        splits: which rows of the manifest are for training, validation and test.
        clip: which frames a clip takes.
        augment: which part of its frames a training view takes, and what is changed in it.
        views: which views a test takes of each video; as an attribute, `size` and `short_side` are filled in.
        decoder: library that decodes; a video that it would read wrongly is a broken video.
        batch_size: training videos for each device; with `augment.repeats`, each as several clips.
        num_workers: decoding processes for each device, at most 512.
        loading: batches of an evaluation, time-out, what happens with broken videos.
        seed: of the data order and of every random view.
        predict: a video file or a folder of them, for `Trainer.predict`.

    `splits`, `clip`, `augment`, `views` and `loading` may also be mappings of their fields, which is their form in
    checkpoints.

    Attributes:
        datasets: stage -> data set, after `setup`.
        accept_changes: resume although the training videos or their order are no longer those of the checkpoint; an
            interrupted epoch then begins anew.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(
        self,
        manifest: dict[str, str] | str | None = None,
        root: str | None = None,
        class_names: list[str] | None = None,
        label_separator: str | None = None,
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
        if batch_size < 1 or not 0 <= num_workers <= MAX_WORKERS:
            raise ValueError(
                f"expected data.batch_size >= 1 and data.num_workers in 0 to {MAX_WORKERS}, got {batch_size} and "
                f"{num_workers}"
            )
        if not 0 <= seed < 2**63:
            raise ValueError(f"expected data.seed in 0 to 2**63 - 1, got {seed}")
        check_separator(label_separator)
        self.manifest, self.root, self._class_names = manifest, root, class_names
        self.label_separator = label_separator
        self.splits, self.clip = as_settings(Splits, splits), as_settings(Clip, clip)
        self.augment, self.loading = as_settings(Augmentation, augment), as_settings(Loading, loading)
        requested_views = as_settings(Views, views)
        self.views = requested_views.resolved(self.augment)
        check_item("augment", self.augment.repeats, self.clip.frames, self.augment.size)
        check_item("views", self.views.temporal * self.views.spatial, self.clip.frames, self.views.size or 0)
        self.decoder, self.batch_size, self.num_workers, self.seed = decoder, batch_size, num_workers, seed
        self.predict_path = predict
        self.datasets: dict[str, VideoDataset] = {}
        self.accept_changes = False
        self._progress = TrainingProgress()
        # Explicitly, and as plain values: by default Lightning would store instances of our classes, which the safe
        # loader of checkpoints refuses.
        self.save_hyperparameters(
            {
                "manifest": manifest,
                "root": root,
                "class_names": class_names,
                "label_separator": label_separator,
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
            self._class_names = read_class_names(manifest_of(self.manifest), self.label_separator)
        return self._class_names

    @property
    def clips_per_batch(self) -> int:
        """Training clips for each device."""
        return self.batch_size * self.augment.repeats

    def setup(self, stage: str) -> None:
        """Read what a stage ('fit', 'validate', 'test' or 'predict') needs; all problems are raised here."""
        if stage == "fit":
            self._progress = TrainingProgress()
            self.datasets["fit"] = TrainDataset(
                self._videos("fit"), self.clip, self.augment, self.seed, self.loading.max_broken, self.decoder
            )
        if stage in ("fit", "validate"):
            # Of the test views only the number changes: validation sees frames of the same size and scale.
            centre = replace(self.views, temporal=1, spatial=1)
            try:
                self.datasets["validate"] = self._eval_dataset(self._videos("validate"), centre, stage == "fit")
            except NoRowsError as error:
                # A training needs no validation; but a split that was named must be there.
                if stage != "fit" or self.splits.val != Splits.val:
                    raise
                rank_zero_warn(f"training without validation, so the best checkpoint is the latest: {error}")
        if stage == "test":
            self.datasets["test"] = self._eval_dataset(self._videos("test"), self.views)
        if stage == "predict":
            self.datasets["predict"] = self._eval_dataset(videos_at(self.predict_path), self.views)
        self._check_memory()
        if stage == "fit" and (self.trainer is None or self.trainer.is_global_zero):
            source = manifest_of(self.manifest)
            splits = self.splits.train, self.splits.evaluated
            for text in manifest_warnings(source, *splits, self.root, self.label_separator):
                rank_zero_warn(text)

    def _videos(self, stage: str) -> Videos:
        return read_manifest(
            manifest_of(self.manifest),
            self.splits.of_stage(stage),
            self.root,
            self.class_names,
            self.loading.outside_root,
            rank_zero_warn,
            self.label_separator,
        )

    def _check_memory(self) -> None:
        """Refuse batches that this machine can't hold, before a worker is started."""
        views, side = self.views.temporal * self.views.spatial, self.views.size or 0
        for stage, dataset in self.datasets.items():
            batch, items, size = {
                "fit": (f"data.batch_size {self.batch_size}", self.clips_per_batch, self.augment.size),
                "validate": (
                    f"loading.eval_batch_size {self.loading.eval_batch_size}",
                    self.loading.eval_batch_size,
                    side,
                ),
            }.get(stage, (f"data.views: {views} views of a video", views, side))
            check_loaded(batch, items * 3 * self.clip.frames * size * size, min(self.num_workers, len(dataset)))

    def _eval_dataset(self, videos: Videos, views: Views, while_training: bool = False) -> EvalDataset:
        skip = self.loading.skip_broken
        if while_training and not skip:  # an epoch of training is not lost for a video that can't be decoded
            return EvalDataset(videos, self.clip, views, True, self.decoder, self.loading.max_broken)
        return EvalDataset(videos, self.clip, views, skip, self.decoder)

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled clips; in a resumed run they continue where it stopped."""
        dataset = self.datasets["fit"]
        rank, world_size = self._rank()
        # Whole batches only, and equally many on every rank: a rank with one more would wait for the others for ever.
        batches = len(dataset) // world_size // self.batch_size
        if batches == 0:
            raise UsageError(
                f"{len(dataset)} training videos on {world_size} device(s) do not fill one batch of {self.batch_size}: "
                f"lower data.batch_size"
            )
        repeats = False
        if self.trainer is not None:
            # As Lightning counts, because an epoch ends there: an int is a number of batches, a float a fraction.
            limit = self.trainer.limit_train_batches
            batches = min(batches, limit) if isinstance(limit, int) else max(int(batches * limit), 1)
            # Lightning replaces a sampler by one that repeats; a stream has none.
            repeats = self.trainer.overfit_batches > 0  # type: ignore[attr-defined]
        position = self._progress.begin(self.trainer, batches, world_size * self.batch_size)
        return self._loader("fit", Share(rank, world_size, self.batch_size, batches, position, repeats))

    def _order(self) -> Order:
        dataset = self.datasets["fit"]
        readers = None
        if isinstance(dataset.videos, ShardedVideos):
            readers = [self._rank()[1], min(self.num_workers, len(dataset)), self.batch_size]
        return Order(dataset.videos.digest, len(dataset), self.seed, readers)

    def state_dict(self) -> dict[str, Any]:
        """The position in the training data, for a checkpoint."""
        return dump(self._progress.position(self.trainer), self._order()) if "fit" in self.datasets else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue a training where a checkpoint says.

        Raises:
            UsageError: the data is no longer that of the checkpoint, and `accept_changes` is not set.
        """
        if "fit" in self.datasets:
            start = resume(state_dict, self._order(), self.accept_changes)
            self._progress = TrainingProgress(start, stored=Position(state_dict["epoch"], state_dict["videos"]))

    def val_dataloader(self) -> DataLoader[Any] | list[DataLoader[Any]]:
        """Each video once, its centre view; no loader for a training without validation videos."""
        if "validate" not in self.datasets:
            return []
        return self._eval_loader("validate", self.loading.eval_batch_size)

    def test_dataloader(self) -> DataLoader[Any]:
        """Each video once, all of its views in one batch."""
        return self._eval_loader("test", 1)

    def predict_dataloader(self) -> DataLoader[Any]:
        """Each file once, all of its views in one batch."""
        return self._eval_loader("predict", 1)

    def _eval_loader(self, stage: str, batch_size: int) -> DataLoader[Any]:
        return self._loader(stage, Share(*self._rank(), batch_size))

    def _loader(self, stage: str, share: Share) -> DataLoader[Any]:
        return make_loader(
            self.datasets[stage],
            share,
            self.loading,
            self.num_workers,
            self.seed,
            persistent=stage in ("fit", "validate"),  # a test has one pass
        )

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


def refuse_other_loaders(loaders: Any, world_size: int) -> None:
    """Refuse loaders of ours that do not count every video exactly once on so many ranks.

    `VideoDataModule` makes them for the ranks of its Trainer. Without a Trainer they are those of one rank, and another
    Trainer may replace their samplers by ones that repeat videos.

    Args:
        loaders: one, or a list; those that are not of `EvalDataset`s are the user's own.
        world_size: number of ranks.

    Raises:
        UsageError: such a loader.
    """
    for loader in loaders if isinstance(loaders, list | tuple) else [loaders]:
        dataset, sampler = getattr(loader, "dataset", None), getattr(loader, "sampler", None)
        share: Any = None  # what counts ranks
        if isinstance(dataset, EvalDataset):
            share = sampler
        elif isinstance(dataset, EvalStream):
            share = dataset.share
        # On one rank any sampler will do that has every video once.
        if share is not None and getattr(share, "world_size", 1) != world_size:
            raise UsageError(
                f"the loader was not made for the {world_size} device(s) of this Trainer, and would count videos twice "
                f"or not at all: pass the VideoDataModule itself, and use_distributed_sampler=False"
            )
