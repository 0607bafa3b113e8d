"""Manifests: which videos there are, and their labels.

The forms of a manifest are told in `listing`. Every file is looked at before a run starts, all problems are reported
together, and a path that leads out of the root folder (`../`, absolute, or a link) is refused, because manifests come
from strangers as often as videos do.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

import numpy as np
import torch

from gcvideo.data.listing import ManifestError, Rows, class_names_of, no_garbage_collection, read_rows, together

_DECODERS = ("decord", "pyav")
"""What a manifest may name as the decoder that reads a file right."""

_LISTED_FROM = 32
"""Files that a manifest names in one folder, from which on the folder is listed instead of asking for each."""


@dataclass(frozen=True, slots=True)
class Video:
    """One row: where the file is, its class index, and its path as written in the manifest.

    `decoder` is what reads the file right, "decord" or "pyav", if the manifest tells.
    """

    file: str
    label: int
    name: str
    decoder: str = ""


@dataclass(frozen=True, slots=True)
class Shard:
    """A tar file of consecutive videos: `count` from index `first`."""

    name: str
    first: int
    count: int


class Videos(Sequence[Video]):
    """Many rows in a few tensors of shared memory, so that worker processes share one copy of them.

    A list of objects would be copied into every worker, page by page, as their reference counts change.

    Args:
        root: folder that the names are relative to.
        names, labels, decoders: columns of one length.
        shards: the tar files that the videos lie in, in their order; nothing for files.
    """

    def __init__(
        self,
        root: str,
        names: Sequence[str],
        labels: Sequence[int],
        decoders: Sequence[str] | None = None,
        shards: Sequence[Shard] = (),
    ):
        self.root, self.shards = root, tuple(shards)
        text = "".join(names)
        lengths = map(len, names) if text.isascii() else (len(os.fsencode(name)) for name in names)
        ends = np.cumsum(np.fromiter(lengths, np.int64, len(names)))
        self._bytes = torch.frombuffer(bytearray(os.fsencode(text)), dtype=torch.uint8).share_memory_()
        self._ends = torch.from_numpy(np.concatenate([[0], ends])).share_memory_()
        self.labels = torch.from_numpy(np.fromiter(labels, np.int32, len(names))).share_memory_()
        code = {"": 0} | {name: number for number, name in enumerate(_DECODERS, start=1)}
        codes = np.zeros(len(names), np.uint8)
        if decoders is not None:
            codes = np.fromiter(map(code.__getitem__, decoders), np.uint8, len(names))
        self._decoders = torch.from_numpy(codes).share_memory_()

    def __len__(self) -> int:
        return len(self.labels)

    @overload
    def __getitem__(self, index: int) -> Video: ...
    @overload
    def __getitem__(self, index: slice) -> list[Video]: ...
    def __getitem__(self, index: int | slice) -> Video | list[Video]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"video {index} of {len(self)}")
        index %= len(self)
        first, end = self._ends[index : index + 2].tolist()
        name = os.fsdecode(self._bytes[first:end].numpy().tobytes())
        decoder = ("", *_DECODERS)[int(self._decoders[index])]
        return Video(os.path.join(self.root, name), int(self.labels[index]), name, decoder)


def read_manifest(
    manifest: str | Path,
    split: str | None = None,
    root: str | Path | None = None,
    class_names: Sequence[str] | None = None,
    outside_root: bool = False,
) -> Videos:
    """Videos of one split.

    Args:
        manifest: CSV file, list or folder; see `listing`.
        split: value of the column `split` to keep; None keeps all rows.
        root: folder that the paths are relative to and must lie in; default the manifest's own, or the manifest if it
            is a folder. Absolute paths stay.
        class_names: index -> name; default `read_class_names(manifest)`. Labels may be names or indices.
        outside_root: allow paths and links that lead out of `root`.

    Raises:
        ManifestError: no such file, wrong header or row, no rows (of this split), a label that is not in the class
            list, a file that is missing, not a regular file, outside of the root, or listed twice. All problems are
            reported together.
    """
    with no_garbage_collection():
        return _read(Path(manifest), split, root, class_names, outside_root)


def _read(
    manifest: Path, split: str | None, root: str | Path | None, class_names: Sequence[str] | None, outside_root: bool
) -> Videos:
    rows = read_rows(manifest)
    names = list(class_names) if class_names is not None else class_names_of(rows)
    if split is not None:
        present = sorted(set(rows.splits or ("",)))
        rows = rows.of_split(split)
        if not rows.paths:
            raise ManifestError(f"{manifest}: no rows of split {split!r}; splits there: {', '.join(present)}")
    spellings = "\n".join(rows.paths)
    if "./" in spellings or "//" in spellings:  # './a.mp4' and 'a.mp4' are one video
        rows = replace(rows, paths=[os.path.normpath(path) for path in rows.paths])
    folder = Path(root) if root is not None else manifest if manifest.is_dir() else manifest.parent
    index_of = {str(index): index for index in range(len(names))} | {name: index for index, name in enumerate(names)}
    labels = [index_of.get(label, -1) for label in rows.labels]
    shards = _shards_of(manifest, rows.shards)
    remote = str(root).startswith(("http://", "https://"))
    place = str(root) if remote else str(folder)
    problems = {} if shards else dict(_misplaced(place, rows.paths, outside_root))
    if shards and not remote:
        missing = dict(_misplaced(place, [shard.name for shard in shards], outside_root))
        problems = {shards[number].first: problem for number, problem in missing.items()}
    unknown = set(rows.decoders or ()) - {"", *_DECODERS}
    if problems or unknown or -1 in labels or len(set(rows.paths)) < len(rows.paths):
        raise ManifestError(together(manifest, _problems(rows, labels, len(names), problems), len(rows.paths)))
    return Videos(place, rows.paths, labels, rows.decoders, shards)


def _shards_of(manifest: Path, column: Sequence[str] | None) -> list[Shard]:
    """The shards that consecutive rows name."""
    shards: list[Shard] = []
    for index, name in enumerate(column or ()):
        if shards and shards[-1].name == name:
            shards[-1] = Shard(name, shards[-1].first, shards[-1].count + 1)
        elif not re.fullmatch(r"[\w-][\w.-]*\.tar", name, re.ASCII):
            raise ManifestError(f"{manifest}: a shard must be named like 'train-000000.tar', got {name!r}")
        else:
            shards.append(Shard(name, index, 1))
    if len({shard.name for shard in shards}) < len(shards):
        raise ManifestError(f"{manifest}: the videos of a shard must be listed one behind the other")
    return shards


def read_class_names(manifest: str | Path) -> list[str]:
    """Class names of a manifest, all splits; see `class_names_of`."""
    return class_names_of(read_rows(Path(manifest)))


def _problems(rows: Rows, labels: Sequence[int], num_classes: int, misplaced: dict[int, str]) -> list[str]:
    errors = []
    first_line: dict[str, int] = {}
    for index, (line, path) in enumerate(zip(rows.lines, rows.paths, strict=True)):
        if rows.decoders is not None and rows.decoders[index] not in ("", *_DECODERS):
            errors.append(f"line {line}: decoder {rows.decoders[index]!r} is none of {', '.join(_DECODERS)}")
        elif labels[index] < 0:
            errors.append(f"line {line}: label {rows.labels[index]!r} is not in the class list of {num_classes}")
        elif path in first_line:
            errors.append(f"line {line}: {path!r} is listed in line {first_line[path]} already")
        elif index in misplaced:
            errors.append(f"line {line}: {misplaced[index]}")
        first_line.setdefault(path, line)
    return errors


def _misplaced(root: str, paths: Sequence[str], outside_root: bool) -> Iterator[tuple[int, str]]:
    """(index, problem) of the paths where there is no regular file, or that lead out of `root`.

    Folders with many of the files are listed once; to ask for each file takes minutes on a network disk.
    """
    indices_in: dict[str, list[int]] = {}
    names_in: dict[str, list[str]] = {}
    last = None
    for index, path in enumerate(paths):
        parent, slash, name = path.rpartition("/")
        if parent != last:  # mostly, rows of a folder follow each other
            last = parent
            indices = indices_in.setdefault(parent or slash, [])
            names = names_in.setdefault(parent or slash, [])
        indices.append(index)
        names.append(name)
    real_root = os.path.realpath(root)

    def escapes(place: str) -> bool:
        real = os.path.realpath(place)
        return not outside_root and real != real_root and not real.startswith(real_root.rstrip(os.sep) + os.sep)

    for parent, names in names_in.items():
        folder = os.path.join(root, parent)
        all_escape = escapes(folder)
        listed = frozenset() if all_escape or len(names) < _LISTED_FROM else _regular_files(folder)
        if listed.issuperset(names):
            continue
        for index, name in zip(indices_in[parent], names, strict=True):
            if name in listed:
                continue
            file = os.path.join(folder, name)
            if all_escape or (os.path.islink(file) and escapes(file)):
                yield (
                    index,
                    (
                        f"{paths[index]!r} leads out of the root folder {root}; set data.root to the folder of all "
                        f"videos, or data.outside_root: true"
                    ),
                )
            elif not os.path.isfile(file):
                yield index, f"{'not a regular file' if os.path.exists(file) else 'missing file'}: {file}"


def _regular_files(folder: str) -> frozenset[str]:
    """Names in a folder that are regular files and no links."""
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_file(follow_symlinks=False))
    except OSError:
        return frozenset()
