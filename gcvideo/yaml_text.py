"""YAML within limits: a few lines of it can stand for more values than any memory holds.

    a: &a [x, x, x, x, x, x, x, x, x]
    b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]      # and so on: nine lines are 387,420,489 values

The limits are checked on the parser's events, before anything is built.
"""

from pathlib import Path
from typing import Any

import yaml

from gcvideo.errors import UsageError

MAX_BYTES = 4 << 20
MAX_NODES = 100_000
MAX_DEPTH = 50

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a YAML library without C is ten times as slow


def check_yaml(text: str, max_nodes: int = MAX_NODES) -> None:
    """Count the nodes of a document, an alias as all that it stands for.

    Raises:
        yaml.YAMLError: not YAML, or beyond a limit.
    """
    if len(text) > MAX_BYTES:
        raise yaml.YAMLError(f"{len(text):,} characters, expected at most {MAX_BYTES:,}")
    sizes: dict[str, int] = {}  # anchor -> its nodes
    open_nodes: list[tuple[str | None, int]] = [(None, 0)]  # anchor and nodes so far; first the document itself
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, 1))
            if len(open_nodes) > MAX_DEPTH:
                raise yaml.YAMLError(f"nested deeper than {MAX_DEPTH} levels")
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, nodes = open_nodes.pop()
        elif isinstance(event, yaml.ScalarEvent):
            anchor, nodes = event.anchor, 1
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise yaml.YAMLError(f"the alias *{event.anchor} stands in what it stands for, or for nothing")
            anchor, nodes = None, sizes[event.anchor]
        else:
            continue
        if anchor is not None:
            sizes[anchor] = nodes
        outer, count = open_nodes[-1]
        open_nodes[-1] = (outer, count + nodes)
        if count + nodes > max_nodes:
            raise yaml.YAMLError(f"more than {max_nodes:,} values, aliases counted as what they stand for")


def load_yaml(text: str) -> Any:
    """Content of a document: plain values only.

    Raises:
        yaml.YAMLError: not YAML, or beyond a limit.
    """
    check_yaml(text)
    return yaml.load(text, Loader=LOADER)


def read_yaml(path: str | Path) -> Any:
    """Content of a file.

    Raises:
        UsageError: it can't be read, is not YAML, or is beyond a limit.
    """
    try:
        if Path(path).stat().st_size > MAX_BYTES:
            raise UsageError(f"{path}: expected YAML of at most {MAX_BYTES >> 20} MB")
        return load_yaml(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: {' '.join(str(error).split())[:300]}") from error
