"""The machine: versions, devices, disks and shared memory."""

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.accelerators import CPUAccelerator

from gcvideo.doctor.finding import Finding, size

CHECKPOINTS = 4
"""last, previous, best, and the one that is being written."""


def versions(found: dict[str, str]) -> Iterator[Finding]:
    """The versions that a result depends on.

    Args:
        found: package -> version; see `report.provenance`.
    """
    yield Finding("ok", "versions", ", ".join(f"{name} {number}" for name, number in found.items()))


def devices(trainer: pl.Trainer) -> Iterator[Finding]:
    """What the trainer runs on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not isinstance(trainer.accelerator, CPUAccelerator):
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        kind = ", ".join(sorted(set(names))) or type(trainer.accelerator).__name__
        yield Finding("ok", "devices", f"{trainer.num_devices} of {len(names)} ({kind}) x {trainer.num_nodes} node(s)")
        return
    unused = torch.cuda.device_count()
    text = f"{trainer.num_devices} process(es) on {platform.machine()}, {cores} cores"
    if unused:
        yield Finding("warning", "devices", f"{text}; {unused} GPU(s) unused: trainer.accelerator is cpu")
    else:
        yield Finding("ok", "devices", text)


def disks(run_dir: Path, checkpoint_bytes: int) -> Iterator[Finding]:
    """Whether the run's folder can be written and holds the checkpoints; and $TMPDIR, which libraries use.

    Args:
        run_dir: folder of the run; need not exist.
        checkpoint_bytes: of one checkpoint.
    """
    existing = next(path for path in (run_dir, *run_dir.absolute().parents) if path.exists())
    free, needed = shutil.disk_usage(existing).free, CHECKPOINTS * checkpoint_bytes
    text = f"{size(free)} free for checkpoints of {size(checkpoint_bytes)} ({CHECKPOINTS} at a time)"
    if not os.access(existing, os.W_OK | os.X_OK):
        yield Finding("problem", "run folder", f"{run_dir} can't be written")
    else:
        yield Finding("ok" if free > needed else "problem", "run folder", f"{run_dir}: {text}")
    try:
        with tempfile.NamedTemporaryFile():
            yield Finding(
                "ok", "TMPDIR", f"{tempfile.gettempdir()}: {size(shutil.disk_usage(tempfile.gettempdir()).free)}"
            )
    except OSError as error:
        yield Finding("problem", "TMPDIR", f"no temporary folder can be written: {error.strerror or error}")


def shared_memory(batch_bytes: int, num_workers: int, num_devices: int) -> Iterator[Finding]:
    """Whether the batches that loader processes have ready fit into /dev/shm.

    Args:
        batch_bytes: of one batch, uint8.
        num_workers: loader processes of a device; each has up to 2 batches ready.
        num_devices: of this machine.
    """
    folder = Path("/dev/shm")
    if not folder.is_dir() or num_workers == 0:
        return
    free, needed = shutil.disk_usage(folder).free, 2 * num_workers * num_devices * batch_bytes
    text = f"{size(free)} free, batches of loader processes take up to {size(needed)}"
    hint = (
        "" if needed < free else "; reduce data.num_workers or data.batch_size, or give the container more (--shm-size)"
    )
    yield Finding("ok" if needed < free else "problem", "shared memory", text + hint)
