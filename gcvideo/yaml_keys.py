"""Doubled keys in YAML: the specification forbids them, and PyYAML silently takes the last.

model:
  lr: 0.1
  lr: 0.01      # which of them did the author mean?
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import yaml

from gcvideo.yaml_text import LOADER


class DoubledKey(NamedTuple):
    """A key that stands twice in one mapping.

    Attributes:
        key: as written.
        line: of the second, from 1.
        first_line: of the first.
    """

    key: str
    line: int
    first_line: int

    def __str__(self) -> str:
        return f"the key {self.key!r} stands in line {self.first_line} already"


@dataclass
class _Mapping:
    """A mapping that is being read: the next node is a key or a value."""

    lines: dict[str, int] = field(default_factory=dict)
    expects_key: bool = True


def doubled_key(text: str) -> DoubledKey | None:
    """The first key of a document that stands twice in one mapping.

    Raises:
        yaml.YAMLError: not YAML.
    """
    open_nodes: list[_Mapping | None] = []  # None for a sequence
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.NodeEvent):
            outer = open_nodes[-1] if open_nodes else None
            if outer is not None:
                if outer.expects_key and isinstance(event, yaml.ScalarEvent) and event.start_mark:
                    line = event.start_mark.line + 1
                    if event.value in outer.lines:
                        return DoubledKey(event.value, line, outer.lines[event.value])
                    outer.lines[event.value] = line
                outer.expects_key = not outer.expects_key
            if isinstance(event, yaml.CollectionStartEvent):
                open_nodes.append(_Mapping() if isinstance(event, yaml.MappingStartEvent) else None)
        elif isinstance(event, yaml.CollectionEndEvent):
            open_nodes.pop()
    return None
