"""What a `fit` does with the folder of a run that is there already. One process for all of it."""

import os
import re
import shutil
import stat
import time

import pytest
import torch
import yaml

from gcvideo.cli.main import main
from gcvideo.locking import locked
from tests.faults.runs import TINY, gcvideo, gone, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(synthetic, tmp_path_factory):
    """Folder of a finished run, to be copied."""
    folder = tmp_path_factory.mktemp("finished")
    assert fit(synthetic, folder) == 0
    return folder


@pytest.fixture
def runs(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "runs")
    return tmp_path / "runs"


def fit(manifest, runs, *more):
    options = ["--data.manifest", manifest, "--runs_dir", runs, "--name", "run", "--trainer.max_epochs", 2, *TINY]
    return main(["fit", *map(str, [*options, "--trainer.logger", "false", *more])])


def contents(runs):
    return {
        path.relative_to(runs): path.read_bytes() for path in runs.rglob("*") if path.is_file() and path.name[0] != "."
    }


def flip(path, where=0.5):
    data = bytearray(path.read_bytes())
    data[int(len(data) * where)] ^= 16
    path.write_bytes(data)


def steps(runs, name="last.ckpt"):
    return torch.load(runs / "run" / "checkpoints" / name, weights_only=True)["global_step"]


def test_auto_starts_resumes_and_ends(synthetic, tmp_path, capsys):
    assert fit(synthetic, tmp_path, "--ckpt_path", "auto", "--trainer.max_epochs", "1") == 0
    assert steps(tmp_path) == 4
    assert fit(synthetic, tmp_path, "--ckpt_path", "auto") == 0
    assert steps(tmp_path) == 8
    before = contents(tmp_path)
    assert fit(synthetic, tmp_path, "--ckpt_path", "auto") == 0  # as a job that is requeued once too often
    assert contents(tmp_path) == before
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == [
        "best.ckpt", "last.ckpt", "previous.ckpt",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("more", "message"),
    (
        ((), "holds a run already: add --ckpt_path auto to resume it"),
        (("--ckpt_path", "OTHER"), "holds a run already"),
        (("--ckpt_path", "best", "--model.network", "slowonly_r50"), "does not fit the network"),
        (("--ckpt_path", "auto", "--model.blocks", "none"), "does not fit the network"),
        (("--ckpt_path", "auto", "--data.manifest", "RENAMED"), "has other classes: class 0 is"),
        (("--ckpt_path", "auto", "--data.manifest", "SHORTER"), r"the training videos \(12 before, 11 now\) differ"),
        (("--ckpt_path", "auto", "--data.seed", "9"), r"data.seed \(0 before, 9 now\) differ"),
    ),
)
def test_a_refused_fit_changes_nothing(runs, synthetic, capsys, more, message):
    shutil.copy(runs / "run" / "checkpoints" / "best.ckpt", runs.parent / "OTHER")
    text = synthetic.read_text()
    for name, changed in (("RENAMED", text.replace(",run_", ",amble_")), ("SHORTER", text.replace("train/", "no/", 1))):
        path = synthetic.with_name(name)
        rows = [row for row in changed.splitlines(keepends=True) if not row.startswith("no/")]
        path.write_text("".join(rows))
    arguments = [{"OTHER": runs.parent / "OTHER"}.get(item, item) for item in more]
    arguments = [synthetic.with_name(item) if item in ("RENAMED", "SHORTER") else item for item in arguments]
    before = contents(runs)
    assert fit(synthetic, runs, "--trainer.max_epochs", 3, *arguments) == 2
    error = capsys.readouterr().err
    assert contents(runs) == before

    assert re.search(message, error), error
    assert len([line for line in error.splitlines() if line.startswith(("error", "Traceback"))]) == 1


def test_fast_dev_run_writes_nothing(runs, synthetic):
    before = contents(runs)
    assert fit(synthetic, runs, "--trainer.fast_dev_run", "true") == 0
    assert contents(runs) == before


