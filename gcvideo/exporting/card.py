"""The model card of a shared model: data, recipe, accuracy with its interval, limits."""

import json
import re
from pathlib import Path
from typing import Any

from gcvideo import __version__
from gcvideo.errors import UsageError
from gcvideo.recognition import Recognizer
from gcvideo.report.interval import Interval, wilson
from gcvideo.report.summary import TOP5_CLASSES
from gcvideo.yaml_text import read_yaml

MAX_NAMED = 50  # classes that the card lists

_CARD = """\
---
library_name: gcvideo
pipeline_tag: video-classification
tags:
- video-classification
- global-context
---

# {name}

A video classifier with {classes} classes, trained with gcvideo {version}: {network}, {blocks}, {parameters:,}
parameters.

## Use

```python
import gcvideo

recognizer = gcvideo.load("this folder, or its model.safetensors")
print(recognizer.predict("clip.mp4").names[0])
```

A clip is {frames} frames, {stride} apart{rate}; a video is judged by {temporal} x {spatial} views of {size} x {size}
pixels.

## Data

{data}

Classes: {class_names}

## Recipe

{recipe}

## Accuracy

{accuracy}

## Limits

- It knows its classes only: {every}, and a probability is no measure of how well a video fits.
- It was measured on videos like those it was trained on. On other cameras, people, places or frame rates, expect less;
  measure it on your own videos before you rely on it.
- It can have learned what comes with an action (background, camera, people) instead of the action.
- Do not use it to decide about people.
"""


def model_card(recognizer: Recognizer) -> str:
    """A model card as Markdown, from the model and from what its run's folder has: config.yaml, report.json."""
    run = recognizer.checkpoint.resolve().parent.parent
    config, report = _config(run), _report(run)
    settings, clip, views = recognizer.task.hparams, recognizer.clip, recognizer.views
    names = recognizer.class_names
    more = f", and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return _CARD.format(
        name=_plain(recognizer.name),
        classes=len(names),
        version=__version__,
        network=_plain(settings["net"] or settings["network"]),
        blocks="without blocks" if settings["blocks"] == "none" else f"blocks {_plain(settings['blocks'])}",
        parameters=sum(parameter.numel() for parameter in recognizer.task.parameters()),
        frames=clip.frames,
        stride=clip.stride,
        rate="" if clip.target_fps is None else f" at {clip.target_fps:g} frames per second",
        temporal=views.temporal,
        spatial=views.spatial,
        size=views.size,
        data=_data(config, report),
        class_names=", ".join(map(_plain, names[:MAX_NAMED])) + more,
        every="of each it says how probable it is" if settings["multi_label"] else "every video gets one of them",
        recipe=_recipe(dict(settings), config),
        accuracy=_accuracy(report),
    )


def _data(config: dict[str, Any], report: dict[str, Any]) -> str:
    manifest = _section(config, "data").get("manifest")
    if not isinstance(manifest, str):
        return "Unknown: the model was not exported from the folder of its run. Please describe the data here."
    # The folder's name only: a path tells about the machine.
    text = f"The manifest `{_plain(Path(manifest).parent.name)}/{_plain(Path(manifest).name)}`."
    return f"{text} Tested on {report['listed']} videos." if "listed" in report else text


def _recipe(settings: dict[str, Any], config: dict[str, Any]) -> str:
    optim, data, trainer = settings.get("optim") or {}, _section(config, "data"), _section(config, "trainer")
    rows = {
        "start": settings.get("weights") or "random weights, or unknown",
        "optimizer": optim.get("name"),
        "peak learning rate": settings.get("lr"),
        "dropout": settings.get("dropout"),
        "options of the blocks": settings.get("block"),
        "epochs": trainer.get("max_epochs"),
        "videos of a batch, for each device": data.get("batch_size"),
        "seed": config.get("seed_everything"),
    }
    return "\n".join(f"- {name}: {_plain(value)}" for name, value in rows.items() if value is not None)


def _accuracy(report: dict[str, Any]) -> str:
    try:
        evaluated, top1, top5 = int(report["evaluated"]), float(report["video_top1"]), float(report["video_top5"])
        lines = [f"{evaluated} of {int(report['listed'])} test videos; 95 % intervals over the draw of the videos."]
        intervals: list[tuple[str, float, Interval]] = [("top-1", top1, wilson(top1, evaluated))]
        if len(report["per_class"]) >= TOP5_CLASSES:
            intervals.append(("top-5", top5, wilson(top5, evaluated)))
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return "Not measured: no report of a test. Run `gcvideo test`, and export again."
    table = ["", "| | accuracy | 95 % interval |", "|---|---|---|"]
    rows = [f"| {name} | {value:.3f} | {bounds} |" for name, value, bounds in intervals]
    if report.get("mean_average_precision") is not None:
        rows.insert(0, f"| mAP | {report['mean_average_precision']:.3f} | |")
    return "\n".join([*lines, *table, *rows])


def _config(run: Path) -> dict[str, Any]:
    try:
        content = read_yaml(run / "config.yaml")
    except (UsageError, OSError):
        return {}
    return content if isinstance(content, dict) else {}


def _report(run: Path) -> dict[str, Any]:
    try:
        content = json.loads((run / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _section(config: dict[str, Any], name: str) -> dict[str, Any]:
    section = config.get(name)
    return section if isinstance(section, dict) else {}


def _plain(value: object) -> str:
    """Text of anyone in Markdown: one line, without marks or tags."""
    return re.sub(r"[`*_|<>\[\]#\\]", lambda match: f"\\{match[0]}", " ".join(str(value).split()))
