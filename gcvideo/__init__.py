"""gcvideo: Global Context networks for video recognition.

The names below are imported on first use, so that the command line answers without waiting for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gcvideo.blocks import (
        ContextBlock1d,
        ContextBlock2d,
        ContextBlock3d,
        NonLocalBlock1d,
        NonLocalBlock2d,
        NonLocalBlock3d,
        SimplifiedNonLocal1d,
        SimplifiedNonLocal2d,
        SimplifiedNonLocal3d,
        SqueezeExcitation1d,
        SqueezeExcitation2d,
        SqueezeExcitation3d,
    )
    from gcvideo.data.datamodule import VideoDataModule
    from gcvideo.errors import GcvideoError
    from gcvideo.insertion import insert, inserted_blocks
    from gcvideo.models import create_model, export_weights, find_weights, list_models, list_weights, load_weights
    from gcvideo.training.task import VideoTask

__version__ = "0.1.0"
__all__ = [
    "ContextBlock1d",
    "ContextBlock2d",
    "ContextBlock3d",
    "GcvideoError",
    "NonLocalBlock1d",
    "NonLocalBlock2d",
    "NonLocalBlock3d",
    "SimplifiedNonLocal1d",
    "SimplifiedNonLocal2d",
    "SimplifiedNonLocal3d",
    "SqueezeExcitation1d",
    "SqueezeExcitation2d",
    "SqueezeExcitation3d",
    "VideoDataModule",
    "VideoTask",
    "create_model",
    "export_weights",
    "find_weights",
    "insert",
    "inserted_blocks",
    "list_models",
    "list_weights",
    "load_weights",
]

_MODULES = {
    "GcvideoError": "gcvideo.errors",
    "VideoDataModule": "gcvideo.data.datamodule",
    "VideoTask": "gcvideo.training.task",
    "create_model": "gcvideo.models",
    "export_weights": "gcvideo.models",
    "find_weights": "gcvideo.models",
    "insert": "gcvideo.insertion",
    "inserted_blocks": "gcvideo.insertion",
    "list_models": "gcvideo.models",
    "list_weights": "gcvideo.models",
    "load_weights": "gcvideo.models",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'gcvideo' has no attribute {name!r}")
    return getattr(import_module(_MODULES.get(name, "gcvideo.blocks")), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
