"""report.html of a test. The template is page.html.j2."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from gcvideo.pages import image, render
from gcvideo.report import plots
from gcvideo.report.curves import Curves
from gcvideo.report.examples import Example
from gcvideo.report.results import Report


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
        summary=summary,
        official=report.official,
        chance=1 / len(names),
        curves=image(plots.learning_curves(curves), "learning curves") if curves else None,
        confusion=image(plots.confusion(torch.tensor(summary.confusion), names), "confusion matrix"),
        classes=image(plots.per_class_bars(summary.per_class), "accuracy of each class"),
        has_attention=any(example.has_attention for example in (*correct, *wrong)),
        correct=[image(example.strip, example.caption) for example in correct],
        wrong=[image(example.strip, example.caption) for example in wrong],
        settings=_settings(report, model),
    )


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
        "model": model,
        "parameters": f"{report.model.parameters:,}",
        "multiply-accumulates of a view": "unknown"
        if macs is None
        else f"{macs / 1e9:.3f} G at {shape} ({report.model.macs_counter})",
        "views of a video": f"{views.temporal} in time x {views.spatial} in space, "
        f"{clip.frames} frames at stride {clip.stride}, {clip.size} pixels",
        "checkpoint": report.checkpoint,
        "seed": report.seed,
        "commit": report.commit,
        "versions": ", ".join(f"{package} {version}" for package, version in report.versions.items()),
        "written": report.written,
    }
    return {key: str(value) for key, value in settings.items()}
