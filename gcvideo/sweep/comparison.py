"""Is one variant better than another? Paired differences over seeds, and which conclusions they allow.

The spread of Kinetics accuracies between seeds is about 0.5 points and published gains are about 1, so one seed
certifies nothing. Every variant is compared with the baseline over the seeds that both have: mean difference, its 95 %
confidence interval (Student's t), and a p-value corrected for the number of variants (Holm 1979).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import NamedTuple

from scipy import stats

CONFIDENCE = 0.95
MIN_SEEDS = 3  # with two, the interval is 12.7 standard errors to either side: t with one degree of freedom
_NO_SPREAD = 1e-9  # of accuracies: float noise


@dataclass(frozen=True, slots=True)
class Row:
    """One variant of the table.

    Args:
        variant: its name.
        values: seed -> metric.
        mean: over the seeds.
        spread: standard deviation over the seeds (n - 1); None for one seed.
        verdict: "baseline", "better", "worse", "not significant" or "too few seeds to tell".
        difference: mean of the paired differences to the baseline. This and the fields below are None for the baseline,
            and for fewer than `MIN_SEEDS` seeds that both have.
        low, high: its confidence interval, not corrected for the number of variants.
        p: its p-value, corrected.
    """

    variant: str
    values: dict[int, float]
    mean: float
    spread: float | None
    verdict: str
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None


class PairedTest(NamedTuple):
    """Mean of paired differences, its confidence interval, and the p-value of "the true mean is 0"."""

    difference: float
    low: float
    high: float
    p: float


def compare(results: Mapping[str, Mapping[int, float]], baseline: str) -> list[Row]:
    """Compare every variant with the baseline.

    Args:
        results: variant -> seed -> metric (higher is better); variants without a seed are left out.
        baseline: key of `results`.

    Returns:
        Rows in the order of `results`. The verdict is "better" or "worse" only where the corrected p is below 0.05.
    """
    base = results.get(baseline, {})
    tests: dict[str, PairedTest] = {}
    for variant, values in results.items():
        # A pair shares its seed, and with it the order of the data. A failed run costs only its own pair.
        shared = sorted(set(values) & set(base))
        if variant != baseline and len(shared) >= MIN_SEEDS:
            tests[variant] = paired_test([values[seed] - base[seed] for seed in shared])
    corrected = holm({variant: test.p for variant, test in tests.items()})

    rows = []
    for variant, values in results.items():
        if not values:
            continue
        test = tests.get(variant)
        if test is not None:
            test = test._replace(p=corrected[variant])
        rows.append(_row(variant, values, test, is_baseline=variant == baseline))
    return rows


def paired_test(differences: Sequence[float]) -> PairedTest:
    """Student's t-test of at least two paired differences."""
    center = mean(differences)
    if stdev(differences) < _NO_SPREAD:
        # On a few hundred videos some seeds easily differ by the same number. The t-test would divide by zero and
        # call it certain.
        return PairedTest(center, center, center, 1.0)
    test = stats.ttest_1samp(differences, 0.0)
    interval = test.confidence_interval(CONFIDENCE)
    return PairedTest(center, float(interval.low), float(interval.high), float(test.pvalue))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p-values corrected for their number by Holm's step-down method.

    With m tests the smallest p is multiplied by m, the next by m - 1, ... A corrected value is at most 1, and never
    below that of a smaller p: 0.01, 0.03, 0.04 become 0.03, 0.06, and 0.06 instead of 0.04.

    Args:
        p_values: name -> p.

    Returns:
        Name -> corrected p, in ascending order.
    """
    corrected: dict[str, float] = {}
    previous = 0.0
    ascending = sorted(p_values.items(), key=lambda item: item[1])
    for step, (name, p) in enumerate(ascending):
        previous = max(previous, min(1.0, p * (len(p_values) - step)))
        corrected[name] = previous
    return corrected


def _row(variant: str, values: Mapping[int, float], test: PairedTest | None, is_baseline: bool) -> Row:
    """A row of the table; `test` has the corrected p."""
    numbers = list(values.values())
    spread = stdev(numbers) if len(numbers) > 1 else None
    if test is None:
        verdict = "baseline" if is_baseline else "too few seeds to tell"
        return Row(variant, dict(values), mean(numbers), spread, verdict)
    return Row(
        variant,
        dict(values),
        mean(numbers),
        spread,
        _verdict(test),
        difference=test.difference,
        low=test.low,
        high=test.high,
        p=test.p,
    )


def _verdict(test: PairedTest) -> str:
    if test.p >= 1 - CONFIDENCE:
        return "not significant"
    return "better" if test.difference > 0 else "worse"


def markdown(rows: Sequence[Row], metric: str, baseline: str, num_seeds: int) -> str:
    """The rows as a Markdown table, with a legend.

    Args:
        rows: from `compare`.
        metric: name of the values.
        baseline: name of the variant that the others are compared with.
        num_seeds: of the sweep; a variant that has fewer shows both numbers.
    """
    lines = [
        f"| variant | seeds | {metric}: mean | spread | difference to {baseline} | 95 % interval | p | verdict |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append("| " + " | ".join(_cells(row, num_seeds)) + " |")
    num_comparisons = sum(row.p is not None for row in rows)
    lines += [
        "",
        "Spread: standard deviation over seeds. Differences are paired by seed; the interval is Student's t, without a "
        f"correction. p is corrected for {num_comparisons} comparisons (Holm); below 0.05 is called significant. The "
        "means leave out runs that failed or have not finished.",
    ]
    return "\n".join(lines) + "\n"


def _cells(row: Row, num_seeds: int) -> tuple[str, ...]:
    """The columns of `markdown`; empty where a row has no value."""
    return (
        row.variant,
        str(num_seeds) if len(row.values) == num_seeds else f"{len(row.values)} of {num_seeds}",
        f"{row.mean:.3f}",
        _formatted(row.spread, ".3f"),
        _formatted(row.difference, "+.3f"),
        "" if row.low is None or row.high is None else f"{row.low:+.3f} to {row.high:+.3f}",
        "< 0.001" if row.p is not None and row.p < 0.001 else _formatted(row.p, ".3f"),
        row.verdict,
    )


def _formatted(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
