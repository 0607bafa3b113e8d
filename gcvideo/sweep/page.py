"""report.html of a sweep: all variants side by side. The template is page.html.j2."""

import json
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import NamedTuple

from gcvideo.pages import image, render
from gcvideo.report.curves import Curves, read_curves
from gcvideo.sweep.comparison import Row
from gcvideo.sweep.file import Run, Sweep
from gcvideo.sweep.outcome import ClassTop1, Outcome
from gcvideo.sweep.plot import plot_classes, plot_curves
from gcvideo.sweep.table import RunCell, seeds_table, variants_table


class Card(NamedTuple):
    """A variant at the top of the page: its mean, what it is made of, its name."""

    mean: str
    note: str
    variant: str


def render_page(
    sweep: Sweep, rows: Sequence[Row], outcomes: Mapping[Run, Outcome], cells: Mapping[Run, RunCell], plot: bytes
) -> str:
    """The page as HTML.

    Args:
        sweep: what was run.
        rows: of the variants that have finished runs.
        outcomes: of the finished runs.
        cells: texts about them.
        plot: plot.png.
    """
    curves = _curves(sweep, outcomes)
    classes = _class_means(sweep, outcomes)
    return render(
        "sweep/page.html.j2",
        title=f"{sweep.name}: {sweep.metric} of {len(sweep.variants)} variants",
        cards=[_card(row, outcomes) for row in rows],
        plot=image(plot, "seeds of each variant and differences to the baseline"),
        variants=variants_table(sweep, rows),
        seeds=seeds_table(sweep, cells),
        links={run: (sweep.run_folder(run) / "report.html").relative_to(sweep.folder).as_posix() for run in outcomes},
        sweep=sweep,
        cells=cells,
        curves=image(plot_curves(curves, sweep.baseline), "validation curves") if curves else None,
        classes=image(plot_classes(classes, sweep.baseline), "accuracy of each class") if classes else None,
        settings=_settings(sweep, outcomes),
    )


def _card(row: Row, outcomes: Mapping[Run, Outcome]) -> Card:
    seeds = list(row.values)
    if len(seeds) == 1:
        interval = outcomes[Run(row.variant, seeds[0])].interval
        note = "" if interval is None else str(interval)
    else:
        note = f"{len(seeds)} seeds: {min(row.values.values()):.3f} to {max(row.values.values()):.3f}"
    return Card(f"{row.mean:.3f}", note, row.variant)


def _curves(sweep: Sweep, outcomes: Mapping[Run, Outcome]) -> dict[str, list[Curves]]:
    """Variant -> curves of each of its finished runs that logged any."""
    curves: dict[str, list[Curves]] = {}
    for run in outcomes:
        of_run = read_curves(sweep.run_folder(run) / "metrics")
        if of_run:
            curves.setdefault(run.variant, []).append(of_run)
    return curves


def _class_means(sweep: Sweep, outcomes: Mapping[Run, Outcome]) -> dict[str, dict[str, ClassTop1]]:
    """Variant -> class -> mean top-1 over the seeds.

    The seeds share their videos, so that the mean counts as many as one seed; see `wilson`.
    """
    means: dict[str, dict[str, ClassTop1]] = {}
    for variant in sweep.variants:
        seeds = [outcome.classes for run, outcome in outcomes.items() if run.variant == variant]
        names = [name for name in (seeds[0] if seeds else ()) if all(name in classes for classes in seeds)]
        if names:
            means[variant] = {
                name: ClassTop1(mean(classes[name].top1 for classes in seeds), seeds[0][name].videos) for name in names
            }
    return means


def _settings(sweep: Sweep, outcomes: Mapping[Run, Outcome]) -> dict[str, str]:
    """The table at the end of the page."""
    variants = {f"variant {name}": _setting_text(settings) for name, settings in sweep.variants.items()}
    num_videos = sorted({len(outcome.is_right) for outcome in outcomes.values()})
    return {
        "configuration": ", ".join(sweep.configs),
        "all variants": _setting_text(sweep.settings),
        **variants,
        "baseline": sweep.baseline,
        "runs": f"{len(outcomes)} of {len(sweep.runs)} finished",
        "test videos of a run": " or ".join(str(number) for number in num_videos),
    }


def _setting_text(settings: Mapping[str, object]) -> str:
    return ", ".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in settings.items()
    )
