"""gcvideo: Global Context networks for video recognition.

The names below are imported on first use, so that the command line answers without waiting for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gcvideo.blocks import *  # noqa: F403
    from gcvideo.data.datamodule import VideoDataModule as VideoDataModule
    from gcvideo.errors import GcvideoError as GcvideoError
    from gcvideo.insertion import insert as insert
    from gcvideo.insertion import inserted_blocks as inserted_blocks
    from gcvideo.models import create_model as create_model
    from gcvideo.models import export_weights as export_weights
    from gcvideo.models import find_weights as find_weights
    from gcvideo.models import fuse as fuse
    from gcvideo.models import insert_blocks as insert_blocks
    from gcvideo.models import list_models as list_models
    from gcvideo.models import list_weights as list_weights
    from gcvideo.models import load_weights as load_weights
    from gcvideo.recognition import Recognizer as Recognizer
    from gcvideo.recognition import load as load
    from gcvideo.training.task import VideoTask as VideoTask

__version__ = "0.1.0"

# Public name -> module that defines it. Public too are the classes of the blocks, which `gcvideo.blocks.BLOCKS` lists.
_MODULES = {
    "GcvideoError": "gcvideo.errors",
    "Recognizer": "gcvideo.recognition",
    "VideoDataModule": "gcvideo.data.datamodule",
    "VideoTask": "gcvideo.training.task",
    "create_model": "gcvideo.models",
    "export_weights": "gcvideo.models",
    "find_weights": "gcvideo.models",
    "fuse": "gcvideo.models",
    "insert": "gcvideo.insertion",
    "insert_blocks": "gcvideo.models",
    "inserted_blocks": "gcvideo.insertion",
    "list_models": "gcvideo.models",
    "list_weights": "gcvideo.models",
    "load": "gcvideo.recognition",
    "load_weights": "gcvideo.models",
}


def __getattr__(name: str) -> Any:
    if name == "__all__":  # asked for by `from gcvideo import *`
        return sorted([*_MODULES, *import_module("gcvideo.blocks").BLOCKS])
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    # Only the classes of the blocks begin with a capital: other names, such as submodules, must not import torch.
    if name[0].isupper() and name in import_module("gcvideo.blocks").BLOCKS:
        return import_module("gcvideo.blocks").BLOCKS[name]
    raise AttributeError(f"module 'gcvideo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__getattr__("__all__"), "__version__"])
