"""What is wrong with a data set, found by comparing its videos: copies, leaks between splits, contradictions."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from gcvideo.dataset_tools.entries import Entry
from gcvideo.dataset_tools.examine import Broken, VideoFacts
from gcvideo.dataset_tools.scenes import shared_scenes

ERRORS = ("broken", "differs", "leak", "contradiction")
"""Kinds of findings with which a set should not be used."""

WARNINGS = ("duplicate", "look-alike", "scene", "mislabelled", "short", "imbalance")
"""Kinds of findings that deserve a look."""

IMBALANCE = 10
"""Ratio of the largest to the smallest class of a split from which on there is a warning."""

# Re-encoding changed at most 10 bits, and different videos differed in 20 and more (36 clips of UCF-101).
LOOK_BITS = 14
"""Of 192 bits of `look_of`, how many may differ in videos that look alike."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem.

    Attributes:
        kind: one of `ERRORS` and `WARNINGS`.
        name: the path (or source, or split) that it concerns.
        text: a description.
        rank: among the findings of its kind, lower ones come first.
    """

    kind: str
    name: str
    text: str
    rank: float = 0

    def __post_init__(self) -> None:
        if self.kind not in (*ERRORS, *WARNINGS):
            raise ValueError(f"expected one of {', '.join((*ERRORS, *WARNINGS))}, got {self.kind!r}")


def find(entries: Sequence[Entry], facts: Sequence[VideoFacts | Broken], min_frames: int) -> list[Finding]:
    """All findings, errors first; of similar videos first those that are in two splits or have two labels.

    Args:
        entries: rows.
        facts: of `examine`, for each row.
        min_frames: a video with fewer is short.
    """
    found: list[Finding] = []
    classes = {_plain(label) for entry in entries for label in entry.classes}
    for entry, fact in zip(entries, facts, strict=True):
        if isinstance(fact, Broken):
            found.append(Finding("broken", entry.name, fact.reason))
        else:
            found += _of_one_video(entry, fact, min_frames, classes)
    contents = ["" if isinstance(fact, Broken) else fact.sha256 for fact in facts]
    found += _copies(entries, contents)
    copied = {content for content, count in Counter(contents).items() if count > 1}
    # Equal files look alike, too; that would be reported twice.
    looks = ["" if isinstance(fact, Broken) or fact.sha256 in copied else fact.look for fact in facts]
    found += _look_alikes(entries, looks)
    found += _shared_scenes(entries, [getattr(fact, "background", b"") for fact in facts], contents)
    found += _shared_sources(entries)
    found += _imbalances(entries)
    kinds = (*ERRORS, *WARNINGS)
    return sorted(found, key=lambda finding: (kinds.index(finding.kind), finding.rank, finding.name))


def _of_one_video(entry: Entry, facts: VideoFacts, min_frames: int, classes: set[str]) -> Iterator[Finding]:
    if facts.num_frames < min_frames:
        yield Finding("short", entry.name, f"{facts.num_frames} frames, fewer than {min_frames}")
    for column, actual in (
        ("num_frames", facts.num_frames),
        ("width", facts.width),
        ("height", facts.height),
        ("sha256", facts.sha256),
    ):
        written = entry.columns.get(column, "")
        if written and written[:16] != str(actual):  # a manifest may hold all 64 digits of the SHA-256
            yield Finding("differs", entry.name, f"{column} is {actual}, but {written} in the manifest")
    # Only a folder that is named like a class tells one (the innermost): others are splits, persons, dates. Labels that
    # are indices can't be compared with it.
    folders = PurePosixPath(entry.name).parent.parts
    folder = next((folder for folder in reversed(folders) if _plain(folder) in classes), "")
    if folder and _plain(folder) not in map(_plain, entry.classes) and not all(map(str.isdigit, entry.classes)):
        yield Finding("mislabelled", entry.name, f"labelled {entry.label!r} in a folder {folder!r}")


def _plain(label: str) -> str:
    """A class name as folders spell it: lower case, without quotes and brackets."""
    return re.sub(r"[_/\\]", " ", re.sub(r"['\"()]", "", label)).lower()


def _copies(entries: Sequence[Entry], contents: Sequence[str]) -> Iterator[Finding]:
    first: dict[str, Entry] = {}
    for entry, content in zip(entries, contents, strict=True):
        if content in first:
            yield _pair("duplicate", entry, first[content], "the same content as")
        elif content:
            first[content] = entry


def _look_alikes(entries: Sequence[Entry], looks: Sequence[str]) -> Iterator[Finding]:
    """Pairs whose hashes differ in few bits.

    To compare every pair would take hours for Kinetics. A hash is cut into twelve parts of 16 bits, and only videos
    with at least one equal part are compared:

        look A   3f02 91c4 77aa ...
        look B   3f02 91c5 70aa ...      compared, because of 3f02
    """
    indices_with: dict[tuple[int, str], list[int]] = defaultdict(list)  # (offset, part) -> videos so far
    for index, look in enumerate(looks):
        if not look:
            continue
        # Eleven bits that differ can't touch all of the twelve parts, so a re-encoded copy keeps an equal one.
        parts = [(offset, look[offset : offset + 4]) for offset in range(0, len(look), 4)]
        candidates = {other for part in parts for other in indices_with[part][:50]}  # bounds the work for common parts
        distances = [((int(look, 16) ^ int(looks[other], 16)).bit_count(), other) for other in candidates]
        if distances:
            distance, other = min(distances)
            if distance <= LOOK_BITS:
                yield _pair("look-alike", entries[index], entries[other], "looks like")
        for part in parts:
            indices_with[part].append(index)


def _pair(kind: str, entry: Entry, other: Entry, text: str) -> Finding:
    """The worst that two equal or similar videos are: a leak, a contradiction, or only a copy."""
    is_certain = kind == "duplicate"  # looks can deceive, and are never an error
    if other.split != entry.split:
        text = f"{text} {other.name}: split {entry.split} here, {other.split} there"
        return Finding("leak" if is_certain else kind, entry.name, text, rank=-1)
    if set(other.classes) != set(entry.classes):
        text = f"{text} {other.name}, which is labelled {other.label!r}"
        return Finding("contradiction" if is_certain else kind, entry.name, text, rank=-1)
    return Finding(kind, entry.name, f"{text} {other.name}")


def _shared_scenes(
    entries: Sequence[Entry], backgrounds: Sequence[bytes], contents: Sequence[str]
) -> Iterator[Finding]:
    """Static cameras that filmed videos of several splits; not the copies and sources that are reported as such."""
    for index, other, correlation in shared_scenes([entry.split for entry in entries], backgrounds):
        entry, its = entries[index], entries[other]
        if contents[index] == contents[other] or (entry.source and entry.source == its.source):
            continue
        text = f"shows the scene of {its.name} ({correlation:.2f}): split {entry.split} here, {its.split} there"
        yield Finding("scene", entry.name, text, rank=-correlation)


def _shared_sources(entries: Sequence[Entry]) -> Iterator[Finding]:
    """Clips of one original video in several splits."""
    splits_of: dict[str, dict[str, str]] = defaultdict(dict)  # source -> split -> its first video
    for entry in entries:
        if entry.source:
            splits_of[entry.source].setdefault(entry.split, entry.name)
    for source, names in splits_of.items():
        if len(names) > 1:
            examples = ", ".join(f"{name} ({split})" for split, name in names.items())
            yield Finding("leak", source, f"one source in several splits: {examples}")


def _imbalances(entries: Iterable[Entry]) -> Iterator[Finding]:
    counts = Counter((entry.split, label) for entry in entries for label in entry.classes)
    labels = {label for _, label in counts}
    for split in sorted({split for split, _ in counts}):
        absent = sorted(label for label in labels if not counts[split, label])
        if absent:
            examples = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
            yield Finding("imbalance", split or "all", f"{len(absent)} classes have no video: {examples}")
        sizes = [counts[split, label] for label in labels if counts[split, label]]
        if max(sizes) >= IMBALANCE * min(sizes):
            yield Finding("imbalance", split or "all", f"classes have from {min(sizes)} to {max(sizes)} videos")
