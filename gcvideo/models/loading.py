"""Checkpoints of other projects, and our own, into our models: strictly, with a report on every tensor.

A file and the model are both parsed to `TensorName`s, which mean the same in all layouts. Then each tensor of the model
meets the tensor of that name in the file, if there is one, and has a `Fate`.
"""

import re
import warnings
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from gcvideo.errors import UsageError
from gcvideo.models.checkpoint_file import WeightsError, read_checkpoint
from gcvideo.models.layouts import LAYOUTS, NamedTensors, parse_state
from gcvideo.models.naming import TensorName
from gcvideo.models.same_function import Told, check_non_local, check_sites, check_time_pooling, doubt_of_groups
from gcvideo.terminal import printable

Inflation = Literal["mean", "center"]
INFLATIONS: tuple[str, ...] = get_args(Inflation)


@dataclass
class WeightsReport:
    """What `load_weights` did.

    Args:
        path: of the file.
        layout: whose names the file has.
        matched: keys of the model that were loaded, as they are.
        inflated: keys of the model whose 2D kernel was spread over time.
        ignored: keys of the file that were not used, with the reason or number.
        new: modules of the model that are not in the file and stay as initialised.
    """

    path: str
    layout: str
    matched: list[str] = field(default_factory=list)
    inflated: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"{len(self.matched)} tensors matched", f"{len(self.inflated)} inflated"]
        parts += [f"ignored: {some(self.ignored)}"] if self.ignored else []
        parts += [f"not in the file, left as initialised: {some(self.new)}"] if self.new else []
        return printable(f"{self.path} ({self.layout} names): {'; '.join(parts)}")


class _Fate(NamedTuple):
    """What happens to one tensor of the model.

    "matched" and "inflated": `value` is loaded. "new" and "kept": it stays as initialised; "kept" is not worth a line
    in the report. "ignored": it stays, and the file's is not used. "problem": nothing can be loaded. `text` is the
    line for the report or the error.
    """

    kind: Literal["matched", "inflated", "new", "kept", "ignored", "problem"]
    text: str
    value: Tensor | None = None


def load_weights(
    model: nn.Module, path: str | Path, inflation: Inflation | None = None, stated: Collection[str] = ()
) -> WeightsReport:
    """Load a published checkpoint, or one of ours, into a model of `create_model`.

    Reads files of pytorchvideo's hub, PySlowFast (.pyth and caffe2's .pkl), mmaction2, mmaction v0, torchvision
    (2D ResNets, inflated), GCNet and mmdetection (2D, with their ContextBlocks), and checkpoints of gcvideo. Every
    tensor of the file must be in the model and the reverse. The exceptions, all reported: a classifier of another
    number of classes, or none, is left as initialised; so are inserted blocks of which the file has nothing; the neck
    and heads of a detector, and the training state in a caffe2 file, are ignored, and so are stages after the last one
    of the model, with the classifier of their features.

    Args:
        model: unchanged if an error is raised.
        path: of the file.
        inflation: how a 2D kernel fills T frames: "mean" repeats it, divided by T (all published recipes); "center"
            puts it into the middle frame and zeros elsewhere. Default: "mean", and a kernel of a video network that has
            one frame where the model has more is an error.
        stated: what you know of the network of the file where the file does not tell: names of options of its NL
            blocks, such as "mode", whose values are those of the model; "network" if time is pooled as in the model.

    Raises:
        WeightsError: the file cannot be read safely, a tensor is missing, superfluous or of another shape, the file
            tells that its blocks or its pooling of time are not those of the model, or it does not tell `mode`,
            `sub_sample` or `use_scale` of its NL blocks and they are not `stated`. What no file tells is not checked:
            the strides of I3D.
    """
    if inflation is not None and inflation not in INFLATIONS:
        raise UsageError(f"inflation must be one of {INFLATIONS}, got {inflation!r}")
    state, content = read_checkpoint(path)
    file = parse_state(state)
    if file.unknown:
        raise WeightsError(
            f"{path}: not a bottleneck ResNet of a supported project; closest are the names of {file.layout}, "
            f"which has no {some(file.unknown)}"
        )
    own_state = model.state_dict()
    own = parse_state(own_state)
    if own.unknown:
        raise WeightsError(f"load_weights needs a model of create_model; this one has {some(own.unknown)}")
    file, later = _without_later_stages(file, own)
    told = Told.by(file, content)
    check_sites(file, own, path)
    doubts = [check_non_local(model, file, told, stated, path), doubt_of_groups(file, path)]

    fates = {own.keys[name]: _fate(name, file, own, inflation or "mean") for name in own.keys}
    problems = _superfluous(file, own) + _texts(fates.values(), "problem")
    if problems:
        raise WeightsError(f"{path} ({file.layout} names) does not fit the model: {some(problems)}")
    inflated = _texts(fates.values(), "inflated")
    if not inflated:  # an inflated network is another one in any case
        doubts.append(check_time_pooling(file, own, told, stated, path))
    elif inflation is None:
        _check_inflation(inflated, file, own, path)

    # The whole state, so that load_state_dict can be strict: tensors without a value are replaced by themselves.
    filled = {key: fate.value for key, fate in fates.items() if fate.value is not None}
    model.load_state_dict({**own_state, **filled})
    for doubt in filter(None, doubts):
        warnings.warn(doubt, stacklevel=2)
    return WeightsReport(
        path=str(path),
        layout=file.layout,
        matched=_texts(fates.values(), "matched"),
        inflated=inflated,
        ignored=_ignored_keys(state, file.layout) + later + _texts(fates.values(), "ignored"),
        new=_by_module(_texts(fates.values(), "new")),
    )


