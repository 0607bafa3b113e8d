"""Names of the tensors of a bottleneck ResNet, independent of the project, and how a project spells them.

A key of a state dict is parsed to a `TensorName`, which means the same in all layouts:

    torchvision   layer3.0.downsample.1.weight           is
    PySlowFast    s4.pathway0_res0.branch1_bn.weight     is   TensorName("shortcut.norm", 4, 0, "weight")
    caffe2        res4_0_branch1_bn_s                    is
"""

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from gcvideo.insertion import Site


class TensorName(NamedTuple):
    """Name of one tensor of a bottleneck ResNet.

    `module` is "stem.conv", "stem.norm", "head", or of a residual block "shortcut.conv", "a.conv" (first convolution
    of the branch), "a.norm", ... "c.norm", or "context.<child>" of the block inserted there. `stage` is 2 to 5, or 0
    for stem and head; `block` counts from 0 within the stage; `leaf` is torch's name, such as "running_mean".
    """

    module: str
    stage: int
    block: int
    leaf: str

    @property
    def is_head(self) -> bool:
        """Whether the tensor is of the classifier."""
        return self.module == "head"

    @property
    def is_inserted(self) -> bool:
        """Whether the tensor is of an inserted block."""
        return self.module.startswith("context.")


class Absent(NamedTuple):
    """A tensor that a project leaves out because its value is known: `module` is a glob, `value` fills the tensor."""

    module: str
    leaf: str
    value: float


@dataclass(frozen=True, slots=True)
class Layout:
    """Names of one project, and what its names do not say.

    Args:
        names: module of a `TensorName` -> template, or several of which the first is written. Fields: {stage} 2 to 5,
            {layer} 1 to 4, {block}, {child} a running number of the stages with gaps, {rest} any names of children.
        inserted: template of a whole inserted block, with {rest} -> where in the residual block it is. Inserted
            blocks that are spelled out in `names` (NL) are after the residual block.
        separator: between the module and the last part of a key.
        leaves: last part of a key -> that of torch, where they differ.
        ignored: pattern of keys that do not belong to the network.
        absent: tensors that the project leaves out, with their values.
        non_local: options that all NL blocks of this project have.
        sub_sampled: pattern of the key of an NL block's conv_g, found if and only if the block sub-samples; None: the
            names do not tell.
    """

    names: dict[str, tuple[str, ...]]
    inserted: dict[str, Site] = field(default_factory=dict)
    separator: str = "."
    leaves: dict[str, str] = field(default_factory=dict)
    ignored: str = r"$^"  # matches no key
    absent: tuple[Absent, ...] = ()
    non_local: Mapping[str, Any] = field(default_factory=dict)
    sub_sampled: str | None = None

    def parse(self, keys: Iterable[str]) -> "Parsed":
        """Names of the tensors under these keys. Keys that are `ignored` are in neither part of the result."""
        matches: list[_Match] = []
        unknown = []
        for key in keys:
            if re.match(self.ignored, key):
                continue
            match = self._match(key)
            if match is None:
                unknown.append(key)
            else:
                matches.append(match)
        # Which stage a numbered child is depends on the others: every key is matched before the first gets its name.
        stages = _stages_of_children(matches)
        # The children of res2 and res3 follow each other unless a max-pool is between them.
        pools_time = 2 not in stages if len(stages) > 1 else None
        return Parsed({match.tensor_name(stages): match.key for match in matches}, unknown, pools_time)

    def write(self, name: TensorName) -> str | None:
        """Key of a tensor, or None if this project has no name for it."""
        templates = self.names.get(name.module)
        if templates is None:
            return None
        module = templates[0].format(stage=name.stage, layer=name.stage - 1, block=name.block)  # layer1 is res2
        return f"{module}{self.separator}{name.leaf}"

    def site(self, key: str) -> Site:
        """Where in its residual block the inserted block of a key is."""
        return self._inserted(key) or "after_block"

    def is_of_insert(self, key: str) -> bool:
        """Whether a key of an inserted block is named by `insert`, that is, in a file of ours."""
        return self._inserted(key) is not None

    def _inserted(self, key: str) -> Site | None:
        module = key.rpartition(self.separator)[0]
        return next((site for template, site in self.inserted.items() if _pattern(template).fullmatch(module)), None)

    def value_of_absent(self, name: TensorName) -> float | None:
        """Value of a tensor that this project leaves out, or None if it does not leave it out."""
        for absent in self.absent:
            if name.leaf == absent.leaf and fnmatchcase(name.module, absent.module):
                return absent.value
        return None

    def _match(self, key: str) -> "_Match | None":
        name, _, leaf = key.rpartition(self.separator)  # caffe2: res4_0_branch1_bn_s -> res4_0_branch1_bn, s
        templates = [(module, template) for module, names in self.names.items() for template in names]
        templates += [("context.", template) for template in self.inserted]
        for module, template in templates:
            hit = _pattern(template).fullmatch(name)
            if hit is not None:
                return _Match(key, module, self.leaves.get(leaf, leaf), hit.groupdict())
        return None


class Parsed(NamedTuple):
    """Names of tensors -> keys, and the keys that the layout has no name for.

    `pools_time`: whether a max-pool follows res2, which halves time; None: the names do not tell.
    """

    keys: dict[TensorName, str]
    unknown: list[str]
    pools_time: bool | None


class _Match(NamedTuple):
    """A key, and what a template found in it: the values of its fields, as text."""

    key: str
    module: str
    leaf: str
    fields: dict[str, str]

    @property
    def child(self) -> int | None:
        """Number of the child that holds the stage, in layouts that number the children of the network."""
        # The head is a numbered child too ("blocks.5.proj"), but no stage.
        return int(self.fields["child"]) if "child" in self.fields and self.module != "head" else None

    def tensor_name(self, stages: dict[int, int]) -> TensorName:
        if self.child is not None:
            stage = stages[self.child]
        elif "layer" in self.fields:
            stage = int(self.fields["layer"]) + 1  # layer1 is res2
        else:
            stage = int(self.fields.get("stage", 0))
        block = int(self.fields.get("block", 0))
        return TensorName(self.module + self.fields.get("rest", ""), stage, block, self.leaf)


def _stages_of_children(matches: Iterable[_Match]) -> dict[int, int]:
    """Number of a child -> stage. A max-pool after res2 is a child too, so the numbers may have a gap:

    slow-only   blocks.1  blocks.2            blocks.3  blocks.4
    I3D, C2D    blocks.1  (blocks.2 pools)    blocks.3  blocks.4  blocks.5
    stage       2                             3         4         5
    """
    children = sorted({match.child for match in matches if match.child is not None})
    return {child: stage for stage, child in enumerate(children, start=2)}


# `detect` matches every key of a file against the templates of every layout.
@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    r""" "layer{layer}.{block}.conv1" -> "layer(?P<layer>\d+)\.(?P<block>\d+)\.conv1"."""
    escaped = re.escape(template).replace(r"\{rest\}", r"(?P<rest>[\w.]+)")
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>\\d+)", escaped))
