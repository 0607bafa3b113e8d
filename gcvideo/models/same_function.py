"""Equal tensors in another network are another function: what a file tells of the one that it was trained in.

Names and shapes do not tell where a block is in its residual block, how an NL block compares, scales and sub-samples,
or whether time is pooled. Some layouts do, and so do the settings that gcvideo and PySlowFast store in a checkpoint.
"""

import inspect
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from torch import nn

from gcvideo.blocks.non_local import NonLocalBlock
from gcvideo.insertion import inserted_blocks
from gcvideo.models.checkpoint_file import WeightsError
from gcvideo.models.layouts import LAYOUTS, NamedTensors
from gcvideo.models.naming import TensorName
from gcvideo.yaml_text import load_yaml

# Options of an NL block that its tensors do not tell.
UNTOLD = ("mode", "sub_sample", "pool_first", "use_scale")

# PySlowFast's NONLOCAL.INSTANTIATION -> mode; a window of NONLOCAL.POOL -> sub_sample; MODEL.ARCH -> whether a max-pool
# follows res2 (not of "2d", an image network, which initialises either).
_INSTANTIATIONS = {"softmax": "embedded_gaussian", "dot_product": "dot_product"}
_WINDOWS = {(1, 2, 2): True, (1, 1, 1): False}
_ARCHS = {"c2d": True, "i3d": True, "c2d_nopool": False, "i3d_nopool": False, "slow": False}


class Told(NamedTuple):
    """What a file tells of its network: options of its NL blocks, and whether a max-pool after res2 halves time."""

    non_local: dict[str, Any]
    pools_time: bool | None

    @classmethod
    def by(cls, file: NamedTensors, content: Mapping[Any, Any]) -> "Told":
        """From the tensors of a file and from what else it holds."""
        config = _pyslowfast_config(content)
        pools_time = file.pools_time
        if pools_time is None:
            pools_time = _ARCHS.get(str(config.get("MODEL", {}).get("ARCH")))
        first = next(iter(_non_local_keys(file).items()), None)  # the NL blocks of a file are all alike
        if first is None:
            return cls({}, pools_time)
        name, key = first
        layout = LAYOUTS[file.layout]
        if layout.is_of_insert(key):
            return cls(_options_of_run(content), pools_time)
        told = dict(layout.non_local)
        if layout.sub_sampled is not None:
            told["sub_sample"] = re.search(layout.sub_sampled, key) is not None
        return cls({**told, **_options_of_pyslowfast(config, name.stage)}, pools_time)


def check_sites(file: NamedTensors, own: NamedTensors, path: str | Path) -> None:
    """Refuse blocks at another site of the residual block."""
    for name, key in file.keys.items():
        if name.is_inserted and name in own.keys:
            theirs = LAYOUTS[file.layout].site(key)
            ours = LAYOUTS[own.layout].site(own.keys[name])
            if theirs != ours:
                raise WeightsError(f"{path}: the block of {key} is {theirs}, that of the model {ours}")


def check_non_local(model: nn.Module, file: NamedTensors, told: Told, stated: Collection[str], path: str | Path) -> str:
    """Refuse NL blocks with other options than those of the file, and options that neither it nor the user tells.

    Returns:
        What is in doubt, or "": in a state dict of ours, untold options are not refused, as torch's `load_state_dict`
        does not either.
    """
    blocks = {name: block for name, block in inserted_blocks(model).items() if isinstance(block, NonLocalBlock)}
    keys = list(_non_local_keys(file).values())
    if not blocks or not keys:
        return ""
    for name, block in blocks.items():
        wrong = [f"{key}={value}" for key, value in told.non_local.items() if _differs(block, key, value)]
        if wrong:
            raise WeightsError(
                f"{path}: the NL blocks of the file ({file.layout} names) are another function; build the model with "
                f"{', '.join(wrong)} (at {name})"
            )
    block = next(iter(blocks.values()))
    untold = [key for key in UNTOLD if key not in told.non_local and key not in stated and _matters(block, key)]
    if not untold:
        return ""
    present = ", ".join(f"{key}={getattr(block, key)!r}" for key in untold)
    if LAYOUTS[file.layout].is_of_insert(keys[0]):
        return f"{path}: a state dict does not tell the options of its NL blocks; those of the model are {present}"
    raise WeightsError(
        f"{path}: {file.layout} files do not tell {', '.join(untold)} of their NL blocks; state them, also where the "
        f"model is right: its are {present} (as arguments of create_model or --model.block, or stated={untold} of "
        f"load_weights)"
    )


