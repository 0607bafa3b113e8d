"""Backbones and named models."""

from gcvideo.models.contexts import CONTEXTS, STAGES, ContextName, Places, insert_context
from gcvideo.models.zoo import MODELS, ModelName, create_model

__all__ = ["CONTEXTS", "MODELS", "STAGES", "ContextName", "ModelName", "Places", "create_model", "insert_context"]
