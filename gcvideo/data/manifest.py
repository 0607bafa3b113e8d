"""Manifests: which videos there are, and their labels.

The forms of a manifest are described in `listing`. Every file is looked for before a run starts, all problems are
reported together, and a path that leads out of the root folder (`../`, absolute, or a link) is refused, because
manifests are as untrusted as videos.
"""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from torch import Tensor

from gcvideo.data.labels import class_names_of, complete_rows
from gcvideo.data.listing import SUFFIXES, ManifestError, NoRowsError, Rows, together
from gcvideo.data.locating import misplaced, with_clips
from gcvideo.data.shards.reading import ShardedVideos, is_url, shards_of
from gcvideo.data.splits import split_warnings
from gcvideo.data.targets import targets_of
from gcvideo.data.videos import Videos
from gcvideo.garbage import no_garbage_collection

Source = str | Path | Mapping[str, str] | Mapping[str, Path]
"""One manifest with a column `split`, or a manifest for each split: {"train": "train.txt", "val": "val.txt"}."""


def read_manifest(
    manifest: Source,
    split: str | None = None,
    root: str | Path | None = None,
    class_names: Sequence[str] | None = None,
    outside_root: bool = False,
    warn: Callable[[str], None] = warnings.warn,
    label_separator: str | None = None,
) -> Videos:
    """Videos of one split.

    Args:
        manifest: CSV file, list or folder, see `listing`; or one for each split.
        split: value of the column `split` to keep; None keeps all rows. Of separate manifests, the one of this split;
            it is used completely.
        root: folder that the paths are relative to and must lie in; default the manifest's own, or the manifest if it
            is a folder. Absolute paths stay. Of shards also a URL.
        class_names: index -> name; default `read_class_names(manifest)`. Labels may be names or indices.
        outside_root: allow paths and links that lead out of `root`.
        warn: called with a text if clips of Kinetics' annotations are not there: every year fewer of them are.
        label_separator: of the labels in a cell, where videos may have several or none, such as "|"; the labels of the
            videos are then bool [N, K].

    Raises:
        NoRowsError: no rows of this split.
        ManifestError: no such file, wrong header or row, a label that is not in the class list, a file that is missing,
            not a regular file, outside of the root, or listed twice. All problems are reported together.
    """
    with no_garbage_collection():
        if not isinstance(manifest, Mapping):
            return _read(Path(manifest), split, root, class_names, outside_root, warn, label_separator)
        # An index must mean the same class in every list.
        names = read_class_names(manifest, label_separator) if class_names is None else class_names
        return _read(manifest_of_split(manifest, split), None, root, names, outside_root, warn, label_separator)


def read_class_names(manifest: Source, label_separator: str | None = None) -> list[str]:
    """Class names of a manifest, all splits; see `class_names_of`."""
    paths = manifest.values() if isinstance(manifest, Mapping) else [manifest]
    cells = chain.from_iterable(complete_rows(Path(path), label_separator).labels for path in paths)
    return class_names_of(cells, label_separator)


def manifest_of(option: str | dict[str, str] | None) -> str | dict[str, str]:
    """The setting `data.manifest`.

    Raises:
        ManifestError: it isn't set. An empty one would be the current folder.
    """
    if not option or (isinstance(option, Mapping) and not all(option.values())):
        raise ManifestError(
            "data.manifest is not set: expected a CSV with the columns path, label, split, a folder split/class/file, "
            "or a list for each split"
        )
    return option


def manifest_of_split(manifest: Source, split: str | None) -> Path:
    """The file or folder that lists the videos of a split.

    Raises:
        NoRowsError: there are separate manifests, and none for this split.
    """
    if not isinstance(manifest, Mapping):
        return Path(manifest)
    if split is None or split not in manifest:
        raise NoRowsError(f"data.manifest has no list of split {split!r}; lists there: {', '.join(manifest)}")
    return Path(manifest[split])


def manifest_warnings(
    manifest: Source,
    train: str,
    evaluated: Sequence[str],
    root: str | Path | None = None,
    label_separator: str | None = None,
) -> list[str]:
    """What is strange in the splits of a manifest, a line each; see `split_warnings`.

    Args:
        manifest, root, label_separator: as for `read_manifest`.
        train, evaluated: splits.
    """
    with no_garbage_collection():
        if isinstance(manifest, Mapping):
            used = [split for split in dict.fromkeys((train, *evaluated)) if split in manifest]
            rows = _joined({split: Path(manifest[split]) for split in used}, root, label_separator)
            source = "data.manifest"
        else:
            rows, source = _normalised(complete_rows(Path(manifest), label_separator)), str(manifest)
        return [f"{source}: {text}" for text in split_warnings(rows, train, evaluated, label_separator)]


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
    manifest: Path,
    split: str | None,
    root: str | Path | None,
    class_names: Sequence[str] | None,
    outside_root: bool,
    warn: Callable[[str], None],
    separator: str | None,
) -> Videos:
    rows = complete_rows(manifest, separator)
    # Before the split is selected: an index must mean the same class in training and in evaluation.
    names = list(class_names) if class_names is not None else class_names_of(rows.labels, separator)
    folder = _root_of(manifest, root)
    rows = _normalised(rows if split is None else _of_split(manifest, rows, split))
    if rows.are_clips:
        rows = _with_clips(manifest, rows, folder, warn)
    # Labels and files are checked for all rows before anything is raised: one run shows every problem.
    labels, unknown = targets_of(rows.labels, names, separator)
    videos, problem_of = _locate(manifest, rows, labels, folder, outside_root)
    # Three cheap tests; only a manifest that fails one is examined row by row for its message.
    if problem_of or unknown or len(set(rows.paths)) < len(rows.paths):
        raise ManifestError(together(manifest, _problems(rows, unknown, len(names), problem_of), len(rows.paths)))
    return videos


