"""From the results of a test to the three files of its report."""

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from gcvideo.analysis import MACS_COUNTER, count_macs, count_parameters
from gcvideo.data.datamodule import VideoDataModule
from gcvideo.data.dataset import EvalDataset
from gcvideo.files import write_text
from gcvideo.report import provenance
from gcvideo.report.curves import read_curves
from gcvideo.report.examples import make_example
from gcvideo.report.page import describe_model, render_page
from gcvideo.report.results import ClipShape, ModelFacts, Report, ViewCounts, predictions_csv
from gcvideo.report.summary import most_confident, summarise
from gcvideo.training.metrics import VideoResults
from gcvideo.training.task import VideoTask

NUM_EXAMPLES = 3  # of correct videos, and of wrong ones


def write_report(
    run_dir: Path,
    task: VideoTask,
    data: VideoDataModule,
    results: VideoResults,
    config: dict[str, Any],
    checkpoint: str,
) -> Path:
    """Write report.json, predictions.csv and report.html into `run_dir`.

    Args:
        run_dir: folder of the run; the learning curves are read from its metrics/.
        task: the tested model.
        data: set up for 'test'.
        results: from `VideoScores.compute`.
        config: settings of the test; `name`, `seed_everything` and `model` are shown where they are present.
        checkpoint: path of the weights.

    Returns:
        Path of report.html.
    """
    results = results.cpu()
    dataset = data.datasets["test"]
    assert isinstance(dataset, EvalDataset)
    report = _report(task, data, results, config, checkpoint)
    videos = [dataset.videos[index].name for index in results.indices.tolist()]

    # The numbers first: the examples decode videos again, and no failure there may cost the results of a long test.
    run_dir.mkdir(parents=True, exist_ok=True)
    write_text(run_dir / "predictions.csv", predictions_csv(results, task.class_names, videos))
    write_text(run_dir / "report.json", report.json_text())  # last: it marks a run of a sweep as finished

    correct_rows, wrong_rows = most_confident(results, NUM_EXAMPLES)
    page = render_page(
        report,
        title=str(config.get("name") or run_dir.name),
        model=describe_model(config.get("model") or {}, task.net),
        curves=read_curves(run_dir / "metrics"),
        correct=[make_example(row, results, task, dataset, report.views) for row in correct_rows],
        wrong=[make_example(row, results, task, dataset, report.views) for row in wrong_rows],
    )
    write_text(run_dir / "report.html", page)
    return run_dir / "report.html"


def _report(
    task: VideoTask, data: VideoDataModule, results: VideoResults, config: dict[str, Any], checkpoint: str
) -> Report:
    clip = _clip_shape(data)
    dataset = data.datasets["test"]
    return Report(
        summary=summarise(results, task.class_names, len(dataset)),
        official=provenance.official_rows(data.manifest, data.splits.test),
        views=ViewCounts(data.views.temporal, data.views.spatial),
        clip=clip,
        broken_videos=dataset.broken_files(),
        model=_model_facts(task, clip),
        checkpoint=checkpoint,
        seed=config.get("seed_everything"),
        config=config,
        versions=provenance.versions(),
        commit=provenance.commit(),
        written=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _clip_shape(data: VideoDataModule) -> ClipShape:
    clip, size = data.clip, data.views.size
    assert size is not None  # the data module fills it in
    return ClipShape(clip.frames, clip.stride, clip.target_fps, size)


def _model_facts(task: VideoTask, clip: ClipShape) -> ModelFacts:
    shape = (1, 3, clip.frames, clip.size, clip.size)
    return ModelFacts(
        parameters=count_parameters(task.net),
        macs_per_view=count_macs(task.net, shape),
        macs_counter=MACS_COUNTER,
        input=shape[1:],
    )