def _without_later_stages(file: NamedTensors, own: NamedTensors) -> tuple[NamedTensors, list[str]]:
    """A file without the stages that a shorter model does not have, and without the classifier of their features.

    Returns:
        The rest, and what was left out, for the report.
    """
    last = max(name.stage for name in own.keys)
    later = [name for name in file.keys if name.stage > last]
    if not later:
        return file, []
    keys = {name: key for name, key in file.keys.items() if name.stage <= last and not name.is_head}
    stages = sorted({name.stage for name in later})
    return file._replace(keys=keys), [f"res{stage}, which the model does not have" for stage in stages]


def _check_inflation(inflated: list[str], file: NamedTensors, own: NamedTensors, path: str | Path) -> None:
    """Refuse kernels of a video network that would be inflated like those of an image network."""
    keys = [file.keys[name] for name, key in own.keys.items() if key in inflated and file.values[name].ndim == 5]
    if keys:
        raise WeightsError(
            f"{path}: {len(keys)} kernels have one frame, those of the model more ({some(keys, most=2)}); "
            f"if you mean to inflate them, state inflation='mean' or 'center'"
        )


def _superfluous(file: NamedTensors, own: NamedTensors) -> list[str]:
    return [
        f"the model has no tensor for {key}"
        for name, key in file.keys.items()
        if name not in own.keys and not _is_counter(name)
    ]


def _fate(name: TensorName, file: NamedTensors, own: NamedTensors, inflation: Inflation) -> _Fate:
    return _fate_of_present(name, file, own, inflation) if name in file.keys else _fate_of_absent(name, file, own)


def _fate_of_present(name: TensorName, file: NamedTensors, own: NamedTensors, inflation: Inflation) -> _Fate:
    theirs, ours, key = file.values[name], own.values[name], file.keys[name]
    value = _fit(theirs, ours, inflation)
    if value is not None:
        # A 2D kernel in a model whose kernel has T = 1 has equally many values: it is "matched".
        kind: Literal["inflated", "matched"] = "inflated" if value.numel() > theirs.numel() else "matched"
        return _Fate(kind, own.keys[name], value)
    # [1:2] and not [1]: a bias has one axis, and () == ().
    if name.is_head and theirs.shape[1:2] == ours.shape[1:2]:  # the same features, other classes
        return _Fate("ignored", f"{key} ({len(theirs)} classes, here {len(ours)})")
    return _Fate("problem", f"{key} has shape {tuple(theirs.shape)}, expected {tuple(ours.shape)}")


