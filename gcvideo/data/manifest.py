"""Manifests: which videos there are, and their labels.

The forms of a manifest are described in `listing`. Every file is looked for before a run starts, all problems are
reported together, and a path that leads out of the root folder (`../`, absolute, or a link) is refused, because
manifests are as untrusted as videos.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from gcvideo.data.listing import (
    SUFFIXES,
    ManifestError,
    Rows,
    class_names_of,
    read_rows,
    together,
)
from gcvideo.data.shards.reading import ShardedVideos, is_url, shards_of
from gcvideo.data.splits import split_warnings
from gcvideo.data.videos import Videos
from gcvideo.garbage import no_garbage_collection

_LISTED_FROM = 32
"""From this number of files in one folder on, the folder is listed instead of asking for each file."""

_OUTSIDE = (
    "{path!r} leads out of the root folder {root}; set data.root to the folder of all videos, "
    "or data.loading.outside_root: true"
)


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
            is a folder. Absolute paths stay. Of shards also a URL.
        class_names: index -> name; default `read_class_names(manifest)`. Labels may be names or indices.
        outside_root: allow paths and links that lead out of `root`.

    Raises:
        ManifestError: no such file, wrong header or row, no rows (of this split), a label that is not in the class
            list, a file that is missing, not a regular file, outside of the root, or listed twice. All problems are
            reported together.
    """
    with no_garbage_collection():
        return _read(Path(manifest), split, root, class_names, outside_root)


def read_class_names(manifest: str | Path) -> list[str]:
    """Class names of a manifest, all splits; see `class_names_of`."""
    return class_names_of(_complete_rows(Path(manifest)))


def manifest_of(option: str | None) -> str:
    """The setting `data.manifest`.

    Raises:
        ManifestError: it isn't set. An empty one would be the current folder.
    """
    if not option:
        raise ManifestError("data.manifest is not set: expected a CSV with the columns path, label, split")
    return option


def manifest_warnings(manifest: str | Path, train: str, evaluated: Sequence[str]) -> list[str]:
    """What is strange in the splits of a manifest, a line each; see `split_warnings`."""
    with no_garbage_collection():
        rows = _normalised(read_rows(Path(manifest)))
        return [f"{manifest}: {text}" for text in split_warnings(rows, train, evaluated)]


def videos_at(path: str | None) -> Videos:
    """A video file (whatever its suffix) or all videos and images below a folder, without labels, to predict.

    Raises:
        ManifestError: no path, or no video there.
    """
    if path is None:
        raise ManifestError("data.predict is not set: expected a video file or a folder of videos")
    target = Path(path)
    files = [target]
    if target.is_dir():
        files = sorted(file for file in target.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files or not files[0].is_file():
        raise ManifestError(f"data.predict: no video at {target} (looked for {', '.join(SUFFIXES)} in a folder)")
    return Videos("", [str(file) for file in files], [-1] * len(files))


def _read(
    manifest: Path, split: str | None, root: str | Path | None, class_names: Sequence[str] | None, outside_root: bool
) -> Videos:
    rows = _complete_rows(manifest)
    # Before the split is selected: an index must mean the same class in training and in evaluation.
    names = list(class_names) if class_names is not None else class_names_of(rows)
    rows = _normalised(rows if split is None else _of_split(manifest, rows, split))
    # Labels and files are checked for all rows before anything is raised: one run shows every problem.
    labels = _label_indices(rows, names)
    videos, misplaced = _locate(manifest, rows, labels, _root_of(manifest, root), outside_root)
    # Three cheap tests; only a manifest that fails one is examined row by row for its message.
    if misplaced or -1 in labels or len(set(rows.paths)) < len(rows.paths):
        raise ManifestError(together(manifest, _problems(rows, labels, len(names), misplaced), len(rows.paths)))
    return videos


def _complete_rows(manifest: Path) -> Rows:
    """All rows; each has a path and a label, and no two labels differ by blanks around them."""
    rows = read_rows(manifest)
    bad = {label for label in set(rows.labels) if not label or label != label.strip()}
    if bad or "" in rows.paths:
        errors = [
            f"line {line}: expected a label without blanks around it, got {label!r}"
            if path
            else f"line {line}: no path"
            for line, path, label in zip(rows.lines, rows.paths, rows.labels, strict=True)
            if label in bad or not path
        ]
        raise ManifestError(together(manifest, errors, len(rows.paths)))
    return rows


def _of_split(manifest: Path, rows: Rows, split: str) -> Rows:
    kept = rows.of_split(split)
    if not kept.paths:
        present = ", ".join(sorted(set(rows.splits or ("",))))
        raise ManifestError(f"{manifest}: no rows of split {split!r}; splits there: {present}")
    return kept


def _normalised(rows: Rows) -> Rows:
    """Rows with one spelling of each path, so that './a.mp4' and 'a.mp4' are seen to be one video."""
    spellings = "\n".join(rows.paths)
    if "./" not in spellings and "//" not in spellings:  # nearly always; normalising takes seconds for 650,000 rows
        return rows
    return replace(rows, paths=[os.path.normpath(path) for path in rows.paths])


def _label_indices(rows: Rows, names: Sequence[str]) -> list[int]:
    """Class index of each row, -1 if there is no such class. A class that is called "3" wins over the index 3."""
    index_of = {str(index): index for index in range(len(names))}
    index_of |= {name: index for index, name in enumerate(names)}
    return [index_of.get(label, -1) for label in rows.labels]


def _root_of(manifest: Path, root: str | Path | None) -> str:
    if root is None:
        return str(manifest if manifest.is_dir() else manifest.parent)
    return str(root) if is_url(str(root)) else str(Path(root))  # Path would make https:/ of https://


def _locate(
    manifest: Path, rows: Rows, labels: Sequence[int], root: str, outside_root: bool
) -> tuple[Videos, dict[int, str]]:
    """The videos, and for each row whose file can't be used, why: index -> problem."""
    if rows.shards is None:
        return Videos(root, rows.paths, labels), dict(_misplaced(root, rows.paths, outside_root))
    shards = shards_of(manifest, rows.shards)
    videos = ShardedVideos(root, rows.paths, labels, shards)
    if is_url(root):  # no requests to a server before the run
        return videos, {}
    problems = dict(_misplaced(root, [shard.name for shard in shards], outside_root))
    return videos, {shards[number].first: problem for number, problem in problems.items()}


def _problems(rows: Rows, labels: Sequence[int], num_classes: int, misplaced: dict[int, str]) -> list[str]:
    """One line for each bad row: the first thing that is wrong with it."""
    errors = []
    first_line: dict[str, int] = {}
    for index, (line, path) in enumerate(zip(rows.lines, rows.paths, strict=True)):
        if labels[index] < 0:
            errors.append(f"line {line}: label {rows.labels[index]!r} is not in the class list of {num_classes}")
        elif path in first_line:
            errors.append(f"line {line}: {path!r} is listed in line {first_line[path]} already")
        elif index in misplaced:
            errors.append(f"line {line}: {misplaced[index]}")
        first_line.setdefault(path, line)
    return errors


def _misplaced(root: str, paths: Sequence[str], outside_root: bool) -> Iterator[tuple[int, str]]:
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
