"""The tables of a sweep, for table.md and for the page: one row for each variant, and one for each seed."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gcvideo.sweep.comparison import Row
from gcvideo.sweep.file import Run, Sweep
from gcvideo.sweep.outcome import Outcome
from gcvideo.sweep.statistics import ALPHA, McNemar, seeds_needed


class Table(NamedTuple):
    """Texts of a table: header, rows of as many cells, and an explanation."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    legend: str

    def markdown(self) -> str:
        """As Markdown, with the legend below."""
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + f"\n\n{self.legend}\n"


def variants_table(sweep: Sweep, rows: Sequence[Row]) -> Table:
    """Mean, difference to the baseline and verdict of each variant; cells are empty where there is no value."""
    threshold = [] if sweep.threshold is None else [f"{sweep.threshold:g} or more"]
    header = ["variant", "seeds", f"{sweep.metric}: mean", "spread", *threshold]
    header += [f"difference to {sweep.baseline}", "95 % interval", "p", "verdict"]
    num_comparisons = sum(row.paired is not None for row in rows)
    legend = (
        "Spread: standard deviation over seeds. Runs that failed or have not finished are left out. Differences are "
        "paired by seed; the interval (Student's t) describes their mean. p decides: an exact sign-flip test over "
        f"seeds, corrected for the number of comparisons (Holm), here {num_comparisons}. Below {ALPHA} it is called "
        f"significant, which takes at least {seeds_needed(num_comparisons)} seeds."
    )
    if threshold:
        legend += (
            f" {sweep.threshold:g} or more: seeds with this {sweep.metric}, and the exact 95 % interval of their "
            "share (Clopper-Pearson)."
        )
    return Table(header, [_variant_cells(sweep, row) for row in rows], legend)


def _variant_cells(sweep: Sweep, row: Row) -> list[str]:
    num_seeds = len(row.values)
    cells = [row.variant, str(num_seeds) if num_seeds == len(sweep.seeds) else f"{num_seeds} of {len(sweep.seeds)}"]
    cells += [f"{row.mean:.3f}", "" if row.spread is None else f"{row.spread:.3f}"]
    if row.passed:
        cells.append(f"{row.passed.num_passed} of {num_seeds} ({row.passed.interval})")
    if row.paired is None:
        return [*cells, "", "", "", row.verdict]
    interval = row.paired.interval
    cells += [f"{row.paired.difference:+.3f}", f"{interval.low:+.3f} to {interval.high:+.3f}" if interval else ""]
    return [*cells, p_text(row.paired.p), row.verdict]


class RunCell(NamedTuple):
    """Texts about one run; empty where there is no value.

    Args:
        value: the metric.
        interval: its 95 % interval.
        videos: comparison with the baseline's run of the same seed.
    """

    value: str
    interval: str
    videos: str

    def __str__(self) -> str:
        accuracy = f"{self.value} ({self.interval})" if self.interval else self.value
        return f"{accuracy}, {self.videos}" if self.videos else accuracy


def run_cells(outcomes: Mapping[Run, Outcome], videos: Mapping[Run, McNemar]) -> dict[Run, RunCell]:
    """Such as 0.997 (0.981 to 0.999), 80 : 1, p < 0.001 of each finished run."""
    cells = {}
    for run, outcome in outcomes.items():
        interval = "" if outcome.interval is None else str(outcome.interval)
        cells[run] = RunCell(f"{outcome.value:.3f}", interval, _videos_text(videos[run]) if run in videos else "")
    return cells


def _videos_text(test: McNemar) -> str:
    p = p_text(test.p)
    text = f"{test.variant_only} : {test.baseline_only}, p {p if p.startswith('<') else f'= {p}'}"
    return text + (f", without {test.not_shared} videos that only one was tested on" if test.not_shared else "")


def seeds_table(sweep: Sweep, cells: Mapping[Run, RunCell]) -> Table:
    """Every run: a row for each seed, a column for each variant."""
    rows = []
    for seed in sweep.seeds:
        rows.append([str(seed), *(str(cells.get(Run(variant, seed), "")) for variant in sweep.variants)])
    legend = (
        "Ranges are 95 % intervals of a run's accuracy over the draw of the test videos (Wilson). a : b: number of "
        f"videos that only this run (a) or only {sweep.baseline} with the same seed (b) classifies correctly; p: "
        "McNemar's exact test, without correction. It compares two trained networks. Only the seeds together "
        "compare the variants."
    )
    return Table(["seed", *sweep.variants], rows, legend)


def p_text(p: float) -> str:
    """A p-value in a table."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def markdown(sweep: Sweep, rows: Sequence[Row], cells: Mapping[Run, RunCell]) -> str:
    """Both tables."""
    return variants_table(sweep, rows).markdown() + "\n" + seeds_table(sweep, cells).markdown()
