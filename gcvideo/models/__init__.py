"""Named networks, blocks in them, and weights."""

from gcvideo.models.checkpoint_file import WeightsError, read_state
from gcvideo.models.create import create_model
from gcvideo.models.exporting import ExportLayout, export_weights
from gcvideo.models.fusing import fuse, is_fusible
from gcvideo.models.head import HEADS, Head
from gcvideo.models.loading import Inflation, WeightsReport, load_weights
from gcvideo.models.norms import Norms
from gcvideo.models.placement import PRESETS, STAGES, At, BlocksName, Indices, block_parameters, insert_blocks
from gcvideo.models.published import (
    Checkpoint,
    block_options_for,
    checkpoints,
    find_weights,
    head_for,
    list_weights,
    load_for,
    other_function,
)
from gcvideo.models.recomputing import recompute
from gcvideo.models.zoo import NETWORKS, NetworkName, list_models

__all__ = [
    "HEADS",
    "NETWORKS",
    "PRESETS",
    "STAGES",
    "At",
    "BlocksName",
    "Checkpoint",
    "ExportLayout",
    "Head",
    "Indices",
    "Inflation",
    "NetworkName",
    "Norms",
    "WeightsError",
    "WeightsReport",
    "block_options_for",
    "block_parameters",
    "checkpoints",
    "create_model",
    "export_weights",
    "find_weights",
    "fuse",
    "head_for",
    "insert_blocks",
    "is_fusible",
    "list_models",
    "list_weights",
    "load_for",
    "load_weights",
    "other_function",
    "read_state",
    "recompute",
]
