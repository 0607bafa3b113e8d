"""Backbones, named models and their weights."""

from gcvideo.models.checkpoint_file import WeightsError, read_state
from gcvideo.models.placement import PRESETS, STAGES, BlocksName, Indices, insert_blocks
from gcvideo.models.published import Checkpoint, checkpoints, find_weights, other_function
from gcvideo.models.weights import WeightsReport, export_weights, load_weights
from gcvideo.models.zoo import NETWORKS, NetworkName, create_model

__all__ = [
    "NETWORKS",
    "PRESETS",
    "STAGES",
    "BlocksName",
    "Checkpoint",
    "Indices",
    "NetworkName",
    "WeightsError",
    "WeightsReport",
    "checkpoints",
    "create_model",
    "export_weights",
    "find_weights",
    "insert_blocks",
    "load_weights",
    "other_function",
    "read_state",
]
