"""Results of a sweep: from the reports of its runs to tables, a plot and a page."""

from collections.abc import Mapping, Sequence

from gcvideo.files import csv_text, write_bytes, write_text
from gcvideo.sweep.comparison import Row, compare
from gcvideo.sweep.file import Run, Sweep
from gcvideo.sweep.outcome import Outcome, compare_videos
from gcvideo.sweep.statistics import McNemar
from gcvideo.sweep.table import markdown, run_cells


def write_tables(sweep: Sweep, finished: Mapping[Run, Outcome]) -> None:
    """Write runs.csv, table.csv, table.md, plot.png and report.html of the finished runs; nothing without any."""
    from gcvideo.sweep.page import render_page  # matplotlib
    from gcvideo.sweep.plot import plot_variants

    if not finished:
        return
    in_order = (Run(variant, seed) for variant in sweep.variants for seed in sweep.seeds)
    outcomes = {run: finished[run] for run in in_order if run in finished}
    values: dict[str, dict[int, float]] = {variant: {} for variant in sweep.variants}
    for run, outcome in outcomes.items():
        values[run.variant][run.seed] = outcome.value
    rows = compare(values, sweep.baseline, sweep.threshold)
    videos = compare_videos(outcomes, sweep.baseline)
    cells = run_cells(outcomes, videos)
    plot = plot_variants(rows, sweep.metric, sweep.baseline)
    write_text(sweep.folder / "runs.csv", _runs_csv(outcomes, videos, sweep.metric))
    write_text(sweep.folder / "table.csv", _table_csv(rows))
    write_text(sweep.folder / "table.md", markdown(sweep, rows, cells))
    write_bytes(sweep.folder / "plot.png", plot)
    write_text(sweep.folder / "report.html", render_page(sweep, rows, outcomes, cells, plot))


def _runs_csv(outcomes: Mapping[Run, Outcome], videos: Mapping[Run, McNemar], metric: str) -> str:
    header = ("variant", "seed", metric, "low", "high", *McNemar._fields[:3], "mcnemar_p")
    lines = []
    for run, outcome in outcomes.items():
        interval = outcome.interval or ("", "")
        lines.append((*run, outcome.value, *interval, *videos.get(run, ("",) * 4)))
    return csv_text(header, lines)


def _table_csv(rows: Sequence[Row]) -> str:
    header = ["variant", "seeds", "mean", "spread", "passed", "passed_low", "passed_high"]
    header += ["difference", "low", "high", "p", "verdict"]
    lines = []
    for row in rows:
        passed = (row.passed.num_passed, *row.passed.interval) if row.passed else ("", "", "")
        paired = (row.paired.difference, *(row.paired.interval or ("", "")), row.paired.p) if row.paired else ("",) * 4
        lines.append((row.variant, len(row.values), row.mean, row.spread, *passed, *paired, row.verdict))
    return csv_text(header, lines)
