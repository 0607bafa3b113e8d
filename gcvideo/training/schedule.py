"""The learning rate over a run: a pure function of the optimizer step.

Because nothing but the step enters, a resumed run follows the settings that it was started with, not those of the
checkpoint. Recipe: "SlowFast Networks" (arXiv:1812.03982), section 4: half-period cosine with linear warm-up.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import pytorch_lightning as pl
from pytorch_lightning.callbacks import BatchSizeFinder, Callback, LearningRateFinder

from gcvideo.errors import UsageError
from gcvideo.training.optim import Optimization

log = logging.getLogger(__name__)


def cosine(step: int, total_steps: int, milestones: Sequence[int], gamma: float) -> float:
    """Half-period cosine: 1 at step 0, towards 0 at `total_steps`."""
    return 0.5 * (1 + math.cos(math.pi * min(step, total_steps) / total_steps))


def multistep(step: int, total_steps: int, milestones: Sequence[int], gamma: float) -> float:
    """`gamma` to the power of the milestones reached."""
    return gamma ** sum(step >= milestone for milestone in milestones)


SCHEDULES: dict[str, Callable[[int, int, Sequence[int], float], float]] = {"cosine": cosine, "multistep": multistep}

if TYPE_CHECKING:
    ScheduleName: TypeAlias = str
else:
    ScheduleName = Literal[tuple(SCHEDULES)]


@dataclass(frozen=True)
class Schedule:
    """Learning rate as a multiple of its peak.

    Args:
        name: "cosine" (to 0 at the end of the run) or "multistep" (times `gamma` at each milestone).
        warmup_epochs: length of the linear warm-up; may be a fraction.
        warmup_start: factor at the first step if there is a warm-up.
        milestones: of "multistep", in epochs.
        gamma: of "multistep".
    """

    name: ScheduleName = "cosine"
    warmup_epochs: float = 0.0
    warmup_start: float = 0.1
    milestones: tuple[float, ...] = ()
    gamma: float = 0.1

    def __post_init__(self) -> None:
        if self.name not in SCHEDULES:
            raise ValueError(f"schedule.name must be one of {tuple(SCHEDULES)}, got {self.name!r}")
        for name in ("warmup_epochs", "warmup_start", "gamma"):
            if not 0 <= getattr(self, name) < math.inf:  # False for nan, too
                raise ValueError(f"schedule.{name} must be a finite number of at least 0, got {getattr(self, name)}")
        if not all(0 <= milestone < math.inf for milestone in self.milestones):
            raise ValueError(f"schedule.milestones must be finite numbers of at least 0, got {list(self.milestones)}")
        if (self.name == "multistep") != bool(self.milestones):
            raise ValueError(
                f"schedule.milestones belong to schedule.name multistep, which needs them; "
                f"got {self.name} with milestones {list(self.milestones)}"
            )

    def factor(self, step: int, total_steps: int, steps_per_epoch: int) -> float:
        """Learning rate at optimizer step `step` (from 0), as a multiple of the peak.

        The warm-up is a line from `warmup_start` to the value that the schedule has at its end, as in PySlowFast.

        Args:
            step: optimizer step.
            total_steps: length of the run, at least 1.
            steps_per_epoch: optimizer steps of an epoch, at least 1.
        """
        milestones = [round(epoch * steps_per_epoch) for epoch in self.milestones]
        warmup_steps = round(self.warmup_epochs * steps_per_epoch)
        # During the warm-up this is the value at its end, where the line must arrive.
        after_warmup = SCHEDULES[self.name](max(step, warmup_steps), total_steps, milestones, self.gamma)
        if step >= warmup_steps:
            return after_warmup
        return self.warmup_start + (after_warmup - self.warmup_start) * step / warmup_steps


class LearningRate(Callback):
    """Sets the learning rate before every step and logs it as `lr`.

    `VideoTask` brings this callback along, so that every Trainer has it. At the start it also restores every optimizer
    setting of this run, which a resumed optimizer state has overwritten with those of the checkpoint.

    Args:
        schedule: shape of the learning rate.
        optim: for the scaling rule.
    """

    def __init__(self, schedule: Schedule, optim: Optimization):
        self.schedule, self.optim = schedule, optim
        self._peak = 0.0
        self._settings: list[dict[str, Any]] = []

    def remember(self, groups: Sequence[dict[str, Any]]) -> None:
        """Keep the settings of a fresh optimizer's parameter groups, before a checkpoint overwrites them."""
        self._settings = [{name: value for name, value in group.items() if name != "params"} for group in groups]

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        batch = effective_batch(trainer) if self.optim.lr_batch is not None else 1  # without a rule, any batch will do
        self._peak = self.optim.peak_lr(pl_module.hparams["lr"], batch)
        log.info("peak learning rate %g", self._peak)
        for group, settings in zip(self._groups(trainer), self._settings, strict=True):
            group.update(settings)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        total_steps, steps_per_epoch = run_length(trainer)
        # Not `global_step`: a run that resumes with another batch has taken more steps, or fewer, to come here.
        step = trainer.current_epoch * steps_per_epoch + batch_idx // trainer.accumulate_grad_batches
        lr = self._peak * self.schedule.factor(step, total_steps, steps_per_epoch)
        for group in self._groups(trainer):
            group["lr"] = lr * group.get("lr_factor", 1.0)
        pl_module.log("lr", lr)

    def _groups(self, trainer: pl.Trainer) -> list[dict[str, Any]]:
        """The parameter groups of the task's optimizer; those that other callbacks add later keep their own rates."""
        return trainer.optimizers[0].param_groups[: len(self._settings)]


