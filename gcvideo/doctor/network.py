"""The network: its size, the memory and the time of a step, and where its weights come from."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from gcvideo.analysis import count_macs, count_parameters
from gcvideo.data.datamodule import VideoDataModule
from gcvideo.doctor.finding import Finding, size
from gcvideo.errors import GcvideoError
from gcvideo.models import list_weights, load_for
from gcvideo.training.schedule import effective_batch
from gcvideo.training.task import VideoTask


def state_bytes(task: VideoTask) -> int:
    """Weights, buffers, and the optimizer's momentum (AdamW: two) of float32; also the size of a checkpoint."""
    weights = sum(parameter.numel() * 4 for parameter in task.net.parameters())
    buffers = sum(buffer.numel() * buffer.element_size() for buffer in task.net.buffers())
    return weights * (3 if task.optim.name == "adamw" else 2) + buffers


def describe(task: VideoTask, data: VideoDataModule) -> Iterator[Finding]:
    """Parameters and multiply-accumulates."""
    clip, side = data.clip, data.augment.size
    macs = count_macs(task.net, (1, 3, clip.frames, side, side))
    yield Finding(
        "ok", "network",
        f"{task.hparams['network']}, blocks {task.hparams['blocks']}: {count_parameters(task.net):,} parameters, "
        f"{macs / 1e9:.3g} GMACs for a clip of {clip.frames} x {side} x {side}",
    )  # fmt: skip


def weights(task: VideoTask) -> Iterator[Finding]:
    """Whether the weights that a training starts from fit; a published file is not downloaded for it."""
    name, settings = task.hparams["weights"], task.hparams
    if not name:
        return
    if not Path(name).is_file():
        known = name in list_weights()
        text = "downloaded when the run starts" if known else "neither a file nor a published name"
        yield Finding("ok" if known else "problem", "weights", f"{name}: {text}")
        return
    try:
        report = load_for(task.net, name, settings["network"], settings["block"] or {}, settings["inflation"])
        yield Finding("ok", "weights", f"{name}: {report}")
    except GcvideoError as error:
        yield Finding("problem", "weights", str(error))


def batch(trainer: pl.Trainer, task: VideoTask, data: VideoDataModule) -> Iterator[Finding]:
    """The batch of an optimizer step, and the learning rate that it leads to."""
    clips = effective_batch(trainer)
    rate = task.optim.peak_lr(task.hparams["lr"], clips)
    steps = len(data.datasets["fit"]) * data.augment.repeats // clips
    product = f"{data.clips_per_batch} x {trainer.world_size} devices x {trainer.accumulate_grad_batches}"
    text = f"{clips} clips a step ({product})"
    text += f", {steps} steps an epoch, peak learning rate {rate:.4g}"
    is_synced = getattr(trainer.strategy, "_layer_sync", None) is not None
    if data.clips_per_batch < 4 and trainer.world_size > 1 and not is_synced:
        yield Finding(
            "warning", "batch", f"{text}; {data.clips_per_batch} clips for each batch norm: trainer.sync_batchnorm"
        )
    else:
        yield Finding("ok" if steps else "problem", "batch", text)


@contextmanager
def saved_for_gradients(net: nn.Module) -> Iterator[dict[int, int]]:
    """Address -> bytes of the arrays that are kept for a backward pass inside this context, other than parameters."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield saved


def step(task: VideoTask, data: VideoDataModule, device: torch.device, clip_s: float) -> Iterator[Finding]:
    """One training step of one clip on the device: memory for the batch, and time against the loader.

    Args:
        task: the model; its gradients are left as they were.
        data: its batch size and clips.
        device: where to measure.
        clip_s: seconds of one core for a clip; see `videos.clip_seconds`.
    """
    shape = (1, 1, 3, data.clip.frames, data.augment.size, data.augment.size)
    frames = torch.zeros(shape, dtype=torch.uint8, device=device)
    mode = task.training
    task.to(device).eval()  # without touching the batch norms' statistics; what is kept for the gradient is the same
    seconds = []
    with saved_for_gradients(task.net) as saved:
        for _ in range(2):  # the first warms up
            started = time.perf_counter()
            loss = task(frames).logsumexp(dim=-1).sum()  # it costs as much as any loss
            torch.autograd.grad(loss, [parameter for parameter in task.net.parameters() if parameter.requires_grad])
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - started)
    task.train(mode)
    activations = sum(saved.values()) * data.clips_per_batch
    memory = activations + state_bytes(task) + 4 * count_parameters(task.net)
    total = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None
    text = f"about {size(memory)} in float32, {size(activations)} of it activations of {data.clips_per_batch} clips"
    fits = total is None or memory < total
    hint = "" if fits else f"; the device has {size(total or 0)}: smaller data.batch_size, trainer.precision bf16-mixed"
    yield Finding("ok" if fits else "problem", "memory", text + hint)
    yield from _feeding(seconds[-1], clip_s, data.num_workers)


def _feeding(step_s: float, clip_s: float, num_workers: int) -> Iterator[Finding]:
    wanted, offered = 1 / step_s, max(num_workers, 1) / clip_s
    text = f"a device takes {wanted:.3g} clips/s one by one, {num_workers} loader processes offer {offered:.3g}"
    if offered < wanted:
        text += f"; data.num_workers {-(-wanted * clip_s // 1):.0f} would feed it, or prepare the videos"
    yield Finding("ok" if offered >= wanted else "warning", "loader", text)