def _of_split(manifest: Path, rows: Rows, split: str) -> Rows:
    kept = rows.of_split(split)
    if kept.paths:
        return kept
    if rows.splits is None:
        lacks = "it is a folder class/file, without splits" if manifest.is_dir() else "it has no column 'split'"
        raise NoRowsError(
            f"{manifest}: no rows of split {split!r}: {lacks}; to make them: gcvideo split {manifest} split.csv"
        )
    raise NoRowsError(
        f"{manifest}: no rows of split {split!r}; splits there: {', '.join(sorted(set(rows.splits)))}. data.splits "
        f"says which is for what; 'gcvideo split' makes others"
    )


def _with_clips(manifest: Path, rows: Rows, root: str, warn: Callable[[str], None]) -> Rows:
    if is_url(root):
        raise ManifestError(f"{manifest}: clips of Kinetics are looked for in a folder, got data.root {root}")
    found = with_clips(rows, root)
    if not found.paths:
        raise ManifestError(
            f"{manifest}: none of {len(rows.paths)} clips is below {root}, such as {rows.paths[0]}.mp4; set data.root "
            f"to the folder of all videos"
        )
    if len(found.paths) < len(rows.paths):
        warn(f"{manifest}: {len(found.paths)} of {len(rows.paths)} clips are below {root}; the others are left out")
    return found


def _joined(manifests: Mapping[str, Path], root: str | Path | None, separator: str | None) -> Rows:
    """The rows of several manifests as those of one, with paths that can be compared."""
    lines: list[int] = []
    paths: list[str] = []
    labels: list[str] = []
    splits: list[str] = []
    for split, manifest in manifests.items():
        rows = complete_rows(manifest, separator)
        folder = _root_of(manifest, root)
        lines += rows.lines
        paths += [os.path.normpath(os.path.join(folder, path)) for path in rows.paths]
        labels += rows.labels
        splits += [split] * len(rows.paths)
    return Rows(lines, paths, labels, splits)


def _normalised(rows: Rows) -> Rows:
    """Rows with one spelling of each path, so that './a.mp4' and 'a.mp4' are seen to be one video."""
    spellings = "\n".join(rows.paths)
    if "./" not in spellings and "//" not in spellings:  # nearly always; normalising takes seconds for 650,000 rows
        return rows
    return replace(rows, paths=[os.path.normpath(path) for path in rows.paths])


def _root_of(manifest: Path, root: str | Path | None) -> str:
    if root is None:
        return str(manifest if manifest.is_dir() else manifest.parent)
    return str(root) if is_url(str(root)) else str(Path(root))  # Path would make https:/ of https://


def _locate(
    manifest: Path, rows: Rows, labels: Sequence[int] | Tensor, root: str, outside_root: bool
) -> tuple[Videos, dict[int, str]]:
    """The videos, and for each row whose file can't be used, why: index -> problem."""
    if rows.shards is None:
        return Videos(root, rows.paths, labels), dict(misplaced(root, rows.paths, outside_root))
    shards = shards_of(manifest, rows.shards)
    videos = ShardedVideos(root, rows.paths, labels, shards)
    if is_url(root):  # no requests to a server before the run
        return videos, {}
    problems = dict(misplaced(root, [shard.name for shard in shards], outside_root))
    return videos, {shards[number].first: problem for number, problem in problems.items()}


def _problems(rows: Rows, unknown: dict[int, str], num_classes: int, problem_of: dict[int, str]) -> list[str]:
    """One line for each bad row: the first thing that is wrong with it."""
    errors = []
    first_line: dict[str, int] = {}
    for index, (line, path) in enumerate(zip(rows.lines, rows.paths, strict=True)):
        if index in unknown:
            errors.append(f"line {line}: label {unknown[index]!r} is not in the class list of {num_classes}")
        elif path in first_line:
            errors.append(f"line {line}: {path!r} is listed in line {first_line[path]} already")
        elif index in problem_of:
            errors.append(f"line {line}: {problem_of[index]}")
        first_line.setdefault(path, line)
    return errors
