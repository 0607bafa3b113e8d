"""Backbones, named models and their weights."""

from gcvideo.models.checkpoints import Checkpoint, checkpoints, find_weights, other_function
from gcvideo.models.contexts import CONTEXTS, STAGES, ContextName, Places, insert_context
from gcvideo.models.reading import WeightsError, read_state
from gcvideo.models.weights import WeightsReport, export_weights, load_weights
from gcvideo.models.zoo import MODELS, ModelName, create_model

__all__ = [
    "CONTEXTS",
    "MODELS",
    "STAGES",
    "Checkpoint",
    "ContextName",
    "ModelName",
    "Places",
    "WeightsError",
    "WeightsReport",
    "checkpoints",
    "create_model",
    "export_weights",
    "find_weights",
    "insert_context",
    "load_weights",
    "other_function",
    "read_state",
]
