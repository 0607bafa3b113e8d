"""What is wrong with a data set: `gcvideo check`.

Videos are examined one by one (`examine`), then compared: the same content twice, one source on both sides of a split,
a path that contradicts the label, classes that are far from balanced.
"""

import csv
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from gcvideo.data.listing import ManifestError, read_rows
from gcvideo.dataset_tools.examine import examine
from gcvideo.dataset_tools.journal import csv_text, json_text, write_whole
from gcvideo.dataset_tools.pool import progress_bar, run_all

ERRORS = ("broken", "differs", "leak", "contradiction")
"""Kinds of findings with which a set should not be used."""

WARNINGS = ("duplicate", "look-alike", "mislabelled", "short", "imbalance")
"""Kinds of findings that want a look."""

IMBALANCE = 10
"""Ratio of the largest to the smallest class of a split that is worth a warning."""

LOOK_BITS = 14
"""Of 192 bits of `look_of`, how many may differ in videos that look alike."""

_KINETICS_NAME = re.compile(r"([\w-]{11})_\d{6}_\d{6}", re.ASCII)
_UCF_NAME = re.compile(r"(v_.+_g\d+)_c\d+")


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the manifest: the file, its path as written, and further columns that the manifest has."""

    file: str
    name: str
    label: str
    split: str
    said: dict[str, str] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """What the video was cut from: the column `group`, a YouTube id, UCF-101's group; or ""."""
        stem = PurePosixPath(self.name).stem
        match = _KINETICS_NAME.fullmatch(stem) or _UCF_NAME.fullmatch(stem)
        return self.said.get("group") or (match[1] if match else "")


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem: its kind, the path (or the class), and what it is."""

    kind: str
    name: str
    text: str


def read_entries(manifest: Path, root: Path | None = None, split: str | None = None) -> list[Entry]:
    """All rows of a manifest of any form, whether the files are there or not.

    Raises:
        ManifestError: not a manifest, or no rows.
    """
    rows = read_rows(manifest)
    if rows.shards is not None:
        raise ManifestError(f"{manifest} lists shards: check the manifest of the files that they were made of")
    folder = root or (manifest if manifest.is_dir() else manifest.parent)
    said: Iterable[dict[str, str]] = ({} for _ in rows.paths)
    if manifest.is_file() and rows.lines[0] != 1:  # has a header
        with manifest.open(encoding="utf-8-sig", newline="") as stream:
            said = list(csv.DictReader(stream))
    splits = rows.splits or [""] * len(rows.paths)
    return [
        Entry(os.path.join(folder, path), path, label, name, columns)
        for path, label, name, columns in zip(rows.paths, rows.labels, splits, said, strict=True)
        if split is None or name == split
    ]


def examine_all(
    entries: Sequence[Entry], full: bool, workers: int, timeout_s: float, progress: bool = True
) -> list[dict[str, Any]]:
    """`examine` for each entry; a video that takes longer than `timeout_s`, or ends its process, is broken."""
    results: dict[str, dict[str, Any]] = {}
    broken = 0
    files = dict.fromkeys(entry.file for entry in entries)
    with progress_bar("check", len(files), progress) as bar:
        for file, result in run_all(partial(examine, full=full), files, workers, timeout_s):
            results[file] = {"broken": result} if isinstance(result, str) else result
            broken += "broken" in results[file]
            bar.set_postfix(failures=broken, refresh=False)
            bar.update()
    return [results[entry.file] for entry in entries]


def find(entries: Sequence[Entry], facts: Sequence[dict[str, Any]], min_frames: int) -> list[Finding]:
    """All that is wrong, errors first.

    Args:
        entries: rows.
        facts: of `examine`, for each row.
        min_frames: a video with fewer is short.
    """
    found = [
        finding for entry, fact in zip(entries, facts, strict=True) for finding in _single(entry, fact, min_frames)
    ]
    contents = [fact.get("sha256", "") for fact in facts]
    found += _copies(entries, contents)
    copies = {content for content, count in Counter(contents).items() if count > 1}
    looks = ["" if fact.get("sha256") in copies else fact.get("look", "") for fact in facts]
    found += _look_alikes(entries, looks)
    found += _leaks(entries)
    found += _imbalances(entries)
    kinds = (*ERRORS, *WARNINGS)
    return sorted(found, key=lambda finding: (kinds.index(finding.kind), finding.name))


def _single(entry: Entry, fact: dict[str, Any], min_frames: int) -> Iterable[Finding]:
    if "broken" in fact:
        yield Finding("broken", entry.name, fact["broken"])
        return
    if fact["num_frames"] < min_frames:
        yield Finding("short", entry.name, f"{fact['num_frames']} frames, fewer than {min_frames}")
    for column in ("num_frames", "width", "height", "sha256"):
        said = entry.said.get(column, "")
        if said and said[:16] != str(fact[column]):
            yield Finding("differs", entry.name, f"{column} is {fact[column]}, and {said} in the manifest")
    folder = PurePosixPath(entry.name).parent.name
    if folder and _plain(folder) != _plain(entry.label) and not entry.label.isdigit():
        yield Finding("mislabelled", entry.name, f"labelled {entry.label!r} in a folder {folder!r}")


def _plain(label: str) -> str:
    """A class name as folders spell it: lower case, without quotes and brackets."""
    return re.sub(r"[_/\\]", " ", re.sub(r"['\"()]", "", label)).lower()


def _copies(entries: Sequence[Entry], contents: Sequence[str]) -> Iterable[Finding]:
    first: dict[str, Entry] = {}
    for entry, content in zip(entries, contents, strict=True):
        if content in first:
            yield _pair("duplicate", entry, first[content], "the same content as")
        elif content:
            first[content] = entry


def _look_alikes(entries: Sequence[Entry], looks: Sequence[str]) -> Iterable[Finding]:
    """Pairs whose hashes differ in few bits; only those with one of twelve parts equal are compared."""
    alike: dict[tuple[int, str], list[int]] = defaultdict(list)
    for index, look in enumerate(looks):
        if not look:
            continue
        parts = [(place, look[place : place + 4]) for place in range(0, len(look), 4)]
        others = {other for part in parts for other in alike[part][:50]}
        distances = {(int(look, 16) ^ int(looks[other], 16)).bit_count(): other for other in sorted(others)}
        if distances and min(distances) <= LOOK_BITS:
            yield _pair("look-alike", entries[index], entries[distances[min(distances)]], "looks as")
        for part in parts:
            alike[part].append(index)


def _pair(kind: str, entry: Entry, other: Entry, text: str) -> Finding:
    if other.split != entry.split:
        return Finding(
            "leak" if kind == "duplicate" else kind,
            entry.name,
            f"{text} {other.name}: split {entry.split} here, {other.split} there",
        )
    if other.label != entry.label:
        return Finding(
            "contradiction" if kind == "duplicate" else kind,
            entry.name,
            f"{text} {other.name}, which is labelled {other.label!r}",
        )
    return Finding(kind, entry.name, f"{text} {other.name}")


def _leaks(entries: Sequence[Entry]) -> Iterable[Finding]:
    splits_of: dict[str, dict[str, str]] = defaultdict(dict)
    for entry in entries:
        if entry.source:
            splits_of[entry.source].setdefault(entry.split, entry.name)
    for source, names in splits_of.items():
        if len(names) > 1:
            told = ", ".join(f"{name} ({split})" for split, name in names.items())
            yield Finding("leak", source, f"one source in several splits: {told}")


def _imbalances(entries: Sequence[Entry]) -> Iterable[Finding]:
    counts = Counter((entry.split, entry.label) for entry in entries)
    labels = {entry.label for entry in entries}
    for split in sorted({entry.split for entry in entries}):
        absent = sorted(label for label in labels if not counts[split, label])
        if absent:
            told = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
            yield Finding("imbalance", split or "all", f"{len(absent)} classes have no video: {told}")
        sizes = [counts[split, label] for label in labels if counts[split, label]]
        if max(sizes) >= IMBALANCE * min(sizes):
            yield Finding("imbalance", split or "all", f"classes have from {min(sizes)} to {max(sizes)} videos")


def write_results(
    out: Path, entries: Sequence[Entry], facts: Sequence[dict[str, Any]], found: Sequence[Finding]
) -> dict[str, Any]:
    """Write videos.csv, findings.csv, check.json and check.png; the summary, as in check.json."""
    from gcvideo.report.plots import dataset_histograms

    out.mkdir(parents=True, exist_ok=True)
    columns = ("num_frames", "fps", "width", "height", "codec", "decoder", "reason", "sha256", "broken")
    rows = (
        (entry.name, entry.label, entry.split, *(fact.get(column, "") for column in columns))
        for entry, fact in zip(entries, facts, strict=True)
    )
    write_whole(out / "videos.csv", csv_text(("path", "label", "split", *columns), rows))
    write_whole(out / "findings.csv", csv_text(("kind", "name", "text"), (tuple(asdict(f).values()) for f in found)))
    counts = Counter(finding.kind for finding in found)
    good = [fact for fact in facts if "broken" not in fact]
    summary = {
        "videos": len(entries),
        "findings": {kind: counts[kind] for kind in (*ERRORS, *WARNINGS)},
        "errors": sum(counts[kind] for kind in ERRORS),
        "decoders": dict(Counter(f"{fact['decoder']}: {fact['reason']}" for fact in good)),
        "classes": {
            split: dict(sorted(Counter(e.label for e in entries if e.split == split).items()))
            for split in sorted({entry.split for entry in entries})
        },
    }
    write_whole(out / "check.json", json_text(summary))
    (out / "check.png").write_bytes(dataset_histograms(good, [(entry.split, entry.label) for entry in entries]))
    return summary


def update_manifest(manifest: Path, entries: Sequence[Entry], facts: Sequence[dict[str, Any]]) -> None:
    """Write what was found of each video into the manifest: num_frames, fps, width, height, decoder.

    Training then need not find out again which decoder reads a file right.
    """
    columns = ("num_frames", "fps", "width", "height", "decoder")
    before = [name for name in entries[0].said if name not in columns] or ["path", "label", "split"]
    rows = []
    for entry, fact in zip(entries, facts, strict=True):
        said = {"path": entry.name, "label": entry.label, "split": entry.split} | entry.said
        if said.get("decoder") == "pyav":  # made by prepare, which knows best
            fact = fact | {"decoder": "pyav"}
        rows.append([*(said[name] for name in before), *(fact.get(column, "") for column in columns)])
    write_whole(manifest, csv_text([*before, *columns], rows))
