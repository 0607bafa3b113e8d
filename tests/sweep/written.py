"""Sweep files, and finished runs of a sweep: the files that `gcvideo fit` and `gcvideo test` would leave."""

import json
from pathlib import Path

import yaml

from gcvideo.files import csv_text, json_text, write_text
from gcvideo.fit_marker import digest_of
from gcvideo.report.interval import wilson
from gcvideo.sweep.file import Run
from gcvideo.sweep.outcome import FINISHED, RESULTS


def mark_finished(folder):
    """Record the results in a folder as those of a finished run, as a sweep does after the test."""
    digests = {name: digest for name in RESULTS if (digest := digest_of(folder / name))}
    write_text(folder / FINISHED, json_text({"checkpoint": "0" * 64, "sha256": digests}))


def write_run(sweep, variant, seed, is_right, curve=()):
    """Write the files of one run.

    Args:
        sweep: that the run belongs to.
        variant, seed: of the run.
        is_right: (class, video) -> whether it is right.
        curve: validation top-1 after each epoch.
    """
    folder = sweep.run_folder(Run(variant, seed))
    (folder / "metrics" / "version_0").mkdir(parents=True)
    classes = sorted({name for name, _ in is_right})
    per_class = []
    for name in classes:
        of_class = [right for (label, _), right in is_right.items() if label == name]
        per_class.append({"name": name, "videos": len(of_class), "top1": sum(of_class) / len(of_class)})
    top1 = sum(is_right.values()) / len(is_right)
    interval = wilson(top1, len(is_right))
    report = {"video_top1": top1, "video_top1_interval": interval, "per_class": per_class}
    (folder / "report.json").write_text(json.dumps(report))
    wrong = {name: classes[number - 1] for number, name in enumerate(classes)}
    rows = [(video, label, label if right else wrong[label]) for (label, video), right in is_right.items()]
    (folder / "predictions.csv").write_text(csv_text(("path", "label", "predicted"), rows), encoding="utf-8")
    points = [(epoch, value, 1 - value) for epoch, value in enumerate(curve)]
    metrics = csv_text(("epoch", "val/video_top1", "val/loss"), points)
    (folder / "metrics" / "version_0" / "metrics.csv").write_text(metrics)
    mark_finished(folder)


def write_small_sweep(folder, manifest, max_epochs):
    """Write the file of a sweep of one run that takes seconds; its runs are in runs/s."""
    settings = {
        "data.manifest": str(manifest), "data.num_workers": 0, "data.clip.frames": 4, "data.augment.size": 32,
        "data.augment.short_side": [32, 36], "data.views.temporal": 1, "data.views.short_side": 34,
        "trainer.max_epochs": max_epochs, "trainer.log_every_n_steps": 1, "trainer.enable_progress_bar": False,
    }  # fmt: skip
    content = {
        "name": "s", "config": str(Path(__file__).parents[2] / "configs" / "demo.yaml"), "baseline": "none",
        "seeds": [0], "runs_dir": str(folder / "runs"), "settings": settings,
        "variants": {"none": {"model.blocks": "none"}},
    }  # fmt: skip
    (folder / "s.yaml").write_text(yaml.safe_dump(content))
    return folder / "s.yaml"
