"""Is one variant better than another? Paired differences over seeds, and which conclusions they allow.

The spread of Kinetics accuracies between seeds is about 0.5 points and published gains are about 1, so one seed
certifies nothing. Every variant is compared with the baseline over the seeds that both have. The p-value of the
sign-flip test, corrected for the number of variants (Holm 1979), decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean, stdev

from gcvideo.sweep.statistics import ALPHA, PairedTest, Passed, holm, paired_test, passed, smallest_p


@dataclass(frozen=True, slots=True)
class Row:
    """One variant of the table.

    Args:
        variant: its name.
        values: seed -> metric, at least one.
        verdict: "baseline", "better", "worse", "not significant" or "too few seeds to tell".
        passed: seeds that reach the threshold; None without a threshold.
        paired: comparison with the baseline, its p corrected; None for the baseline and without a common seed.
    """

    variant: str
    values: dict[int, float]
    verdict: str
    passed: Passed | None
    paired: PairedTest | None

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return mean(self.values.values())

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds (n - 1); None for one seed."""
        return stdev(self.values.values()) if len(self.values) > 1 else None


def compare(results: Mapping[str, Mapping[int, float]], baseline: str, threshold: float | None = None) -> list[Row]:
    """Compare every variant with the baseline.

    Args:
        results: variant -> seed -> metric (higher is better); variants without a seed are left out.
        baseline: key of `results`.
        threshold: metric from which a seed counts as passed.

    Returns:
        Rows in the order of `results`. The verdict is "better" or "worse" only where the corrected p is below 0.05, and
        "too few seeds to tell" where no outcome of so many seeds could have been.
    """
    base = results.get(baseline, {})
    tests: dict[str, PairedTest] = {}
    for variant, values in results.items():
        # A pair shares its seed, and with it the order of the data. A failed run costs only its own pair.
        shared = sorted(set(values) & set(base))
        if variant != baseline and shared:
            tests[variant] = paired_test([values[seed] - base[seed] for seed in shared])
    corrected = holm({variant: test.p for variant, test in tests.items()})
    tests = {variant: test._replace(p=corrected[variant]) for variant, test in tests.items()}
    # A corrected p grows with every p, so this is the best that each variant could have reached.
    reachable = holm({variant: smallest_p(test.num_seeds) for variant, test in tests.items()})

    rows = []
    for variant, values in results.items():
        if values:
            test = tests.get(variant)
            verdict = "baseline" if variant == baseline else _verdict(test, reachable.get(variant, 1.0))
            seeds = None if threshold is None else passed(list(values.values()), threshold)
            rows.append(Row(variant, dict(values), verdict, seeds, test))
    return rows


def _verdict(test: PairedTest | None, reachable_p: float) -> str:
    if test is None or reachable_p >= ALPHA:
        return "too few seeds to tell"
    if test.p >= ALPHA:
        return "not significant"
    return "better" if test.difference > 0 else "worse"
