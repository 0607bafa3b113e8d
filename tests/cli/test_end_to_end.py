"""fit and test from the command line, with another decoder, a network of one's own, and Lightning's own tools."""

import json
import shutil

import pytest
import torch

from tests.cli.test_cli import gcvideo, small

NETWORK = '''
from torch import nn

class Network(nn.Module):
    """Three layers; the classes are an argument."""

    def __init__(self, num_classes: int = 400, width: int = 8):
        super().__init__()
        self.body = nn.Conv3d(3, width, 3, stride=(1, 4, 4), padding=1)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.head(self.body(x).relu().mean(dim=(2, 3, 4)))

def build(num_classes: int = 6) -> nn.Module:
    return Network(num_classes)
'''


def report_of(folder):
    return json.loads((folder / "report.json").read_text())


@pytest.mark.slow
def test_fit_and_test_with_decord(tmp_path, synthetic):
    """The same weights and scores as with the default decoder: the frames are the same."""
    reports, weights = [], []
    for decoder in ("pyav", "decord"):
        runs = tmp_path / decoder
        done = gcvideo("fit", *small(synthetic, runs, "--data.decoder", decoder), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        done = gcvideo("test", "--name", "demo", "--runs_dir", runs, "--trainer.accelerator", "cpu", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        reports.append(report_of(runs / "demo"))
        weights.append(torch.load(runs / "demo" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"])
        assert reports[-1]["config"]["data"]["decoder"] == decoder  # adopted from the checkpoint
    assert reports[0]["evaluated"] == reports[1]["evaluated"] == 6
    assert reports[0]["per_class"] == reports[1]["per_class"]
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


@pytest.mark.slow
def test_decord_is_refused_with_the_reason_where_it_is_wrong(tmp_path, synthetic):
    """One video in a container in which decord is not accurate: it counts as broken, and the message says why."""
    import av

    rows = synthetic.read_text().splitlines()
    copy = tmp_path / "a.mkv"
    source = next(row for row in rows if ",test," in row).split(",")[0]
    with av.open(str(synthetic.parent / source)) as video, av.open(str(copy), "w") as target:
        stream = target.add_stream_from_template(video.streams.video[0])
        for packet in video.demux(video.streams.video[0]):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    shutil.copytree(synthetic.parent, tmp_path / "set")
    shutil.move(copy, tmp_path / "set" / "test" / "a.mkv")
    manifest = tmp_path / "set" / "manifest.csv"
    manifest.write_text("\n".join([*rows, "test/a.mkv,walk_same,test,far"]) + "\n")
    runs = tmp_path / "runs"
    assert gcvideo("fit", *small(manifest, runs), cwd=tmp_path).returncode == 0
    tests = ["test", "--name", "demo", "--runs_dir", runs, "--trainer.accelerator", "cpu"]
    done = gcvideo(*tests, "--data.decoder", "decord", cwd=tmp_path)
    assert done.returncode == 1
    error = done.stderr.splitlines()[-1]
    assert error.startswith("error: ")
    assert "a.mkv" in error
    assert "matroska" in error
    done = gcvideo(*tests, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert report_of(runs / "demo")["evaluated"] == 7


@pytest.mark.slow
def test_a_network_of_ones_own(tmp_path, synthetic):
    """By class path; a checkpoint does not choose which code is imported."""
    (tmp_path / "my_package.py").write_text(NETWORK)
    runs = tmp_path / "runs"
    own = ["--config", "own.yaml", "--name", "own", "--runs_dir", runs]
    (tmp_path / "own.yaml").write_text(
        f"data: {{manifest: '{synthetic}', num_workers: 0, batch_size: 4, clip: {{frames: 4, stride: 1}},\n"
        "       augment: {size: 32, short_side: [32, 36]}, views: {temporal: 1}}\n"
        "model: {optim: {name: adamw, lr_batch: null}, lr: 0.001}\n"
        "trainer: {max_epochs: 1, accelerator: cpu, enable_progress_bar: false, enable_model_summary: false}\n"
    )
    wrong = gcvideo("fit", *own, "--model.net", "my_package.Network", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "error: the network must return [B, 6], one logit for each class" in wrong.stderr.splitlines()[-1]
    blocks = ["--model.blocks", "gc", "--model.block.at", "[body]", "--model.block.site", "after_block"]
    for network in (["my_package.Network", "--model.net.num_classes", "6", *blocks], ["my_package.build"]):
        shutil.rmtree(runs, ignore_errors=True)
        done = gcvideo("fit", *own, "--model.net", *network, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        state = torch.load(runs / "own" / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
        assert ("net.body.context.conv_mask.weight" in state) == (len(network) > 1)
        test = ["test", "--name", "own", "--runs_dir", runs, "--trainer.accelerator", "cpu"]
        done = gcvideo(*test, cwd=tmp_path)
        assert done.returncode == 2
        assert "trained with a network of its own, my_package.Network: pass it as --model.net" in done.stderr
        done = gcvideo(*test, "--model.net", *network, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert report_of(runs / "own")["evaluated"] == 6
        assert "Network" in (runs / "own" / "report.html").read_text()


@pytest.mark.slow
def test_loggers_checkpoints_and_progress_bars_of_ones_own(tmp_path, synthetic):
    """They work with ours: the report has its curves, `last` is where it is looked for, and there is one bar."""
    pytest.importorskip("rich")
    runs = tmp_path / "runs"
    arguments = [argument for argument in small(synthetic, runs) if argument != "--trainer.enable_progress_bar"]
    arguments.remove("false")
    done = gcvideo(
        "fit", *arguments, "--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", tmp_path / "logs",
        "--trainer.callbacks+=RichProgressBar", "--trainer.callbacks+=ModelCheckpoint",
        "--trainer.callbacks.filename", "mine", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder = runs / "demo"
    names = {path.stem for path in (folder / "checkpoints").iterdir()}
    assert names == {"best", "last", "mine", "previous"}
    assert list((tmp_path / "logs").rglob("metrics.csv"))
    assert (folder / "metrics" / "version_0" / "metrics.csv").exists()
    done = gcvideo("fit", *arguments, "--trainer.max_epochs", "2", "--ckpt_path", "last", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = gcvideo("test", "--name", "demo", "--runs_dir", runs, "--trainer.accelerator", "cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "No curves were logged" not in (folder / "report.html").read_text()


def test_train_py_is_the_command_line(tmp_path):
    from tests.cli.test_cli import ROOT

    done = gcvideo("--version", cwd=tmp_path, entry=(str(ROOT / "train.py"),))
    assert done.stdout.startswith("gcvideo ")
