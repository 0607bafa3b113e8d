"""Weights from everywhere, and back: fits published checkpoints into our models, and says what it did."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor, nn

from gcvideo.blocks.non_local import _NonLocalBlock
from gcvideo.insertion import inserted_blocks
from gcvideo.models.checkpoint_file import WeightsError, read_state
from gcvideo.models.layouts import LAYOUTS, Place, detect, position

Inflation = Literal["mean", "center"]


@dataclass
class WeightsReport:
    """What `load_weights` did. Lists of the model's own names; the summary is `str(report)`."""

    path: str
    layout: str
    matched: list[str] = field(default_factory=list)
    inflated: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"{len(self.matched)} tensors matched", f"{len(self.inflated)} inflated"]
        parts += [f"ignored: {_some(self.ignored)}"] if self.ignored else []
        parts += [f"not in the file, left as initialised: {_some(self.new)}"] if self.new else []
        return f"{self.path} ({self.layout} names): {'; '.join(parts)}"


def load_weights(model: nn.Module, path: str | Path, inflation: Inflation = "mean") -> WeightsReport:
    """Load a published checkpoint, or one of ours, into a model of `create_model`.

    Reads files of pytorchvideo's hub, PySlowFast (.pyth and caffe2's .pkl), mmaction2, mmaction v0, torchvision
    (2D ResNets, inflated), GCNet and mmdetection (2D, with their ContextBlocks), and checkpoints of gcvideo. Every
    tensor of the file must have its place in the model and the reverse; the exceptions, all reported, are: a
    classifier of another number of classes, or none, is left as initialised; so are inserted blocks of which the file
    has nothing; the neck and heads of a detector, and the training state in a caffe2 file, are passed over.

    Args:
        model: left as it was if an error is raised.
        path: of the file.
        inflation: how a 2D kernel fills T frames: "mean" repeats it, divided by T (all published recipes); "center"
            puts it into the middle frame and zeros elsewhere.

    Raises:
        WeightsError: the file can't be read safely, a tensor has no place or another shape, or the blocks of the file
            stand at another position or sub-sample in another way than those of the model. What no name or shape
            tells is not checked: `use_scale`, the strides of I3D, and the options of NL in a file of ours.
    """
    if inflation not in ("mean", "center"):
        raise ValueError(f"inflation must be 'mean' or 'center', got {inflation!r}")
    state = read_state(path)
    layout = detect(state)
    theirs, unknown = LAYOUTS[layout].parse(state)
    if unknown:
        raise WeightsError(f"{path}: not a bottleneck ResNet that is known here; nearest {layout}, {_some(unknown)}")
    own_state = model.state_dict()
    own, strange = LAYOUTS[detect(own_state)].parse(own_state)
    if strange:
        raise WeightsError(f"load_weights needs a model of create_model; this one has {_some(strange)}")
    _check_blocks(model, layout, own, theirs, str(path))
    report = WeightsReport(str(path), layout)
    passed_over = [key.partition(".")[0] for key in state if re.match(LAYOUTS[layout].ignored, key)]
    report.ignored = [f"{name} ({count} tensors)" for name, count in Counter(passed_over).items()]
    filled = dict(own_state)
    problems = [f"no place for {key}" for place, key in theirs.items() if place not in own and not _optional(place)]
    for place, key in own.items():
        if place not in theirs:
            value = _absent(place, own_state[key], theirs, layout)
            if value is not None:
                filled[key] = value
                report.matched.append(key)
            elif not _optional(place) and not _may_be_new(place, theirs):
                problems.append(f"{key} is not in the file")
            elif not _optional(place):
                report.new.append(key)
            continue
        value = _fit(state[theirs[place]], own_state[key], inflation)
        if value is not None:
            filled[key] = value
            (report.inflated if value.numel() > state[theirs[place]].numel() else report.matched).append(key)
        elif place.module == "head" and state[theirs[place]].shape[1:2] == own_state[key].shape[1:2]:
            have, want = len(state[theirs[place]]), len(own_state[key])
            report.ignored.append(f"{theirs[place]} ({have} classes, here {want})")
        else:
            have_shape, want_shape = tuple(state[theirs[place]].shape), tuple(own_state[key].shape)
            problems.append(f"{theirs[place]} has shape {have_shape}, wanted {want_shape}")
    if problems:
        raise WeightsError(f"{path} ({layout} names) does not fit the model: {_some(problems)}")
    report.new = _by_block(report.new)
    model.load_state_dict(filled)
    return report


