"""The training task: what is computed for a batch, in training and in evaluation.

Letters: B videos, V views, T frames, S side, K classes.
"""

import inspect
import math
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_info, rank_zero_warn
from torch import Tensor, nn

from gcvideo.data.batch import Batch
from gcvideo.data.datamodule import refuse_other_loaders
from gcvideo.errors import UsageError
from gcvideo.models import (
    BlocksName,
    Head,
    Inflation,
    NetworkName,
    Norms,
    block_options_for,
    create_model,
    find_weights,
    fuse,
    head_for,
    insert_blocks,
    is_fusible,
    load_for,
    other_function,
    recompute,
)
from gcvideo.settings import as_plain, as_settings
from gcvideo.training.class_weights import balanced_weights
from gcvideo.training.evaluation import Evaluation, Stage, refuse_not_finite
from gcvideo.training.execution import Execution, Pixels, ToInput, prefers_channels_last, to_channels_last
from gcvideo.training.finite import FiniteUpdates
from gcvideo.training.freezing import FREEZE, Freeze, depths_of, freeze, parts_of
from gcvideo.training.metrics import (
    VideoResults,
    VideoScores,
    accuracies,
    average_views,
    mean_average_precision,
    num_better,
    results_of,
    true_classes,
)
from gcvideo.training.mixing import Mixing
from gcvideo.training.objective import loss_of
from gcvideo.training.optim import Optimization
from gcvideo.training.schedule import LearningRate, Schedule, refuse_tuners
from gcvideo.training.synchronised_norms import keep_hooks_of_synchronised_norms


