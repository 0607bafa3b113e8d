"""gcvideo: Global Context networks for video recognition.

The names below are imported on first use, so that the command line answers without waiting for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gcvideo.blocks import ContextBlock1d, ContextBlock2d, ContextBlock3d
    from gcvideo.insertion import insert, inserted_blocks
    from gcvideo.models import create_model

__version__ = "0.1.0"
__all__ = ["ContextBlock1d", "ContextBlock2d", "ContextBlock3d", "create_model", "insert", "inserted_blocks"]

_HOME = {"create_model": "gcvideo.models", "insert": "gcvideo.insertion", "inserted_blocks": "gcvideo.insertion"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'gcvideo' has no attribute {name!r}")
    return getattr(import_module(_HOME.get(name, "gcvideo.blocks")), name)
