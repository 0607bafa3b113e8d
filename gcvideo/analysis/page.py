"""The page of an analysis. The template is page.html.j2."""

from gcvideo.analysis import plots
from gcvideo.analysis.measure import KINDS, PAIRED, SINGLE
from gcvideo.analysis.query_independence import BlockAnalysis
from gcvideo.analysis.results import FRAMES_OR_PLACES, QUERIES, Analysis, cell, notes, tables
from gcvideo.pages import Image, image, render


def figures_of(analysis: Analysis) -> dict[str, bytes]:
    """File name -> PNG."""
    found = {}
    if analysis.non_local:
        found["query_independence.png"] = plots.query_independence(analysis.non_local)
        found["frames_or_places.png"] = plots.frames_or_places(analysis.non_local)
    for block in analysis.blocks:
        picture = plots.attended(block)
        if picture is not None:
            found[f"attended-{block.name}.png"] = picture
    return found


def render_page(analysis: Analysis, figures: dict[str, bytes]) -> str:
    """The page as HTML.

    Args:
        analysis: all numbers.
        figures: of `figures_of`.
    """
    pictures: dict[str, Image | None] = dict.fromkeys(tables(analysis))
    for heading, file in ((QUERIES, "query_independence.png"), (FRAMES_OR_PLACES, "frames_or_places.png")):
        if file in figures:
            pictures[heading] = image(figures[file], heading)
    attended = {
        f"{block.name} ({block.family})": image(figures[f"attended-{block.name}.png"], f"attention of {block.name}")
        for block in analysis.blocks
        if f"attended-{block.name}.png" in figures
    }
    return render(
        "analysis/page.html.j2",
        title=f"{analysis.model}: blocks",
        notes=notes(analysis),
        tables=tables(analysis),
        figures=pictures,
        attended=attended,
        max_classes=plots.MAX_CLASSES,
        classes={f"{block.name} ({block.family})": _class_table(block) for block in analysis.blocks if block.classes},
        statistics={**PAIRED, **{f"..._{kind}": text for kind, text in KINDS.items()}, **SINGLE},
        settings=_settings(analysis),
    )


def _class_table(block: BlockAnalysis) -> list[tuple[str, ...]]:
    names = [name for name in (*PAIRED, *SINGLE) if name in block.overall.mean]
    rows: list[tuple[str, ...]] = [("class", "clips", *names)]
    for label, summary in block.classes.items():
        rows.append((label, str(summary.clips), *(cell(summary, name) for name in names)))
    return rows


def _settings(analysis: Analysis) -> dict[str, str]:
    return {
        "checkpoint": analysis.checkpoint,
        "manifest": f"{analysis.manifest}, split {analysis.split}",
        "clip": " x ".join(map(str, analysis.clip_size)),
        "queries of a clip for the JSD": str(analysis.num_queries),
        "seed": str(analysis.seed),
    }
