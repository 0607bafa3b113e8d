"""Is one variant better than another? Paired differences over seeds, and what they allow to say.

Run-to-run spread of Kinetics accuracies is about 0.5 points and published gains are about 1, so one seed certifies
nothing. Every variant is compared with the baseline over the seeds that both have: mean difference, its 95 %
confidence interval (Student's t), and a p-value corrected for the number of variants (Holm 1979).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean, stdev

from scipy import stats

CONFIDENCE = 0.95
MIN_SEEDS = 3


@dataclass(frozen=True, slots=True)
class Row:
    """One variant; fields behind `spread` are None for the baseline, and below `MIN_SEEDS` shared seeds."""

    variant: str
    values: dict[int, float]  # seed -> metric
    mean: float
    spread: float | None  # standard deviation over seeds (n - 1)
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None  # corrected
    verdict: str = ""


def compare(results: Mapping[str, Mapping[int, float]], baseline: str) -> list[Row]:
    """Compare every variant with the baseline.

    Args:
        results: variant -> seed -> metric (higher is better); variants without a seed are left out.
        baseline: key of `results`.

    Returns:
        Rows in the order of `results`. The verdict is "better" or "worse" only where the corrected p is below 0.05.
    """
    rows = []
    tests: dict[str, tuple[float, float, float, float]] = {}
    base = results.get(baseline, {})
    for variant, values in results.items():
        shared = sorted(set(values) & set(base))
        if variant != baseline and len(shared) >= MIN_SEEDS:
            tests[variant] = _paired([values[seed] - base[seed] for seed in shared])
    corrected = holm({variant: test[3] for variant, test in tests.items()})
    for variant, values in results.items():
        if not values:
            continue
        numbers = list(values.values())
        row = Row(variant, dict(values), mean(numbers), stdev(numbers) if len(numbers) > 1 else None)
        if variant in tests:
            difference, low, high, _ = tests[variant]
            p = corrected[variant]
            verdict = "not significant" if p >= 1 - CONFIDENCE else "better" if difference > 0 else "worse"
            row = replace(row, difference=difference, low=low, high=high, p=p, verdict=verdict)
        elif variant == baseline:
            row = replace(row, verdict="baseline")
        else:
            row = replace(row, verdict="too few seeds to tell")
        rows.append(row)
    return rows


def _paired(differences: Sequence[float]) -> tuple[float, float, float, float]:
    """Mean, confidence interval and p-value of paired differences."""
    center = mean(differences)
    if stdev(differences) < 1e-9:  # no spread to judge by: few seeds on few videos; it certifies nothing
        return center, center, center, 1.0
    test = stats.ttest_1samp(differences, 0.0)
    interval = test.confidence_interval(CONFIDENCE)
    return center, float(interval.low), float(interval.high), float(test.pvalue)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p-values corrected for their number (Holm's step-down), each at least the one before in size and at most 1."""
    corrected: dict[str, float] = {}
    floor = 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        floor = max(floor, min(1.0, p * (len(p_values) - rank)))
        corrected[name] = floor
    return corrected


def markdown(rows: Sequence[Row], metric: str, baseline: str, num_seeds: int) -> str:
    """The rows as a table, with what its columns mean; `num_seeds` were asked for of each."""
    lines = [
        f"| variant | seeds | {metric}: mean | spread | difference to {baseline} | 95 % interval | p | verdict |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        interval = "" if row.low is None or row.high is None else f"{row.low:+.3f} to {row.high:+.3f}"
        cells = (
            row.variant,
            str(num_seeds) if len(row.values) == num_seeds else f"{len(row.values)} of {num_seeds}",
            f"{row.mean:.3f}",
            _shown(row.spread, ".3f"),
            _shown(row.difference, "+.3f"),
            interval,
            "" if row.p is None else "< 0.001" if row.p < 0.001 else f"{row.p:.3f}",
            row.verdict,
        )
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "Spread: standard deviation over seeds. Differences are paired by seed; the interval is Student's t, each for "
        f"itself. p is corrected for {sum(row.p is not None for row in rows)} comparisons (Holm); below 0.05 is called "
        "significant. Runs that failed or are still to do are not in a mean.",
    ]
    return "\n".join(lines) + "\n"


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
