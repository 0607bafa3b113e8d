"""The command line as a user meets it: one process for each call."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from gcvideo.cli.main import main
from gcvideo.dataset_tools.pack import pack
from gcvideo.training.task import VideoTask

ROOT = Path(__file__).parents[2]
CONFIG = str(ROOT / "configs" / "demo.yaml")


def gcvideo(*args, cwd, entry=("-m", "gcvideo"), **kwargs):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
    command = [sys.executable, *entry, *map(str, args)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, **kwargs)


def small(manifest, runs, *more):
    """Arguments of a run that takes seconds."""
    return [
        "--config", CONFIG, "--data.manifest", str(manifest), "--runs_dir", str(runs), "--data.batch_size", "4",
        "--data.num_workers", "0", "--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false",
        "--trainer.enable_model_summary", "false", *more,
    ]  # fmt: skip


def test_help_answers_at_once_and_names_every_verb(tmp_path):
    start = time.perf_counter()
    done = gcvideo("--help", cwd=tmp_path)
    assert time.perf_counter() - start < 3
    assert done.returncode == 0
    for verb in ("fit", "validate", "test", "predict", "serve", "doctor", "sweep", "synth", "pairs", "table", "export"):
        assert f"\n  {verb} " in done.stdout


def test_version_unknown_verb_and_no_verb(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "gcvideo 0.1.0\n"
    assert main(["train"]) == 2
    assert "error: no verb 'train'; did you mean: fit?" in capsys.readouterr().err
    assert main(["xyzzy"]) == 2
    assert "error: no verb 'xyzzy'; expected one of fit, validate, test, " in capsys.readouterr().err
    assert main([]) == 2


def test_synth(tmp_path, capsys):
    arguments = ["--train", "6", "--val", "1", "--test", "1", "--frames", "3", "--size", "32", "--workers", "1"]
    assert main(["synth", str(tmp_path / "a b"), *arguments]) == 0
    assert "8 videos; manifest:" in capsys.readouterr().out
    assert (tmp_path / "a b" / "manifest.csv").exists()
    assert main(["synth", str(tmp_path), "--size", "31"]) == 2
    assert "size must be even" in capsys.readouterr().err
    with pytest.raises(SystemExit) as error:
        main(["synth", str(tmp_path), "--tra", "5"])  # no abbreviations
    assert error.value.code == 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    (
        (["--trainer.max_epoch", "1"], ("trainer.max_epoch", "trainer.max_epochs")),
        (["--data.batchsize", "1"], ("data.batchsize", "data.batch_size")),
        (["--model.blcks", "gc5"], ("model.blcks", "model.blocks")),
        (["--learning-rate", "1"], ("learning-rate", "did you mean: model.lr")),
        (["--lr", "1"], ("did you mean: model.lr",)),
        (["--epochs", "3"], ("did you mean: trainer.max_epochs",)),
        (["--model.block.ratio", "wide", "--model.blocks", "gc_all"], ("model.block.ratio", "wide")),
        (["--model.optim.lr_batch", "many"], ("model.optim.lr_batch", "many")),
        (["--model.blocks", "gcb"], ("model.blocks", "gc_all")),
        (["--model.lr", "fast"], ("model.lr", "fast")),
        (["--data.decoder", "ffmpeg"], ("data.decoder", "decord")),
        (["--config", "no.yaml"], ("no.yaml",)),
    ),
)
def test_a_wrong_argument_is_a_short_error(monkeypatch, capsys, arguments, expected):
    check_short_error(monkeypatch, capsys, arguments, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    (
        ("model:\n  attn: gc5\n", ("model.attn",)),
        ("model:\n  block_s: gc5\n", ("model.block_s", "model.blocks")),
        ("model:\n  learning_rate: 1\n", ("model.learning_rate", "did you mean: model.lr")),
        ("trainer:\n  max_epoch: 5\n", ("trainer.max_epoch", "trainer.max_epochs")),
        ("modle:\n  lr: 1\n", ("modle",)),
        ("model:\n  blocks: gcb\n", ("model.blocks", "gcb")),
        ("model: [\n", ("bad.yaml", "not YAML")),
    ),
)
def test_a_wrong_key_in_yaml_is_a_short_error(monkeypatch, capsys, tmp_path, text, expected):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    check_short_error(monkeypatch, capsys, ["--config", str(path)], expected)


def check_short_error(monkeypatch, capsys, arguments, expected):
    monkeypatch.setattr(sys, "argv", ["gcvideo", "fit", *arguments])
    try:
        status = main()
    except SystemExit as stopped:  # from the parser
        status = stopped.code
    message = capsys.readouterr().err.strip()
    assert status == 2
    assert len(message.splitlines()) <= 5, message
    for text in expected:
        assert text in message


@pytest.mark.slow
def test_print_config_is_yaml_and_can_be_read_back(tmp_path):
    done = gcvideo("fit", "--config", CONFIG, "--model.lr", "0.25", "--print_config", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "printed.yaml").write_text(done.stdout)
    again = gcvideo("fit", "--config", "printed.yaml", "--print_config", cwd=tmp_path)
    assert again.stdout == done.stdout
    assert "lr: 0.25" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    (
        (["test", "--name", "none"], "no checkpoint .*best.ckpt: pass --ckpt_path"),
        (["fit", "--ckpt_path", "last", "--name", "none"], "no checkpoint in .*none: fit it first"),
        (["fit", "--data.manifest", "no.csv"], "no.csv: no such manifest file"),
        (["fit"], "no such manifest file"),
        (["fit", "--data.augment.size", "300"], "expected 1 <= augment.size <= augment.short_side"),
        (["fit", "--model.weights", "nothing.pth"], "weights must be a file or a name of .*got 'nothing.pth'"),
        (["fit", "--model.block.mode", "gaussian"], "made of ContextBlock3d, which takes no mode"),
        (["fit", "--model.blocks", "gc5"], "needs blocks .1, 3. of res3, which has only 1"),
    ),
)
def test_a_request_that_cannot_be_served_is_an_error_of_one_line(
    monkeypatch, tmp_path, synthetic, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    more = ["--config", CONFIG] if arguments[0] == "fit" else []
    if arguments[-1] in ("300", "gc5", "nothing.pth", "gaussian"):
        more += ["--data.manifest", str(synthetic)]
    monkeypatch.setattr(sys, "argv", ["gcvideo", arguments[0], *more, *arguments[1:]])
    assert main() == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert re.search(message, error)


@pytest.mark.slow
def test_the_whole_way(tmp_path, synthetic):
    """fit, a second fit that is refused, resume, test, validate, predict; nothing but the run's folder is written."""
    work, runs = tmp_path / "empty", tmp_path / "runs with blank"
    work.mkdir()
    arguments = small(synthetic, runs)
    done = gcvideo("fit", *arguments, cwd=work, entry=(str(ROOT / "train.py"),))
    assert done.returncode == 0, done.stderr
    folder = runs / "demo"
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt", "previous.ckpt"}
    assert (folder / "config.yaml").exists()
    assert list((folder / "tensorboard").glob("events*"))

    again = gcvideo("fit", *arguments, cwd=work)
    assert again.returncode == 2
    assert "holds a run already: add --ckpt_path auto" in again.stderr

    more = gcvideo(
        "fit", *arguments, "--trainer.max_epochs", "2", "--ckpt_path", "last", "--model.weights", "gone.pth", cwd=work
    )
    assert more.returncode == 0, more.stderr
    assert len(list((folder / "metrics").glob("version_*/metrics.csv"))) == 2

    done = gcvideo("test", "--name", "demo", "--runs_dir", runs, "--trainer.accelerator", "cpu", cwd=work)
    assert done.returncode == 0, done.stderr
    report = json.loads((folder / "report.json").read_text())
    assert (report["evaluated"], report["listed"]) == (6, 6)
    assert report["views"] == {"temporal": 3, "spatial": 1}  # from the checkpoint: no --config was given
    assert report["config"]["model"]["blocks"] == "gc_all"
    assert len((folder / "predictions.csv").read_text().splitlines()) == 7
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 3 + 3
    assert "://" not in page  # nothing is fetched; base64 has no colon

    done = gcvideo("validate", "--name", "demo", "--runs_dir", runs, "--trainer.accelerator", "cpu", cwd=work)
    assert done.returncode == 0, done.stderr
    assert "val/video_top1" in done.stdout

    video = next((synthetic.parent / "test").glob("*.mp4"))
    copy = work.parent / "a b.mp4"
    copy.write_bytes(video.read_bytes())
    done = gcvideo("predict", copy, "--ckpt_path", folder / "checkpoints" / "last.ckpt", "--device", "cpu", cwd=work)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()  # labels alone
    assert line.startswith(f"{copy}: ")
    assert sum(name in line for name in ("walk_same", "walk_opposite", "run_same", "run_opposite", "hop_same")) >= 4
    assert list(work.iterdir()) == []


