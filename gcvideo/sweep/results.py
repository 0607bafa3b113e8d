"""Results of a sweep: read from the runs' report.json, written as tables and a plot."""

import json

from gcvideo.errors import UsageError
from gcvideo.files import csv_text, write_bytes, write_text
from gcvideo.sweep.comparison import Row, compare, markdown
from gcvideo.sweep.file import Run, Sweep

Results = dict[str, dict[int, float]]  # variant -> seed -> metric


def read_metric(sweep: Sweep, run: Run) -> float | None:
    """Metric of a finished run; None if it has not finished.

    Raises:
        UsageError: the report has no such number.
    """
    path = sweep.run_folder(run) / "report.json"
    if not path.exists():
        return None
    report = json.loads(path.read_text(encoding="utf-8"))
    value = report.get(sweep.metric)
    if not isinstance(value, int | float):
        numbers = ", ".join(key for key, number in report.items() if isinstance(number, int | float))
        raise UsageError(f"expected one of {numbers} as metric, got {sweep.metric!r}")
    return float(value)


def read_results(sweep: Sweep) -> Results:
    """Metrics of all finished runs; a variant may have none."""
    results: Results = {variant: {} for variant in sweep.variants}
    for run in sweep.runs:
        value = read_metric(sweep, run)
        if value is not None:
            results[run.variant][run.seed] = value
    return results


def write_tables(sweep: Sweep) -> None:
    """Write runs.csv, table.csv, table.md and plot.png from the finished runs; nothing if there are none."""
    from gcvideo.sweep.plot import plot_variants  # matplotlib

    results = read_results(sweep)
    rows = compare(results, sweep.baseline)
    if not rows:
        return
    write_text(sweep.folder / "runs.csv", _runs_csv(results, sweep.metric))
    write_text(sweep.folder / "table.csv", _table_csv(rows))
    write_text(sweep.folder / "table.md", markdown(rows, sweep.metric, sweep.baseline, len(sweep.seeds)))
    write_bytes(sweep.folder / "plot.png", plot_variants(rows, sweep.metric, sweep.baseline))


def _runs_csv(results: Results, metric: str) -> str:
    lines = []
    for variant, by_seed in results.items():
        lines += [(variant, seed, value) for seed, value in by_seed.items()]
    return csv_text(("variant", "seed", metric), lines)


def _table_csv(rows: list[Row]) -> str:
    header = ("variant", "seeds", "mean", "spread", "difference", "low", "high", "p", "verdict")
    lines = []
    for row in rows:
        statistics = (row.mean, row.spread, row.difference, row.low, row.high, row.p)
        lines.append((row.variant, len(row.values), *statistics, row.verdict))
    return csv_text(header, lines)
