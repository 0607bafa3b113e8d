"""report.html of a test. The template is page.html.j2."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from gcvideo.pages import Image, image, render
from gcvideo.report import plots
from gcvideo.report.curves import COLUMNS, Curves
from gcvideo.report.examples import Example
from gcvideo.report.hyperparameters import hyperparameters
from gcvideo.report.interval import Interval
from gcvideo.report.results import Report
from gcvideo.report.summary import TOP5_CLASSES, Summary, collapsed
from gcvideo.terminal import duration_text

HtmlTable = tuple[Sequence[str], Sequence[Sequence[object]]]
"""Header and rows."""


class Card(NamedTuple):
    """An accuracy at the top of the page, with its 95 % interval, if it has one, and its name."""

    accuracy: float
    interval: Interval | str
    name: str


def render_page(
    report: Report, title: str, model: str, curves: Curves, correct: Sequence[Example], wrong: Sequence[Example]
) -> str:
    """The page as HTML.

    Args:
        report: all numbers.
        title: name of the run.
        model: the network and its blocks in a few words; see `describe_model`.
        curves: of the run; empty if none were logged.
        correct, wrong: examples of videos.
    """
    summary = report.summary
    names = [row.name for row in summary.per_class]
    return render(
        "report/page.html.j2",
        title=f"{title}: {model}",
        lead=_lead(report),
        warning=collapsed(summary),
        summary=summary,
        cards=_cards(summary),
        official=report.official,
        chance=None if summary.mean_average_precision is not None else 1 / len(names),
        curves=_curve_images(curves),
        curve_table=_curve_table(curves),
        confusion=_confusion_image(summary, names),
        confused_table=_confused_table(summary),
        classes=image(plots.per_class_bars(summary.per_class), "accuracy of each class"),
        class_table=_class_table(summary),
        has_attention=any(example.has_attention for example in (*correct, *wrong)),
        correct=[image(example.strip, example.caption) for example in correct],
        wrong=[image(example.strip, example.caption) for example in wrong],
        settings=_settings(report, model),
        hyperparameters=hyperparameters(report.config, report.test_config),
        hyperparameters_note="Settings of the training; of the test only those that differ. Those that are null are "
        "left out.",
    )


def _lead(report: Report) -> str:
    """What was tested and how it was trained, in one sentence each."""
    data, training = report.data, _training_text(report)
    tested = (
        f"Tested on the split {data.split} of {data.name} ({data.manifest}), {len(report.summary.per_class)} classes."
    )
    return f"{tested} Trained: {training}." if training else tested


def _cards(summary: Summary) -> list[Card]:
    """In the order of the page."""
    score, has_top5 = summary.mean_average_precision, len(summary.per_class) >= TOP5_CLASSES
    cards = [] if score is None else [Card(score, "", "mean average precision (mAP)")]
    cards.append(Card(summary.video_top1, summary.video_top1_interval, "video top-1"))
    if has_top5:
        cards.append(Card(summary.video_top5, summary.video_top5_interval, "video top-5"))
    if score is None:
        cards.append(Card(summary.mean_class_top1, summary.mean_class_top1_interval, "mean of the classes' top-1"))
    cards.append(Card(summary.clip_top1, summary.clip_top1_interval, "clip top-1"))
    if has_top5:
        cards.append(Card(summary.clip_top5, summary.clip_top5_interval, "clip top-5"))
    return cards


def _curve_images(curves: Curves) -> list[Image]:
    shown = [name for name, of_panel in plots.PANELS.items() if curves.keys() & of_panel.keys()]
    panels = {name: plots.curve_panel(curves, name) for name in shown}
    return [image(png, f"learning curves: {name}") for name, png in panels.items()]


def _curve_table(curves: Curves) -> HtmlTable:
    by_epoch = {name: dict(points) for name, points in curves.items()}
    epochs = sorted({epoch for points in by_epoch.values() for epoch in points})
    logged = [name for name in COLUMNS if name in by_epoch]
    rows = [
        [f"{epoch:g}", *(f"{by_epoch[name][epoch]:.4f}" if epoch in by_epoch[name] else "" for name in logged)]
        for epoch in epochs
    ]
    return ["epoch", *logged], rows


def _confusion_image(summary: Summary, names: Sequence[str]) -> Image | None:
    if not summary.confusion:
        return None
    return image(plots.confusion(torch.tensor(summary.confusion), names), "confusion matrix")


def _class_table(summary: Summary) -> HtmlTable:
    if summary.mean_average_precision is not None:
        # Top-1 is right by any class of a video: of one class it tells little.
        ascending = sorted(summary.per_class, key=lambda row: (row.average_precision is None, row.average_precision))
        return ["class", "videos", "average precision"], [
            [row.name, row.videos, "" if row.average_precision is None else f"{row.average_precision:.3f}"]
            for row in ascending
        ]
    rows = [
        [row.name, row.videos, "" if row.top1 is None else f"{row.top1:.3f}", row.top1_interval or ""]
        for row in sorted(summary.per_class, key=lambda row: (row.top1 is None, row.top1))
    ]
    return ["class", "videos", "top-1", "95 % interval"], rows


def _confused_table(summary: Summary) -> HtmlTable:
    rows = [[pair.label, pair.predicted, f"{pair.videos} of {pair.of}"] for pair in summary.confused]
    return ["true class", "predicted", "videos"], rows


def describe_model(settings: dict[str, Any], net: nn.Module) -> str:
    """Network and blocks, such as "slowonly_r50 + gc5"; the class of a network of one's own.

    Args:
        settings: of the task: `network` and `blocks`, or `net`; each may be missing.
        net: the network itself.
    """
    is_own = settings.get("net") is not None
    name = None if is_own else settings.get("network")
    blocks = settings.get("blocks")
    words = [name or type(net).__name__, *([blocks] if blocks else [])]
    return " + ".join(words)


def _settings(report: Report, model: str) -> dict[str, str]:
    """The table at the end of the page."""
    shape = " x ".join(str(length) for length in report.model.input)
    clip, views, macs = report.clip, report.views, report.model.macs_per_view
    settings = {
        "data set": report.data.name,
        "split": f"{report.data.split}, of {report.data.manifest}",
        "model": model,
        "parameters": f"{report.model.parameters:,}",
        "multiply-accumulates of a view": "unknown"
        if macs is None
        else f"{macs / 1e9:.3f} G at {shape} ({report.model.macs_counter})",
        "views of a video": f"{views.temporal} in time x {views.spatial} in space, "
        f"{clip.frames} frames at stride {clip.stride}, {clip.size} pixels",
        "training": _training_text(report),
        "best epoch": _best_text(report),
        "checkpoint": report.checkpoint,
        "seed": report.seed,
        "commit": report.commit,
        "versions": ", ".join(f"{package} {version}" for package, version in report.versions.items()),
        "written": report.written,
    }
    return {key: str(value) for key, value in settings.items() if value is not None}


def _training_text(report: Report) -> str | None:
    """Such as "5 epochs, 30 steps, in 2.1 min on 2 x NVIDIA H100"; None if it is not known."""
    facts = report.training
    if facts is None:
        return None
    counts = [f"{value:,} {name}" for name, value in (("epochs", facts.epochs), ("steps", facts.steps)) if value]
    time = None if facts.seconds is None else f"in {duration_text(facts.seconds)}"
    device = None if facts.device is None else f"on {facts.device}"
    return " ".join(text for text in (", ".join(counts), time, device) if text) or None


def _best_text(report: Report) -> str | None:
    facts = report.training
    if facts is None or facts.best is None or facts.best_epoch is None:
        return None
    return f"{facts.best_epoch}, with {facts.metric} {facts.best:.3f}"