def effective_batch(trainer: pl.Trainer) -> int:
    """Clips of one optimizer step: clips per device x devices x accumulated batches.

    Raises:
        UsageError: the training loader has no batch size.
    """
    sources = (getattr(trainer, "datamodule", None), trainer.train_dataloader)
    sizes = [getattr(source, "batch_size", None) for source in sources]
    # The data module first: its loader of shards collates by itself and has batch_size None.
    per_device = getattr(sources[0], "clips_per_batch", None) or sizes[0] or sizes[1]
    if per_device is None:
        raise UsageError(
            f"the training loader ({type(trainer.train_dataloader).__name__}) has no batch_size, which the learning "
            f"rate is scaled by; set model.optim.lr_batch to null and model.lr to the rate itself"
        )
    return per_device * trainer.world_size * trainer.accumulate_grad_batches


def run_length(trainer: pl.Trainer) -> tuple[int, int]:
    """Optimizer steps of the run, and of an epoch.

    Not `trainer.estimated_stepping_batches`: that builds the training loader before a checkpoint is restored.

    Raises:
        UsageError: the run has no end, or epochs no length.
    """
    steps_per_epoch = trainer.num_training_batches / trainer.accumulate_grad_batches
    # Lightning's -1 stands for no limit.
    epochs = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else math.inf
    max_steps = trainer.max_steps if trainer.max_steps > 0 else math.inf
    total_steps = min(math.ceil(steps_per_epoch) * epochs if steps_per_epoch < math.inf else math.inf, max_steps)
    if math.inf in (total_steps, steps_per_epoch):
        raise UsageError(
            "the learning-rate schedule needs a run of known length: set trainer.max_epochs or trainer.max_steps, and "
            "for a loader without a length also trainer.limit_train_batches"
        )
    # Rounded up: Lightning steps at the end of an epoch even if fewer batches have been accumulated.
    return int(total_steps), math.ceil(steps_per_epoch)


def refuse_tuners(trainer: pl.Trainer, optim: Optimization) -> None:
    """Refuse Lightning's tuners where their result would not mean what it says.

    Raises:
        UsageError: they contradict the settings; the message says how to use them.
    """
    if optim.lr_batch is None:
        return  # the rate is taken as it is
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    if any(isinstance(callback, LearningRateFinder) for callback in callbacks):
        raise UsageError(
            "LearningRateFinder suggests the rate of the optimizer, but model.lr is scaled by batch / optim.lr_batch: "
            "set model.optim.lr_batch to null to use it"
        )
    if any(isinstance(callback, BatchSizeFinder) for callback in callbacks):
        raise UsageError(
            "BatchSizeFinder changes the batch, and with it the learning rate that optim.lr_batch scales: "
            "set model.optim.lr_batch to null to use it"
        )