def check_time_pooling(
    file: NamedTensors, own: NamedTensors, told: Told, stated: Collection[str], path: str | Path
) -> str:
    """Refuse a network that pools time after res2 where that of the file does not, and the reverse.

    Returns:
        What is in doubt, or "": C2D with and without the pool have the same tensors.
    """
    pools = {True: "pools time after res2", False: "does not pool time after res2"}
    if own.pools_time is None or "network" in stated:
        return ""
    if told.pools_time is not None and told.pools_time != own.pools_time:
        raise WeightsError(
            f"{path}: the network of the file {pools[told.pools_time]}, that of the model {pools[own.pools_time]}"
        )
    lengths = {value.shape[2] for value in file.values.values() if value.ndim == 5}
    if told.pools_time is None and lengths == {1}:  # kernels of a video network, all of one frame: C2D
        return (
            f"{path}: {file.layout} files do not tell whether C2D pools time after res2; this model "
            f"{pools[own.pools_time]} (of PySlowFast's files, C2D_NOPOOL is c2d_nopool_r50)"
        )
    return ""


def doubt_of_groups(file: NamedTensors, path: str | Path) -> str:
    """What is in doubt about NL blocks of video-nonlocal-net that have affine layers for batch norms, or ""."""
    is_affine = not any(name.leaf == "running_mean" for name in file.keys)
    if file.layout != "caffe2" or not is_affine or not any(name.stage == 3 for name in _non_local_keys(file)):
        return ""
    return (
        f"{path}: in an affine file of video-nonlocal-net for 32 or 128 frames, the NL blocks of res3 attend within "
        f"groups of 4 frames; here they attend to all"
    )


def _non_local_keys(file: NamedTensors) -> dict[TensorName, str]:
    """One key of each NL block."""
    is_first = ("context.conv_g", "weight")
    return {name: key for name, key in file.keys.items() if (name.module, name.leaf) == is_first}


def _differs(block: NonLocalBlock, option: str, value: Any) -> bool:
    return _matters(block, option) and getattr(block, option) != value


def _matters(block: NonLocalBlock, option: str) -> bool:
    """Whether an option changes what the block computes, given the others and that the tensors fit."""
    if option == "mode":  # of the other modes, the tensors tell
        return block.mode in ("embedded_gaussian", "dot_product")
    if option == "pool_first":
        return block.sub_sample
    return option != "use_scale" or block.mode == "embedded_gaussian"


def _options_of_run(content: Mapping[Any, Any]) -> dict[str, Any]:
    """Options of the NL blocks of a run, from its checkpoint; empty for a state dict."""
    settings = content.get("hyper_parameters")
    if not isinstance(settings, Mapping) or "blocks" not in settings:
        return {}
    parameters = inspect.signature(NonLocalBlock).parameters
    given = settings.get("block")
    given = given if isinstance(given, Mapping) else {}
    told = {key: given.get(key, parameters[key].default) for key in UNTOLD}
    # A value of another kind, such as a tensor, can't even be compared; as text it differs.
    return {key: value if isinstance(value, bool) else str(value)[:40] for key, value in told.items()}


def _pyslowfast_config(content: Mapping[Any, Any]) -> dict[str, Any]:
    """The configuration in a checkpoint of PySlowFast, which is YAML; empty if there is none."""
    text = content.get("cfg")
    try:
        config = load_yaml(text) if isinstance(text, str) else {}
    except (yaml.YAMLError, ValueError):  # such as a date in the 13th month
        return {}
    sections = config.items() if isinstance(config, Mapping) else ()
    return {name: section for name, section in sections if isinstance(section, Mapping)}


def _options_of_pyslowfast(config: Mapping[str, Any], stage: int) -> dict[str, Any]:
    settings = config.get("NONLOCAL", {})
    told: dict[str, Any] = {"mode": _INSTANTIATIONS.get(str(settings.get("INSTANTIATION")))}
    with suppress(LookupError, TypeError):  # older than that setting, or not such a list
        told["sub_sample"] = _WINDOWS.get(tuple(settings["POOL"][stage - 2][0]))  # of res2 ... res5, of each pathway
    return {key: value for key, value in told.items() if value is not None}
