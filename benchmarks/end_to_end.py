"""Clips per second of a whole training from video files, and the fraction of the time that it waits for the loader.

    python -m benchmarks.end_to_end MANIFEST --workers 0 1 2 --step_ms 50 [--json FILE]
    python -m benchmarks.end_to_end MANIFEST --workers 4 8 16 --device cuda --precision bf16-mixed

Without `--step_ms` the network is trained. With it, a step only takes that long, as on a device of that speed, and
leaves the CPU to the loader: so a machine without a GPU tells how many loader processes feed one. Clips have 8 frames
of 224 x 224 at stride 8. MANIFEST should list prepared videos; see docs/data.md. The first steps, which start the
workers and fill their queues, do not count.
"""

import argparse
import json
import logging
import os
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from benchmarks.measuring import machine, write
from gcvideo.data.datamodule import VideoDataModule
from gcvideo.data.sampling import Clip
from gcvideo.data.transforms import Augmentation
from gcvideo.training.execution import Execution
from gcvideo.training.task import VideoTask


class Simulated(pl.LightningModule):
    """A network of which only the time of a step is known."""

    def __init__(self, step_ms: float):
        super().__init__()
        self.step_s = step_ms / 1000
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        time.sleep(self.step_s)
        return self.weight * 1.0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


class Times(pl.Callback):
    """Seconds of every step, and how many of them it waited for its batch."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.steps: list[float] = []
        self.waits: list[float] = []
        self.end: float | None = None

    def on_train_epoch_start(self, *_: Any) -> None:
        self.end = None

    def on_train_batch_start(self, *_: Any) -> None:
        self.start = time.perf_counter()

    def on_train_batch_end(self, *_: Any) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()  # else the wait for the device would look like one for the loader
        now = time.perf_counter()
        if self.end is not None:
            self.steps.append(now - self.end)
            self.waits.append(self.start - self.end)
        self.end = now


def cpu_seconds() -> float:
    """Of this process and of the loader processes that have ended."""
    own, children = os.times()[:2], os.times()[2:4]
    return sum(own) + sum(children)


def measure(args: argparse.Namespace, workers: int, step_ms: float | None) -> dict[str, Any]:
    """Train for a number of steps."""
    data = VideoDataModule(
        args.manifest,
        clip=Clip(8, 8),
        augment=Augmentation(224, (256, 320)),
        batch_size=args.batch,
        num_workers=workers,
    )
    if step_ms is None:
        execution = Execution(compile=args.compile)
        task: pl.LightningModule = VideoTask(
            data.class_names, args.network, args.blocks, lr=0.001, execution=execution, dropout=0.0
        )
    else:
        task = Simulated(step_ms)
    times = Times(args.device)
    trainer = pl.Trainer(
        accelerator="gpu" if args.device == "cuda" else "cpu", devices=1, precision=args.precision,
        max_steps=args.steps + args.skip, max_epochs=-1, callbacks=[times], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0, use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )  # fmt: skip
    before = cpu_seconds()
    trainer.fit(task, data)
    cpu_s = cpu_seconds() - before
    steps, waits = times.steps[args.skip :], times.waits[args.skip :]
    return {
        "workers": workers,
        "clips_per_s": args.batch * len(steps) / sum(steps),
        "step_ms": 1000 * statistics.median(steps),
        "data_wait": sum(waits) / sum(steps),
        "cpu_ms_per_clip": 1000 * cpu_s / (args.batch * len(times.steps)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--skip", type=int, default=10)
    parser.add_argument("--step_ms", type=float, nargs="+", help="simulated; default: train")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--network", default="slowonly_r50")
    parser.add_argument("--blocks", default="gc_all")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    rows = []
    print("| step of the device, ms | workers | clips/s | step, ms | data_wait | CPU ms per clip |")
    print("|---|---|---|---|---|---|")
    for step_ms in args.step_ms or [None]:
        for workers in args.workers:
            row = {"device_ms": step_ms, **measure(args, workers, step_ms)}
            rows.append(row)
            asked = "trained" if step_ms is None else f"{step_ms:g}"
            print(
                f"| {asked} | {workers} | {row['clips_per_s']:.1f} | {row['step_ms']:.1f} | {row['data_wait']:.1%} "
                f"| {row['cpu_ms_per_clip']:.1f} |",
                flush=True,
            )
    print(json.dumps(machine(args.device)))
    write(args.json, {"machine": machine(args.device), "command": sys.argv, "rows": rows})


if __name__ == "__main__":
    main()