def test_changes_that_are_accepted(runs, synthetic):
    assert fit(synthetic, runs, "--ckpt_path", "auto", "--trainer.max_epochs", 3, "--data.seed", 9) == 2
    more = ("--accept_changes", "true", "--trainer.max_epochs", 3, "--data.seed", 9)
    assert fit(synthetic, runs, "--ckpt_path", "auto", *more) == 0
    assert steps(runs) == 12


def test_another_batch_size_continues(runs, synthetic):
    assert fit(synthetic, runs, "--ckpt_path", "auto", "--trainer.max_epochs", 3, "--data.batch_size", 6) == 0
    assert steps(runs) == 8 + 2


def test_a_damaged_state_falls_back(runs, synthetic, capsys):
    folder = runs / "run" / "checkpoints"
    flip(folder / "last.ckpt")
    good = (folder / "previous.ckpt").read_bytes()
    with pytest.warns(UserWarning, match=r"last.ckpt is damaged: the checksum of .* is wrong; using previous.ckpt"):
        assert fit(synthetic, runs, "--ckpt_path", "auto") == 0
    assert steps(runs) == 8
    assert (folder / "previous.ckpt").read_bytes() == good or steps(runs, "previous.ckpt") == 8
    for name in ("last", "previous", "best"):
        (folder / f"{name}.ckpt").write_bytes(b"")
    assert fit(synthetic, runs, "--ckpt_path", "auto") == 2
    assert "last.ckpt is damaged or not a checkpoint" in capsys.readouterr().err
    assert main(["test", "--runs_dir", str(runs), "--name", "run", *TINY, "--data.manifest", str(synthetic)]) == 2
    assert "best.ckpt is damaged or not a checkpoint" in capsys.readouterr().err


def test_one_process_at_a_time(runs, synthetic, capsys):
    with locked(runs / "run"):
        assert fit(synthetic, runs, "--ckpt_path", "auto") == 2
    assert f"process {os.getpid()} on " in capsys.readouterr().err


def test_what_killed_processes_left_is_removed(runs, synthetic):
    left = runs / "run" / "checkpoints" / ".last.ckpt.host.123.part"
    left.write_bytes(b"x")
    assert fit(synthetic, runs, "--ckpt_path", "auto") == 0
    assert not left.exists()


def test_the_configuration_is_that_of_the_last_training(runs, synthetic):
    assert fit(synthetic, runs, "--ckpt_path", "auto", "--trainer.max_epochs", 3, "--model.lr", 0.005) == 0
    assert yaml.safe_load((runs / "run" / "config.yaml").read_text())["model"]["lr"] == 0.005


def test_slurm_requeues_once(synthetic, tmp_path, monkeypatch):
    """A `scontrol` that notes its arguments, and the variables of a job of one task."""
    tools = tmp_path / "bin"
    tools.mkdir()
    script = tools / "scontrol"
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/requeued\n')
    script.chmod(script.stat().st_mode | stat.S_IEXEC)
    job = {
        "JOB_ID": "77",
        "NTASKS": "1",
        "PROCID": "0",
        "LOCALID": "0",
        "NODEID": "0",
        "JOB_NAME": "fit",
        "NNODES": "1",
    }
    for name, value in job.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    options = ("--data.manifest", synthetic, "--trainer.max_epochs", 400, "--ckpt_path", "auto")
    process = gcvideo("fit", tmp_path, *options)
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert wait_for(last.exists, process)
    time.sleep(0.3)
    process.send_signal(10)  # USR1
    assert gone(process, 60)
    assert process.returncode == 138, (tmp_path / "log.txt").read_text()
    assert (tmp_path / "requeued").read_text() == "requeue 77\n"
    assert "stopped by SIGUSR1 in epoch" in (tmp_path / "log.txt").read_text()
    before = steps(tmp_path)
    process = gcvideo("fit", tmp_path, *options)  # the job, started again
    assert wait_for(lambda: steps(tmp_path) > before, process)
    process.terminate()
    assert gone(process, 60)
    assert process.returncode == 143
