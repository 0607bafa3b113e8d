"""The parts of pytorchvideo that our networks are built from: the only place where the package imports it.

pytorchvideo imports `fvcore.nn`, which compiles two loss functions by `torch.jit.script` while it is imported.
Nothing here uses them, and `torch.jit.script` is deprecated: it warns, costs time, and will be removed one day.
`fvcore.nn` is therefore imported first, with a `torch.jit.script` that returns the function as it is.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch


@contextmanager
def _without_scripting() -> Iterator[None]:
    def script(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[..., Any]:
        return function

    own = getattr(torch.jit, "script", None)
    torch.jit.script = script  # type: ignore[assignment]
    try:
        yield
    finally:
        if own is None:
            del torch.jit.script
        else:
            torch.jit.script = own


with _without_scripting():
    import_module("fvcore.nn")

from pytorchvideo.models.head import ResNetBasicHead, create_res_basic_head  # noqa: E402
from pytorchvideo.models.net import Net  # noqa: E402
from pytorchvideo.models.resnet import (  # noqa: E402
    BottleneckBlock,
    ResBlock,
    ResStage,
    create_bottleneck_block,
    create_res_stage,
)
from pytorchvideo.models.stem import ResNetBasicStem, create_res_basic_stem  # noqa: E402

__all__ = [
    "BottleneckBlock",
    "Net",
    "ResBlock",
    "ResNetBasicHead",
    "ResNetBasicStem",
    "ResStage",
    "create_bottleneck_block",
    "create_res_basic_head",
    "create_res_basic_stem",
    "create_res_stage",
]
