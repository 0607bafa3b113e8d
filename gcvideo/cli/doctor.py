"""`gcvideo doctor`: everything that can be known before days of training, with the options of `fit`."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from gcvideo.cli.training import GcvideoCLI
from gcvideo.data.datamodule import VideoDataModule
from gcvideo.doctor import machine, network, videos
from gcvideo.doctor.finding import Finding
from gcvideo.errors import GcvideoError
from gcvideo.report.provenance import versions
from gcvideo.training.task import VideoTask


class DoctorCLI(GcvideoCLI):
    """Builds what a `fit` would run, and runs none of it."""

    writes = False

    def _run_subcommand(self, subcommand: str) -> None:
        """Nothing: `diagnose` follows."""


def diagnose(cli: DoctorCLI) -> Iterator[Finding]:
    """What is found, each as soon as it is known."""
    task, data, trainer = cli.model, cli.datamodule, cli.trainer
    assert isinstance(task, VideoTask)
    assert isinstance(data, VideoDataModule)
    yield from machine.versions(versions())
    yield from machine.devices(trainer)
    yield from _run_folder(cli)
    yield from machine.disks(cli.run_dir, network.state_bytes(task))
    trainer.datamodule = data  # type: ignore[attr-defined]
    try:
        data.setup("fit")
    except GcvideoError as error:
        yield Finding("problem", "videos", str(error))
        return
    yield from videos.splits(data)
    yield from videos.decoding(data)
    yield from network.describe(task, data)
    yield from network.weights(task)
    yield from network.batch(trainer, task, data)
    side = data.augment.size
    batch_bytes = data.clips_per_batch * 3 * data.clip.frames * side**2
    yield from machine.shared_memory(batch_bytes, data.num_workers, trainer.num_devices)
    try:
        clip_s = videos.clip_seconds(data)
    except GcvideoError as error:
        yield Finding("problem", "loader", str(error))
        return
    yield from network.step(task, data, trainer.strategy.root_device, clip_s)


def _run_folder(cli: DoctorCLI) -> Iterator[Finding]:
    """Whether the run starts or resumes."""
    state = cli.config.fit.ckpt_path
    last = Path(cli.run_dir) / "checkpoints" / "last.ckpt"
    if state:
        yield Finding("ok", "run", f"resumes from {state}")
    elif last.exists():
        yield Finding("problem", "run", f"{cli.run_dir} holds a run already: --ckpt_path auto resumes it")
    else:
        yield Finding("ok", "run", f"a fresh start in {cli.run_dir}")


def run(args: Sequence[str]) -> int:
    """Print the findings; the exit status is 1 if one of them is a problem.

    Raises:
        GcvideoError: settings that no run could have.
    """
    problems = 0
    for finding in diagnose(DoctorCLI("fit", list(args))):
        print(finding, flush=True)
        problems += finding.level == "problem"
    print(f"{problems} problem(s)" if problems else "ready: no problem found", file=sys.stderr)
    return 1 if problems else 0
