"""Our weights under the names of other projects."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import Tensor, nn

from gcvideo.blocks.non_local import NonLocalBlock
from gcvideo.errors import UsageError
from gcvideo.files import replacing
from gcvideo.insertion import inserted_blocks
from gcvideo.models.checkpoint_file import WeightsError
from gcvideo.models.layouts import LAYOUTS, detect
from gcvideo.models.loading import some

State = dict[str, Tensor]


def _renamed(state: State, layout: str) -> State:
    """State of one of our models under the names of another layout."""
    parsed = LAYOUTS["pytorchvideo"].parse(state)
    keys = {key: LAYOUTS[layout].write(name) for name, key in parsed.keys.items()}
    nameless = [key for key, other in keys.items() if other is None]
    if nameless:
        raise WeightsError(f"{layout} has no name for {some(nameless)}")
    return {str(other): state[key] for key, other in keys.items()}


def _check_pyslowfast(model: nn.Module) -> None:
    """Refuse what PySlowFast computes in another way under the same names; warn of what it must be told.

    Raises:
        WeightsError: a stem that strides in time, or an NL block elsewhere or with other options than there.
    """
    if cast(nn.Conv3d, model.get_submodule("blocks.0.conv")).stride[0] != 1:
        raise WeightsError("PySlowFast's I3D keeps all frames in its stem; this one halves them")
    blocks = inserted_blocks(model)
    for name, block in blocks.items():
        if not isinstance(block, NonLocalBlock):
            continue  # has no name there, which is an error of its own
        if not name.rpartition(".")[0].endswith("res_blocks"):
            raise WeightsError(f"PySlowFast's NL blocks are after the residual block; this one is at {name}")
        if block.mode not in ("embedded_gaussian", "dot_product") or block.norm is None:
            raise WeightsError(f"PySlowFast's NL blocks are embedded_gaussian or dot_product, with norm; not at {name}")
        if not block.pool_first or (not block.use_scale and block.mode == "embedded_gaussian"):
            raise WeightsError(f"PySlowFast's NL blocks pool first and scale; the one at {name} does not")
    if any(isinstance(block, NonLocalBlock) and not block.sub_sample for block in blocks.values()):
        warnings.warn(
            "the NL blocks do not sub-sample, which no name tells: set NONLOCAL.POOL of PySlowFast to "
            "[[[1, 1, 1]], [[1, 1, 1]], [[1, 1, 1]], [[1, 1, 1]]]",
            stacklevel=2,
        )


def _as_pytorchvideo(model: nn.Module, state: State) -> State:
    return state  # its names are ours


def _as_pyslowfast(model: nn.Module, state: State) -> State:
    # First, because "has no name for" is the clearer error for blocks that PySlowFast does not have at all.
    renamed = _renamed(state, "pyslowfast")
    _check_pyslowfast(model)
    return renamed


# Layout -> function that renames the state of a model, or refuses it.
EXPORTS: Mapping[str, Callable[[nn.Module, State], State]] = {
    "pytorchvideo": _as_pytorchvideo,
    "pyslowfast": _as_pyslowfast,
}

if TYPE_CHECKING:
    ExportLayout = str
else:
    ExportLayout = Literal[tuple(EXPORTS)]


def export_weights(model: nn.Module, path: str | Path, layout: ExportLayout) -> None:
    """Write the weights of a 3D model under the names of another project, as {"model_state": ...}.

    Args:
        model: a 3D model of `create_model`.
        path: of the file to write, in a folder that exists.
        layout: "pytorchvideo" keeps the names of inserted blocks, which load there after `insert`; "pyslowfast" has
            NL blocks after a residual block, pooled first, and no others.

    Raises:
        WeightsError: the other project has no name for a block, or computes something else under it.
    """
    if layout not in EXPORTS:
        raise UsageError(f"layout must be one of {tuple(EXPORTS)}, got {layout!r}")
    if not Path(path).parent.is_dir():
        raise WeightsError(f"no folder {Path(path).parent} to write into")
    # Contiguous, because channels-last memory is a setting of our run.
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    if detect(state) != "pytorchvideo":
        raise WeightsError("only 3D models of create_model can be exported")
    renamed = EXPORTS[layout](model, state)
    with replacing(path) as partial:
        torch.save({"model_state": renamed}, partial)
