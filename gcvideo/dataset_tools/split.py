"""`gcvideo split`: a manifest with training, validation and test parts, made of one without, or of some splits."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gcvideo.dataset_tools.dealing import NO_CLASS, Shares, deal
from gcvideo.dataset_tools.entries import Entry, read_entries
from gcvideo.errors import UsageError
from gcvideo.files import csv_text, write_text

GROUP = "group"
"""Column of the groups, unless another is named."""


@dataclass(frozen=True)
class SplitOptions:
    """How videos are dealt.

    Args:
        shares: of the parts.
        seed: equal seeds give equal parts.
        group: column that names the source of each video; None for `GROUP`, if the manifest has it. An empty cell is a
            video without a group.
        group_pattern: regular expression that finds the source in the name of the file, as what its one group
            matches: `v_(.+_g\\d+)_c` of UCF-101's "v_Archery_g01_c02.avi". It becomes the column `GROUP`.
        of: splits that are dealt anew, while the rows of the others stay; needed where there are splits already.
        label_separator: of the labels of a video that may have several or none; each class is then in proportion.

    Raises:
        UsageError: a pattern that can't be used.
    """

    shares: Shares = field(default_factory=Shares)
    seed: int = 0
    group: str | None = None
    group_pattern: str | None = None
    of: Sequence[str] = ()
    label_separator: str | None = None

    def __post_init__(self) -> None:
        if self.group_pattern is None:
            return
        if self.group is not None:
            raise UsageError("expected a column of groups or a pattern for them, got both")
        try:
            number = re.compile(self.group_pattern).groups
        except re.error as error:
            raise UsageError(f"{self.group_pattern!r} is not a regular expression: {error}") from None
        if number != 1:
            raise UsageError(f"expected a regular expression with one group in brackets, got {self.group_pattern!r}")


@dataclass(frozen=True)
class SplitSummary:
    """What was written.

    Attributes:
        counts: class -> split -> number of videos, all splits; a video of several classes counts for each.
        totals: split -> number of videos.
        num_groups: of several videos each.
        torn: file names' sources (YouTube ids, UCF-101 groups) that are in several splits, because no group was known.
        root: folder of the videos if it does not contain the manifest's paths; they are then absolute.
    """

    counts: dict[str, dict[str, int]]
    totals: dict[str, int]
    num_groups: int
    torn: list[str]
    root: Path | None


def split_manifest(source: Path, out: Path, options: SplitOptions, root: Path | None = None) -> SplitSummary:
    """Deal the videos of a manifest, and write it with its columns and the column `split`.

    Args:
        source: CSV, list, or folder (class/file, or split/class/file with `options.of`).
        out: CSV to write; may be `source`.
        options: how they are dealt.
        root: folder that the paths are relative to; default that of the manifest, or the folder.

    Raises:
        ManifestError: a bad manifest.
        UsageError: splits that are there already, or not there; no such column; names without a group; classes too
            small for the parts.
    """
    entries = read_entries(source, root, label_separator=options.label_separator)
    dealt = _to_deal(source, entries, options)
    if options.group_pattern is not None:
        entries = [_with_group(entry, options.group_pattern) for entry in entries]
    column = GROUP if options.group is None else options.group
    if options.group is not None and column not in entries[0].columns:
        raise UsageError(f"{source} has no column {column!r}; columns there: {', '.join(entries[0].columns) or 'none'}")
    groups = [_group_of(entry, column) for entry in entries]
    chosen = [index for index, entry in enumerate(entries) if entry.split in dealt]
    labels = [entries[i].classes or [NO_CLASS] for i in chosen]
    parts = deal(labels, [groups[i] for i in chosen], options.shares, options.seed)
    for index, part in zip(chosen, parts, strict=True):
        entries[index] = replace(entries[index], split=part)
    is_below = _write(out, entries)
    sizes = Counter(groups[index] for index in chosen)
    return SplitSummary(
        _counts(entries),
        dict(Counter(entry.split for entry in entries)),
        sum(number > 1 for number in sizes.values()),
        _torn([entry for entry in entries if not entry.columns.get(column)]),
        None if is_below else (root or (source if source.is_dir() else source.parent)).absolute(),
    )


def _to_deal(source: Path, entries: Sequence[Entry], options: SplitOptions) -> set[str]:
    """The splits whose rows are dealt: those that are named, or "" if there are none."""
    present = sorted({entry.split for entry in entries} - {""})
    if not options.of:
        if present:
            raise UsageError(
                f"{source} has the splits {', '.join(present)} already: name those to deal anew, --of {present[0]}"
            )
        return {""}
    unknown = sorted(set(options.of) - set(present))
    if unknown:
        raise UsageError(f"{source} has no split {', '.join(unknown)}; splits there: {', '.join(present) or 'none'}")
    taken = [part for part in options.shares.positive() if part in set(present) - set(options.of)]
    if taken:
        raise UsageError(
            f"{', '.join(taken)} has videos already, and a share of {options.shares}: set its share to 0, or add it "
            f"to --of"
        )
    return set(options.of)


def _with_group(entry: Entry, pattern: str) -> Entry:
    if GROUP in entry.columns:
        raise UsageError(f"expected a manifest without a column {GROUP!r}, which the pattern would replace")
    match = re.search(pattern, os.path.basename(entry.name))
    if match is None or not match[1]:
        raise UsageError(f"{pattern!r} finds no group in {os.path.basename(entry.name)!r} ({entry.name})")
    return replace(entry, columns={"path": entry.name, "label": entry.label, **entry.columns, GROUP: match[1]})


def _group_of(entry: Entry, column: str) -> str:
    """Name of a video's group, or of the video; the prefixes keep apart a group and a file of one name."""
    group = entry.columns.get(column)
    return f"group {group}" if group else f"video {os.path.normpath(entry.name)}"


def _write(out: Path, entries: Sequence[Entry]) -> bool:
    """Write the manifest; returns whether the videos lie below its folder, so that their paths are relative."""
    folder = os.path.abspath(out.parent)
    paths = [entry.name if os.path.isabs(entry.name) else os.path.relpath(entry.file, folder) for entry in entries]
    is_below = not any(path.startswith((os.pardir + os.sep, os.sep)) for path in paths)
    if not is_below:  # a path that leads out of the root folder would be refused
        paths = [os.path.abspath(entry.file) for entry in entries]
    header = dict.fromkeys(("path", "label", "split", *entries[0].columns))
    rows = []
    for entry, path in zip(entries, paths, strict=True):
        row = entry.columns | {"path": path, "label": entry.label, "split": entry.split}
        rows.append([row[name] for name in header])
    write_text(out, csv_text(header, rows, exact=True))
    return is_below


def _counts(entries: Sequence[Entry]) -> dict[str, dict[str, int]]:
    counts = Counter((label, entry.split) for entry in entries for label in entry.classes or [NO_CLASS])
    splits = {split for _, split in counts}
    return {
        label: {split: counts[label, split] for split in splits} for label in sorted({label for label, _ in counts})
    }


def _torn(entries: Sequence[Entry]) -> list[str]:
    splits_of: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        if entry.source:
            splits_of[entry.source].add(entry.split)
    return sorted(source for source, splits in splits_of.items() if len(splits) > 1)