def _fate_of_absent(name: TensorName, file: NamedTensors, own: NamedTensors) -> _Fate:
    key, ours = own.keys[name], own.values[name]
    value = LAYOUTS[file.layout].value_of_absent(name)
    # The value is that of a tensor left out of a layer that is there, not of a layer that is missing.
    if value is not None and name._replace(leaf="weight") in file.keys:
        return _Fate("matched", key, torch.full_like(ours, value))
    if _is_counter(name):
        return _Fate("kept", key)
    if _may_be_new(name, file):
        return _Fate("new", key)
    return _Fate("problem", f"{key} is not in the file")


def _is_counter(name: TensorName) -> bool:
    """Whether the tensor only counts training steps, which some projects save and others do not."""
    return name.leaf == "num_batches_tracked"


def _may_be_new(name: TensorName, file: NamedTensors) -> bool:
    """Whether the file has no classifier at all, or nothing of the inserted block."""
    if name.is_head:
        return not any(other.is_head for other in file.keys)
    # Half a block in the file is damage, not a new block.
    same_block = [other for other in file.keys if (other.stage, other.block) == (name.stage, name.block)]
    return name.is_inserted and not any(other.is_inserted for other in same_block)


def _fit(value: Tensor, own: Tensor, inflation: Inflation) -> Tensor | None:
    """`value` in the shape of `own`, or None if it does not fit."""
    if value.shape == own.shape:
        return value
    if value.numel() == own.numel() and _without_trailing_ones(value) == _without_trailing_ones(own):
        return value.reshape(own.shape)  # a linear layer and a pointwise convolution: [K, C] and [K, C, 1, 1, 1]
    if value.ndim == own.ndim == 5 and value.shape[2] == 1:
        value = value[:, :, 0]  # a kernel of one frame, [O, I, 1, H, W], is a 2D kernel
    if value.ndim == 4 and own.ndim == 5 and value.shape == own[:, :, 0].shape:
        return _inflate(value, own, inflation)
    return None


def _inflate(kernel: Tensor, own: Tensor, inflation: Inflation) -> Tensor:
    """2D kernel [O, I, H, W] -> [O, I, T, H, W], the shape of `own`.

    Kernel k over T = 3 frames becomes (k/3, k/3, k/3) or (0, k, 0): on a still clip both compute the 2D layer.
    """
    frames = own.shape[2]
    if inflation == "mean":
        # Divided, so that the sum over time is the 2D kernel and activations keep their scale.
        return kernel[:, :, None].expand_as(own) / frames
    inflated = torch.zeros_like(own, dtype=kernel.dtype, device=kernel.device)
    inflated[:, :, frames // 2] = kernel  # the middle: all kernels are odd
    return inflated


def _without_trailing_ones(value: Tensor) -> list[int]:
    shape = list(value.shape)
    while shape and shape[-1] == 1:
        shape.pop()
    return shape


def _texts(fates: Iterable[_Fate], kind: str) -> list[str]:
    return [fate.text for fate in fates if fate.kind == kind]


def _ignored_keys(state: dict[str, Tensor], layout: str) -> list[str]:
    """First parts of the keys that the layout ignores, with the number of tensors: "roi_head (12 tensors)"."""
    ignored = [key.partition(".")[0] for key in state if re.match(LAYOUTS[layout].ignored, key)]
    return [f"{name} ({count} tensors)" for name, count in Counter(ignored).items()]


def _by_module(keys: list[str]) -> list[str]:
    """Names of tensors -> names of the inserted blocks and modules they belong to, with the number of tensors."""
    counts = Counter(
        key.partition(".context.")[0] + ".context" if ".context." in key else key.rpartition(".")[0] for key in keys
    )
    return [f"{name} ({count} tensors)" for name, count in counts.items()]


def some(names: list[str], most: int = 4) -> str:
    """The first names of a list, for a message."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(name[:200] for name in names[:most]) + more
