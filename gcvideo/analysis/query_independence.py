"""How much the blocks of a trained model depend on the query, and what they attend to, over many clips.

Letters: T frames, H W of the features, N positions, K classes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gcvideo.analysis.attention import attending_blocks
from gcvideo.analysis.measure import Measured, measure
from gcvideo.analysis.naming import family_of, short_names
from gcvideo.errors import UsageError

NUM_QUERIES = 128


class LabelledClip(NamedTuple):
    """One clip.

    Attributes:
        input: of the network [1, 3, T, S, S].
        label: class index, -1 if it is unknown; or those of several classes.
    """

    input: Tensor
    label: int | tuple[int, ...]


@dataclass(frozen=True)
class Summary:
    """Statistics of one block over clips; those that do not exist for it are missing.

    Attributes:
        clips: number.
        mean, deviation: name of a statistic (see `measure.STATISTICS`) -> mean and standard deviation over the clips.
        in_time: share of the attention in each frame [T'], sum 1; None where the weights are no distribution.
        in_space: share in each place [H', W'], sum 1; as above.
    """

    clips: int
    mean: dict[str, float]
    deviation: dict[str, float]
    in_time: list[float] | None
    in_space: list[list[float]] | None


@dataclass(frozen=True)
class BlockAnalysis:
    """One block.

    Attributes:
        name: short, such as "res4.0".
        module: the module that it refines.
        family: such as "NL".
        mode: of an NL block.
        positions: T, H, W of its features.
        keys: T', H', W' of its maps.
        is_sampled: whether the divergence is an estimate from some of the queries.
        overall: over all clips.
        classes: name of a class that has clips -> over these.
    """

    name: str
    module: str
    family: str
    mode: str | None
    positions: tuple[int, int, int]
    keys: tuple[int, int, int]
    is_sampled: bool
    overall: Summary
    classes: dict[str, Summary]


@torch.no_grad()
def analyse(
    net: nn.Module,
    clips: Iterable[LabelledClip],
    class_names: Sequence[str],
    num_queries: int = NUM_QUERIES,
    seed: int = 0,
) -> tuple[BlockAnalysis, ...]:
    """Analyse all blocks that attend, in the order of the model.

    Memory does not grow with the square of the positions: see `measure`.

    Args:
        net: in evaluation mode.
        clips: read one by one.
        class_names: index -> name.
        num_queries: of a clip, for the divergence of NL blocks, drawn anew for each clip; all if there are no more.
        seed: of the draws.

    Raises:
        UsageError: no blocks that attend, or no clips.
    """
    names, blocks = short_names(net), attending_blocks(net)
    if not blocks:
        raise UsageError("the network has no blocks that attend: expected GC, SNL, SE or NL blocks")
    generator = torch.Generator().manual_seed(seed)
    tallies = {name: _Tally() for name in blocks}
    handles = []
    for name, block in blocks.items():

        def keep(block: nn.Module, args: tuple[Any, ...], output: Tensor, name: str = name) -> None:
            tallies[name].latest = measure(block, args[0].float(), output.float(), num_queries, generator)

        handles.append(block.register_forward_hook(keep))
    try:
        for clip in clips:
            net(clip.input)
            for tally in tallies.values():
                tally.add(clip.label)
    finally:
        for handle in handles:
            handle.remove()
    if not all(tally.groups for tally in tallies.values()):
        raise UsageError("no clips to analyse")
    return tuple(_result(names[name], name, block, tallies[name], class_names) for name, block in blocks.items())


@dataclass
class _Group:
    """What the clips of one class sum to."""

    values: list[Mapping[str, float]] = field(default_factory=list)
    attended: Tensor | None = None  # sum over the clips [T', H', W']

    def add(self, measured: Measured) -> None:
        self.values.append(measured.values)
        if measured.attended is not None:
            own = measured.attended.cpu()
            self.attended = own if self.attended is None else self.attended + own

    def summary(self) -> Summary:
        mean, deviation = {}, {}
        for name in dict.fromkeys(name for values in self.values for name in values):
            found = [values[name] for values in self.values if not math.isnan(values.get(name, math.nan))]
            if found:
                tensor = torch.tensor(found, dtype=torch.double)
                mean[name], deviation[name] = float(tensor.mean()), float(tensor.std(correction=0))
        if self.attended is None:
            return Summary(len(self.values), mean, deviation, None, None)
        share = self.attended / self.attended.sum()
        return Summary(len(self.values), mean, deviation, share.sum(dim=(1, 2)).tolist(), share.sum(dim=0).tolist())


class _Tally:
    """Clips of one block by class; -1 for all of them."""

    def __init__(self) -> None:
        self.groups: dict[int, _Group] = {}
        self.latest: Measured

    def add(self, label: int | tuple[int, ...]) -> None:
        of_classes = label if isinstance(label, tuple) else (label,)
        for group in dict.fromkeys((-1, *of_classes)):
            self.groups.setdefault(group, _Group()).add(self.latest)


def _result(name: str, module: str, block: nn.Module, tally: _Tally, class_names: Sequence[str]) -> BlockAnalysis:
    last = tally.latest
    return BlockAnalysis(
        name=name,
        module=module,
        family=family_of(block),
        mode=getattr(block, "mode", None),
        positions=last.positions,
        keys=last.keys,
        is_sampled=last.is_sampled,
        overall=tally.groups[-1].summary(),
        classes={class_names[label]: tally.groups[label].summary() for label in sorted(tally.groups) if label >= 0},
    )
