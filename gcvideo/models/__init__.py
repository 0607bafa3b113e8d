"""Backbones and named models."""

from gcvideo.models.zoo import CONTEXTS, MODELS, ContextName, ModelName, create_model

__all__ = ["CONTEXTS", "MODELS", "ContextName", "ModelName", "create_model"]
