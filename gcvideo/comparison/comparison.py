"""Which of several trained networks is better, on the videos that all of them were tested on.

Two networks are compared by the videos on which only one is right (McNemar's exact test), because they share their
videos: two 95 % intervals may overlap where the difference is clear. The test is about two trained networks. Whether
one *method* is better takes several seeds of each: `gcvideo sweep`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gcvideo.comparison.run_results import RunResults, read_run
from gcvideo.errors import UsageError
from gcvideo.report.interval import Interval, paired_interval
from gcvideo.sweep.outcome import ClassTop1
from gcvideo.sweep.statistics import ALPHA, holm, mcnemar


class Difference(NamedTuple):
    """A run against the baseline.

    Args:
        run: its name.
        difference: of video top-1, and its 95 % interval.
        run_only, baseline_only: numbers of videos that only one of them has right.
        p: of McNemar's exact test, corrected for the number of comparisons (Holm).
        verdict: "better", "worse" or "not significant".
    """

    run: str
    difference: float
    interval: Interval
    run_only: int
    baseline_only: int
    p: float
    verdict: str


class ClassRow(NamedTuple):
    """A class: its number of videos, and the accuracy of each run in the order of the runs: top-1 or, where videos may
    have several classes, average precision.
    """

    name: str
    videos: int
    accuracy: list[float]

    @property
    def spread(self) -> float:
        """Difference of the best and the worst run."""
        return max(self.accuracy) - min(self.accuracy)


class DifferentVideo(NamedTuple):
    """A video that some runs have right and some wrong; predictions in the order of the runs, and which are right."""

    path: str
    label: str
    predicted: list[str]
    is_right: list[bool]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Several runs; the first is the baseline.

    Args:
        runs: at least two, tested on the same videos.
        differences: of each other run to the baseline.
        classes: the class in which the runs differ most comes first.
        videos: on which they differ, in the order of the baseline's test.
    """

    runs: list[RunResults]
    differences: list[Difference]
    classes: list[ClassRow]
    videos: list[DifferentVideo]

    def content(self) -> dict[str, Any]:
        """What report.json of a comparison holds."""
        return {
            "videos": len(self.runs[0].answers),
            "data": self.runs[0].data,
            "baseline": self.runs[0].name,
            "runs": [
                {"name": run.name, "folder": str(run.folder), "checkpoint": run.checkpoint, "views": run.views}
                | {key: value for key, (value, _) in run.accuracies.items()}
                | {f"{key}_interval": interval for key, (_, interval) in run.accuracies.items()}
                for run in self.runs
            ],
            "differences": [row._asdict() for row in self.differences],
            "per_class": [row._asdict() for row in self.classes],
            "differing_videos": [video._asdict() for video in self.videos],
        }

    def class_top1(self) -> dict[str, dict[str, ClassTop1]]:
        """Run -> class -> top-1 and number of videos, for figures."""
        return {
            run.name: {row.name: ClassTop1(row.accuracy[number], row.videos) for row in self.classes}
            for number, run in enumerate(self.runs)
        }


def compare_runs(folders: Sequence[Path], split: str | None = None) -> Comparison:
    """Compare runs, the first of which is the baseline.

    Args:
        folders: of at least two runs that have been tested.
        split: whose reports are compared; default the one that each run names as its test split.

    Raises:
        UsageError: fewer than two runs, the same twice, one without a report, or runs of different videos.
    """
    if len({folder.resolve() for folder in folders}) < max(2, len(folders)):
        raise UsageError(f"expected at least two different runs, got {', '.join(map(str, folders))}")
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    runs = [read_run(folder, name, split) for folder, name in zip(folders, names, strict=True)]
    for run in runs[1:]:
        _refuse_other_videos(runs[0], run)
    return Comparison(runs, _differences(runs), _classes(runs), _different_videos(runs))


def _refuse_other_videos(baseline: RunResults, run: RunResults) -> None:
    """Only the same videos with the same labels compare."""
    first, second = baseline.answers, run.answers
    shared = first.keys() & second.keys()
    if len(shared) < len(first) or len(shared) < len(second):
        raise UsageError(
            f"{baseline.name} and {run.name} were tested on different videos: {len(first)} ({baseline.data}) and "
            f"{len(second)} ({run.data}), {len(shared)} of them the same; test both on one manifest and split"
        )
    other = next((path for path in first if first[path].label != second[path].label), None)
    if other is not None:
        raise UsageError(
            f"{baseline.name} and {run.name} were tested with different labels: {other} is {first[other].label!r} and "
            f"{second[other].label!r}"
        )
    if not first:
        raise UsageError(f"{baseline.folder}: no video was tested")


def _differences(runs: list[RunResults]) -> list[Difference]:
    is_right = [{path: answer.is_right for path, answer in run.answers.items()} for run in runs]
    tests = {run.name: mcnemar(right, is_right[0]) for run, right in zip(runs[1:], is_right[1:], strict=True)}
    corrected = holm({name: test.p for name, test in tests.items() if test is not None})
    rows = []
    for name, test in tests.items():
        assert test is not None  # they share all their videos
        num_videos = len(is_right[0])
        difference = (test.variant_only - test.baseline_only) / num_videos
        interval = paired_interval(test.variant_only, test.baseline_only, num_videos)
        verdict = "not significant" if corrected[name] >= ALPHA else "better" if difference > 0 else "worse"
        rows.append(
            Difference(name, difference, interval, test.variant_only, test.baseline_only, corrected[name], verdict)
        )
    return rows


def _classes(runs: list[RunResults]) -> list[ClassRow]:
    by_class: dict[str, list[str]] = {}
    for path, answer in runs[0].answers.items():
        for name in answer.classes:
            by_class.setdefault(name, []).append(path)
    rows = []
    for name, of_class in sorted(by_class.items()):
        accuracy = [run.precisions.get(name, _share_right(run, of_class)) for run in runs]
        rows.append(ClassRow(name, len(of_class), accuracy))
    return sorted(rows, key=lambda row: -row.spread)


def _share_right(run: RunResults, paths: Sequence[str]) -> float:
    return sum(run.answers[path].is_right for path in paths) / len(paths)


def _different_videos(runs: list[RunResults]) -> list[DifferentVideo]:
    rows = []
    for path, answer in runs[0].answers.items():
        of_runs = [run.answers[path] for run in runs]
        is_right = [answer.is_right for answer in of_runs]
        if len(set(is_right)) == 2:
            rows.append(DifferentVideo(path, answer.label, [answer.predicted for answer in of_runs], is_right))
    return rows
