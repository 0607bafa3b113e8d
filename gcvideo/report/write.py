"""From the results of a test to the three files of its report."""

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities.rank_zero import rank_zero_info, rank_zero_warn

from gcvideo.analysis import MACS_COUNTER, count_macs, count_parameters
from gcvideo.data.datamodule import VideoDataModule
from gcvideo.data.dataset import EvalDataset
from gcvideo.errors import GcvideoError
from gcvideo.files import write_text
from gcvideo.report import provenance
from gcvideo.report.curves import read_curves
from gcvideo.report.examples import make_example
from gcvideo.report.page import describe_model, render_page
from gcvideo.report.report_files import report_files
from gcvideo.report.results import ClipShape, ModelFacts, Report, ViewCounts, predictions_csv
from gcvideo.report.summary import collapsed, most_confident, summarise
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
) -> Path | None:
    """Write report.json, predictions.csv and report.html into `run_dir`; see `report_files` for their names.

    Args:
        run_dir: folder of the run; the learning curves, the settings and the facts of the training are read from it.
        task: the tested model.
        data: set up for 'test'.
        results: from `VideoScores.compute`.
        config: settings of the test; `name` and `seed_everything` are shown where they are present.
        checkpoint: path of the weights.

    Returns:
        Path of the page; None if it could not be made, which is a warning: the numbers are in the other files.

    Raises:
        GcvideoError: the numbers can't be written.
    """
    results = results.to("cpu")
    dataset = data.datasets["test"]
    assert isinstance(dataset, EvalDataset)
    report = _report(run_dir, task, data, results, config, checkpoint)
    videos = [dataset.videos[index].name for index in results.indices.tolist()]
    files = report_files(run_dir, data.splits.test, _own_split(report.config) or data.splits.test)
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        files.page.unlink(missing_ok=True)  # a page of older numbers must not stand next to new ones
        write_text(files.predictions, predictions_csv(results, task.class_names, videos, data.label_separator))
        write_text(files.numbers, report.json_text())  # last: it marks a run of a sweep as finished
    except OSError as error:
        raise GcvideoError(
            f"can't write the report into {run_dir}: {error.strerror}; the same command resumes"
        ) from error
    rank_zero_info(report.headline())
    if warning := collapsed(report.summary):
        rank_zero_warn(warning)
    # The examples decode videos again and run the network again: whatever fails there must not cost the results.
    try:
        write_text(files.page, _page(report, run_dir, task, dataset, results))
    except Exception as error:
        rank_zero_warn(
            f"{files.page.name} could not be made; the results are in {run_dir}: {type(error).__name__}: {error}"
        )
        return None
    return files.page


def _page(report: Report, run_dir: Path, task: VideoTask, dataset: EvalDataset, results: VideoResults) -> str:
    correct_rows, wrong_rows = most_confident(results, NUM_EXAMPLES)
    return render_page(
        report,
        title=str(report.test_config.get("name") or run_dir.name),
        model=describe_model(report.config.get("model") or {}, task.net),
        curves=read_curves(run_dir / "metrics"),
        correct=[make_example(row, results, task, dataset, report.views) for row in correct_rows],
        wrong=[make_example(row, results, task, dataset, report.views) for row in wrong_rows],
    )


def _report(
    run_dir: Path,
    task: VideoTask,
    data: VideoDataModule,
    results: VideoResults,
    config: dict[str, Any],
    checkpoint: str,
) -> Report:
    clip = _clip_shape(data)
    dataset = data.datasets["test"]
    training = provenance.training_config(run_dir, checkpoint) or {"model": dict(task.hparams)}
    return Report(
        summary=summarise(results, task.class_names, len(dataset)),
        data=provenance.data_facts(data.manifest, data.splits.test, data.label_separator),
        official=provenance.official_rows(data.manifest, data.splits.test),
        views=ViewCounts(data.views.temporal, data.views.spatial),
        clip=clip,
        broken_videos=dataset.broken_files(),
        model=_model_facts(task, clip),
        training=provenance.training_facts(run_dir, checkpoint),
        checkpoint=checkpoint,
        seed=training.get("seed_everything", config.get("seed_everything")),
        config=training,
        test_config=config,
        versions=provenance.versions(),
        commit=provenance.commit(),
        written=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _own_split(config: dict[str, Any]) -> str | None:
    """The test split that a training's settings name."""
    splits = (config.get("data") or {}).get("splits") or {}
    return splits.get("test")


def _clip_shape(data: VideoDataModule) -> ClipShape:
    clip, size = data.clip, data.views.size
    assert size is not None  # the data module fills it in
    return ClipShape(clip.frames, clip.stride, clip.target_fps, size)


def _model_facts(task: VideoTask, clip: ClipShape) -> ModelFacts:
    shape = (1, 3, clip.frames, clip.size, clip.size)
    try:
        macs = count_macs(task.net, shape)
    except Exception as error:  # a network of one's own that can't run without data; its accuracy counts all the same
        rank_zero_warn(f"multiply-accumulates can't be counted: {type(error).__name__}: {error}")
        macs = None
    return ModelFacts(
        parameters=count_parameters(task.net),
        macs_per_view=macs,
        macs_counter=MACS_COUNTER,
        input=shape[1:],
    )
