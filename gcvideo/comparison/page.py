"""The tables and the page of a comparison. The template is page.html.j2."""

from pathlib import Path
from typing import NamedTuple

from gcvideo.comparison.comparison import Comparison
from gcvideo.comparison.run_results import ACCURACIES, RunResults
from gcvideo.files import json_text, write_text
from gcvideo.pages import image, render
from gcvideo.report.interval import Interval
from gcvideo.sweep.plot import plot_classes, plot_curves
from gcvideo.sweep.table import Table, p_text

MAX_VIDEOS = 300
"""Videos on the page on which the runs differ; report.json has all of them."""


class Card(NamedTuple):
    """A run at the top of the page."""

    accuracy: float
    interval: Interval | str
    name: str


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write report.json and report.html into a folder, which is created."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "report.json", json_text(comparison.content()))
    write_text(folder / "report.html", render_page(comparison))


def render_page(comparison: Comparison) -> str:
    """The page as HTML."""
    runs, baseline = comparison.runs, comparison.runs[0].name
    curves = {run.name: [run.curves] for run in runs if run.curves}
    return render(
        "comparison/page.html.j2",
        title=f"{len(runs)} runs on {len(runs[0].answers):,} videos",
        cards=[_card(run) for run in runs],
        accuracies=accuracy_table(runs),
        differences=difference_table(comparison),
        curves=image(plot_curves(curves, baseline), "validation curves") if curves else None,
        class_plot=image(plot_classes(comparison.class_top1(), baseline), "accuracy of each class"),
        classes=_class_table(comparison),
        videos=_video_table(comparison),
        num_videos=len(comparison.videos),
        settings=_settings(runs),
    )


def _card(run: RunResults) -> Card:
    name, (accuracy, interval) = next(iter(run.accuracies.items()))
    return Card(accuracy, interval or "", run.name if name == "video_top1" else f"{run.name}, {ACCURACIES[name]}")


def accuracy_table(runs: list[RunResults]) -> Table:
    """The accuracies of every run with their intervals."""
    rows = []
    for run in runs:
        both = run.accuracies.values()
        cells = [f"{value:.3f} ({interval})" if interval else f"{value:.3f}" for value, interval in both]
        rows.append([run.name, *cells, run.views])
    header = ["run", *(ACCURACIES[key] for key in runs[0].accuracies), "views"]
    return Table(header, rows, "Ranges are 95 % intervals over the draw of the test videos.")


def difference_table(comparison: Comparison) -> Table:
    """Every other run against the baseline."""
    baseline = comparison.runs[0].name
    rows = []
    for row in comparison.differences:
        interval = f"{row.interval.low:+.3f} to {row.interval.high:+.3f}"
        counts = f"{row.run_only} : {row.baseline_only}"
        rows.append([row.run, f"{row.difference:+.3f}", interval, counts, p_text(row.p), row.verdict])
    legend = (
        f"Video top-1 minus that of {baseline}. a : b: videos that only the run (a) or only {baseline} (b) has right; "
        f"p: McNemar's exact test, corrected for the number of comparisons (Holm), here {len(rows)}. It compares "
        "trained networks; methods are compared over seeds (gcvideo sweep)."
    )
    return Table(["run", f"difference to {baseline}", "95 % interval", "a : b", "p", "verdict"], rows, legend)


def _class_table(comparison: Comparison) -> Table:
    rows = [
        [row.name, str(row.videos), *(f"{value:.3f}" for value in row.accuracy), f"{row.spread:.3f}"]
        for row in comparison.classes
    ]
    return Table(["class", "videos", *(run.name for run in comparison.runs), "spread"], rows, "")


def _video_table(comparison: Comparison) -> Table:
    rows = [
        [
            video.path,
            video.label,
            *("right" if right else name for name, right in zip(video.predicted, video.is_right, strict=True)),
        ]
        for video in comparison.videos[:MAX_VIDEOS]
    ]
    return Table(["video", "class", *(run.name for run in comparison.runs)], rows, "")


def _settings(runs: list[RunResults]) -> dict[str, str]:
    return {"data set": runs[0].data} | {run.name: run.checkpoint for run in runs}
