"""`gcvideo doctor`: what it finds, and that it writes nothing."""

import re
import shutil

import pytest
import torch

from gcvideo.cli.main import main
from gcvideo.doctor import machine, network
from gcvideo.doctor.finding import Finding, size
from gcvideo.models import create_model
from tests.faults.runs import TINY


def doctor(manifest, runs, capsys, *more):
    status = main(["doctor", *map(str, ["--data.manifest", manifest, "--runs_dir", runs, *TINY, *more])])
    return status, capsys.readouterr().out


def test_a_training_that_is_ready(synthetic, tmp_path, capsys):
    status, out = doctor(synthetic, tmp_path, capsys)
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == ["ok"] * len(out.splitlines())
    for text in (
        "a fresh start in", "12 videos of 6 classes", "12 of 12 videos (fit) decode with pyav", "slowonly_tiny, blocks",
        "3 clips a step (3 x 1 devices x 1), 4 steps an epoch, peak learning rate 0.02", "clips/s",
    ):  # fmt: skip
        assert text in out, text
    assert list(tmp_path.iterdir()) == []


def test_problems_are_named(synthetic, tmp_path, capsys):
    folder = tmp_path / "set"
    shutil.copytree(synthetic.parent, folder)
    first = folder / synthetic.read_text().splitlines()[1].split(",")[0]
    first.write_bytes(first.read_bytes()[:500])
    (tmp_path / "default" / "checkpoints").mkdir(parents=True)
    (tmp_path / "default" / "checkpoints" / "last.ckpt").write_bytes(b"")
    status, out = doctor(folder / "manifest.csv", tmp_path, capsys, "--data.batch_size", 13)
    assert status == 1
    problems = [line for line in out.splitlines() if line.startswith("problem")]
    assert "holds a run already: --ckpt_path auto resumes it" in problems[0]
    assert f"11 of 12 videos (fit) decode with pyav: {first}" in problems[1]
    assert "13 clips a step (13 x 1 devices x 1), 0 steps an epoch" in problems[2]
    first.unlink()
    status, out = doctor(folder / "manifest.csv", tmp_path, capsys)
    assert status == 1
    assert "missing file" in out


def test_weights_are_compared_with_the_network(synthetic, tmp_path, capsys):
    torch.save(create_model("slowonly_tiny", "gc_all", 6).state_dict(), tmp_path / "good.pth")
    torch.save({"w": torch.zeros(2)}, tmp_path / "other.pth")
    for name, level in (("good.pth", "ok"), ("other.pth", "problem")):
        _, out = doctor(synthetic, tmp_path, capsys, "--model.weights", tmp_path / name)
        assert re.search(rf"^{level} +weights +{tmp_path / name}: ", out, re.MULTILINE), out
    _, out = doctor(synthetic, tmp_path, capsys, "--model.weights", "nobody/has_this")
    assert "weights        nobody/has_this: neither a file nor a published name" in out


def test_it_is_listed_and_helps(capsys):
    assert main(["doctor", "--help"]) == 0
    assert "'gcvideo fit --help' lists the options" in capsys.readouterr().out
    assert main(["--help"]) == 0
    assert "\n  doctor " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    ((5, "5 B"), (2048, "2 KiB"), (3 * 2**20, "3 MiB"), (1.5 * 2**30, "1.5 GiB"), (2**42, "4.1e+03 GiB")),
)
def test_sizes(num_bytes, text):
    assert size(num_bytes) == text


def test_shared_memory_and_disks(tmp_path):
    (small,) = machine.shared_memory(1000, 2, 1)
    (large,) = machine.shared_memory(2**50, 2, 1)
    assert (small.level, large.level) == ("ok", "problem")
    assert list(machine.shared_memory(2**50, 0, 1)) == []  # no loader processes, no shared memory
    fits, _ = machine.disks(tmp_path / "new" / "run", 10)
    full, _ = machine.disks(tmp_path, 2**60)
    assert (fits.level, full.level) == ("ok", "problem")


def test_a_loader_that_is_too_slow():
    (finding,) = network._feeding(step_s=0.01, clip_s=0.1, num_workers=2)
    assert finding == Finding(
        "warning", "loader",
        "a device takes 100 clips/s one by one, 2 loader processes offer 20; data.num_workers 10 would feed it, or "
        "prepare the videos",
    )  # fmt: skip