class VideoTask(pl.LightningModule):
    """Classification of videos with a network of gcvideo or one of your own.

    Works with any Trainer and any loader of `Batch`es (tuples of frames, labels and indices).

    Args:
        class_names: index -> name, at least two; they travel in the checkpoint. The command line takes them from the
            manifest.
        network: its name; see `list_models`.
        blocks: which blocks it has; see `create_model`.
        block: where the blocks are and how they are made: `at`, `site` and the options of the block, such as
            {"ratio": 0.0625}; see `create_model`. On the command line: --model.block.ratio 0.0625.
        net: a network of your own instead of `network`: [B, 3, T, S, S] -> [B, K]. `blocks` and `block` insert into it
            if `block["at"]` lists module names or globs. Checkpoints hold its weights and the name of its class.
        dropout: probability before the classifier of `network`.
        norms: of `network`: "batch" or "group"; see `create_model`.
        weights: checkpoint to start from: a file, or a name of `list_weights`. A published one also sets `head` and
            the options in `block`, where they are not given; see `create_model`.
        inflation: how 2D weights fill 3D kernels: "mean" or "center". Default: "mean", for an image network only; see
            `load_weights`.
        head: how `network` evaluates images larger than 224 x 224: "pool" or "dense"; see `create_model`.
        freeze: what is not trained: "nothing", the batch "norms" of the trunk, "all_but_blocks_and_head" or
            "all_but_head"; see `freezing.freeze`.
        multi_label: videos may have any number of classes: sigmoids, binary cross-entropy and mAP. The command line
            sets it where `data.label_separator` is set.
        lr: peak learning rate, for a batch of `optim.lr_batch` clips.
        optim: optimizer and loss; see `Optimization`.
        schedule: of the learning rate; see `Schedule`.
        mixing: MixUp and CutMix; see `Mixing`.
        pixels: normalization; see `Pixels`.
        execution: how the network is run; see `Execution`.

    Raises:
        UsageError: no class names, or settings that do not fit together.
        ValueError: a bad value; see `create_model` and the settings.

    Example:
        >>> task = VideoTask(["no", "yes"], "slowonly_tiny", "gc_all", block={"ratio": 1 / 8}, lr=0.01)
        >>> task(torch.zeros(4, 1, 3, 8, 32, 32, dtype=torch.uint8)).shape
        torch.Size([4, 1, 2])
    """

    def __init__(
        self,
        class_names: list[str] | None = None,
        network: NetworkName = "slowonly_r50",
        blocks: BlocksName = "none",
        block: dict[str, Any] | None = None,
        net: nn.Module | None = None,
        dropout: float = 0.5,
        norms: Norms = "batch",
        weights: str | None = None,
        inflation: Inflation | None = None,
        head: Head | None = None,
        freeze: Freeze = "nothing",
        multi_label: bool = False,
        lr: float = 0.1,
        optim: Optimization = Optimization(),
        schedule: Schedule = Schedule(),
        mixing: Mixing = Mixing(),
        pixels: Pixels = Pixels(),
        execution: Execution = Execution(),
    ):
        super().__init__()
        if class_names is None or len(class_names) < 2:
            raise UsageError(f"class_names must name at least two classes, got {class_names}")
        if len(set(class_names)) < len(class_names):
            raise UsageError("class_names must differ from each other")
        if isinstance(net, str):  # the name of its class, from a checkpoint: which code to import is not its choice
            raise UsageError(f"the checkpoint holds a network of its own, {net}: pass net=<an instance of it>")
        self.optim, self.schedule = as_settings(Optimization, optim), as_settings(Schedule, schedule)
        self.pixels, self.execution = as_settings(Pixels, pixels), as_settings(Execution, execution)
        self.mixing = as_settings(Mixing, mixing)
        if freeze not in FREEZE:
            raise UsageError(f"model.freeze must be one of {FREEZE}, got {freeze!r}")
        if not 0 <= lr < math.inf:  # False for nan, too
            raise UsageError(f"model.lr must be a finite number of at least 0, got {lr}")
        if inflation is not None and weights is None:
            raise UsageError(f"model.inflation {inflation} would have no effect without model.weights: remove it")
        _refuse_arguments(block or {})
        if net is None:  # what the table of published files says today must not change a checkpoint
            head, block = head_for(weights, head), block_options_for(weights, blocks, block or {})
        # Plain values only: a checkpoint that holds any other class does not load weights-only.
        self.save_hyperparameters(
            {
                "class_names": list(class_names),
                "network": network,
                "blocks": blocks,
                "block": dict(block) if block else None,
                "net": None if net is None else f"{type(net).__module__}.{type(net).__qualname__}",
                "dropout": dropout,
                "norms": norms,
                "weights": weights,
                "inflation": inflation,
                "head": head,
                "freeze": freeze,
                "multi_label": bool(multi_label),
                "lr": lr,
                "optim": as_plain(self.optim),
                "schedule": as_plain(self.schedule),
                "mixing": as_plain(self.mixing),
                "pixels": as_plain(self.pixels),
                "execution": as_plain(self.execution),
            }
        )
        self.class_names, self.multi_label = list(class_names), bool(multi_label)
        self.starts_from_weights = True  # False saves reading them where a run is resumed
        if net is None:
            self.net = create_model(network, blocks, len(class_names), dropout, head=head, norms=norms, **(block or {}))
        else:
            _refuse_unused(network=network, dropout=dropout, head=head, norms=norms)
            self.net = _with_blocks(net, blocks, block)
        self._frozen_norms: list[nn.Module] = []
        self._class_weights: Tensor | None = None
        self.to_input = ToInput(self.pixels)
        if self.execution.recompute:
            recompute(self.net)
        if self.execution.compile:
            self.net.compile()  # in place: state-dict keys stay as they are
        self._channels_last: bool | None = None  # that of the weights; None before the first use
        self._fused: list[nn.Module] = []  # in a list, so that it is no submodule: its weights are not the task's
        self.learning_rate = LearningRate(self.schedule, self.optim)
        self.train_top1 = accuracies("train/clip_")
        self.evaluation = Evaluation(len(class_names))

    @property
    def scores(self) -> VideoScores:
        """The results of the last test; `task.scores.compute()` gathers those of all ranks."""
        return self.evaluation.results

    @property
    def backbone(self) -> nn.Module:
        """All of the network but its last layers, the classifier; what Lightning's `BackboneFinetuning` freezes."""
        return nn.Sequential(*list(parts_of(self.net))[:-1])

    def prepare_data(self) -> None:
        """Download the weights that a training starts from, on one process of each machine."""
        if self.trainer.state.fn == "fit" and self.hparams["weights"] and self.starts_from_weights:
            find_weights(self.hparams["weights"])

    def setup(self, stage: str) -> None:
        """Refuse what cannot work with this task, and load the weights that a training starts from."""
        self._fused.clear()
        keep_hooks_of_synchronised_norms(self.trainer.strategy)
        # Here and not at the first batch, because DDP and optimizers take over the memory format of the weights.
        self._choose_memory_format(self.trainer.strategy.root_device.type, "16" in str(self.trainer.precision))
        # Weights are loaded here and not in __init__: to resume or evaluate, the file need not exist any more.
        refuse_tuners(self.trainer, self.optim)
        h = self.hparams
        if stage == "fit":
            self._frozen_norms = freeze(self.net, h["freeze"])
            self.train(self.training)
            if self.optim.class_weights == "balanced":
                self._class_weights = balanced_weights(self.trainer, len(self.class_names))
        if stage != "fit" or not h["weights"] or not self.starts_from_weights:
            return
        weights, options = h["weights"], h["block"] or {}
        rank_zero_info(f"weights: {load_for(self.net, weights, h['network'], options, h['inflation'])}")
        if reason := other_function(weights, h["network"], h["blocks"], options, h["head"]):
            rank_zero_warn(f"the weights are read into another function: {reason}")

    def train(self, mode: bool = True) -> "VideoTask":
        """As in torch; frozen batch norms stay in evaluation mode."""
        super().train(mode)
        for norm in self._frozen_norms if mode else ():
            norm.eval()
        return self

    def configure_callbacks(self) -> list[Callback]:
        return [self.learning_rate, FiniteUpdates(self.optim.max_skipped)]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer = self.optim.build(self.net, self.hparams["lr"], depths_of(self.net))
        self.learning_rate.remember(optimizer.param_groups)
        return optimizer

    def forward(self, frames: Tensor) -> Tensor:
        """uint8 frames [B, V, 3, T, S, S] -> logits [B, V, K].

        Raises:
            UsageError: the network does not return [B x V, K].
        """
        return self._logits(self.net, frames)

    def _logits(self, net: nn.Module, frames: Tensor) -> Tensor:
        clips = frames.flatten(0, 1)
        limit = None if self.training else self.execution.max_clips
        parts = [clips] if limit is None else clips.split(limit)
        logits = torch.cat([self._checked(net(self.normalise(part))) for part in parts])  # [B x V, K]
        return logits.unflatten(0, frames.shape[:2])

    def _checked(self, logits: Tensor) -> Tensor:
        if logits.ndim != 2 or logits.shape[1] != len(self.class_names):
            raise UsageError(
                f"the network must return [B, {len(self.class_names)}], one logit for each class; "
                f"got shape {tuple(logits.shape)} from {type(self.net).__name__}"
            )
        return logits

    def _check_targets(self, labels: Tensor) -> None:
        if (labels.ndim == 2) != self.multi_label:
            kinds = "class indices [B]", f"truth values [B, {len(self.class_names)}] of several classes"
            raise UsageError(
                f"with multi_label {self.multi_label} expected labels to be {kinds[self.multi_label]}, got shape "
                f"{list(labels.shape)}: VideoTask.multi_label and data.label_separator go together"
            )

    def normalise(self, clips: Tensor) -> Tensor:
        """uint8 [B, 3, T, S, S] -> the input of the network, on its device and in its dtype and memory format."""
        if self._channels_last is None:
            self._choose_memory_format(self.device.type, self.to_input.dtype.itemsize == 2)
        return self.to_input(clips, bool(self._channels_last))

    def _choose_memory_format(self, device: str, is_16_bit: bool) -> None:
        setting = self.execution.channels_last
        if setting == "auto":
            setting = prefers_channels_last(self.net, device, is_16_bit, torch.get_num_threads())
        if setting:
            to_channels_last(self.net)
        self._channels_last = bool(setting)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        frames, labels, _ = batch
        self._check_targets(labels)
        # Views outermost, so that clips that are next to each other, which are mixed, are not of one video.
        clips, labels = frames.transpose(0, 1).flatten(0, 1), torch.cat([labels] * frames.shape[1])  # N = V x B
        inputs, targets = self.normalise(clips), labels
        if self.mixing.is_on:
            inputs, targets = self.mixing.mix(inputs, true_classes(labels, len(self.class_names)).float())
            # Accuracies count the classes of the larger part.
            labels = targets >= 0.5 if self.multi_label else targets.argmax(dim=1)
        logits = self._checked(self.net(inputs))  # [N, K]
        weights = None if self._class_weights is None else self._class_weights.to(logits)
        loss = loss_of(logits, targets, self.multi_label, weights, self.optim.label_smoothing)
        better = num_better(logits[:, None], labels)  # [N, 1]
        self.train_top1.update(better)
        self.log("train/loss", loss, prog_bar=True, on_step=True, on_epoch=True, batch_size=len(labels))
        self.log_dict(self.train_top1, prog_bar=False, on_step=False, on_epoch=True)
        # Of this batch, for the progress bar; the loggers get the accuracy of the epoch.
        self.log("top1", (better == 0).float().mean(), prog_bar=True, logger=False, batch_size=len(labels))
        return loss

    def on_validation_start(self) -> None:
        refuse_other_loaders(self.trainer.val_dataloaders, self.trainer.world_size)
        self.evaluation.reset()

    def validation_step(self, batch: Batch | None, batch_idx: int) -> None:
        if batch is None:  # every video of it was skipped, or this rank has none
            return
        frames, labels, indices = batch
        logits = self(frames)
        results = self._results(indices, labels, logits, "validate")
        self.evaluation.add(results)
        if self.multi_label:
            self.scores.update(results)  # mAP ranks all videos
        # Without label smoothing, so that runs with different smoothing compare.
        clip_labels = labels.repeat_interleave(logits.shape[1], dim=0)  # [B x V]
        losses = loss_of(logits.flatten(0, 1), clip_labels, self.multi_label, reduction="none")
        self.evaluation.loss.update(losses)

    def on_validation_epoch_end(self) -> None:
        # Here and not in the step: a rank without videos makes no step, but the others wait for its counts.
        self.log_dict(self.evaluation.accuracies("val/"), prog_bar=True)
        self.log("val/loss", self.evaluation.loss)
        if self.multi_label:
            self.log("val/video_map", mean_average_precision(self.scores.compute()), prog_bar=True, sync_dist=True)

    def on_test_start(self) -> None:
        self._fuse()
        refuse_other_loaders(self.trainer.test_dataloaders, self.trainer.world_size)
        self.evaluation.reset()

    def test_step(self, batch: Batch | None, batch_idx: int) -> dict[str, Tensor] | None:
        """The fields of `VideoResults`; None if every video of the batch was skipped."""
        if batch is None:
            return None
        frames, labels, indices = batch
        results = self._results(indices, labels, self._logits(self._evaluated_net, frames), "test")
        self.add_tested(results)
        return results._asdict()

    def add_tested(self, results: VideoResults) -> None:
        """Count videos of the running test; also those that were evaluated before an interruption."""
        self.evaluation.add(results)
        self.scores.update(results)

    def on_test_epoch_end(self) -> None:
        self.log_dict(self.evaluation.accuracies("test/"))
        if self.multi_label:
            self.log("test/video_map", mean_average_precision(self.scores.compute()), sync_dist=True)

    def on_predict_start(self) -> None:
        self._fuse()

    def predict_step(self, batch: Batch | None, batch_idx: int) -> tuple[Tensor, Tensor] | None:
        """(indices [B], scores [B, K]); each row of scores sums to 1, unless videos may have several classes."""
        if batch is None:
            return None
        frames, _, indices = batch
        scores = average_views(self._logits(self._evaluated_net, frames), self.multi_label)
        refuse_not_finite(self.trainer, "predict", indices, scores)
        return indices, scores

    @property
    def _evaluated_net(self) -> nn.Module:
        """The network of a test or a prediction."""
        return self._fused[0] if self._fused else self.net

    def _fuse(self) -> None:
        """Run this test or prediction by a network without batch norms."""
        if self.execution.fuse and is_fusible(self.net):
            self._fused[:] = [fuse(self.net)]
            if self.execution.compile:
                self._fused[0].compile()

    def on_test_end(self) -> None:
        self._fused.clear()

    def on_predict_end(self) -> None:
        self._fused.clear()

    def _results(self, indices: Tensor, labels: Tensor, logits: Tensor, stage: Stage) -> VideoResults:
        self._check_targets(labels)
        results = results_of(indices, labels, logits)
        refuse_not_finite(self.trainer, stage, indices, results.scores)
        return results


def _refuse_arguments(block: Mapping[str, Any]) -> None:
    """Refuse arguments of `create_model` among the options of a block: they have settings of their own."""
    arguments = set(inspect.signature(create_model).parameters) - {"at", "site", "block_options"}
    if misplaced := sorted(arguments & block.keys()):
        raise UsageError(
            f"model.block takes at, site and the options of the block, got {', '.join(misplaced)} (of model itself)"
        )


def _refuse_unused(**settings: Any) -> None:
    """Refuse settings of `network` that a network of one's own does not use."""
    parameters = inspect.signature(VideoTask).parameters
    unused = [name for name, value in settings.items() if value != parameters[name].default]
    if unused:
        raise UsageError(f"with a network of your own (net), {', '.join(unused)} would have no effect: remove")


def _with_blocks(net: nn.Module, blocks: BlocksName, block: dict[str, Any] | None) -> nn.Module:
    options = dict(block or {})
    at, site = options.pop("at", None), options.pop("site", None)
    insert_blocks(net, blocks, at, site, options)
    return net
