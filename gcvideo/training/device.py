"""What a run computes on, in words."""

import pytorch_lightning as pl
import torch


def device_name(trainer: pl.Trainer) -> str:
    """Such as "CPU", or "8 x NVIDIA H100 80GB HBM3"; of devices of several kinds, the first."""
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
    return name if trainer.world_size == 1 else f"{trainer.world_size} x {name}"
