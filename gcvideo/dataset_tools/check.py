"""`gcvideo check`: examine all videos of a manifest, and write what was found."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gcvideo.dataset_tools.entries import Entry
from gcvideo.dataset_tools.examine import Broken, VideoFacts, examine
from gcvideo.dataset_tools.findings import ERRORS, WARNINGS, Finding
from gcvideo.dataset_tools.histograms import dataset_histograms
from gcvideo.dataset_tools.pool import NoResult, Pool, progress_bar, run_all
from gcvideo.files import csv_text, json_text, write_bytes, write_text

_FACTS = ("num_frames", "fps", "width", "height", "codec", "sha256")
_MEASURED = ("num_frames", "fps", "width", "height")
"""Columns that `update_manifest` writes."""


@dataclass(frozen=True)
class DecoderUse:
    """For how many files a decoder is accurate, and for how many it is not, by reason (most frequent first)."""

    accurate: int
    faults: dict[str, int]


@dataclass(frozen=True)
class CheckSummary:
    """The content of check.json.

    Attributes:
        videos: number of rows.
        findings: kind -> number, all kinds.
        errors: number of findings of the kinds in `ERRORS`.
        decoders: name -> its use; videos that are broken do not count.
        classes: split -> class -> number of videos.
    """

    videos: int
    findings: dict[str, int]
    errors: int
    decoders: dict[str, DecoderUse]
    classes: dict[str, dict[str, int]]


def examine_all(
    entries: Sequence[Entry], full: bool, pool: Pool, timeout_s: float, progress: bool = True
) -> list[VideoFacts | Broken]:
    """`examine` for each entry; a video that takes longer than `timeout_s`, or ends its process, is broken."""
    results: dict[str, VideoFacts | Broken] = {}
    broken = 0
    files = dict.fromkeys(entry.file for entry in entries)  # a file that is listed twice is read once
    with progress_bar("check", len(files), progress) as bar:
        for file, result in run_all(partial(examine, full=full), files, pool, timeout_s):
            results[file] = Broken(result.reason) if isinstance(result, NoResult) else result
            broken += isinstance(results[file], Broken)
            bar.set_postfix(failures=broken, refresh=False)
            bar.update()
    return [results[entry.file] for entry in entries]


def summarise(
    entries: Sequence[Entry], facts: Sequence[VideoFacts | Broken], findings: Sequence[Finding]
) -> CheckSummary:
    """Count findings, decoders and classes."""
    kinds = Counter(finding.kind for finding in findings)
    classes: dict[str, dict[str, int]] = {}
    for split in sorted({entry.split for entry in entries}):
        labels = Counter(label for entry in entries if entry.split == split for label in entry.classes)
        classes[split] = dict(sorted(labels.items()))
    return CheckSummary(
        videos=len(entries),
        findings={kind: kinds[kind] for kind in (*ERRORS, *WARNINGS)},
        errors=sum(kinds[kind] for kind in ERRORS),
        decoders=_decoder_uses([fact.faults for fact in facts if isinstance(fact, VideoFacts)]),
        classes=classes,
    )


def _decoder_uses(faults: Sequence[Mapping[str, str | None]]) -> dict[str, DecoderUse]:
    uses: dict[str, DecoderUse] = {}
    for decoder in faults[0] if faults else ():
        reasons = Counter(of_video[decoder] for of_video in faults)
        by_count = {reason: count for reason, count in reasons.most_common() if reason is not None}
        uses[decoder] = DecoderUse(accurate=reasons[None], faults=by_count)  # None: no reason against it
    return uses


def write_results(
    out: Path, entries: Sequence[Entry], facts: Sequence[VideoFacts | Broken], findings: Sequence[Finding]
) -> CheckSummary:
    """Write videos.csv, findings.csv, check.json and check.png; returns what check.json holds."""
    out.mkdir(parents=True, exist_ok=True)
    summary = summarise(entries, facts, findings)
    decoders = tuple(summary.decoders)
    header = ("path", "label", "split", *_FACTS, *decoders, "broken")
    write_text(out / "videos.csv", csv_text(header, _video_rows(entries, facts, decoders)))
    rows = ((finding.kind, finding.name, finding.text) for finding in findings)
    write_text(out / "findings.csv", csv_text(("kind", "name", "text"), rows))
    write_text(out / "check.json", json_text(asdict(summary)))
    good = [fact for fact in facts if isinstance(fact, VideoFacts)]
    write_bytes(out / "check.png", dataset_histograms(good, summary.classes))
    return summary


def _video_rows(
    entries: Sequence[Entry], facts: Sequence[VideoFacts | Broken], decoders: Sequence[str]
) -> Iterator[list[Any]]:
    """Rows of videos.csv; in the column of a decoder stands "accurate" or why it is not."""
    for entry, fact in zip(entries, facts, strict=True):
        row: list[Any] = [entry.name, entry.label, entry.split]
        if isinstance(fact, Broken):
            row += ["" for _ in (*_FACTS, *decoders)]
            row.append(fact.reason)
        else:
            row += [getattr(fact, name) for name in _FACTS]
            row += [fact.faults[decoder] or "accurate" for decoder in decoders]
            row.append("")
        yield row


def update_manifest(manifest: Path, entries: Sequence[Entry], facts: Sequence[VideoFacts | Broken]) -> None:
    """Write num_frames, fps, width and height of each video into the manifest; empty for a broken one.

    Other columns stay as they are. Later checks compare the files with these columns.
    """
    kept = [name for name in entries[0].columns if name not in _MEASURED] or ["path", "label", "split"]
    rows = []
    for entry, fact in zip(entries, facts, strict=True):
        written = {"path": entry.name, "label": entry.label, "split": entry.split} | entry.columns
        measured = ["" if isinstance(fact, Broken) else getattr(fact, name) for name in _MEASURED]
        rows.append([*(written[name] for name in kept), *measured])
    write_text(manifest, csv_text([*kept, *_MEASURED], rows, exact=True))
