"""Where the videos of a manifest lie below their root folder, and why some of them can't be used."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePath

from gcvideo.data.listing import MAX_DEPTH, SUFFIXES, Rows

_LISTED_FROM = 32
"""From this number of files in one folder on, the folder is listed instead of asking for each file."""

_OUTSIDE = (
    "{path!r} leads out of the root folder {root}; set data.root to the folder of all videos, "
    "or data.loading.outside_root: true"
)


def misplaced(root: str, paths: Sequence[str], outside_root: bool) -> Iterator[tuple[int, str]]:
    """(index, problem) of the paths where there is no regular file, or that lead out of `root`.

    Folders with many of the files are listed once: asking for each file takes minutes on a network disk.
    """
    real_root = os.path.realpath(root)
    for parent, indices, names in _by_folder(paths):
        folder = os.path.join(root, parent)
        # Once for each folder and not for each file: resolving a path asks the disk about every component.
        outside = not outside_root and _escapes(folder, real_root)
        # Links are not in `listed`, so the loop below resolves each of them.
        listed = frozenset() if outside or len(names) < _LISTED_FROM else _regular_files(folder)
        if listed.issuperset(names):  # the usual case: one look at the folder, none at its files
            continue
        for index, name in zip(indices, names, strict=True):
            if name in listed:
                continue
            file = os.path.join(folder, name)
            if outside or (not outside_root and os.path.islink(file) and _escapes(file, real_root)):
                yield index, _OUTSIDE.format(path=paths[index], root=root)
            elif not os.path.isfile(file):
                yield index, f"{'not a regular file' if os.path.exists(file) else 'missing file'}: {file}"


def with_clips(rows: Rows, root: str) -> Rows:
    """Rows of Kinetics' annotations whose clip lies anywhere below `root`, with its path; the others are left out."""
    path_of = clip_paths(root)
    kept = rows.where([clip in path_of for clip in rows.paths])
    return replace(kept, paths=[path_of[clip] for clip in kept.paths], are_clips=False)


def clip_paths(root: str) -> dict[str, str]:
    """Name without suffix -> path below `root`, of all videos there; of several the first by path."""
    path_of: dict[str, str] = {}
    for parent, folders, names in os.walk(root):
        folder = os.path.relpath(parent, root)
        folders[:] = [name for name in folders if not name.startswith(".")]
        if folder.count(os.sep) == MAX_DEPTH:
            folders.clear()
        for name in names:
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in SUFFIXES:
                path = PurePath(folder, name).as_posix()
                path_of[stem] = min(path, path_of.get(stem, path))
    return path_of


def _by_folder(paths: Sequence[str]) -> Iterator[tuple[str, list[int], list[str]]]:
    """(folder, indices, file names) of the paths in each folder."""
    indices_in: dict[str, list[int]] = {}
    names_in: dict[str, list[str]] = {}
    last = None
    for index, path in enumerate(paths):
        parent, slash, name = path.rpartition("/")
        if parent != last:  # usually the rows of a folder are consecutive, which saves two look-ups for most of them
            last = parent
            indices = indices_in.setdefault(parent or slash, [])  # the folder of "/a.mp4" is "/", not ""
            names = names_in.setdefault(parent or slash, [])
        indices.append(index)
        names.append(name)
    for parent, names in names_in.items():
        yield parent, indices_in[parent], names


def _escapes(path: str, real_root: str) -> bool:
    """Whether a path, links followed, is neither the root nor in it."""
    # With a separator at the end, so that /data/root2 is not taken to be in /data/root.
    real = os.path.realpath(path)
    return real != real_root and not real.startswith(real_root.rstrip(os.sep) + os.sep)


def _regular_files(folder: str) -> frozenset[str]:
    """Names in a folder that are regular files and no links."""
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_file(follow_symlinks=False))
    except OSError:
        return frozenset()  # no such folder: each of its files is then reported as missing