def export_weights(model: nn.Module, path: str | Path, layout: Literal["pytorchvideo", "pyslowfast"]) -> None:
    """Write the weights of a 3D model under the names of another project, as {"model_state": ...}.

    "pytorchvideo" keeps the names of inserted blocks, which load there after `insert`. PySlowFast has NL blocks behind
    a residual block, pooled first, and no others.

    Raises:
        WeightsError: the other project has no name for a block, or another computation under it.
    """
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    if layout not in ("pytorchvideo", "pyslowfast"):
        raise ValueError(f"layout must be 'pytorchvideo' or 'pyslowfast', got {layout!r}")
    if detect(state) != "pytorchvideo":
        raise WeightsError("only 3D models of create_model can be exported")
    if layout == "pyslowfast":
        if cast(nn.Conv3d, model.get_submodule("blocks.0.conv")).stride[0] != 1:
            raise WeightsError("PySlowFast's I3D keeps all frames in its stem; this one halves them")
        places, _ = LAYOUTS["pytorchvideo"].parse(state)
        names = {key: LAYOUTS[layout].write(place) for place, key in places.items()}
        nameless = [key for key, name in names.items() if name is None]
        if nameless:
            raise WeightsError(f"PySlowFast has no name for {_some(nameless)}")
        for name, block in inserted_blocks(model).items():
            assert isinstance(block, _NonLocalBlock)  # what else has a name there
            if not name.rpartition(".")[0].endswith("res_blocks"):
                raise WeightsError(f"PySlowFast's NL blocks stand behind the residual block; this one is at {name}")
            if block.mode not in ("embedded_gaussian", "dot_product") or block.norm is None:
                raise WeightsError(
                    f"PySlowFast's NL blocks are embedded_gaussian or dot_product, with norm; not at {name}"
                )
            if not block.pool_first or (not block.use_scale and block.mode == "embedded_gaussian"):
                raise WeightsError(f"PySlowFast's NL blocks pool first and scale; the one at {name} does not")
        state = {str(names[key]): value for key, value in state.items()}
    target = Path(path)
    if not target.parent.is_dir():
        raise WeightsError(f"no folder {target.parent} to write into")
    partial = target.with_name(f".{target.name}.part")
    torch.save({"model_state": state}, partial)
    partial.replace(target)


def _fit(value: Tensor, own: Tensor, inflation: Inflation) -> Tensor | None:
    """`value` in the shape of `own`: as it is, with ones at the end of its shape added or gone, or inflated."""
    if value.shape == own.shape:
        return value
    if value.numel() == own.numel() and _plain(value) == _plain(own):
        return value.reshape(own.shape)
    if value.ndim == own.ndim == 5 and value.shape[2] == 1:
        value = value[:, :, 0]
    if value.ndim != 4 or own.ndim != 5 or value.shape != own[:, :, 0].shape:
        return None
    frames = own.shape[2]
    if inflation == "mean":
        return value[:, :, None].expand_as(own) / frames
    inflated = torch.zeros_like(own, dtype=value.dtype, device=value.device)
    inflated[:, :, frames // 2] = value
    return inflated


def _plain(value: Tensor) -> list[int]:
    shape = list(value.shape)
    while shape and shape[-1] == 1:
        shape.pop()
    return shape


def _optional(place: Place) -> bool:
    return place.leaf == "num_batches_tracked"


def _may_be_new(place: Place, theirs: Mapping[Place, str]) -> bool:
    """Whether the file has no classifier, or nothing of the inserted block."""
    if place.module == "head":
        return not any(other.module == "head" for other in theirs)
    return place.module.startswith("context.") and not _has_block(place, theirs)


def _has_block(place: Place, theirs: Mapping[Place, str]) -> bool:
    return any(
        other.module.startswith("context.") and (other.stage, other.block) == (place.stage, place.block)
        for other in theirs
    )


def _absent(place: Place, own: Tensor, theirs: Mapping[Place, str], layout: str) -> Tensor | None:
    """What a tensor that the layout leaves out stands for, if it is known."""
    has_weight = place._replace(leaf="weight") in theirs
    if layout == "mmaction2" and has_weight and (place.module, place.leaf) == ("context.conv_out", "bias"):
        return torch.zeros_like(own)  # no bias in front of a batch norm
    if layout == "caffe2" and has_weight and place.leaf in ("running_mean", "running_var"):
        # affine models: batch norms reduced to scale and shift; a variance of 1 - eps makes the divisor 1
        return torch.zeros_like(own) if place.leaf == "running_mean" else torch.full_like(own, 1 - 1e-5)
    return None


def _check_blocks(
    model: nn.Module, layout: str, own: Mapping[Place, str], theirs: Mapping[Place, str], path: str
) -> None:
    """Blocks of equal tensors and another function: at another position, or sub-sampling in another way."""
    for place, key in theirs.items():
        if place.module.startswith("context.") and place in own and position(key) != position(own[place]):
            raise WeightsError(
                f"{path}: the block of {key} stands {position(key)}, that of the model {position(own[place])}"
            )
    projected = [key for place, key in theirs.items() if place.module == "context.conv_g"]
    for name, block in inserted_blocks(model).items():
        if not isinstance(block, _NonLocalBlock) or not projected:
            continue
        if layout == "mmaction2" and block.sub_sample != (".g.0." in projected[0]):
            raise WeightsError(f"{path}: NL blocks of the file need sub_sample={not block.sub_sample} (at {name})")
        pool_first = LAYOUTS[layout].pool_first
        if block.sub_sample and pool_first not in (None, block.pool_first):
            raise WeightsError(
                f"{path}: NL blocks of {layout} {'pool, then project' if pool_first else 'project, then pool'}, which "
                f"is another function; build the model with pool_first={pool_first} (at {name})"
            )


def _by_block(names: list[str]) -> list[str]:
    """Names of tensors -> names of the modules they are of, with their number."""
    counts = Counter(
        name.partition(".context.")[0] + ".context" if ".context." in name else name.rpartition(".")[0]
        for name in names
    )
    return [f"{name} ({count} tensors)" for name, count in counts.items()]


def _some(names: list[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
