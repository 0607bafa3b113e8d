"""From the scores of a test to report.json and a self-contained report.html.

Letters: N videos, V views, K classes.
"""

import base64
import csv
import html
import json
import os
import platform
import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from string import Template
from typing import Any

import torch
from torch import Tensor

from gcvideo.analysis import MACS_COUNTER, attention_maps, count_macs, count_parameters
from gcvideo.data.datamodule import VideoDataModule
from gcvideo.data.dataset import EvalDataset
from gcvideo.report import plots
from gcvideo.training.task import VideoTask

NUM_EXAMPLES = 3
CURVES = ("train/loss", "val/loss", "train/clip_top1", "val/video_top1")
_PACKAGES = ("gcvideo", "torch", "torchvision", "pytorch-lightning", "pytorchvideo", "decord", "torchmetrics")

Scores = tuple[Tensor, Tensor, Tensor, Tensor]


def write_report(
    run_dir: Path, task: VideoTask, data: VideoDataModule, scores: Scores, config: dict[str, Any], checkpoint: str
) -> Path:
    """Write report.json, predictions.csv and report.html into `run_dir`.

    Args:
        run_dir: folder of the run; the learning curves are read from its metrics/.
        task: the tested model.
        data: set up for 'test'.
        scores: what `VideoScores.compute` gives.
        config: settings of the test.
        checkpoint: path of the weights.

    Returns:
        Path of report.html.
    """
    scores = tuple(tensor.cpu() for tensor in scores)  # type: ignore[assignment]
    results = summarise(scores, task.class_names, len(data.datasets["test"]))
    results["official"] = official_rows(data.manifest, data.splits.test)
    clip, size = data.clip, data.views.size
    assert size is not None  # the data module fills it in
    shape = (1, 3, clip.frames, size, size)
    results |= {
        "views": {"temporal": data.views.temporal, "spatial": data.views.spatial},
        "clip": {"frames": clip.frames, "stride": clip.stride, "target_fps": clip.target_fps, "size": size},
        "broken_videos": data.datasets["test"].broken_files(),
        "model": {
            "parameters": count_parameters(task.net),
            "macs_per_view": count_macs(task.net, shape),
            "macs_counter": MACS_COUNTER,
            "input": shape[1:],
        },
        "checkpoint": checkpoint,
        "seed": config.get("seed_everything"),
        "config": config,
        "versions": _versions(),
        "commit": _commit(),
        "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    run_dir.mkdir(parents=True, exist_ok=True)
    _write(run_dir / "report.json", json.dumps(results, indent=2, default=str) + "\n")
    _write_predictions(run_dir / "predictions.csv", scores, task.class_names, data)
    page = _page(results, scores, task, data, read_curves(run_dir / "metrics"))
    _write(run_dir / "report.html", page)
    return run_dir / "report.html"


def summarise(scores: Scores, names: Sequence[str], num_listed: int) -> dict[str, Any]:
    """Accuracies for each clip, video and class.

    Args:
        scores: indices [N], labels [N], view ranks [N, V], scores [N, K].
        names: the K class names.
        num_listed: videos in the manifest's split, M of "evaluated N of M".
    """
    _, labels, ranks, probabilities = scores
    ranked = probabilities.argsort(dim=1, descending=True)
    correct = ranked == labels[:, None]
    matrix = confusion_matrix(labels, ranked[:, 0], len(names))
    totals = matrix.sum(dim=1)
    return {
        "evaluated": len(labels),
        "listed": num_listed,
        "video_top1": correct[:, :1].any(dim=1).float().mean().item(),
        "video_top5": correct[:, :5].any(dim=1).float().mean().item(),
        "clip_top1": (ranks < 1).float().mean().item(),
        "clip_top5": (ranks < 5).float().mean().item(),
        "per_class": [
            {"name": name, "videos": int(total), "top1": int(matrix[k, k]) / int(total) if total else None}
            for k, (name, total) in enumerate(zip(names, totals.tolist(), strict=True))
        ],
        "confusion": matrix.tolist(),
    }


def official_rows(manifest: str | None, split: str) -> int | None:
    """Rows of the official annotations of this split, present or not, as `gcvideo prepare` noted beside the manifest.

    None if it did not make the manifest. Accuracies of two copies of Kinetics compare only with this beside them.
    """
    if manifest is None:
        return None
    folder = Path(manifest).parent
    path = (folder.parent if folder.name == "shards" else folder) / "summary.json"
    try:
        counts = json.loads(path.read_text(encoding="utf-8"))["splits"]
        return int((counts.get(split) or counts[""])["official"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def confusion_matrix(labels: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """Counts [K, K]: row true, column predicted."""
    return torch.bincount(labels * num_classes + predicted, minlength=num_classes**2).view(num_classes, num_classes)


def read_curves(metrics_dir: Path) -> dict[str, list[tuple[float, float]]]:
    """Curve name -> points (epochs finished, value), from the metrics.csv of all sessions of a run, in order."""
    points: dict[str, dict[int, float]] = defaultdict(dict)
    sessions = sorted(metrics_dir.glob("version_*/metrics.csv"), key=lambda path: int(path.parent.name.split("_")[1]))
    for session in sessions:
        with session.open(newline="") as stream:
            for row in csv.DictReader(stream):
                for curve in CURVES:
                    value = row.get("train/loss_epoch" if curve == "train/loss" else curve)
                    if value:
                        points[curve][int(row["epoch"])] = float(value)
    return {curve: [(epoch + 1, value) for epoch, value in sorted(by.items())] for curve, by in points.items()}


def _write(path: Path, text: str) -> None:
    partial_file = path.with_name(f".{path.name}.part")
    partial_file.write_text(text, encoding="utf-8")
    os.replace(partial_file, path)


def _write_predictions(path: Path, scores: Scores, names: Sequence[str], data: VideoDataModule) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("path", "label", "predicted", "score_predicted", "score_label"))
        for index, label, row in zip(scores[0].tolist(), scores[1].tolist(), scores[3], strict=True):
            best = int(row.argmax())
            name = data.datasets["test"].videos[index].name
            writer.writerow((name, names[label], names[best], f"{row[best]:.5f}", f"{row[label]:.5f}"))


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed as a package"
    return found


def _commit() -> str | None:
    """Commit of the source tree; None outside a checkout. A '+' marks uncommitted changes."""
    here = Path(__file__).parent
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True)
        changes = subprocess.run(["git", "status", "--porcelain", "-uno"], cwd=here, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("+" if changes.stdout.strip() else "")


def _page(
    results: Mapping[str, Any],
    scores: Scores,
    task: VideoTask,
    data: VideoDataModule,
    curves: Mapping[str, Sequence[tuple[float, float]]],
) -> str:
    names = task.class_names
    has_blocks = results["config"]["model"]["blocks"] != "none"
    right, wrong = examples(scores)
    classes = [(row["name"], row["top1"]) for row in results["per_class"] if row["top1"] is not None]
    settings = {
        "model": f"{results['config']['model']['network']} + {results['config']['model']['blocks']}",
        "parameters": f"{results['model']['parameters']:,}",
        "multiply-accumulates of a view": f"{results['model']['macs_per_view'] / 1e9:.3f} G at "
        f"{' x '.join(map(str, results['model']['input']))} ({MACS_COUNTER})",
        "views of a video": f"{results['views']['temporal']} in time x {results['views']['spatial']} in space, "
        f"{results['clip']['frames']} frames at stride {results['clip']['stride']}, {results['clip']['size']} pixels",
        "checkpoint": results["checkpoint"],
        "seed": results["seed"],
        "commit": results["commit"],
        "versions": ", ".join(f"{package} {number}" for package, number in results["versions"].items()),
        "written": results["written"],
    }
    table = "".join(
        f"<tr><th>{html.escape(key)}</th><td>{html.escape(str(value))}</td></tr>" for key, value in settings.items()
    )
    return _TEMPLATE.substitute(
        title=html.escape(f"{results['config']['name']}: {settings['model']}"),
        video_top1=f"{results['video_top1']:.3f}",
        video_top5=f"{results['video_top5']:.3f}",
        clip_top1=f"{results['clip_top1']:.3f}",
        evaluated=f"{results['evaluated']:,} of {results['listed']:,}"
        + (f" (of {results['official']:,} official)" if results["official"] is not None else ""),
        chance=f"{1 / len(names):.3f}",
        settings=table,
        curves=_image(plots.learning_curves(curves), "learning curves") if curves else "<p>No curves were logged.</p>",
        confusion=_image(plots.confusion(torch.tensor(results["confusion"]), names), "confusion matrix"),
        classes=_image(plots.per_class_bars(classes), "accuracy of each class"),
        attention_note=_ATTENTION_NOTE if has_blocks else "",
        right="".join(_example(place, scores, task, data) for place in right) or "<p>None.</p>",
        wrong="".join(_example(place, scores, task, data) for place in wrong) or "<p>None: every video is right.</p>",
    )


def examples(scores: Scores) -> tuple[list[int], list[int]]:
    """Rows of the most confident right videos and of the most confident wrong ones, at most `NUM_EXAMPLES` each."""
    _, labels, _, probabilities = scores
    confidence, predicted = probabilities.max(dim=1)
    order = confidence.argsort(descending=True).tolist()
    right = [row for row in order if predicted[row] == labels[row]]
    wrong = [row for row in order if predicted[row] != labels[row]]
    return right[:NUM_EXAMPLES], wrong[:NUM_EXAMPLES]


def _example(row: int, scores: Scores, task: VideoTask, data: VideoDataModule) -> str:
    """Filmstrip of the central view of one video, with the attention of the blocks."""
    dataset = data.datasets["test"]
    assert isinstance(dataset, EvalDataset)
    index, label, probabilities = int(scores[0][row]), int(scores[1][row]), scores[3][row]
    item = dataset[index]
    assert item is not None  # it was decoded for the test
    central = data.views.temporal // 2 * data.views.spatial + data.views.spatial // 2
    view = item[0][central]  # [3, T, S, S]
    maps = {
        f"block {number}": weights[0, 0].cpu()
        for number, weights in enumerate(attention_maps(task.net, task.normalise(view[None])).values(), start=1)
    }
    strip = plots.filmstrip(view.permute(1, 0, 2, 3), _chosen(maps))
    best = int(probabilities.argmax())
    names = task.class_names
    verdict = "right" if best == label else f"wrong: it is {names[label]} ({probabilities[label]:.3f})"
    caption = f"{dataset.videos[index].name} — predicted {names[best]} ({probabilities[best]:.3f}), {verdict}"
    return f"<figure>{_image(strip, caption)}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _chosen(maps: Mapping[str, Tensor], most: int = 4) -> dict[str, Tensor]:
    """At most `most` blocks, spread evenly from the first to the last."""
    names = list(maps)
    if len(names) > most:
        names = [names[round(i * (len(names) - 1) / (most - 1))] for i in range(most)]
    return {name: maps[name] for name in names}


def _image(png: bytes, text: str) -> str:
    data = base64.b64encode(png).decode("ascii")
    return f'<img alt="{html.escape(text)}" src="data:image/png;base64,{data}">'


_ATTENTION_NOTE = (
    "<p class='note'>Rows under the frames: where the context of each block comes from (its weights over all positions "
    "of all frames, brighter is more; each row has its own scale). Of NL blocks: for the central position.</p>"
)

_TEMPLATE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;color:#1f2933;max-width:1040px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin:2.2rem 0 .4rem}
.cards{display:flex;flex-wrap:wrap;gap:.8rem;margin:1rem 0}
.card{border:1px solid #d8dee6;border-radius:8px;padding:.6rem 1rem;min-width:8.5rem}
.card b{display:block;font-size:1.5rem}.card span,.note,figcaption{color:#616e7c;font-size:.88rem}
table{border-collapse:collapse}th{text-align:left;font-weight:600;padding:.15rem 1.2rem .15rem 0;vertical-align:top;
white-space:nowrap}td{overflow-wrap:anywhere}img{max-width:100%}figure{margin:0 0 1.4rem}
.pair{display:flex;flex-wrap:wrap;gap:1.5rem;align-items:flex-start}.pair>*{flex:1 1 380px;min-width:0}
</style></head><body>
<h1>$title</h1>
<div class="cards">
<div class="card"><b>$video_top1</b><span>video top-1</span></div>
<div class="card"><b>$video_top5</b><span>video top-5</span></div>
<div class="card"><b>$clip_top1</b><span>clip top-1</span></div>
<div class="card"><b>$chance</b><span>chance (1 / classes)</span></div>
<div class="card"><b>$evaluated</b><span>videos evaluated</span></div>
</div>
<h2>Learning curves</h2>$curves
<div class="pair"><div><h2>Confusion matrix</h2>$confusion</div><div><h2>Classes</h2>$classes</div></div>
<h2>Most confident and right</h2>$attention_note$right
<h2>Most confident and wrong</h2>$wrong
<h2>Settings</h2><table>$settings</table>
</body></html>
""")