@pytest.mark.slow
def test_broken_videos_in_a_run(tmp_path, synthetic):
    """Training replaces and tells; the test stops and names the file, or skips it and reports so."""
    rows = synthetic.read_text().splitlines()
    (tmp_path / "broken.mp4").touch()
    lines = [rows[0], *(f"{synthetic.parent}/{row}" for row in rows[1:])]
    for split in ("train", "test"):
        (tmp_path / f"broken {split}.mp4").touch()
        lines.append(f"broken {split}.mp4,walk_same,{split},far")
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("\n".join(lines) + "\n")
    runs = tmp_path / "runs"
    arguments = small(manifest, runs, "--data.num_workers", "1", "--data.loading.outside_root", "true")
    done = gcvideo("fit", *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert (
        "error: 1 of 13 training videos can't be decoded, more than max_broken = 0.01" in done.stderr.splitlines()[-1]
    )
    assert "broken train.mp4: the file is empty" in done.stderr

    done = gcvideo("fit", *arguments, "--data.loading.max_broken", "0.1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 of 13 videos (fit) can't be decoded: " in done.stderr

    tests = [
        "test",
        "--name",
        "demo",
        "--runs_dir",
        runs,
        "--trainer.accelerator",
        "cpu",
        "--data.loading.max_broken",
        "0.1",
    ]
    done = gcvideo(*tests, cwd=tmp_path)
    assert done.returncode == 1
    assert "broken test.mp4: the file is empty (skip_broken: true evaluates the others" in done.stderr.splitlines()[-1]

    done = gcvideo(*tests, "--data.loading.skip_broken", "true", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((runs / "demo" / "report.json").read_text())
    assert (report["evaluated"], report["listed"]) == (6, 7)
    assert report["broken_videos"] == [str(tmp_path / "broken test.mp4")]


@pytest.mark.slow
def test_shards_train_and_test_as_files_do(tmp_path, synthetic):
    """fit, resume and test over shards; a shard that is cut short is a short error."""
    copy = tmp_path / "set"
    shutil.copytree(synthetic.parent, copy)
    pack(copy, 0.02, progress=False)
    runs, shards = tmp_path / "runs", copy / "shards"
    arguments = small(shards / "manifest.csv", runs, "--data.num_workers", "2")
    for more in ((), ("--trainer.max_epochs", "2", "--ckpt_path", "last")):
        done = gcvideo("fit", *arguments, *more, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    tests = ["test", "--name", "demo", "--runs_dir", runs, "--trainer.accelerator", "cpu"]
    reports = []
    for manifest in (shards / "manifest.csv", synthetic):
        done = gcvideo(*tests, "--data.manifest", manifest, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        reports.append(json.loads((runs / "demo" / "report.json").read_text()))
    assert reports[0]["evaluated"] == reports[1]["evaluated"] == 6
    assert reports[0]["per_class"] == reports[1]["per_class"]
    shard = shards / "test-000000.tar"
    shard.write_bytes(shard.read_bytes()[:3000])
    done = gcvideo(*tests, "--data.manifest", shards / "manifest.csv", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: test-000000.tar: can't be read")


def test_export(tmp_path, synthetic, capsys):
    task = VideoTask(["a", "b"], "slowonly_tiny", "nl", {"at": {"res4": [0]}})
    state = {
        "hyper_parameters": dict(task.hparams),
        "state_dict": task.state_dict(),
        "pytorch-lightning_version": "2.6.6",
    }
    torch.save(state, tmp_path / "best.ckpt")
    assert main(["export", str(tmp_path / "best.ckpt"), str(tmp_path / "out.pyth"), "--format", "pyslowfast"]) == 0
    exported = torch.load(tmp_path / "out.pyth", weights_only=True)["model_state"]
    assert torch.equal(
        exported["s4.pathway0_nonlocal0.conv_g.weight"],
        task.net.state_dict()["blocks.3.res_blocks.0.context.conv_g.weight"],
    )
    assert main(["export", str(tmp_path / "none.ckpt"), str(tmp_path / "x.pyth")]) == 2
    assert capsys.readouterr().err == f"error: no run or checkpoint {tmp_path}/none.ckpt\n"
    (tmp_path / "bad.ckpt").write_bytes(b"bad")
    assert main(["export", str(tmp_path / "bad.ckpt"), str(tmp_path / "x")]) == 2
    assert "expected --format, or a file .onnx" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "bad.ckpt"), str(tmp_path / "x.pyth")]) == 2
    assert "is damaged or not a checkpoint" in capsys.readouterr().err
    assert not list(tmp_path.glob("x*"))


@pytest.mark.slow
def test_a_sweep_that_is_killed_goes_on(tmp_path, synthetic):
    """SIGKILL in the middle of a run; the same command finishes the sweep, and done work is not done again."""
    sweep = {
        "name": "s",
        "config": str(CONFIG),
        "runs_dir": str(tmp_path / "runs"),
        "baseline": "none",
        "seeds": [0],
        "settings": {
            "data.manifest": str(synthetic),
            "data.num_workers": 0,
            "trainer.max_epochs": 1,
            "trainer.enable_progress_bar": False,
        },
        "variants": {
            "none": {"model.blocks": "none"},
            "gc": {"model.blocks": "gc", "model.block": {"at": {"res4": [0]}}},
        },
    }
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(sweep, sort_keys=False))
    command = [sys.executable, "-m", "gcvideo", "sweep", str(tmp_path / "s.yaml")]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, start_new_session=True)
    first, second = (tmp_path / "runs" / "s" / f"{variant}-seed0" for variant in ("none", "gc"))
    deadline = time.monotonic() + 240
    while not (second / "checkpoints" / "last.ckpt").exists():
        assert process.poll() is None, (first / "log.txt").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    report = (first / "report.json").stat()
    assert not (second / "report.json").exists()

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr + (second / "log.txt").read_text()
    assert "2 runs, 1 done already" in done.stdout
    assert "| gc | 1 |" in done.stdout
    assert (first / "report.json").stat().st_mtime_ns == report.st_mtime_ns
    assert json.loads((second / "report.json").read_text())["evaluated"] == 6
    assert (tmp_path / "runs" / "s" / "plot.png").exists()
