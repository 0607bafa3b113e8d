"""The results of an analysis as JSON, CSV and a short table."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gcvideo.analysis.measure import KINDS, PAIRED, SINGLE
from gcvideo.analysis.published import NOTE, PUBLISHED
from gcvideo.analysis.query_independence import BlockAnalysis, Summary
from gcvideo.files import csv_text

QUERIES = "Mean distance of two queries (0: nothing depends on the query)"
FRAMES_OR_PLACES = "Distance of the attention of two queries, by what differs between them"
CONCENTRATION = "Concentration of the attention"
"""Headings of the tables."""

_NOISE = 1e-7  # distances below are rounding errors of float32


@dataclass(frozen=True)
class Analysis:
    """All blocks of a model over the clips of a manifest.

    Attributes:
        model: name of the run or file.
        checkpoint: its file.
        manifest, split: of the videos.
        clips: number that was analysed, one of each video.
        broken: number of videos that could not be decoded.
        clip_size: T, S, S of a clip.
        num_queries: at most so many queries of a clip for the divergence.
        seed: of their draw.
        blocks: in the order of the model.
    """

    model: str
    checkpoint: str
    manifest: str
    split: str
    clips: int
    broken: int
    clip_size: tuple[int, int, int]
    num_queries: int
    seed: int
    blocks: tuple[BlockAnalysis, ...]

    @property
    def non_local(self) -> tuple[BlockAnalysis, ...]:
        """Blocks whose attention depends on the query."""
        return tuple(block for block in self.blocks if "cos_attention" in block.overall.mean)


def as_plain(analysis: Analysis) -> dict[str, Any]:
    """For JSON: everything, with what the statistics are and the published rows."""
    statistics = {**PAIRED, **{f"..._{kind}": text for kind, text in KINDS.items()}, **SINGLE}
    published = [row._asdict() for row in PUBLISHED] if analysis.non_local else []
    return {
        **asdict(analysis),
        "statistics": statistics,
        "published": published,
        "published_note": NOTE if published else "",
    }


def as_csv(analysis: Analysis) -> str:
    """One row for each block, class ("" for all clips) and statistic."""
    rows: list[tuple[Any, ...]] = []
    for block in analysis.blocks:
        for name, summary in {"": block.overall, **block.classes}.items():
            for statistic, mean in summary.mean.items():
                rows.append(
                    (block.name, block.family, block.mode or "", name, statistic)
                    + (f"{mean:.6g}", f"{summary.deviation[statistic]:.6g}", summary.clips)
                )
    return csv_text(("block", "family", "mode", "class", "statistic", "mean", "deviation", "clips"), rows)


def tables(analysis: Analysis) -> dict[str, list[tuple[str, ...]]]:
    """Heading -> rows of cells, the first with the names of the columns."""
    found = {}
    if analysis.non_local:
        found[QUERIES] = _query_table(analysis.non_local)
        found[FRAMES_OR_PLACES] = _kind_table(analysis.non_local)
    if any("entropy" in block.overall.mean for block in analysis.blocks):
        found[CONCENTRATION] = _concentration_table(analysis.blocks)
    return found


def as_text(analysis: Analysis) -> str:
    """The tables in columns, for a terminal."""
    parts = []
    for heading, rows in tables(analysis).items():
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [
            "  ".join(
                cell.rjust(width) if number else cell.ljust(width)
                for number, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        parts.append("\n".join([heading, *lines]))
    parts.append("\n".join(notes(analysis)))
    return "\n\n".join(parts) + "\n"


def notes(analysis: Analysis) -> list[str]:
    """What a reader must know of the figures."""
    broken = f" ({analysis.broken} could not be decoded)" if analysis.broken else ""
    found = [f"{analysis.clips} videos of {analysis.manifest}, split {analysis.split!r}{broken}; one clip of each."]
    if analysis.non_local:
        found.append(f"{NOTE}.")
    if any("cos_output" not in block.overall.mean for block in analysis.blocks):
        found.append("No output: the last layer of the block is zero, as before training.")
    if any(block.is_sampled for block in analysis.blocks):
        found.append(
            f"JSD: an estimate from {analysis.num_queries} queries of a clip, drawn with seed {analysis.seed}."
        )
    return found


def _query_table(blocks: Sequence[BlockAnalysis]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("block", "mode", "cos input", "cos output", "cos attention", "JSD attention")]
    for block in blocks:
        rows.append((block.name, block.mode or "", *(cell(block.overall, name) for name in PAIRED)))
    for row in PUBLISHED:
        cells = ("-" if getattr(row, name) is None else f"{getattr(row, name):.3f}" for name in PAIRED)
        rows.append(("published", row.mode, *cells))
    return rows


def _kind_table(blocks: Sequence[BlockAnalysis]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("block", "distance", "other frame, same place", "same frame, other place", "both differ", "frame / place")
    ]
    for block in blocks:
        for name, short in (("cos_attention", "cos"), ("jsd_attention", "JSD")):
            if name in block.overall.mean:
                kinds = (cell(block.overall, f"{name}_{kind}") for kind in KINDS)
                rows.append((block.name, short, *kinds, _ratio(block.overall, name)))
    return rows


def _ratio(summary: Summary, name: str) -> str:
    frame, place = (summary.mean.get(f"{name}_{kind}", 0.0) for kind in ("other_frame", "other_place"))
    return f"{frame / place:.2f}" if place > _NOISE else "-"


def _concentration_table(blocks: Sequence[BlockAnalysis]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("block", "family", "entropy / log N", "effective positions", "of N", "frame with most")
    ]
    for block in blocks:
        summary = block.overall
        if summary.in_time is not None:
            most = max(range(len(summary.in_time)), key=summary.in_time.__getitem__)
            share = f"{most + 1} of {len(summary.in_time)}: {summary.in_time[most]:.3f}"
            t, h, w = block.keys
            effective = f"{summary.mean['effective_positions']:.1f}"
            rows.append((block.name, block.family, cell(summary, "entropy"), effective, str(t * h * w), share))
    return rows


def cell(summary: Summary, name: str) -> str:
    """Mean of a statistic; "-" where it does not exist."""
    if name not in summary.mean:
        return "-"
    mean = summary.mean[name]
    return f"{mean:.3f}" if mean >= 0.001 or mean < _NOISE else f"{mean:.0e}"
